#ifndef BULKHEAD_VMM_LOADER_GUEST_ACPI_H
#define BULKHEAD_VMM_LOADER_GUEST_ACPI_H

/* The ACPI tables of the virtual PC: RSDP, XSDT, FADT, FACS, MADT and DSDT, all in the BIOS area
 * (GUEST_BIOS_BASE..GUEST_BIOS_END), where an operating system also finds the RSDP by search. */

#include "lib/macros.h"

struct vm;

/* Writes the tables of a VM with that many vCPUs (1..VM_MAX_VCPUS), whose APIC ids and UIDs are
 * 0... Sets *rsdp_gpa. Returns 0, or -BH_EFAULT when the BIOS area is not the VM's RAM. The VM must
 * not run. */
MUST_CHECK int guest_acpi_build(struct vm *vm, unsigned int vcpus, uint64_t *rsdp_gpa);

#endif
