/* The serial ports in SPCR and DBG2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/acpi/spcr.h"
#include "tests/unit/acpi_machine.h"

enum { SPCR = EXTRA, DBG2 = EXTRA + 0x1000 };

static struct acpi_serial ports[4];

static unsigned int find(void)
{
    assert_int_equal(parse(), 0);
    memset(ports, 0xa5, sizeof(ports));
    return acpi_find_serial(&info, &memory, ports, ARRAY_SIZE(ports));
}

/* An SPCR as a PC has it: COM1, interrupt 4, 115200 baud. */
static int setup(void **state)
{
    machine(state);
    gas(SPCR + 40, ACPI_SPACE_IO, 8, 0x3f8);
    ram[SPCR + 52] = 3;
    ram[SPCR + 53] = 4;
    put(SPCR + 54, 4, 4);
    ram[SPCR + 58] = 7;
    put(SPCR + 64, 0xffffffff, 4);
    table(SPCR, "SPCR", 80, 2);
    put(XSDT + 68, SPCR, 8);
    put(XSDT + 76, DBG2, 8); /* nothing there yet */
    table(XSDT, "XSDT", 84, 1);
    return 0;
}

static void test_com1(void **state)
{
    (void)state;
    assert_int_equal(find(), 1);
    assert_true(ports[0].is_console);
    assert_int_equal(ports[0].space, ACPI_SPACE_IO);
    assert_int_equal(ports[0].address, 0x3f8);
    assert_int_equal(ports[0].stride, 1);
    assert_int_equal(ports[0].baud, 115200);
    assert_int_equal(ports[0].clock, 0);
    assert_true(ports[0].has_irq && ports[0].has_gsi);
    assert_int_equal(ports[0].irq, 4);
    assert_int_equal(ports[0].gsi, 4);
    assert_false(ports[0].is_pci);
    assert_int_equal(acpi_find_serial(&info, &memory, ports, 0), 0);
}

static void test_baud(void **state)
{
    static const uint32_t rates[] = {0, 0, 0, 9600, 19200, 0, 57600, 115200, 0};

    (void)state;
    for (unsigned int i = 0; i < ARRAY_SIZE(rates); i++) {
        ram[SPCR + 58] = (uint8_t)i;
        table(SPCR, "SPCR", 80, 2);
        assert_int_equal(find(), 1);
        assert_int_equal(ports[0].baud, rates[i]);
    }
    ram[SPCR + 58] = 255;
    put(SPCR + 76, 48000000, 4);
    put(SPCR + 80, 1500000, 4);
    table(SPCR, "SPCR", 90, 4);
    assert_int_equal(find(), 1);
    assert_int_equal(ports[0].clock, 48000000);
    assert_int_equal(ports[0].baud, 1500000);
    table(SPCR, "SPCR", 90, 3); /* no exact rate before revision 4 */
    assert_int_equal(find(), 1);
    assert_int_equal(ports[0].baud, 0);
    assert_int_equal(ports[0].clock, 48000000);
    table(SPCR, "SPCR", 83, 4); /* cut in the middle of it */
    assert_int_equal(find(), 1);
    assert_int_equal(ports[0].baud, 0);
    table(SPCR, "SPCR", 80, 2); /* no clock before revision 3 */
    assert_int_equal(find(), 1);
    assert_int_equal(ports[0].clock, 0);
}

static void expect_stride(uint8_t width, uint8_t access, uint8_t stride)
{
    gas(SPCR + 40, ACPI_SPACE_MEMORY, width, 0xfe030000);
    ram[SPCR + 43] = access;
    table(SPCR, "SPCR", 80, 2);
    assert_int_equal(find(), 1);
    assert_int_equal(ports[0].space, ACPI_SPACE_MEMORY);
    assert_int_equal(ports[0].address, 0xfe030000);
    assert_int_equal(ports[0].stride, stride);
}

static void test_stride(void **state)
{
    (void)state;
    expect_stride(8, 0, 1);
    expect_stride(8, 1, 1);
    expect_stride(16, 0, 2);
    expect_stride(32, 0, 4);
    expect_stride(32, 3, 4);
    expect_stride(8, 3, 4);
    expect_stride(32, 1, 1);
    expect_stride(8, 2, 2);
    expect_stride(8, 99, 1);
    /* Ports always stand beside each other. */
    gas(SPCR + 40, ACPI_SPACE_IO, 32, 0x2f8);
    ram[SPCR + 43] = 3;
    table(SPCR, "SPCR", 80, 2);
    assert_int_equal(find(), 1);
    assert_int_equal(ports[0].stride, 1);
}

static void test_pci(void **state)
{
    (void)state;
    gas(SPCR + 40, ACPI_SPACE_MEMORY, 32, 0x380012345000);
    put(SPCR + 64, 0x9d27, 2);
    put(SPCR + 66, 0x8086, 2);
    ram[SPCR + 68] = 0x40;
    ram[SPCR + 69] = 0x1e;
    ram[SPCR + 70] = 3;
    ram[SPCR + 75] = 1;
    table(SPCR, "SPCR", 80, 2);
    assert_int_equal(find(), 1);
    assert_true(ports[0].is_pci);
    assert_int_equal(ports[0].pci_vendor, 0x8086);
    assert_int_equal(ports[0].pci_device, 0x9d27);
    assert_int_equal(ports[0].pci_segment, 1);
    assert_int_equal(ports[0].pci_bus, 0x40);
    assert_int_equal(ports[0].pci_slot, 0x1e);
    assert_int_equal(ports[0].pci_function, 3);
    assert_int_equal(ports[0].address, 0x380012345000);
    put(SPCR + 64, 0, 4); /* all of it empty */
    table(SPCR, "SPCR", 80, 2);
    assert_int_equal(find(), 1);
    assert_false(ports[0].is_pci);
}

static void expect_unusable(uint8_t interface, uint8_t space, uint64_t address)
{
    ram[SPCR + 36] = interface;
    gas(SPCR + 40, space, 8, address);
    table(SPCR, "SPCR", 80, 2);
    assert_int_equal(find(), 0);
    if (address != 0)
        assert_logged("cannot be used");
}

static void test_unusable(void **state)
{
    (void)state;
    expect_unusable(0, ACPI_SPACE_IO, 0); /* redirection is off */
    expect_unusable(3, ACPI_SPACE_MEMORY, 0x9000000);
    expect_unusable(0, ACPI_SPACE_PCI, 0x3f8);
    expect_unusable(0, 127, 0x3f8);
    expect_unusable(0, ACPI_SPACE_IO, 0xfff9);
    expect_unusable(0, ACPI_SPACE_IO, 0x1000003f8);
    expect_unusable(0, ACPI_SPACE_MEMORY, UINT64_MAX);
    expect_unusable(0, ACPI_SPACE_MEMORY, BIT64(52) - 7);
    gas(SPCR + 40, ACPI_SPACE_IO, 8, 0xfff8);
    table(SPCR, "SPCR", 80, 2);
    assert_int_equal(find(), 1);
    table(SPCR, "SPCR", 79, 2);
    assert_int_equal(find(), 0);
    assert_logged("SPCR has length 79");
    table(SPCR, "SPCR", 80, 2);
    ram[SPCR + 60] ^= 1; /* bad checksum: the table is not there */
    assert_int_equal(find(), 0);
}

static uint32_t dbg2_end;

static void dbg2_add(uint16_t type, uint16_t subtype, uint8_t space, uint64_t address)
{
    uint64_t at = DBG2 + dbg2_end;

    memset(ram + at, 0, 0x40);
    put(at + 1, 22 + 12 + 4 + 5, 2);
    ram[at + 3] = 1;
    put(at + 4, 5, 2);
    put(at + 6, 38, 2);
    put(at + 12, type, 2);
    put(at + 14, subtype, 2);
    put(at + 18, 22, 2);
    put(at + 20, 34, 2);
    gas(at + 22, space, 32, address);
    put(at + 34, 0x1000, 4);
    memcpy(ram + at + 38, "COM0", 5);
    dbg2_end += 43;
}

static void dbg2_seal(uint32_t count)
{
    put(DBG2 + 36, 44, 4);
    put(DBG2 + 40, count, 4);
    table(DBG2, "DBG2", dbg2_end, 0);
}

static void test_dbg2(void **state)
{
    (void)state;
    dbg2_end = 44;
    dbg2_add(0x8002, 0, ACPI_SPACE_MEMORY, 0xfed00000); /* USB */
    dbg2_add(0x8000, 0x12, ACPI_SPACE_MEMORY, 0xfedc9000);
    dbg2_add(0x8000, 0, ACPI_SPACE_IO, 0x3f8); /* the SPCR's */
    dbg2_add(0x8000, 0xe, ACPI_SPACE_MEMORY, 0xfedca000);
    dbg2_add(0x8000, 1, ACPI_SPACE_IO, 0x2f8);
    dbg2_seal(5);
    assert_int_equal(find(), 3);
    assert_true(ports[0].is_console);
    assert_int_equal(ports[1].address, 0xfedc9000);
    assert_int_equal(ports[1].stride, 4);
    assert_false(ports[1].is_console || ports[1].has_irq || ports[1].has_gsi || ports[1].is_pci);
    assert_int_equal(ports[1].baud, 0);
    assert_int_equal(ports[2].address, 0x2f8);
    assert_int_equal(ports[2].stride, 1);
    assert_logged("DBG2: serial port of type 0xe in address space 0 at 0xfedca000");
    assert_int_equal(acpi_find_serial(&info, &memory, ports, 2), 2);
    dbg2_seal(2); /* less than there are */
    assert_int_equal(find(), 2);
    dbg2_seal(UINT32_MAX); /* more */
    assert_int_equal(find(), 3);
    /* Without an SPCR. */
    memset(ram + SPCR, 0, 80);
    dbg2_seal(5);
    assert_int_equal(find(), 3);
    assert_int_equal(ports[1].address, 0x3f8);
    assert_false(ports[1].is_console);
}

static void test_dbg2_broken(void **state)
{
    static const uint16_t bad_offsets[] = {0, 21, 32, 43, 0xffff};
    static const uint16_t bad_lengths[] = {0, 21, 44, 0xffff};
    static const uint32_t bad_firsts[] = {0, 43, 44 + 22, 44 + 43, UINT32_MAX, UINT32_MAX - 20};

    (void)state;
    memset(ram + SPCR, 0, 80);
    for (unsigned int i = 0; i < ARRAY_SIZE(bad_offsets); i++) {
        dbg2_end = 44;
        dbg2_add(0x8000, 0, ACPI_SPACE_IO, 0x3f8);
        put(DBG2 + 44 + 18, bad_offsets[i], 2);
        dbg2_seal(1);
        assert_int_equal(find(), 0);
        assert_logged("has its address at offset");
    }
    for (unsigned int i = 0; i < ARRAY_SIZE(bad_lengths); i++) {
        dbg2_end = 44;
        dbg2_add(0x8000, 0, ACPI_SPACE_IO, 0x3f8);
        put(DBG2 + 45, bad_lengths[i], 2);
        dbg2_seal(1);
        assert_int_equal(find(), 0);
    }
    for (unsigned int i = 0; i < ARRAY_SIZE(bad_firsts); i++) {
        dbg2_end = 44;
        dbg2_add(0x8000, 0, ACPI_SPACE_IO, 0x3f8);
        dbg2_seal(1);
        put(DBG2 + 36, bad_firsts[i], 4);
        table(DBG2, "DBG2", dbg2_end, 0);
        assert_int_equal(find(), 0);
    }
    dbg2_end = 44;
    dbg2_add(0x8000, 0, ACPI_SPACE_IO, 0x3f8);
    ram[DBG2 + 44 + 3] = 0; /* no address */
    dbg2_seal(1);
    assert_int_equal(find(), 0);
    table(DBG2, "DBG2", 43, 0);
    assert_int_equal(find(), 0);
    assert_logged("DBG2 has length 43");
    /* A table of many broken devices does not fill the log. */
    dbg2_end = 44;
    for (unsigned int i = 0; i < 200; i++) {
        dbg2_add(0x8000, 0, ACPI_SPACE_IO, 0x3f8);
        put(DBG2 + dbg2_end - 43 + 18, 0, 2);
    }
    dbg2_seal(200);
    assert_int_equal(find(), 0);
    assert_true(strlen(host_log_text) < 4096);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        TEST(test_com1), TEST(test_baud),     TEST(test_stride),      TEST(test_pci),
        TEST(test_dbg2), TEST(test_unusable), TEST(test_dbg2_broken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
