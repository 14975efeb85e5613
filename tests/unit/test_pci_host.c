/* PCI configuration mechanism #1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vmm/devices/pci_host.h"

#define ADDRESS(bus, dev, fn, reg) (0x80000000u | (bus) << 16 | (dev) << 11 | (fn) << 8 | (reg))

static struct pci_host host;

static int setup(void **state)
{
    (void)state;
    host = (struct pci_host){0};
    return 0;
}

static void select_register(uint32_t address)
{
    pci_host_write(&host, PCI_HOST_ADDRESS, 4, address);
}

static uint32_t config(uint32_t address)
{
    select_register(address);
    return pci_host_read(&host, PCI_HOST_DATA, 4);
}

static void test_address(void **state)
{
    (void)state;
    /* Linux's check for mechanism #1. */
    pci_host_write(&host, 0xCFB, 1, 1);
    select_register(0x80000000);
    assert_int_equal(pci_host_read(&host, PCI_HOST_ADDRESS, 4), 0x80000000);
    select_register(0xFFFFFFFF);
    assert_int_equal(pci_host_read(&host, PCI_HOST_ADDRESS, 4), 0x80FFFFFC);
    /* Smaller accesses do not reach it. */
    pci_host_write(&host, 0xCF8, 2, 0);
    pci_host_write(&host, 0xCF8, 1, 0);
    pci_host_write(&host, 0xCFA, 2, 0);
    assert_int_equal(pci_host_read(&host, PCI_HOST_ADDRESS, 4), 0x80FFFFFC);
    assert_int_equal(pci_host_read(&host, 0xCF8, 1), 0xFF);
    assert_int_equal(pci_host_read(&host, 0xCF8, 2), 0xFFFF);
}

static void test_bridge(void **state)
{
    (void)state;
    assert_int_equal(config(ADDRESS(0, 0, 0, 0)), 0x00081B36);
    assert_int_equal(pci_host_read(&host, 0xCFC, 2), 0x1B36);
    assert_int_equal(pci_host_read(&host, 0xCFE, 2), 0x0008);
    assert_int_equal(pci_host_read(&host, 0xCFD, 1), 0x1B);
    assert_int_equal(config(ADDRESS(0, 0, 0, 8)), 0x06000000);
    select_register(ADDRESS(0, 0, 0, 8));
    assert_int_equal(pci_host_read(&host, 0xCFE, 2), 0x0600); /* as Linux looks for it */
    assert_int_equal(config(ADDRESS(0, 0, 0, 0x0C)), 0);      /* single-function, type 0 */
    for (uint32_t reg = 0x10; reg < 0x100; reg += 4) {
        select_register(ADDRESS(0, 0, 0, reg));
        pci_host_write(&host, 0xCFC, 4, 0xFFFFFFFF);
        assert_int_equal(pci_host_read(&host, 0xCFC, 4), 0);
    }
    select_register(ADDRESS(0, 0, 0, 0));
    pci_host_write(&host, 0xCFC, 4, 0);
    assert_int_equal(pci_host_read(&host, 0xCFC, 4), 0x00081B36);
}

static void test_absent(void **state)
{
    (void)state;
    assert_int_equal(config(ADDRESS(0, 1, 0, 0)), 0xFFFFFFFF);
    assert_int_equal(config(ADDRESS(0, 31, 7, 0)), 0xFFFFFFFF);
    assert_int_equal(config(ADDRESS(0, 0, 1, 0)), 0xFFFFFFFF);
    assert_int_equal(config(ADDRESS(1, 0, 0, 0)), 0xFFFFFFFF);
    assert_int_equal(config(ADDRESS(0, 0, 0, 0) & 0x7FFFFFFF), 0xFFFFFFFF);
    pci_host_write(&host, 0xCFC, 4, 0);
}

static void test_bad_accesses(void **state)
{
    (void)state;
    select_register(ADDRESS(0, 0, 0, 0));
    assert_int_equal(pci_host_read(&host, 0xCFE, 4), 0xFFFFFFFF); /* across the end */
    assert_int_equal(pci_host_read(&host, 0xCFF, 2), 0xFFFF);
    assert_int_equal(pci_host_read(&host, 0xCFC, 3), 0xFFFFFF);
    assert_int_equal(pci_host_read(&host, 0xCFC, 8), 0xFFFFFFFF);
    assert_int_equal(pci_host_read(&host, 0xFFFF, 4), 0xFFFFFFFF);
    pci_host_write(&host, 0xCFE, 4, 0);
    pci_host_write(&host, 0xCFC, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_address, setup),
        cmocka_unit_test_setup(test_bridge, setup),
        cmocka_unit_test_setup(test_absent, setup),
        cmocka_unit_test_setup(test_bad_accesses, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
