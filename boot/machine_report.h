#ifndef BULKHEAD_BOOT_MACHINE_REPORT_H
#define BULKHEAD_BOOT_MACHINE_REPORT_H

/* The word `check` on the core's command line: what this machine has and lacks, one page, and no
 * VM.
 */

#include "arch/x86/acpi/acpi.h"

/* Prints the page to the log; `can_run_vms` as virt_init() said. */
void machine_report(const struct acpi_info *acpi, const struct acpi_memory *memory,
                    bool can_run_vms);

#endif
