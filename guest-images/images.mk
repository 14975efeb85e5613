# What runs inside: Debian's kernel with a busybox initramfs, and the small test guests. Also the
# ways to start all of it: `make run`, `make iso`, `make run-iso`.

LINUX_DIR    := guest-images/linux
GUEST_DIR    := $(BUILD)/guest
GUEST_KERNEL := $(GUEST_DIR)/vmlinuz
GUEST_INITRD := $(GUEST_DIR)/guest.cpio.gz
GUEST_CONF   := $(GUEST_DIR)/bulkhead.conf
KERNEL_STAMP := $(BUILD)/download/kernel.stamp
BUSYBOX      := /bin/busybox
GUEST_FILES  := $(GUEST_CONF) $(GUEST_KERNEL) $(GUEST_INITRD)

# The stamp says that DIR/linux-image-*.deb is there; `make distclean` fetches a newer one.
$(KERNEL_STAMP):
	@mkdir -p $(@D)
	$(Q)ls $(@D)/linux-image-*.deb >/dev/null 2>&1 || tools/fetch-kernel.sh $(@D)
	$(Q)touch $@

$(GUEST_KERNEL): $(KERNEL_STAMP)
	$(call say,UNPACK,$@)
	$(Q)rm -rf $(BUILD)/linux && mkdir -p $(BUILD)/linux $(@D)
	$(Q)dpkg-deb --fsys-tarfile $$(ls $(BUILD)/download/linux-image-*.deb | tail -n 1) | \
	  tar -x -C $(BUILD)/linux --wildcards './boot/*'
	$(Q)cp $(BUILD)/linux/boot/vmlinuz-* $@.new && mv $@.new $@ && touch $@

$(GUEST_DIR)/bin/%: $(LINUX_DIR)/%.asm
	$(call say,NASM,$@)
	@mkdir -p $(@D)
	$(Q)$(NASM) -f elf64 $< -o $@.o && ld -s $@.o -o $@ && rm $@.o

$(GUEST_INITRD): $(GUEST_DIR)/bin/tsc $(wildcard $(LINUX_DIR)/*)
	$(call say,CPIO,$@)
	@mkdir -p $(@D)
	$(Q)$(LINUX_DIR)/mkinitramfs.sh $@ $(BUSYBOX) $(GUEST_DIR)/bin/tsc

$(GUEST_CONF): guest-images/bulkhead.conf
	@mkdir -p $(@D)
	$(Q)cp $< $@

# The small test guests: each is one nasm file with the common start.
TEST_GUESTS     := $(patsubst guest-images/tests/%.asm,%,$(wildcard guest-images/tests/*.asm))
TEST_GUEST_IMGS := $(TEST_GUESTS:%=$(GUEST_DIR)/tests/%.img)
$(GUEST_DIR)/tests/%.img: guest-images/tests/%.asm $(wildcard guest-images/tests/*.inc)
	$(call say,NASM,$@)
	@mkdir -p $(@D)
	$(Q)$(NASM) -f bin -w+all -i guest-images/tests/ $< -o $@

## make guests     build all guests: Debian's kernel, its initramfs, the small test guests
.PHONY: guests run run-now iso run-iso run-iso-now
guests: $(GUEST_FILES) $(TEST_GUEST_IMGS)

## make run        install what is missing, build, and start two Linux VMs in QEMU
# Two steps: what the first one installs must be there when make reads the makefiles again.
run:
	@tools/deps.sh build run
	@$(MAKE) --no-print-directory run-now
run-now: $(CORE_IMAGE) $(GUEST_FILES)
	@tools/run.sh kernel $(CORE_IMAGE) $(GUEST_FILES)

## make iso        build/bulkhead.iso: the same system, to boot by GRUB on a PC
ISO := $(BUILD)/bulkhead.iso
iso:
	@tools/deps.sh build run iso
	@$(MAKE) --no-print-directory $(ISO)
$(ISO): $(CORE_IMAGE) $(GUEST_FILES) tools/mkiso.sh
	$(call say,ISO,$@)
	$(Q)tools/mkiso.sh -t 3 $@ $(CORE_IMAGE) $(GUEST_FILES)

## make run-iso    start QEMU from that ISO
run-iso: iso
	@tools/run.sh iso $(ISO)
