/* The memory map: cases by hand, and random maps against a model that keeps the type of each byte
 * of a small address space. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "boot/memory_map.h"
#include "lib/error.h"
#include "tests/unit/host_log.h"
#include "tests/unit/memory_usable.h"

static struct memory_map map;

static int setup(void **state)
{
    (void)state;
    memset(&map, 0, sizeof(map));
    host_log_clear();
    return 0;
}

static void add(uint64_t base, uint64_t size, uint32_t type)
{
    assert_int_equal(memory_map_add(&map, base, size, type), 0);
}

static void expect(const struct memory_range *want, unsigned int count)
{
    assert_int_equal(map.count, count);
    for (unsigned int i = 0; i < count; i++) {
        assert_int_equal(map.r[i].base, want[i].base);
        assert_int_equal(map.r[i].size, want[i].size);
        assert_int_equal(map.r[i].type, want[i].type);
    }
}

#define EXPECT(...)                                       \
    do {                                                  \
        const struct memory_range want[] = {__VA_ARGS__}; \
        expect(want, ARRAY_SIZE(want));                   \
    } while (0)

static void test_sort_and_merge(void **state)
{
    (void)state;
    add(0x100000, 0x700000, MEM_USABLE);
    add(0xf0000, 0x10000, MEM_RESERVED);
    add(0x800000, 0x800000, MEM_USABLE);
    add(0, 0x9fc00, MEM_USABLE);
    add(0x9fc00, 0x400, MEM_RESERVED);
    add(0x100000, 0x700000, MEM_USABLE); /* twice the same */
    assert_int_equal(memory_map_normalise(&map), 0);
    EXPECT({0, 0x9fc00, MEM_USABLE}, {0x9fc00, 0x400, MEM_RESERVED},
           {0xf0000, 0x10000, MEM_RESERVED}, {0x100000, 0xf00000, MEM_USABLE});
    assert_int_equal(memory_map_usable(&map), 0x9fc00 + 0xf00000);
    assert_int_equal(memory_map_normalise(&map), 0); /* changes nothing more */
    assert_int_equal(map.count, 4);
}

static void test_overlaps(void **state)
{
    (void)state;
    add(0x1000, 0x9000, MEM_USABLE);
    add(0x2000, 0x1000, MEM_ACPI);     /* a hole in it */
    add(0x4000, 0x2000, MEM_RESERVED); /* two that overlap each other */
    add(0x5000, 0x2000, MEM_NVS);
    add(0x9000, 0x4000, MEM_BAD); /* over the end */
    add(0x0800, 0x0900, 77);      /* over the start, of a type that nobody knows */
    assert_int_equal(memory_map_normalise(&map), 0);
    EXPECT({0x0800, 0x0900, MEM_RESERVED}, {0x1100, 0x0f00, MEM_USABLE}, {0x2000, 0x1000, MEM_ACPI},
           {0x3000, 0x1000, MEM_USABLE}, {0x4000, 0x2000, MEM_RESERVED}, {0x6000, 0x1000, MEM_NVS},
           {0x7000, 0x2000, MEM_USABLE}, {0x9000, 0x4000, MEM_BAD});
    assert_string_equal(host_log_text, "");
}

static void test_precedence(void **state)
{
    static const uint32_t order[] = {MEM_USABLE, MEM_ACPI, MEM_NVS, MEM_RESERVED, MEM_BAD};

    (void)state;
    for (size_t a = 0; a < ARRAY_SIZE(order); a++) {
        for (size_t b = 0; b < ARRAY_SIZE(order); b++) {
            memset(&map, 0, sizeof(map));
            add(0x1000, 0x1000, order[a]);
            add(0x1000, 0x1000, order[b]);
            assert_int_equal(memory_map_normalise(&map), 0);
            EXPECT({0x1000, 0x1000, order[MAX(a, b)]});
        }
    }
    memset(&map, 0, sizeof(map));
    add(0x1000, 0x1000, 0);
    add(0x3000, 0x1000, UINT32_MAX);
    EXPECT({0x1000, 0x1000, MEM_RESERVED}, {0x3000, 0x1000, MEM_RESERVED});
    assert_string_equal(memory_type_name(MEM_NVS), "ACPI NVS");
    assert_string_equal(memory_type_name(0), "unknown");
    assert_string_equal(memory_type_name(6), "unknown");
}

/* Wrong ranges: what they call usable is not used at all; the rest is kept from use. */
static void test_nonsense(void **state)
{
    const uint64_t limit = 1ull << 52;

    (void)state;
    add(0x1000, 0, MEM_USABLE);
    add(limit, 0x1000, MEM_USABLE);
    add(limit, 0x1000, MEM_RESERVED);
    add(UINT64_MAX, 1, MEM_USABLE);
    assert_int_equal(map.count, 0);
    add(limit - 0x2000, 0x2000, MEM_RESERVED); /* exactly up to the limit */
    assert_int_equal(map.cut, 3);
    add(limit - 0x1000, 0x1001, MEM_USABLE);
    add(0x1000, UINT64_MAX, MEM_USABLE); /* wraps */
    assert_int_equal(map.cut, 5);
    assert_int_equal(map.empty, 1);
    assert_int_equal(map.given, 7);
    assert_int_equal(map.count, 1);
    assert_non_null(strstr(host_log_text, "warn: memory map: 0xffffffffffffffff bytes at 0x1000 "
                                          "(usable) reach beyond 2^52, ignored"));
    add(limit - 0x10000, 0x4000, MEM_USABLE); /* right below is fine */
    add(limit - 0x8000, UINT64_MAX - 0x10000, MEM_NVS);
    assert_non_null(strstr(host_log_text, "(ACPI NVS) reach beyond 2^52, cut"));
    assert_int_equal(memory_map_normalise(&map), 0);
    EXPECT({limit - 0x10000, 0x4000, MEM_USABLE}, {limit - 0x8000, 0x6000, MEM_NVS},
           {limit - 0x2000, 0x2000, MEM_RESERVED});
}

/* Neighbours become one as they are added, overlaps and gaps do not. */
static void test_coalesce(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < 4 * MEMORY_MAP_MAX; i++)
        add(i * 0x1000ull, 0x1000, MEM_USABLE);
    EXPECT({0, 0x1000ull * 4 * MEMORY_MAP_MAX, MEM_USABLE});
    assert_int_equal(map.given, 4 * MEMORY_MAP_MAX);
    setup(NULL);
    add(0x1000, 0x1000, MEM_USABLE);
    add(0x2000, 0x1000, MEM_NVS);
    add(0x3000, 0x1000, 99);
    add(0x4000, 0x1000, MEM_RESERVED); /* 99 is reserved, too */
    add(0x6000, 0x1000, MEM_RESERVED);
    add(0x6800, 0x1000, MEM_RESERVED);
    add(0x5000, 0x1000, MEM_RESERVED);
    EXPECT({0x1000, 0x1000, MEM_USABLE}, {0x2000, 0x1000, MEM_NVS}, {0x3000, 0x2000, MEM_RESERVED},
           {0x6000, 0x1000, MEM_RESERVED}, {0x6800, 0x1000, MEM_RESERVED},
           {0x5000, 0x1000, MEM_RESERVED});
    assert_int_equal(memory_map_normalise(&map), 0);
    EXPECT({0x1000, 0x1000, MEM_USABLE}, {0x2000, 0x1000, MEM_NVS}, {0x3000, 0x4800, MEM_RESERVED});
}

static void test_has(void **state)
{
    const uint32_t usable = BIT(MEM_USABLE), other = ~BIT(MEM_RESERVED);

    (void)state;
    add(0x6000, 0x1000, MEM_NVS); /* the order does not matter */
    add(0x1000, 0x2000, MEM_USABLE);
    add(0x4000, 0x1000, MEM_RESERVED);
    assert_false(memory_map_has(&map, 0, 0x1000, usable));
    assert_true(memory_map_has(&map, 0, 0x1001, usable));
    assert_true(memory_map_has(&map, 0x2fff, 1, usable));
    assert_false(memory_map_has(&map, 0x3000, 0x10000, usable));
    assert_true(memory_map_has(&map, 0x3000, 0x10000, other));
    assert_false(memory_map_has(&map, 0x3000, 0x3000, other));
    assert_true(memory_map_has(&map, 0, 0x10000, usable));
    assert_true(memory_map_has(&map, 0x6800, 0x10, other));
}

static void test_full(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < MEMORY_MAP_MAX; i++)
        add(0x10000ull * (MEMORY_MAP_MAX - i), 0x8000, MEM_USABLE);
    assert_int_equal(memory_map_add(&map, 0x100, 0x100, MEM_USABLE), -BH_ENOMEM);
    assert_int_equal(memory_map_normalise(&map), 0);
    assert_int_equal(map.count, MEMORY_MAP_MAX);
    struct memory_map before = map;
    /* A hole would make one range too many: refused, nothing changed. */
    assert_int_equal(memory_map_reserve(&map, 0x11000, 0x1000, MEM_RESERVED), -BH_ENOMEM);
    assert_memory_equal(&map, &before, sizeof(map));
    /* Retyping a whole one, or swallowing two, still works in a full table. */
    assert_int_equal(memory_map_reserve(&map, 0x10000, 0x8000, MEM_RESERVED), 0);
    assert_int_equal(map.r[0].type, MEM_RESERVED);
    assert_int_equal(memory_map_reserve(&map, 0x10000, 0x18000, MEM_RESERVED), 0);
    assert_int_equal(map.count, MEMORY_MAP_MAX - 1);
    assert_int_equal(map.r[0].size, 0x18000);
}

static void test_reserve(void **state)
{
    (void)state;
    add(0, 0x10000, MEM_USABLE);
    add(0x10000, 0x1000, MEM_BAD);
    assert_int_equal(memory_map_normalise(&map), 0);
    assert_int_equal(memory_map_reserve(&map, 0, 0, MEM_RESERVED), 0);
    assert_int_equal(memory_map_reserve(&map, 0, 0x1000, MEM_RESERVED), 0);
    assert_int_equal(memory_map_reserve(&map, 0xf800, 0x8000, MEM_RESERVED), 0);
    assert_int_equal(memory_map_reserve(&map, 0x20000, 1, MEM_RESERVED), 0);
    EXPECT({0, 0x1000, MEM_RESERVED}, {0x1000, 0xe800, MEM_USABLE}, {0xf800, 0x800, MEM_RESERVED},
           {0x10000, 0x1000, MEM_BAD}, {0x11000, 0x6800, MEM_RESERVED}, {0x20000, 1, MEM_RESERVED});
    assert_true(memory_map_is_usable(&map, 0x1000, 0xe800));
    assert_true(memory_map_is_usable(&map, 0xf7ff, 1));
    assert_false(memory_map_is_usable(&map, 0x1000, 0xe801));
    assert_false(memory_map_is_usable(&map, 0xfff, 2));
    assert_false(memory_map_is_usable(&map, 0x1000, 0));
    assert_false(memory_map_is_usable(&map, 0x1001, UINT64_MAX));
    assert_false(memory_map_is_usable(&map, 0x10000, 1));
    assert_false(memory_map_is_usable(&map, 0x900000, 1));
}

static void test_find(void **state)
{
    uint64_t base = 0;

    (void)state;
    add(0x1800, 0x6900, MEM_USABLE); /* up to 0x8100 */
    add(0x100000, 0x100000, MEM_USABLE);
    add(0x300000, 0x1000, MEM_RESERVED);
    assert_int_equal(memory_map_normalise(&map), 0);
    assert_int_equal(memory_map_find(&map, 0x1000, 0x1000, UINT64_MAX, &base), 0);
    assert_int_equal(base, 0x1ff000);
    assert_int_equal(memory_map_find(&map, 0x100000, 0x100000, UINT64_MAX, &base), 0);
    assert_int_equal(base, 0x100000);
    assert_int_equal(memory_map_find(&map, 0x1000, 0x1000, 0x180800, &base), 0);
    assert_int_equal(base, 0x17f000);
    assert_int_equal(memory_map_find(&map, 0x1000, 0x1000, 0x100fff, &base), 0);
    assert_int_equal(base, 0x7000);
    assert_int_equal(memory_map_find(&map, 0x6000, 0x1000, 0x100fff, &base), 0);
    assert_int_equal(base, 0x2000);
    assert_int_equal(memory_map_find(&map, 0x6101, 0x1000, 0x100fff, &base), -BH_ENOENT);
    assert_int_equal(memory_map_find(&map, 0x6900, 1, 0x8100, &base), 0);
    assert_int_equal(base, 0x1800);
    assert_int_equal(memory_map_find(&map, 0x100, 1, 0x1000, &base), -BH_ENOENT);
    assert_int_equal(memory_map_find(&map, 0x1000, 1ull << 63, UINT64_MAX, &base), -BH_ENOENT);
    assert_int_equal(memory_map_find(&map, UINT64_MAX, 1, UINT64_MAX, &base), -BH_ENOENT);
    assert_int_equal(memory_map_find(&map, 0, 1, UINT64_MAX, &base), -BH_EINVAL);
    assert_int_equal(memory_map_find(&map, 1, 0, UINT64_MAX, &base), -BH_EINVAL);
    assert_int_equal(memory_map_find(&map, 1, 3, UINT64_MAX, &base), -BH_EINVAL);
}

#define SPACE 256u
static uint32_t model[SPACE];

static unsigned int rank(uint32_t type)
{
    static const unsigned int ranks[] = {0, 1, 4, 2, 3, 5, 4};

    return ranks[type];
}

static void model_put(unsigned int base, unsigned int size, uint32_t type)
{
    for (unsigned int i = base; i < base + size; i++)
        if (rank(type) > rank(model[i]))
            model[i] = type == 6 ? MEM_RESERVED : type;
}

static void check_against_model(void)
{
    uint32_t seen[SPACE] = {0};
    uint64_t usable = 0;

    for (unsigned int i = 0; i < map.count; i++) {
        const struct memory_range *r = &map.r[i];

        assert_true(r->size > 0 && r->base + r->size <= SPACE);
        if (i > 0) {
            uint64_t end = r[-1].base + r[-1].size;
            assert_true(end < r->base || (end == r->base && r[-1].type != r->type));
        }
        for (uint64_t b = r->base; b < r->base + r->size; b++)
            seen[b] = r->type;
    }
    assert_memory_equal(seen, model, sizeof(seen));
    for (unsigned int i = 0; i < SPACE; i++)
        usable += model[i] == MEM_USABLE;
    assert_int_equal(memory_map_usable(&map), usable);
}

static bool model_is_usable(uint64_t base, uint64_t size)
{
    for (uint64_t i = base; i < base + size; i++)
        if (i >= SPACE || model[i] != MEM_USABLE)
            return false;
    return true;
}

static void check_find(void)
{
    uint64_t size = 1 + (uint64_t)rand() % 40, align = 1ull << rand() % 6;
    uint64_t limit = (uint64_t)rand() % (SPACE + 20), want = UINT64_MAX, got = UINT64_MAX;

    for (uint64_t b = 0; b < SPACE; b += align)
        if (b + size <= limit && model_is_usable(b, size))
            want = b;
    int err = memory_map_find(&map, size, align, limit, &got);
    assert_int_equal(err, want == UINT64_MAX ? -BH_ENOENT : 0);
    assert_int_equal(got, want);
    assert_int_equal(memory_map_is_usable(&map, limit, size), model_is_usable(limit, size));
}

static void test_random(void **state)
{
    (void)state;
    srand(3);
    for (int round = 0; round < 2000; round++) {
        memset(&map, 0, sizeof(map));
        memset(model, 0, sizeof(model));
        for (int n = rand() % 24; n > 0; n--) {
            unsigned int base = (unsigned int)rand() % SPACE;
            unsigned int size = (unsigned int)rand() % (SPACE - base + 1);
            uint32_t type = 1 + (uint32_t)rand() % 6;

            size = rand() % 2 ? size : size % 32;
            type = rand() % 3 ? type : MEM_USABLE;
            add(base, size, type);
            model_put(base, size, type);
        }
        assert_int_equal(memory_map_normalise(&map), 0);
        check_against_model();
        for (int n = 0; n < 6; n++) {
            unsigned int base = (unsigned int)rand() % SPACE;
            unsigned int size = (unsigned int)rand() % (SPACE - base + 1) % 24;

            check_find();
            assert_int_equal(memory_map_reserve(&map, base, size, MEM_RESERVED), 0);
            model_put(base, size, MEM_RESERVED);
            check_against_model();
        }
    }
}

static void expect_low(uint16_t ebda, uint64_t want)
{
    uint64_t base = 0;

    assert_int_equal(memory_map_find_low(&map, ebda, &base), 0);
    assert_int_equal(base, want);
}

static void test_find_low(void **state)
{
    uint64_t base;

    (void)state;
    assert_int_equal(memory_map_find_low(&map, 0, &base), -BH_ENOENT);
    add(0x100000, 0x700000, MEM_USABLE); /* too high */
    assert_int_equal(memory_map_normalise(&map), 0);
    assert_int_equal(memory_map_find_low(&map, 0, &base), -BH_ENOENT);

    add(0, 0x9fc00, MEM_USABLE);
    assert_int_equal(memory_map_normalise(&map), 0);
    expect_low(0x9fc0, 0x9e000); /* the page that it ends in is no whole one */
    expect_low(0x9e80, 0x9d000); /* EBDA in memory that the map calls usable */
    expect_low(0, 0x9e000);      /* no EBDA, or none that can be */
    expect_low(0x40, 0x9e000);
    expect_low(0xf000, 0x9e000);
    /* A module right below, and the loader's own page. */
    assert_int_equal(memory_map_reserve(&map, 0x1001, 0x9e000 - 0x1001 + 0x10, MEM_RESERVED), 0);
    assert_int_equal(memory_map_find_low(&map, 0, &base), -BH_ENOENT); /* page 0 is none */
}

static void test_find_low_stays_below_video_memory(void **state)
{
    (void)state;
    add(0, 0x400000, MEM_USABLE); /* a map without the hole */
    assert_int_equal(memory_map_normalise(&map), 0);
    expect_low(0, 0x9f000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_sort_and_merge, setup),
        cmocka_unit_test_setup(test_overlaps, setup),
        cmocka_unit_test_setup(test_precedence, setup),
        cmocka_unit_test_setup(test_nonsense, setup),
        cmocka_unit_test_setup(test_coalesce, setup),
        cmocka_unit_test_setup(test_has, setup),
        cmocka_unit_test_setup(test_full, setup),
        cmocka_unit_test_setup(test_reserve, setup),
        cmocka_unit_test_setup(test_find, setup),
        cmocka_unit_test_setup(test_find_low, setup),
        cmocka_unit_test_setup(test_find_low_stays_below_video_memory, setup),
        cmocka_unit_test_setup(test_random, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
