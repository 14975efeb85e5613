#ifndef BULKHEAD_VMM_MONITOR_H
#define BULKHEAD_VMM_MONITOR_H

#include "lib/macros.h"

/* The core's own command line on the console. */

/* The keyboard has come to the monitor: there is a prompt from now on. Console lock held. */
void monitor_enter(void);

/* One typed byte. Without the console's lock, which each piece of an answer takes. */
void monitor_input(uint8_t c);

/* A command is being carried out: no byte is to be typed until monitor_go_on() has brought it to
 * its end, a few lines a call. */
bool monitor_answers(void);
void monitor_go_on(void);

/* In an answer: leaves the CPU to others, until monitor_go_on(). No locks held. */
void monitor_pause(void);

/* Shows the prompt and what has been typed, after other output came in between. Console lock held.
 */
void monitor_redraw(void);
bool monitor_line_open(void);

/* Ends all VMs and powers the machine off. */
void monitor_power_off(void);

#endif
