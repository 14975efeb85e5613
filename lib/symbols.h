#ifndef BULKHEAD_LIB_SYMBOLS_H
#define BULKHEAD_LIB_SYMBOLS_H

#include "lib/macros.h"

/* Name of the core's function that contains `addr`, and the distance from its start; NULL when the
 * address is not in the core's code. Any context. */
const char *symbol_find(uint64_t addr, uint64_t *offset);

#endif
