#ifndef BULKHEAD_ARCH_X86_MEMORY_TYPES_H
#define BULKHEAD_ARCH_X86_MEMORY_TYPES_H

/* MTRRs and PAT: all CPUs must have the same (SDM vol. 3, 12.11.8, 12.12.4). */

#include "lib/macros.h"

/* Boot CPU: gives the PAT an entry that combines writes, PTE_PAT with PCD and PWT. Before anything
 * is mapped so. */
void memory_types_init(void);

/* Boot CPU: remembers its own. */
void memory_types_save(void);

/* Another CPU: takes them over. True when they were the same already. Interrupts off. */
bool memory_types_load(void);

#endif
