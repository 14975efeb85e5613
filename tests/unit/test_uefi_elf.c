/* The UEFI loader's reading of the core's ELF file: a good one, where its bytes go, and each reason
 * to refuse one. The file is kept in memory of exactly its size, so that reading beyond it is seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "boot/boot_info.h"
#include "boot/core_header.h"
#include "boot/uefi/elf.h"
#include "lib/error.h"

/* Offsets in the ELF header and in a program header (ELF-64 Object File Format, 1.5). */
enum { MAGIC = 0, CLASS = 4, TYPE = 16, MACHINE = 18, PHOFF = 32, SHOFF = 40 };
enum { PHENTSIZE = 54, PHNUM = 56, SHENTSIZE = 58, SHNUM = 60, HEADER_SIZE = 64 };
enum { P_TYPE = 0, P_OFFSET = 8, P_PADDR = 24, P_FILESZ = 32, P_MEMSZ = 40, P_SIZE = 56 };

#define SEGMENTS   2
#define FIRST_AT   0x200
#define SECOND_AT  0x300
#define SECTION_AT 0x400
#define FILE_SIZE  (SECTION_AT + 2 * 64)
#define BASE       0x200000ull
#define SECOND     0x203000ull
#define END        0x204800ull
#define ENTRY      0x200010ull

static uint8_t file[FILE_SIZE];
static size_t file_size;
static struct core_image image;
static struct core_problem problem;

static void put(size_t offset, uint64_t value, size_t size)
{
    memcpy(file + offset, &value, size); /* little-endian as the file */
}

static size_t segment(unsigned int i)
{
    return HEADER_SIZE + i * P_SIZE;
}

static void put_segment(unsigned int i, uint64_t offset, uint64_t base, uint64_t size,
                        uint64_t room)
{
    put(segment(i) + P_TYPE, 1, 4);
    put(segment(i) + P_OFFSET, offset, 8);
    put(segment(i) + P_PADDR, base, 8);
    put(segment(i) + P_FILESZ, size, 8);
    put(segment(i) + P_MEMSZ, room, 8);
}

static void put_core_header(uint32_t magic, uint32_t size, uint64_t entry)
{
    put(FIRST_AT, magic, 4);
    put(FIRST_AT + 4, size, 4);
    put(FIRST_AT + 8, entry, 8);
}

static int setup(void **state)
{
    (void)state;
    memset(file, 0xa5, sizeof(file));
    memset(file, 0, SECOND_AT);
    memcpy(file, "\177ELF\2\1\1", 7);
    put(TYPE, 2, 2);
    put(MACHINE, 62, 2);
    put(PHOFF, HEADER_SIZE, 8);
    put(PHENTSIZE, P_SIZE, 2);
    put(PHNUM, SEGMENTS, 2);
    put(SHOFF, SECTION_AT, 8);
    put(SHENTSIZE, 64, 2);
    put(SHNUM, 2, 2);
    put_segment(0, FIRST_AT, BASE, 0x20, 0x1000);
    put_segment(1, SECOND_AT, SECOND, 0x10, END - SECOND);
    put_core_header(CORE_HEADER_MAGIC, sizeof(struct boot_info), ENTRY);
    file_size = FILE_SIZE;
    return 0;
}

static int read_it(void)
{
    void *exact = malloc(file_size > 0 ? file_size : 1);

    assert_non_null(exact);
    memcpy(exact, file, file_size);
    int err = core_elf_read(exact, file_size, &image, &problem);

    free(exact);
    return err;
}

static void refused(const char *text, uint64_t found, uint64_t expected)
{
    assert_int_equal(read_it(), -BH_EINVAL);
    if (!strstr(problem.what, text))
        fail_msg("\"%s\" lacks \"%s\"", problem.what, text);
    assert_int_equal(problem.found, found);
    assert_int_equal(problem.expected, expected);
    setup(NULL);
}

static void test_good(void **state)
{
    (void)state;
    assert_int_equal(read_it(), 0);
    assert_int_equal(image.base, BASE);
    assert_int_equal(image.end, END);
    assert_int_equal(image.entry, ENTRY);
    assert_int_equal(image.segment_count, SEGMENTS);
}

/* What is not in the file is zero, also between segments and behind them. */
static void test_place(void **state)
{
    (void)state;
    const size_t size = END - BASE;
    uint8_t *memory = malloc(size), *want = calloc(1, size);

    assert_true(memory != NULL && want != NULL);
    memset(memory, 0xee, size);
    memcpy(want, file + FIRST_AT, 0x20);
    memcpy(want + (SECOND - BASE), file + SECOND_AT, 0x10);
    assert_int_equal(read_it(), 0);
    core_elf_place(file, &image, memory);
    assert_memory_equal(memory, want, size);
    free(memory);
    free(want);
}

/* No prefix of a good file is good: what is missing is always said. */
static void test_every_truncation(void **state)
{
    (void)state;
    for (size_t size = 0; size < FILE_SIZE; size++) {
        file_size = size;
        assert_int_equal(read_it(), -BH_EINVAL);
        assert_non_null(strstr(problem.what, "cut"));
        assert_int_equal(problem.found, size);
        assert_true(problem.expected > size && problem.expected <= FILE_SIZE);
    }
}

/* A file without section headers is as good, and its segments are what may be missing. */
static void test_stripped_and_cut(void **state)
{
    (void)state;
    put(SHNUM, 0, 2);
    file_size = SECOND_AT + 0x10;
    assert_int_equal(read_it(), 0);
    file_size--;
    refused("cut", SECOND_AT + 0xf, SECOND_AT + 0x10);
}

static void test_not_a_core(void **state)
{
    (void)state;
    put(MAGIC, 0x464c4500, 4);
    refused("magic", 0x464c4500, 0x464c457f);
    put(CLASS, 0x0101, 2);
    refused("class", 0x0101, 0x0102);
    put(TYPE, 3, 2);
    refused("type", 3, 2);
    put(MACHINE, 3, 2);
    refused("machine", 3, 62);
    put(PHENTSIZE, 32, 2);
    refused("program header", 32, P_SIZE);
    put_core_header(CORE_HEADER_MAGIC + 1, sizeof(struct boot_info), ENTRY);
    refused("core of Bulkhead", CORE_HEADER_MAGIC + 1, CORE_HEADER_MAGIC);
    put_core_header(CORE_HEADER_MAGIC, sizeof(struct boot_info) + 8, ENTRY);
    refused("boot_info", sizeof(struct boot_info) + 8, sizeof(struct boot_info));
    put_core_header(CORE_HEADER_MAGIC, sizeof(struct boot_info), BASE - 1);
    refused("entry", BASE - 1, BASE);
    put_core_header(CORE_HEADER_MAGIC, sizeof(struct boot_info), END);
    refused("entry", END, END);
}

static void test_bad_segments(void **state)
{
    (void)state;
    put_segment(1, SECOND_AT, SECOND, 0x11, 0x10);
    refused("bytes in the file", 0x11, 0x10);
    put_segment(1, SECOND_AT, BASE + 0xfff, 0x10, 0x10);
    refused("physical address", BASE + 0xfff, BASE + 0x1000);
    put_segment(1, SECOND_AT, 4 * GIB - 0x10, 0x10, 0x11);
    refused("end of a segment", 4 * GIB + 1, 4 * GIB);
    put_segment(1, SECOND_AT, BASE + 64 * MIB, 0x10, 0x10);
    refused("size in memory", 64 * MIB + 0x10, 64 * MIB);
    put_segment(0, FIRST_AT, BASE, 15, 0x1000);
    refused("first segment's bytes", 15, 16);
    put(PHNUM, 0, 2);
    refused("loadable segments", 0, 1);
    put(segment(0) + P_TYPE, 4, 4);
    put(segment(1) + P_TYPE, 4, 4);
    refused("loadable segments", 0, 1);
}

/* Numbers that wrap when they are added up. */
static void test_huge_numbers(void **state)
{
    (void)state;
    put(PHOFF, UINT64_MAX - 8, 8);
    refused("cut", FILE_SIZE, UINT64_MAX);
    put(SHOFF, UINT64_MAX - 8, 8);
    refused("cut", FILE_SIZE, UINT64_MAX);
    put(PHNUM, UINT16_MAX, 2);
    refused("cut", FILE_SIZE, HEADER_SIZE + (uint64_t)UINT16_MAX * P_SIZE);
    put_segment(1, UINT64_MAX, SECOND, 0x10, 0x10);
    refused("cut", FILE_SIZE, UINT64_MAX);
    put_segment(1, SECOND_AT, UINT64_MAX - 4, 0x10, 0x10);
    refused("end of a segment", UINT64_MAX, 4 * GIB);
    put_segment(1, SECOND_AT, SECOND, UINT64_MAX, UINT64_MAX);
    refused("cut", FILE_SIZE, UINT64_MAX);
    put_segment(1, SECOND_AT, SECOND, 0x10, UINT64_MAX);
    refused("end of a segment", UINT64_MAX, 4 * GIB);
}

static void test_too_many_segments(void **state)
{
    (void)state;
    /* Into the place of everything else; the first stays. */
    put(SHNUM, 0, 2);
    put(PHOFF, FIRST_AT + 0x20, 8);
    put(PHNUM, CORE_SEGMENTS_MAX + 1, 2);
    file_size = FIRST_AT + 0x20 + (CORE_SEGMENTS_MAX + 1) * P_SIZE;
    assert_true(file_size <= FILE_SIZE + 0x200);
    static uint8_t big[FILE_SIZE + 0x200];

    memcpy(big, file, FIRST_AT + 0x20);
    for (unsigned int i = 0; i <= CORE_SEGMENTS_MAX; i++) {
        put_segment(1, FIRST_AT, BASE + i * 0x1000, 0x20, 0x1000);
        memcpy(big + FIRST_AT + 0x20 + i * P_SIZE, file + segment(1), P_SIZE);
    }
    assert_int_equal(core_elf_read(big, file_size, &image, &problem), -BH_EINVAL);
    assert_non_null(strstr(problem.what, "loadable segments"));
    assert_int_equal(problem.expected, CORE_SEGMENTS_MAX);
}

/* Random damage: whatever is accepted lies inside the file and inside the image. */
static void test_random_damage(void **state)
{
    (void)state;
    srand(6);
    for (int round = 0; round < 20000; round++) {
        setup(NULL);
        for (int i = rand() % 4; i >= 0; i--)
            file[(size_t)rand() % (FIRST_AT + 0x20)] = (uint8_t)(rand() % 3 ? rand() : 0xff);
        file_size = (size_t)rand() % 8 ? FILE_SIZE : (size_t)rand() % FILE_SIZE;
        if (read_it() != 0) {
            assert_non_null(problem.what);
            continue;
        }
        assert_true(image.base <= image.entry && image.entry < image.end);
        assert_true(image.end - image.base <= 64 * MIB);
        for (unsigned int i = 0; i < image.segment_count; i++) {
            const struct core_segment *s = &image.segments[i];
            assert_true(s->size <= file_size && s->offset <= file_size - s->size);
            assert_true(s->size <= s->room && s->base >= image.base &&
                        s->base + s->room <= image.end);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_good, setup),
        cmocka_unit_test_setup(test_place, setup),
        cmocka_unit_test_setup(test_every_truncation, setup),
        cmocka_unit_test_setup(test_stripped_and_cut, setup),
        cmocka_unit_test_setup(test_not_a_core, setup),
        cmocka_unit_test_setup(test_bad_segments, setup),
        cmocka_unit_test_setup(test_huge_numbers, setup),
        cmocka_unit_test_setup(test_too_many_segments, setup),
        cmocka_unit_test_setup(test_random_damage, setup),
    };
    return cmocka_run_group_tests_name("uefi_elf", tests, NULL, NULL);
}
