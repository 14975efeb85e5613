#include "boot/boot_serial.h"

#include "arch/x86/acpi/spcr.h"
#include "arch/x86/ioapic.h"
#include "arch/x86/lapic.h"
#include "arch/x86/mm/address_space.h"
#include "boot/boot_info.h"
#include "boot/serial_ports.h"
#include "drivers/pci_serial.h"
#include "drivers/uart.h"
#include "lib/error.h"
#include "lib/string.h"
#include "vmm/console.h"
#include "vmm/console_screen.h"

#define MAPPED_MAX     8
#define UART_REGISTERS 8u

/* Wired so since the PC/AT. */
static const uint8_t com_irqs[COM_PORTS] = {4, 3, 4, 3};

static struct config_serial wanted[CONFIG_SERIAL_MAX] INIT_DATA;
static unsigned int wanted_count INIT_DATA;
static bool own_tables INIT_DATA;

/* Pages that device_map() has been asked for. */
static struct {
    uint64_t pa, size;
    volatile char *va;
} mapped[MAPPED_MAX] INIT_DATA;
static unsigned int mapped_count INIT_DATA;

/* Does anything but a device stand there: memory, a module, or what the core uses itself. */
INIT static bool is_taken(uint64_t pa, uint64_t size)
{
    if (memory_map_has(&boot_info.map, pa, size, ~BIT(MEM_RESERVED)))
        return true;
    for (unsigned int i = 0; i < boot_info.module_count; i++) {
        const struct boot_module *m = &boot_info.modules[i];
        if (pa < m->base + m->size && m->base < pa + size)
            return true;
    }
    return pa < FIRST_MIB || (own_tables && address_space_maps_pa(pa, size));
}

/* NULL when it cannot be. */
INIT static volatile void *map_registers(uint64_t pa, uint64_t size)
{
    uint64_t page = ALIGN_DOWN(pa, PAGE_SIZE_4K);
    uint64_t bytes = ALIGN_UP(pa + size, PAGE_SIZE_4K) - page;

    for (unsigned int i = 0; i < mapped_count; i++)
        if (mapped[i].pa <= page && page + bytes <= mapped[i].pa + mapped[i].size)
            return mapped[i].va + (pa - mapped[i].pa);
    if (is_taken(pa, size)) {
        log_error("console: 0x%llx is not a device's address", LLU(pa));
        return NULL;
    }
    if (!own_tables)
        return pa + size <= BOOT_MAP_LIMIT ? (volatile void *)pa : NULL;
    volatile char *va = mapped_count < MAPPED_MAX ? device_map(page, bytes) : NULL;

    if (!va)
        return NULL;
    mapped[mapped_count].pa = page;
    mapped[mapped_count].size = bytes;
    mapped[mapped_count++].va = va;
    return va + (pa - page);
}

INIT static bool put_registers(struct uart_place *place, bool is_io, uint64_t address,
                               uint8_t stride)
{
    if (is_io) {
        place->port = (uint16_t)address;
        return true;
    }
    place->stride = stride;
    place->registers = map_registers(address, UART_REGISTERS * stride);
    return place->registers != NULL;
}

INIT static void put_io_port(struct uart_place *place, uint16_t port, uint32_t baud)
{
    *place = (struct uart_place){.port = port, .baud = baud};
    for (unsigned int i = 0; i < COM_PORTS; i++)
        if (com_ports[i] == port)
            place->irq = com_irqs[i];
}

/* Only the device that the table means: another one may have no addresses yet. */
INIT static void enable_named(const struct acpi_serial *named)
{
    uint16_t function =
        PCI_FUNCTION(named->pci_bus, named->pci_slot & 0x1f, named->pci_function & 7);

    if (pci_machine.read(function, 0) == (named->pci_vendor | (uint32_t)named->pci_device << 16))
        pci_enable_decoding(&pci_machine, function);
}

/* One that the firmware names. Its rate is set when the clock is known: a PC's I/O ports all have
 * the same. A DBG2 tells no rate. */
INIT static bool put_named(const struct acpi_serial *named, struct uart_place *place)
{
    bool is_io = named->space == ACPI_SPACE_IO;

    *place = (struct uart_place){.clock = named->clock};
    if (is_io && !named->is_pci)
        put_io_port(place, (uint16_t)named->address, 0);
    place->clock = named->clock;
    if (is_io || named->clock != 0)
        place->baud = named->is_console ? named->baud : CONFIG_BAUD_MAX;
    if (named->has_irq && !named->is_pci && named->irq < ACPI_ISA_IRQS)
        place->irq = named->irq;
    if (named->is_pci && named->pci_segment == 0)
        enable_named(named);
    return put_registers(place, is_io, named->address, named->stride) && uart_answers(place);
}

/* Port `number`, from 1. */
INIT static bool put_card(const struct pci_serial *card, unsigned int number,
                          struct uart_place *place)
{
    *place = (struct uart_place){.baud = CONFIG_BAUD_MAX};
    if (number > card->ports)
        return false;
    pci_enable_decoding(&pci_machine, card->function);
    return put_registers(place, card->is_io, card->address + UART_REGISTERS * (number - 1), 1) &&
           uart_answers(place);
}

/* The firmware's console, its debug port, COM1, a card: the first of these that answers. */
INIT static bool find_any(const struct acpi_info *acpi, const struct acpi_memory *memory,
                          struct uart_place *place)
{
    struct acpi_serial named[SERIAL_NAMED_MAX];
    struct pci_serial cards[SERIAL_CARDS_MAX];
    unsigned int count = acpi_find_serial(acpi, memory, named, SERIAL_NAMED_MAX);

    for (unsigned int i = 0; i < count; i++) {
        const char *table = named[i].is_console ? "SPCR" : "DBG2";
        if (put_named(&named[i], place)) {
            log_info("console: the serial port at 0x%llx, which the %s table names",
                     LLU(named[i].address), table);
            return true;
        }
        log_warn("console: the serial port at 0x%llx, which the %s table names, does not answer",
                 LLU(named[i].address), table);
    }
    put_io_port(place, COM1, CONFIG_BAUD_MAX);
    if (uart_answers(place))
        return true;
    count = pci_serial_scan(&pci_machine, cards, SERIAL_CARDS_MAX);
    for (unsigned int i = 0; i < count; i++) {
        if (put_card(&cards[i], 1, place)) {
            log_info("console: the serial card pci:%02x:%02x.%x", PCI_BUS(cards[i].function),
                     PCI_SLOT(cards[i].function), PCI_FUNC(cards[i].function));
            return true;
        }
    }
    return false;
}

/* Why a card's port is not there. */
INIT static const char *find_card(const struct config_serial *w, struct uart_place *place)
{
    struct pci_serial card;

    if (pci_serial_at(&pci_machine, (uint16_t)w->address, &card) != 0)
        return "found no serial card there";
    if (!card.is_16550)
        return "found a serial card that is not like a 16550";
    if (card.ports == 0)
        return "found a serial card to which firmware has given no address";
    if (w->part > card.ports)
        return "found a serial card with fewer ports";
    return put_card(&card, w->part, place) ? NULL : "found no 16550 UART there";
}

/* Finds one port of the list. Returns NULL, or why there is none. */
INIT static const char *find_one(const struct config_serial *w, const struct acpi_info *acpi,
                                 const struct acpi_memory *memory, struct uart_place *place)
{
    const char *why = NULL;

    *place = (struct uart_place){.baud = 0};
    switch (w->kind) {
    case CONFIG_SERIAL_IO:
        put_io_port(place, (uint16_t)w->address, w->baud);
        if (!uart_answers(place))
            why = "found no 16550 UART at that port";
        break;
    case CONFIG_SERIAL_MEMORY:
        if (!put_registers(place, false, w->address, w->part) || !uart_answers(place))
            why = "found no 16550 UART there";
        break;
    case CONFIG_SERIAL_PCI: why = find_card(w, place); break;
    case CONFIG_SERIAL_AUTO:
        if (!find_any(acpi, memory, place))
            why = "no serial port answers";
        break;
    }
    if (w->baud != 0)
        place->baud = w->baud;
    return why;
}

/* `serial` may be a port that the list has by name, too. */
INIT static bool is_listed(const struct uart_place *places, unsigned int count,
                           const struct uart_place *place)
{
    for (unsigned int i = 0; i < count; i++)
        if (places[i].port == place->port && places[i].registers == place->registers)
            return true;
    return false;
}

INIT static void use_com1(void)
{
    struct uart_place com1;
    int result;

    put_io_port(&com1, COM1, CONFIG_BAUD_MAX);
    (void)uart_use(&com1, 1, &result);
}

INIT void boot_serial_first(void)
{
    wanted[0] = (struct config_serial){.kind = CONFIG_SERIAL_AUTO};
    wanted_count = 1;
    use_com1();
}

INIT void boot_serial_choose(const struct config *config)
{
    struct uart_place places[CONFIG_SERIAL_MAX];
    int results[CONFIG_SERIAL_MAX];
    unsigned int count = 0;

    memcpy(wanted, config->serial, sizeof(wanted));
    wanted_count = config->serial_count;
    if (wanted_count == 0) {
        if (config->screen != CONFIG_SCREEN_YES || console_has_screen)
            (void)uart_use(NULL, 0, NULL);
        return;
    }
    for (unsigned int i = 0; i < wanted_count; i++)
        if (wanted[i].kind == CONFIG_SERIAL_IO && !find_one(&wanted[i], NULL, NULL, &places[count]))
            count++;
    if (count > 0 && uart_use(places, count, results) == 0)
        use_com1();
}

/* All of the list, in its order. */
INIT static void use_wanted(const struct acpi_info *acpi, const struct acpi_memory *memory)
{
    struct uart_place places[CONFIG_SERIAL_MAX];
    const char *why[CONFIG_SERIAL_MAX];
    int results[CONFIG_SERIAL_MAX];
    unsigned int count = 0;
    char word[SERIAL_WORD_MAX];

    for (unsigned int i = 0; i < wanted_count; i++) {
        why[i] = find_one(&wanted[i], acpi, memory, &places[count]);
        if (!why[i] && !is_listed(places, count, &places[count]))
            count++;
    }
    if (count == 0) /* it may be in use: it goes on, and says nothing twice */
        put_io_port(&places[0], COM1, CONFIG_BAUD_MAX);
    (void)console_acquire(0); /* the watchdog may interrupt, and write */
    bool works = uart_use(places, MAX(count, 1u), results) > 0 && count > 0;

    if (uart_used() == 0)
        use_com1();
    console_release();
    for (unsigned int i = 0; i < wanted_count; i++) {
        serial_port_name(&wanted[i], word);
        if (why[i] && wanted[i].kind == CONFIG_SERIAL_AUTO)
            log_info("console: %s", why[i]);
        else if (why[i])
            log_error("console: %s: %s", word, why[i]);
    }
    for (unsigned int i = 0; i < count; i++)
        if (results[i] != 0)
            log_error("console: a port's clock does not give %u baud", places[i].baud);
    if (!works && uart_used() > 0)
        log_error("console: no port of the list works: using COM1");
}

INIT void boot_serial_find(const struct acpi_info *acpi, const struct acpi_memory *memory)
{
    own_tables = true;
    if (wanted_count > 0)
        use_wanted(acpi, memory);
}

INIT void boot_serial_refuse(const struct acpi_info *acpi, const struct acpi_memory *memory)
{
    if (own_tables)
        return;
    if (uart_used() == 0 || (wanted_count == 1 && wanted[0].kind == CONFIG_SERIAL_AUTO)) {
        wanted[0] = (struct config_serial){.kind = CONFIG_SERIAL_AUTO};
        wanted_count = 1;
        use_wanted(acpi, memory);
    }
}

/* An edge of an ISA interrupt that two ports share would be lost while the other one holds it. */
INIT bool boot_serial_route(const struct acpi_info *acpi, uint32_t apic_id)
{
    unsigned int taken = 0;
    bool all = true;

    for (unsigned int i = 0; i < uart_used(); i++) {
        unsigned int irq = uart_place_of(i)->irq;
        if (irq == 0 || (taken & BIT(irq)) ||
            ioapic_hw_route_isa(acpi, irq, VECTOR_UART, apic_id) != 0) {
            all = false;
        } else {
            taken |= BIT(irq);
            uart_enable_interrupts(i);
        }
    }
    return all;
}
