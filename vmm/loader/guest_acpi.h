#ifndef BULKHEAD_VMM_LOADER_GUEST_ACPI_H
#define BULKHEAD_VMM_LOADER_GUEST_ACPI_H

/* The ACPI tables of the virtual PC: RSDP, XSDT, FADT, FACS, MADT and DSDT, all in the BIOS area
 * (GUEST_BIOS_BASE..GUEST_BIOS_END), where an operating system also finds the RSDP by search. */

#include "lib/macros.h"

struct vm;

#define GUEST_ACPI_MAX_VCPUS 254 /* 8-bit APIC IDs; the I/O APIC and broadcast take one each */

/* Writes the tables for vCPUs with the APIC IDs 0..vcpus-1. Sets *rsdp_gpa. Returns 0, -BH_EINVAL
 * for a number of vCPUs outside 1..GUEST_ACPI_MAX_VCPUS, or -BH_EFAULT when the BIOS area is not
 * the VM's RAM. The VM must not run. */
MUST_CHECK int guest_acpi_build(struct vm *vm, unsigned int vcpus, uint64_t *rsdp_gpa);

#endif
