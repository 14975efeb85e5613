# The screen's font: a drawing in characters -> a table of C.

FONT_H := $(BUILD)/generated/font.h
GENERATED_HEADERS += $(FONT_H)

$(FONT_H): tools/build/font.txt tools/build/font.awk
	$(call say,FONT,$<)
	@mkdir -p $(@D)
	$(Q)awk -f tools/build/font.awk $< > $@
