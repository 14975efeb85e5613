#ifndef BULKHEAD_VMM_ISOLATION_H
#define BULKHEAD_VMM_ISOLATION_H

#include "lib/emit.h"

/* Walks the core's page tables and looks for any mapping of any VM's memory, then maps one page in
 * the window and looks again, to show that the search finds it. Prints what it found; returns true
 * when all is as it must be. */
bool isolation_check(emit_fn *emit);

#endif
