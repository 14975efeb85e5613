#ifndef BULKHEAD_BOOT_BOOT_SERIAL_H
#define BULKHEAD_BOOT_BOOT_SERIAL_H

/* Which of the machine's serial ports are the console. Ports that are known by their number work at
 * once; those that must be looked for, or mapped, from boot_serial_find() on, and get then what was
 * said before. Boot CPU. */

#include "arch/x86/acpi/acpi.h"
#include "vmm/config.h"

/* COM1 at 115200 baud, until more is known. */
void boot_serial_first(void);

/* Takes over the list of `config`. Until a port of it works, COM1 stays. */
void boot_serial_choose(const struct config *config);

/* Finds all ports of the list; reports those that do not work. On the core's page tables. */
void boot_serial_find(const struct acpi_info *acpi, const struct acpi_memory *memory);

/* Boot ends on the boot tables: finds a port by itself, whatever was asked for. */
void boot_serial_refuse(const struct acpi_info *acpi, const struct acpi_memory *memory);

/* Lets the ports interrupt that CPU. Returns whether all of them do; others must be polled. */
bool boot_serial_route(const struct acpi_info *acpi, uint32_t apic_id);

#endif
