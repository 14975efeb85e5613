/* Reading a Linux kernel's header: what is taken from it, and each reason to refuse it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/loader_fake.h"

static struct fake_file file;
static struct bzimage image;
static char err[256];

static struct blob good(void)
{
    err[0] = '\0';
    return fake_kernel(&file);
}

static void assert_refused(const struct blob *kernel, const char *text)
{
    assert_int_equal(bzimage_parse(&image, kernel, err, sizeof(err)), -BH_EINVAL);
    if (!strstr(err, text) || !strstr(err, "\"vmlinuz\""))
        fail_msg("message \"%s\" lacks \"%s\" or the file's name", err, text);
}

static void test_good(void **state)
{
    struct blob kernel = good();

    (void)state;
    assert_int_equal(bzimage_parse(&image, &kernel, err, sizeof(err)), 0);
    assert_int_equal(image.protocol, 0x20f);
    assert_true(image.relocatable);
    assert_true(image.entry_64);
    assert_int_equal(image.image_offset, FAKE_IMAGE_START);
    assert_int_equal(image.image_size, FAKE_IMAGE_SIZE);
    assert_int_equal(image.init_size, FAKE_INIT_SIZE);
    assert_int_equal(image.pref_address, FAKE_PREF);
    assert_int_equal(image.alignment, 2 * MIB);
    assert_int_equal(image.initrd_addr_max, 0x7fffffff);
    assert_int_equal(image.cmdline_max, 2047);
    assert_string_equal(err, "");
}

static void test_not_a_kernel(void **state)
{
    struct blob kernel = good();

    (void)state;
    kernel.size = 0;
    assert_refused(&kernel, "0 bytes");
    kernel.size = BZIMAGE_HEADER_END - 1;
    assert_refused(&kernel, "655 bytes, expected at least 656");
    kernel = good();
    fake_put(&file, BP_BOOT_FLAG, 0x1234, 2);
    assert_refused(&kernel, "0x1234, expected 0xaa55");
    kernel = good();
    fake_put(&file, BP_HEADER_MAGIC, 0x464c457f, 4);
    assert_refused(&kernel, "0x464c457f");
    kernel = good();
    fake_put(&file, BP_VERSION, 0x205, 2);
    assert_refused(&kernel, "2.05, expected at least 2.06");
    kernel = good();
    fake_put(&file, BP_LOADFLAGS, 0x80, 1);
    assert_refused(&kernel, "zImage");
}

static void test_sizes(void **state)
{
    struct blob kernel = good();

    (void)state;
    fake_put(&file, BP_SYSSIZE, 0, 4);
    assert_refused(&kernel, "0 bytes");
    kernel = good();
    kernel.size -= 16;
    assert_refused(&kernel, "truncated: it has 2099184 bytes, its header says 2099200");
    fake_put(&file, BP_SYSSIZE, 0xffffffff, 4);
    assert_refused(&kernel, "truncated");

    /* syssize counts a last, incomplete paragraph. */
    kernel = good();
    kernel.size -= 15;
    assert_int_equal(bzimage_parse(&image, &kernel, err, sizeof(err)), 0);
    assert_int_equal(image.image_size, FAKE_IMAGE_SIZE - 15);

    /* A signature behind the kernel is not part of it. */
    kernel = good();
    kernel.size += 4096;
    assert_int_equal(bzimage_parse(&image, &kernel, err, sizeof(err)), 0);
    assert_int_equal(image.image_size, FAKE_IMAGE_SIZE);

    /* 0 sectors means 4. */
    kernel = good();
    fake_put(&file, BP_SETUP_SECTS, 0, 1);
    kernel.size += 512;
    assert_int_equal(bzimage_parse(&image, &kernel, err, sizeof(err)), 0);
    assert_int_equal(image.image_offset, 5 * 512);

    /* Too small to have a 64-bit entry. */
    kernel = good();
    fake_put(&file, BP_SYSSIZE, 0x20, 4);
    assert_refused(&kernel, "64-bit entry");

    /* init_size can lie; the file itself needs room in any case. */
    kernel = good();
    fake_put(&file, BP_INIT_SIZE, 1, 4);
    assert_int_equal(bzimage_parse(&image, &kernel, err, sizeof(err)), 0);
    assert_int_equal(image.init_size, FAKE_IMAGE_SIZE);
}

static void test_placement(void **state)
{
    static const uint32_t bad[] = {0, 3 * MIB, 0x80000000, 0xffffffff, 0x1fffff};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct blob kernel = good();

        fake_put(&file, BP_KERNEL_ALIGNMENT, bad[i], 4);
        assert_refused(&kernel, "power of two");
    }

    /* A kernel that stands where it must has no use for an alignment. */
    struct blob kernel = good();
    fake_put(&file, BP_RELOCATABLE, 0, 1);
    fake_put(&file, BP_KERNEL_ALIGNMENT, 0, 4);
    assert_int_equal(bzimage_parse(&image, &kernel, err, sizeof(err)), 0);
    assert_false(image.relocatable);
    fake_put(&file, BP_PREF_ADDRESS, 0x1000001, 8);
    assert_refused(&kernel, "0x1000001");
}

static void test_old_protocols(void **state)
{
    struct blob kernel = good();

    (void)state;
    /* 2.11 has no xloadflags, whatever stands there. */
    fake_put(&file, BP_VERSION, 0x20b, 2);
    assert_int_equal(bzimage_parse(&image, &kernel, err, sizeof(err)), 0);
    assert_false(image.entry_64);
    assert_int_equal(image.init_size, FAKE_INIT_SIZE);

    /* 2.06 says neither where to load it nor what it needs. */
    fake_put(&file, BP_VERSION, 0x206, 2);
    assert_int_equal(bzimage_parse(&image, &kernel, err, sizeof(err)), 0);
    assert_int_equal(image.pref_address, MIB);
    assert_true(image.init_size >= 5 * FAKE_IMAGE_SIZE);
}

/* Bytes behind the header's end are code. */
static void test_header_end(void **state)
{
    struct blob kernel = good();

    (void)state;
    fake_put(&file, 0x270, 0x99999999, 4);
    assert_int_equal(bzimage_parse(&image, &kernel, err, sizeof(err)), 0);
    assert_int_equal(image.header[0x270 - BZIMAGE_HEADER_START], 0);

    /* A header that claims to end before init_size has none. */
    kernel = good();
    fake_put(&file, BP_JUMP + 1, BP_INIT_SIZE - BP_HEADER_MAGIC, 1);
    assert_int_equal(bzimage_parse(&image, &kernel, err, sizeof(err)), 0);
    assert_int_equal(image.init_size, FAKE_IMAGE_SIZE);

    /* One that claims to reach into the E820 table is cut. */
    fake_put(&file, BP_JUMP + 1, 0xff, 1);
    assert_int_equal(bzimage_parse(&image, &kernel, err, sizeof(err)), 0);
}

static void test_unreadable(void **state)
{
    static const uint64_t at[] = {BP_HEADER_MAGIC, BP_INIT_SIZE};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
        struct blob kernel = good();

        file.fail_at = at[i];
        assert_int_equal(bzimage_parse(&image, &kernel, err, sizeof(err)), -BH_EIO);
        assert_non_null(strstr(err, "cannot be read"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),          cmocka_unit_test(test_not_a_kernel),
        cmocka_unit_test(test_sizes),         cmocka_unit_test(test_placement),
        cmocka_unit_test(test_old_protocols), cmocka_unit_test(test_header_end),
        cmocka_unit_test(test_unreadable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
