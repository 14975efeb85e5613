/* What the loader hands over (Multiboot specification 0.6.96, 3.2 and 3.3). */

#include "check.h"

#define MAGIC      0x2badb002u
#define INFO_MEM   BIT(0)
#define INFO_CMD   BIT(2)
#define INFO_MODS  BIT(3)
#define INFO_MMAP  BIT(6)
#define MMAP_RAM   1
#define IMAGE_HOME 0x100000ull
#define MAX_RANGES 64

struct PACKED mmap_entry {
    uint32_t size;
    uint64_t base, length;
    uint32_t type;
};

struct module {
    uint32_t start, end, cmdline, reserved;
};

static void check_memory_map(void)
{
    uint32_t at = guest_boot.mmap_addr, end = at + guest_boot.mmap_length;
    unsigned int ranges = 0;
    bool has_home = false, has_low = false, overlap = false;
    uint64_t last = 0;

    if (!(guest_boot.flags & INFO_MMAP)) {
        check_that("mmap", false, guest_boot.flags, "a memory map");
        return;
    }
    for (; at < end && ranges < MAX_RANGES; ranges++) {
        const struct mmap_entry *e = (const struct mmap_entry *)(uintptr_t)at;

        if (e->type == MMAP_RAM) {
            has_low |= e->base == 0 && e->length >= 0x80000;
            has_home |= e->base <= IMAGE_HOME && e->base + e->length > IMAGE_HOME + MIB;
            overlap |= e->base < last;
            last = e->base + e->length;
        }
        at += e->size + sizeof(e->size);
    }
    check_range("mmap-entries", ranges, 2, MAX_RANGES - 1);
    check_eq("mmap-ends", at, end);
    check_that("mmap-low-ram", has_low, 0, "RAM from 0 to 512 KiB at least");
    check_that("mmap-high-ram", has_home, 0, "RAM from 1 MiB to 2 MiB at least");
    check_that("mmap-overlap", !overlap, 0, "RAM ranges in order, without overlap");
    check_eq("mem-upper", (guest_boot.flags & INFO_MEM) != 0 && guest_boot.mem_upper >= 1024, 1);
}

static void check_modules(void)
{
    const struct module *m = (const struct module *)(uintptr_t)guest_boot.mods_addr;

    if (!(guest_boot.flags & INFO_MODS) || guest_boot.mods_count == 0) {
        check_skip("module", "no module given");
        return;
    }
    check_eq("module-page-aligned", m->start & 0xfff, 0);
    check_that("module-size", m->end > m->start, m->end, "an end behind the start");
    check_that("module-place", m->start >= IMAGE_HOME, m->start, "a place above 1 MiB");
}

void group_boot(void)
{
    check_eq("magic", guest_boot.magic, MAGIC);
    check_eq("cmdline-flag", guest_boot.flags & INFO_CMD, INFO_CMD);
    check_memory_map();
    check_modules();
}
