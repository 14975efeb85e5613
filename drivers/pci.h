#ifndef BULKHEAD_DRIVERS_PCI_H
#define BULKHEAD_DRIVERS_PCI_H

/* The machine's PCI configuration space (PCI Local Bus 3.0, chapter 6): the first segment's, by the
 * ports of mechanism #1. Boot only, one CPU. */

#include "lib/macros.h"

/* A function's number: bus, slot and function as in its requester ID. */
#define PCI_FUNCTION(bus, slot, function) \
    ((uint16_t)((unsigned int)(bus) << 8 | (unsigned int)(slot) << 3 | (function)))
#define PCI_BUS(f)  ((f) >> 8 & 0xffu)
#define PCI_SLOT(f) ((f) >> 3 & 0x1fu)
#define PCI_FUNC(f) ((f)&7u)

/* How it is reached: so that what looks for devices runs on a host, too. `offset` is a multiple of
 * 4 below 256. What is not there reads all ones. */
struct pci_config {
    uint32_t (*read)(uint16_t function, unsigned int offset);
    void (*write)(uint16_t function, unsigned int offset, uint32_t value);
};

extern const struct pci_config pci_machine;

#endif
