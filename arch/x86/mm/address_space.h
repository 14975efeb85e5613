#ifndef BULKHEAD_ARCH_X86_MM_ADDRESS_SPACE_H
#define BULKHEAD_ARCH_X86_MM_ADDRESS_SPACE_H

/* The core's own page tables: see arch/x86/layout.h for what is where. */

#include "arch/x86/mm/pte.h"
#include "arch/x86/percpu.h"
#include "lib/macros.h"

#define PTE_WINDOW (PTE_P | PTE_W | PTE_A | PTE_D | PTE_NX)

extern const struct pt_format host_pt_format;

/* Builds the tables that all CPUs share, and the boot CPU's own, from the page pool, which must be
 * mapped (by the boot tables) at its final address. Returns 0 or -BH_ENOMEM. */
MUST_CHECK int address_space_init(uint64_t pool_pa, uint64_t pool_size);

/* A struct percpu for another CPU, with page tables, stacks and windows of its own. NULL when
 * memory runs out. Boot CPU. */
struct percpu *address_space_create_cpu(void);

/* Page tables with the core's shared part and one page at its physical address, executable, for
 * CPUs on their way from real mode. Returns 0 or -BH_ENOMEM. */
MUST_CHECK int address_space_create_low(struct pagetable *pt, uint64_t pa);
void address_space_destroy_low(struct pagetable *pt);

/* Switches the boot CPU to them: the boot tables' identity map is gone after that. */
void address_space_enter(void);

/* Maps `size` bytes of device registers at `pa`, uncached, for the core's lifetime. NULL when the
 * window for devices or memory is used up. */
volatile void *device_map(uint64_t pa, uint64_t size);

/* The same for a framebuffer: writes are combined and may come late (SDM vol. 3, 12.3.1). After
 * memory_types_init(). */
volatile void *device_map_combined(uint64_t pa, uint64_t size);

/* Takes the boot-only parts of the image away and gives their pages to the pool. */
void address_space_free_init(void);

/* For the self-test, on this CPU's tables: is any of [pa, pa + size) mapped; is any page writable
 * and executable. */
bool address_space_maps_pa(uint64_t pa, uint64_t size);
bool address_space_has_wx(void);

#endif
