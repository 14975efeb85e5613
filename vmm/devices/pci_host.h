#ifndef BULKHEAD_VMM_DEVICES_PCI_HOST_H
#define BULKHEAD_VMM_DEVICES_PCI_HOST_H

/* PCI configuration mechanism #1 (PCI 3.0, 3.2.2.3.2) with bus 0 only, on which there is nothing
 * but the host bridge. The caller serializes. */

#include "lib/macros.h"

#define PCI_HOST_ADDRESS 0xCF8
#define PCI_HOST_DATA    0xCFC

struct pci_host {
    uint32_t address; /* CF8h; 0 at power-up */
};

/* Accesses of `size` 1, 2 or 4 bytes to ports CF8h..CFFh. Whatever does not exist reads all-ones.
 * A byte access to CF9h is not PCI's: see reset.h. */
uint32_t pci_host_read(const struct pci_host *host, uint16_t port, unsigned int size);
void pci_host_write(struct pci_host *host, uint16_t port, unsigned int size, uint32_t value);

#endif
