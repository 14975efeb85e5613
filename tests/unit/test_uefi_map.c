/* Firmware's memory map as UEFI gives it, on its way to the allocator of guests' memory: what may
 * become a VM's, and what never. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "boot/boot_info.h"
#include "boot/uefi/efi_map.h"
#include "lib/error.h"
#include "tests/unit/host_log.h"
#include "tests/unit/memory_usable.h"

/* UEFI 2.10, table 7.6, and 7.2.3's attributes. */
enum {
    RESERVED,
    LOADER_CODE,
    LOADER_DATA,
    BS_CODE,
    BS_DATA,
    RT_CODE,
    RT_DATA,
    CONVENTIONAL,
    UNUSABLE,
    ACPI_RECLAIM,
    ACPI_NVS,
    MMIO,
    MMIO_PORT,
    PAL_CODE,
    PERSISTENT,
    UNACCEPTED,
    TYPES,
};
#define WB            BIT64(3)
#define ALL_CACHES    0xfull /* UC, WC, WT, WB */
#define NV            BIT64(15)
#define MORE_RELIABLE BIT64(16)
#define SPECIAL       BIT64(18)
#define RUNTIME       BIT64(63)

#define STRIDES_MAX 256u
#define DESCRIPTORS 3000u

static uint8_t bytes[DESCRIPTORS * STRIDES_MAX];
static uint64_t stride, used;
static struct memory_map map;

static int setup(void **state)
{
    (void)state;
    memset(bytes, 0xa5, sizeof(bytes)); /* what later versions add to a descriptor */
    memset(&map, 0xa5, sizeof(map));
    stride = sizeof(struct efi_descriptor) + 8; /* as EDK2 has it */
    used = 0;
    host_log_clear();
    return 0;
}

static void say(uint32_t type, uint64_t start, uint64_t pages, uint64_t attribute)
{
    struct efi_descriptor d = {type, 0, start, 0, pages, attribute};

    assert_true(used + stride <= sizeof(bytes));
    memcpy(bytes + used, &d, sizeof(d));
    used += stride;
}

/* From memory of exactly that size, then as the core takes it over. */
static void convert(void)
{
    static struct boot_info info, from;
    uint8_t *exact = malloc(used);

    assert_non_null(exact);
    memcpy(exact, bytes, used);
    assert_int_equal(efi_map_convert(exact, used, stride, &map), 0);
    free(exact);
    memset(&from, 0, sizeof(from));
    from.map = map;
    assert_int_equal(boot_info_take(&info, &from), 0);
    map = info.map;
    assert_int_equal(memory_map_normalise(&map), 0);
}

/* Every type, alone between usable memory, with every attribute that may matter. */
static void test_types(void **state)
{
    static const uint64_t attributes[] = {0,
                                          0x7,
                                          WB,
                                          ALL_CACHES,
                                          ALL_CACHES | MORE_RELIABLE,
                                          ALL_CACHES | SPECIAL,
                                          ALL_CACHES | NV,
                                          ALL_CACHES | RUNTIME,
                                          ALL_CACHES | NV | SPECIAL | RUNTIME};
    const uint64_t never = NV | SPECIAL | RUNTIME;

    (void)state;
    for (uint32_t type = 0; type < TYPES + 3; type++) {
        for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
            /* Beyond those of the specification: of an OEM, of a loader. */
            uint32_t t =
                type < TYPES ? type : (uint32_t[]){0x70000001, 0x80000001, ~0u}[type - TYPES];
            bool is_free = t == LOADER_CODE || t == LOADER_DATA || t == BS_CODE || t == BS_DATA ||
                           t == CONVENTIONAL;
            bool usable = is_free && (attributes[i] & WB) && !(attributes[i] & never);

            setup(NULL);
            say(CONVENTIONAL, MIB, 256, ALL_CACHES);
            say(t, 2 * MIB, 512, attributes[i]);
            say(CONVENTIONAL, 4 * MIB, 256, ALL_CACHES);
            convert();
            assert_int_equal(memory_map_is_usable(&map, 2 * MIB, 1), usable);
            assert_int_equal(memory_map_is_usable(&map, 4 * MIB - 1, 1), usable);
            assert_true(memory_map_is_usable(&map, 2 * MIB - 1, 1));
            assert_true(memory_map_is_usable(&map, 4 * MIB, MIB));
            assert_int_equal(memory_map_usable(&map), usable ? 4 * MIB : 2 * MIB);
        }
    }
}

/* What the kinds that the core tells apart are called there. */
static void test_kinds(void **state)
{
    static const struct {
        uint32_t efi, type;
    } kinds[] = {{ACPI_RECLAIM, MEM_ACPI}, {ACPI_NVS, MEM_NVS},        {UNUSABLE, MEM_BAD},
                 {RT_DATA, MEM_RESERVED},  {PERSISTENT, MEM_RESERVED}, {UNACCEPTED, MEM_RESERVED}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        say(kinds[i].efi, i * 2 * MIB, 1, ALL_CACHES);
    convert();
    assert_int_equal(map.count, ARRAY_SIZE(kinds));
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        assert_int_equal(map.r[i].type, kinds[i].type);
}

/* Descriptors as long as they are today, longer ones, and none. */
static void test_strides(void **state)
{
    (void)state;
    for (uint64_t s = sizeof(struct efi_descriptor); s <= STRIDES_MAX; s += 8) {
        setup(NULL);
        stride = s;
        say(CONVENTIONAL, 0, 160, ALL_CACHES);
        say(RT_CODE, 4 * GIB, 16, ALL_CACHES | RUNTIME);
        say(CONVENTIONAL, 5 * GIB, 3, ALL_CACHES);
        used -= s - sizeof(struct efi_descriptor); /* the last one need not be filled up */
        convert();
        assert_int_equal(map.count, 3);
        assert_int_equal(memory_map_usable(&map), 163 * PAGE_SIZE_4K);
    }
    used = 100;
    for (stride = 0; stride < sizeof(struct efi_descriptor); stride++)
        assert_int_equal(efi_map_convert(bytes, used, stride, &map), -BH_EINVAL);
    for (used = 0; used < sizeof(struct efi_descriptor); used++) {
        assert_int_equal(efi_map_convert(bytes, used, 48, &map), 0);
        assert_int_equal(map.count, 0);
    }
}

/* Sizes that do not fit 64 bits must not come round to memory that is somebody's. */
static void test_too_long(void **state)
{
    static const uint64_t pages[] = {BIT64(52),  BIT64(52) + 1, BIT64(52) + 512,
                                     UINT64_MAX, BIT64(52) - 1, BIT64(40)};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
        setup(NULL);
        say(CONVENTIONAL, 0, 160, ALL_CACHES);
        say(CONVENTIONAL, 2 * MIB, pages[i], ALL_CACHES);
        say(MMIO, 4 * GIB, pages[i], RUNTIME);
        convert();
        assert_int_equal(memory_map_usable(&map), 160 * PAGE_SIZE_4K);
        assert_int_equal(map.cut, 2);
        assert_int_equal(map.r[map.count - 1].base + map.r[map.count - 1].size, BIT64(52));
    }
}

/* As many as there is room for, and one more; any number of pieces of one range. */
static void test_many(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < MEMORY_MAP_MAX; i++)
        say(i % 2 ? RT_DATA : BS_DATA, i * 2 * MIB, 512, ALL_CACHES);
    assert_int_equal(efi_map_convert(bytes, used, stride, &map), 0);
    assert_int_equal(map.count, MEMORY_MAP_MAX);
    say(BS_DATA, MEMORY_MAP_MAX * 2 * MIB, 1, ALL_CACHES);
    assert_int_equal(efi_map_convert(bytes, used, stride, &map), -BH_ENOMEM);

    setup(NULL);
    for (unsigned int i = 0; i < DESCRIPTORS; i++)
        say((uint32_t[]){BS_DATA, LOADER_CODE, CONVENTIONAL, BS_CODE}[i % 4], i * 2 * MIB, 512,
            ALL_CACHES);
    convert();
    assert_int_equal(map.count, 1);
    assert_int_equal(memory_map_usable(&map), DESCRIPTORS * 2 * MIB);
}

/* A server: 6 TiB on eight nodes far apart, the last ones near the end of 46 bits, with memory that
 * keeps its contents and memory of a CXL device, and firmware's own in the middle. */
static void test_server(void **state)
{
    uint64_t usable = 0;

    (void)state;
    say(BS_CODE, 0, 160, ALL_CACHES);
    say(RESERVED, 0xa0000, 96, 0);
    say(CONVENTIONAL, MIB, 0x60000, ALL_CACHES);
    usable += 160 * PAGE_SIZE_4K + 0x60000 * PAGE_SIZE_4K;
    say(RT_CODE, 0x70000000, 0x400, ALL_CACHES | RUNTIME);
    say(RT_DATA, 0x70400000, 0x400, ALL_CACHES | RUNTIME);
    say(MMIO, 0x80000000, 0x10000, 0x1 | RUNTIME);
    for (uint64_t node = 0; node < 8; node++) {
        uint64_t base = node == 0 ? 4 * GIB : node * BIT64(43);

        say(CONVENTIONAL, base, 768 * GIB / PAGE_SIZE_4K, ALL_CACHES);
        say(PERSISTENT, base + 768 * GIB, 1024 * GIB / PAGE_SIZE_4K, ALL_CACHES | NV);
        say(CONVENTIONAL, base + 2048 * GIB, 256 * GIB / PAGE_SIZE_4K, ALL_CACHES | SPECIAL);
        usable += 768 * GIB;
    }
    convert();
    assert_int_equal(memory_map_usable(&map), usable);
    assert_int_equal(map.cut, 0);
    assert_string_equal(host_log_text, "");
    for (uint64_t node = 1; node < 8; node++) {
        assert_true(memory_map_is_usable(&map, node * BIT64(43) + 768 * GIB - 1, 1));
        assert_false(memory_map_is_usable(&map, node * BIT64(43) + 768 * GIB, 1));
        assert_false(memory_map_is_usable(&map, node * BIT64(43) + 2048 * GIB, 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_types, setup),   cmocka_unit_test_setup(test_kinds, setup),
        cmocka_unit_test_setup(test_strides, setup), cmocka_unit_test_setup(test_too_long, setup),
        cmocka_unit_test_setup(test_many, setup),    cmocka_unit_test_setup(test_server, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
