/* The machine's I/O APICs (82093AA data sheet, 3.0). */

#include "arch/x86/ioapic.h"

#include "arch/x86/acpi/acpi.h"
#include "arch/x86/asm.h"
#include "arch/x86/mm/address_space.h"
#include "lib/error.h"
#include "lib/log.h"

#define IOREGSEL 0x00
#define IOWIN    0x10

#define REG_VERSION  1
#define REG_REDIR(n) (0x10 + 2 * (n))

#define REDIR_MASKED     BIT(16)
#define REDIR_LEVEL      BIT(15)
#define REDIR_ACTIVE_LOW BIT(13)

#define PIC1_DATA 0x21
#define PIC2_DATA 0xa1

struct ioapic_hw {
    volatile char *mmio;
    uint32_t gsi_base;
    unsigned int inputs;
};

static struct ioapic_hw ioapics[ACPI_MAX_IOAPICS];
static unsigned int ioapic_count;

static uint32_t reg_read(const struct ioapic_hw *io, unsigned int reg)
{
    *(volatile uint32_t *)(io->mmio + IOREGSEL) = reg;
    return *(volatile uint32_t *)(io->mmio + IOWIN);
}

static void reg_write(const struct ioapic_hw *io, unsigned int reg, uint32_t value)
{
    *(volatile uint32_t *)(io->mmio + IOREGSEL) = reg;
    *(volatile uint32_t *)(io->mmio + IOWIN) = value;
}

INIT int ioapic_hw_init(const struct acpi_info *acpi)
{
    outb(PIC1_DATA, 0xff);
    outb(PIC2_DATA, 0xff);
    for (unsigned int i = 0; i < acpi->ioapic_count; i++) {
        struct ioapic_hw *io = &ioapics[ioapic_count];
        io->mmio = device_map(acpi->ioapics[i].address, PAGE_SIZE_4K);
        if (!io->mmio)
            continue;
        io->gsi_base = acpi->ioapics[i].gsi_base;
        io->inputs = (reg_read(io, REG_VERSION) >> 16 & 0xff) + 1;
        for (unsigned int n = 0; n < io->inputs; n++)
            reg_write(io, REG_REDIR(n), REDIR_MASKED);
        log_info("ioapic: GSI %u..%u", io->gsi_base, io->gsi_base + io->inputs - 1);
        ioapic_count++;
    }
    return ioapic_count > 0 ? 0 : -BH_ENOENT;
}

INIT int ioapic_hw_route_isa(const struct acpi_info *acpi, unsigned int isa_irq, uint8_t vector,
                             uint32_t apic_id)
{
    uint32_t gsi;
    bool level;
    bool active_low;

    int err = acpi_irq_to_gsi(acpi, isa_irq, &gsi, &level, &active_low);
    if (err)
        return err;
    for (unsigned int i = 0; i < ioapic_count; i++) {
        const struct ioapic_hw *io = &ioapics[i];
        if (gsi < io->gsi_base || gsi - io->gsi_base >= io->inputs)
            continue;
        unsigned int n = gsi - io->gsi_base;
        reg_write(io, REG_REDIR(n) + 1, apic_id << 24);
        reg_write(io, REG_REDIR(n),
                  vector | (level ? REDIR_LEVEL : 0) | (active_low ? REDIR_ACTIVE_LOW : 0));
        return 0;
    }
    return -BH_ENOENT;
}
