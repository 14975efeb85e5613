/* The core's page pool, against a model that knows for each page whether it was given out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "arch/x86/mm/page_alloc.h"
#include "lib/error.h"
#include "tests/unit/host_log.h"

#define PAGE 4096u

static uint8_t *arena; /* 8 MiB */
static const size_t arena_bytes = 8 << 20;

static int setup(void **state)
{
    (void)state;
    arena = aligned_alloc(2 << 20, arena_bytes);
    memset(arena, 0xa5, arena_bytes);
    host_log_clear();
    return arena == NULL;
}

static int teardown(void **state)
{
    (void)state;
    free(arena);
    return 0;
}

static bool is_zero(const void *p, size_t n)
{
    const uint8_t *b = p;

    for (size_t i = 0; i < n; i++)
        if (b[i] != 0)
            return false;
    return true;
}

static void test_small_region(void **state)
{
    uint8_t *seen[3];

    (void)state;
    page_pool_init(arena, 0x100000, 3 * PAGE);
    assert_int_equal(page_total_count(), 3);
    for (int i = 0; i < 3; i++) {
        seen[i] = page_alloc();
        assert_non_null(seen[i]);
        assert_true(is_zero(seen[i], PAGE));
        memset(seen[i], 0x11 * (i + 1), PAGE);
        assert_int_equal(page_free_count(), 2 - i);
    }
    assert_null(page_alloc());
    assert_true(seen[0] != seen[1] && seen[1] != seen[2] && seen[0] != seen[2]);
    assert_int_equal(arena[3 * PAGE], 0xa5); /* nothing touched behind the region */
    page_free(seen[1]);
    assert_true(is_zero(seen[1], PAGE)); /* cleared at once */
    assert_ptr_equal(page_alloc(), seen[1]);
    assert_string_equal(host_log_text, "");
}

static void test_addresses(void **state)
{
    (void)state;
    page_pool_init(arena, 0x40000000, 4 * PAGE);
    assert_int_equal(page_pool_add(arena + 16 * PAGE, 0x80000000, 4 * PAGE), 0);
    assert_int_equal(page_to_pa(arena), 0x40000000);
    assert_int_equal(page_to_pa(arena + 4 * PAGE - 1), 0x40003fff);
    assert_int_equal(page_to_pa(arena + 17 * PAGE + 5), 0x80001005);
    assert_ptr_equal(pa_to_page(0x40000000), arena);
    assert_ptr_equal(pa_to_page(0x80003fff), arena + 20 * PAGE - 1);
    assert_null(pa_to_page(0x3fffffff));
    assert_null(pa_to_page(0x40004000));
    assert_null(pa_to_page(0));
    assert_null(pa_to_page(UINT64_MAX));
    assert_string_equal(host_log_text, "");
    assert_int_equal(page_to_pa(arena + 4 * PAGE), 0);
    assert_non_null(strstr(host_log_text, "is not in it"));
}

static void test_regions(void **state)
{
    (void)state;
    page_pool_init(arena, 0x1000000, 1 << 20);
    assert_int_equal(page_total_count(), 256);
    /* Above 1 MiB the bitmap takes a page. */
    assert_int_equal(page_pool_add(arena + (2 << 20), 0x2000000, 2 << 20), 0);
    assert_int_equal(page_total_count(), 256 + 511);
    assert_int_equal(page_pool_add(arena + 1, 0x5000000, PAGE), -BH_EINVAL);
    assert_int_equal(page_pool_add(arena + (4 << 20), 0x5000001, PAGE), -BH_EINVAL);
    assert_int_equal(page_pool_add(arena + (4 << 20), 0x5000000, PAGE + 1), -BH_EINVAL);
    assert_int_equal(page_pool_add(arena + (4 << 20), 0x5000000, 0), -BH_EINVAL);
    assert_int_equal(page_pool_add(NULL, 0x5000000, PAGE), -BH_EINVAL);
    assert_int_equal(page_pool_add(arena + (4 << 20), 0 - (uint64_t)PAGE, 2 * PAGE), -BH_EINVAL);
    /* Overlaps, by virtual and by physical address, from below, inside and above. */
    assert_int_equal(page_pool_add(arena, 0x5000000, PAGE), -BH_EINVAL);
    assert_int_equal(page_pool_add(arena + (1 << 20) - PAGE, 0x5000000, PAGE), -BH_EINVAL);
    assert_int_equal(page_pool_add(arena + (4 << 20), 0x10ff000, PAGE), -BH_EINVAL);
    assert_int_equal(page_pool_add(arena + (4 << 20), 0x0fff000, 2 * PAGE), -BH_EINVAL);
    assert_int_equal(page_total_count(), 256 + 511);
    assert_int_equal(page_pool_add(arena + (1 << 20), 0x1100000, PAGE), 0);
    assert_int_equal(page_pool_add(arena + (4 << 20), 0x5000000, PAGE), 0);
    assert_int_equal(page_pool_add(arena + (5 << 20), 0x6000000, PAGE), -BH_ENOMEM);
    for (int i = 0; i < 256 + 511 + 2; i++) {
        void *p = page_alloc();
        assert_non_null(p);
        assert_true(p != arena + (2 << 20)); /* the bitmap's own page */
        assert_int_equal(page_to_pa(p) % PAGE, 0);
    }
    assert_null(page_alloc());
    assert_int_equal(page_free_count(), 0);
}

static void test_refused_frees(void **state)
{
    (void)state;
    page_pool_init(arena, 0x1000000, 2 << 20);
    uint8_t *p = page_alloc();
    uint8_t *q = page_alloc_contiguous(2, 1);
    size_t free_before = page_free_count();

    page_free(NULL);
    page_free_contiguous(p, 0);
    assert_string_equal(host_log_text, "");

    static const char refusal[] = "that are not allocated";
    uint8_t *const wrong[] = {
        p + 1, p + 8, arena /* the bitmap */, arena - PAGE, arena + (2 << 20), arena + 100 * PAGE};
    p[0] = 0x77;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        host_log_clear();
        page_free(wrong[i]);
        assert_non_null(strstr(host_log_text, refusal));
        assert_int_equal(page_free_count(), free_before);
    }
    assert_int_equal(p[0], 0x77);
    host_log_clear();
    page_free_contiguous(q, 3); /* one too many: none is freed */
    assert_non_null(strstr(host_log_text, refusal));
    assert_int_equal(page_free_count(), free_before);
    host_log_clear();
    page_free_contiguous(arena + (2 << 20) - PAGE, 2); /* beyond the region's end */
    assert_non_null(strstr(host_log_text, refusal));
    host_log_clear();
    page_free(p);
    assert_string_equal(host_log_text, "");
    page_free(p);
    assert_non_null(strstr(host_log_text, refusal));
    assert_int_equal(page_free_count(), free_before + 1);
}

static void test_contiguous(void **state)
{
    (void)state;
    /* A region whose physical address is itself not aligned to more than a page. */
    page_pool_init(arena, 0x1003000, 64 * PAGE);
    assert_null(page_alloc_contiguous(0, 1));
    assert_null(page_alloc_contiguous(1, 0));
    assert_null(page_alloc_contiguous(1, 3));
    assert_null(page_alloc_contiguous(65, 1));
    assert_null(page_alloc_contiguous(UINT32_MAX, 1));
    assert_null(page_alloc_contiguous(1, 1u << 31));
    uint8_t *a = page_alloc_contiguous(4, 4);
    assert_int_equal(page_to_pa(a), 0x1004000);
    uint8_t *b = page_alloc_contiguous(16, 16);
    assert_int_equal(page_to_pa(b), 0x1010000);
    uint8_t *c = page_alloc_contiguous(8, 1);
    assert_int_equal(page_to_pa(c), 0x1008000);
    assert_null(page_alloc_contiguous(36, 1)); /* 35 behind b */
    uint8_t *d = page_alloc_contiguous(35, 1);
    assert_int_equal(page_to_pa(d), 0x1020000);
    assert_true(is_zero(d, 35 * PAGE));
    memset(b, 1, 16 * PAGE);
    page_free_contiguous(b, 16);
    assert_true(is_zero(b, 16 * PAGE));
    assert_ptr_equal(page_alloc_contiguous(16, 1), b);
    assert_string_equal(host_log_text, "");
}

/* Which pages are given out, by page of the arena. */
static bool model[2048];

static void model_take(uint8_t *p, unsigned int n)
{
    size_t page = (size_t)(p - arena) / PAGE;

    assert_true(p >= arena && p + n * PAGE <= arena + arena_bytes);
    for (unsigned int i = 0; i < n; i++) {
        assert_false(model[page + i]);
        model[page + i] = true;
    }
    assert_true(is_zero(p, n * PAGE));
    memset(p, 0x5a, n * PAGE);
}

static void test_random(void **state)
{
    static struct {
        uint8_t *p;
        unsigned int n;
    } held[600];
    size_t count = 0, pages = 0;

    (void)state;
    srand(7);
    memset(model, 0, sizeof(model));
    page_pool_init(arena, 0x1003000, 37 * PAGE);
    assert_int_equal(page_pool_add(arena + 40 * PAGE, 0x2001000, 300 * PAGE), 0);
    for (int i = 0; i < 30000; i++) {
        if (rand() % 100 < 52 && count < ARRAY_SIZE(held)) {
            unsigned int n = rand() % 4 ? 1 : 1 + (unsigned int)rand() % 20;
            unsigned int align = 1u << rand() % 5;
            uint8_t *p = n == 1 && align < 4 ? page_alloc() : page_alloc_contiguous(n, align);

            if (p == NULL) {
                assert_true(n > 1 || align >= 4 || page_free_count() == 0);
                continue;
            }
            assert_true((n == 1 && align < 4) || page_to_pa(p) / PAGE % align == 0);
            model_take(p, n);
            held[count].p = p;
            held[count++].n = n;
            pages += n;
        } else if (count > 0) {
            size_t at = (size_t)rand() % count;
            size_t page = (size_t)(held[at].p - arena) / PAGE;

            page_free_contiguous(held[at].p, held[at].n);
            memset(model + page, 0, held[at].n);
            pages -= held[at].n;
            held[at] = held[--count];
        }
        assert_int_equal(page_free_count(), page_total_count() - pages);
    }
    assert_string_equal(host_log_text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_small_region, setup, teardown),
        cmocka_unit_test_setup_teardown(test_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_regions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_frees, setup, teardown),
        cmocka_unit_test_setup_teardown(test_contiguous, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
