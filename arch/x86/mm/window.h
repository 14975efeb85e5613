#ifndef BULKHEAD_ARCH_X86_MM_WINDOW_H
#define BULKHEAD_ARCH_X86_MM_WINDOW_H

/* The CPU's windows onto physical memory that the core does not keep mapped: guest RAM and boot
 * modules. Each is this CPU's own and holds one mapping at a time; interrupt handlers must not use
 * them. vmm/guest_memory.c, vmm/emulate/code_cache.c, vmm/pv_eoi.c, vmm/pvclock.c,
 * vmm/steal_time.c and the module reader are the only users. */

#include <stdint.h>

#include "lib/macros.h"

/* What a slot is for, so that no two users that nest share one. */
enum window_slot { WINDOW_COPY, WINDOW_PTE, WINDOW_FIRMWARE };
enum window_slot_2m { WINDOW_2M_TARGET, WINDOW_2M_SOURCE };

/* Maps the 4 KiB page that contains `pa`, writable and not executable. Returns the address that
 * corresponds to `pa` itself, valid until window_unmap of the slot. */
void *window_map(enum window_slot slot, uint64_t pa);
void window_unmap(enum window_slot slot);

/* The same with the 2 MiB page that contains `pa`. */
void *window_map_2m(enum window_slot_2m slot, uint64_t pa);
void window_unmap_2m(enum window_slot_2m slot);

/* Page-table entries that led to a page, and the page: physical memory that is read again only as
 * long as the entries are what they were. */
#define WINDOW_PATH_MAX 5

struct window_path {
    uint64_t page_pte; /* of the window, for the page */
    const struct window_word *end;
    struct window_word {
        uint64_t pte; /* of the window */
        const volatile uint64_t *va;
        uint64_t value;
    } words[WINDOW_PATH_MAX];
};

/* What window_path_read() (window_path.h) gives. */
struct window_bytes {
    uint64_t low, high;
};

/* Begins a path: no entries. */
void window_path_start(struct window_path *path);
/* Reads the naturally aligned 64-bit word at `pa`, and adds it to those of the path. At most
 * WINDOW_PATH_MAX times. */
uint64_t window_path_add(struct window_path *path, uint64_t pa);
/* Completes it with the page that it leads to. */
void window_path_end(struct window_path *path, uint64_t page_pa);

/* Copies physical memory that is not guest RAM (boot modules, firmware tables) into the core. */
void window_read_physical(uint64_t pa, void *dst, size_t len);

#endif
