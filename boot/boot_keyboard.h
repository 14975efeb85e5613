#ifndef BULKHEAD_BOOT_BOOT_KEYBOARD_H
#define BULKHEAD_BOOT_BOOT_KEYBOARD_H

#include "lib/macros.h"

struct acpi_info;

/* Turns on the PS/2 keyboard for `cpu`, which serves the console: where there is a screen, for a
 * serial line alone has a keyboard at its other end. Without an I/O APIC it is polled. Boot CPU. */
void boot_keyboard_init(const struct acpi_info *acpi, bool have_ioapic, unsigned int cpu);

#endif
