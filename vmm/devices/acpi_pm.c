#include "vmm/devices/acpi_pm.h"

/* Section and table numbers: ACPI 6.4. */

/* Where each byte of the block belongs. */
#define OFFSET_STATUS  0x0u
#define OFFSET_ENABLE  0x2u
#define OFFSET_CONTROL 0x4u
#define OFFSET_TIMER   0x8u

/* PM1 status and enable (tables 4.14 and 4.15). */
#define PM1_TIMER        BIT(0)
#define PM1_BUS_MASTER   BIT(4)
#define PM1_GLOBAL       BIT(5)
#define PM1_POWER_BUTTON BIT(8)
#define PM1_SLEEP_BUTTON BIT(9)
#define PM1_RTC          BIT(10)
#define PM1_WAKE         BIT(15)
#define PM1_STATUS_BITS                                                                        \
    (PM1_TIMER | PM1_BUS_MASTER | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_SLEEP_BUTTON | PM1_RTC | \
     PM1_WAKE)
#define PM1_ENABLE_BITS (PM1_TIMER | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_SLEEP_BUTTON | PM1_RTC)

/* PM1 control (table 4.16). */
#define CNT_SCI_EN        BIT(0)
#define CNT_BM_RLD        BIT(1)
#define CNT_SLP_TYP_SHIFT 10
#define CNT_SLP_TYP       (7u << CNT_SLP_TYP_SHIFT)
#define CNT_SLP_EN        BIT(13) /* write-only */

/* The timer's top bit toggles, which is its event (4.8.2.1), every 2^31 ticks. */
#define HALF_SHIFT 31

void acpi_pm_reset(struct acpi_pm *pm, uint64_t now)
{
    *pm = (struct acpi_pm){.control = CNT_SCI_EN, .halves = now >> HALF_SHIFT};
}

void acpi_pm_poll(struct acpi_pm *pm, uint64_t now)
{
    uint64_t halves = now >> HALF_SHIFT;

    if (halves > pm->halves) {
        pm->halves = halves;
        pm->status |= PM1_TIMER;
    }
}

uint64_t acpi_pm_next_event(const struct acpi_pm *pm, uint64_t now)
{
    if (!(pm->enable & PM1_TIMER) || (pm->status & PM1_TIMER))
        return UINT64_MAX;
    return MAX(now, (pm->halves + 1) << HALF_SHIFT);
}

static uint8_t read_byte(const struct acpi_pm *pm, unsigned int offset, uint64_t now)
{
    unsigned int shift = (offset & 1) * 8;

    if (offset >= OFFSET_TIMER)
        return (uint8_t)(now >> (offset - OFFSET_TIMER) * 8);
    switch (offset & ~1u) {
    case OFFSET_STATUS: return (uint8_t)(pm->status >> shift);
    case OFFSET_ENABLE: return (uint8_t)(pm->enable >> shift);
    case OFFSET_CONTROL: return (uint8_t)(pm->control >> shift);
    default: return 0xFF;
    }
}

uint32_t acpi_pm_read(struct acpi_pm *pm, uint16_t port, unsigned int size, uint64_t now)
{
    uint32_t value = 0;

    acpi_pm_poll(pm, now);
    for (unsigned int i = 0; i < MIN(size, 4u); i++) {
        unsigned int offset = (unsigned int)port + i - GUEST_PM_BASE;
        uint8_t byte = offset < GUEST_PM_LEN ? read_byte(pm, offset, now) : 0xFF;

        value |= (uint32_t)byte << i * 8;
    }
    return value;
}

/* Writes SLP_TYP and SLP_EN act on (4.8.3.2.1); only S5 exists. */
static enum pm_action write_control(struct acpi_pm *pm, uint16_t value)
{
    pm->control = (value & (CNT_BM_RLD | CNT_SLP_TYP)) | CNT_SCI_EN;
    if ((value & CNT_SLP_EN) && (value & CNT_SLP_TYP) >> CNT_SLP_TYP_SHIFT == GUEST_PM_S5_SLP_TYP)
        return PM_POWER_OFF;
    return PM_NONE;
}

static enum pm_action write_byte(struct acpi_pm *pm, unsigned int offset, uint8_t byte)
{
    unsigned int shift = (offset & 1) * 8;
    uint16_t value = (uint16_t)(byte << shift), kept = (uint16_t)(0xFF00u >> shift);

    switch (offset & ~1u) {
    case OFFSET_STATUS: /* writing 1 clears */
        pm->status &= (uint16_t) ~(value & PM1_STATUS_BITS);
        return PM_NONE;
    case OFFSET_ENABLE:
        pm->enable = (uint16_t)((pm->enable & kept) | (value & PM1_ENABLE_BITS));
        return PM_NONE;
    case OFFSET_CONTROL: return write_control(pm, (uint16_t)((pm->control & kept) | value));
    default: return PM_NONE; /* the timer is read-only */
    }
}

enum pm_action acpi_pm_write(struct acpi_pm *pm, uint16_t port, unsigned int size, uint32_t value,
                             uint64_t now)
{
    enum pm_action action = PM_NONE;

    acpi_pm_poll(pm, now);
    for (unsigned int i = 0; i < MIN(size, 4u); i++) {
        unsigned int offset = (unsigned int)port + i - GUEST_PM_BASE;

        if (offset < GUEST_PM_LEN && write_byte(pm, offset, (uint8_t)(value >> i * 8)) != PM_NONE)
            action = PM_POWER_OFF;
    }
    return action;
}

void acpi_pm_power_button(struct acpi_pm *pm)
{
    pm->status |= PM1_POWER_BUTTON;
}

bool acpi_pm_sci(const struct acpi_pm *pm)
{
    return (pm->status & pm->enable & PM1_ENABLE_BITS) != 0;
}
