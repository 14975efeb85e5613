#ifndef BULKHEAD_ARCH_X86_MM_PTE_H
#define BULKHEAD_ARCH_X86_MM_PTE_H

#include "lib/macros.h"

/* Page-table entry bits (SDM vol. 3, table 4-20). */
#define PTE_P     BIT64(0)
#define PTE_W     BIT64(1)
#define PTE_U     BIT64(2)
#define PTE_PWT   BIT64(3)
#define PTE_PCD   BIT64(4)
#define PTE_A     BIT64(5)
#define PTE_D     BIT64(6)
#define PTE_LARGE BIT64(7)
#define PTE_G     BIT64(8)
#define PTE_PAT   BIT64(7)  /* of a 4 KiB page */
#define PTE_PAT_L BIT64(12) /* of a larger one */
#define PTE_NX    BIT64(63)
#define PTE_ADDR  0x000ffffffffff000ull

#endif
