#ifndef BULKHEAD_ARCH_X86_POWER_H
#define BULKHEAD_ARCH_X86_POWER_H

#include "lib/macros.h"

struct acpi_info;

void power_init(const struct acpi_info *info);

/* Turns the machine off (ACPI S5), or stops for good when that does not work. */
NORETURN void power_off(void);

/* Resets the machine: ACPI reset register, port CF9h, keyboard controller, triple fault. */
NORETURN void power_reset(void);

/* Stops this CPU with the machine on. */
NORETURN void power_halt(void);

#endif
