#ifndef BULKHEAD_DRIVERS_PIT_H
#define BULKHEAD_DRIVERS_PIT_H

#include "lib/macros.h"

/* TSC frequency in kHz measured with the machine's 8254 over 10 ms; 0 when it does not count.
 * Boot CPU, interrupts off. */
uint64_t pit_measure_tsc_khz(void);

#endif
