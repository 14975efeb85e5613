#include "vmm/devices/pci_host.h"

/* CONFIG_ADDRESS (PCI 3.0, figure 3-2). */
#define ADDRESS_ENABLE   BIT(31)
#define ADDRESS_FUNCTION 0xFFFF00u /* bus, device and function */
#define ADDRESS_REGISTER 0xFCu
#define ADDRESS_WRITABLE 0x80FFFFFCu

/* The bridge is what QEMU calls its generic PCI Express host bridge (Red Hat's vendor number,
 * device 8). No Linux driver binds to it and no quirk knows it. A real chip set's number, such as
 * the 440FX's, would make Linux and others poke at registers that do not exist here. */
#define BRIDGE_VENDOR 0x1B36
#define BRIDGE_DEVICE 0x0008

#define CONFIG_CLASS       0x08
#define BRIDGE_CLASS       0x060000u /* host bridge */
#define CONFIG_CLASS_SHIFT 8         /* the revision is below the class */

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

/* Whether CF8h points at the bridge, 00:00.0. */
static bool is_bridge(uint32_t address)
{
    return (address & (ADDRESS_ENABLE | ADDRESS_FUNCTION)) == ADDRESS_ENABLE;
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

uint32_t pci_host_read(const struct pci_host *host, uint16_t port, unsigned int size)
{
    if (is_address(port, size))
        return host->address;
    if (!is_data(port, size) || !is_bridge(host->address))
        return all_ones(size);
    return bridge_dword(host->address & ADDRESS_REGISTER) >> (port & 3) * 8 & all_ones(size);
}

void pci_host_write(struct pci_host *host, uint16_t port, unsigned int size, uint32_t value)
{
    if (is_address(port, size))
        host->address = value & ADDRESS_WRITABLE;
}
