#ifndef BULKHEAD_VMM_GUEST_MEMORY_BULK_H
#define BULKHEAD_VMM_GUEST_MEMORY_BULK_H

#include "vmm/guest_memory.h"

/* Copies a boot module's physical memory into a guest. 0 or -BH_EFAULT. */
MUST_CHECK int guest_copy_physical(struct vm *vm, uint64_t gpa, uint64_t pa, uint64_t len);

/* Clears physical memory that a VM had. */
void physical_scrub(uint64_t pa, uint64_t len);

#endif
