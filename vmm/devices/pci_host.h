#ifndef BULKHEAD_VMM_DEVICES_PCI_HOST_H
#define BULKHEAD_VMM_DEVICES_PCI_HOST_H

/* PCI configuration mechanism #1 (PCI 3.0, 3.2.2.3.2) with bus 0 only. Device 0 is the host bridge
 * itself; others plug into slots 1..31 as function 0. The caller serializes. */

#include "lib/macros.h"

#define PCI_HOST_SLOTS   32
#define PCI_HOST_ADDRESS 0xCF8
#define PCI_HOST_DATA    0xCFC

struct pci_device;

struct pci_device_ops {
    /* Configuration accesses: `offset` 0..255, `size` 1, 2 or 4, never across a dword. */
    uint32_t (*config_read)(struct pci_device *dev, unsigned int offset, unsigned int size);
    void (*config_write)(struct pci_device *dev, unsigned int offset, unsigned int size,
                         uint32_t value);
};

/* Embedded in a device's own structure (CONTAINER_OF). */
struct pci_device {
    const struct pci_device_ops *ops;
};

struct pci_host {
    uint32_t address; /* CF8h */
    struct pci_device *slots[PCI_HOST_SLOTS];
    struct pci_device bridge; /* 00:00.0 */
};

/* Empty bus: only the host bridge. */
void pci_host_init(struct pci_host *host);

/* Power-up state of the bridge. Devices stay plugged in and are reset by their owners. */
void pci_host_reset(struct pci_host *host);

/* Plugs `dev` into `slot`. -BH_ERANGE: no such slot; -BH_EBUSY: taken. */
MUST_CHECK int pci_host_plug(struct pci_host *host, unsigned int slot, struct pci_device *dev);

/* Accesses of `size` 1, 2 or 4 bytes to ports CF8h..CFFh. Whatever does not exist reads all-ones.
 * A byte access to CF9h is not PCI's: see reset.h. */
uint32_t pci_host_read(struct pci_host *host, uint16_t port, unsigned int size);
void pci_host_write(struct pci_host *host, uint16_t port, unsigned int size, uint32_t value);

#endif
