/* Serial cards in a made-up PCI configuration space. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/error.h"
#include "tests/unit/fake_pci.h"

static struct pci_serial cards[8];

static int setup(void **state)
{
    (void)state;
    fake_count = fake_reads = 0;
    memset(cards, 0xa5, sizeof(cards));
    add_function(0, 0, 0, 0x060000);
    return 0;
}

static unsigned int scan(void)
{
    return pci_serial_scan(&fake_pci, cards, ARRAY_SIZE(cards));
}

static void test_io(void **state)
{
    static const struct {
        uint32_t size;
        unsigned int ports;
    } cases[] = {{8, 1}, {16, 2}, {32, 4}, {64, 8}, {256, 8}, {4, 0}};

    (void)state;
    for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
        setup(NULL);
        struct fake_function *f = add_card(0, 3, 0xc000, cases[i].size);
        f->words[1] |= 7;
        assert_int_equal(scan(), 1);
        assert_int_equal(cards[0].function, 0x18);
        assert_int_equal(cards[0].vendor, 0x1b36);
        assert_int_equal(cards[0].device, 2);
        assert_true(cards[0].is_16550);
        assert_int_equal(cards[0].ports, cases[i].ports);
        if (cases[i].ports > 0) {
            assert_true(cards[0].is_io);
            assert_int_equal(cards[0].address, 0xc000);
        }
        assert_int_equal(f->words[4], 0xc001); /* as it was */
        assert_int_equal(f->words[1], 0x02900007);
        assert_false(f->sized_while_on);
    }
}

/* Four ports at the end of the I/O space: no more than fit. */
static void test_io_at_the_end(void **state)
{
    (void)state;
    add_card(0, 3, 0xfff8, 8);
    assert_int_equal(scan(), 1);
    assert_int_equal(cards[0].ports, 1);
    setup(NULL);
    add_card(0, 3, 0xfff0, 8)->words[4] = 0xfffffff1; /* of a machine with 32 bits of I/O space */
    assert_int_equal(scan(), 1);
    assert_int_equal(cards[0].ports, 0);
}

static void test_memory(void **state)
{
    struct fake_function *f;

    (void)state;
    f = add_function(0, 3, 0, 0x070006);
    f->words[4] = 0xfe000000;
    assert_int_equal(scan(), 1);
    assert_false(cards[0].is_io);
    assert_int_equal(cards[0].ports, 1);
    assert_true(cards[0].address == 0xfe000000);
    f->words[4] = 0xfe00000c; /* 64 bits, prefetchable */
    f->words[5] = 0x12;
    assert_int_equal(scan(), 1);
    assert_true(cards[0].address == 0x12fe000000);
    f->words[5] = 0x100000; /* beyond 2^52 */
    assert_int_equal(scan(), 1);
    assert_int_equal(cards[0].ports, 0);
    f->words[4] = 4;
    f->words[5] = 0;
    assert_int_equal(scan(), 1);
    assert_int_equal(cards[0].ports, 0);
    f->words[4] = 0; /* the first that is there: the second */
    f->words[5] = 0xfd000000;
    assert_int_equal(scan(), 1);
    assert_true(cards[0].address == 0xfd000000);
    memset(&f->words[4], 0, 24);
    assert_int_equal(scan(), 1);
    assert_int_equal(cards[0].ports, 0);
}

static void test_no_address(void **state)
{
    (void)state;
    add_card(0, 3, 0, 8);
    assert_int_equal(scan(), 1);
    assert_true(cards[0].is_16550);
    assert_int_equal(cards[0].ports, 0);
}

static void test_classes(void **state)
{
    static const struct {
        uint32_t class;
        bool listed, is_16550;
    } cases[] = {
        {0x070000, true, true},   {0x070006, true, true},   {0x070007, true, false},
        {0x0700ff, true, false},  {0x070200, true, false},  {0x070100, false, false},
        {0x070300, false, false}, {0x078000, false, false}, {0x060000, false, false},
        {0xffffff, false, false},
    };

    (void)state;
    for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
        setup(NULL);
        add_function(0, 3, 0, cases[i].class)->words[4] = 0xc001;
        assert_int_equal(scan(), cases[i].listed);
        assert_int_equal(pci_serial_at(&fake_pci, 0x18, &cards[1]),
                         cases[i].listed ? 0 : -BH_ENOENT);
        if (cases[i].listed)
            assert_int_equal(cards[0].is_16550, cases[i].is_16550);
    }
    assert_int_equal(pci_serial_at(&fake_pci, 0x20, &cards[0]), -BH_ENOENT);
}

static void test_buses(void **state)
{
    (void)state;
    add_bridge(0, 1, 2);
    add_bridge(2, 0, 5);
    add_bridge(0, 2, 0); /* without a number */
    add_bridge(5, 1, 5); /* that lead back */
    add_bridge(5, 2, 2);
    add_bridge(5, 3, 255);
    add_card(5, 31, 0xc000, 8);
    add_card(255, 0, 0xd000, 8);
    add_card(7, 0, 0xe000, 8); /* behind nothing */
    assert_int_equal(scan(), 2);
    assert_int_equal(cards[0].function, 0x5f8);
    assert_int_equal(cards[1].function, 0xff00);
    assert_true(fake_reads < 2000);
}

static void test_functions(void **state)
{
    struct fake_function *first;

    (void)state;
    first = add_function(0, 3, 0, 0x010000);
    add_function(0, 3, 3, 0x070002)->words[4] = 0xc001;
    add_function(0, 4, 1, 0x070002); /* there is no function 0 */
    assert_int_equal(scan(), 0);
    first->words[3] = 0x800000;
    assert_int_equal(scan(), 1);
    assert_int_equal(cards[0].function, 0x1b);
}

static void test_limits(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < 20; i++)
        add_card(0, 1 + i, (uint16_t)(0xc000 + 8 * i), 8);
    assert_int_equal(scan(), ARRAY_SIZE(cards));
    assert_int_equal(pci_serial_scan(&fake_pci, cards, 0), 0);
    fake_count = 0;
    assert_int_equal(scan(), 0);
}

static void test_decoding(void **state)
{
    (void)state;
    struct fake_function *f = add_card(0, 3, 0xc000, 8);
    pci_enable_decoding(&fake_pci, f->number);
    assert_int_equal(f->words[1], 0x02900003);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_io, setup),
        cmocka_unit_test_setup(test_io_at_the_end, setup),
        cmocka_unit_test_setup(test_memory, setup),
        cmocka_unit_test_setup(test_no_address, setup),
        cmocka_unit_test_setup(test_classes, setup),
        cmocka_unit_test_setup(test_buses, setup),
        cmocka_unit_test_setup(test_functions, setup),
        cmocka_unit_test_setup(test_limits, setup),
        cmocka_unit_test_setup(test_decoding, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
