/* PCI devices that firmware has set to work: UEFI 2.10, 14.4 (PCI I/O protocol). Firmware tells
 * which there are; they are stopped when it has ended, as it sets its drivers' devices back to what
 * they were when it ends (seen with xHCI in EDK II), and still needs them when it cannot. */

#include "boot/uefi/loader.h"

#include <efipciio.h>

#include "drivers/pci.h"

/* PCI Local Bus 3.0, 6.1 and 6.2.2. */
#define PCI_COMMAND            0x04
#define PCI_COMMAND_BUS_MASTER BIT(2)
#define PCI_COMMAND_MASK       0xffffu
#define PCI_BASE_CLASS         0x0b
#define PCI_CLASS_DISPLAY      0x03
#define PCI_CLASS_BRIDGE       0x06

static uint16_t *devices;
static unsigned int device_count;

/* The ports reach the first segment only; other ones are for large servers. */
static void remember(EFI_PCI_IO_PROTOCOL *pci)
{
    UINTN segment, bus, device, function;
    UINT8 base_class;

    if (EFI_ERROR(pci->GetLocation(pci, &segment, &bus, &device, &function)) || segment != 0 ||
        EFI_ERROR(pci->Pci.Read(pci, EfiPciIoWidthUint8, PCI_BASE_CLASS, 1, &base_class)) ||
        base_class == PCI_CLASS_DISPLAY || base_class == PCI_CLASS_BRIDGE)
        return;
    devices[device_count++] = PCI_FUNCTION(bus, device, function);
}

void pci_find_bus_masters(void)
{
    EFI_HANDLE *handles;
    UINTN count;

    if (EFI_ERROR(
            BS->LocateHandleBuffer(ByProtocol, &gEfiPciIoProtocolGuid, NULL, &count, &handles)))
        return;
    devices = pages_allocate(count * sizeof(*devices), LOADER_MAX_BELOW_4G, EfiLoaderData);
    for (UINTN i = 0; i < count && devices != NULL; i++) {
        EFI_PCI_IO_PROTOCOL *pci;

        if (!EFI_ERROR(BS->HandleProtocol(handles[i], &gEfiPciIoProtocolGuid, (void **)&pci)))
            remember(pci);
    }
    FreePool(handles);
}

void pci_stop_bus_masters(void)
{
    for (unsigned int i = 0; i < device_count; i++) {
        uint32_t command = pci_machine.read(devices[i], PCI_COMMAND) & PCI_COMMAND_MASK;

        /* Zeros leave the status register beside it as it is. */
        pci_machine.write(devices[i], PCI_COMMAND, command & ~PCI_COMMAND_BUS_MASTER);
    }
}
