#ifndef BULKHEAD_DRIVERS_CMOS_H
#define BULKHEAD_DRIVERS_CMOS_H

#include "lib/macros.h"

/* Reads the machine's real-time clock: seconds since 1970-01-01 00:00 UTC, taking the clock as UTC;
 * 0 when it does not answer. `century_reg` is the FADT's CENTURY, 0: none. May wait up to 1 s for
 * an update to end. */
uint64_t cmos_read_epoch(uint8_t century_reg);

#endif
