/* PVH start information, and bundles of modules. */

#include "tests/unit/multiboot_image.h"

#include "boot/bundle.h"
#include "boot/pvh.h"

#define START_AT   0x100u
#define MEMORY_AT  0x200u
#define MODULES_AT 0x300u
#define CMDLINE_AT 0x400u
#define RSDP_AT    0x500u
#define BUNDLE_AT  0x1000u

static void put_start(uint32_t version, uint32_t modules, uint32_t ranges)
{
    put32(START_AT, PVH_MAGIC);
    put32(START_AT + 4, version);
    put32(START_AT + 12, modules);
    put64(START_AT + 16, MODULES_AT);
    put64(START_AT + 24, CMDLINE_AT);
    put64(START_AT + 32, RSDP_AT);
    put64(START_AT + 40, MEMORY_AT);
    put32(START_AT + 48, ranges);
    put_text(CMDLINE_AT, "log=debug");
    put_text(RSDP_AT, "RSD PTR ");
}

static void put_range(unsigned int i, uint64_t base, uint64_t size, uint32_t type)
{
    put64(MEMORY_AT + i * 24, base);
    put64(MEMORY_AT + i * 24 + 8, size);
    put32(MEMORY_AT + i * 24 + 16, type);
}

static void put_module(unsigned int i, uint64_t base, uint64_t size, uint64_t cmdline)
{
    put64(MODULES_AT + i * 32, base);
    put64(MODULES_AT + i * 32 + 8, size);
    put64(MODULES_AT + i * 32 + 16, cmdline);
}

/* One member at `at`; returns where the next one goes. */
static uint64_t put_member(uint64_t at, const char *name, uint32_t mode, uint32_t size)
{
    char header[111];
    size_t len = strlen(name) + 1;

    snprintf(header, sizeof(header), "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
             1u, mode, 0u, 0u, 1u, 0u, size, 0u, 0u, 0u, 0u, (unsigned int)len, 0u);
    put_text(at, header);
    put_text(at + 110, name);
    at = (at + 110 + len + 3) & ~3ull;
    return (at + size + 3) & ~3ull;
}

static void test_all_of_it(void **state)
{
    put_start(1, 2, 2);
    put_range(0, 0x100000, 0x700000, MEM_USABLE);
    put_range(1, 0xf0000, 0x10000, 7); /* persistent memory: whatever is not known is reserved */
    put_text(0x600, "/boot/bulkhead.conf x");
    put_module(0, 0x2000, 0x10, 0x600);
    put_module(1, 0x3000, 0x20, 0);
    assert_int_equal(pvh_parse(&info, START_AT, &view), 0);
    assert_string_equal(info.protocol, "PVH");
    assert_string_equal(info.cmdline, "log=debug");
    assert_int_equal(info.map.count, 2);
    assert_int_equal(info.module_count, 2);
    assert_string_equal(info.modules[0].name, "bulkhead.conf");
    assert_int_equal(info.modules[1].base, 0x3000);
    assert_int_equal(info.modules[1].size, 0x20);
    assert_string_equal(info.modules[1].name, "");
    assert_int_equal(info.rsdp_size, BOOT_RSDP_SIZE);
    assert_memory_equal(info.rsdp, "RSD PTR ", 8);
}

static void test_refused(void **state)
{
    put_start(1, 0, 1);
    put_range(0, 0, 0x1000, MEM_USABLE);
    assert_int_equal(pvh_parse(&info, IMAGE_SIZE - 8, &view), -BH_EINVAL);
    assert_non_null(strstr(host_log_text, "no PVH start information"));
    assert_int_equal(pvh_parse(&info, START_AT + 4, &view), -BH_EINVAL);
    put_start(0, 0, 1);
    assert_int_equal(pvh_parse(&info, START_AT, &view), -BH_EINVAL);
    assert_non_null(strstr(host_log_text, "no memory map"));
    put_start(1, 0, 2);
    put64(START_AT + 40, IMAGE_SIZE - 24);
    assert_int_equal(pvh_parse(&info, START_AT, &view), -BH_EINVAL);
    assert_non_null(strstr(host_log_text, "leaves memory at entry"));
    put_start(1, 1, 1);
    put64(START_AT + 16, UINT64_MAX - 4);
    assert_int_equal(pvh_parse(&info, START_AT, &view), -BH_EINVAL);
    assert_non_null(strstr(host_log_text, "module 0 of 1"));
}

static uint64_t put_bundle(void)
{
    uint64_t at = put_member(BUNDLE_AT, "bulkhead.conf", 0100644, 5);

    at = put_member(at, "images", 0040755, 0);
    at = put_member(at, "images/vmlinuz", 0100644, 6);
    return put_member(at, "TRAILER!!!", 0, 0) - BUNDLE_AT;
}

static void test_bundle(void **state)
{
    uint64_t size = put_bundle();

    put_start(1, 1, 1);
    put_range(0, 0, 0x1000, MEM_USABLE);
    put_module(0, BUNDLE_AT, size, 0);
    assert_int_equal(pvh_parse(&info, START_AT, &view), 0);
    assert_int_equal(info.module_count, 2);
    assert_string_equal(info.modules[0].name, "bulkhead.conf");
    assert_int_equal(info.modules[0].size, 5);
    assert_int_equal(info.modules[0].base, BUNDLE_AT + 124);
    assert_string_equal(info.modules[1].name, "vmlinuz");
    assert_int_equal(info.modules[1].size, 6);
}

/* Cut anywhere it is refused, or not a bundle at all. */
static void test_damaged_bundle(void **state)
{
    uint64_t size = put_bundle();

    for (uint64_t cut = 1; cut < size - 124; cut++) {
        memset(&info, 0, sizeof(info));
        assert_int_equal(bundle_add(&info, BUNDLE_AT, cut, &view), -BH_EINVAL);
    }
    assert_false(bundle_is_one(BUNDLE_AT, 109, &view));
    assert_false(bundle_is_one(BUNDLE_AT + 1, size, &view));
    image[BUNDLE_AT + 54] = 'x'; /* in the size of the first file */
    assert_int_equal(bundle_add(&info, BUNDLE_AT, size, &view), -BH_EINVAL);
    assert_non_null(strstr(host_log_text, "damaged at byte 0 of"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_of_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bundle, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_bundle, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
