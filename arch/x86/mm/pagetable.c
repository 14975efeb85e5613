#include "arch/x86/mm/pagetable.h"

#include "arch/x86/mm/page_alloc.h"
#include "lib/error.h"

#define ENTRIES    512u
#define INDEX_BITS 9u

static unsigned int shift_of(unsigned int level)
{
    return 12 + INDEX_BITS * (level - 1);
}

static unsigned int index_of(uint64_t va, unsigned int level)
{
    return (va >> shift_of(level)) & (ENTRIES - 1);
}

static bool is_present(const struct pt_format *format, uint64_t entry)
{
    return (entry & format->present) != 0;
}

static bool is_leaf(const struct pt_format *format, uint64_t entry, unsigned int level)
{
    return level == 1 || (entry & format->large) != 0;
}

static uint64_t *table_at(const struct pt_format *format, uint64_t entry)
{
    return pa_to_page(entry & format->addr_mask);
}

int pt_create(struct pagetable *pt, const struct pt_format *format)
{
    pt->format = format;
    pt->root = page_alloc();
    return pt->root ? 0 : -BH_ENOMEM;
}

/* Depth is bounded by the number of levels. */
static void free_table(const struct pt_format *format, uint64_t *table, unsigned int level)
{
    for (unsigned int i = 0; level > 1 && i < ENTRIES; i++)
        if (is_present(format, table[i]) && !is_leaf(format, table[i], level))
            free_table(format, table_at(format, table[i]), level - 1);
    page_free(table);
}

void pt_destroy(struct pagetable *pt)
{
    if (pt->root) {
        free_table(pt->format, pt->root, pt->format->levels);
        pt->root = NULL;
    }
}

uint64_t *pt_table(struct pagetable *pt, uint64_t va, unsigned int level)
{
    const struct pt_format *format = pt->format;
    uint64_t *table = pt->root;

    for (unsigned int l = format->levels; l > level; l--) {
        uint64_t *entry = &table[index_of(va, l)];
        if (!is_present(format, *entry)) {
            uint64_t *fresh = page_alloc();
            if (!fresh)
                return NULL;
            *entry = page_to_pa(fresh) | format->table;
        } else if (is_leaf(format, *entry, l)) {
            return NULL;
        }
        table = table_at(format, *entry);
    }
    return table;
}

/* Whether the levels reach that far. The core's own upper half is sign-extended; nested tables
 * start at 0. */
static bool is_covered(const struct pt_format *format, uint64_t va)
{
    uint64_t span = 1ull << shift_of(format->levels + 1);

    return va < span || va >= -(span / 2);
}

/* `size` is not 0. */
static bool va_range_is_valid(const struct pt_format *format, uint64_t va, uint64_t size)
{
    uint64_t span = 1ull << shift_of(format->levels + 1);

    return IS_ALIGNED(va | size, PAGE_SIZE_4K) && is_covered(format, va) &&
           size <= span - (va & (span - 1));
}

static bool pa_range_is_valid(const struct pt_format *format, uint64_t pa, uint64_t size)
{
    uint64_t beyond = ~(format->addr_mask | (PAGE_SIZE_4K - 1));
    uint64_t last = pa + size - 1;

    return IS_ALIGNED(pa, PAGE_SIZE_4K) && last >= pa && (last & beyond) == 0;
}

/* The level of the entry that maps as much as possible of [va, va + size) at once. A table that
 * earlier mappings left behind stays, even an empty one: a CPU may have it in its caches. */
static unsigned int level_for(const struct pagetable *pt, uint64_t va, uint64_t pa, uint64_t size)
{
    const struct pt_format *format = pt->format;
    const uint64_t *table = pt->root;
    unsigned int level = format->levels;

    for (; level > 1; level--) {
        uint64_t page = 1ull << shift_of(level);
        uint64_t entry = table ? table[index_of(va, level)] : 0;
        bool fits = level <= format->leaf_max && IS_ALIGNED(va | pa, page) && size >= page;

        if (is_present(format, entry)) {
            if (is_leaf(format, entry, level))
                break;
            table = table_at(format, entry);
        } else if (fits) {
            break;
        } else {
            table = NULL;
        }
    }
    return level;
}

int pt_map(struct pagetable *pt, uint64_t va, uint64_t pa, uint64_t size, unsigned int flags)
{
    const struct pt_format *format = pt->format;

    if (size == 0)
        return 0;
    if (!va_range_is_valid(format, va, size) || !pa_range_is_valid(format, pa, size))
        return -BH_EINVAL;
    while (size > 0) {
        unsigned int level = level_for(pt, va, pa, size);
        uint64_t *table = pt_table(pt, va, level);
        if (!table)
            return -BH_ENOMEM;
        uint64_t *entry = &table[index_of(va, level)];
        if (is_present(format, *entry))
            return -BH_EBUSY;
        *entry = pa | format->leaf(flags, level) | (level > 1 ? format->large : 0);
        va += 1ull << shift_of(level);
        pa += 1ull << shift_of(level);
        size -= 1ull << shift_of(level);
    }
    return 0;
}

/* Replaces a leaf of `level` by a table of leaves one level below with the same rights. */
static int split(const struct pt_format *format, uint64_t *entry, unsigned int level)
{
    uint64_t *table = page_alloc();
    uint64_t leaf = *entry;

    if (!table)
        return -BH_ENOMEM;
    if (level == 2)
        leaf &= ~format->large;
    for (unsigned int i = 0; i < ENTRIES; i++)
        table[i] = leaf + ((uint64_t)i << shift_of(level - 1));
    *entry = page_to_pa(table) | format->table;
    return 0;
}

int pt_unmap(struct pagetable *pt, uint64_t va, uint64_t size)
{
    const struct pt_format *format = pt->format;

    if (size == 0)
        return 0;
    if (!va_range_is_valid(format, va, size))
        return -BH_EINVAL;
    uint64_t left = size;
    while (left > 0) {
        uint64_t *table = pt->root;
        unsigned int level = format->levels;
        uint64_t *entry = &table[index_of(va, level)];
        uint64_t page;

        for (;;) {
            page = 1ull << shift_of(level);
            if (!is_present(format, *entry))
                break;
            if (is_leaf(format, *entry, level)) {
                if (IS_ALIGNED(va, page) && left >= page) {
                    *entry = 0;
                    break;
                }
                int err = split(format, entry, level);
                if (err)
                    return err;
            }
            table = table_at(format, *entry);
            entry = &table[index_of(va, --level)];
        }
        uint64_t step = page - (va & (page - 1));
        if (step >= left)
            break;
        va += step;
        left -= step;
    }
    return 0;
}
