# The guests' DSDT: ASL -> AML -> a C array. The compiler's word on it is final: warnings are errors.

DSDT_AML := $(BUILD)/generated/dsdt.aml
DSDT_H   := $(BUILD)/generated/dsdt.h
GENERATED_HEADERS += $(DSDT_H)

$(DSDT_AML): vmm/loader/dsdt.asl
	$(call say,IASL,$<)
	@mkdir -p $(@D)
	$(Q)iasl -vs -we -p $(@:.aml=) $< > $@.log 2>&1 || { cat $@.log; exit 1; }

$(DSDT_H): $(DSDT_AML)
	$(Q){ echo '/* Generated from vmm/loader/dsdt.asl. */'; \
	  echo 'static const unsigned char dsdt_aml[] = {'; \
	  od -An -v -tx1 $< | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g'; \
	  echo '};'; } > $@
