#include "drivers/pci_serial.h"

#include "lib/error.h"
#include "lib/string.h"

/* PCI Local Bus 3.0, 6.1 and 6.2. Registers are read and written whole: ones in the status beside
 * the command would clear it. */
#define REG_ID           0x00
#define REG_COMMAND      0x04
#define REG_CLASS        0x08
#define REG_HEADER       0x0c
#define REG_BAR          0x10
#define REG_BUSES        0x18 /* of a bridge */
#define ID_NONE          0xffffu
#define COMMAND_IO       BIT(0)
#define COMMAND_MEMORY   BIT(1)
#define COMMAND_MASK     0xffffu
#define HEADER_TYPE(r)   ((r) >> 16 & 0x7fu)
#define HEADER_DEVICE    0u
#define HEADER_BRIDGE    1u
#define HEADER_SEVERAL   BIT(23)
#define SECONDARY_BUS(r) ((r) >> 8 & 0xffu)
#define BAR_IO           BIT(0)
#define BAR_IO_FLAGS     3u
#define BAR_MEMORY_FLAGS 0xfu
#define BAR_MEMORY_TYPE  6u
#define BAR_MEMORY_64    4u
#define BARS             6u
#define IO_END           0x10000u

/* PCI Code and ID Assignment 1.11, 1.8: class, subclass and programming interface. */
#define CLASS_OF(r)         ((r) >> 24)
#define SUBCLASS_OF(r)      ((r) >> 16 & 0xffu)
#define INTERFACE_OF(r)     ((r) >> 8 & 0xffu)
#define CLASS_COMMUNICATION 0x07u
#define SUBCLASS_SERIAL     0x00u
#define SUBCLASS_MULTIPORT  0x02u
#define INTERFACE_LAST      0x06u /* 16950; all are a 16550, but the first two without FIFO */

#define UART_BYTES 8u
#define BUSES      256u
#define SLOTS      32u
#define FUNCTIONS  8u

static bool INIT is_there(const struct pci_config *pci, uint16_t function)
{
    uint32_t vendor = pci->read(function, REG_ID) & ID_NONE;

    return vendor != ID_NONE && vendor != 0;
}

/* How many bytes an I/O register decodes: the lowest address bit that it keeps (6.2.5.1). Nothing
 * answers at what is written meanwhile. */
static uint32_t INIT io_size(const struct pci_config *pci, uint16_t function, unsigned int reg,
                             uint32_t bar)
{
    uint32_t command = pci->read(function, REG_COMMAND) & COMMAND_MASK;

    pci->write(function, REG_COMMAND, command & ~(COMMAND_IO | COMMAND_MEMORY));
    pci->write(function, reg, ~0u);
    uint32_t kept = pci->read(function, reg) & ~BAR_IO_FLAGS;
    pci->write(function, reg, bar);
    pci->write(function, REG_COMMAND, command);
    return kept & -kept;
}

static void INIT take_io(const struct pci_config *pci, unsigned int reg, uint32_t bar,
                         struct pci_serial *out)
{
    uint32_t address = bar & ~BAR_IO_FLAGS, size = io_size(pci, out->function, reg, bar);

    if (address == 0 || size < UART_BYTES || address > IO_END - UART_BYTES)
        return;
    size = MIN(size, IO_END - address);
    out->is_io = true;
    out->address = address;
    out->ports = MIN(size / UART_BYTES, (uint32_t)PCI_SERIAL_PORTS_MAX);
}

/* The first one that is there. */
static void INIT take_bar(const struct pci_config *pci, struct pci_serial *out)
{
    for (unsigned int i = 0; i < BARS; i++) {
        unsigned int reg = REG_BAR + 4 * i;
        uint32_t bar = pci->read(out->function, reg);
        if (bar == 0 || bar == ~0u)
            continue;
        if (bar & BAR_IO) {
            take_io(pci, reg, bar, out);
            return;
        }
        uint64_t address = bar & ~BAR_MEMORY_FLAGS;
        if ((bar & BAR_MEMORY_TYPE) == BAR_MEMORY_64 && i + 1 < BARS)
            address |= (uint64_t)pci->read(out->function, reg + 4) << 32;
        out->address = address;
        out->ports = address != 0 && address < BIT64(52);
        return;
    }
}

int INIT pci_serial_at(const struct pci_config *pci, uint16_t function, struct pci_serial *out)
{
    if (!is_there(pci, function) || HEADER_TYPE(pci->read(function, REG_HEADER)) != HEADER_DEVICE)
        return -BH_ENOENT;
    uint32_t id = pci->read(function, REG_ID), class = pci->read(function, REG_CLASS);

    if (CLASS_OF(class) != CLASS_COMMUNICATION ||
        (SUBCLASS_OF(class) != SUBCLASS_SERIAL && SUBCLASS_OF(class) != SUBCLASS_MULTIPORT))
        return -BH_ENOENT;
    *out = (struct pci_serial){
        .function = function, .vendor = (uint16_t)id, .device = (uint16_t)(id >> 16)};
    out->is_16550 = SUBCLASS_OF(class) == SUBCLASS_SERIAL && INTERFACE_OF(class) <= INTERFACE_LAST;
    if (out->is_16550)
        take_bar(pci, out);
    return 0;
}

/* What one scan knows: which buses it has found, each to be looked at once. */
struct scan {
    const struct pci_config *pci;
    uint64_t found[BUSES / 64];
    struct pci_serial *out;
    unsigned int count, max;
};

static void INIT scan_function(struct scan *scan, uint16_t function)
{
    if (HEADER_TYPE(scan->pci->read(function, REG_HEADER)) == HEADER_BRIDGE) {
        unsigned int bus = SECONDARY_BUS(scan->pci->read(function, REG_BUSES));
        /* Firmware numbers buses upwards; one without a number is 0. */
        if (bus > PCI_BUS(function))
            scan->found[bus / 64] |= BIT64(bus % 64);
    } else if (scan->count < scan->max &&
               pci_serial_at(scan->pci, function, &scan->out[scan->count]) == 0) {
        scan->count++;
    }
}

static void INIT scan_slot(struct scan *scan, unsigned int bus, unsigned int slot)
{
    uint16_t first = PCI_FUNCTION(bus, slot, 0);

    if (!is_there(scan->pci, first))
        return;
    bool several = scan->pci->read(first, REG_HEADER) & HEADER_SEVERAL;

    for (unsigned int i = 0; i < (several ? FUNCTIONS : 1); i++)
        if (is_there(scan->pci, (uint16_t)(first + i)))
            scan_function(scan, (uint16_t)(first + i));
}

unsigned int INIT pci_serial_scan(const struct pci_config *pci, struct pci_serial *out,
                                  unsigned int max)
{
    struct scan scan = {.pci = pci, .found = {1}, .out = out, .max = max};

    for (unsigned int bus = 0; bus < BUSES; bus++) {
        if (!(scan.found[bus / 64] & BIT64(bus % 64)))
            continue;
        for (unsigned int slot = 0; slot < SLOTS; slot++)
            scan_slot(&scan, bus, slot);
    }
    return scan.count;
}

void INIT pci_enable_decoding(const struct pci_config *pci, uint16_t function)
{
    uint32_t command = pci->read(function, REG_COMMAND) & COMMAND_MASK;

    pci->write(function, REG_COMMAND, command | COMMAND_IO | COMMAND_MEMORY);
}
