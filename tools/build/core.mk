# The core: freestanding, upper half, W^X. Linked twice, the second time with its own symbol table.

CORE_DIRS := boot lib drivers arch/x86 arch/x86/mm arch/x86/acpi arch/x86/svm arch/x86/vmx \
    vmm vmm/irqchip vmm/devices vmm/emulate vmm/loader
CORE_C    := $(wildcard $(CORE_DIRS:%=%/*.c))
CORE_ASM  := $(wildcard $(CORE_DIRS:%=%/*.asm))
CORE_OBJS := $(CORE_C:%.c=$(BUILD)/core/%.o) $(CORE_ASM:%.asm=$(BUILD)/core/%.asm.o)
CORE_ELF   := $(BUILD)/bulkhead.elf
CORE_IMAGE := $(BUILD)/bulkhead.elf32
GENERATED_HEADERS :=
include tools/build/acpi.mk
include tools/build/font.mk

VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
COMMIT  := 0x$(shell git rev-parse --verify -q HEAD 2>/dev/null | cut -c 1-8 | grep . || echo 0)

# Functions behind a table take what the table's type says, needed or not.
CORE_WARN := -Wall -Wextra -Wno-unused-parameter -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
    -Wframe-larger-than=2048 -Wundef -Wpointer-arith -Wwrite-strings -Wdate-time
# Indirect calls and jumps go through arch/x86/retpoline.asm; a table of jumps would be slower than
# comparisons then.
RETPOLINE := -mindirect-branch=thunk-extern -mindirect-branch-register -fno-jump-tables
CORE_CFLAGS := -std=gnu11 -O2 -g -ffreestanding -nostdinc \
    -isystem $(shell $(CC) -print-file-name=include 2>/dev/null) \
    -fno-pic -fno-pie -mcmodel=kernel -mno-red-zone -mgeneral-regs-only -mpreferred-stack-boundary=3 \
    -fstack-protector-strong -mstack-protector-guard=global -fno-omit-frame-pointer \
    -fno-asynchronous-unwind-tables -fno-common -ffunction-sections -fdata-sections \
    -fcf-protection=none -fno-strict-aliasing -fno-delete-null-pointer-checks \
    -fno-tree-loop-distribute-patterns $(RETPOLINE) -DCHECKS=$(CHECKS) -I. -I$(BUILD)/generated $(CORE_WARN) -MMD -MP
CORE_LDFLAGS := -nostdlib -static -z max-page-size=4096 -z noexecstack --gc-sections \
    --no-warn-rwx-segments -T linker.ld

$(BUILD)/core/%.o: %.c tools/build/core.mk | $(GENERATED_HEADERS)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CORE_CFLAGS) $(CFLAGS_$(*F)) -c $< -o $@

# What exits run through: no frame pointers, which cost three instructions a function. A crash's stack
# trace passes these functions over.
HOT := exit exit_io hypercall ports cpuid msr vcpu platform platform_mmio timer treap run_queue slots cap sched \
    lapic lapic_regs lapic_timer pic pit rtc acpi_pm guest_uart window
$(foreach f,$(HOT),$(eval CFLAGS_$f := -fomit-frame-pointer))

# The version is in one file only, so that a commit does not rebuild the rest.
CFLAGS_version := -DBULKHEAD_VERSION='"$(VERSION)"' -DBULKHEAD_COMMIT=$(COMMIT)u \
    -DBULKHEAD_MODIFIED=$(if $(findstring -dirty,$(VERSION)),true,false)
$(BUILD)/core/lib/version.o: $(BUILD)/version.stamp
$(BUILD)/version.stamp: FORCE
	@mkdir -p $(@D)
	@echo '$(VERSION) $(COMMIT)' | cmp -s - $@ || echo '$(VERSION) $(COMMIT)' > $@
.PHONY: FORCE

$(BUILD)/core/%.asm.o: %.asm
	$(call say,NASM,$<)
	@mkdir -p $(@D)
	$(Q)$(NASM) -f elf64 -g -F dwarf -MD $(@:.o=.d) -MP -i . $< -o $@

$(BUILD)/bulkhead.pass1: $(CORE_OBJS) linker.ld
	$(call say,LINK,$@)
	$(Q)ld $(CORE_LDFLAGS) $(CORE_OBJS) -o $@

$(BUILD)/symbols.asm: $(BUILD)/bulkhead.pass1 tools/build/symbols.awk
	$(Q)nm -n $< | awk -f tools/build/symbols.awk > $@

$(BUILD)/symbols.o: $(BUILD)/symbols.asm
	$(Q)$(NASM) -f elf64 $< -o $@

# The table stands behind all code, so that it moves no function.
$(CORE_ELF): $(CORE_OBJS) $(BUILD)/symbols.o linker.ld
	$(call say,LINK,$@)
	$(Q)ld $(CORE_LDFLAGS) $(CORE_OBJS) $(BUILD)/symbols.o -o $@

# The same for loaders of PVH images, without the header that QEMU would stumble over.
CORE_PVH := $(BUILD)/bulkhead.pvh
$(CORE_PVH): $(CORE_ELF)
	$(call say,PVH,$@)
	$(Q)head -c 12 /dev/zero > $@.zero
	$(Q)objcopy -S --update-section .boot.mb1=$@.zero $< $@ && rm $@.zero

# Multiboot 1 loaders (QEMU's -kernel, for one) take 32-bit ELF files only.
$(CORE_IMAGE): $(CORE_ELF)
	$(call say,ELF32,$@)
	$(Q)objcopy -S -I elf64-x86-64 -O elf32-i386 $< $@
