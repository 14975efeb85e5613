#ifndef BULKHEAD_BOOT_CORE_CONFIG_H
#define BULKHEAD_BOOT_CORE_CONFIG_H

/* Where the configuration comes from: the core's command line for the console, so that there is one
 * before anything can go wrong, and the module bulkhead.conf. Boot only, on the boot page tables.
 */

#include "boot/multiboot.h"
#include "vmm/config.h"

extern struct config core_config;
extern bool core_check_only; /* the word `check`: machine_report(), and no configuration is read */

/* Console on COM1 at 115200 baud. */
void core_config_defaults(void);

/* Applies `console=` and `log=` of the core's command line, which win over the file, `off=` and
 * `on=`. */
void core_config_cmdline(const char *cmdline);

/* Finds and reads bulkhead.conf, unless `check` asks for the usual values. Returns 0, or a negative
 * error after logging every mistake. */
MUST_CHECK int core_config_load(const struct phys_view *memory);

#endif
