#ifndef BULKHEAD_BOOT_MULTIBOOT_H
#define BULKHEAD_BOOT_MULTIBOOT_H

#include "boot/boot_info.h"
#include "boot/multiboot1.h"

#define MULTIBOOT2_MAGIC 0x36d76289u

/* Physical memory as the parser may read it: `base` is where address 0 is mapped. */
struct phys_view {
    const uint8_t *base;
    uint64_t limit; /* first address that may not be read */
};

/* Fills `info` from the loader's structure at physical address `addr`. Returns 0, -BH_ENOTSUP for a
 * magic that is no multiboot loader's, -BH_EINVAL when the structure is malformed, or -BH_ENOMEM
 * when its memory map has too many ranges (all logged). */
MUST_CHECK int multiboot_parse(struct boot_info *info, uint32_t magic, uint64_t addr,
                               const struct phys_view *view);

#endif
