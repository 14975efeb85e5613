#ifndef BULKHEAD_ARCH_X86_ACPI_SPCR_H
#define BULKHEAD_ARCH_X86_ACPI_SPCR_H

/* The 16550-like serial ports that the firmware's SPCR and DBG2 tables name. Boot only. */

#include "arch/x86/acpi/acpi.h"

struct acpi_serial {
    bool is_console;  /* the one that the firmware writes to (SPCR) */
    uint8_t space;    /* ACPI_SPACE_IO or ACPI_SPACE_MEMORY */
    uint8_t stride;   /* bytes from one register to the next, all accessed at once: 1, 2 or 4 */
    uint64_t address; /* of the first register; never 0 */
    uint32_t baud;    /* 0: not told, leave it as it is */
    uint32_t clock;   /* Hz; 0: not told */
    bool has_irq, has_gsi;
    uint8_t irq; /* of the 8259 pair */
    uint32_t gsi;
    /* The PCI function that the registers belong to. */
    bool is_pci;
    uint16_t pci_vendor, pci_device;
    uint8_t pci_segment, pci_bus, pci_slot, pci_function;
};

/* Lists the ports in tables that acpi_parse() has found sound: the SPCR's first, each address once.
 * Returns their number, at most `max`. What cannot be used is logged and left out. No lock. */
unsigned int acpi_find_serial(const struct acpi_info *info, const struct acpi_memory *mem,
                              struct acpi_serial *ports, unsigned int max);

#endif
