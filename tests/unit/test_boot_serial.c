/* Which serial ports become the console: by the configuration, the firmware's tables, what answers,
 * and the PCI bus. The UARTs, the bus and the core's page tables are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/ioapic.h"
#include "arch/x86/mm/address_space.h"
#include "boot/boot_info.h"
#include "boot/boot_serial.h"
#include "boot/serial_ports.h"
#include "drivers/uart.h"
#include "tests/unit/acpi_machine.h"
#include "tests/unit/fake_pci.h"
#include "vmm/console.h"
#include "vmm/console_screen.h"

enum { SPCR = EXTRA, DBG2 = EXTRA + 0x1000 };

/* Where device_map() puts registers. */
#define MAPPED(pa) ((volatile void *)(uintptr_t)(0x100000000000ull + (pa)))

bool console_has_screen;
struct boot_info boot_info;
const struct pci_config pci_machine = {.read = fake_read, .write = fake_write};
static struct config config;

static uint16_t there[8];              /* I/O ports with a UART */
static volatile void *there_in_memory; /* and one in memory */
static struct uart_place used[UART_MAX];
static unsigned int used_count, uses, interrupting;
static uint64_t core_pa; /* what the core's tables map */
static unsigned int routed[16];
static char lines[1024];

bool uart_answers(const struct uart_place *p)
{
    for (unsigned int i = 0; i < ARRAY_SIZE(there); i++)
        if (p->port != 0 && there[i] == p->port)
            return true;
    return p->registers && p->registers == there_in_memory;
}

unsigned int uart_use(const struct uart_place *places, unsigned int count, int *results)
{
    used_count = 0;
    uses++;
    for (unsigned int i = 0; i < count; i++) {
        results[i] = !uart_answers(&places[i]) ? -BH_ENOENT
                     : places[i].baud > 115200 ? -BH_EINVAL
                                               : 0;
        if (results[i] == 0)
            used[used_count++] = places[i];
    }
    return used_count;
}

bool console_acquire(unsigned int room)
{
    return true;
}

void console_release(void)
{
}

unsigned int uart_used(void)
{
    return used_count;
}

const struct uart_place *uart_place_of(unsigned int index)
{
    assert_true(index < used_count);
    return &used[index];
}

void uart_enable_interrupts(unsigned int index)
{
    interrupting |= BIT(index);
}

volatile void *device_map(uint64_t pa, uint64_t size)
{
    assert_true(pa % 0x1000 == 0 && (size == 0x1000 || size == 0x2000));
    return MAPPED(pa);
}

bool address_space_maps_pa(uint64_t pa, uint64_t size)
{
    return core_pa != 0 && pa < core_pa + 0x1000 && core_pa < pa + size;
}

int ioapic_hw_route_isa(const struct acpi_info *acpi, unsigned int isa_irq, uint8_t vector,
                        uint32_t apic_id)
{
    assert_true(isa_irq < 16);
    assert_int_equal(apic_id, 5);
    routed[isa_irq]++;
    return isa_irq == 7 ? -BH_ENOENT : 0;
}

static int setup(void **state)
{
    machine(state);
    fake_count = 0;
    memset(there, 0, sizeof(there));
    there[0] = 0x3f8;
    there[1] = 0x2f8;
    there_in_memory = NULL;
    memset(&boot_info, 0, sizeof(boot_info));
    memset(&config, 0, sizeof(config));
    memset(routed, 0, sizeof(routed));
    core_pa = 0;
    interrupting = 0;
    console_has_screen = false;
    lines[0] = '\0';
    boot_serial_first();
    return 0;
}

/* Tables that the test has put there are listed as well. */
static void find(void)
{
    put(XSDT + 68, ram[SPCR] ? SPCR : 0, 8);
    put(XSDT + 76, ram[DBG2] ? DBG2 : 0, 8);
    table(XSDT, "XSDT", 84, 1);
    assert_int_equal(parse(), 0);
    boot_serial_find(&info, &memory);
}

static void wish(enum config_serial_kind kind, uint64_t address, unsigned int part,
                 unsigned int baud)
{
    config.serial[config.serial_count++] = (struct config_serial){
        .kind = kind, .address = address, .part = (uint8_t)part, .baud = baud};
}

static void choose(void)
{
    boot_serial_choose(&config);
}

static void spcr(uint8_t space, uint64_t address, uint8_t baud)
{
    gas(SPCR + 40, space, 8, address);
    ram[SPCR + 36] = 0x12;
    ram[SPCR + 58] = baud;
    put(SPCR + 64, 0xffffffff, 4);
    table(SPCR, "SPCR", 80, 2);
}

static void dbg2(uint8_t space, uint8_t width, uint64_t address)
{
    put(DBG2 + 36, 44, 4);
    put(DBG2 + 40, 1, 4);
    put(DBG2 + 45, 43, 2);
    ram[DBG2 + 47] = 1;
    put(DBG2 + 56, 0x8000, 2);
    put(DBG2 + 58, 0x12, 2);
    put(DBG2 + 62, 22, 2);
    gas(DBG2 + 66, space, width, address);
    table(DBG2, "DBG2", 44 + 43, 0);
}

static void assert_port(unsigned int i, uint16_t port, uint32_t baud)
{
    assert_true(i < used_count);
    assert_int_equal(used[i].port, port);
    assert_int_equal(used[i].baud, baud);
    assert_null(used[i].registers);
}

/* Before the core's own tables; must be the first test. */
static void test_refusal(void **state)
{
    (void)state;
    assert_int_equal(parse(), 0);
    wish(CONFIG_SERIAL_IO, 0x3f8, 0, 9600);
    choose();
    unsigned int before = uses;
    boot_serial_refuse(&info, &memory);
    assert_int_equal(uses, before); /* COM1 shows it */
    memset(there, 0, sizeof(there));
    setup(NULL);
    there[0] = 0xc000;
    boot_serial_first();
    assert_int_equal(used_count, 0);
    assert_int_equal(parse(), 0);
    add_card(0, 3, 0xc000, 8);
    boot_serial_refuse(&info, &memory);
    assert_int_equal(used_count, 1);
    assert_port(0, 0xc000, 115200);
    setup(NULL);
    there[0] = 0; /* nor COM2 by itself */
    boot_serial_first();
    there_in_memory = (volatile void *)0xfe000000; /* as the boot tables have it */
    add_function(0, 3, 0, 0x070000)->words[4] = 0xfe000000;
    assert_int_equal(parse(), 0);
    boot_serial_refuse(&info, &memory);
    assert_int_equal(used_count, 1);
    assert_ptr_equal(used[0].registers, 0xfe000000);
}

static void test_serial(void **state)
{
    (void)state;
    add_card(0, 3, 0xc000, 8);
    there[2] = 0xc000;
    find();
    assert_int_equal(used_count, 1);
    assert_port(0, 0x3f8, 115200);
    assert_string_equal(host_log_text, "");
    dbg2(ACPI_SPACE_IO, 8, 0x2f8);
    find();
    assert_port(0, 0x2f8, 115200);
    assert_logged("info: console: the serial port at 0x2f8, which the DBG2 table names");
    there[3] = 0x3e8;
    spcr(ACPI_SPACE_IO, 0x3e8, 3);
    find();
    assert_int_equal(used_count, 1);
    assert_port(0, 0x3e8, 9600);
    assert_logged("which the SPCR table names");
    there[3] = 0;
    find();
    assert_port(0, 0x2f8, 115200);
    assert_logged("warn: console: the serial port at 0x3e8, which the SPCR table names, does not");
    there[0] = there[1] = 0;
    find();
    assert_port(0, 0xc000, 115200);
    assert_int_equal(fake_functions[0].words[1] & 3, 3);
    assert_logged("info: console: the serial card pci:00:03.0");
    there[2] = 0;
    find();
    assert_int_equal(used_count, 0);
    assert_logged("info: console: no serial port answers");
    assert_null(strstr(host_log_text, "error"));
}

/* The firmware's own rate, unless the file has one; memory's only with a clock. */
static void test_rates(void **state)
{
    (void)state;
    spcr(ACPI_SPACE_IO, 0x2f8, 0);
    find();
    assert_port(0, 0x2f8, 0);
    wish(CONFIG_SERIAL_AUTO, 0, 0, 19200);
    choose();
    find();
    assert_port(0, 0x2f8, 19200);
    config.serial[0].baud = 0;
    choose();
    spcr(ACPI_SPACE_MEMORY, 0xfe010000, 7);
    there_in_memory = MAPPED(0xfe010000);
    find();
    assert_int_equal(used_count, 1);
    assert_ptr_equal(used[0].registers, MAPPED(0xfe010000));
    assert_int_equal(used[0].baud, 0);
    assert_int_equal(used[0].stride, 1);
    assert_int_equal(used[0].irq, 0);
    put(SPCR + 76, 48000000, 4);
    table(SPCR, "SPCR", 80, 3);
    find();
    assert_int_equal(used[0].baud, 115200);
    assert_int_equal(used[0].clock, 48000000);
}

static void test_stride(void **state)
{
    (void)state;
    dbg2(ACPI_SPACE_MEMORY, 32, 0xfe020000);
    there_in_memory = MAPPED(0xfe020000);
    find();
    assert_int_equal(used_count, 1);
    assert_int_equal(used[0].stride, 4);
    assert_int_equal(used[0].baud, 0);
}

static void test_lists(void **state)
{
    (void)state;
    there[2] = 0xc008;
    add_card(0, 3, 0xc000, 32);
    wish(CONFIG_SERIAL_PCI, PCI_FUNCTION(0, 3, 0), 2, 9600);
    choose();
    assert_port(0, 0x3f8, 115200); /* until the card is found */
    find();
    assert_int_equal(used_count, 1);
    assert_port(0, 0xc008, 9600);
    assert_string_equal(host_log_text, "");

    wish(CONFIG_SERIAL_IO, 0x2f8, 0, 57600);
    wish(CONFIG_SERIAL_MEMORY, 0xfe030000, 4, 0);
    wish(CONFIG_SERIAL_AUTO, 0, 0, 0);
    there_in_memory = MAPPED(0xfe030000);
    choose();
    assert_int_equal(used_count, 1);
    assert_port(0, 0x2f8, 57600);
    find();
    assert_int_equal(used_count, 4);
    assert_port(0, 0xc008, 9600); /* the list's order */
    assert_port(1, 0x2f8, 57600);
    assert_ptr_equal(used[2].registers, MAPPED(0xfe030000));
    assert_int_equal(used[2].stride, 4);
    assert_port(3, 0x3f8, 115200);
}

/* `serial` is one that the list has anyway. */
static void test_named_twice(void **state)
{
    (void)state;
    wish(CONFIG_SERIAL_IO, 0x3f8, 0, 115200);
    wish(CONFIG_SERIAL_AUTO, 0, 0, 0);
    choose();
    find();
    assert_int_equal(used_count, 1);
}

static void test_none(void **state)
{
    (void)state;
    choose();
    assert_int_equal(used_count, 0);
    find();
    assert_int_equal(used_count, 0);
    boot_serial_first();
    config.screen = CONFIG_SCREEN_YES; /* which is not there */
    choose();
    find();
    assert_int_equal(used_count, 1);
    console_has_screen = true;
    choose();
    assert_int_equal(used_count, 0);
}

static void test_missing(void **state)
{
    static const struct {
        enum config_serial_kind kind;
        uint64_t address;
        unsigned int part;
        const char *want;
    } cases[] = {
        {CONFIG_SERIAL_IO, 0x2e8, 0, "error: console: 0x2e8: found no 16550 UART at that port\n"},
        {CONFIG_SERIAL_PCI, PCI_FUNCTION(1, 2, 3), 1,
         "error: console: pci:01:02.3: found no serial card there\n"},
        {CONFIG_SERIAL_PCI, PCI_FUNCTION(0, 3, 0), 1,
         "error: console: pci:00:03.0: found no 16550 UART there\n"},
        {CONFIG_SERIAL_PCI, PCI_FUNCTION(0, 3, 0), 3,
         "error: console: pci:00:03.0/3: found a serial card with fewer ports\n"},
        {CONFIG_SERIAL_PCI, PCI_FUNCTION(0, 4, 0), 1,
         "error: console: pci:00:04.0: found a serial card that is not like a 16550\n"},
        {CONFIG_SERIAL_PCI, PCI_FUNCTION(0, 5, 0), 1,
         "error: console: pci:00:05.0: found a serial card to which firmware has given no "
         "address\n"},
        {CONFIG_SERIAL_MEMORY, 0xfe040000, 4,
         "error: console: mmio:0xfe040000/4: found no 16550 UART there\n"},
    };

    (void)state;
    for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
        char want[256];
        setup(NULL);
        add_card(0, 3, 0xc000, 16);
        add_function(0, 4, 0, 0x070200);
        add_card(0, 5, 0, 16);
        wish(cases[i].kind, cases[i].address, cases[i].part, 115200);
        choose();
        assert_port(0, 0x3f8, 115200);
        find();
        assert_port(0, 0x3f8, 115200);
        snprintf(want, sizeof(want), "%serror: console: no port of the list works: using COM1\n",
                 cases[i].want);
        assert_string_equal(host_log_text, want);
        wish(CONFIG_SERIAL_IO, 0x2f8, 0, 9600); /* with this one, COM1 is not needed */
        choose();
        find();
        assert_int_equal(used_count, 1);
        assert_port(0, 0x2f8, 9600);
        assert_string_equal(host_log_text, cases[i].want);
    }
}

/* Two on a page; and one that another stride would take beyond what is mapped. */
static void test_one_page(void **state)
{
    (void)state;
    wish(CONFIG_SERIAL_MEMORY, 0xfe060000, 1, 0);
    choose();
    find();
    core_pa = 0xfe060000;
    there_in_memory = MAPPED(0xfe060ff8);
    config.serial[0].address = 0xfe060ff8;
    choose();
    find();
    assert_int_equal(used_count, 1);
    assert_ptr_equal(used[0].registers, MAPPED(0xfe060ff8));
    config.serial[0].part = 4;
    choose();
    find();
    assert_port(0, 0x3f8, 115200);
    assert_logged("0xfe060ff8 is not a device's address");
}

/* SPCR's port on a card that does not decode its addresses yet. Its interrupt is not ISA's. */
static void test_named_card(void **state)
{
    (void)state;
    there[2] = 0xc000;
    spcr(ACPI_SPACE_IO, 0xc000, 7);
    put(SPCR + 52, 1, 1);
    put(SPCR + 53, 5, 1);
    put(SPCR + 64, 0x1b360002, 4);
    ram[SPCR + 69] = 3;
    table(SPCR, "SPCR", 80, 2);
    struct fake_function *f = add_card(0, 3, 0xc000, 8);
    find();
    assert_port(0, 0xc000, 115200);
    assert_int_equal(used[0].irq, 0);
    assert_int_equal(f->words[1] & 3, 3);
}

/* Addresses in memory that are something else. */
static void test_not_a_device(void **state)
{
    (void)state;
    there_in_memory = MAPPED(0xfe050000);
    for (unsigned int i = 0; i < 4; i++) {
        setup(NULL);
        if (i == 0) {
            assert_int_equal(memory_map_add(&boot_info.map, 0xfe000000, 0x100000, MEM_USABLE), 0);
        } else if (i == 1) {
            assert_int_equal(memory_map_add(&boot_info.map, 0xfe050010, 16, MEM_NVS), 0);
        } else if (i == 2) {
            boot_info.module_count = 1;
            boot_info.modules[0].base = 0xfe04fff0;
            boot_info.modules[0].size = 17;
        } else {
            core_pa = 0xfe050000;
        }
        wish(CONFIG_SERIAL_MEMORY, 0xfe050000, 4, 0);
        choose();
        find();
        assert_port(0, 0x3f8, 115200);
        assert_logged("error: console: 0xfe050000 is not a device's address");
    }
    setup(NULL);
    assert_int_equal(memory_map_add(&boot_info.map, 0xfe000000, 0x100000, MEM_RESERVED), 0);
    there_in_memory = MAPPED(0xfe050000);
    wish(CONFIG_SERIAL_MEMORY, 0xfe050000, 4, 0);
    choose();
    find();
    assert_ptr_equal(used[0].registers, MAPPED(0xfe050000));
    core_pa = 0xfe050000; /* it is mapped now, once */
    find();
    assert_ptr_equal(used[0].registers, MAPPED(0xfe050000));
}

static void test_interrupts(void **state)
{
    (void)state;
    assert_int_equal(parse(), 0);
    assert_true(boot_serial_route(&info, 5));
    assert_int_equal(interrupting, 1);
    assert_int_equal(routed[4], 1);
    there[2] = 0x3e8;
    there[3] = 0x1000;
    wish(CONFIG_SERIAL_IO, 0x1000, 0, 9600);
    wish(CONFIG_SERIAL_IO, 0x3f8, 0, 9600);
    wish(CONFIG_SERIAL_IO, 0x3e8, 0, 9600); /* has COM1's */
    wish(CONFIG_SERIAL_IO, 0x2f8, 0, 9600);
    choose();
    interrupting = 0;
    memset(routed, 0, sizeof(routed));
    assert_false(boot_serial_route(&info, 5));
    assert_int_equal(interrupting, 2 | 8);
    assert_int_equal(routed[4], 1);
    assert_int_equal(routed[3], 1);
    setup(NULL);
    spcr(ACPI_SPACE_IO, 0x2f8, 7);
    ram[SPCR + 52] = 1; /* SPCR's word goes before custom */
    ram[SPCR + 53] = 7;
    table(SPCR, "SPCR", 80, 2);
    find();
    assert_int_equal(used[0].irq, 7);
    assert_false(boot_serial_route(&info, 5)); /* no I/O APIC has it */
    assert_int_equal(interrupting, 0);
    config.serial_count = 0;
    choose();
    assert_true(boot_serial_route(&info, 5));
}

static void take_line(const char *text, size_t len)
{
    size_t end = strlen(lines);

    snprintf(lines + end, sizeof(lines) - end, "%.*s\n", (int)len, text);
}

static bool is_there(uint16_t port)
{
    return uart_answers(&(struct uart_place){.port = port});
}

static void test_report(void **state)
{
    (void)state;
    add_card(0, 3, 0xc000, 16);
    add_function(0, 4, 0, 0x070200);
    add_card(0, 5, 0, 16);
    spcr(ACPI_SPACE_MEMORY, 0xfedc9000, 7);
    dbg2(ACPI_SPACE_IO, 8, 0x2f8);
    find();
    assert_int_equal(serial_ports_report(&info, &memory, is_there, take_line), 7);
    assert_string_equal(
        lines, "serial port: COM1 at port 0x3f8: console = com1\n"
               "serial port: COM2 at port 0x2f8: console = com2\n"
               "serial port: the firmware's console (SPCR table): console = mmio:0xfedc9000/1\n"
               "serial port: the firmware's debug port (DBG2 table): console = 0x2f8\n"
               "serial port: PCI card 1b36:0002, port 1 of 2: console = pci:00:03.0\n"
               "serial port: PCI card 1b36:0002, port 2 of 2: console = pci:00:03.0/2\n"
               "serial port: PCI card 1b36:0002 at 00:04.0: not like a 16550, not supported\n"
               "serial port: PCI card 1b36:0002 at 00:05.0: without an address, not supported\n");
    there[0] = there[1] = 0;
    fake_count = 0;
    ram[SPCR] = ram[DBG2] = 0;
    find();
    assert_int_equal(serial_ports_report(&info, &memory, is_there, take_line), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_refusal, setup),
        cmocka_unit_test_setup(test_serial, setup),
        cmocka_unit_test_setup(test_rates, setup),
        cmocka_unit_test_setup(test_stride, setup),
        cmocka_unit_test_setup(test_lists, setup),
        cmocka_unit_test_setup(test_named_twice, setup),
        cmocka_unit_test_setup(test_none, setup),
        cmocka_unit_test_setup(test_missing, setup),
        cmocka_unit_test_setup(test_one_page, setup),
        cmocka_unit_test_setup(test_named_card, setup),
        cmocka_unit_test_setup(test_not_a_device, setup),
        cmocka_unit_test_setup(test_interrupts, setup),
        cmocka_unit_test_setup(test_report, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
