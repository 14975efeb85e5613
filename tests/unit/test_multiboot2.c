/* What a multiboot 2 loader hands over: every tag that the core knows, and every way in which one
 * can be malformed. */
#include "tests/unit/multiboot_image.h"

/* Multiboot2 2.0, 3.6. */
#define MB2_AT   0x1008u
#define TAG_END  0u
#define TAG_CMD  1u
#define TAG_MOD  3u
#define TAG_MMAP 6u
#define TAG_FB   8u
#define TAG_RSD1 14u
#define TAG_RSD2 15u

static uint64_t mb2_end; /* where the next tag goes */

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
    if (body)
        memcpy(image + at + 8, body, size);
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

/* 1024 x 768 x 32 at 4 GiB; type 1 (RGB), two reserved bytes, and the masks. */
static uint64_t screen_tag(uint32_t size)
{
    static const uint8_t body[30] = {0, 0, 0, 0, 1, 0,  0, 0, 0, 0x10, 0, 0, 0, 4, 0,
                                     0, 0, 3, 0, 0, 32, 1, 0, 0, 16,   8, 8, 7, 0, 6};

    return tag(TAG_FB, body, size);
}

static void test_mb2_screen(void **state)
{
    (void)state;
    begin2();
    uint64_t at = screen_tag(30);
    assert_int_equal(parse2(), 0);
    const struct boot_framebuffer expected = {4 * GIB, 4096, 1024, 768, BOOT_FB_LINEAR, 32, 16, 8,
                                              8,       7,    0,    6};
    assert_memory_equal(&info.framebuffer, &expected,
                        offsetof(struct boot_framebuffer, blue_bits) + 1);
    image[at + 8 + 21] = 2; /* EGA text */
    assert_int_equal(parse2(), 0);
    assert_int_equal(info.framebuffer.kind, BOOT_FB_TEXT);
    assert_int_equal(info.framebuffer.width, 1024);
    /* What cannot be used, indexed colours among it, is no mistake. */
    for (unsigned int type = 0; type < 256; type += type == 0 ? 3 : 1) {
        image[at + 8 + 21] = (uint8_t)type;
        assert_int_equal(parse2(), 0);
        assert_int_equal(info.framebuffer.kind, BOOT_FB_NONE);
    }
    for (uint32_t size = 0; size < 30; size++) {
        begin2();
        screen_tag(size);
        assert_int_equal(parse2(), 0);
        assert_int_equal(info.framebuffer.kind, BOOT_FB_NONE);
    }
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
    for (unsigned int i = 0; i < BOOT_MODULES_MAX + 2; i++)
        module_tag(i, i + 1, "m");
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
    expect_log("more than 1280 ranges");
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
    const struct CMUnitTest tests[] = {
        TEST(test_mb2),          TEST(test_mb2_header),
        TEST(test_mb2_bad_tags), TEST(test_mb2_bad_modules),
        TEST(test_mb2_map),      TEST(test_mb2_strings),
        TEST(test_mb2_rsdp),     TEST(test_mb2_screen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
