/* The fixed ACPI description table (ACPI 6.5, 5.2.9) and the HPET's (IA-PC HPET specification 1.0a,
 * 3.2.4). */

#include "arch/x86/acpi/acpi_internal.h"
#include "lib/log.h"
#include "lib/string.h"

enum fadt_offset {
    FADT_FACS = 36,
    FADT_DSDT = 40,
    FADT_SCI_INT = 46,
    FADT_SMI_CMD = 48,
    FADT_ACPI_ENABLE = 52,
    FADT_PM1A_EVENT = 56,
    FADT_PM1B_EVENT = 60,
    FADT_PM1A_CONTROL = 64,
    FADT_PM1B_CONTROL = 68,
    FADT_PM_TIMER = 76,
    FADT_PM1_EVENT_LEN = 88,
    FADT_PM1_CONTROL_LEN = 89,
    FADT_PM_TIMER_LEN = 91,
    FADT_CENTURY = 108,
    FADT_IAPC_BOOT_ARCH = 109,
    FADT_FLAGS = 112,
    FADT_V1_SIZE = 116,
    FADT_RESET_REG = 116,
    FADT_RESET_VALUE = 128,
    FADT_X_FACS = 132,
    FADT_X_DSDT = 140,
    FADT_X_PM1A_EVENT = 148,
    FADT_X_PM1B_EVENT = 160,
    FADT_X_PM1A_CONTROL = 172,
    FADT_X_PM1B_CONTROL = 184,
    FADT_X_PM_TIMER = 208,
    FADT_SLEEP_CONTROL = 244,
    FADT_SLEEP_STATUS = 256,
    FADT_SIZE = 276,
};

#define FADT_FLAG_TMR_VAL_EXT   BIT(8)
#define FADT_FLAG_RESET_REG_SUP BIT(10)
#define FADT_FLAG_HW_REDUCED    BIT(20)
#define PM_TIMER_LENGTH         4
#define RESET_REGISTER_LENGTH   1

/* Generic address structure (ACPI 6.5, 5.2.3.2). */
#define GAS_SPACE     0
#define GAS_BIT_WIDTH 1
#define GAS_ADDRESS   4
#define IO_PORT_MAX   0xffffu

/* Takes a GAS. Returns false and leaves `out` alone when it names no register; an address space
 * over `max_space`, or a port over 65535, is reported and counts as none. */
static bool INIT take_gas(struct acpi_register *out, const uint8_t *gas, uint8_t length,
                          uint8_t max_space, const char *name)
{
    struct acpi_register reg = {
        .space = gas[GAS_SPACE],
        .length = length ? length : (uint8_t)(gas[GAS_BIT_WIDTH] / 8),
        .address = acpi_get64(gas + GAS_ADDRESS),
    };

    if (reg.address == 0)
        return false;
    if (reg.space > max_space || reg.address + reg.length < reg.address ||
        (reg.space == ACPI_SPACE_IO && reg.address > IO_PORT_MAX)) {
        log_warn("ACPI: FADT: %s in address space %u at 0x%llx cannot be used; ignored", name,
                 reg.space, LLU(reg.address));
        return false;
    }
    *out = reg;
    return true;
}

/* A block that revision 1 gives as a port and later ones as a GAS, too, which then counts. */
static void INIT take_block(struct acpi_register *out, const uint8_t *fadt, unsigned int old,
                            unsigned int gas, uint8_t length, const char *name)
{
    uint32_t port = acpi_get32(fadt + old);

    if (take_gas(out, fadt + gas, length, ACPI_SPACE_IO, name))
        return;
    if (port > IO_PORT_MAX) {
        log_warn("ACPI: FADT: %s has port 0x%x, expected at most 0x%x; ignored", name, port,
                 IO_PORT_MAX);
        return;
    }
    *out = (struct acpi_register){.space = ACPI_SPACE_IO, .length = length, .address = port};
}

static void INIT take_registers(struct acpi_info *info, const uint8_t *fadt, uint32_t flags)
{
    uint8_t event_len = fadt[FADT_PM1_EVENT_LEN];
    uint8_t control_len = fadt[FADT_PM1_CONTROL_LEN];

    info->hw_reduced = (flags & FADT_FLAG_HW_REDUCED) != 0;
    if (info->hw_reduced) {
        /* Such machines have none of the PM1 blocks; the fields are to be ignored (5.2.9). */
        take_gas(&info->sleep_control, fadt + FADT_SLEEP_CONTROL, 1, ACPI_SPACE_IO,
                 "sleep control register");
        take_gas(&info->sleep_status, fadt + FADT_SLEEP_STATUS, 1, ACPI_SPACE_IO,
                 "sleep status register");
    } else {
        take_block(&info->pm1a_event, fadt, FADT_PM1A_EVENT, FADT_X_PM1A_EVENT, event_len,
                   "PM1a event block");
        take_block(&info->pm1b_event, fadt, FADT_PM1B_EVENT, FADT_X_PM1B_EVENT, event_len,
                   "PM1b event block");
        take_block(&info->pm1a_control, fadt, FADT_PM1A_CONTROL, FADT_X_PM1A_CONTROL, control_len,
                   "PM1a control block");
        take_block(&info->pm1b_control, fadt, FADT_PM1B_CONTROL, FADT_X_PM1B_CONTROL, control_len,
                   "PM1b control block");
        /* PM_TMR_LEN 0 means that there is no PM timer, whatever the address says. */
        if (fadt[FADT_PM_TIMER_LEN] == PM_TIMER_LENGTH)
            take_block(&info->pm_timer, fadt, FADT_PM_TIMER, FADT_X_PM_TIMER, PM_TIMER_LENGTH,
                       "PM timer");
    }
    info->pm_timer_32bit = (flags & FADT_FLAG_TMR_VAL_EXT) != 0;
    if ((flags & FADT_FLAG_RESET_REG_SUP) != 0)
        take_gas(&info->reset, fadt + FADT_RESET_REG, RESET_REGISTER_LENGTH, ACPI_SPACE_PCI,
                 "reset register");
    info->reset_value = fadt[FADT_RESET_VALUE];
}

/* Where versions 6, 5, 3, 2 and 1 of the table end: never within a field. */
static const uint16_t fadt_sizes[] = {FADT_SIZE, 268, 244, 129, FADT_V1_SIZE};

void INIT acpi_parse_fadt(struct acpi_info *info, const struct acpi_memory *mem,
                          const struct acpi_table *table)
{
    uint8_t fadt[FADT_SIZE] = {0};
    size_t size = 0;

    if (table->length < FADT_V1_SIZE) {
        log_warn("ACPI: FADT has length %u, expected at least %d; ignored", table->length,
                 FADT_V1_SIZE);
        return;
    }
    /* Fields that a shorter, older table has not stay 0, which means "none" for all of them; so do
     * those that one of no version's length ends in the middle of. */
    for (unsigned int i = 0; i < ARRAY_SIZE(fadt_sizes) && size == 0; i++)
        size = table->length >= fadt_sizes[i] ? fadt_sizes[i] : 0;
    if (acpi_read(mem, table->address, fadt, size) != 0)
        return;

    uint64_t dsdt = acpi_get64(fadt + FADT_X_DSDT);
    uint64_t facs = acpi_get64(fadt + FADT_X_FACS);

    info->has_fadt = true;
    info->fadt_revision = fadt[ACPI_HEADER_REVISION];
    info->sci_int = acpi_get16(fadt + FADT_SCI_INT);
    info->smi_cmd = acpi_get32(fadt + FADT_SMI_CMD);
    info->acpi_enable = fadt[FADT_ACPI_ENABLE];
    info->century = fadt[FADT_CENTURY];
    info->iapc_boot_arch = acpi_get16(fadt + FADT_IAPC_BOOT_ARCH);
    /* In revision 1 these two bytes are reserved, and legacy devices are a matter of course. */
    if (info->fadt_revision <= 1)
        info->iapc_boot_arch = ACPI_BOOT_LEGACY_DEVICES | ACPI_BOOT_8042;
    info->dsdt_address = dsdt ? dsdt : acpi_get32(fadt + FADT_DSDT);
    if (acpi_get32(fadt + FADT_DSDT) != info->dsdt_address)
        info->dsdt_address_old = acpi_get32(fadt + FADT_DSDT);
    info->facs_address = facs ? facs : acpi_get32(fadt + FADT_FACS);
    take_registers(info, fadt, acpi_get32(fadt + FADT_FLAGS));
}

enum hpet_offset {
    HPET_BLOCK_ID = 36,
    HPET_ADDRESS = 40,
    HPET_MIN_TICK = 53,
    HPET_SIZE = 56,
};

void INIT acpi_parse_hpet(struct acpi_info *info, const struct acpi_memory *mem,
                          const struct acpi_table *table)
{
    uint8_t hpet[HPET_SIZE];
    struct acpi_register reg = {0};

    if (table->length < HPET_SIZE) {
        log_warn("ACPI: HPET table has length %u, expected at least %d; ignored", table->length,
                 HPET_SIZE);
        return;
    }
    if (acpi_read(mem, table->address, hpet, sizeof(hpet)) != 0)
        return;
    reg.space = hpet[HPET_ADDRESS + GAS_SPACE];
    reg.address = acpi_get64(hpet + HPET_ADDRESS + GAS_ADDRESS);
    if (reg.space != ACPI_SPACE_MEMORY || reg.address == 0 || !IS_ALIGNED(reg.address, KIB)) {
        log_warn("ACPI: HPET in address space %u at 0x%llx, expected memory, 1 KiB aligned; "
                 "ignored",
                 reg.space, LLU(reg.address));
        return;
    }
    info->has_hpet = true;
    info->hpet_address = reg.address;
    info->hpet_block_id = acpi_get32(hpet + HPET_BLOCK_ID);
    info->hpet_min_tick = acpi_get16(hpet + HPET_MIN_TICK);
}
