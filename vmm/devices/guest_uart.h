#ifndef BULKHEAD_VMM_DEVICES_GUEST_UART_H
#define BULKHEAD_VMM_DEVICES_GUEST_UART_H

/* A 16550A serial port for guests. Sending takes no time, as long as whoever gets the bytes takes
 * them; else one waits in the holding register. What was received waits in a FIFO of 16 bytes. The
 * caller serializes. */

#include "lib/macros.h"

#define GUEST_UART_PORTS 8
#define GUEST_UART_FIFO  16

struct guest_uart_ops {
    /* The guest sends `count` > 0 bytes. Returns how many of them were taken. */
    unsigned int (*tx)(void *ctx, const uint8_t *data, unsigned int count);
    /* The interrupt line changed. */
    void (*irq)(void *ctx, bool level);
};

struct guest_uart {
    uint8_t fifo[GUEST_UART_FIFO];
    uint8_t head;  /* the next byte to be read */
    uint8_t count; /* bytes in the FIFO */
    uint8_t ier, lcr, mcr, lsr_errors, msr, scratch;
    uint8_t lsr_tx; /* whether the transmitter is empty, as LSR shows it */
    uint8_t thr;    /* waits when it is not */
    uint8_t fcr;    /* FIFO enable and trigger bits */
    uint8_t divisor_low, divisor_high;
    uint8_t received; /* what RBR shows when the FIFO is empty */
    bool thr_empty;   /* the transmitter-empty interrupt is pending */
    bool irq_level;
    const struct guest_uart_ops *ops;
    void *ctx;
};

/* Power-up: binds to `ops`; the FIFO is empty, the interrupt line low. */
void guest_uart_init(struct guest_uart *uart, const struct guest_uart_ops *ops, void *ctx);

/* Byte accesses to register `reg`, 0..7 (taken modulo 8). */
uint32_t guest_uart_read(struct guest_uart *uart, unsigned int reg);
void guest_uart_write(struct guest_uart *uart, unsigned int reg, uint8_t value);

/* `count` > 0 bytes written to register 0, one after the other. Returns how many of them it took: a
 * full transmitter takes none. */
unsigned int guest_uart_write_data(struct guest_uart *uart, const uint8_t *data,
                                   unsigned int count);

/* True while a byte waits to be sent. guest_uart_resume() tries again to send it. */
static inline bool guest_uart_tx_waits(const struct guest_uart *uart)
{
    return uart->lsr_tx == 0;
}
void guest_uart_resume(struct guest_uart *uart);

/* True when one more byte written to register 0 would be lost. */
bool guest_uart_tx_full(const struct guest_uart *uart);

/* Whether guest_uart_rx() would take a byte now. */
bool guest_uart_rx_ready(const struct guest_uart *uart);

/* A byte for the guest. Returns false, and takes nothing, when the FIFO (one byte while FIFOs are
 * off) is full or the port is in loopback. */
bool guest_uart_rx(struct guest_uart *uart, uint8_t c);

#endif
