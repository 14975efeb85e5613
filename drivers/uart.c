/* 16550 (National PC16550D data sheet). */

#include "drivers/uart.h"

#include "arch/x86/asm.h"
#include "arch/x86/time.h"
#include "lib/error.h"
#include "lib/string.h"

#define UART_CLOCK  1843200u /* of a PC's ports */
#define USUAL_BAUD  115200u
#define BIT_CLOCKS  16u
#define DIVISOR_MAX 0xffffu
#define ERROR_PART  32u /* what a receiver bears: 3 % */

#define REG_DATA 0 /* RBR, THR; divisor low with DLAB */
#define REG_IER  1 /* divisor high with DLAB */
#define REG_FCR  2 /* write */
#define REG_IIR  2 /* read */
#define REG_LCR  3
#define REG_MCR  4
#define REG_SCR  7

#define IER_RX       BIT(0)
#define IER_TX_EMPTY BIT(1)
#define IIR_NONE     BIT(0)
#define IIR_FIFO     (BIT(6) | BIT(7)) /* it has one, and it is on */
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

#define FIFO_SIZE   16
#define QUEUE_SIZE  16384
#define FIFO_BITS   (10u * FIFO_SIZE)
#define FIFO_US_MAX 4000000ull /* at 50 baud; tables may say anything */
#define PATIENCE    200000u    /* beside a full FIFO's time: port reads of about 1 us, or us */
#define LOOKS_MIN   16         /* it may be that nobody looked for a while */

struct uart {
    struct uart_place place;
    uint16_t found_divisor; /* before it was set here */
    uint16_t divisor;
    bool interrupts;
    bool tx_interrupt;
    unsigned int head; /* next to send */
    unsigned int fifo_size;
    unsigned int fifo_room; /* bytes that it takes without being asked again */
    unsigned int stalled;   /* looked at so often since it took a byte */
    uint64_t stalled_since; /* TSC */
};

static struct uart uarts[UART_MAX];
static unsigned int uart_count;
/* What is to be sent, the same to all: each has a place of its own in it. */
static char queue[QUEUE_SIZE];
static unsigned int queue_tail;

static volatile void *reg_at(const struct uart_place *p, unsigned int reg)
{
    return (volatile char *)p->registers + reg * p->stride;
}

static COLD void memory_write(const struct uart_place *p, unsigned int reg, uint8_t value)
{
    switch (p->stride) {
    case 4: *(volatile uint32_t *)reg_at(p, reg) = value; break;
    case 2: *(volatile uint16_t *)reg_at(p, reg) = value; break;
    default: *(volatile uint8_t *)reg_at(p, reg) = value; break;
    }
}

static COLD uint8_t memory_read(const struct uart_place *p, unsigned int reg)
{
    switch (p->stride) {
    case 4: return (uint8_t) * (volatile uint32_t *)reg_at(p, reg);
    case 2: return (uint8_t) * (volatile uint16_t *)reg_at(p, reg);
    default: return *(volatile uint8_t *)reg_at(p, reg);
    }
}

static inline void reg_write(const struct uart_place *p, unsigned int reg, uint8_t value)
{
    if (likely(p->port != 0))
        outb((uint16_t)(p->port + reg), value);
    else
        memory_write(p, reg, value);
}

static inline uint8_t reg_read(const struct uart_place *p, unsigned int reg)
{
    return likely(p->port != 0) ? inb((uint16_t)(p->port + reg)) : memory_read(p, reg);
}

static void set_tx_interrupt(struct uart *u, bool on)
{
    if (u->interrupts && on != u->tx_interrupt) {
        u->tx_interrupt = on;
        reg_write(&u->place, REG_IER, IER_RX | (on ? IER_TX_EMPTY : 0));
    }
}

static bool has_room(struct uart *u)
{
    if (u->fifo_room == 0 && (reg_read(&u->place, UART_REG_LSR) & LSR_TX_EMPTY))
        u->fifo_room = u->fifo_size;
    return u->fifo_room > 0;
}

static COLD void send_to_memory(const struct uart *u, const char *from, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++)
        memory_write(&u->place, REG_DATA, (uint8_t)from[i]);
}

/* The next bytes of the queue, of which the FIFO has room for `count`. */
static void send(struct uart *u, unsigned int count)
{
    if (likely(u->place.port != 0))
        rep_outsb(u->place.port + REG_DATA, &queue[u->head % QUEUE_SIZE], count);
    else
        send_to_memory(u, &queue[u->head % QUEUE_SIZE], count);
    u->head += count;
    u->fifo_room -= count;
    u->stalled = 0;
}

static void pump(struct uart *u, unsigned int limit)
{
    if (unlikely(queue_tail - u->head > QUEUE_SIZE))
        u->head = queue_tail - QUEUE_SIZE; /* one that nobody waits for is late */
    while (u->head != queue_tail && limit > 0 && has_room(u)) {
        unsigned int count = MIN(limit, u->fifo_room);
        count = MIN(count, queue_tail - u->head);
        count = MIN(count, QUEUE_SIZE - u->head % QUEUE_SIZE);
        send(u, count);
        limit -= count;
    }
    set_tx_interrupt(u, u->head != queue_tail);
}

void uart_pump(unsigned int limit)
{
    for (unsigned int i = 0; i < uart_count; i++)
        pump(&uarts[i], limit);
}

/* In PATIENCE's unit: whoever takes nothing for so long is dead. */
static unsigned int dead_after(const struct uart *u)
{
    uint64_t clocks = (uint64_t)FIFO_BITS * BIT_CLOCKS * u->divisor * 1000000;

    clocks /= u->place.clock ? u->place.clock : UART_CLOCK;
    return PATIENCE + (unsigned int)MIN(clocks, FIFO_US_MAX);
}

/* Waits for a bit of the line status; false when the UART is dead. */
static bool wait_for_status(struct uart *u, uint8_t bit)
{
    while (!(reg_read(&u->place, UART_REG_LSR) & bit)) {
        if (u->stalled >= dead_after(u))
            return false;
        u->stalled++;
        cpu_pause();
    }
    return true;
}

static void enqueue(const char *text, unsigned int count)
{
    unsigned int at = queue_tail % QUEUE_SIZE, first = MIN(count, QUEUE_SIZE - at);

    memcpy(queue + at, text, first);
    if (unlikely(first < count))
        memcpy(queue, text + first, count - first);
    queue_tail += count;
}

/* The first one's: what it has not sent yet is not overwritten. */
static unsigned int queue_room(void)
{
    return QUEUE_SIZE - (queue_tail - uarts[0].head);
}

/* By looks, while nobody knows the time, else by time. */
static bool is_dead(struct uart *u)
{
    if (u->stalled++ == 0)
        u->stalled_since = rdtsc();
    if (!time_is_calibrated() || u->stalled >= dead_after(u))
        return u->stalled >= dead_after(u);
    return u->stalled > LOOKS_MIN &&
           rdtsc() - u->stalled_since > ns_span_to_tsc(dead_after(u) * 1000ull);
}

bool uart_has_room(unsigned int bytes)
{
    if (likely(queue_room() >= bytes) || uart_count == 0)
        return true;
    uart_pump(FIFO_SIZE);
    if (queue_room() >= bytes)
        return true;
    if (!is_dead(&uarts[0]))
        return false;
    uarts[0].head = queue_tail - (QUEUE_SIZE - bytes); /* the oldest go */
    return true;
}

unsigned int uart_sent(void)
{
    return uarts[0].head;
}

void uart_write(const char *text, size_t len)
{
    unsigned int room = uart_count > 0 ? queue_room() : QUEUE_SIZE;

    enqueue(text, (unsigned int)MIN(len, (size_t)room));
    for (unsigned int i = 0; i < uart_count; i++)
        if (uarts[i].head != queue_tail)
            pump(&uarts[i], 4 * FIFO_SIZE);
}

static void flush(struct uart *u)
{
    while (u->head != queue_tail && wait_for_status(u, LSR_TX_EMPTY))
        pump(u, FIFO_SIZE);
    /* What is in the FIFO when the machine is powered off does not come out any more. */
    (void)wait_for_status(u, LSR_TX_IDLE);
}

void uart_flush(void)
{
    for (unsigned int i = 0; i < uart_count; i++)
        flush(&uarts[i]);
}

bool uart_interrupt_pending(void)
{
    bool pending = false;

    for (unsigned int i = 0; i < uart_count; i++)
        if (uarts[i].interrupts)
            pending |= (reg_read(&uarts[i].place, REG_IIR) & IIR_NONE) == 0;
    return pending;
}

int uart_read(void)
{
    for (unsigned int i = 0; i < uart_count; i++) {
        const struct uart_place *p = &uarts[i].place;
        uint8_t status = reg_read(p, UART_REG_LSR);
        if ((status & LSR_RX) && status != UART_NOTHING_THERE)
            return reg_read(p, REG_DATA);
    }
    return -1;
}

INIT void uart_enable_interrupts(unsigned int index)
{
    struct uart *u = &uarts[index];

    u->interrupts = true;
    u->tx_interrupt = false;
    reg_write(&u->place, REG_IER, IER_RX);
    (void)reg_read(&u->place, REG_IIR);
}

INIT const struct uart_place *uart_place_of(unsigned int index)
{
    return &uarts[index].place;
}

INIT bool uart_answers(const struct uart_place *p)
{
    bool sound =
        p->port != 0 || (p->registers && (p->stride == 1 || p->stride == 2 || p->stride == 4));

    if (!sound)
        return false;
    reg_write(p, REG_SCR, 0x5a);
    if (reg_read(p, REG_SCR) != 0x5a)
        return false;
    reg_write(p, REG_SCR, 0xa5);
    return reg_read(p, REG_SCR) == 0xa5;
}

INIT static bool is_same_place(const struct uart_place *a, const struct uart_place *b)
{
    return a->port == b->port && a->registers == b->registers;
}

INIT static uint16_t read_divisor(const struct uart_place *p)
{
    reg_write(p, REG_LCR, LCR_DLAB);
    uint16_t divisor = (uint16_t)(reg_read(p, REG_DATA) | reg_read(p, REG_IER) << 8);
    reg_write(p, REG_LCR, LCR_8N1);
    return divisor;
}

/* 0: there is none. `found`: where the place tells no rate. */
INIT static uint16_t choose_divisor(const struct uart_place *p, uint16_t found)
{
    unsigned int base = (p->clock ? p->clock : UART_CLOCK) / BIT_CLOCKS;
    unsigned int baud = p->baud ? p->baud : USUAL_BAUD;

    if (p->baud == 0 && found != 0)
        return found;
    unsigned int divisor = (unsigned int)(((uint64_t)base + baud / 2) / baud);
    if (divisor == 0 || divisor > DIVISOR_MAX)
        return 0;
    unsigned int real = base / divisor, wrong = real > baud ? real - baud : baud - real;
    return wrong <= baud / ERROR_PART ? (uint16_t)divisor : 0;
}

/* Where what was said so far begins: at a line, if the queue has not all of it any more. */
INIT static unsigned int oldest(void)
{
    unsigned int at = queue_tail - QUEUE_SIZE;

    if (queue_tail <= QUEUE_SIZE)
        return 0;
    while (at != queue_tail && queue[at++ % QUEUE_SIZE] != '\n') {
    }
    return at;
}

INIT static void start(struct uart *u)
{
    const struct uart_place *p = &u->place;

    reg_write(p, REG_IER, 0);
    reg_write(p, REG_LCR, LCR_DLAB);
    reg_write(p, REG_DATA, u->divisor & 0xff);
    reg_write(p, REG_IER, u->divisor >> 8);
    reg_write(p, REG_LCR, LCR_8N1);
    reg_write(p, REG_FCR, FCR_ENABLE | FCR_CLEAR);
    reg_write(p, REG_MCR, MCR_DTR | MCR_RTS | MCR_OUT2);
    u->fifo_size = (reg_read(p, REG_IIR) & IIR_FIFO) == IIR_FIFO ? FIFO_SIZE : 1;
}

/* `before`: what it was until now, or NULL. */
INIT static int open_uart(struct uart *u, const struct uart_place *p, const struct uart *before)
{
    if (!before && !uart_answers(p))
        return -BH_ENOENT;
    uint16_t found = before ? before->found_divisor : read_divisor(p);
    uint16_t divisor = choose_divisor(p, found);
    if (divisor == 0)
        return -BH_EINVAL;
    if (before && before->divisor == divisor) {
        *u = *before;
        u->place = *p;
        return 0;
    }
    *u = (struct uart){.place = *p, .found_divisor = found, .divisor = divisor, .head = oldest()};
    start(u);
    return 0;
}

/* Says what is left to say before it is dropped, or set anew. */
INIT static void part_with(struct uart *u, const struct uart_place *places, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++)
        if (is_same_place(&u->place, &places[i]) &&
            choose_divisor(&places[i], u->found_divisor) == u->divisor)
            return;
    flush(u);
}

INIT unsigned int uart_use(const struct uart_place *places, unsigned int count, int *results)
{
    struct uart before[UART_MAX];
    unsigned int before_count = uart_count;

    for (unsigned int i = 0; i < uart_count; i++)
        part_with(&uarts[i], places, count);
    memcpy(before, uarts, sizeof(before));
    uart_count = 0;
    for (unsigned int i = 0; i < count; i++) {
        const struct uart *old = NULL;
        for (unsigned int k = 0; k < before_count; k++)
            if (is_same_place(&before[k].place, &places[i]))
                old = &before[k];
        results[i] =
            uart_count < UART_MAX ? open_uart(&uarts[uart_count], &places[i], old) : -BH_ENOMEM;
        if (results[i] == 0)
            uart_count++;
    }
    uart_pump(FIFO_SIZE);
    return uart_count;
}

unsigned int uart_used(void)
{
    return uart_count;
}
