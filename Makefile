# Bulkhead: build, run and test. `make help` lists the targets.

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := core

# CHECKS=1: a core that checks itself (lib/checks.h), in a folder of its own.
CHECKS ?= 0
BUILD  ?= build$(if $(filter 1,$(CHECKS)),/checks)
DOWNLOAD := $(patsubst %/checks,%,$(BUILD))/download
CC    := gcc
NASM  := nasm
Q     := $(if $(filter 1,$(V)),,@)
say    = @printf '  %-7s %s\n' $(1) $(2)

include tools/build/core.mk
include tools/build/uefi.mk
include tools/build/host.mk
-include guest-images/images.mk
-include tools/build/image.mk
-include tests/tests.mk

.PHONY: help clean core unit fuzz
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make            build the core's images (build/bulkhead.elf32, and bulkhead.pvh for PVH loaders);
##                 any target with CHECKS=1: one that checks itself, in build/checks/
core: $(CORE_IMAGE) $(CORE_PVH)

## make clean      delete everything that was built, keep downloads (make distclean: those, too)
clean:
	$(Q)find $(BUILD) -mindepth 1 -maxdepth 1 ! -name download -exec rm -rf {} + 2>/dev/null || true
distclean:
	$(Q)rm -rf $(BUILD)
