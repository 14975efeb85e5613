/* The machine's name in SMBIOS tables, sound and broken ones. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "boot/uefi/smbios.h"

/* The table is read from memory of exactly its size. */
static void expect_cut(const char *table, size_t size, const char *want, size_t room)
{
    uint8_t *exact = malloc(size > 0 ? size : 1);
    char *name = malloc(room);

    assert_non_null(exact);
    memcpy(exact, table, size);
    memset(name, 0xa5, room);
    smbios_machine_name(exact, size, name, room);
    assert_string_equal(name, want);
    free(name);
    free(exact);
}

#define expect(table, want) expect_cut(table, sizeof(table) - 1, want, 40)

#define BIOS   "\x00\x06\x01\x00\x01\x02Vendor\0Version\0\0"
#define NONE   "\x02\x05\x07\x00\x00\0\0" /* a structure without strings */
#define SYSTEM "\x01\x08\x02\x00\x01\x02\x03\x00"
#define END    "\x7f\x04\x09\x00\0\0"

static void test_name(void **state)
{
    (void)state;
    expect(BIOS NONE SYSTEM "ACME\0Box 3\0more\0\0" END, "ACME Box 3");
    expect(SYSTEM "ACME\0Box\0\0", "ACME Box");
    expect("\x01\x08\x02\x00\x02\x01\x00\x00"
           "Box\0ACME\0\0" END,
           "ACME Box");
    expect("\x01\x08\x02\x00\x00\x01\x00\x00"
           "Box\0\0" END,
           "Box");
    expect(SYSTEM "A\tB\0\x80z\0\0" END, "A?B ?z");
    expect_cut(SYSTEM "ACME\0Box\0\0", sizeof(SYSTEM "ACME\0Box\0\0") - 1, "ACME B", 7);
    expect_cut(SYSTEM "ACME\0Box\0\0", sizeof(SYSTEM "ACME\0Box\0\0") - 1, "", 1);
}

static void test_broken(void **state)
{
    (void)state;
    expect("", "");
    expect("\x01", "");
    expect(END SYSTEM "ACME\0Box\0\0", "");
    expect("\x01\x00\x02\x00\x01\x02", "");     /* a length that would not move on */
    expect("\x01\xff\x02\x00\x01\x02", "");     /* beyond the table */
    expect("\x01\x05\x02\x00\001ACME\0\0", ""); /* too short for a product */
    expect(SYSTEM, "");
    expect(SYSTEM "ACME", "ACME"); /* cut */
    expect(SYSTEM "\0\0" END, "");
    expect("\x01\x08\x02\x00\xff\xfe\x00\x00"
           "A\0\0" END,
           "");
    expect(BIOS "\x02\x08", "");
    for (size_t n = 0; n < sizeof(BIOS NONE SYSTEM "ACME\0Box\0\0" END); n++) {
        char name[8];
        uint8_t *exact = malloc(n > 0 ? n : 1);

        memcpy(exact, BIOS NONE SYSTEM "ACME\0Box\0\0" END, n);
        smbios_machine_name(exact, n, name, sizeof(name));
        free(exact);
    }
}

static void test_entry_points(void **state)
{
    uint8_t entry[SMBIOS_ENTRY_MAX] = "_SM_";
    uint64_t table;
    uint32_t size;

    (void)state;
    memcpy(entry + 0x16, "\x34\x12\x78\x56\x34\x12", 6);
    assert_true(smbios_find_table(entry, &table, &size));
    assert_int_equal(table, 0x12345678);
    assert_int_equal(size, 0x1234);
    memcpy(entry, "_SM3_", 5);
    memcpy(entry + 0x0c, "\xff\xff\xff\xff\0\0\0\x12\0\0\0\x01", 12);
    assert_true(smbios_find_table(entry, &table, &size));
    assert_int_equal(size, 1 * MIB); /* no larger one is read */
    memset(entry + 0x10, 0, 8);
    assert_false(smbios_find_table(entry, &table, &size));
    memcpy(entry, "_DMI_", 5);
    assert_false(smbios_find_table(entry, &table, &size));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_entry_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
