/* The allocator of guest RAM: its preferences case by case, and random use against a model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "arch/x86/mm/frame_alloc.h"
#include "lib/error.h"
#include "tests/unit/host_log.h"

#define M2 (2ull << 20)
#define G1 (1ull << 30)

static struct memory_map map;
static uint64_t *storage;

static void map_usable(uint64_t base, uint64_t size)
{
    assert_int_equal(memory_map_add(&map, base, size, MEM_USABLE), 0);
}

static void init(void)
{
    assert_int_equal(memory_map_normalise(&map), 0);
    size_t bytes = frame_bitmap_bytes(&map);

    free(storage);
    storage = malloc(bytes); /* to the byte: ASan sees what goes beyond */
    memset(storage, 0xff, bytes);
    assert_int_equal(frame_init(&map, storage, bytes), 0);
}

static int setup(void **state)
{
    (void)state;
    memset(&map, 0, sizeof(map));
    host_log_clear();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(storage);
    storage = NULL;
    return 0;
}

static void expect_runs(uint64_t size, const struct frame_run *want, unsigned int want_count)
{
    struct frame_run runs[8];
    unsigned int count = 99;

    assert_int_equal(frame_alloc(size, runs, ARRAY_SIZE(runs), &count), 0);
    assert_int_equal(count, want_count);
    for (unsigned int i = 0; i < count; i++) {
        assert_int_equal(runs[i].base, want[i].base);
        assert_int_equal(runs[i].size, want[i].size);
    }
}

#define EXPECT_RUNS(size, ...)                         \
    do {                                               \
        const struct frame_run want[] = {__VA_ARGS__}; \
        expect_runs(size, want, ARRAY_SIZE(want));     \
    } while (0)

static void test_init(void **state)
{
    (void)state;
    map_usable(0x1000, M2);                                                /* no whole frame */
    map_usable(2 * M2 + 1, 2 * M2);                                        /* one whole frame */
    map_usable(8 * M2, 3 * M2 + M2 / 2);                                   /* three */
    assert_int_equal(memory_map_add(&map, 9 * M2, 4096, MEM_RESERVED), 0); /* less one */
    init();
    assert_int_equal(frame_bitmap_bytes(&map), 16);
    assert_int_equal(frame_total_bytes(), 3 * M2);
    assert_int_equal(frame_free_bytes(), 3 * M2);
    EXPECT_RUNS(3 * M2, {3 * M2, M2}, {8 * M2, M2}, {10 * M2, M2});
    assert_int_equal(frame_free_bytes(), 0);
    assert_int_equal(frame_init(&map, storage, 15), -BH_EINVAL);
    assert_int_equal(frame_init(&map, (char *)storage + 4, 16), -BH_EINVAL);
    memset(&map, 0, sizeof(map));
    assert_int_equal(frame_bitmap_bytes(&map), 0);
    assert_int_equal(frame_init(&map, NULL, 0), 0);
    struct frame_run run;
    unsigned int count;
    assert_int_equal(frame_alloc(M2, &run, 1, &count), -BH_ENOMEM);
    assert_int_equal(frame_free(0, M2), -BH_EINVAL);
}

static void test_large_machine(void **state)
{
    (void)state;
    map_usable(1ull << 20, 3 * G1);
    map_usable(4 * G1, 1020 * G1);
    map_usable(5000 * G1, G1); /* beyond FRAME_PA_MAX */
    map_usable(4095 * G1, 2 * G1);
    assert_int_equal(memory_map_reserve(&map, 1024 * G1, 3072 * G1, MEM_RESERVED), 0);
    init();
    assert_int_equal(frame_bitmap_bytes(&map), 128 << 10);
    assert_int_equal(frame_total_bytes(), 1023 * G1 - M2);
    EXPECT_RUNS(1020 * G1, {4 * G1, 1020 * G1});
    EXPECT_RUNS(2 * G1, {G1, 2 * G1});
    assert_int_equal(frame_free_bytes(), G1 - M2);
    assert_int_equal(frame_free(4 * G1, 1020 * G1), 0);
    assert_int_equal(frame_free_bytes(), 1021 * G1 - M2);
}

static void test_preferences(void **state)
{
    (void)state;
    map_usable(M2, 3 * G1 - M2);
    map_usable(4 * G1, 2 * G1 + 10 * M2);
    map_usable(7 * G1 - 4 * M2, G1 + 4 * M2);
    init();
    /* A small request goes into the smallest place that holds it, and not below 4 GiB. */
    EXPECT_RUNS(4 * M2, {7 * G1 - 4 * M2, 4 * M2});
    /* What stands beside whole GiBs goes before these are broken, from the far end. */
    EXPECT_RUNS(3 * M2, {6 * G1 + 7 * M2, 3 * M2});
    /* Whole GiBs aligned, the rest from the smallest place again. */
    EXPECT_RUNS(G1 + 6 * M2, {4 * G1, G1}, {6 * G1 + M2, 6 * M2});
    EXPECT_RUNS(2 * G1, {5 * G1, G1}, {7 * G1, G1});
    /* The last frame above, then low memory: aligned GiBs first. */
    EXPECT_RUNS(2 * G1 + 2 * M2, {6 * G1, M2}, {G1, 2 * G1}, {M2, M2});
    assert_int_equal(frame_free_bytes(), G1 - 2 * M2);
    assert_int_equal(frame_total_bytes(), 6 * G1 + 13 * M2);
}

static void test_refusals(void **state)
{
    struct frame_run runs[4];
    unsigned int count = 99;

    (void)state;
    for (unsigned int i = 0; i < 10; i++)
        map_usable((4 + 2 * i) * M2, M2); /* every other frame */
    init();
    assert_int_equal(frame_alloc(0, runs, 4, &count), -BH_EINVAL);
    assert_int_equal(count, 0);
    assert_int_equal(frame_alloc(M2 + 4096, runs, 4, &count), -BH_EINVAL);
    assert_int_equal(frame_alloc(11 * M2, runs, 4, &count), -BH_ENOMEM);
    assert_int_equal(frame_alloc(UINT64_MAX - M2 + 1, runs, 4, &count), -BH_ENOMEM);
    assert_int_equal(frame_alloc(5 * M2, runs, 4, &count), -BH_ENOMEM); /* five runs */
    assert_int_equal(frame_alloc(M2, runs, 0, &count), -BH_ENOMEM);
    assert_int_equal(frame_free_bytes(), 10 * M2); /* nothing was lost on the way */
    assert_int_equal(frame_alloc(4 * M2, runs, 4, &count), 0);
    assert_int_equal(count, 4);
    assert_string_equal(host_log_text, "");

    /* Frames that are free, that are not ours, and sizes of no sense. */
    assert_int_equal(frame_free(runs[0].base, M2), 0);
    assert_int_equal(frame_free(runs[0].base, M2), -BH_EINVAL);
    assert_int_equal(frame_free(runs[1].base, 2 * M2), -BH_EINVAL);
    assert_int_equal(frame_free(runs[1].base + 4096, M2), -BH_EINVAL);
    assert_int_equal(frame_free(runs[1].base, 4096), -BH_EINVAL);
    assert_int_equal(frame_free(runs[1].base, 0), -BH_EINVAL);
    assert_int_equal(frame_free(0, M2), -BH_EINVAL);
    assert_int_equal(frame_free(100 * G1, M2), -BH_EINVAL);
    assert_int_equal(frame_free(0 - M2, M2), -BH_EINVAL);
    assert_int_equal(frame_free(runs[1].base, 0 - runs[1].base), -BH_EINVAL);
    assert_non_null(strstr(host_log_text, "error: frames: freed 0x200000 bytes at 0x0 that are "
                                          "not allocated"));
    assert_int_equal(frame_free_bytes(), 7 * M2);
    assert_int_equal(frame_free(runs[1].base, M2), 0);
}

static void test_part_freed(void **state)
{
    (void)state;
    map_usable(16 * M2, 16 * M2);
    init();
    EXPECT_RUNS(16 * M2, {16 * M2, 16 * M2});
    assert_int_equal(frame_free(20 * M2, 2 * M2), 0);
    assert_int_equal(frame_free(19 * M2, 2 * M2), -BH_EINVAL);
    EXPECT_RUNS(2 * M2, {20 * M2, 2 * M2});
    assert_int_equal(frame_free(16 * M2, 16 * M2), 0);
    assert_int_equal(frame_free_bytes(), frame_total_bytes());
}

#define FRAMES (7 * 512)
enum owner { NOT_OURS, FREE, TAKEN };
static uint8_t model[FRAMES];

static void model_random(void)
{
    memset(model, NOT_OURS, sizeof(model));
    for (size_t at = 0; at < FRAMES;) {
        size_t hole = (size_t)rand() % 8 ? 1 + (size_t)rand() % 9 : 300;
        size_t len = 1 + (size_t)rand() % (rand() % 3 ? 20 : 1200);

        for (size_t i = at; i < at + len && i < FRAMES; i++)
            model[i] = FREE;
        at += len + hole;
    }
    memset(&map, 0, sizeof(map));
    for (size_t i = 0; i < FRAMES; i++) {
        if (model[i] == FREE && map.count == MEMORY_MAP_MAX) {
            model[i] = NOT_OURS;
        } else if (model[i] == FREE) {
            size_t end = i;
            while (end < FRAMES && model[end] == FREE)
                end++;
            map_usable(i * M2, (end - i) * M2);
            i = end - 1;
        }
    }
}

static size_t model_count(enum owner owner, size_t from, size_t end)
{
    size_t n = 0;

    for (size_t i = from; i < end; i++)
        n += model[i] == owner;
    return n;
}

static bool has_free_gib(size_t from)
{
    for (size_t at = from; at < FRAMES; at += 512)
        if (model_count(FREE, at, at + 512) == 512)
            return true;
    return false;
}

static void check_runs(uint64_t size, const struct frame_run *runs, unsigned int count)
{
    size_t high_free = model_count(FREE, 2048, FRAMES);
    uint64_t sum = 0, low = 0;

    if (size >= G1 && has_free_gib(2048))
        assert_true(runs[0].base % G1 == 0 && runs[0].size >= G1);
    for (unsigned int i = 0; i < count; i++) {
        size_t first = runs[i].base / M2, n = runs[i].size / M2;

        assert_true(n > 0 && runs[i].base % M2 == 0 && runs[i].size % M2 == 0);
        assert_int_equal(model_count(FREE, first, first + n), n);
        memset(model + first, TAKEN, n);
        sum += runs[i].size;
        low += first < 2048 ? MIN(first + n, (size_t)2048) - first : 0;
    }
    assert_int_equal(sum, size);
    assert_true(low == 0 || size / M2 - low == high_free);
}

static void test_random(void **state)
{
    static struct frame_run runs[512];

    (void)state;
    srand(5);
    for (int round = 0; round < 40; round++) {
        model_random();
        init();
        for (int i = 0; i < 150; i++) {
            uint64_t size = M2 * (1 + (uint64_t)rand() % (rand() % 4 ? 60 : 1500));
            unsigned int max = rand() % 2 ? ARRAY_SIZE(runs) : 1 + (unsigned int)rand() % 8;
            unsigned int count;
            size_t at = (size_t)rand() % FRAMES, n = 1 + (size_t)rand() % 400;

            if (frame_alloc(size, runs, max, &count) == 0) {
                assert_in_range(count, 1, max);
                check_runs(size, runs, count);
            } else {
                assert_true(max != ARRAY_SIZE(runs) || size > frame_free_bytes());
            }
            n = MIN(n, FRAMES - at);
            while (n > 1 && rand() % 50 && model_count(TAKEN, at, at + n) != n)
                n /= 2;
            bool valid = model_count(TAKEN, at, at + n) == n;
            assert_int_equal(frame_free(at * M2, n * M2), valid ? 0 : -BH_EINVAL);
            host_log_clear();
            if (valid)
                memset(model + at, FREE, n);
            assert_int_equal(frame_free_bytes(), model_count(FREE, 0, FRAMES) * M2);
        }
        assert_int_equal(frame_total_bytes(), (FRAMES - model_count(NOT_OURS, 0, FRAMES)) * M2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_init, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_machine, setup, teardown),
        cmocka_unit_test_setup_teardown(test_preferences, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_part_freed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
