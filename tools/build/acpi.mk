# The guests' ACPI tables: ASL and data tables -> AML -> C arrays. The compiler's word on them is final:
# warnings are errors.

GUEST_TABLES   := $(patsubst vmm/loader/%.asl,%,$(wildcard vmm/loader/*.asl))
GUEST_TABLES_H := $(BUILD)/generated/guest_tables.h
GENERATED_HEADERS += $(GUEST_TABLES_H)

$(BUILD)/generated/%.aml: vmm/loader/%.asl
	$(call say,IASL,$<)
	@mkdir -p $(@D)
	$(Q)iasl -vs -we -p $(@:.aml=) $< > $@.log 2>&1 || { cat $@.log; exit 1; }

$(GUEST_TABLES_H): $(GUEST_TABLES:%=$(BUILD)/generated/%.aml) tools/build/acpi.mk
	$(Q){ echo '/* Generated from the .asl files of vmm/loader. */'; \
	  for t in $(GUEST_TABLES); do \
	    echo "static const unsigned char $${t}_aml[] = {"; \
	    od -An -v -tx1 $(@D)/$$t.aml | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g'; \
	    echo '};'; \
	  done; } > $@
