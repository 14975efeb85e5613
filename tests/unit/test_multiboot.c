/* What boot loaders hand over, multiboot 1 and 2: everything that the core takes from it, and every
 * way in which it can be malformed. The image is a heap block of its exact size, so that ASan sees
 * any read beyond the view. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot/multiboot.h"
#include "lib/error.h"
#include "tests/unit/host_log.h"

#define IMAGE_SIZE 0x8000u

/* Multiboot 0.6.96, 3.3: fields of the information structure. */
#define MB1_AT        0x1000u
#define MB1_CMDLINE   16
#define MB1_MODS      20 /* count, address */
#define MB1_MMAP      44 /* length, address */
#define MB1_INFO_SIZE 52
#define MB1_HAS_CMD   BIT(2)
#define MB1_HAS_MODS  BIT(3)
#define MB1_HAS_MMAP  BIT(6)
#define MB1_RANGE     24u

#define CMD_AT  0x2000u
#define MODS_AT 0x2100u
#define NAME_AT 0x3000u
#define MMAP_AT 0x4000u

/* Multiboot2 2.0, 3.6. */
#define MB2_AT   0x1008u
#define TAG_END  0u
#define TAG_CMD  1u
#define TAG_MOD  3u
#define TAG_MMAP 6u
#define TAG_RSD1 14u
#define TAG_RSD2 15u

static uint8_t *image;
static struct phys_view view;
static struct boot_info info;
static uint64_t mb2_end; /* where the next tag goes */

static void put32(uint64_t at, uint32_t value)
{
    assert_true(at + 4 <= IMAGE_SIZE);
    memcpy(image + at, &value, 4);
}

static void put64(uint64_t at, uint64_t value)
{
    put32(at, (uint32_t)value);
    put32(at + 4, (uint32_t)(value >> 32));
}

static void put_text(uint64_t at, const char *text)
{
    assert_true(at + strlen(text) < IMAGE_SIZE);
    memcpy(image + at, text, strlen(text) + 1);
}

static int setup(void **state)
{
    (void)state;
    image = malloc(IMAGE_SIZE);
    memset(image, 0, IMAGE_SIZE);
    view = (struct phys_view){image, IMAGE_SIZE};
    host_log_clear();
    memset(&info, 0xa5, sizeof(info));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(image);
    return 0;
}

static void expect_log(const char *part)
{
    if (!strstr(host_log_text, part)) {
        fail_msg("found \"%s\", expected \"%s\"", host_log_text, part);
    }
}

static void expect_module(unsigned int i, const char *name, uint64_t base, uint64_t size)
{
    assert_true(i < info.module_count);
    assert_string_equal(info.modules[i].name, name);
    assert_int_equal(info.modules[i].base, base);
    assert_int_equal(info.modules[i].size, size);
}

static void expect_range(unsigned int i, uint64_t base, uint64_t size, uint32_t type)
{
    assert_true(i < info.map.count);
    assert_true(info.map.r[i].base == base);
    assert_true(info.map.r[i].size == size);
    assert_int_equal(info.map.r[i].type, type);
}

static int parse1(void)
{
    host_log_clear();
    return multiboot_parse(&info, MULTIBOOT1_MAGIC, MB1_AT, &view);
}

static void bad1(const char *text)
{
    assert_int_equal(parse1(), -BH_EINVAL);
    expect_log(text);
}

static void mb1_range(unsigned int i, uint64_t base, uint64_t size, uint32_t type)
{
    uint64_t at = MMAP_AT + i * MB1_RANGE;

    put32(at, MB1_RANGE - 4);
    put64(at + 4, base);
    put64(at + 12, size);
    put32(at + 20, type);
    put32(MB1_AT + MB1_MMAP, (i + 1) * MB1_RANGE);
}

static void mb1_module(unsigned int i, uint32_t start, uint32_t end, const char *string)
{
    uint32_t name = NAME_AT + i * 0x80;

    put32(MODS_AT + i * 16, start);
    put32(MODS_AT + i * 16 + 4, end);
    put32(MODS_AT + i * 16 + 8, name);
    put_text(name, string);
    put32(MB1_AT + MB1_MODS, i + 1);
}

/* A command line, two modules, three ranges. */
static void good1(void)
{
    put32(MB1_AT, MB1_HAS_CMD | MB1_HAS_MODS | MB1_HAS_MMAP);
    put32(MB1_AT + MB1_CMDLINE, CMD_AT);
    put_text(CMD_AT, "/boot/bulkhead.elf32 log=debug");
    put32(MB1_AT + MB1_MODS + 4, MODS_AT);
    mb1_module(0, 0x200000, 0x234567, "/boot/guest/vmlinuz some words / more");
    mb1_module(1, 0x300000, 0x300000, "bulkhead.conf");
    put32(MB1_AT + MB1_MMAP + 4, MMAP_AT);
    mb1_range(0, 0, 0x9fc00, MEM_USABLE);
    mb1_range(1, 0x9fc00, 0x400, MEM_RESERVED);
    mb1_range(2, 4 * GIB, 3 * GIB, MEM_USABLE);
}

static void test_magic(void **state)
{
    (void)state;
    good1();
    assert_int_equal(multiboot_parse(&info, 0, MB1_AT, &view), -BH_ENOTSUP);
    expect_log("magic 0x00000000, expected multiboot 1 (0x2badb002)");
    assert_int_equal(multiboot_parse(&info, 0x2badb003, MB1_AT, &view), -BH_ENOTSUP);
    assert_int_equal(info.module_count, 0);
    assert_int_equal(info.map.count, 0);
}

static void test_mb1(void **state)
{
    (void)state;
    good1();
    assert_int_equal(parse1(), 0);
    assert_string_equal(host_log_text, "");
    assert_string_equal(info.protocol, "multiboot 1");
    assert_string_equal(info.cmdline, "/boot/bulkhead.elf32 log=debug");
    assert_int_equal(info.module_count, 2);
    assert_int_equal(info.modules_dropped, 0);
    expect_module(0, "vmlinuz", 0x200000, 0x34567);
    expect_module(1, "bulkhead.conf", 0x300000, 0);
    assert_int_equal(info.map.count, 3);
    expect_range(0, 0, 0x9fc00, MEM_USABLE);
    expect_range(1, 0x9fc00, 0x400, MEM_RESERVED);
    expect_range(2, 4 * GIB, 3 * GIB, MEM_USABLE);
    assert_int_equal(info.rsdp_size, 0);
}

/* What a flag does not announce is not looked at. */
static void test_mb1_flags(void **state)
{
    (void)state;
    good1();
    put32(MB1_AT, MB1_HAS_MMAP);
    put32(MB1_AT + MB1_CMDLINE, 0xffffffff);
    put32(MB1_AT + MB1_MODS, 0xffffffff);
    put32(MB1_AT + MB1_MODS + 4, 0xffffffff);
    assert_int_equal(parse1(), 0);
    assert_string_equal(info.cmdline, "");
    assert_int_equal(info.module_count, 0);
    assert_int_equal(info.modules_dropped, 0);
    put32(MB1_AT, 0);
    bad1("gave no memory map (flags 0x0)");
}

static void test_module_names(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},
        {" ", ""},
        {"a", "a"},
        {"/", ""},
        {"/a/b/", ""},
        {"a b/c", "a"},
        {"(hd0,msdos1)/boot/x.gz x.gz", "x.gz"},
        {"x/0123456789012345678901234567890123456789012345678901234567890123456789",
         "012345678901234567890123456789012345678901234567890123456789012"}, /* 63 */
    };

    (void)state;
    good1();
    for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
        mb1_module(i, 0x1000, 0x2000, cases[i][0]);
    }
    assert_int_equal(parse1(), 0);
    for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
        expect_module(i, cases[i][1], 0x1000, 0x1000);
    }
}

static void test_mb1_outside(void **state)
{
    static const uint64_t wrong[] = {IMAGE_SIZE - MB1_INFO_SIZE + 1, IMAGE_SIZE, 0xffffffff,
                                     UINT64_MAX};

    (void)state;
    good1();
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        host_log_clear();
        assert_int_equal(multiboot_parse(&info, MULTIBOOT1_MAGIC, wrong[i], &view), -BH_EINVAL);
        expect_log("lies outside memory");
    }
    /* To the last byte is fine. */
    memcpy(image + IMAGE_SIZE - MB1_INFO_SIZE, image + MB1_AT, MB1_INFO_SIZE);
    assert_int_equal(multiboot_parse(&info, MULTIBOOT1_MAGIC, IMAGE_SIZE - MB1_INFO_SIZE, &view),
                     0);
    assert_int_equal(info.module_count, 2);
}

static void test_mb1_bad_modules(void **state)
{
    (void)state;
    good1();
    mb1_module(1, 0x300000, 0x2fffff, "backwards");
    bad1("module \"backwards\" ends at 0x2fffff, before its start 0x300000");
    good1();
    put32(MB1_AT + MB1_MODS + 4, IMAGE_SIZE - 16);
    bad1("module 1 of 2 lies outside memory");
    put32(MB1_AT + MB1_MODS + 4, 0xfffffff8);
    bad1("module 0 of 2 lies outside memory");
}

static void test_too_many_modules(void **state)
{
    (void)state;
    good1();
    for (unsigned int i = 0; i < BOOT_MODULES_MAX; i++) {
        mb1_module(i, i * 0x1000, i * 0x1000 + 1, "m");
    }
    assert_int_equal(parse1(), 0);
    assert_int_equal(info.module_count, BOOT_MODULES_MAX);
    assert_int_equal(info.modules_dropped, 0);
    put32(MB1_AT + MB1_MODS, BOOT_MODULES_MAX + 3);
    assert_int_equal(parse1(), 0);
    assert_int_equal(info.module_count, BOOT_MODULES_MAX);
    assert_int_equal(info.modules_dropped, 3);
    /* An absurd count takes no time. */
    put32(MB1_AT + MB1_MODS, UINT32_MAX);
    assert_int_equal(parse1(), 0);
    assert_int_equal(info.modules_dropped, UINT32_MAX - BOOT_MODULES_MAX);
}

/* Strings end at the view's end, and are cut to what there is room for. */
static void test_mb1_strings(void **state)
{
    (void)state;
    good1();
    memset(image + CMD_AT, 'c', 0x100);
    memset(image + IMAGE_SIZE - 700, 'x', 700);
    put32(MB1_AT + MB1_CMDLINE, IMAGE_SIZE - 5);
    put32(MODS_AT + 8, IMAGE_SIZE - 1);
    put32(MODS_AT + 16 + 8, IMAGE_SIZE);
    assert_int_equal(parse1(), 0);
    assert_string_equal(info.cmdline, "xxxxx");
    expect_module(0, "x", 0x200000, 0x34567);
    expect_module(1, "", 0x300000, 0);
    put32(MB1_AT + MB1_CMDLINE, IMAGE_SIZE - 600);
    assert_int_equal(parse1(), 0);
    assert_int_equal(strlen(info.cmdline), BOOT_CMDLINE_MAX - 1);
    put32(MB1_AT + MB1_CMDLINE, 0xffffffff);
    assert_int_equal(parse1(), 0);
    assert_string_equal(info.cmdline, "");
}

static void test_mb1_bad_map(void **state)
{
    (void)state;
    good1();
    put32(MMAP_AT + MB1_RANGE, 19); /* an entry's size: less than the fields that it must have */
    bad1("malformed memory map entry at 0x4018");
    put32(MMAP_AT + MB1_RANGE, 0);
    bad1("malformed memory map entry at 0x4018");
    put32(MMAP_AT + MB1_RANGE, 0xffffffff); /* the last one, then */
    assert_int_equal(parse1(), 0);
    assert_int_equal(info.map.count, 2);
    good1();
    put32(MB1_AT + MB1_MMAP, 3 * MB1_RANGE - 1); /* cut short */
    bad1("malformed memory map entry at 0x4030");
    put32(MB1_AT + MB1_MMAP, 1);
    bad1("malformed memory map entry at 0x4000");
    put32(MB1_AT + MB1_MMAP, 0xffffffff); /* goes on into zeros */
    bad1("malformed memory map entry at 0x4048");
    good1();
    put32(MB1_AT + MB1_MMAP + 4, IMAGE_SIZE - MB1_RANGE + 1);
    bad1("malformed memory map entry at 0x7fe9");
    put32(MB1_AT + MB1_MMAP + 4, 0xffffffff);
    bad1("malformed memory map entry at 0xffffffff");
}

/* Entries may be longer than the fields that the core knows. */
static void test_mb1_long_entries(void **state)
{
    (void)state;
    good1();
    put32(MMAP_AT, 24);
    put64(MMAP_AT + 4, 0x1000);
    put64(MMAP_AT + 12, 0x2000);
    put32(MMAP_AT + 20, 77); /* an unknown type */
    put32(MMAP_AT + 28, 20);
    put64(MMAP_AT + 32, 0x100000);
    put64(MMAP_AT + 40, 0x3000);
    put32(MMAP_AT + 48, MEM_NVS);
    put32(MB1_AT + MB1_MMAP, 52);
    assert_int_equal(parse1(), 0);
    assert_int_equal(info.map.count, 2);
    expect_range(0, 0x1000, 0x2000, MEM_RESERVED);
    expect_range(1, 0x100000, 0x3000, MEM_NVS);
}

static void test_too_many_ranges(void **state)
{
    (void)state;
    good1();
    for (unsigned int i = 0; i < MEMORY_MAP_MAX; i++) {
        mb1_range(i, i * MIB, 0x1000, MEM_USABLE);
    }
    assert_int_equal(parse1(), 0);
    assert_int_equal(info.map.count, MEMORY_MAP_MAX);
    mb1_range(MEMORY_MAP_MAX, MEMORY_MAP_MAX * MIB, 0x1000, MEM_USABLE);
    assert_int_equal(parse1(), -BH_ENOMEM);
    expect_log("more than 256 ranges");
}

/* Empty ranges take no place in the map, but there is an end to them, too. */
static void test_too_many_empty_ranges(void **state)
{
    const uint32_t at = 0x10000;

    (void)state;
    good1();
    image = realloc(image, 0x20000);
    view = (struct phys_view){image, 0x20000};
    memset(image + at, 0, 0x20000 - at);
    for (unsigned int i = 0; i < 1025; i++) {
        image[at + i * MB1_RANGE] = MB1_RANGE - 4;
    }
    put32(MB1_AT + MB1_MMAP + 4, at);
    put32(MB1_AT + MB1_MMAP, 1024 * MB1_RANGE);
    assert_int_equal(parse1(), 0);
    assert_int_equal(info.map.empty, 1024);
    put32(MB1_AT + MB1_MMAP, 1025 * MB1_RANGE);
    bad1("more than 1024 ranges");
}

static int parse2(void)
{
    put32(MB2_AT, (uint32_t)(mb2_end - MB2_AT));
    host_log_clear();
    return multiboot_parse(&info, MULTIBOOT2_MAGIC, MB2_AT, &view);
}

static void bad2(const char *text)
{
    assert_int_equal(parse2(), -BH_EINVAL);
    expect_log(text);
}

/* Appends a tag with `size` bytes of body (NULL: zeros). Returns where it stands. */
static uint64_t tag(uint32_t type, const void *body, uint32_t size)
{
    uint64_t at = mb2_end;

    assert_true(at + 8 + size + 8 <= IMAGE_SIZE);
    put32(at, type);
    put32(at + 4, 8 + size);
    memset(image + at + 8, 0, size);
    if (body) {
        memcpy(image + at + 8, body, size);
    }
    mb2_end = ALIGN_UP(at + 8 + size, 8);
    return at;
}

static uint64_t module_tag(uint32_t start, uint32_t end, const char *string)
{
    uint64_t at = tag(TAG_MOD, NULL, 8 + (uint32_t)strlen(string) + 1);

    put32(at + 8, start);
    put32(at + 12, end);
    put_text(at + 16, string);
    return at;
}

static uint64_t map_tag(uint32_t entry_size, unsigned int count)
{
    uint64_t at = tag(TAG_MMAP, NULL, 8 + entry_size * count);

    put32(at + 8, entry_size);
    for (unsigned int i = 0; i < count; i++) {
        put64(at + 16 + i * entry_size, i * GIB);
        put64(at + 24 + i * entry_size, MIB);
        put32(at + 32 + i * entry_size, MEM_USABLE);
    }
    return at;
}

static void begin2(void)
{
    memset(image, 0, IMAGE_SIZE);
    mb2_end = MB2_AT + 8;
}

static void test_mb2(void **state)
{
    (void)state;
    begin2();
    tag(TAG_CMD, "log=debug", 10);
    tag(99, "what is this", 13); /* unknown tags are passed over */
    module_tag(0x200000, 0x234567, "/boot/vmlinuz x");
    module_tag(0x300000, 0x300001, "bulkhead.conf");
    map_tag(24, 2);
    tag(TAG_END, NULL, 0);
    tag(TAG_CMD, "behind the end", 15);
    assert_int_equal(parse2(), 0);
    assert_string_equal(host_log_text, "");
    assert_string_equal(info.protocol, "multiboot 2");
    assert_string_equal(info.cmdline, "log=debug");
    assert_int_equal(info.module_count, 2);
    expect_module(0, "vmlinuz", 0x200000, 0x34567);
    expect_module(1, "bulkhead.conf", 0x300000, 1);
    assert_int_equal(info.map.count, 2);
    expect_range(1, GIB, MIB, MEM_USABLE);
    assert_int_equal(info.rsdp_size, 0);
}

static void test_mb2_header(void **state)
{
    static const uint32_t sizes[] = {0, 7, IMAGE_SIZE - MB2_AT + 1, 0xffffffff};

    (void)state;
    begin2();
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        host_log_clear();
        put32(MB2_AT, sizes[i]);
        assert_int_equal(multiboot_parse(&info, MULTIBOOT2_MAGIC, MB2_AT, &view), -BH_EINVAL);
        expect_log("malformed multiboot2 information at 0x1008");
    }
    host_log_clear();
    assert_int_equal(multiboot_parse(&info, MULTIBOOT2_MAGIC, IMAGE_SIZE - 7, &view), -BH_EINVAL);
    assert_int_equal(multiboot_parse(&info, MULTIBOOT2_MAGIC, UINT64_MAX, &view), -BH_EINVAL);
    /* No tags at all, and no end tag: what was there has been read. */
    assert_int_equal(parse2(), 0);
    assert_int_equal(info.map.count, 0);
    tag(TAG_CMD, "x", 2);
    assert_int_equal(parse2(), 0);
    assert_string_equal(info.cmdline, "x");
}

static void test_mb2_bad_tags(void **state)
{
    static const uint32_t sizes[] = {0, 1, 7, 25, 0xfffffff9, 0xffffffff};

    (void)state;
    begin2();
    tag(TAG_CMD, "x", 2);
    uint64_t at = tag(99, NULL, 16);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        put32(at + 4, sizes[i]);
        bad2("malformed multiboot2 tag at offset 24");
    }
    put32(at + 4, 24);
    assert_int_equal(parse2(), 0);
    /* Less than a tag's head is left. */
    put32(at + 4, 20);
    mb2_end = at + 24 + 7;
    assert_int_equal(parse2(), 0);
}

static void test_mb2_bad_modules(void **state)
{
    (void)state;
    begin2();
    uint64_t at = tag(TAG_MOD, NULL, 7);
    bad2("malformed multiboot2 module tag");
    put32(at + 4, 8);
    bad2("malformed multiboot2 module tag");
    begin2();
    module_tag(0x2000, 0x1fff, "backwards");
    bad2("module \"backwards\" ends at 0x1fff, before its start 0x2000");
    /* Without a name; with one that fills the tag to its last byte and has no end. */
    begin2();
    tag(TAG_MOD, NULL, 8);
    at = module_tag(1, 2, "abcdefg");
    put32(at + 4, 16 + 5);
    assert_int_equal(parse2(), 0);
    expect_module(0, "", 0, 0);
    expect_module(1, "abcde", 1, 1);
    begin2();
    for (unsigned int i = 0; i < BOOT_MODULES_MAX + 2; i++) {
        module_tag(i, i + 1, "m");
    }
    assert_int_equal(parse2(), 0);
    assert_int_equal(info.module_count, BOOT_MODULES_MAX);
    assert_int_equal(info.modules_dropped, 2);
}

static void test_mb2_map(void **state)
{
    static const uint32_t wrong[] = {0, 1, 23};

    (void)state;
    begin2();
    map_tag(40, 3); /* longer entries than today's */
    assert_int_equal(parse2(), 0);
    assert_int_equal(info.map.count, 3);
    expect_range(2, 2 * GIB, MIB, MEM_USABLE);
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        begin2();
        put32(map_tag(24, 3) + 8, wrong[i]);
        bad2("malformed multiboot2 memory map tag");
    }
    begin2();
    tag(TAG_MMAP, NULL, 7);
    bad2("malformed multiboot2 memory map tag");
    /* Half an entry at the end does not count; neither does a step beyond everything. */
    begin2();
    uint64_t at = map_tag(24, 3);
    put32(at + 4, 16 + 2 * 24 + 23);
    assert_int_equal(parse2(), 0);
    assert_int_equal(info.map.count, 2);
    put32(at + 8, 0xffffffff);
    assert_int_equal(parse2(), 0);
    assert_int_equal(info.map.count, 1);
    begin2();
    map_tag(24, MEMORY_MAP_MAX + 1);
    assert_int_equal(parse2(), -BH_ENOMEM);
    expect_log("more than 256 ranges");
}

static void test_mb2_strings(void **state)
{
    char text[600];

    (void)state;
    memset(text, 'y', sizeof(text));
    begin2();
    tag(TAG_CMD, text, sizeof(text)); /* no end */
    assert_int_equal(parse2(), 0);
    assert_int_equal(strlen(info.cmdline), BOOT_CMDLINE_MAX - 1);
    begin2();
    tag(TAG_CMD, text, 3);
    assert_int_equal(parse2(), 0);
    assert_string_equal(info.cmdline, "yyy");
    begin2();
    tag(TAG_CMD, NULL, 0);
    assert_int_equal(parse2(), 0);
    assert_string_equal(info.cmdline, "");
}

static void test_mb2_rsdp(void **state)
{
    uint8_t v1[20], v2[36 + 4];

    (void)state;
    memset(v1, 0x11, sizeof(v1));
    memset(v2, 0x22, sizeof(v2));
    begin2();
    tag(TAG_RSD1, v1, sizeof(v1));
    assert_int_equal(parse2(), 0);
    assert_int_equal(info.rsdp_size, sizeof(v1));
    assert_memory_equal(info.rsdp, v1, sizeof(v1));
    tag(TAG_RSD2, v2, sizeof(v2)); /* longer than what is kept */
    assert_int_equal(parse2(), 0);
    assert_int_equal(info.rsdp_size, BOOT_RSDP_SIZE);
    assert_memory_equal(info.rsdp, v2, BOOT_RSDP_SIZE);
    begin2();
    tag(TAG_RSD2, v2, BOOT_RSDP_SIZE);
    tag(TAG_RSD1, v1, sizeof(v1));
    assert_int_equal(parse2(), 0);
    assert_int_equal(info.rsdp_size, BOOT_RSDP_SIZE);
    assert_memory_equal(info.rsdp, v2, BOOT_RSDP_SIZE);
    begin2();
    tag(TAG_RSD1, NULL, 0);
    assert_int_equal(parse2(), 0);
    assert_int_equal(info.rsdp_size, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_magic),
        TEST(test_mb1),
        TEST(test_mb1_flags),
        TEST(test_module_names),
        TEST(test_mb1_outside),
        TEST(test_mb1_bad_modules),
        TEST(test_too_many_modules),
        TEST(test_mb1_strings),
        TEST(test_mb1_bad_map),
        TEST(test_mb1_long_entries),
        TEST(test_too_many_ranges),
        TEST(test_too_many_empty_ranges),
        TEST(test_mb2),
        TEST(test_mb2_header),
        TEST(test_mb2_bad_tags),
        TEST(test_mb2_bad_modules),
        TEST(test_mb2_map),
        TEST(test_mb2_strings),
        TEST(test_mb2_rsdp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
