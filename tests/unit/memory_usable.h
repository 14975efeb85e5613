#ifndef BULKHEAD_TESTS_UNIT_MEMORY_USABLE_H
#define BULKHEAD_TESTS_UNIT_MEMORY_USABLE_H

/* What a normalised memory map says about usable memory, for tests and fuzzers. */

#include "boot/memory_map.h"

/* Bytes of usable memory. */
static inline uint64_t memory_map_usable(const struct memory_map *map)
{
    uint64_t sum = 0;

    for (unsigned int i = 0; i < map->count; i++)
        sum += map->r[i].type == MEM_USABLE ? map->r[i].size : 0;
    return sum;
}

/* True when every byte of [base, base + size) is usable. An empty range is not. */
static inline bool memory_map_is_usable(const struct memory_map *map, uint64_t base, uint64_t size)
{
    for (unsigned int i = 0; i < map->count; i++) {
        const struct memory_range *r = &map->r[i];

        if (r->type == MEM_USABLE && base >= r->base && base - r->base < r->size)
            return size != 0 && size <= r->size - (base - r->base);
    }
    return false;
}

#endif
