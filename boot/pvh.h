#ifndef BULKHEAD_BOOT_PVH_H
#define BULKHEAD_BOOT_PVH_H

/* Direct boot by a virtual machine monitor: QEMU's -kernel, Firecracker, Cloud Hypervisor. */

#include "boot/boot_parse.h"

#define PVH_MAGIC 0x336ec578u

/* Fills `info` from the start information at physical address `addr`. Returns 0, or a negative
 * error as multiboot_parse() does. */
MUST_CHECK int pvh_parse(struct boot_info *info, uint64_t addr, const struct phys_view *view);

#endif
