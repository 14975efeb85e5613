#include "vmm/devices/pci_host.h"

#include "lib/error.h"

/* CONFIG_ADDRESS (PCI 3.0, figure 3-2). */
#define ADDRESS_ENABLE     BIT(31)
#define ADDRESS_BUS_SHIFT  16
#define ADDRESS_SLOT_SHIFT 11
#define ADDRESS_FUNC_SHIFT 8
#define ADDRESS_REGISTER   0xFCu
#define ADDRESS_WRITABLE   0x80FFFFFCu

/* The bridge is what QEMU calls its generic PCI Express host bridge (Red Hat's vendor number,
 * device 8). No Linux driver binds to it and no quirk knows it. A real chip set's number, such as
 * the 440FX's, would make Linux and others poke at registers that do not exist here. */
#define BRIDGE_VENDOR 0x1B36
#define BRIDGE_DEVICE 0x0008

#define CONFIG_CLASS       0x08
#define BRIDGE_CLASS       0x060000u /* host bridge */
#define CONFIG_CLASS_SHIFT 8         /* the revision is below the class */
#define BRIDGE_SLOT        0

static uint32_t all_ones(unsigned int size)
{
    return size >= 4 ? UINT32_MAX : (1u << size * 8) - 1;
}

/* The bridge has nothing but its identity: no BAR, command bit or capability. */
static uint32_t bridge_dword(unsigned int offset)
{
    switch (offset) {
    case 0: return (uint32_t)BRIDGE_DEVICE << 16 | BRIDGE_VENDOR;
    case CONFIG_CLASS: return BRIDGE_CLASS << CONFIG_CLASS_SHIFT;
    default: return 0;
    }
}

static uint32_t bridge_read(struct pci_device *dev, unsigned int offset, unsigned int size)
{
    return bridge_dword(offset & ~3u) >> (offset & 3) * 8 & all_ones(size);
}

static void bridge_write(struct pci_device *dev, unsigned int offset, unsigned int size,
                         uint32_t value)
{
}

static const struct pci_device_ops bridge_ops = {
    .config_read = bridge_read,
    .config_write = bridge_write,
};

void pci_host_init(struct pci_host *host)
{
    *host = (struct pci_host){.bridge.ops = &bridge_ops};
    host->slots[BRIDGE_SLOT] = &host->bridge;
}

void pci_host_reset(struct pci_host *host)
{
    host->address = 0;
}

int pci_host_plug(struct pci_host *host, unsigned int slot, struct pci_device *dev)
{
    if (slot >= PCI_HOST_SLOTS)
        return -BH_ERANGE;
    if (host->slots[slot] != NULL)
        return -BH_EBUSY;
    host->slots[slot] = dev;
    return 0;
}

/* The device that CF8h points at; NULL when there is none. */
static struct pci_device *selected(const struct pci_host *host)
{
    uint32_t address = host->address;

    if (!(address & ADDRESS_ENABLE) || (address >> ADDRESS_BUS_SHIFT & 0xFF) != 0 ||
        (address >> ADDRESS_FUNC_SHIFT & 7) != 0)
        return NULL;
    return host->slots[address >> ADDRESS_SLOT_SHIFT & (PCI_HOST_SLOTS - 1)];
}

static bool is_data(uint16_t port, unsigned int size)
{
    return (size == 1 || size == 2 || size == 4) && port >= PCI_HOST_DATA &&
           port + size <= PCI_HOST_DATA + 4u;
}

/* Only a dword access reaches the address register; others at CF8h..CFBh belong to other devices
 * (3.2.2.3.2). */
static bool is_address(uint16_t port, unsigned int size)
{
    return port == PCI_HOST_ADDRESS && size == 4;
}

uint32_t pci_host_read(struct pci_host *host, uint16_t port, unsigned int size)
{
    struct pci_device *dev = selected(host);

    if (is_address(port, size))
        return host->address;
    if (!is_data(port, size) || dev == NULL)
        return all_ones(size);
    return dev->ops->config_read(dev, (host->address & ADDRESS_REGISTER) + (port & 3), size) &
           all_ones(size);
}

void pci_host_write(struct pci_host *host, uint16_t port, unsigned int size, uint32_t value)
{
    struct pci_device *dev = selected(host);

    if (is_address(port, size))
        host->address = value & ADDRESS_WRITABLE;
    else if (is_data(port, size) && dev != NULL)
        dev->ops->config_write(dev, (host->address & ADDRESS_REGISTER) + (port & 3), size,
                               value & all_ones(size));
}
