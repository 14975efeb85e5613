#ifndef BULKHEAD_DRIVERS_PS2_H
#define BULKHEAD_DRIVERS_PS2_H

/* The machine's PS/2 keyboard behind an i8042. One CPU at a time: the console's lock, or the only
 * CPU that runs, at boot. */

#include "lib/macros.h"

#define PS2_ISA_IRQ 1

/* Turns the keyboard on, and the controller's interrupt for it. Waits 10 ms for a keyboard that
 * does not answer, 100 ms at most. Returns 0, even without a keyboard, which may be plugged in
 * later, or -BH_ENOENT when there is no controller. After time_init(). */
MUST_CHECK int ps2_init(void);

/* Next typed byte, or -1. Takes a bounded number of the keyboard's bytes. */
int ps2_read(void);

/* True when there may be more to read. */
bool ps2_is_pending(void);

#endif
