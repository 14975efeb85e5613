# The UEFI loader: a PE file of its own, from Debian's gnu-efi. It shares some files with the core and
# is linked with none of its objects.

UEFI_C   := $(wildcard boot/uefi/*.c) vmm/config_text.c lib/string.c lib/format.c lib/emit.c lib/version.c lib/sha256.c \
    boot/machine_report.c boot/serial_ports.c drivers/pci.c drivers/pci_serial.c boot/event_log.c arch/x86/svm/detect.c arch/x86/vmx/detect.c arch/x86/vmx/caps.c $(wildcard arch/x86/acpi/*.c)
UEFI_OBJS := $(UEFI_C:%.c=$(BUILD)/uefi/%.o)
UEFI_LOADER := $(BUILD)/BOOTX64.EFI

UEFI_CFLAGS := -std=gnu11 -O2 -g -ffreestanding -nostdinc \
    -isystem $(shell $(CC) -print-file-name=include 2>/dev/null) \
    -isystem /usr/include/efi -isystem /usr/include/efi/x86_64 -DGNU_EFI_USE_MS_ABI \
    -fpic -fshort-wchar -mno-red-zone -maccumulate-outgoing-args -fno-stack-protector \
    -fno-asynchronous-unwind-tables -fcf-protection=none -fno-strict-aliasing \
    -fno-delete-null-pointer-checks -fno-tree-loop-distribute-patterns -I. $(CORE_WARN) -MMD -MP
# muldefs: gnu-efi has a memcpy and a memset as well, which give way to lib/string.c's.
UEFI_LDFLAGS := -nostdlib -znocombreloc -shared -Bsymbolic --no-undefined --no-warn-rwx-segments \
    -z noexecstack -z muldefs -T /usr/lib/elf_x86_64_efi.lds -L/usr/lib

# gnu-efi's linker script knows nothing of the core's boot-only sections.
$(BUILD)/uefi/%.o: %.c tools/build/uefi.mk
	$(call say,EFICC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(UEFI_CFLAGS) $(if $(filter lib/version.c,$<),$(CFLAGS_version)) -c $< -o $@
	$(Q)objcopy --rename-section .init.text=.text --rename-section .init.data=.data $@
$(BUILD)/uefi/lib/version.o: $(BUILD)/version.stamp

$(BUILD)/uefi/loader.so: $(UEFI_OBJS)
	$(Q)ld $(UEFI_LDFLAGS) /usr/lib/crt0-efi-x86_64.o $^ -o $@ -lefi -lgnuefi

## make uefi       the UEFI loader, build/BOOTX64.EFI
.PHONY: uefi
uefi: $(UEFI_LOADER)
$(UEFI_LOADER): $(BUILD)/uefi/loader.so
	$(call say,PE,$@)
	$(Q)objcopy -S -j .text -j .sums -j .sdata -j .data -j .dynamic -j .dynsym -j .rel -j .rela -j '.rel.*' \
	    -j '.rela.*' -j .reloc --target efi-app-x86_64 --subsystem=10 $< $@

-include $(UEFI_OBJS:.o=.d)
