#ifndef BULKHEAD_BOOT_MEMORY_MAP_H
#define BULKHEAD_BOOT_MEMORY_MAP_H

/* The machine's memory map: what the firmware says, put in order, and what the core and its modules
 * take out of it. Boot only, one CPU, no lock. */

#include <stddef.h>
#include <stdint.h>

#include "lib/macros.h"

/* Room for a firmware's map of 1,000 ranges and what the core and its modules take out of it. */
#define MEMORY_MAP_MAX 1280

/* The firmware's own numbers (ACPI 6.5, table 15.3). Every other number, such as those of
 * persistent memory (7; 12 before ACPI 6) and of memory for special purposes, counts as reserved.
 * Where ranges overlap, the later one in the order usable, ACPI, NVS, reserved, bad wins. */
enum memory_type { MEM_USABLE = 1, MEM_RESERVED = 2, MEM_ACPI = 3, MEM_NVS = 4, MEM_BAD = 5 };

struct memory_range {
    uint64_t base;
    uint64_t size;
    uint32_t type;
};

struct memory_map {
    unsigned int count;
    unsigned int given; /* ranges that memory_map_add was called for */
    unsigned int cut;   /* ranges cut at 2^52, the architecture's limit, or dropped */
    unsigned int empty; /* ranges of no bytes, ignored */
    struct memory_range r[MEMORY_MAP_MAX];
};

/* Appends a range, or lengthens the last one that it continues. One of no bytes is ignored and
 * counted. One that reaches beyond 2^52, or wraps, is wrong: it is counted, logged, and, when it is
 * called usable, ignored, else cut there. Returns -BH_ENOMEM when the table is full; its ranges are
 * then as they were. */
MUST_CHECK int memory_map_add(struct memory_map *map, uint64_t base, uint64_t size, uint32_t type);

/* True when a range of one of `of_types` (BIT(MEM_...)) reaches into [base, base + size). */
bool memory_map_has(const struct memory_map *map, uint64_t base, uint64_t size, uint32_t of_types);

/* Sorts by address, resolves overlaps in favour of the more restrictive type, and merges neighbours
 * of one type. Returns -BH_ENOMEM when the result does not fit; the map is then only sorted. All
 * functions below demand a map that was normalised, and leave it so. */
MUST_CHECK int memory_map_normalise(struct memory_map *map);

/* Gives the range to `type` as far as that is more restrictive than what it was. What was in no
 * range before is in one after. Returns -BH_ENOMEM when the table is full, the map then is as it
 * was. */
MUST_CHECK int memory_map_reserve(struct memory_map *map, uint64_t base, uint64_t size,
                                  uint32_t type);

/* Finds the highest `size` bytes of usable memory that begin at a multiple of `align` (a power of
 * two) and end at or below `limit`, and stores their start. It does not take them:
 * memory_map_reserve does. Returns -BH_ENOENT when there is no such place, -BH_EINVAL for a size of
 * 0 or a bad alignment. */
MUST_CHECK int memory_map_find(const struct memory_map *map, uint64_t size, uint64_t align,
                               uint64_t limit, uint64_t *base);

/* Finds a usable page for real-mode code: below 640 KiB and the extended BIOS data area, which
 * begins at segment `ebda` (the word at 40Eh; a value that makes no sense is ignored), and not page
 * 0, which has the interrupt vectors and the BIOS data. It does not take it. Returns 0 or
 * -BH_ENOENT. */
MUST_CHECK int memory_map_find_low(const struct memory_map *map, uint16_t ebda, uint64_t *base);

/* Name of a type, for the log. */
const char *memory_type_name(uint32_t type);

#endif
