/* Memory maps of real machines (tests/data/memory_maps), and made ones of a size and kind that they
 * may have, on their whole way: added, put in order, handed to the allocator of guests' memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/mm/frame_alloc.h"
#include "boot/memory_map.h"
#include "lib/error.h"
#include "tests/unit/host_log.h"
#include "tests/unit/memory_usable.h"

#define FOLDER  "tests/data/memory_maps"
#define RAW_MAX 4096u

/* What the firmware says. */
static struct memory_range raw[RAW_MAX];
static unsigned int raw_count;
static struct memory_map map;

static int setup(void **state)
{
    (void)state;
    raw_count = 0;
    host_log_clear();
    return 0;
}

static void say(uint64_t base, uint64_t size, uint32_t type)
{
    assert_true(raw_count < RAW_MAX);
    raw[raw_count++] = (struct memory_range){base, size, type};
}

static void load(const char *name)
{
    char path[300], line[200];

    snprintf(path, sizeof(path), FOLDER "/%s", name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    raw_count = 0;
    while (fgets(line, sizeof(line), f)) {
        uint64_t first, last;
        uint32_t type;

        if (line[0] == '#')
            continue;
        if (sscanf(line, "%" SCNx64 " %" SCNx64 " %" SCNu32, &first, &last, &type) != 3)
            fail_msg("%s: %s", path, line);
        assert_true(first < last);
        say(first, last - first + 1, type);
    }
    fclose(f);
    assert_true(raw_count > 0);
}

/* By the firmware's word alone: said to be usable, and nothing else said of it. */
static bool raw_usable(uint64_t at)
{
    bool usable = false;

    for (unsigned int i = 0; i < raw_count; i++) {
        if (at < raw[i].base || at - raw[i].base >= raw[i].size)
            continue;
        if (raw[i].type != MEM_USABLE)
            return false;
        usable = true;
    }
    return usable;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Compares map and firmware stretch by stretch: what they say changes only at some range's start
 * or end. */
static void check_bytes(void)
{
    static uint64_t edges[2 * RAW_MAX];
    unsigned int n = 0;
    uint64_t usable = 0;

    for (unsigned int i = 0; i < raw_count; i++) {
        edges[n++] = raw[i].base;
        edges[n++] = raw[i].base + raw[i].size;
    }
    qsort(edges, n, sizeof(edges[0]), by_value);
    for (unsigned int i = 0; i + 1 < n; i++) {
        uint64_t size = edges[i + 1] - edges[i];

        if (size == 0)
            continue;
        bool want = raw_usable(edges[i]);

        usable += want ? size : 0;
        if (memory_map_is_usable(&map, edges[i], size) != want ||
            memory_map_is_usable(&map, edges[i + 1] - 1, 1) != want)
            fail_msg("0x%" PRIx64 "-0x%" PRIx64 " is %s", edges[i], edges[i + 1],
                     want ? "lost" : "taken for usable");
    }
    assert_int_equal(memory_map_usable(&map), usable);
}

static void check_order(void)
{
    for (unsigned int i = 0; i < map.count; i++) {
        const struct memory_range *r = &map.r[i];

        assert_true(r->size > 0);
        assert_true(r->type >= MEM_USABLE && r->type <= MEM_BAD);
        if (i > 0) {
            uint64_t end = r[-1].base + r[-1].size;
            assert_true(end < r->base || (end == r->base && r[-1].type != r->type));
        }
    }
}

/* With what boot/main.c takes out, and all of it allocated. */
static void check_frames(void)
{
    static struct frame_run runs[RAW_MAX];
    unsigned int count = 0;
    uint64_t want = 0, got = 0, pool;

    assert_int_equal(memory_map_reserve(&map, 0, MIB, MEM_RESERVED), 0);
    assert_int_equal(memory_map_find(&map, 16 * MIB, FRAME_SIZE, 4 * GIB, &pool), 0);
    assert_true(raw_usable(pool) && raw_usable(pool + 16 * MIB - 1));
    assert_int_equal(memory_map_reserve(&map, pool, 16 * MIB, MEM_RESERVED), 0);
    check_order();
    for (unsigned int i = 0; i < map.count; i++) {
        uint64_t start = ALIGN_UP(map.r[i].base, FRAME_SIZE);
        uint64_t end = MIN(map.r[i].base + map.r[i].size, FRAME_PA_MAX);

        end = ALIGN_DOWN(end, FRAME_SIZE);
        want += map.r[i].type == MEM_USABLE && start < end ? end - start : 0;
    }
    size_t bytes = frame_bitmap_bytes(&map);
    void *storage = malloc(bytes + 1);

    assert_int_equal(frame_init(&map, storage, bytes), 0);
    assert_int_equal(frame_total_bytes(), want);
    assert_true(want > 0);
    assert_int_equal(frame_alloc(want, runs, RAW_MAX, &count), 0);
    assert_int_equal(frame_free_bytes(), 0);
    for (unsigned int i = 0; i < count; i++) {
        assert_true(memory_map_is_usable(&map, runs[i].base, runs[i].size));
        got += runs[i].size;
    }
    assert_int_equal(got, want);
    free(storage);
}

/* Adds the ranges, `step` (prime to their number) apart. */
static void build(unsigned int step)
{
    memset(&map, 0, sizeof(map));
    for (unsigned int i = 0; i < raw_count; i++) {
        const struct memory_range *r = &raw[(uint64_t)i * step % raw_count];
        assert_int_equal(memory_map_add(&map, r->base, r->size, r->type), 0);
    }
    assert_int_equal(memory_map_normalise(&map), 0);
}

static unsigned int gcd(unsigned int a, unsigned int b)
{
    while (b != 0) {
        unsigned int rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static void check_map(void)
{
    static struct memory_map first;

    build(1);
    check_order();
    check_bytes();
    first = map;
    for (unsigned int step = 2; step <= MIN(raw_count, 12u); step++) {
        if (gcd(step, raw_count) != 1)
            continue;
        build(step);
        assert_int_equal(map.count, first.count);
        for (unsigned int i = 0; i < map.count; i++) {
            assert_int_equal(map.r[i].base, first.r[i].base);
            assert_int_equal(map.r[i].size, first.r[i].size);
            assert_int_equal(map.r[i].type, first.r[i].type);
        }
    }
    check_frames();
}

static void test_files(void **state)
{
    unsigned int files = 0;
    DIR *folder = opendir(FOLDER);

    (void)state;
    assert_non_null(folder);
    for (struct dirent *e = readdir(folder); e; e = readdir(folder)) {
        if (!strstr(e->d_name, ".txt"))
            continue;
        print_message("%s\n", e->d_name);
        load(e->d_name);
        check_map();
        assert_string_equal(host_log_text, "");
        files++;
    }
    closedir(folder);
    assert_true(files >= 12);
}

/* What the types of some of them mean. */
static void test_types_of_files(void **state)
{
    (void)state;
    load("xeon_persistent.txt");
    build(1);
    assert_false(memory_map_is_usable(&map, 20 * GIB, 1));
    assert_true(memory_map_is_usable(&map, 20 * GIB - 1, 1));
    load("made_3t_optane.txt");
    build(1);
    assert_false(memory_map_is_usable(&map, 0x18020000000, 1));
    assert_false(memory_map_is_usable(&map, 0x2000000000, 1)); /* bad, within usable memory */
    assert_true(memory_map_is_usable(&map, 0x2000200000, 1));
    assert_false(memory_map_is_usable(&map, 0x9f000, 1)); /* usable and reserved */
    load("made_cxl.txt");
    build(1);
    assert_false(memory_map_is_usable(&map, 0xc050000000, 1));
    assert_false(memory_map_is_usable(&map, 0x10000000000, 1));
    load("dell_r7625.txt");
    build(1);
    assert_true(memory_map_usable(&map) > 760 * GIB);
}

/* No number but 1 is memory to use, neither alone nor on top of or below usable memory. */
static void test_types(void **state)
{
    static const uint32_t types[] = {0,  2,  3,  4,  5,  6,  7,          8,          9,
                                     10, 11, 12, 13, 14, 15, 0x10000001, 0xefffffff, 0xfffffff0};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        raw_count = 0;
        say(0, GIB, MEM_USABLE);
        say(GIB / 2 + 1, 3 * MIB, types[i]);
        say(2 * GIB, GIB, types[i]);
        say(2 * GIB + MIB, 4 * MIB, MEM_USABLE);
        check_map();
        assert_false(memory_map_is_usable(&map, 2 * GIB + MIB, 1));
        assert_false(memory_map_is_usable(&map, GIB / 2 + 1, 1));
    }
}

/* As a UEFI with many drivers and much memory leaves it. */
static void test_thousand_ranges(void **state)
{
    uint64_t at = 4 * GIB;

    (void)state;
    say(0, 0x9fc00, MEM_USABLE);
    say(MIB, 2 * GIB - MIB, MEM_USABLE);
    for (unsigned int i = 0; raw_count < 1000; i++) {
        uint64_t size = (1 + i % 700) * 0x1000 + (i % 50 == 0 ? 40 * GIB : 0);

        say(at, size, (uint32_t[]){1, 2, 1, 7, 1, 4, 1, 3, 1, 20}[i % 10]);
        at += size;
    }
    assert_true(at > 780 * GIB);
    check_map();
    /* And what the core's modules take. */
    for (unsigned int i = 0; i < 40; i++)
        assert_int_equal(memory_map_reserve(&map, GIB + i * 0x5000, 0x4000, MEM_RESERVED), 0);
    check_order();
}

/* Neighbours that differ in what only UEFI distinguishes: loader, boot services, free. */
static void test_uefi_pieces(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < 4000; i++)
        say(i * 0x10000ull, 0x10000, i % 500 == 499 ? MEM_RESERVED : MEM_USABLE);
    build(1);
    assert_int_equal(map.count, 16);
    check_order();
    check_bytes();
    check_frames();
}

/* Up to what the allocator covers, and beyond it. */
static void test_terabytes(void **state)
{
    (void)state;
    say(0, 0xa0000, MEM_USABLE);
    say(MIB, 3 * GIB - MIB, MEM_USABLE);
    say(3 * GIB, GIB, MEM_RESERVED);
    say(4 * GIB, 1008 * GIB, MEM_USABLE);
    say(1012 * GIB, 12 * GIB, MEM_RESERVED);
    say(1024 * GIB, 5 * 1024 * GIB, MEM_USABLE);
    check_map();
    assert_int_equal(frame_total_bytes(), (4096 - 12 - 1) * GIB - MIB - 16 * MIB - MIB);
    assert_non_null(strstr(host_log_text, "memory: 2097152 MiB above 4 TiB are left alone"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_files, setup),
        cmocka_unit_test_setup(test_types_of_files, setup),
        cmocka_unit_test_setup(test_types, setup),
        cmocka_unit_test_setup(test_thousand_ranges, setup),
        cmocka_unit_test_setup(test_uefi_pieces, setup),
        cmocka_unit_test_setup(test_terabytes, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
