#ifndef BULKHEAD_BOOT_SERIAL_PORTS_H
#define BULKHEAD_BOOT_SERIAL_PORTS_H

/* What serial ports the machine has, for the core and its UEFI loader. Boot CPU. */

#include "arch/x86/acpi/acpi.h"
#include "lib/emit.h"
#include "vmm/config.h"

#define COM_PORTS        4
#define SERIAL_NAMED_MAX 4 /* ports of the firmware's tables */
#define SERIAL_CARDS_MAX 16
#define SERIAL_WORD_MAX  40

extern const uint16_t com_ports[COM_PORTS];

/* Writes the word for `console =`. */
void serial_port_name(const struct config_serial *port, char word[SERIAL_WORD_MAX]);

/* Lists them, a line each, with that word. Returns their number. `answers` tells whether there is a
 * UART at an I/O port. */
unsigned int serial_ports_report(const struct acpi_info *acpi, const struct acpi_memory *memory,
                                 bool (*answers)(uint16_t port), emit_fn *emit);

#endif
