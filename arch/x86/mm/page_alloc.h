#ifndef BULKHEAD_ARCH_X86_MM_PAGE_ALLOC_H
#define BULKHEAD_ARCH_X86_MM_PAGE_ALLOC_H

/* The core's own memory, in pages of 4 KiB: page tables, VMCBs, stacks, VMs and vCPUs. It never
 * holds guest memory. Any CPU, interrupts off; lock "page pool". */

#include <stddef.h>
#include <stdint.h>

#include "lib/macros.h"

#define PAGE_POOL_REGIONS 4

/* Starts the pool with one region of `bytes` mapped at `va`, physically contiguous from `pa`; all
 * three multiples of 4 KiB. Above 1 MiB the region's first pages hold its bitmap, one page for each
 * 128 MiB.
 */
void page_pool_init(void *va, uint64_t pa, size_t bytes);

/* Adds a further region, such as memory that only the boot needed. Returns -BH_EINVAL for a region
 * that is misaligned, overlaps one already there, or is too small to hold a page besides its
 * bitmap; -BH_ENOMEM when there are PAGE_POOL_REGIONS already. */
int page_pool_add(void *va, uint64_t pa, size_t bytes);

/* A zeroed page, or NULL when the pool is empty. */
void *page_alloc(void);

/* `pages` zeroed pages, contiguous and with a physical address that is a multiple of `align_pages`
 * pages (a power of two); NULL when there is no such place or an argument is bad. */
void *page_alloc_contiguous(unsigned int pages, unsigned int align_pages);

/* Gives pages back; they are cleared at once. NULL is ignored. What is not a page of the pool, or
 * not allocated, is refused with an error in the log: that is a bug of the core. */
void page_free(void *page);
void page_free_contiguous(void *first, unsigned int pages);

/* Physical address of a byte in the pool; 0 when it is outside (an error is logged). */
uint64_t page_to_pa(const void *p);

/* Where the pool maps a physical address; NULL when it is outside of the pool. */
void *pa_to_page(uint64_t pa);

/* Pages that are free, and pages that the pool can give out in all (its bitmaps not counted). */
size_t page_free_count(void);
size_t page_total_count(void);

#endif
