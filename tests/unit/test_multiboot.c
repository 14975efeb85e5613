/* What a multiboot 1 loader hands over: everything that the core takes from it, and every way in
 * which it can be malformed. */
#include "tests/unit/multiboot_image.h"

/* Multiboot 0.6.96, 3.3: fields of the information structure. */
#define MB1_AT        0x1000u
#define MB1_CMDLINE   16
#define MB1_MODS      20 /* count, address */
#define MB1_MMAP      44 /* length, address */
#define MB1_INFO_SIZE 52
#define MB1_SCREEN    88 /* address, pitch, width, height, depth, type, masks */
#define MB1_HAS_CMD   BIT(2)
#define MB1_HAS_MODS  BIT(3)
#define MB1_HAS_MMAP  BIT(6)
#define MB1_RANGE     24u

#define CMD_AT  0x2000u
#define MODS_AT 0x2100u
#define NAME_AT 0x3000u
#define MMAP_AT 0x4000u

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
    for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++)
        mb1_module(i, 0x1000, 0x2000, cases[i][0]);
    assert_int_equal(parse1(), 0);
    for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++)
        expect_module(i, cases[i][1], 0x1000, 0x1000);
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
    for (unsigned int i = 0; i < BOOT_MODULES_MAX; i++)
        mb1_module(i, i * 0x1000, i * 0x1000 + 1, "m");
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
    bad1("malformed memory map entry at 0xffe9");
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
    for (unsigned int i = 0; i < MEMORY_MAP_MAX; i++)
        mb1_range(i, i * MIB, 0x1000, MEM_USABLE);
    assert_int_equal(parse1(), 0);
    assert_int_equal(info.map.count, MEMORY_MAP_MAX);
    mb1_range(MEMORY_MAP_MAX, MEMORY_MAP_MAX * MIB, 0x1000, MEM_USABLE);
    assert_int_equal(parse1(), -BH_ENOMEM);
    expect_log("more than 1280 ranges");
}

/* Empty ranges take no place in the map, but there is an end to them, too. */
static void test_too_many_empty_ranges(void **state)
{
    const uint32_t at = 0x10000;

    (void)state;
    good1();
    image = realloc(image, 0x30000);
    view = (struct phys_view){image, 0x30000};
    memset(image + at, 0, 0x30000 - at);
    for (unsigned int i = 0; i < 4097; i++)
        image[at + i * MB1_RANGE] = MB1_RANGE - 4;
    put32(MB1_AT + MB1_MMAP + 4, at);
    put32(MB1_AT + MB1_MMAP, 4096 * MB1_RANGE);
    assert_int_equal(parse1(), 0);
    assert_int_equal(info.map.empty, 4096);
    put32(MB1_AT + MB1_MMAP, 4097 * MB1_RANGE);
    bad1("more than 4096 ranges");
}

static void test_mb1_screen(void **state)
{
    (void)state;
    good1();
    put64(MB1_AT + MB1_SCREEN, 0xfd000000);
    put32(MB1_AT + MB1_SCREEN + 8, 1928);
    put32(MB1_AT + MB1_SCREEN + 12, 640);
    put32(MB1_AT + MB1_SCREEN + 16, 480);
    put32(MB1_AT + MB1_SCREEN + 20, 24 | 1 << 8 | 16 << 16 | 8u << 24);
    put32(MB1_AT + MB1_SCREEN + 24, 8 | 7 << 8 | 0 << 16 | 6u << 24);
    assert_int_equal(parse1(), 0); /* the flag says that nothing is there */
    assert_int_equal(info.framebuffer.kind, BOOT_FB_NONE);
    put32(MB1_AT, MB1_HAS_MMAP | BIT(12));
    assert_int_equal(parse1(), 0);
    const struct boot_framebuffer expected = {0xfd000000, 1928, 640, 480, BOOT_FB_LINEAR, 24, 16, 8,
                                              8,          7,    0,   6};
    assert_memory_equal(&info.framebuffer, &expected,
                        offsetof(struct boot_framebuffer, blue_bits) + 1);
    /* It ends where memory does: no screen, and no mistake. */
    view.limit = MB1_AT + MB1_SCREEN + 27;
    put32(MB1_AT + MB1_MMAP, 0);
    assert_int_equal(parse1(), 0);
    assert_int_equal(info.framebuffer.kind, BOOT_FB_NONE);
}

int main(void)
{
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
        TEST(test_mb1_screen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
