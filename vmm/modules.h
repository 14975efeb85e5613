#ifndef BULKHEAD_VMM_MODULES_H
#define BULKHEAD_VMM_MODULES_H

/* The boot modules, which stay in memory so that VMs can be started again, but are not mapped. */

#include "vmm/loader/blob.h"

/* The module called `name`, as a blob. 0 or -BH_ENOENT (logged). */
MUST_CHECK int module_blob(const char *name, struct blob *blob);

#endif
