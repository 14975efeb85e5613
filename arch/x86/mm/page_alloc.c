/* The core's own page pool: a bitmap for each region, searched from where the last page was found.
 * Pages are cleared when they are given out, and also when they come back: what the core has
 * forgotten must not be there for a speculative read to find. */

#include "arch/x86/mm/page_alloc.h"

#include "lib/error.h"
#include "lib/log.h"
#include "lib/spinlock.h"
#include "lib/string.h"

#define PAGE       PAGE_SIZE_4K
#define WORD_BITS  64u
#define ALL_USED   UINT64_MAX
#define INLINE_MAX 4u /* words: regions up to 1 MiB need no page for their bitmap */

struct region {
    uint8_t *va;
    uint64_t pa;
    size_t pages; /* all of them, those of the bitmap included */
    size_t own;   /* pages at the start that hold the bitmap */
    size_t words;
    size_t hint;      /* word of the bitmap where the next search begins */
    uint64_t *bitmap; /* bit set = page in use */
    uint64_t inline_bitmap[INLINE_MAX];
};

/* Guards all of the pool but for the regions' addresses and sizes, which stay what they are once
 * `count` has them. Pages are cleared outside of it. */
static struct spinlock pool_lock = SPINLOCK(LOCK_PAGES, "page pool");

static struct {
    unsigned int count; /* written with release */
    size_t free;
    size_t total;
    struct region regions[PAGE_POOL_REGIONS];
} pool;

static unsigned int region_count(void)
{
    return __atomic_load_n(&pool.count, __ATOMIC_ACQUIRE);
}

static bool is_used(const struct region *r, size_t page)
{
    return r->bitmap[page / WORD_BITS] & BIT64(page % WORD_BITS);
}

static void mark(struct region *r, size_t page, bool used)
{
    uint64_t bit = BIT64(page % WORD_BITS);

    if (used) {
        r->bitmap[page / WORD_BITS] |= bit;
        pool.free--;
    } else {
        r->bitmap[page / WORD_BITS] &= ~bit;
        pool.free++;
    }
}

static bool overlap(uint64_t a, uint64_t b, size_t a_bytes, size_t b_bytes)
{
    return a < b ? b - a < a_bytes : a - b < b_bytes;
}

static bool is_new(uint64_t va, uint64_t pa, size_t bytes)
{
    for (unsigned int i = 0; i < pool.count; i++) {
        const struct region *r = &pool.regions[i];
        size_t r_bytes = r->pages * PAGE;

        if (overlap((uintptr_t)r->va, va, r_bytes, bytes) || overlap(r->pa, pa, r_bytes, bytes))
            return false;
    }
    return true;
}

static int add_region(void *va, uint64_t pa, size_t bytes)
{
    if (pool.count == PAGE_POOL_REGIONS)
        return -BH_ENOMEM;
    struct region *r = &pool.regions[pool.count];
    size_t pages = bytes / PAGE;
    size_t words = pages / WORD_BITS + (pages % WORD_BITS != 0);
    size_t own = words <= INLINE_MAX ? 0 : ALIGN_UP(words * sizeof(uint64_t), PAGE) / PAGE;

    if (!IS_ALIGNED((uintptr_t)va | pa | bytes, PAGE) || va == NULL || pages <= own ||
        (uintptr_t)va + bytes - 1 < (uintptr_t)va || pa + bytes - 1 < pa ||
        !is_new((uintptr_t)va, pa, bytes))
        return -BH_EINVAL;
    *r = (struct region){.va = va, .pa = pa, .pages = pages, .own = own, .words = words};
    r->bitmap = own == 0 ? r->inline_bitmap : va;
    memset(r->bitmap, 0, words * sizeof(uint64_t));
    if (pages % WORD_BITS != 0)
        r->bitmap[words - 1] = ALL_USED << pages % WORD_BITS;
    for (size_t i = 0; i < own; i++)
        r->bitmap[i / WORD_BITS] |= BIT64(i % WORD_BITS);
    __atomic_store_n(&pool.count, pool.count + 1, __ATOMIC_RELEASE);
    pool.free += pages - own;
    pool.total += pages - own;
    return 0;
}

int page_pool_add(void *va, uint64_t pa, size_t bytes)
{
    spin_acquire(&pool_lock);
    int err = add_region(va, pa, bytes);
    spin_release(&pool_lock);
    return err;
}

void page_pool_init(void *va, uint64_t pa, size_t bytes)
{
    memset(&pool, 0, sizeof(pool));
    if (page_pool_add(va, pa, bytes) != 0)
        log_error("page pool: bad region of %zu bytes at 0x%llx", bytes, LLU(pa));
}

static void *take_one(struct region *r)
{
    for (size_t n = 0; n < r->words; n++) {
        size_t word = r->hint + n < r->words ? r->hint + n : r->hint + n - r->words;

        if (r->bitmap[word] != ALL_USED) {
            size_t page = word * WORD_BITS + (size_t)__builtin_ctzll(~r->bitmap[word]);

            r->hint = word;
            mark(r, page, true);
            return r->va + page * PAGE;
        }
    }
    return NULL;
}

void *page_alloc(void)
{
    void *page = NULL;

    spin_acquire(&pool_lock);
    for (unsigned int i = 0; i < pool.count && !page; i++)
        page = take_one(&pool.regions[i]);
    spin_release(&pool_lock);
    return page ? memset(page, 0, PAGE) : NULL;
}

/* First page at or after `from` that has the physical alignment. */
static size_t align_page(const struct region *r, size_t from, unsigned int align)
{
    uint64_t frame = r->pa / PAGE + from;

    return from + (size_t)(ALIGN_UP(frame, align) - frame);
}

static void *take_many(struct region *r, unsigned int pages, unsigned int align)
{
    size_t first = align_page(r, r->own, align);

    while (first < r->pages && r->pages - first >= pages) {
        size_t end = first + pages;
        size_t page = first;

        while (page < end && !is_used(r, page))
            page++;
        if (page == end) {
            for (page = first; page < end; page++)
                mark(r, page, true);
            return r->va + first * PAGE;
        }
        first = align_page(r, page + 1, align);
    }
    return NULL;
}

void *page_alloc_contiguous(unsigned int pages, unsigned int align_pages)
{
    void *first = NULL;

    if (pages == 0 || align_pages == 0 || (align_pages & (align_pages - 1)) != 0)
        return NULL;
    spin_acquire(&pool_lock);
    for (unsigned int i = 0; i < pool.count && !first; i++)
        first = take_many(&pool.regions[i], pages, align_pages);
    spin_release(&pool_lock);
    return first ? memset(first, 0, pages * PAGE) : NULL;
}

static struct region *region_of(const void *p)
{
    for (unsigned int i = 0; i < region_count(); i++) {
        struct region *r = &pool.regions[i];

        if ((uintptr_t)p - (uintptr_t)r->va < r->pages * PAGE)
            return r;
    }
    return NULL;
}

/* True when all of them were given out. */
static bool are_allocated(const struct region *r, size_t page, unsigned int pages)
{
    if (page < r->own || r->pages - page < pages)
        return false;
    for (unsigned int i = 0; i < pages; i++)
        if (!is_used(r, page + i))
            return false;
    return true;
}

void page_free_contiguous(void *first, unsigned int pages)
{
    if (first == NULL || pages == 0)
        return;
    struct region *r = region_of(first);
    size_t page = r == NULL ? 0 : ((uintptr_t)first - (uintptr_t)r->va) / PAGE;

    spin_acquire(&pool_lock);
    bool valid = r != NULL && IS_ALIGNED((uintptr_t)first, PAGE) && are_allocated(r, page, pages);
    spin_release(&pool_lock);
    if (!valid) {
        log_error("page pool: freed %u page(s) at %p that are not allocated", pages, first);
        return;
    }
    memset(first, 0, pages * PAGE);
    spin_acquire(&pool_lock);
    for (unsigned int i = 0; i < pages; i++)
        mark(r, page + i, false);
    spin_release(&pool_lock);
}

void page_free(void *page)
{
    page_free_contiguous(page, 1);
}

uint64_t page_to_pa(const void *p)
{
    const struct region *r = region_of(p);

    if (r == NULL) {
        log_error("page pool: %p is not in it", p);
        return 0;
    }
    return r->pa + ((uintptr_t)p - (uintptr_t)r->va);
}

void *pa_to_page(uint64_t pa)
{
    for (unsigned int i = 0; i < region_count(); i++) {
        const struct region *r = &pool.regions[i];

        if (pa - r->pa < r->pages * PAGE)
            return r->va + (pa - r->pa);
    }
    return NULL;
}

size_t page_free_count(void)
{
    return __atomic_load_n(&pool.free, __ATOMIC_RELAXED);
}

size_t page_total_count(void)
{
    return __atomic_load_n(&pool.total, __ATOMIC_RELAXED);
}
