/* PCI devices that firmware has set to work: UEFI 2.10, 14.4 (PCI I/O protocol). Firmware tells
 * which there are; they are stopped when it has ended, as it sets its drivers' devices back to what
 * they were when it ends (seen with xHCI in EDK II), and still needs them when it cannot. */

#include "boot/uefi/loader.h"

#include <efipciio.h>

/* PCI Local Bus 3.0, 3.2.2.3.2 (access by ports), 6.1 and 6.2.2. */
#define PCI_ADDRESS_PORT       0xcf8
#define PCI_DATA_PORT          0xcfc
#define PCI_ADDRESS_ENABLE     BIT(31)
#define PCI_COMMAND            0x04
#define PCI_COMMAND_BUS_MASTER BIT(2)
#define PCI_BASE_CLASS         0x0b
#define PCI_CLASS_DISPLAY      0x03
#define PCI_CLASS_BRIDGE       0x06

static uint32_t *devices; /* as the address port wants them */
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
    devices[device_count++] =
        (uint32_t)(PCI_ADDRESS_ENABLE | bus << 16 | device << 11 | function << 8 | PCI_COMMAND);
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
        uint16_t command;

        __asm__ volatile("outl %0, %w1" : : "a"(devices[i]), "Nd"(PCI_ADDRESS_PORT));
        __asm__ volatile("inw %w1, %0" : "=a"(command) : "Nd"(PCI_DATA_PORT));
        command &= (uint16_t)~PCI_COMMAND_BUS_MASTER;
        /* The status register beside it is not written: ones would clear its bits. */
        __asm__ volatile("outw %0, %w1" : : "a"(command), "Nd"(PCI_DATA_PORT));
    }
}
