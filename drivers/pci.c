#include "drivers/pci.h"

#include "arch/x86/asm.h"

/* PCI Local Bus 3.0, 3.2.2.3.2 */
#define ADDRESS_PORT   0xcf8
#define DATA_PORT      0xcfc
#define ADDRESS_ENABLE BIT(31)

INIT static void select(uint16_t function, unsigned int offset)
{
    outl(ADDRESS_PORT, ADDRESS_ENABLE | (uint32_t)function << 8 | offset);
}

INIT static uint32_t read(uint16_t function, unsigned int offset)
{
    select(function, offset);
    return inl(DATA_PORT);
}

INIT static void write(uint16_t function, unsigned int offset, uint32_t value)
{
    select(function, offset);
    outl(DATA_PORT, value);
}

const struct pci_config pci_machine = {.read = read, .write = write};
