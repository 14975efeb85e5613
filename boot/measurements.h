#ifndef BULKHEAD_BOOT_MEASUREMENTS_H
#define BULKHEAD_BOOT_MEASUREMENTS_H

/* What the TPM was told before the core began: firmware's event log, which stays in memory. */

#include "lib/emit.h"

/* Says how long the log is, and what the PCRs are. When the core's own page tables are in use. */
void measurements_log(void);

/* One line for each event. On a CPU that may use its windows (arch/x86/mm/window.h). */
void measurements_print(emit_fn *emit);

#endif
