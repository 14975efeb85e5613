#ifndef BULKHEAD_BOOT_BOOT_PARSE_H
#define BULKHEAD_BOOT_BOOT_PARSE_H

/* What the parsers of loaders' information share. Boot only. */

#include "boot/boot_info.h"

/* Physical memory as a parser may read it: `base` is where address 0 is mapped. */
struct phys_view {
    const uint8_t *base;
    uint64_t limit; /* first address that may not be read */
};

/* Copies `size` bytes from physical address `addr`; false when they are not all in the view. */
bool phys_view_read(const struct phys_view *view, uint64_t addr, void *dst, uint64_t size);

/* Copies a string of at most `max` bytes at `addr`; cut to fit `size`, always terminated. */
void phys_view_string(const struct phys_view *view, uint64_t addr, uint64_t max, char *dst,
                      size_t size);

/* Adds the module from `start` to `end`, named by the last path component of the first word of
 * `string`. One more than there is room for is counted only. Returns 0 or -BH_EINVAL (logged). */
MUST_CHECK int boot_add_module(struct boot_info *info, uint64_t start, uint64_t end,
                               const char *string);

/* Adds a range to the memory map. Returns 0, -BH_EINVAL for too many, -BH_ENOMEM when the table is
 * full (all logged). */
MUST_CHECK int boot_add_range(struct boot_info *info, uint64_t base, uint64_t length,
                              uint32_t type);

#endif
