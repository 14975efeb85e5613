/* Serial ports that the firmware names: Microsoft's tables SPCR (serial port console redirection,
 * revision 1.08) and DBG2 (debug port table 2, revision of 2023). */

#include "arch/x86/acpi/spcr.h"
#include "arch/x86/acpi/acpi_internal.h"
#include "lib/log.h"
#include "lib/string.h"

enum spcr_offset {
    SPCR_INTERFACE = 36,
    SPCR_ADDRESS = 40,
    SPCR_IRQ_TYPES = 52,
    SPCR_IRQ = 53,
    SPCR_GSI = 54,
    SPCR_BAUD = 58,
    SPCR_PCI_DEVICE = 64,
    SPCR_PCI_VENDOR = 66,
    SPCR_PCI_BUS = 68,
    SPCR_PCI_SLOT = 69,
    SPCR_PCI_FUNCTION = 70,
    SPCR_PCI_SEGMENT = 75,
    SPCR_CLOCK = 76,
    SPCR_V1_SIZE = 80,
    SPCR_EXACT_BAUD = 80,
    SPCR_SIZE = 84,
};

#define SPCR_CLOCK_REVISION      3 /* in earlier ones the field is reserved */
#define SPCR_EXACT_BAUD_REVISION 4
#define SPCR_IRQ_8259            BIT(0)
#define SPCR_IRQ_IOAPIC          BIT(1)
#define PCI_ID_NONE              0xffff

#define DBG2_DEVICES_MAX 16 /* that are looked at */
enum dbg2_offset { DBG2_FIRST = 36, DBG2_COUNT = 40, DBG2_SIZE = 44 };

/* A device of the DBG2; offsets in it are from its own start. */
enum dbg2_device_offset {
    DEVICE_LENGTH = 1,
    DEVICE_ADDRESS_COUNT = 3,
    DEVICE_PORT_TYPE = 12,
    DEVICE_INTERFACE = 14,
    DEVICE_ADDRESS_OFFSET = 18,
    DEVICE_SIZE = 22,
};

#define DBG2_SERIAL 0x8000 /* port type; others are USB, network... */

#define GAS_SPACE     0
#define GAS_BIT_WIDTH 1
#define GAS_ACCESS    3
#define GAS_ADDRESS   4
#define GAS_SIZE      12

#define UART_REGISTERS 8
#define IO_PORT_END    0x10000u
#define MEMORY_END     BIT64(52)

/* DBG2's port subtypes, which the SPCR uses, too, that are a 16550. */
static bool INIT is_16550(uint16_t interface)
{
    /* All of it; the part that DBGP knows (SPCR revision 1: a 16450); one whose registers' size
     * and distance are in the GAS. */
    static const uint16_t known[] = {0x00, 0x01, 0x12};

    for (unsigned int i = 0; i < ARRAY_SIZE(known); i++)
        if (known[i] == interface)
            return true;
    return false;
}

/* Registers in memory stand as far from each other as they are wide. The access size says it when
 * there is one, the width otherwise. */
static uint8_t INIT register_stride(const uint8_t *gas)
{
    enum { ACCESS_WORD = 2, ACCESS_DWORD = 3, BITS_WORD = 16, BITS_DWORD = 32 };
    uint8_t access = gas[GAS_ACCESS], width = gas[GAS_BIT_WIDTH];

    if (gas[GAS_SPACE] == ACPI_SPACE_IO)
        return 1;
    if (access == ACCESS_DWORD || (access == 0 && width == BITS_DWORD))
        return 4;
    return access == ACCESS_WORD || (access == 0 && width == BITS_WORD) ? 2 : 1;
}

/* Takes over where the registers are. Returns false when there is no port, or none of use. */
static bool INIT take_port(struct acpi_serial *port, const uint8_t *gas, uint16_t interface,
                           const char *table)
{
    uint64_t address = acpi_get64(gas + GAS_ADDRESS);
    uint8_t space = gas[GAS_SPACE], stride = register_stride(gas);
    uint64_t end = space == ACPI_SPACE_IO ? IO_PORT_END : MEMORY_END;

    if (address == 0) /* SPCR: redirection is switched off */
        return false;
    if (!is_16550(interface) || space > ACPI_SPACE_IO || address > end - UART_REGISTERS * stride) {
        log_info("ACPI: %s: serial port of type 0x%x in address space %u at 0x%llx cannot be used",
                 table, interface, space, LLU(address));
        return false;
    }
    *port = (struct acpi_serial){.space = space, .stride = stride, .address = address};
    return true;
}

static uint32_t INIT spcr_baud(uint8_t code)
{
    static const uint32_t rates[] = {[3] = 9600, [4] = 19200, [6] = 57600, [7] = 115200};

    return code < ARRAY_SIZE(rates) ? rates[code] : 0;
}

static void INIT take_pci(struct acpi_serial *port, const uint8_t *spcr)
{
    uint16_t vendor = acpi_get16(spcr + SPCR_PCI_VENDOR);
    uint16_t device = acpi_get16(spcr + SPCR_PCI_DEVICE);

    /* FFFFh means none; so does 0 in tables that leave all of it empty. */
    if (vendor == 0 || vendor == PCI_ID_NONE || device == PCI_ID_NONE)
        return;
    port->is_pci = true;
    port->pci_vendor = vendor;
    port->pci_device = device;
    port->pci_segment = spcr[SPCR_PCI_SEGMENT];
    port->pci_bus = spcr[SPCR_PCI_BUS];
    port->pci_slot = spcr[SPCR_PCI_SLOT];
    port->pci_function = spcr[SPCR_PCI_FUNCTION];
}

static unsigned int INIT parse_spcr(const struct acpi_memory *mem, const struct acpi_table *table,
                                    struct acpi_serial *port)
{
    uint8_t spcr[SPCR_SIZE] = {0};

    if (table->length < SPCR_V1_SIZE) {
        log_warn("ACPI: SPCR has length %u, expected at least %d; ignored", table->length,
                 SPCR_V1_SIZE);
        return 0;
    }
    size_t size = table->length < SPCR_SIZE ? SPCR_V1_SIZE : SPCR_SIZE;

    if (acpi_read(mem, table->address, spcr, size) != 0 ||
        !take_port(port, spcr + SPCR_ADDRESS, spcr[SPCR_INTERFACE], "SPCR"))
        return 0;
    port->is_console = true;
    port->has_irq = (spcr[SPCR_IRQ_TYPES] & SPCR_IRQ_8259) != 0;
    port->irq = spcr[SPCR_IRQ];
    port->has_gsi = (spcr[SPCR_IRQ_TYPES] & SPCR_IRQ_IOAPIC) != 0;
    port->gsi = acpi_get32(spcr + SPCR_GSI);
    port->baud = spcr_baud(spcr[SPCR_BAUD]);
    if (spcr[ACPI_HEADER_REVISION] >= SPCR_CLOCK_REVISION)
        port->clock = acpi_get32(spcr + SPCR_CLOCK);
    if (spcr[ACPI_HEADER_REVISION] >= SPCR_EXACT_BAUD_REVISION &&
        acpi_get32(spcr + SPCR_EXACT_BAUD) != 0)
        port->baud = acpi_get32(spcr + SPCR_EXACT_BAUD);
    take_pci(port, spcr);
    return 1;
}

/* One device, of `length` bytes. A port has one address; more are other things beside it. */
static bool INIT dbg2_device(const struct acpi_memory *mem, uint64_t pa, const uint8_t *device,
                             uint16_t length, struct acpi_serial *port)
{
    uint16_t at = acpi_get16(device + DEVICE_ADDRESS_OFFSET);
    uint8_t gas[GAS_SIZE];

    if (acpi_get16(device + DEVICE_PORT_TYPE) != DBG2_SERIAL || device[DEVICE_ADDRESS_COUNT] == 0)
        return false;
    if (at < DEVICE_SIZE || at + GAS_SIZE > length) {
        log_warn("ACPI: DBG2: a device of %u bytes has its address at offset %u; ignored", length,
                 at);
        return false;
    }
    return acpi_read(mem, pa + at, gas, sizeof(gas)) == 0 &&
           take_port(port, gas, acpi_get16(device + DEVICE_INTERFACE), "DBG2");
}

static bool INIT is_listed(const struct acpi_serial *ports, unsigned int count,
                           const struct acpi_serial *port)
{
    for (unsigned int i = 0; i < count; i++)
        if (ports[i].space == port->space && ports[i].address == port->address)
            return true;
    return false;
}

/* Adds the devices of a DBG2 to the `count` ports that there are. Returns the new number. */
static unsigned int INIT parse_dbg2(const struct acpi_memory *mem, const struct acpi_table *table,
                                    struct acpi_serial *ports, unsigned int count, unsigned int max)
{
    uint8_t head[DBG2_SIZE], device[DEVICE_SIZE];
    struct acpi_serial port;

    if (table->length < DBG2_SIZE || acpi_read(mem, table->address, head, sizeof(head)) != 0) {
        log_warn("ACPI: DBG2 has length %u, expected at least %d; ignored", table->length,
                 DBG2_SIZE);
        return count;
    }
    uint32_t at = acpi_get32(head + DBG2_FIRST);

    uint32_t left = MIN(acpi_get32(head + DBG2_COUNT), (uint32_t)DBG2_DEVICES_MAX);

    for (; left > 0 && count < max; left--) {
        if (at < DBG2_SIZE || at > table->length || table->length - at < DEVICE_SIZE ||
            acpi_read(mem, table->address + at, device, sizeof(device)) != 0)
            break;
        uint16_t length = acpi_get16(device + DEVICE_LENGTH);

        if (length < DEVICE_SIZE || length > table->length - at)
            break;
        if (dbg2_device(mem, table->address + at, device, length, &port) &&
            !is_listed(ports, count, &port))
            ports[count++] = port;
        at += length;
    }
    return count;
}

unsigned int INIT acpi_find_serial(const struct acpi_info *info, const struct acpi_memory *mem,
                                   struct acpi_serial *ports, unsigned int max)
{
    const struct acpi_table *spcr = acpi_find_table(info, "SPCR", 0);
    const struct acpi_table *dbg2 = acpi_find_table(info, "DBG2", 0);
    unsigned int count = 0;

    if (max == 0)
        return 0;
    if (spcr)
        count = parse_spcr(mem, spcr, ports);
    return dbg2 ? parse_dbg2(mem, dbg2, ports, count, max) : count;
}
