#ifndef BULKHEAD_VMM_DEVICES_ACPI_PM_H
#define BULKHEAD_VMM_DEVICES_ACPI_PM_H

/* ACPI fixed hardware (ACPI 6.4, 4.8) of a guest: PM1a event and control block, PM timer. The
 * machine is always in ACPI mode, so there is no SMI command port (FADT SMI_CMD = 0). Times are
 * in ticks of GUEST_PM_TMR_HZ since boot. The caller serializes. */

#include "lib/macros.h"

/* PM1a_EVT_BLK (status at +0, enable at +2), PM1a_CNT_BLK at +4, PM_TMR_BLK at +8, which is 32 bits
 * wide (FADT flag TMR_VAL_EXT). */
#define GUEST_PM_BASE    0x600
#define GUEST_PM_LEN     12
#define GUEST_PM_TMR     0x608
#define GUEST_PM_TMR_LEN 4
#define GUEST_PM_TMR_HZ  3579545ull

/* The SCI is IRQ 9 = GSI 9, level-triggered and active high: the MADT needs an interrupt source
 * override with flags 0Dh, because ISA's default would be edge-triggered. */
#define GUEST_PM_SCI_IRQ 9

/* SLP_TYP of S5 (soft off), the value that the _S5 package in the DSDT gives. */
#define GUEST_PM_S5_SLP_TYP 5

/* What a write demands of the VM. */
enum pm_action { PM_NONE, PM_POWER_OFF, PM_RESET };

struct acpi_pm {
    uint16_t status;
    uint16_t enable;
    uint16_t control;
    uint64_t halves; /* how often the timer's top bit had toggled when status was last synced */
};

void acpi_pm_reset(struct acpi_pm *pm, uint64_t now);

/* Accesses of 1, 2 or 4 bytes at an absolute port in GUEST_PM_BASE..+LEN-1. Bytes outside read
 * FFh and ignore writes. */
uint32_t acpi_pm_read(struct acpi_pm *pm, uint16_t port, unsigned int size, uint64_t now);
enum pm_action acpi_pm_write(struct acpi_pm *pm, uint16_t port, unsigned int size, uint32_t value,
                             uint64_t now);

/* The power button is pressed: sets PWRBTN_STS, and with it the SCI when the guest enabled it. */
void acpi_pm_power_button(struct acpi_pm *pm);

/* Level of the SCI. Look after every write, button press and acpi_pm_poll(). */
bool acpi_pm_sci(const struct acpi_pm *pm);

/* When the timer's overflow will next raise the SCI: absolute, UINT64_MAX = not enabled. */
uint64_t acpi_pm_next_event(const struct acpi_pm *pm, uint64_t now);

/* Brings the timer status bit up to `now`. */
void acpi_pm_poll(struct acpi_pm *pm, uint64_t now);

#endif
