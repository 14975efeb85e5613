# What runs inside: Debian's kernel with a busybox initramfs, and the small test guests. Also the
# ways to start it: `make run`. Images to boot from: tools/build/image.mk.

LINUX_DIR    := guest-images/linux
GUEST_DIR    := $(BUILD)/guest
GUEST_KERNEL := $(GUEST_DIR)/vmlinuz
GUEST_INITRD := $(GUEST_DIR)/guest.cpio.gz
GUEST_CONF   := $(GUEST_DIR)/bulkhead.conf
KERNEL_STAMP := $(DOWNLOAD)/kernel.stamp
BUSYBOX      := /bin/busybox
MAKE_IMAGE   := tools/make_image.py
GUEST_FILES  := $(GUEST_CONF) $(GUEST_KERNEL) $(GUEST_INITRD)

# The stamp says that DIR/linux-image-*.deb is there; `make distclean` fetches a newer one.
$(KERNEL_STAMP):
	@mkdir -p $(@D)
	$(Q)ls $(@D)/linux-image-*.deb >/dev/null 2>&1 || \
	  tools/fetch-deb.sh $(@D) linux-image-cloud-amd64
	$(Q)touch $@

$(GUEST_KERNEL): $(KERNEL_STAMP)
	$(call say,UNPACK,$@)
	$(Q)rm -rf $(BUILD)/linux && mkdir -p $(BUILD)/linux $(@D)
	$(Q)dpkg-deb --fsys-tarfile $$(ls $(DOWNLOAD)/linux-image-*.deb | tail -n 1) | \
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
.PHONY: guests run
guests: $(GUEST_FILES) $(TEST_GUEST_IMGS)

## make run        install what is missing, build, and start two Linux VMs in QEMU, with AMD-V.
##                 CPU=intel: in Bochs, with VT-x (slow); its VMs: guest-images/bulkhead-bochs.conf
# Two steps: what the first one installs must be there when make reads the makefiles again.
CPU := amd
run:
	@case '$(CPU)' in amd) tools/deps.sh build run ;; intel) tools/deps.sh build intel ;; \
	*) echo "make run: CPU is '$(CPU)', expected amd or intel" >&2; exit 2 ;; esac
	@$(MAKE) --no-print-directory run-$(CPU)
.PHONY: run-amd run-intel
run-amd: $(CORE_IMAGE) $(GUEST_FILES)
	@tools/run.sh kernel $(CORE_IMAGE) $(GUEST_FILES)

BOCHS_ISO  := $(BUILD)/bulkhead-bochs.iso
BOCHS_CONF := $(GUEST_DIR)/bochs/bulkhead.conf
$(BOCHS_CONF): guest-images/bulkhead-bochs.conf
	@mkdir -p $(@D)
	$(Q)cp $< $@
$(BOCHS_ISO): $(CORE_IMAGE) $(BOCHS_CONF) $(GUEST_KERNEL) $(GUEST_INITRD) $(MAKE_IMAGE)
	$(call say,ISO,$@)
	$(Q)$(MAKE_IMAGE) --timeout 0 iso $@ boot/bulkhead.elf32=$(CORE_IMAGE) $(BOCHS_CONF) $(GUEST_KERNEL) \
	  $(GUEST_INITRD)
run-intel: $(BOCHS_ISO)
	@/usr/bin/python3 tools/bochs_run.py $(BOCHS_ISO)

# Guests in C: one folder each under guest-images/, with guestlib/ as their runtime. 64-bit ELF at
# 1 MiB; as ELF32, which multiboot loaders such as QEMU's -kernel take.
C_GUESTS      := bench conform fuzz smp
C_GUEST_ELFS  := $(C_GUESTS:%=$(GUEST_DIR)/tests/%.elf)
GUEST_C_FLAGS := -std=gnu11 -O2 -g -ffreestanding -nostdinc \
    -isystem $(shell $(CC) -print-file-name=include 2>/dev/null) -fno-pic -fno-pie -mno-red-zone \
    -mgeneral-regs-only -fno-stack-protector -fno-asynchronous-unwind-tables -fno-common \
    -fcf-protection=none -fno-strict-aliasing -fno-delete-null-pointer-checks \
    -fno-tree-loop-distribute-patterns -I. -Iguest-images/guestlib $(CORE_WARN) -MMD -MP
GUEST_LIB_SRCS := $(wildcard guest-images/guestlib/*.c guest-images/guestlib/*.asm) \
    lib/format.c lib/string.c lib/safe_copy.c

define C_GUEST_RULES
$(BUILD)/guest-obj/$(1)/%.o: %
	$$(call say,GUESTCC,$$<)
	@mkdir -p $$(@D)
	$$(Q)$$(if $$(filter %.asm,$$<),$$(NASM) -f elf64 -w+all -i guest-images/$(1)/ \
	  -i $$(BUILD)/guest-obj/$(1)/ $$< -o $$@,$$(CC) $$(GUEST_C_FLAGS) -Iguest-images/$(1) -c $$< -o $$@)
$(GUEST_DIR)/tests/$(1).elf: $(patsubst %,$(BUILD)/guest-obj/$(1)/%.o,$(GUEST_LIB_SRCS) \
    $(wildcard guest-images/$(1)/*.c guest-images/$(1)/*.asm)) guest-images/guestlib/guest.ld
	$$(call say,LINK,$$@)
	@mkdir -p $$(@D)
	$$(Q)ld -nostdlib -static -z max-page-size=4096 -z noexecstack --no-warn-rwx-segments \
	  -T guest-images/guestlib/guest.ld $$(filter %.o,$$^) -o $$(@:.elf=.elf64)
	$$(Q)objcopy -S -I elf64-x86-64 -O elf32-i386 $$(@:.elf=.elf64) $$@
-include $$(shell find $(BUILD)/guest-obj/$(1) -name '*.d' 2>/dev/null)
endef
$(foreach g,$(C_GUESTS),$(eval $(call C_GUEST_RULES,$(g))))
guests: $(C_GUEST_ELFS)
