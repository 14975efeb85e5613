#ifndef BULKHEAD_DRIVERS_PCI_SERIAL_H
#define BULKHEAD_DRIVERS_PCI_SERIAL_H

/* Serial cards on the PCI bus that are like a 16550. Boot only, one CPU. Nothing that a device says
 * is trusted. */

#include "drivers/pci.h"

#define PCI_SERIAL_PORTS_MAX 8 /* of a function that are known */

/* What the first base address register of a function leads to. I/O: one port every 8 bytes, as
 * cards with several have them. Memory: one port, a byte for each register. */
struct pci_serial {
    uint16_t function;
    uint16_t vendor, device;
    bool is_16550; /* class 07h, subclass 00h, interfaces 00h to 06h */
    bool is_io;
    unsigned int ports; /* 0: it cannot be used: not a 16550, or firmware gave it no address */
    uint64_t address;
};

/* Looks at one function. Returns 0 and fills in `out`, or -BH_ENOENT when there is none, or none of
 * a serial card (another subclass of 07h is left to the caller, by is_16550). */
MUST_CHECK int pci_serial_at(const struct pci_config *pci, uint16_t function,
                             struct pci_serial *out);

/* Lists up to `max` serial cards, on bus 0 and behind bridges. Returns their number. */
unsigned int pci_serial_scan(const struct pci_config *pci, struct pci_serial *out,
                             unsigned int max);

/* Lets the function answer at the addresses that it has. */
void pci_enable_decoding(const struct pci_config *pci, uint16_t function);

#endif
