# `make test`: unit tests, fuzzers, coverage and system tests, one line of figures at the end.

## make test       everything that can be proven here: unit tests, fuzzers (60 s each), coverage,
##                 system tests in QEMU. Ends with one line "N passed, N failed"
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
test-build: $(CORE_IMAGE) guests $(UNIT_BINS) $(FUZZ_BINS) $(if $(wildcard $(TOOL_SRCS)),tools)

## make system     the system tests alone (TESTS='-k name' chooses some)
system: $(CORE_IMAGE) guests tools
	@BULKHEAD_BUILD=$(abspath $(BUILD)) /usr/bin/python3 -m pytest -p no:cacheprovider -v \
	  tests/system $(TESTS)

## make bench      time from Linux's entry to its shell, under the core and directly in QEMU (icount)
.PHONY: bench
bench: $(CORE_IMAGE) guests
	@BULKHEAD_BUILD=$(abspath $(BUILD)) /usr/bin/python3 tests/bench/boot_time.py
