#ifndef BULKHEAD_ARCH_X86_MM_FRAME_ALLOC_H
#define BULKHEAD_ARCH_X86_MM_FRAME_ALLOC_H

/* Guests' RAM, in frames of 2 MiB. The allocator knows physical addresses only: this memory is
 * never mapped, so the bookkeeping stands outside it. Any CPU, interrupts off; lock
 * "guest frames", which no call holds for longer than some scans of the bitmap. */

#include <stddef.h>
#include <stdint.h>

#include "boot/memory_map.h"
#include "lib/macros.h"

#define FRAME_SIZE PAGE_SIZE_2M
/* Usable memory at and above this address is left alone. */
#define FRAME_PA_MAX (4096 * GIB)

/* Contiguous guest RAM. */
struct frame_run {
    uint64_t base; /* physical, a multiple of FRAME_SIZE */
    uint64_t size; /* bytes, a multiple of FRAME_SIZE */
};

/* Bytes of storage that frame_init needs for a (normalised) map: 1/8 MiB for each TiB up to the
 * highest usable address. */
size_t frame_bitmap_bytes(const struct memory_map *usable);

/* Takes over every whole frame that is usable in the (normalised) map. `storage` stays with the
 * allocator, 8-byte aligned. Returns -BH_EINVAL when it is smaller than frame_bitmap_bytes or
 * misaligned. The core's own memory must have been reserved in the map before. */
MUST_CHECK int frame_init(const struct memory_map *usable, void *storage, size_t storage_bytes);

/* Takes `size` bytes (a multiple of FRAME_SIZE, not 0) and stores them as a list of runs, the
 * number of which goes into `count`. Whole GiBs are 1-GiB-aligned where the free memory allows it;
 * memory below 4 GiB is taken last. The contents are whatever was there before: the caller clears
 * them. Returns -BH_EINVAL for a bad size, and -BH_ENOMEM when there is too little memory or when
 * it is too scattered for `max_runs`; nothing is taken then. */
MUST_CHECK int frame_alloc(uint64_t size, struct frame_run *runs, unsigned int max_runs,
                           unsigned int *count);

/* Gives memory back: a whole run, or a part of one. Returns -BH_EINVAL, with nothing changed and an
 * error logged, when any frame in it is not allocated; that is a bug of the core. */
int frame_free(uint64_t base, uint64_t size);

/* Bytes that are free, and bytes that the allocator has in all. */
uint64_t frame_free_bytes(void);
uint64_t frame_total_bytes(void);

#endif
