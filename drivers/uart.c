/* 16550 (National PC16550D data sheet). */

#include "drivers/uart.h"

#include "arch/x86/asm.h"
#include "arch/x86/time.h"
#include "lib/error.h"
#include "lib/string.h"

#define UART_CLOCK_BAUD 115200u

#define REG_DATA 0 /* RBR, THR; divisor low with DLAB */
#define REG_IER  1 /* divisor high with DLAB */
#define REG_FCR  2 /* write */
#define REG_IIR  2 /* read */
#define REG_LCR  3
#define REG_MCR  4
#define REG_LSR  5
#define REG_SCR  7

#define IER_RX       BIT(0)
#define IER_TX_EMPTY BIT(1)
#define IIR_NONE     BIT(0)
#define FCR_ENABLE   BIT(0)
#define FCR_CLEAR    (BIT(1) | BIT(2))
#define LCR_8N1      0x03
#define LCR_DLAB     BIT(7)
#define MCR_DTR      BIT(0)
#define MCR_RTS      BIT(1)
#define MCR_OUT2     BIT(3) /* gates the interrupt line on PCs */
#define LSR_RX       BIT(0)
#define LSR_TX_EMPTY BIT(5)
#define LSR_TX_IDLE  BIT(6) /* nothing left in the FIFO and the shift register */

#define FIFO_SIZE  16
#define QUEUE_SIZE 16384
/* Longer than a full FIFO takes at 1200 baud, in port reads of about 1 us. */
#define POLL_LIMIT 200000u
#define DEAD_NS    200000000u /* the same by the time */
#define LOOKS_MIN  16         /* it may be that nobody looked for a while */

static uint16_t uart_port; /* 0: none */
static bool interrupts;
static bool tx_interrupt;
static char queue[QUEUE_SIZE];
static unsigned int queue_head; /* next to send */
static unsigned int queue_tail;
static unsigned int fifo_room; /* bytes that it takes without being asked again */
static unsigned int stalled;   /* looked at so often since it took a byte */
static uint64_t stalled_since; /* TSC */

int uart_init(uint16_t port, unsigned int baud)
{
    uart_port = 0;
    fifo_room = 0;
    if (port == 0)
        return 0;
    if (baud == 0 || UART_CLOCK_BAUD % baud != 0)
        return -BH_EINVAL;
    outb(port + REG_SCR, 0x5a);
    if (inb(port + REG_SCR) != 0x5a)
        return -BH_ENOENT;
    unsigned int divisor = UART_CLOCK_BAUD / baud;
    outb(port + REG_IER, 0);
    outb(port + REG_LCR, LCR_DLAB);
    outb(port + REG_DATA, divisor & 0xff);
    outb(port + REG_IER, divisor >> 8 & 0xff);
    outb(port + REG_LCR, LCR_8N1);
    outb(port + REG_FCR, FCR_ENABLE | FCR_CLEAR);
    outb(port + REG_MCR, MCR_DTR | MCR_RTS | MCR_OUT2);
    uart_port = port;
    if (interrupts)
        uart_enable_interrupts();
    return 0;
}

bool uart_is_there(void)
{
    return uart_port != 0;
}

static void set_tx_interrupt(bool on)
{
    if (interrupts && on != tx_interrupt) {
        tx_interrupt = on;
        outb(uart_port + REG_IER, IER_RX | (on ? IER_TX_EMPTY : 0));
    }
}

static bool has_room(void)
{
    if (fifo_room == 0 && (inb(uart_port + REG_LSR) & LSR_TX_EMPTY))
        fifo_room = FIFO_SIZE;
    return fifo_room > 0;
}

/* The next bytes of the queue, of which the FIFO has room for `count`. */
static void send(unsigned int count)
{
    for (unsigned int i = 0; i < count; i++)
        outb(uart_port + REG_DATA, (uint8_t)queue[(queue_head + i) % QUEUE_SIZE]);
    queue_head += count;
    fifo_room -= count;
    stalled = 0;
}

void uart_pump(unsigned int limit)
{
    if (uart_port == 0) {
        queue_head = queue_tail;
        return;
    }
    while (queue_head != queue_tail && limit > 0 && has_room()) {
        unsigned int count = MIN(limit, fifo_room);
        count = MIN(count, queue_tail - queue_head);
        send(count);
        limit -= count;
    }
    set_tx_interrupt(queue_head != queue_tail);
}

/* Waits for a bit of the line status; false when the UART is dead. */
static bool wait_for_status(uint8_t bit)
{
    while (!(inb(uart_port + REG_LSR) & bit)) {
        if (stalled >= POLL_LIMIT)
            return false;
        stalled++;
        cpu_pause();
    }
    return true;
}

static void enqueue(const char *text, unsigned int count)
{
    unsigned int at = queue_tail % QUEUE_SIZE, first = MIN(count, QUEUE_SIZE - at);

    memcpy(queue + at, text, first);
    memcpy(queue, text + first, count - first);
    queue_tail += count;
}

static unsigned int queue_room(void)
{
    return QUEUE_SIZE - (queue_tail - queue_head);
}

/* By looks, while nobody knows the time, else by time. */
static bool is_dead(void)
{
    if (stalled++ == 0)
        stalled_since = rdtsc();
    if (!time_is_calibrated() || stalled >= POLL_LIMIT)
        return stalled >= POLL_LIMIT;
    return stalled > LOOKS_MIN && rdtsc() - stalled_since > ns_span_to_tsc(DEAD_NS);
}

bool uart_has_room(unsigned int bytes)
{
    if (uart_port == 0 || likely(queue_room() >= bytes))
        return true;
    uart_pump(FIFO_SIZE);
    if (queue_room() >= bytes)
        return true;
    if (!is_dead())
        return false;
    queue_head = queue_tail - (QUEUE_SIZE - bytes); /* the oldest go */
    return true;
}

unsigned int uart_sent(void)
{
    return queue_head;
}

void uart_write(const char *text, size_t len)
{
    if (uart_port == 0)
        return;
    enqueue(text, (unsigned int)MIN(len, (size_t)queue_room()));
    if (queue_head != queue_tail)
        uart_pump(4 * FIFO_SIZE);
}

void uart_flush(void)
{
    while (queue_head != queue_tail && wait_for_status(LSR_TX_EMPTY))
        uart_pump(FIFO_SIZE);
    /* What is in the FIFO when the machine is powered off does not come out any more. */
    if (uart_port != 0)
        (void)wait_for_status(LSR_TX_IDLE);
}

bool uart_interrupt_pending(void)
{
    return uart_port != 0 && interrupts && (inb(uart_port + REG_IIR) & IIR_NONE) == 0;
}

int uart_read(void)
{
    if (uart_port == 0 || (inb(uart_port + REG_LSR) & LSR_RX) == 0)
        return -1;
    return inb(uart_port + REG_DATA);
}

void uart_enable_interrupts(void)
{
    interrupts = true;
    tx_interrupt = false;
    if (uart_port != 0) {
        outb(uart_port + REG_IER, IER_RX);
        (void)inb(uart_port + REG_IIR);
    }
}

int uart_isa_irq(void)
{
    switch (uart_port) {
    case 0x3f8:
    case 0x3e8: return 4;
    case 0x2f8:
    case 0x2e8: return 3;
    default: return -1;
    }
}
