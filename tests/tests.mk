# `make test`: unit tests, fuzzers, coverage and system tests, one line of figures at the end.

## make test       everything that can be proven here: unit tests, fuzzers (60 s each), coverage,
##                 system tests in QEMU and Bochs. Ends with one line "N passed, N failed"
.PHONY: test test-now test-build system
# Two steps: what the first one installs must be there when make reads the makefiles again.
test:
	@tools/deps.sh build run test
	@$(MAKE) --no-print-directory test-now

TEST_JOBS := $(shell nproc 2>/dev/null || echo 2)
test-now:
	@$(MAKE) --no-print-directory -j$(TEST_JOBS) test-build
	@BULKHEAD_BUILD=$(abspath $(BUILD)) FUZZ_SECONDS=$(FUZZ_SECONDS) \
	  /usr/bin/python3 tests/run.py --unit '$(UNIT_TESTS)' --fuzz '$(FUZZERS)' $(TEST_ARGS)
test-build: $(CORE_IMAGE) $(CORE_PVH) $(UEFI_LOADER) checked-core guests $(MEMTEST_FILES) $(UNIT_BINS) $(FUZZ_BINS) $(if $(wildcard $(TOOL_SRCS)),tools)

# The core that checks itself, for test_5_bound.py.
.PHONY: checked-core
checked-core:
	@$(MAKE) --no-print-directory CHECKS=1 core

## make system     the system tests alone (TESTS='-k name' chooses some)
system: $(CORE_IMAGE) $(CORE_PVH) $(UEFI_LOADER) checked-core guests $(MEMTEST_FILES) tools
	@BULKHEAD_BUILD=$(abspath $(BUILD)) /usr/bin/python3 tests/run.py --only system -- $(TESTS)

## make bench      what an exit costs, in instructions: a table; build/bench.json, build/bench.svg.
##                 BASE=REV: compared with that git revision, row by row (docs/performance.md)
BENCH := BULKHEAD_BUILD=$(abspath $(BUILD)) /usr/bin/python3 tests/bench/exit_cost.py
.PHONY: bench bench-baseline bench-boot
bench: $(CORE_IMAGE) $(C_GUEST_ELFS)
	@$(BENCH) $(if $(BASE),--base $(BASE)) $(BENCH_ARGS)

## make bench-baseline   write tests/bench/baseline.json anew: `make test` fails when a row grows by 3 %
bench-baseline: $(CORE_IMAGE) $(C_GUEST_ELFS)
	@$(BENCH) --write-baseline

## make bench-boot time from Linux's entry to its shell, under the core and directly in QEMU (icount)
bench-boot: $(CORE_IMAGE) guests
	@BULKHEAD_BUILD=$(abspath $(BUILD)) /usr/bin/python3 tests/bench/boot_time.py

## make fuzz-guest the fuzz guest on each machine for SECONDS (1800) or INSTRUCTIONS (10000000), SEED (1)
SECONDS      ?= 1800
INSTRUCTIONS ?= 10000000
SEED         ?= 1
.PHONY: fuzz-guest
fuzz-guest: $(CORE_IMAGE) guests
	@BULKHEAD_BUILD=$(abspath $(BUILD)) FUZZ_GUEST_SECONDS=$(SECONDS) \
	  FUZZ_GUEST_INSTRUCTIONS=$(INSTRUCTIONS) FUZZ_GUEST_SEED=$(SEED) \
	  /usr/bin/python3 -m pytest -p no:cacheprovider -v tests/system/test_9_fuzz_guest.py $(TESTS)
