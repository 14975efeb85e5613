/* The key `console`: serial ports of every kind, lists of them, and what is wrong with others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/config_parse.h"

#define CONSOLE                                                                                   \
    "serial, com1 to com4, 0xPORT (0x100 to 0xfff8), pci:BB:DD.F or mmio:0xADDRESS/STRIDE, each " \
    "optionally with a baud rate such as com1,115200; screen; a list of these; or none"
#define PCI                                                                                  \
    "pci:BB:DD.F with bus 00 to ff, device 00 to 1f, function 0 to 7, such as pci:00:03.0, " \
    "and /2 to /8 behind it for a further port of that card"
#define MMIO                                                                                  \
    "mmio:0xADDRESS/STRIDE with a stride of 1, 2 or 4 bytes and an address from 0x100000 on " \
    "that is a multiple of it"
#define BAUD "a baud rate that divides 115200, 50 at least"

static void console(const char *value)
{
    char text[256];

    snprintf(text, sizeof(text), "[core]\nconsole = %s\n" VM, value);
    good(text);
}

static void bad_console(const char *value, const char *expected)
{
    char text[256], error[512];

    snprintf(text, sizeof(text), "[core]\nconsole = %s\n" VM, value);
    snprintf(error, sizeof(error), "2: console: found \"%s\", expected %s\n", value, expected);
    bad(text, error);
    assert_int_equal(config.serial_count, 1);
    assert_int_equal(config.serial[0].kind, CONFIG_SERIAL_AUTO);
}

#define BAD(expected, ...)                                                \
    do {                                                                  \
        static const char *const values[] = {__VA_ARGS__};                \
        for (unsigned int bad_i = 0; bad_i < ARRAY_SIZE(values); bad_i++) \
            bad_console(values[bad_i], expected);                         \
    } while (0)

static void assert_port(unsigned int i, enum config_serial_kind kind, uint64_t address,
                        unsigned int part, unsigned int baud)
{
    assert_true(i < config.serial_count);
    assert_int_equal(config.serial[i].kind, kind);
    assert_true(config.serial[i].address == address);
    assert_int_equal(config.serial[i].part, part);
    assert_int_equal(config.serial[i].baud, baud);
}

static void test_one_port(void **state)
{
    static const struct {
        const char *value;
        enum config_serial_kind kind;
        uint64_t address;
        unsigned int part, baud;
    } cases[] = {
        {"com1", CONFIG_SERIAL_IO, 0x3f8, 0, 115200},
        {"com2", CONFIG_SERIAL_IO, 0x2f8, 0, 115200},
        {"com3", CONFIG_SERIAL_IO, 0x3e8, 0, 115200},
        {"com4,9600", CONFIG_SERIAL_IO, 0x2e8, 0, 9600},
        {"0x100", CONFIG_SERIAL_IO, 0x100, 0, 115200},
        {"0xFFF8", CONFIG_SERIAL_IO, 0xfff8, 0, 115200},
        {"0xc050 , 57600", CONFIG_SERIAL_IO, 0xc050, 0, 57600},
        {"com1,50", CONFIG_SERIAL_IO, 0x3f8, 0, 50},
        {"serial", CONFIG_SERIAL_AUTO, 0, 0, 0},
        {"serial,9600", CONFIG_SERIAL_AUTO, 0, 0, 9600},
        {"pci:00:03.0", CONFIG_SERIAL_PCI, 0x18, 1, 115200},
        {"pci:0:3.0", CONFIG_SERIAL_PCI, 0x18, 1, 115200},
        {"pci:fF:1f.7/8, 300", CONFIG_SERIAL_PCI, 0xffff, 8, 300},
        {"pci:0a:00.1 / 2", CONFIG_SERIAL_PCI, 0xa01, 2, 115200},
        {"mmio:0x100000/1", CONFIG_SERIAL_MEMORY, 0x100000, 1, 0},
        {"mmio:0xfedc9000/4,115200", CONFIG_SERIAL_MEMORY, 0xfedc9000, 4, 115200},
        {"mmio:0xfffffffffffe0/4", CONFIG_SERIAL_MEMORY, 0xfffffffffffe0, 4, 0},
        {"mmio:0xffff02/2", CONFIG_SERIAL_MEMORY, 0xffff02, 2, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        console(cases[i].value);
        assert_int_equal(config.serial_count, 1);
        assert_int_equal(config.screen, CONFIG_SCREEN_NO);
        assert_port(0, cases[i].kind, cases[i].address, cases[i].part, cases[i].baud);
    }
}

static void test_lists(void **state)
{
    (void)state;
    console("none");
    assert_int_equal(config.serial_count, 0);
    assert_int_equal(config.screen, CONFIG_SCREEN_NO);
    console("screen");
    assert_int_equal(config.serial_count, 0);
    assert_int_equal(config.screen, CONFIG_SCREEN_YES);
    console("screen,com1,9600");
    assert_int_equal(config.serial_count, 1);
    assert_int_equal(config.screen, CONFIG_SCREEN_YES);
    assert_port(0, CONFIG_SERIAL_IO, 0x3f8, 0, 9600);
    console("0x100 , 9600 , screen");
    assert_int_equal(config.serial_count, 1);
    assert_int_equal(config.screen, CONFIG_SCREEN_YES);
    console("com2, serial, screen, pci:00:03.0,9600, 0x3f8");
    assert_int_equal(config.serial_count, 4);
    assert_port(0, CONFIG_SERIAL_IO, 0x2f8, 0, 115200);
    assert_port(1, CONFIG_SERIAL_AUTO, 0, 0, 0);
    assert_port(2, CONFIG_SERIAL_PCI, 0x18, 1, 9600);
    assert_port(3, CONFIG_SERIAL_IO, 0x3f8, 0, 115200);
    console("pci:00:03.0,pci:00:03.0/2,mmio:0x100000/2,mmio:0x100010/2");
    assert_int_equal(config.serial_count, 4);
}

static void test_wrong(void **state)
{
    (void)state;
    BAD(CONSOLE, "com0", "com5", "COM1", "none,9600", "0xff", "0xfff9", "0x", "0x3g8", "1016",
        "com1 9600", ",9600", "0x10000000000000000", "com1,9600,8", "fb", "screen,9600",
        "com1,screen,9600", "none,screen", "screen,none", "screen,", "screen com1", "com1,com5",
        "serial:", "pci", "mmio", "Serial", "com1,0xff");
    BAD(BAUD, "com1,", "com1,0", "com1,49", "com1,45", "com1,9601", "com1,230400", "screen,com1,5",
        "com1,96oo", "com2,-1", "serial,", "pci:00:03.0,7", "mmio:0x100000/1,1843200");
    BAD("screen once", "screen,screen", "screen,com1,screen");
    BAD("each port once", "com1,com1", "com1,9600,0x3f8", "com1,0x3fa", "0x3f1,com1",
        "serial,serial", "pci:00:03.0,pci:00:03.0/1", "mmio:0x100000/4,mmio:0x10001c/1");
    BAD("at most 4 serial ports", "com1,com2,com3,com4,serial");
    BAD(PCI, "pci:", "pci:00", "pci:00:03", "pci:00:03.", "pci:00:03.8", "pci:00:20.0",
        "pci:100:00.0", "pci:0:003.0", "pci:00:03.0/0", "pci:00:03.0/9", "pci:00:03.0/x",
        "pci:00.03.0", "pci:g0:03.0", "pci::03.0", "pci:00:03.0 1", "pci:0000:00:03.0");
    BAD(MMIO, "mmio:", "mmio:0xfe000000", "mmio:0xfe000000/", "mmio:0xfe000000/0",
        "mmio:0xfe000000/3", "mmio:0xfe000000/8", "mmio:fe000000/4", "mmio:0xfffff/1",
        "mmio:0xfe000002/4", "mmio:0xfffffffffffe4/4", "mmio:0x10000000000000/1",
        "mmio:0xfffffffffffffff0/4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_port),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
