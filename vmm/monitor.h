#ifndef BULKHEAD_VMM_MONITOR_H
#define BULKHEAD_VMM_MONITOR_H

#include "lib/macros.h"

/* The core's own command line on the console. */

/* The keyboard has come to the monitor: shows the prompt. */
void monitor_enter(void);

/* One typed byte. */
void monitor_input(uint8_t c);

/* Shows the prompt and what has been typed, after other output came in between. */
void monitor_redraw(void);
bool monitor_line_open(void);

/* Ends all VMs and powers the machine off. */
void monitor_power_off(void);

#endif
