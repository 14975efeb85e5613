#ifndef BULKHEAD_TESTS_UNIT_FAKE_PCI_H
#define BULKHEAD_TESTS_UNIT_FAKE_PCI_H

/* A PCI configuration space with a few functions, whose first base address register decodes what
 * its size says. */

#include <string.h>

#include "drivers/pci_serial.h"

#define FAKE_FUNCTIONS 32

static struct fake_function {
    uint16_t number;
    uint32_t words[64];
    uint32_t io_size; /* 0: the registers keep what is written */
    bool sized_while_on;
} fake_functions[FAKE_FUNCTIONS];
static unsigned int fake_count, fake_reads;

static struct fake_function *fake_find(uint16_t function)
{
    for (unsigned int i = 0; i < fake_count; i++)
        if (fake_functions[i].number == function)
            return &fake_functions[i];
    return NULL;
}

static uint32_t fake_read(uint16_t function, unsigned int offset)
{
    const struct fake_function *f = fake_find(function);

    assert_true(offset < 256 && offset % 4 == 0);
    fake_reads++;
    return f ? f->words[offset / 4] : ~0u;
}

static void fake_write(uint16_t function, unsigned int offset, uint32_t value)
{
    struct fake_function *f = fake_find(function);

    assert_true(f && offset < 256 && offset % 4 == 0);
    if (offset == 4) {
        assert_int_equal(value >> 16, 0); /* no bit of the status is cleared */
        value |= f->words[1] & 0xffff0000;
    } else if (f->io_size != 0) {
        f->sized_while_on |= value == ~0u && (f->words[1] & 3);
        value = (value & ~(f->io_size - 1) & 0xffff) | 1;
    }
    f->words[offset / 4] = value;
}

static const struct pci_config fake_pci = {.read = fake_read, .write = fake_write};

/* One with that class code (class, subclass, interface), of device type. */
static inline struct fake_function *add_function(unsigned int bus, unsigned int slot,
                                                 unsigned int function, uint32_t class)
{
    struct fake_function *f = &fake_functions[fake_count++];

    memset(f, 0, sizeof(*f));
    f->number = PCI_FUNCTION(bus, slot, function);
    f->words[0] = 0x00021b36;
    f->words[1] = 0x02900000;
    f->words[2] = class << 8;
    return f;
}

static inline struct fake_function *add_card(unsigned int bus, unsigned int slot, uint16_t port,
                                             uint32_t size)
{
    struct fake_function *f = add_function(bus, slot, 0, 0x070002);

    f->words[4] = port | 1;
    f->io_size = size;
    return f;
}

static inline void add_bridge(unsigned int bus, unsigned int slot, unsigned int secondary)
{
    struct fake_function *f = add_function(bus, slot, 0, 0x060400);

    f->words[3] = 1 << 16;
    f->words[6] = 0xff << 16 | secondary << 8 | bus;
}

#endif
