#ifndef BULKHEAD_BOOT_CORE_HEADER_H
#define BULKHEAD_BOOT_CORE_HEADER_H

/* For loaders of our own: what stands at the very start of the core's first segment. They load
 * the segments at a common distance, a multiple of CORE_ALIGN, from their physical addresses, all
 * of it below 4 GiB, and go to `entry` at the same distance: in long mode, interrupts off, what is
 * below 4 GiB mapped to itself, EDI = BOOT_MAGIC_INFO, ESI = the address of a struct boot_info. */

#include "lib/macros.h"

#define CORE_HEADER_MAGIC 0x42484b36u
#define CORE_ALIGN        (2 * MIB)
#define BOOT_MAGIC_INFO   0x42484249u

struct core_header {
    uint32_t magic;
    uint32_t info_size; /* sizeof(struct boot_info): another one is another core's */
    uint64_t entry;     /* physical, as linked */
};
static_assert(sizeof(struct core_header) == 16, "loaders read it");

#endif
