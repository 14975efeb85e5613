#ifndef BULKHEAD_ARCH_X86_MM_WINDOW_H
#define BULKHEAD_ARCH_X86_MM_WINDOW_H

/* The CPU's windows onto physical memory that the core does not keep mapped: guest RAM and boot
 * modules. Each is this CPU's own and holds one mapping at a time; interrupt handlers must not use
 * them. vmm/guest_memory.c and the module reader are the only users. */

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

/* Copies physical memory that is not guest RAM (boot modules, firmware tables) into the core. */
void window_read_physical(uint64_t pa, void *dst, size_t len);

#endif
