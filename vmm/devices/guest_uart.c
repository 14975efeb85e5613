#include "vmm/devices/guest_uart.h"

/* Quoted names in comments are sections of National's PC16550D data sheet. */

enum uart_register {
    REG_DATA, /* RBR, THR, divisor low */
    REG_IER,  /* divisor high */
    REG_IIR,  /* FCR */
    REG_LCR,
    REG_MCR,
    REG_LSR,
    REG_MSR,
    REG_SCRATCH,
};

#define IER_RX     BIT(0)
#define IER_THR    BIT(1)
#define IER_LINE   BIT(2)
#define IER_MODEM  BIT(3)
#define IER_UNUSED 0xF0u

#define IIR_NONE    0x01u
#define IIR_MODEM   0x00u
#define IIR_THR     0x02u
#define IIR_RX      0x04u
#define IIR_LINE    0x06u
#define IIR_TIMEOUT 0x0Cu
#define IIR_FIFOS   0xC0u

#define FCR_ENABLE        BIT(0)
#define FCR_CLEAR_RX      BIT(1)
#define FCR_TRIGGER_SHIFT 6
#define FCR_KEPT          (FCR_ENABLE | 3u << FCR_TRIGGER_SHIFT)

#define LCR_DLAB BIT(7)

#define MCR_DTR    BIT(0)
#define MCR_RTS    BIT(1)
#define MCR_OUT1   BIT(2)
#define MCR_OUT2   BIT(3)
#define MCR_LOOP   BIT(4)
#define MCR_UNUSED 0xE0u

#define LSR_DATA    BIT(0)
#define LSR_OVERRUN BIT(1)
#define LSR_THR     BIT(5)
#define LSR_EMPTY   BIT(6)

#define MSR_DELTAS     0x0Fu
#define MSR_RI_ENDED   BIT(2)
#define MSR_CTS        BIT(4)
#define MSR_DSR        BIT(5)
#define MSR_RI         BIT(6)
#define MSR_DCD        BIT(7)
#define MSR_CONNECTED  (MSR_CTS | MSR_DSR | MSR_DCD)
#define MSR_LINE_SHIFT 4 /* from a line to its delta bit */

static bool fifos_on(const struct guest_uart *uart)
{
    return (uart->fcr & FCR_ENABLE) != 0;
}

static unsigned int capacity(const struct guest_uart *uart)
{
    return fifos_on(uart) ? GUEST_UART_FIFO : 1;
}

static unsigned int trigger_level(const struct guest_uart *uart)
{
    static const uint8_t levels[] = {1, 4, 8, 14};

    return fifos_on(uart) ? levels[uart->fcr >> FCR_TRIGGER_SHIFT] : 1;
}

/* "Interrupt Identification Register": the pending cause of the highest priority. */
static uint8_t interrupt_cause(const struct guest_uart *uart)
{
    if ((uart->ier & IER_LINE) && uart->lsr_errors != 0)
        return IIR_LINE;
    if ((uart->ier & IER_RX) && uart->count >= trigger_level(uart))
        return IIR_RX;
    /* Below the trigger level the guest is told at once, not after four characters' time: the
     * host delivers what it has in one go, and nothing would be gained by waiting. */
    if ((uart->ier & IER_RX) && uart->count != 0)
        return IIR_TIMEOUT;
    if ((uart->ier & IER_THR) && uart->thr_empty)
        return IIR_THR;
    if ((uart->ier & IER_MODEM) && (uart->msr & MSR_DELTAS))
        return IIR_MODEM;
    return IIR_NONE;
}

static void update_irq(struct guest_uart *uart)
{
    /* On a PC, OUT2 opens the gate to the interrupt line; in loopback the pin is inactive. */
    bool gate = (uart->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;
    bool level = gate && interrupt_cause(uart) != IIR_NONE;

    if (level == uart->irq_level)
        return;
    uart->irq_level = level;
    uart->ops->irq(uart->ctx, level);
}

void guest_uart_init(struct guest_uart *uart, const struct guest_uart_ops *ops, void *ctx)
{
    *uart = (struct guest_uart){.ops = ops, .ctx = ctx, .msr = MSR_CONNECTED, .thr_empty = true};
    uart->lsr_tx = LSR_THR | LSR_EMPTY;
    uart->divisor_low = 1; /* 115,200 baud */
}

static uint8_t read_data(struct guest_uart *uart)
{
    if (uart->count != 0) {
        uart->received = uart->fifo[uart->head];
        uart->head = (uint8_t)((uart->head + 1) % GUEST_UART_FIFO);
        uart->count--;
        update_irq(uart);
    }
    return uart->received;
}

static void put(struct guest_uart *uart, uint8_t c)
{
    uart->fifo[(uart->head + uart->count) % GUEST_UART_FIFO] = c;
    uart->count++;
}

/* Loopback, in which the interrupt's pin is inactive. */
static void receive_own(struct guest_uart *uart, const uint8_t *data, unsigned int count)
{
    unsigned int room = capacity(uart) - MIN((unsigned int)uart->count, capacity(uart));

    for (unsigned int i = 0; i < MIN(count, room); i++)
        put(uart, data[i]);
    if (count > room)
        uart->lsr_errors |= LSR_OVERRUN;
}

static void set_empty(struct guest_uart *uart, bool empty)
{
    uart->thr_empty = empty;
    uart->lsr_tx = empty ? LSR_THR | LSR_EMPTY : 0;
    update_irq(uart);
}

static void hold(struct guest_uart *uart, uint8_t c)
{
    uart->thr = c;
    set_empty(uart, false);
}

void guest_uart_resume(struct guest_uart *uart)
{
    if (guest_uart_tx_waits(uart) && uart->ops->tx(uart->ctx, &uart->thr, 1) == 1)
        set_empty(uart, true);
}

bool guest_uart_tx_full(const struct guest_uart *uart)
{
    return guest_uart_tx_waits(uart) && !(uart->lcr & LCR_DLAB) && !(uart->mcr & MCR_LOOP);
}

/* Returns how many were sent. */
static unsigned int transmit(struct guest_uart *uart, const uint8_t *data, unsigned int count)
{
    unsigned int sent = 0;

    if (!(uart->ier & IER_THR)) {
        uart->thr_empty = true;
        return uart->ops->tx(uart->ctx, data, count);
    }
    /* The line falls and rises again around each transmission, because an edge-triggered interrupt
     * controller waits for that. */
    for (; sent < count; sent++) {
        uart->thr_empty = false;
        update_irq(uart);
        if (uart->ops->tx(uart->ctx, data + sent, 1) == 0)
            break;
        uart->thr_empty = true;
        update_irq(uart);
    }
    return sent;
}

static unsigned int send(struct guest_uart *uart, const uint8_t *data, unsigned int count)
{
    unsigned int sent;

    if (guest_uart_tx_waits(uart))
        return 0;
    sent = transmit(uart, data, count);
    if (sent == count)
        return count;
    hold(uart, data[sent]);
    return sent + 1;
}

unsigned int guest_uart_write_data(struct guest_uart *uart, const uint8_t *data, unsigned int count)
{
    if (uart->lcr & LCR_DLAB) {
        uart->divisor_low = data[count - 1];
    } else if (uart->mcr & MCR_LOOP) {
        uart->thr_empty = !guest_uart_tx_waits(uart);
        receive_own(uart, data, count);
    } else {
        return send(uart, data, count);
    }
    return count;
}

static uint8_t read_iir(struct guest_uart *uart)
{
    uint8_t cause = interrupt_cause(uart);

    if (cause == IIR_THR) {
        uart->thr_empty = false;
        update_irq(uart);
    }
    return (uint8_t)(cause | (fifos_on(uart) ? IIR_FIFOS : 0));
}

static uint8_t line_status(const struct guest_uart *uart)
{
    return (uint8_t)(uart->lsr_errors | uart->lsr_tx | (uart->count ? LSR_DATA : 0));
}

static uint8_t read_lsr(struct guest_uart *uart)
{
    uint8_t value = line_status(uart);

    uart->lsr_errors = 0;
    update_irq(uart);
    return value;
}

static uint8_t read_msr(struct guest_uart *uart)
{
    uint8_t value = uart->msr;

    uart->msr &= (uint8_t)~MSR_DELTAS;
    update_irq(uart);
    return value;
}

static void write_ier(struct guest_uart *uart, uint8_t value)
{
    uint8_t enabled = value & (uint8_t)~uart->ier;

    uart->ier = value & (uint8_t)~IER_UNUSED;
    /* Enabling the interrupt while the transmitter is empty raises it. */
    if ((enabled & IER_THR) && !guest_uart_tx_waits(uart))
        uart->thr_empty = true;
    update_irq(uart);
}

static void write_fcr(struct guest_uart *uart, uint8_t value)
{
    /* "FIFO Control Register": bytes are lost when FIFOs are switched on or off, and the other
     * bits only count while they are on. */
    if (((value ^ uart->fcr) & FCR_ENABLE) ||
        (value & (FCR_ENABLE | FCR_CLEAR_RX)) == (FCR_ENABLE | FCR_CLEAR_RX))
        uart->count = 0;
    uart->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
    update_irq(uart);
}

static void set_modem_lines(struct guest_uart *uart, uint8_t lines)
{
    uint8_t changed = (uart->msr ^ lines) & (uint8_t)~MSR_DELTAS;
    uint8_t deltas = changed >> MSR_LINE_SHIFT;

    /* RI has a bit for its trailing edge only. */
    if (lines & MSR_RI)
        deltas &= (uint8_t)~MSR_RI_ENDED;
    uart->msr = (uint8_t)(lines | (uart->msr & MSR_DELTAS) | deltas);
}

static void write_mcr(struct guest_uart *uart, uint8_t value)
{
    uint8_t lines = MSR_CONNECTED;

    uart->mcr = value & (uint8_t)~MCR_UNUSED;
    if (value & MCR_LOOP)
        lines = (uint8_t)((value & MCR_RTS ? MSR_CTS : 0) | (value & MCR_DTR ? MSR_DSR : 0) |
                          (value & MCR_OUT1 ? MSR_RI : 0) | (value & MCR_OUT2 ? MSR_DCD : 0));
    set_modem_lines(uart, lines);
    update_irq(uart);
}

static NOINLINE uint32_t read_slowly(struct guest_uart *uart, unsigned int reg)
{
    bool dlab = (uart->lcr & LCR_DLAB) != 0;

    switch (reg % GUEST_UART_PORTS) {
    case REG_DATA: return dlab ? uart->divisor_low : read_data(uart);
    case REG_IER: return dlab ? uart->divisor_high : uart->ier;
    case REG_IIR: return read_iir(uart);
    case REG_LCR: return uart->lcr;
    case REG_MCR: return uart->mcr;
    case REG_LSR: return read_lsr(uart);
    case REG_MSR: return read_msr(uart);
    default: return uart->scratch;
    }
}

uint32_t guest_uart_read(struct guest_uart *uart, unsigned int reg)
{
    /* What is read most often, and nearly always without an effect. */
    if (likely(reg == REG_LSR && uart->lsr_errors == 0))
        return line_status(uart);
    return read_slowly(uart, reg);
}

void guest_uart_write(struct guest_uart *uart, unsigned int reg, uint8_t value)
{
    bool dlab = (uart->lcr & LCR_DLAB) != 0;

    switch (reg % GUEST_UART_PORTS) {
    case REG_DATA: (void)guest_uart_write_data(uart, &value, 1); break;
    case REG_IER:
        if (dlab)
            uart->divisor_high = value;
        else
            write_ier(uart, value);
        break;
    case REG_IIR: write_fcr(uart, value); break;
    case REG_LCR: uart->lcr = value; break;
    case REG_MCR: write_mcr(uart, value); break;
    case REG_SCRATCH: uart->scratch = value; break;
    default: break; /* LSR and MSR are read-only */
    }
}

bool guest_uart_rx_ready(const struct guest_uart *uart)
{
    return !(uart->mcr & MCR_LOOP) && uart->count < capacity(uart);
}

bool guest_uart_rx(struct guest_uart *uart, uint8_t c)
{
    if (!guest_uart_rx_ready(uart))
        return false;
    put(uart, c);
    update_irq(uart);
    return true;
}
