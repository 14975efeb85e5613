#ifndef BULKHEAD_DRIVERS_UART_H
#define BULKHEAD_DRIVERS_UART_H

/* The machine's 16550 serial ports that are the core's console: the same goes to all of them, and
 * keys come from each. One CPU at a time: the console's lock (vmm/console.h), or the only CPU that
 * runs, at boot and when the machine ends. No call but uart_flush() and uart_use() waits for a
 * UART. */

#include "lib/macros.h"

#define UART_MAX 4

/* The PC's four, where the BIOS has always had them. */
enum uart_port { COM1 = 0x3f8, COM2 = 0x2f8, COM3 = 0x3e8, COM4 = 0x2e8 };

#define UART_REG_LSR       5
#define UART_NOTHING_THERE 0xff /* what a port without a device reads */

/* Where the registers are, and what the line is like. */
struct uart_place {
    uint16_t port;            /* the first I/O port; 0: they are in memory */
    uint8_t stride;           /* in memory: bytes from one to the next, read and written at once */
    uint8_t irq;              /* of ISA; 0: none, it is polled */
    volatile void *registers; /* in memory: where they are mapped */
    uint32_t clock;           /* Hz; 0: 1,843,200 */
    uint32_t baud;            /* 0: as it is set already */
};

/* True when there is a 16550 at that place, which must be a possible one. Boot only. */
bool uart_answers(const struct uart_place *place);

/* The console's ports from here on: 8n1, FIFO on. One that is new, or gets another rate, sends all
 * that was written since the core began, as far as the queue (16 KiB) still has it. `results` has
 * for each 0, -BH_EINVAL for a rate that its clock does not give, -BH_ENOENT when no UART answers,
 * -BH_ENOMEM for those beyond UART_MAX. Returns how many work, by number in the list's order;
 * others wait for the first one only. With none, output is kept in the queue. Boot only. */
unsigned int uart_use(const struct uart_place *places, unsigned int count, int *results);

/* How many there are, and the place of one. */
unsigned int uart_used(void);
const struct uart_place *uart_place_of(unsigned int index);

/* True when the queue takes so many bytes more (up to 16 KiB). Whoever gets false asks again,
 * without the lock in between. A first port that takes nothing for so long that it must be dead
 * loses what is oldest in the queue, the others do so as soon as they are late. */
bool uart_has_room(unsigned int bytes);

/* Bytes that the first one has taken so far, modulo 2^32. */
unsigned int uart_sent(void);

/* Queues output; what there is no room for is lost. */
void uart_write(const char *text, size_t len);

/* Moves what each UART takes at once out of the queue, at most `limit` bytes. */
void uart_pump(unsigned int limit);

/* Waits until all is sent (bounded: a UART that stops taking bytes is given up). */
void uart_flush(void);

/* True while a UART has a reason to interrupt. Reading it also takes back the empty
 * transmitter's. */
bool uart_interrupt_pending(void);

/* Next received byte, or -1. */
int uart_read(void);

/* Lets that UART interrupt for received bytes and, while output waits, for an empty transmitter.
 * Boot only. */
void uart_enable_interrupts(unsigned int index);

#endif
