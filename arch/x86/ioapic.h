#ifndef BULKHEAD_ARCH_X86_IOAPIC_H
#define BULKHEAD_ARCH_X86_IOAPIC_H

#include "lib/macros.h"

struct acpi_info;

/* Maps the machine's I/O APICs and masks every input; masks the 8259s, too. Returns 0, or
 * -BH_ENOENT when there is no I/O APIC (then the console is polled). */
MUST_CHECK int ioapic_hw_init(const struct acpi_info *acpi);

/* Routes an ISA interrupt to `vector` of the CPU with APIC ID `apic_id`. Returns 0 or -BH_ENOENT
 * when no I/O APIC has the input. */
MUST_CHECK int ioapic_hw_route_isa(const struct acpi_info *acpi, unsigned int isa_irq,
                                   uint8_t vector, uint32_t apic_id);

#endif
