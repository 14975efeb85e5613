#ifndef BULKHEAD_DRIVERS_UART_H
#define BULKHEAD_DRIVERS_UART_H

/* The machine's 16550 serial port that is the core's console. One CPU
 * at a time: the console's lock (vmm/console.h), or the only CPU that runs, at boot and when the
 * machine ends. No call but uart_flush() waits for the UART. */

#include "lib/macros.h"

/* Sets the UART at `port` to `baud`, 8n1, FIFO on. Returns 0, -BH_EINVAL for a baud rate that
 * does not divide 115200, or -BH_ENOENT when no UART answers there; then output goes nowhere. */
int uart_init(uint16_t port, unsigned int baud);

/* Whether uart_init() has found one. */
bool uart_is_there(void);

/* True when the queue takes so many bytes more (up to 16 KiB). Whoever gets false asks again,
 * without the lock in between. One that takes nothing for so long that it must be dead loses what
 * is oldest in the queue. */
bool uart_has_room(unsigned int bytes);

/* Bytes that have left the queue so far, modulo 2^32. */
unsigned int uart_sent(void);

/* Queues output; what there is no room for is lost. */
void uart_write(const char *text, size_t len);

/* Moves what the UART takes at once out of the queue, at most `limit` bytes. */
void uart_pump(unsigned int limit);

/* Waits until all is sent (bounded: a UART that stops taking bytes is given up). */
void uart_flush(void);

/* True while the UART has a reason to interrupt. Reading it also takes back the empty
 * transmitter's. */
bool uart_interrupt_pending(void);

/* Next received byte, or -1. */
int uart_read(void);

/* Lets the UART interrupt for received bytes and, while output waits, for an empty transmitter.
 * `irq_line` of ISA, or -1 when the port has no standard one. */
void uart_enable_interrupts(void);
int uart_isa_irq(void);

#endif
