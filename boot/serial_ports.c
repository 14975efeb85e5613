#include "boot/serial_ports.h"

#include "arch/x86/acpi/spcr.h"
#include "drivers/pci_serial.h"
#include "drivers/uart.h"
#include "lib/format.h"
#include "lib/string.h"

const uint16_t com_ports[COM_PORTS] = {COM1, COM2, COM3, COM4};

INIT void serial_port_name(const struct config_serial *w, char word[SERIAL_WORD_MAX])
{
    unsigned int address = (unsigned int)w->address;

    switch (w->kind) {
    case CONFIG_SERIAL_AUTO: (void)format(word, SERIAL_WORD_MAX, "serial"); break;
    case CONFIG_SERIAL_IO: (void)format(word, SERIAL_WORD_MAX, "0x%x", address); break;
    case CONFIG_SERIAL_MEMORY:
        (void)format(word, SERIAL_WORD_MAX, "mmio:0x%llx/%u", LLU(w->address), w->part);
        break;
    case CONFIG_SERIAL_PCI:
        (void)format(word, SERIAL_WORD_MAX,
                     w->part > 1 ? "pci:%02x:%02x.%x/%u" : "pci:%02x:%02x.%x", PCI_BUS(address),
                     PCI_SLOT(address), PCI_FUNC(address), w->part);
        break;
    }
}

INIT static void report_card(const struct pci_serial *card, emit_fn *emit)
{
    struct config_serial port = {.kind = CONFIG_SERIAL_PCI, .address = card->function, .part = 1};
    char word[SERIAL_WORD_MAX];

    serial_port_name(&port, word);
    if (card->ports == 0)
        emit_line(emit, "serial port: PCI card %04x:%04x at %s: %s, not supported", card->vendor,
                  card->device, word + strlen("pci:"),
                  card->is_16550 ? "without an address" : "not like a 16550");
    for (; port.part <= card->ports; port.part++) {
        serial_port_name(&port, word);
        emit_line(emit, "serial port: PCI card %04x:%04x, port %u of %u: console = %s",
                  card->vendor, card->device, port.part, card->ports, word);
    }
}

INIT unsigned int serial_ports_report(const struct acpi_info *acpi,
                                      const struct acpi_memory *memory,
                                      bool (*answers)(uint16_t port), emit_fn *emit)
{
    struct acpi_serial named[SERIAL_NAMED_MAX];
    struct pci_serial cards[SERIAL_CARDS_MAX];
    unsigned int found = 0, count = acpi_find_serial(acpi, memory, named, SERIAL_NAMED_MAX);
    char word[SERIAL_WORD_MAX];

    for (unsigned int i = 0; i < COM_PORTS; i++) {
        if (!answers(com_ports[i]))
            continue;
        emit_line(emit, "serial port: COM%u at port 0x%x: console = com%u", i + 1, com_ports[i],
                  i + 1);
        found++;
    }
    for (unsigned int i = 0; i < count; i++) {
        bool is_io = named[i].space == ACPI_SPACE_IO;
        serial_port_name(
            &(struct config_serial){.kind = is_io ? CONFIG_SERIAL_IO : CONFIG_SERIAL_MEMORY,
                                    .part = named[i].stride,
                                    .address = named[i].address},
            word);
        emit_line(emit, "serial port: the firmware's %s: console = %s",
                  named[i].is_console ? "console (SPCR table)" : "debug port (DBG2 table)", word);
    }
    found += count;
    count = pci_serial_scan(&pci_machine, cards, SERIAL_CARDS_MAX);
    for (unsigned int i = 0; i < count; i++)
        report_card(&cards[i], emit);
    return found + count;
}
