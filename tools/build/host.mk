# Host builds: the core's own source files, compiled with sanitizers for the unit tests and the
# fuzzers, and plainly for the tools that people run.

# Core files that know nothing of the bare machine. The unit tests and fuzzers link what they use.
HOST_CORE_SRCS := $(filter-out lib/string.c lib/log.c lib/symbols.c lib/version.c,$(wildcard lib/*.c)) \
    lib/safe_copy.c vmm/config.c vmm/config_text.c \
    $(wildcard vmm/config_*.c vmm/irqchip/*.c vmm/devices/*.c vmm/emulate/*.c) \
    $(wildcard vmm/loader/*.c arch/x86/acpi/*.c) \
    arch/x86/vmx/caps.c arch/x86/vmx/explain.c arch/x86/vmx/check.c arch/x86/vmx/check_segments.c \
    boot/memory_map.c boot/multiboot_parse.c boot/boot_info.c boot/boot_parse.c boot/pvh_parse.c boot/bundle.c \
    boot/event_log.c \
    boot/uefi/elf.c boot/uefi/names.c boot/uefi/sums.c boot/uefi/efi_map.c boot/uefi/options.c boot/uefi/smbios.c \
    arch/x86/speculation_choose.c arch/x86/smp_plan.c \
    arch/x86/mm/pagetable.c arch/x86/mm/page_alloc.c arch/x86/mm/frame_alloc.c vmm/timer.c vmm/stats.c \
    vmm/cpuid_topology.c vmm/worst.c vmm/run_queue.c vmm/slots.c vmm/cap.c vmm/steal_time.c vmm/hypercall.c \
    vmm/pause.c vmm/pvclock.c drivers/screen.c drivers/ps2_keys.c drivers/pci_serial.c boot/boot_serial.c boot/serial_ports.c
HOST_CORE_SRCS := $(sort $(wildcard $(HOST_CORE_SRCS)))

HOST_WARN   := -Wall -Wextra -Wno-unused-parameter -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
HOST_CFLAGS := -std=gnu11 -O1 -g -DBULKHEAD_HOST -DCHECKS=1 -I. -I$(BUILD)/generated $(HOST_WARN) -MMD -MP
SAN         := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

UNIT_TESTS := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))
UNIT_BINS  := $(UNIT_TESTS:%=$(BUILD)/unit/%)
UNIT_LIB   := $(BUILD)/unit/libcore.a

$(BUILD)/unit/core/%.o: %.c | $(GENERATED_HEADERS)
	$(call say,HOSTCC,$<)
	@mkdir -p $(@D)
	$(Q)rm -f $(@:.o=.gcda) && $(CC) $(HOST_CFLAGS) $(SAN) --coverage -c $< -o $@

$(BUILD)/unit/%.o: tests/unit/%.c | $(GENERATED_HEADERS)
	$(call say,HOSTCC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_CFLAGS) $(SAN) -c $< -o $@

$(UNIT_LIB): $(HOST_CORE_SRCS:%.c=$(BUILD)/unit/core/%.o) $(BUILD)/unit/host_log.o $(BUILD)/unit/host_checks.o
	$(Q)rm -f $@ && ar rcs $@ $^

# capstone is used by the decoder's comparison test only.
$(BUILD)/unit/test_%: $(BUILD)/unit/test_%.o $(UNIT_LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(SAN) --coverage $< $(UNIT_LIB) -o $@ -lcmocka $(if $(findstring capstone,$*),-lcapstone)

.SECONDARY: $(UNIT_TESTS:%=$(BUILD)/unit/%.o)

## make unit       build and run the unit tests
unit: $(UNIT_BINS)
	$(Q)set -e; for t in $(UNIT_BINS); do $$t; done

FUZZERS     := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BINS   := $(FUZZERS:%=$(BUILD)/fuzz/%)
FUZZ_LIB    := $(BUILD)/fuzz/libcore.a
FUZZ_SECONDS ?= 60
FUZZ_SAN    := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
FUZZ_CFLAGS := $(filter-out -Wvla,$(HOST_CFLAGS)) -Wno-unknown-warning-option

$(BUILD)/fuzz/core/%.o: %.c | $(GENERATED_HEADERS)
	$(call say,FUZZCC,$<)
	@mkdir -p $(@D)
	$(Q)clang $(FUZZ_CFLAGS) $(FUZZ_SAN) -c $< -o $@

$(FUZZ_LIB): $(HOST_CORE_SRCS:%.c=$(BUILD)/fuzz/core/%.o) $(BUILD)/fuzz/core/tests/unit/host_log.o \
    $(BUILD)/fuzz/core/tests/unit/host_checks.o
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(FUZZ_LIB)
	$(call say,FUZZLD,$@)
	$(Q)clang $(FUZZ_CFLAGS) -fsanitize=fuzzer,address,undefined $< $(FUZZ_LIB) -o $@

## make fuzz       run each fuzzer for FUZZ_SECONDS (60)
fuzz: $(FUZZ_BINS)
	$(Q)set -e; for f in $(FUZZERS); do echo "fuzz $$f: $(FUZZ_SECONDS) s"; \
	  mkdir -p $(BUILD)/fuzz/corpus/$$f; \
	  $(BUILD)/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 -verbosity=0 \
	    -print_final_stats=1 -artifact_prefix=$(BUILD)/fuzz/ \
	    $(BUILD)/fuzz/corpus/$$f tests/fuzz/corpus/$$f; done

# The configuration checker that people run: the core's parser, without sanitizers.
TOOL_SRCS := tools/bulkhead_config.c vmm/config.c $(wildcard vmm/config_*.c) lib/format.c lib/safe_copy.c
## make tools      build/bulkhead-config, the checker of configuration files
tools: $(BUILD)/bulkhead-config
.PHONY: tools
$(BUILD)/bulkhead-config: $(wildcard $(TOOL_SRCS)) $(wildcard vmm/config*.h lib/*.h) drivers/pci.h
	$(call say,HOSTCC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -O2 -g -DBULKHEAD_HOST -I. $(HOST_WARN) $(filter %.c,$^) -o $@

-include $(shell find $(BUILD)/unit $(BUILD)/fuzz $(BUILD)/core -name '*.d' 2>/dev/null)
