/* PCI configuration mechanism #1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/error.h"
#include "vmm/devices/pci_host.h"

#define ADDRESS(bus, dev, fn, reg) (0x80000000u | (bus) << 16 | (dev) << 11 | (fn) << 8 | (reg))

static struct pci_host host;
static struct pci_device *asked;
static unsigned int asked_offset, asked_size;
static uint32_t written;

static uint32_t fake_read(struct pci_device *dev, unsigned int offset, unsigned int size)
{
    asked = dev;
    asked_offset = offset;
    asked_size = size;
    return 0x12345678;
}

static void fake_write(struct pci_device *dev, unsigned int offset, unsigned int size,
                       uint32_t value)
{
    asked = dev;
    asked_offset = offset;
    asked_size = size;
    written = value;
}

static const struct pci_device_ops fake_ops = {.config_read = fake_read,
                                               .config_write = fake_write};
static struct pci_device fake = {.ops = &fake_ops};

static int setup(void **state)
{
    (void)state;
    pci_host_init(&host);
    asked = NULL;
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
    pci_host_reset(&host);
    assert_int_equal(pci_host_read(&host, PCI_HOST_ADDRESS, 4), 0);
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

static void test_plugged(void **state)
{
    (void)state;
    assert_int_equal(pci_host_plug(&host, 3, &fake), 0);
    assert_int_equal(pci_host_plug(&host, 3, &fake), -BH_EBUSY);
    assert_int_equal(pci_host_plug(&host, 0, &fake), -BH_EBUSY);
    assert_int_equal(pci_host_plug(&host, 32, &fake), -BH_ERANGE);
    assert_int_equal(config(ADDRESS(0, 3, 0, 0xFC)), 0x12345678);
    assert_ptr_equal(asked, &fake);
    assert_int_equal(asked_offset, 0xFC);
    assert_int_equal(pci_host_read(&host, 0xCFF, 1), 0x78); /* never more than was asked for */
    assert_int_equal(asked_offset, 0xFF);
    assert_int_equal(asked_size, 1);
    pci_host_write(&host, 0xCFE, 2, 0xABCD1234);
    assert_int_equal(asked_offset, 0xFE);
    assert_int_equal(written, 0x1234);
    pci_host_reset(&host);
    assert_int_equal(config(ADDRESS(0, 3, 0, 0)), 0x12345678); /* still plugged in */
}

static void test_bad_accesses(void **state)
{
    (void)state;
    assert_int_equal(pci_host_plug(&host, 3, &fake), 0);
    select_register(ADDRESS(0, 3, 0, 0));
    assert_int_equal(pci_host_read(&host, 0xCFE, 4), 0xFFFFFFFF); /* across the end */
    assert_int_equal(pci_host_read(&host, 0xCFF, 2), 0xFFFF);
    assert_int_equal(pci_host_read(&host, 0xCFC, 3), 0xFFFFFF);
    assert_int_equal(pci_host_read(&host, 0xCFC, 8), 0xFFFFFFFF);
    assert_int_equal(pci_host_read(&host, 0xFFFF, 4), 0xFFFFFFFF);
    pci_host_write(&host, 0xCFE, 4, 0);
    pci_host_write(&host, 0xCFC, 0, 0);
    assert_null(asked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_address, setup),
        cmocka_unit_test_setup(test_bridge, setup),
        cmocka_unit_test_setup(test_absent, setup),
        cmocka_unit_test_setup(test_plugged, setup),
        cmocka_unit_test_setup(test_bad_accesses, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
