#ifndef BULKHEAD_BOOT_MACHINE_REPORT_H
#define BULKHEAD_BOOT_MACHINE_REPORT_H

/* The word `check` on the core's command line: what this machine has and lacks, one page, and no
 * VM. The core prints it; the UEFI loader saves it beforehand, as only firmware writes files. */

#include "arch/x86/acpi/acpi.h"

#include "boot/boot_info.h"
#include "lib/emit.h"

/* What the two that print it find each its own way. */
struct machine_facts {
    const struct acpi_info *acpi;
    const struct acpi_memory *memory; /* where the tables are read */
    const struct memory_map *map;
    const struct boot_framebuffer *screen;
    bool (*uart_answers)(uint16_t port); /* whether one is at that I/O port */
    uint64_t tsc_khz;
    unsigned int cpus_started; /* 0: nobody has tried */
    bool cannot_run_vms;       /* although the processor says that it can */
};

/* Hands the page over, line by line. */
void machine_report(const struct machine_facts *facts, emit_fn *emit);

#endif
