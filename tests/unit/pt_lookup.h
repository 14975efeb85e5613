#ifndef BULKHEAD_TESTS_UNIT_PT_LOOKUP_H
#define BULKHEAD_TESTS_UNIT_PT_LOOKUP_H

/* What a page table says, read as the hardware reads it, for tests. */

#include "arch/x86/mm/page_alloc.h"
#include "arch/x86/mm/pagetable.h"
#include "lib/error.h"

/* Looks `va` up: physical address in *pa, the leaf entry in *entry and its page size in *size (any
 * may be NULL). Returns 0, or -BH_EFAULT when it is not mapped. */
static inline int pt_lookup(const struct pagetable *pt, uint64_t va, uint64_t *pa, uint64_t *entry,
                            uint64_t *size)
{
    const struct pt_format *format = pt->format;
    const uint64_t *table = pt->root;
    unsigned int level = format->levels;
    uint64_t span = 1ull << (12 + 9 * level);
    uint64_t page = span >> 9;

    /* The levels do not reach that far; the upper half is sign-extended. */
    if (va >= span && va < -(span / 2))
        return -BH_EFAULT;
    for (; level > 0; level--, page >>= 9) {
        uint64_t e = table[va / page % 512];

        if (!(e & format->present))
            return -BH_EFAULT;
        if (level == 1 || (e & format->large)) {
            if (pa)
                *pa = (e & format->addr_mask & ~(page - 1)) | (va & (page - 1));
            if (entry)
                *entry = e;
            if (size)
                *size = page;
            return 0;
        }
        table = pa_to_page(e & format->addr_mask);
    }
    return -BH_EFAULT;
}

#endif
