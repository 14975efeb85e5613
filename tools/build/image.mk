# The images that a PC boots from, with the same configuration and VMs as `make run`.

IMAGE_ISO := $(BUILD)/bulkhead.iso
IMAGE_USB := $(BUILD)/bulkhead-usb.img
# All times in them: those of the commit, so that the same sources give the same bytes.
IMAGE_EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),0)

MEMTEST       := $(GUEST_DIR)/memtest
MEMTEST_FILES := $(MEMTEST)/memtest86+x64.bin $(MEMTEST)/memtest86+x64.efi
MEMTEST_STAMP := $(DOWNLOAD)/memtest.stamp
$(MEMTEST_STAMP):
	@mkdir -p $(@D)
	$(Q)ls $(@D)/memtest86+_*.deb >/dev/null 2>&1 || tools/fetch-deb.sh $(@D) memtest86+
	$(Q)touch $@
$(MEMTEST_FILES) &: $(MEMTEST_STAMP)
	$(call say,UNPACK,$(MEMTEST))
	$(Q)rm -rf $(MEMTEST) && mkdir -p $(MEMTEST)
	$(Q)dpkg-deb --fsys-tarfile $$(ls $(DOWNLOAD)/memtest86+_*.deb | tail -n 1) | \
	  tar -x -C $(MEMTEST) --strip-components=2 --wildcards './boot/*x64*' && touch $(MEMTEST_FILES)

IMAGE_FILES    := $(CORE_IMAGE) $(GUEST_FILES) $(MEMTEST_FILES)
IMAGE_CONTENTS := boot/bulkhead.elf32=$(CORE_IMAGE) $(GUEST_FILES) \
    boot/memtest.bin=$(MEMTEST)/memtest86+x64.bin

# For UEFI: its loader, and the core as it takes it, less the debugging information, which names the
# folder of the build.
IMAGE_CORE := $(BUILD)/bulkhead.stripped
IMAGE_FILES += $(UEFI_LOADER) $(IMAGE_CORE)
IMAGE_CONTENTS += EFI/BOOT/BOOTX64.EFI=$(UEFI_LOADER) bulkhead.elf=$(IMAGE_CORE) \
    EFI/BOOT/memtest.efi=$(MEMTEST)/memtest86+x64.efi
$(IMAGE_CORE): $(CORE_ELF)
	$(Q)objcopy -S $< $@

# Signed by whom: another key makes the images anew.
IMAGE_SIGN  := $(if $(SIGN_KEY),--sign-key "$(SIGN_KEY)") $(if $(SIGN_CERT),--sign-cert "$(SIGN_CERT)")
IMAGE_STAMP := $(BUILD)/image-sign.stamp
IMAGE_FILES += $(IMAGE_STAMP) $(wildcard $(SIGN_KEY) $(SIGN_CERT)) tools/sign_loader.py
$(IMAGE_STAMP): FORCE
	@mkdir -p $(@D)
	@echo '$(IMAGE_SIGN)' | cmp -s - $@ || echo '$(IMAGE_SIGN)' > $@

## make image      build/bulkhead.iso (CD or USB) and build/bulkhead-usb.img, to boot a PC: docs/usb.md;
##                 SIGN_KEY=key.pem SIGN_CERT=cert.pem: signed for Secure Boot (docs/secure-boot.md)
.PHONY: image images run-iso
image:
	@tools/deps.sh build run image
	@$(MAKE) --no-print-directory images
images: $(IMAGE_ISO) $(IMAGE_USB)
$(IMAGE_ISO): $(IMAGE_FILES) $(MAKE_IMAGE)
	$(call say,ISO,$@)
	$(Q)SOURCE_DATE_EPOCH=$(IMAGE_EPOCH) $(MAKE_IMAGE) --graphics $(IMAGE_SIGN) iso $@ $(IMAGE_CONTENTS)
$(IMAGE_USB): $(IMAGE_FILES) $(MAKE_IMAGE)
	$(call say,USB,$@)
	$(Q)SOURCE_DATE_EPOCH=$(IMAGE_EPOCH) $(MAKE_IMAGE) --graphics $(IMAGE_SIGN) usb $@ $(IMAGE_CONTENTS)

## make run-iso    start QEMU from that ISO
run-iso: image
	@tools/run.sh iso $(IMAGE_ISO)
