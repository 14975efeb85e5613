#ifndef BULKHEAD_ARCH_X86_CPU_H
#define BULKHEAD_ARCH_X86_CPU_H

#include "lib/macros.h"

/* Turns on what protects the core from itself and from guests, where the CPU has it: NX, WP, SMEP,
 * SMAP, UMIP; LFENCE as a serializing instruction on AMD; IBRS. Each CPU, at boot. */
void cpu_protect(void);

/* Where physical addresses end. One beyond it in a page table is a fault (SDM vol. 3, 4.7). */
uint64_t cpu_physical_end(void);

#endif
