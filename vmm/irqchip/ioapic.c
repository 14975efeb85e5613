#include "vmm/irqchip/ioapic.h"

/* Section numbers: 82093AA data sheet (290566); the EOI register is described in the ICH9 data
 * sheet, 13.5.5. */

/* Memory-mapped registers (3.1). */
#define IOREGSEL 0x00
#define IOWIN    0x10
#define IOEOIR   0x40

/* Indirect registers (3.2). */
#define INDEX_ID          0x00
#define INDEX_VERSION     0x01
#define INDEX_ARBITRATION 0x02
#define INDEX_REDIRECTION 0x10
#define ID_MASK           0x0F000000u

/* Redirection table entries (3.2.4). */
#define REDIR_VECTOR     0xFFull
#define REDIR_MODE_SHIFT 8
#define REDIR_MODE       7u
#define REDIR_LOGICAL    BIT64(11)
#define REDIR_REMOTE_IRR BIT64(14)
#define REDIR_LEVEL      BIT64(15)
#define REDIR_MASKED     BIT64(16)
#define REDIR_DEST_SHIFT 56
#define REDIR_WRITABLE   (0xFFull << REDIR_DEST_SHIFT | 0x1AFFFull)

/* Delivery status (bit 12) always reads 0: messages are delivered at once. */
static_assert((REDIR_WRITABLE & (REDIR_REMOTE_IRR | BIT64(12))) == 0, "read-only bits");

void ioapic_init(struct ioapic *io, const struct ioapic_ops *ops, void *ctx)
{
    *io = (struct ioapic){.ops = ops, .ctx = ctx};
    for (unsigned int pin = 0; pin < IOAPIC_PINS; pin++)
        io->redirection[pin] = REDIR_MASKED;
}

static struct ioapic_message to_message(uint64_t entry)
{
    return (struct ioapic_message){
        .vector = (uint8_t)(entry & REDIR_VECTOR),
        .delivery_mode = (uint8_t)(entry >> REDIR_MODE_SHIFT & REDIR_MODE),
        .dest = (uint8_t)(entry >> REDIR_DEST_SHIFT),
        .logical = (entry & REDIR_LOGICAL) != 0,
        .level = (entry & REDIR_LEVEL) != 0,
    };
}

bool ioapic_pin_message(const struct ioapic *io, unsigned int pin, struct ioapic_message *msg)
{
    if (pin >= IOAPIC_PINS || (io->redirection[pin] & REDIR_MASKED))
        return false;
    *msg = to_message(io->redirection[pin]);
    return true;
}

/* Only fixed and lowest-priority messages are ever acknowledged with an EOI; the others are
 * edge-triggered whatever the entry says (3.2.4, delivery mode). */
static bool is_level(uint64_t entry)
{
    unsigned int mode = entry >> REDIR_MODE_SHIFT & REDIR_MODE;

    return (entry & REDIR_LEVEL) && mode <= APIC_DELIVERY_LOWEST;
}

static void deliver(struct ioapic *io, unsigned int pin)
{
    uint64_t entry = io->redirection[pin];
    struct ioapic_message msg = to_message(entry);

    if (entry & REDIR_MASKED)
        return;
    msg.level = is_level(entry);
    if (msg.level)
        io->remote_irr |= BIT(pin);
    io->ops->deliver(io->ctx, &msg);
}

/* Sends for a level-triggered pin that is asserted and whose last message was acknowledged. */
static void service_level(struct ioapic *io, unsigned int pin)
{
    if (is_level(io->redirection[pin]) && (io->lines & ~io->remote_irr & BIT(pin)))
        deliver(io, pin);
}

void ioapic_set_irq(struct ioapic *io, unsigned int pin, bool level)
{
    if (pin >= IOAPIC_PINS || ((io->lines >> pin & 1) != 0) == level)
        return;
    io->lines ^= BIT(pin);
    if (!level)
        return;
    if (is_level(io->redirection[pin]))
        service_level(io, pin);
    else
        deliver(io, pin); /* a masked edge is lost (3.2.4, interrupt mask) */
}

void ioapic_eoi(struct ioapic *io, uint8_t vector)
{
    for (uint32_t left = io->remote_irr; left != 0; left &= left - 1) {
        unsigned int pin = (unsigned int)__builtin_ctz(left);

        if ((io->redirection[pin] & REDIR_VECTOR) != vector)
            continue;
        io->remote_irr &= ~BIT(pin);
        service_level(io, pin);
    }
}

static uint64_t read_entry(const struct ioapic *io, unsigned int pin)
{
    return io->redirection[pin] | (io->remote_irr >> pin & 1 ? REDIR_REMOTE_IRR : 0);
}

static void write_entry(struct ioapic *io, unsigned int pin, bool high, uint32_t value)
{
    uint64_t entry = io->redirection[pin];

    if (high)
        entry = (entry & UINT32_MAX) | (uint64_t)value << 32;
    else
        entry = (entry & ~(uint64_t)UINT32_MAX) | value;
    io->redirection[pin] = entry & REDIR_WRITABLE;
    /* Linux clears a stuck Remote IRR by making the pin edge-triggered for a moment, which is what
     * chips without an EOI register offer. */
    if (!is_level(io->redirection[pin]))
        io->remote_irr &= ~BIT(pin);
    service_level(io, pin);
}

/* The pin whose entry IOREGSEL selects; IOAPIC_PINS or more when it selects something else. */
static unsigned int selected_pin(const struct ioapic *io)
{
    return io->select < INDEX_REDIRECTION ? IOAPIC_PINS : (io->select - INDEX_REDIRECTION) / 2u;
}

static uint32_t read_window(const struct ioapic *io)
{
    unsigned int pin = selected_pin(io);

    switch (io->select) {
    case INDEX_ID: return io->id;
    case INDEX_VERSION: return (IOAPIC_PINS - 1) << 16 | IOAPIC_VERSION;
    case INDEX_ARBITRATION: return io->id;
    default: break;
    }
    if (pin >= IOAPIC_PINS)
        return 0;
    return (uint32_t)(read_entry(io, pin) >> (io->select & 1 ? 32 : 0));
}

static void write_window(struct ioapic *io, uint32_t value)
{
    unsigned int pin = selected_pin(io);

    if (io->select == INDEX_ID)
        io->id = value & ID_MASK;
    else if (pin < IOAPIC_PINS)
        write_entry(io, pin, io->select & 1, value);
}

uint32_t ioapic_read(const struct ioapic *io, uint32_t offset)
{
    switch (offset) {
    case IOREGSEL: return io->select;
    case IOWIN: return read_window(io);
    default: return 0;
    }
}

void ioapic_write(struct ioapic *io, uint32_t offset, uint32_t value)
{
    switch (offset) {
    case IOREGSEL: io->select = (uint8_t)value; break;
    case IOWIN: write_window(io, value); break;
    case IOEOIR: ioapic_eoi(io, (uint8_t)value); break;
    default: break;
    }
}
