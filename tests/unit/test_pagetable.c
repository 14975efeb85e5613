/* Page tables of two formats, AMD64's and EPT's, in a real page pool: which page sizes are chosen,
 * splitting, every refusal, memory running out, and at random against a model of 4 KiB pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "arch/x86/mm/page_alloc.h"
#include "arch/x86/mm/pagetable.h"
#include "lib/error.h"
#include "tests/unit/host_log.h"
#include "tests/unit/pt_lookup.h"

#define POOL_PAGES 128u
#define POOL_BYTES (POOL_PAGES * PAGE_SIZE_4K)
#define POOL_PA    0x7fe40000ull /* anywhere, and not where the buffer is */

#define ADDR_52 0x000ffffffffff000ull
#define ADDR_40 0x000000fffffff000ull

/* AMD64 (APM vol. 2, 5.3): P, W, U, A, PS. */
#define X_P    BIT64(0)
#define X_W    BIT64(1)
#define X_U    BIT64(2)
#define X_PCD  BIT64(4)
#define X_PS   BIT64(7)
#define X_NX   BIT64(63)
#define X_FLAG (X_P | X_W | X_U | X_PCD | X_NX)

static uint64_t x86_leaf(unsigned int flags, unsigned int level)
{
    (void)level;
    return X_P | (flags & PT_WRITE ? X_W : 0) | (flags & PT_USER ? X_U : 0) |
           (flags & PT_UNCACHED ? X_PCD : 0) | (flags & PT_EXEC ? 0 : X_NX);
}

/* EPT (SDM vol. 3, 29.3.2): read, write, execute, memory type in bits 3..5, large in bit 7. */
#define E_RWX     0x7ull
#define E_TYPE    (7ull << 3)
#define E_TYPE_WB (6ull << 3)
#define E_LARGE   BIT64(7)

static uint64_t ept_leaf(unsigned int flags, unsigned int level)
{
    (void)level;
    return (flags & PT_READ ? BIT64(0) : 0) | (flags & PT_WRITE ? BIT64(1) : 0) |
           (flags & PT_EXEC ? BIT64(2) : 0) | (flags & PT_UNCACHED ? 0 : E_TYPE_WB);
}

static const struct pt_format npt_2m = {.levels = 4,
                                        .leaf_max = 2,
                                        .present = X_P,
                                        .large = X_PS,
                                        .table = X_P | X_W | X_U,
                                        .addr_mask = ADDR_52,
                                        .leaf = x86_leaf};
static const struct pt_format npt_1g = {.levels = 4,
                                        .leaf_max = 3,
                                        .present = X_P,
                                        .large = X_PS,
                                        .table = X_P | X_W | X_U,
                                        .addr_mask = ADDR_52,
                                        .leaf = x86_leaf};
static const struct pt_format small_only = {.levels = 5,
                                            .leaf_max = 1,
                                            .present = X_P,
                                            .large = X_PS,
                                            .table = X_P | X_W | X_U,
                                            .addr_mask = ADDR_40,
                                            .leaf = x86_leaf};
static const struct pt_format ept = {.levels = 4,
                                     .leaf_max = 3,
                                     .present = E_RWX,
                                     .large = E_LARGE,
                                     .table = E_RWX,
                                     .addr_mask = ADDR_52,
                                     .leaf = ept_leaf};
static const struct pt_format *const formats[] = {&npt_2m, &npt_1g, &small_only, &ept};

static void *arena;
static struct pagetable pt;

static int setup(void **state)
{
    (void)state;
    if (posix_memalign(&arena, PAGE_SIZE_4K, POOL_BYTES) != 0)
        return -1;
    memset(arena, 0xa5, POOL_BYTES);
    host_log_clear();
    page_pool_init(arena, POOL_PA, POOL_BYTES);
    return 0;
}

/* Every test gives all its tables back, and the pool had nothing to complain about. */
static int teardown(void **state)
{
    (void)state;
    assert_int_equal(page_free_count(), POOL_PAGES);
    assert_string_equal(host_log_text, "");
    free(arena);
    return 0;
}

static void create(const struct pt_format *format)
{
    memset(&pt, 0xa5, sizeof(pt));
    assert_int_equal(pt_create(&pt, format), 0);
    assert_int_equal(page_free_count(), POOL_PAGES - 1);
}

static void destroy(void)
{
    pt_destroy(&pt);
    assert_null(pt.root);
    assert_int_equal(page_free_count(), POOL_PAGES);
}

static uint64_t entry_of(uint64_t va)
{
    uint64_t entry = 0;

    assert_int_equal(pt_lookup(&pt, va, NULL, &entry, NULL), 0);
    return entry;
}

static void expect_page(uint64_t va, uint64_t pa, uint64_t size)
{
    uint64_t got_pa = 0, got_size = 0;

    assert_int_equal(pt_lookup(&pt, va, &got_pa, NULL, &got_size), 0);
    assert_true(got_pa == pa);
    assert_true(got_size == size);
}

static void expect_nothing(uint64_t va)
{
    uint64_t pa = 1, entry = 2, size = 3;

    assert_int_equal(pt_lookup(&pt, va, &pa, &entry, &size), -BH_EFAULT);
    assert_true(pa == 1 && entry == 2 && size == 3); /* left alone */
}

static void test_empty(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
        create(formats[i]);
        expect_nothing(0);
        expect_nothing(0xdeadbeef000);
        expect_nothing(UINT64_MAX);
        assert_int_equal(pt_map(&pt, 0, 0, 0, PT_READ), 0);
        assert_int_equal(pt_unmap(&pt, 0, 0), 0);
        assert_int_equal(pt_unmap(&pt, 0, BIT64(48)), 0); /* also beyond the addresses of ADDR_40 */
        assert_int_equal(page_free_count(), POOL_PAGES - 1);
        destroy();
        pt_destroy(&pt); /* once more: nothing happens */
    }
}

static void test_small_page(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
        create(formats[i]);
        assert_int_equal(pt_map(&pt, 0x12345000, 0xabcde000, PAGE_SIZE_4K, PT_READ), 0);
        assert_int_equal(page_free_count(), POOL_PAGES - formats[i]->levels);
        expect_page(0x12345000, 0xabcde000, PAGE_SIZE_4K);
        expect_page(0x12345fff, 0xabcdefff, PAGE_SIZE_4K);
        expect_nothing(0x12344fff);
        expect_nothing(0x12346000);
        assert_int_equal(pt_unmap(&pt, 0x12345000, PAGE_SIZE_4K), 0);
        expect_nothing(0x12345000);
        destroy();
    }
}

static void test_flags(void **state)
{
    (void)state;
    create(&npt_2m);
    assert_int_equal(pt_map(&pt, 0x1000, 0x5000, PAGE_SIZE_4K, PT_READ | PT_WRITE | PT_USER), 0);
    assert_true(entry_of(0x1000) == (0x5000 | X_P | X_W | X_U | X_NX));
    assert_int_equal(pt_map(&pt, 0x200000, 0, PAGE_SIZE_2M, PT_READ | PT_EXEC | PT_UNCACHED), 0);
    assert_true(entry_of(0x200000) == (X_P | X_PCD | X_PS));
    destroy();
    create(&ept);
    assert_int_equal(pt_map(&pt, 0x1000, 0x5000, PAGE_SIZE_4K, PT_WRITE), 0);
    assert_true(entry_of(0x1000) == (0x5000 | BIT64(1) | E_TYPE_WB)); /* no read: present still */
    assert_int_equal(pt_map(&pt, PAGE_SIZE_1G, 0, PAGE_SIZE_1G, PT_READ | PT_EXEC | PT_UNCACHED),
                     0);
    assert_true(entry_of(PAGE_SIZE_1G) == (BIT64(0) | BIT64(2) | E_LARGE));
    destroy();
}

static void test_page_sizes(void **state)
{
    /* Begins and ends odd: 4 KiB, 2 MiB, 1 GiB and back again. */
    const uint64_t start = PAGE_SIZE_1G - PAGE_SIZE_2M - PAGE_SIZE_4K;
    const uint64_t end = 2 * PAGE_SIZE_1G + 2 * PAGE_SIZE_2M + 3 * PAGE_SIZE_4K;
    const uint64_t shift = 8 * PAGE_SIZE_1G;

    (void)state;
    for (unsigned int i = 0; i < 2; i++) {
        const struct pt_format *format = i == 0 ? &npt_1g : &ept;
        create(format);
        assert_int_equal(pt_map(&pt, start, start + shift, end - start, PT_READ | PT_WRITE), 0);
        expect_nothing(start - 1);
        expect_page(start, start + shift, PAGE_SIZE_4K);
        expect_page(start + PAGE_SIZE_4K, start + PAGE_SIZE_4K + shift, PAGE_SIZE_2M);
        expect_page(PAGE_SIZE_1G, PAGE_SIZE_1G + shift, PAGE_SIZE_1G);
        expect_page(2 * PAGE_SIZE_1G - 1, 2 * PAGE_SIZE_1G - 1 + shift, PAGE_SIZE_1G);
        expect_page(2 * PAGE_SIZE_1G, 2 * PAGE_SIZE_1G + shift, PAGE_SIZE_2M);
        expect_page(2 * PAGE_SIZE_1G + PAGE_SIZE_2M, 2 * PAGE_SIZE_1G + PAGE_SIZE_2M + shift,
                    PAGE_SIZE_2M);
        expect_page(end - 1, end - 1 + shift, PAGE_SIZE_4K);
        expect_nothing(end);
        /* root, one PDPT, two PDs, two PTs */
        assert_int_equal(page_free_count(), POOL_PAGES - 6);
        destroy();
    }
    create(&npt_2m); /* no 1 GiB pages */
    assert_int_equal(pt_map(&pt, 0, 0, PAGE_SIZE_1G, PT_READ), 0);
    expect_page(PAGE_SIZE_1G - 1, PAGE_SIZE_1G - 1, PAGE_SIZE_2M);
    assert_int_equal(page_free_count(), POOL_PAGES - 3);
    destroy();
    create(&small_only);
    assert_int_equal(pt_map(&pt, 0, 0, 2 * PAGE_SIZE_2M, PT_READ), 0);
    expect_page(PAGE_SIZE_2M, PAGE_SIZE_2M, PAGE_SIZE_4K);
    destroy();
}

/* The physical address decides as well. */
static void test_physical_alignment(void **state)
{
    (void)state;
    create(&npt_1g);
    assert_int_equal(pt_map(&pt, 0, PAGE_SIZE_2M, PAGE_SIZE_1G, PT_READ), 0);
    expect_page(0, PAGE_SIZE_2M, PAGE_SIZE_2M);
    assert_int_equal(pt_map(&pt, PAGE_SIZE_1G, 0x7000, PAGE_SIZE_2M, PT_READ), 0);
    expect_page(PAGE_SIZE_1G, 0x7000, PAGE_SIZE_4K);
    expect_page(PAGE_SIZE_1G + PAGE_SIZE_2M - 1, 0x7000 + PAGE_SIZE_2M - 1, PAGE_SIZE_4K);
    destroy();
}

static void test_split(void **state)
{
    const uint64_t hole = 3 * PAGE_SIZE_2M + 5 * PAGE_SIZE_4K;

    (void)state;
    for (unsigned int i = 0; i < 2; i++) {
        const struct pt_format *format = i == 0 ? &npt_1g : &ept;
        const uint64_t rights = i == 0 ? X_FLAG : E_RWX | E_TYPE;

        create(format);
        assert_int_equal(pt_map(&pt, 0, PAGE_SIZE_1G, PAGE_SIZE_1G, PT_READ | PT_WRITE | PT_USER),
                         0);
        uint64_t before = entry_of(0) & rights;
        assert_int_equal(pt_unmap(&pt, hole, PAGE_SIZE_4K), 0);
        expect_nothing(hole);
        expect_page(hole - 1, PAGE_SIZE_1G + hole - 1, PAGE_SIZE_4K);
        expect_page(hole + PAGE_SIZE_4K, PAGE_SIZE_1G + hole + PAGE_SIZE_4K, PAGE_SIZE_4K);
        expect_page(0, PAGE_SIZE_1G, PAGE_SIZE_2M);
        expect_page(PAGE_SIZE_1G - 1, 2 * PAGE_SIZE_1G - 1, PAGE_SIZE_2M);
        /* Rights and memory type went along; `large` only to where it still means that. */
        assert_true(entry_of(0) == (PAGE_SIZE_1G | before | format->large));
        assert_true(entry_of(hole - 1) == ((PAGE_SIZE_1G + hole - PAGE_SIZE_4K) | before));
        assert_int_equal(page_free_count(), POOL_PAGES - 4);
        /* What is covered whole needs no split. */
        assert_int_equal(pt_unmap(&pt, 0, PAGE_SIZE_2M), 0);
        assert_int_equal(page_free_count(), POOL_PAGES - 4);
        expect_nothing(PAGE_SIZE_2M - 1);
        expect_page(PAGE_SIZE_2M, PAGE_SIZE_1G + PAGE_SIZE_2M, PAGE_SIZE_2M);
        destroy();
    }
}

/* The hole that every VM has: the VGA window in its first 2 MiB. */
static void test_unmap_over_sizes(void **state)
{
    (void)state;
    create(&npt_2m);
    assert_int_equal(pt_map(&pt, 0, PAGE_SIZE_1G, 6 * PAGE_SIZE_2M, PT_READ), 0);
    assert_int_equal(pt_unmap(&pt, 0xa0000, 0x20000), 0);
    expect_page(0x9ffff, PAGE_SIZE_1G + 0x9ffff, PAGE_SIZE_4K);
    expect_nothing(0xa0000);
    expect_nothing(0xbffff);
    expect_page(0xc0000, PAGE_SIZE_1G + 0xc0000, PAGE_SIZE_4K);
    /* From the middle of one page over a whole one into the next, and beyond what is mapped. */
    assert_int_equal(pt_unmap(&pt, PAGE_SIZE_2M + 0x1000, 2 * PAGE_SIZE_2M), 0);
    expect_page(PAGE_SIZE_2M, PAGE_SIZE_1G + PAGE_SIZE_2M, PAGE_SIZE_4K);
    expect_nothing(PAGE_SIZE_2M + 0x1000);
    expect_nothing(2 * PAGE_SIZE_2M);
    expect_nothing(3 * PAGE_SIZE_2M);
    expect_page(3 * PAGE_SIZE_2M + 0x1000, PAGE_SIZE_1G + 3 * PAGE_SIZE_2M + 0x1000, PAGE_SIZE_4K);
    assert_int_equal(pt_unmap(&pt, 5 * PAGE_SIZE_2M, PAGE_SIZE_1G), 0);
    expect_nothing(6 * PAGE_SIZE_2M - 1);
    expect_page(5 * PAGE_SIZE_2M - 1, PAGE_SIZE_1G + 5 * PAGE_SIZE_2M - 1, PAGE_SIZE_2M);
    assert_int_equal(pt_unmap(&pt, 0, BIT64(48)), 0);
    for (uint64_t va = 0; va < 6 * PAGE_SIZE_2M; va += PAGE_SIZE_4K)
        expect_nothing(va);
    destroy();
}

static void test_busy(void **state)
{
    (void)state;
    create(&npt_1g);
    assert_int_equal(pt_map(&pt, 0x3000, 0x3000, PAGE_SIZE_4K, PT_READ), 0);
    assert_int_equal(pt_map(&pt, 0x3000, 0x9000, PAGE_SIZE_4K, PT_READ), -BH_EBUSY);
    expect_page(0x3000, 0x3000, PAGE_SIZE_4K);
    /* In the way of a larger page; what lies before it is mapped. */
    assert_int_equal(pt_map(&pt, 0, PAGE_SIZE_2M, PAGE_SIZE_2M, PT_READ), -BH_EBUSY);
    expect_page(0x2000, PAGE_SIZE_2M + 0x2000, PAGE_SIZE_4K);
    expect_page(0x3000, 0x3000, PAGE_SIZE_4K);
    expect_nothing(0x4000);
    /* Under a larger page. */
    assert_int_equal(pt_map(&pt, PAGE_SIZE_1G, 0, PAGE_SIZE_1G, PT_READ), 0);
    assert_int_equal(pt_map(&pt, PAGE_SIZE_1G + 0x5000, 0, PAGE_SIZE_4K, PT_READ), -BH_EBUSY);
    assert_int_equal(pt_map(&pt, PAGE_SIZE_1G, 0, PAGE_SIZE_2M, PT_READ), -BH_EBUSY);
    assert_int_equal(pt_map(&pt, PAGE_SIZE_1G, 0, PAGE_SIZE_1G, PT_READ), -BH_EBUSY);
    expect_page(PAGE_SIZE_1G + 0x5000, 0x5000, PAGE_SIZE_1G);
    assert_null(pt_table(&pt, PAGE_SIZE_1G, 1));
    assert_null(pt_table(&pt, PAGE_SIZE_1G, 2));
    assert_non_null(pt_table(&pt, PAGE_SIZE_1G, 3));
    destroy();
}

/* A table that became empty is in nobody's way. */
static void test_map_over_empty_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
        create(formats[i]);
        assert_int_equal(pt_map(&pt, 0x3000, 0x3000, PAGE_SIZE_4K, PT_READ), 0);
        assert_int_equal(pt_unmap(&pt, 0x3000, PAGE_SIZE_4K), 0);
        assert_int_equal(pt_map(&pt, 0, PAGE_SIZE_1G, 2 * PAGE_SIZE_2M, PT_READ), 0);
        expect_page(0x3456, PAGE_SIZE_1G + 0x3456, PAGE_SIZE_4K);
        expect_page(PAGE_SIZE_2M, PAGE_SIZE_1G + PAGE_SIZE_2M,
                    formats[i]->leaf_max > 1 ? PAGE_SIZE_2M : PAGE_SIZE_4K);
        destroy();
    }
}

static void test_invalid(void **state)
{
    static const struct {
        uint64_t va, pa, size;
    } cases[] = {
        {1, 0, PAGE_SIZE_4K},
        {0x800, 0x800, 0x800},
        {0, 0x10, PAGE_SIZE_4K},
        {0, 0, PAGE_SIZE_4K + 1},
        {BIT64(48), 0, PAGE_SIZE_4K}, /* beyond the levels */
        {BIT64(48) - PAGE_SIZE_4K, 0, 2 * PAGE_SIZE_4K},
        {BIT64(63), 0, PAGE_SIZE_4K}, /* not canonical */
        {0, 0, BIT64(48) + PAGE_SIZE_4K},
        {-PAGE_SIZE_4K, 0, 2 * PAGE_SIZE_4K}, /* round the end */
        {0, BIT64(52), PAGE_SIZE_4K},         /* beyond physical addresses */
        {0, BIT64(52) - PAGE_SIZE_4K, 2 * PAGE_SIZE_4K},
        {0, -PAGE_SIZE_4K, PAGE_SIZE_4K},
        {0, -PAGE_SIZE_4K, 2 * PAGE_SIZE_4K}, /* round the end */
    };

    (void)state;
    create(&npt_1g);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(pt_map(&pt, cases[i].va, cases[i].pa, cases[i].size, PT_READ), -BH_EINVAL);
        if (cases[i].pa == 0)
            assert_int_equal(pt_unmap(&pt, cases[i].va, cases[i].size), -BH_EINVAL);
    }
    assert_int_equal(page_free_count(), POOL_PAGES - 1); /* none of them made a table */
    destroy();
    create(&small_only);
    assert_int_equal(pt_map(&pt, 0, BIT64(40), PAGE_SIZE_4K, PT_READ), -BH_EINVAL);
    assert_int_equal(pt_map(&pt, BIT64(48), BIT64(40) - PAGE_SIZE_4K, PAGE_SIZE_4K, PT_READ), 0);
    expect_page(BIT64(48), BIT64(40) - PAGE_SIZE_4K, PAGE_SIZE_4K);
    destroy();
}

/* The edges of the address space: the last page below 2^48, and the sign-extended upper half. */
static void test_edges(void **state)
{
    const uint64_t upper = -BIT64(47);

    (void)state;
    create(&npt_1g);
    assert_int_equal(pt_map(&pt, BIT64(47) - PAGE_SIZE_4K, 0x1000, PAGE_SIZE_4K, PT_READ), 0);
    assert_int_equal(pt_map(&pt, upper, ADDR_52, PAGE_SIZE_4K, PT_READ), 0);
    assert_int_equal(pt_map(&pt, -PAGE_SIZE_4K, 0x2000, PAGE_SIZE_4K, PT_READ), 0);
    expect_page(BIT64(47) - 1, 0x1fff, PAGE_SIZE_4K);
    expect_page(upper, ADDR_52, PAGE_SIZE_4K);
    expect_page(UINT64_MAX, 0x2fff, PAGE_SIZE_4K);
    expect_nothing(upper - 1);
    /* An address beyond the levels is no alias of one within. */
    expect_nothing(BIT64(48) + BIT64(47) - PAGE_SIZE_4K);
    expect_nothing(BIT64(63));
    assert_int_equal(pt_unmap(&pt, -PAGE_SIZE_4K, PAGE_SIZE_4K), 0);
    expect_nothing(UINT64_MAX);
    destroy();
}

static void test_table(void **state)
{
    (void)state;
    create(&npt_2m);
    uint64_t *ptes = pt_table(&pt, 0x40001000, 1);
    assert_non_null(ptes);
    assert_int_equal(page_free_count(), POOL_PAGES - 4);
    assert_ptr_equal(pt_table(&pt, 0x401ff000, 1), ptes);
    assert_ptr_equal(pt_table(&pt, 0, 4), pt.root);
    ptes[1] = 0x9000 | X_P;
    expect_page(0x40001234, 0x9234, PAGE_SIZE_4K);
    destroy();
}

/* Memory runs out at every possible point: an error, no leak, and nothing half made. */
static void test_no_memory(void **state)
{
    static void *taken[POOL_PAGES];

    (void)state;
    for (unsigned int left = 0; left < 6; left++) {
        unsigned int n = 0;
        while (page_free_count() > left)
            taken[n++] = page_alloc();
        memset(&pt, 0xa5, sizeof(pt));
        int err = pt_create(&pt, &npt_1g);
        assert_int_equal(err, left == 0 ? -BH_ENOMEM : 0);
        if (err) {
            assert_null(pt.root);
        } else {
            err = pt_map(&pt, 0x1000, 0x1000, PAGE_SIZE_4K, PT_READ);
            assert_int_equal(err, left < 4 ? -BH_ENOMEM : 0);
            int found = pt_lookup(&pt, 0x1000, NULL, NULL, NULL);
            assert_int_equal(found, left < 4 ? -BH_EFAULT : 0);
        }
        pt_destroy(&pt);
        assert_int_equal(page_free_count(), left);
        while (n > 0)
            page_free(taken[--n]);
    }
    /* A split that finds no page leaves the larger page whole. */
    create(&npt_1g);
    assert_int_equal(pt_map(&pt, 0, 0, PAGE_SIZE_1G, PT_READ | PT_WRITE), 0);
    uint64_t entry = entry_of(0);
    unsigned int n = 0;
    while (page_free_count() > 1)
        taken[n++] = page_alloc();
    assert_int_equal(pt_unmap(&pt, 0x5000, PAGE_SIZE_4K), -BH_ENOMEM);
    expect_page(0x5000, 0x5000, PAGE_SIZE_2M); /* one split of two */
    taken[n++] = page_alloc();
    assert_null(taken[n - 1]);
    assert_int_equal(pt_unmap(&pt, PAGE_SIZE_2M + 0x5000, PAGE_SIZE_4K), -BH_ENOMEM);
    assert_true(entry_of(PAGE_SIZE_2M) == (entry | PAGE_SIZE_2M));
    while (n > 0)
        page_free(taken[--n]);
    destroy();
}

#define MODEL_PAGES (6 * 512u) /* 12 MiB, across a 1 GiB boundary */

static void check_model(const uint64_t *model, uint64_t base)
{
    for (unsigned int i = 0; i < MODEL_PAGES; i++) {
        uint64_t pa = 0, va = base + i * PAGE_SIZE_4K;
        int err = pt_lookup(&pt, va, &pa, NULL, NULL);
        assert_int_equal(err, model[i] ? 0 : -BH_EFAULT);
        assert_true(!model[i] || pa == model[i]);
    }
}

/* Ranges that lie more often than chance on 2 MiB boundaries. */
static void random_range(unsigned int *first, unsigned int *count)
{
    *first = (unsigned int)rand() % MODEL_PAGES;
    *count = 1 + (unsigned int)rand() % 1500;
    if (rand() % 2)
        *first = ALIGN_DOWN(*first, 512u);
    if (rand() % 2)
        *count = ALIGN_UP(*count, 512u);
    *count = MIN(*count, MODEL_PAGES - *first);
}

static void test_random(void **state)
{
    static uint64_t model[MODEL_PAGES];
    const uint64_t base = PAGE_SIZE_1G - 3 * PAGE_SIZE_2M;

    (void)state;
    srand(42);
    for (size_t f = 0; f < ARRAY_SIZE(formats); f++) {
        create(formats[f]);
        memset(model, 0, sizeof(model));
        for (unsigned int round = 0; round < 400; round++) {
            unsigned int first, count;
            random_range(&first, &count);
            uint64_t va = base + first * PAGE_SIZE_4K;
            if (rand() % 2) {
                /* Often with a physical address that allows larger pages. */
                uint64_t pa = va + PAGE_SIZE_1G + (rand() % 3 ? 0 : PAGE_SIZE_4K);
                int want = 0;
                for (unsigned int i = 0; i < count && want == 0; i++)
                    if (model[first + i])
                        want = -BH_EBUSY;
                    else
                        model[first + i] = pa + i * PAGE_SIZE_4K;
                assert_int_equal(pt_map(&pt, va, pa, count * PAGE_SIZE_4K, PT_READ), want);
            } else {
                memset(&model[first], 0, count * sizeof(model[0]));
                assert_int_equal(pt_unmap(&pt, va, count * PAGE_SIZE_4K), 0);
            }
            check_model(model, base);
        }
        expect_nothing(base - 1);
        expect_nothing(base + MODEL_PAGES * PAGE_SIZE_4K);
        destroy();
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_empty),
        TEST(test_small_page),
        TEST(test_flags),
        TEST(test_page_sizes),
        TEST(test_physical_alignment),
        TEST(test_split),
        TEST(test_unmap_over_sizes),
        TEST(test_busy),
        TEST(test_map_over_empty_table),
        TEST(test_invalid),
        TEST(test_edges),
        TEST(test_table),
        TEST(test_no_memory),
        TEST(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
