#ifndef BULKHEAD_BOOT_MULTIBOOT_H
#define BULKHEAD_BOOT_MULTIBOOT_H

#include "boot/boot_parse.h"
#include "boot/multiboot1.h"

#define MULTIBOOT2_MAGIC 0x36d76289u

/* Fills `info` from the loader's structure at physical address `addr`. Returns 0, -BH_ENOTSUP for a
 * magic that is no multiboot loader's, -BH_EINVAL when the structure is malformed, or -BH_ENOMEM
 * when its memory map has too many ranges (all logged). */
MUST_CHECK int multiboot_parse(struct boot_info *info, uint32_t magic, uint64_t addr,
                               const struct phys_view *view);

#endif
