#ifndef BULKHEAD_VMM_MONITOR_H
#define BULKHEAD_VMM_MONITOR_H

#include "lib/macros.h"

/* The core's own command line on the console. */

/* The keyboard has come to the monitor: there is a prompt from now on. Console lock held. */
void monitor_enter(void);

/* One typed byte. Without the console's lock, which each piece of an answer takes. */
void monitor_input(uint8_t c);

/* Shows the prompt and what has been typed, after other output came in between. Console lock held.
 */
void monitor_redraw(void);
bool monitor_line_open(void);

/* Ends all VMs and powers the machine off. */
void monitor_power_off(void);

#endif
