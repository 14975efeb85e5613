#ifndef BULKHEAD_BOOT_UEFI_EFI_MAP_H
#define BULKHEAD_BOOT_UEFI_EFI_MAP_H

/* Firmware's memory map in the core's terms (UEFI 2.10, 7.2.3). Needs no firmware. */

#include "boot/memory_map.h"
#include "lib/macros.h"

/* EFI_MEMORY_DESCRIPTOR, as far as all versions of it agree. */
struct efi_descriptor {
    uint32_t type, unused;
    uint64_t start;
    uint64_t virtual_start;
    uint64_t pages; /* of 4 KiB */
    uint64_t attribute;
};
static_assert(sizeof(struct efi_descriptor) == 40, "EFI_MEMORY_DESCRIPTOR");

/* Reads the descriptors at `at`, `stride` bytes apart in `size` bytes. Memory is usable when it is
 * of a kind that is free after boot services, can be cached, and is neither persistent, nor kept
 * for a purpose, nor firmware's at run time. Neighbours of one type become one range, nothing is
 * sorted. Returns -BH_EINVAL when the stride is shorter than a descriptor, and -BH_ENOMEM when the
 * ranges do not fit. */
MUST_CHECK int efi_map_convert(const void *at, uint64_t size, uint64_t stride,
                               struct memory_map *map);

#endif
