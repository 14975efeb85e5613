#ifndef BULKHEAD_VMM_CONSOLE_H
#define BULKHEAD_VMM_CONSOLE_H

/* The serial lines, and the screen, for the core and all VMs. Whole lines never mix: each begins
 * with its VM's name. The VM that has the keyboard shows its unfinished line at once; when another
 * line comes, it takes the unfinished one's place, which is shown again below it. */

#include "lib/macros.h"

struct vm;

/* The console's lock, of the highest rank: for what is on the screen, who has the keyboard, the
 * UART, the log, and the line that is typed in the monitor. Not to be held while anything is
 * logged. Returns whether `room` bytes fit into the UART's queue; until console_run() that is
 * waited for. */
bool console_acquire(unsigned int room);
void console_release(void);

/* Whether an interrupt handler of boot may log: it has not interrupted the lock's holder. */
bool console_is_free(void);

/* The run loops begin: from here on nobody waits for the UART. */
void console_run(void);

#define CONSOLE_ROOM_LINE 1024u /* for a line of the log, and what is shown again behind it */

/* A line of the core's own, without newline. Lock held. */
void console_core_line(const char *text, size_t len);

/* The same without the lock. */
void console_line(const char *text, size_t len);

/* One that there is no room for: it stays in the log, and the next one is preceded by a note. Lock
 * held. */
void console_skip_line(void);

/* The same while the core crashes, for the serial line alone: written at once, past all queues and
 * locks. And what is still to be sent and drawn when the machine ends. */
void console_crash_line(const char *text, size_t len);
void console_crash_flush(void);

/* Sends and draws all that waits, at once, without its CPU's run loop. Boot CPU, lock free. */
void console_flush(void);

/* Bytes that a VM's serial port sends. Any CPU. Returns how many were taken: fewer when the UART's
 * queue is nearly full. */
unsigned int console_vm_output(struct vm *vm, const uint8_t *data, unsigned int len);

/* The byte that waits in the serial port of a VM that has ended. */
void console_vm_last(struct vm *vm, uint8_t c);

/* Shows what is left of a VM's unfinished line; it has ended. */
void console_vm_end(struct vm *vm);

/* Moves received bytes to whoever has the keyboard, and waiting output to the UART. Run loop of the
 * one CPU that serves the console, which is also the only one to run the monitor. */
void console_poll(void);

/* The pCPU that has to poll, as the UART has no interrupt; constant after boot. MAX_PCPUS: none. */
extern unsigned int console_polled_by;

/* After the VMs are made: who has the keyboard first. */
void console_start(void);

/* For the monitor: text without prefix, lock held; and the answer to a command, begun, by lines,
 * and ended, without the lock: they wait for room, by monitor_pause(). */
void console_monitor_write(const char *text, size_t len);
void console_answer_begin(void);
void console_answer_line(const char *text, size_t len);
void console_answer_end(void);

#endif
