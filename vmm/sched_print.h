#ifndef BULKHEAD_VMM_SCHED_PRINT_H
#define BULKHEAD_VMM_SCHED_PRINT_H

#include "lib/emit.h"

/* Lines for each pCPU (what it has to do, and its slots) and each vCPU (where it is, and how long
 * it ran and waited). Figures of other pCPUs are read as they are at the moment. */
void sched_print(emit_fn *emit);

/* Counts the slots' starts anew. One that begins at this moment on another pCPU may still count with
 * the old ones. */
void sched_forget_slots(void);

#endif
