#ifndef BULKHEAD_VMM_LOADER_E820_H
#define BULKHEAD_VMM_LOADER_E820_H

/* The memory map that a guest is given, in the form of BIOS call INT 15h, AX=E820h. */

#include "lib/macros.h"

enum guest_e820_type {
    GUEST_E820_RAM = 1,
    GUEST_E820_RESERVED = 2,
    GUEST_E820_ACPI = 3, /* tables, may be reused when read */
    GUEST_E820_NVS = 4,
};

struct guest_e820_entry {
    uint64_t base; /* GPA */
    uint64_t size; /* bytes */
    uint32_t type; /* enum guest_e820_type */
} PACKED;
static_assert(sizeof(struct guest_e820_entry) == 20, "E820 layout");

/* The virtual PC's fixed points. The BIOS area is RAM for the VM but reserved in the map: the
 * generated ACPI tables stand in it. */
#define GUEST_LOW_RAM_END 0x9fc00ull
#define GUEST_EBDA_END    0xa0000ull
#define GUEST_BIOS_BASE   0xf0000ull
#define GUEST_BIOS_END    0x100000ull
#define GUEST_HIGH_RAM    (4 * GIB)
#define GUEST_E820_PC_MAX 5
#define GUEST_E820_MAX    128 /* entries that Linux's boot_params hold */

/* Writes the virtual PC's map: `ram_low` bytes of RAM from GPA 0 (at least 1 MiB, at most 4 GiB),
 * `ram_high` bytes from 4 GiB. Returns the number of entries, at most GUEST_E820_PC_MAX. */
unsigned int guest_e820_pc(struct guest_e820_entry map[GUEST_E820_PC_MAX], uint64_t ram_low,
                           uint64_t ram_high);

/* Checks a map: count, sorted, no overlap, no wrap, only whole entries. 0 or -BH_EINVAL. */
MUST_CHECK int guest_e820_check(const struct guest_e820_entry *map, unsigned int count);

struct guest_range {
    uint64_t base, size;
};

/* The lowest or highest start of `size` bytes of RAM, aligned to `align` (a power of two), inside
 * [min, max) (max exclusive) and not overlapping what is to be avoided. Returns 0, or -BH_ENOMEM
 * when there is no such place. */
MUST_CHECK int guest_e820_lowest(const struct guest_e820_entry *map, unsigned int count,
                                 uint64_t size, uint64_t align, uint64_t min, uint64_t max,
                                 uint64_t *gpa);
MUST_CHECK int guest_e820_lowest_free(const struct guest_e820_entry *map, unsigned int count,
                                      uint64_t size, uint64_t align, uint64_t min, uint64_t max,
                                      const struct guest_range *used, unsigned int used_count,
                                      uint64_t *gpa);
MUST_CHECK int guest_e820_highest(const struct guest_e820_entry *map, unsigned int count,
                                  uint64_t size, uint64_t align, uint64_t min, uint64_t max,
                                  const struct guest_range *avoid, uint64_t *gpa);

/* Whether all of [base, base + size) is RAM of one entry; false when it wraps. */
bool guest_e820_is_ram(const struct guest_e820_entry *map, unsigned int count, uint64_t base,
                       uint64_t size);

#endif
