#ifndef BULKHEAD_VMM_IRQCHIP_IOAPIC_H
#define BULKHEAD_VMM_IRQCHIP_IOAPIC_H

/* An I/O APIC with 24 pins and an EOI register (version 20h). The caller serializes.
 *
 * ioapic_set_irq() takes "asserted" and not a voltage: which polarity a guest programs is kept and
 * read back but changes nothing, so that a guest that trusts its ACPI tables and one that does not
 * both get their interrupts. */

#include "lib/macros.h"

#define IOAPIC_BASE    0xFEC00000ull
#define IOAPIC_PINS    24
#define IOAPIC_VERSION 0x20

/* Delivery modes of interrupt messages, the LVT and the ICR (SDM vol. 3, 10.5.1, 10.6.1, 10.11). */
enum apic_delivery {
    APIC_DELIVERY_FIXED = 0,
    APIC_DELIVERY_LOWEST = 1,
    APIC_DELIVERY_SMI = 2,
    APIC_DELIVERY_NMI = 4,
    APIC_DELIVERY_INIT = 5,
    APIC_DELIVERY_STARTUP = 6,
    APIC_DELIVERY_EXTINT = 7,
};

struct ioapic_message {
    uint8_t vector;
    uint8_t delivery_mode; /* enum apic_delivery */
    uint8_t dest;
    bool logical;
    bool level;
};

struct ioapic_ops {
    /* Sends one message. For level-triggered ones ioapic_eoi() must follow when the guest has
     * acknowledged the vector. Must not call back into the I/O APIC. */
    void (*deliver)(void *ctx, const struct ioapic_message *msg);
};

struct ioapic {
    uint64_t redirection[IOAPIC_PINS];
    uint32_t lines;      /* asserted inputs */
    uint32_t remote_irr; /* pins whose Remote IRR is set (it is not kept in `redirection`) */
    uint32_t id;
    uint8_t select; /* IOREGSEL */
    const struct ioapic_ops *ops;
    void *ctx;
};

/* Power-up: binds to `ops`; all pins masked, no input asserted. */
void ioapic_init(struct ioapic *io, const struct ioapic_ops *ops, void *ctx);

/* Sets the input of `pin` (ignored when >= IOAPIC_PINS) to asserted or not. */
void ioapic_set_irq(struct ioapic *io, unsigned int pin, bool level);

/* The EOI message of a local APIC for a level-triggered vector. Pins that are still asserted are
 * delivered again. */
void ioapic_eoi(struct ioapic *io, uint8_t vector);

/* 32-bit accesses at `offset` from IOAPIC_BASE. Unknown registers read 0 and ignore writes. */
uint32_t ioapic_read(const struct ioapic *io, uint32_t offset);
void ioapic_write(struct ioapic *io, uint32_t offset, uint32_t value);

/* The message that `pin` would send as programmed now. Returns false when the pin is masked or
 * there is no such pin. */
bool ioapic_pin_message(const struct ioapic *io, unsigned int pin, struct ioapic_message *msg);

#endif
