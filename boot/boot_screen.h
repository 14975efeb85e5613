#ifndef BULKHEAD_BOOT_BOOT_SCREEN_H
#define BULKHEAD_BOOT_BOOT_SCREEN_H

#include <stdint.h>

/* The screen while the core boots: what is written is kept until it can be drawn. Boot CPU. */

/* Looks whether the screen of boot_info can be used; then the console writes to it, too. */
void boot_screen_find(void);

/* On the core's page tables: maps the screen, if bulkhead.conf wants one, and draws what was
 * written so far. */
void boot_screen_map(void);

/* Boot ends here: on the boot tables, lets the console draw where `map` maps the screen. That
 * returns NULL for a range that it has no room for. */
void boot_screen_refuse(volatile void *(*map)(uint64_t pa, uint64_t size));

#endif
