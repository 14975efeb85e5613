#ifndef BULKHEAD_ARCH_X86_MM_PAGETABLE_H
#define BULKHEAD_ARCH_X86_MM_PAGETABLE_H

/* One walker for every radix tree of 9 bits a level: the core's own page tables, AMD's nested page
 * tables (the same format) and Intel's EPT. What differs stands in a struct pt_format. */

#include "lib/macros.h"

/* What the caller asks for; the format turns it into entry bits. */
#define PT_READ     BIT(0)
#define PT_WRITE    BIT(1)
#define PT_EXEC     BIT(2)
#define PT_USER     BIT(3)
#define PT_GLOBAL   BIT(4)
#define PT_UNCACHED BIT(5)
#define PT_COMBINED BIT(6) /* the core's own tables only */

struct pt_format {
    unsigned int levels;   /* 4 or 5 */
    unsigned int leaf_max; /* highest level with leaves: 1 = 4 KiB, 2 = 2 MiB, 3 = 1 GiB */
    uint64_t present;      /* an entry is in use when any of these is set */
    uint64_t large;        /* bit that makes an entry above level 1 a leaf */
    uint64_t table;        /* bits of an entry that points to a table */
    uint64_t addr_mask;    /* physical address bits */
    uint64_t (*leaf)(unsigned int flags, unsigned int level); /* bits of a leaf, without `large` */
};

struct pagetable {
    const struct pt_format *format;
    uint64_t *root;
};

/* Allocates the empty root. Returns 0 or -BH_ENOMEM. */
MUST_CHECK int pt_create(struct pagetable *pt, const struct pt_format *format);

/* Frees all tables, root included. What the leaves point at is the caller's. */
void pt_destroy(struct pagetable *pt);

/* Maps [va, va + size) to [pa, pa + size), all multiples of 4 KiB, with the largest pages that
 * alignment, format and the tables that are there already allow. Returns 0, -BH_EINVAL (alignment,
 * an address beyond the levels or beyond addr_mask), -BH_EBUSY (a part is mapped already) or
 * -BH_ENOMEM; after these two the range is mapped up to where it failed. The caller flushes TLBs if
 * an entry may have been cached. */
MUST_CHECK int pt_map(struct pagetable *pt, uint64_t va, uint64_t pa, uint64_t size,
                      unsigned int flags);

/* Removes [va, va + size). A larger page that is only partly covered is split first. Unmapped parts
 * are passed over. Returns 0, -BH_EINVAL or -BH_ENOMEM (for a split; the range is then removed up
 * to there). Tables stay until pt_destroy, even empty ones. The caller flushes TLBs. */
MUST_CHECK int pt_unmap(struct pagetable *pt, uint64_t va, uint64_t size);

/* The table of `level` that covers `va`, made when absent (level 1: the table of 4 KiB entries).
 * NULL when memory runs out or a larger page is in the way. */
uint64_t *pt_table(struct pagetable *pt, uint64_t va, unsigned int level);

#endif
