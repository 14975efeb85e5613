#ifndef BULKHEAD_ARCH_X86_WATCHDOG_H
#define BULKHEAD_ARCH_X86_WATCHDOG_H

/* Says which phase of the boot takes long, every 10 s, by the boot CPU's LAPIC timer: also when the
 * core is stuck in a loop. All functions: boot CPU. */

#include <stdint.h>

/* From here on interrupts are on, and none but the watchdog's and VECTOR_STOP arrive; after the
 * LAPIC is on. watchdog_stop() turns them off, before the timer or the LAPIC has another use. */
void watchdog_start(void);
void watchdog_stop(void);

/* Begins a phase: "setting up this and that". The text stays in use. Before watchdog_start(), too.
 */
void watchdog_phase(const char *name);

/* How far the phase has come, for the watchdog's line: `done` of `total` units, "MiB". */
void watchdog_progress(uint64_t done, uint64_t total, const char *unit);

/* VECTOR_WATCHDOG's interrupt. */
void watchdog_tick(void);

#endif
