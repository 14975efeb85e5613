#ifndef BULKHEAD_VMM_CONSOLE_H
#define BULKHEAD_VMM_CONSOLE_H

/* One serial line for the core and all VMs. Whole lines never mix: each begins with its VM's name.
 * The VM that has the keyboard shows its unfinished line at once; when another line comes, it
 * takes the unfinished one's place, which is shown again below it. */

#include "lib/macros.h"

struct vm;

/* A line of the core's own, without newline. */
void console_core_line(const char *text, size_t len);

/* The same while the core crashes: written at once, past all queues. */
void console_crash_line(const char *text, size_t len);
void console_crash_flush(void);

/* Bytes that a VM's serial port sends. */
void console_vm_output(struct vm *vm, const uint8_t *data, size_t len);

/* Shows what is left of a VM's unfinished line; it has ended. */
void console_vm_end(struct vm *vm);

/* Moves received bytes to whoever has the keyboard, and waiting output to the UART. Run loop. */
void console_poll(void);

/* After the VMs are made: who has the keyboard first. */
void console_start(void);

/* Prints text for the monitor, without prefix. */
void console_monitor_write(const char *text, size_t len);

#endif
