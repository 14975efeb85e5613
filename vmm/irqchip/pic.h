#ifndef BULKHEAD_VMM_IRQCHIP_PIC_H
#define BULKHEAD_VMM_IRQCHIP_PIC_H

/* The PC's pair of 8259A interrupt controllers with the ELCR (edge/level control) of later chip
 * sets, which replaces ICW1.LTIM. A pure state machine: the caller serializes, the output is read
 * with pic_pending(). */

#include "lib/macros.h"

enum pic_port {
    PIC_PORT_MASTER_CMD = 0x20,
    PIC_PORT_MASTER_DATA = 0x21,
    PIC_PORT_SLAVE_CMD = 0xA0,
    PIC_PORT_SLAVE_DATA = 0xA1,
    PIC_PORT_ELCR_MASTER = 0x4D0,
    PIC_PORT_ELCR_SLAVE = 0x4D1,
};

#define PIC_IRQS        16
#define PIC_CASCADE_IRQ 2

struct pic_chip {
    uint8_t line;        /* the inputs' levels */
    uint8_t irr;         /* requests: latched edges, and level inputs that are up */
    uint8_t isr;         /* in service */
    uint8_t imr;         /* masked */
    uint8_t elcr;        /* 1 = level-triggered */
    uint8_t vector_base; /* ICW2, low three bits zero */
    uint8_t lowest;      /* the input that has the lowest priority; 7 after a reset */
    uint8_t icw;         /* the initialization word expected next: 2..4, 0 = initialized */
    bool single;         /* ICW1.SNGL: no ICW3 follows */
    bool need_icw4;
    bool auto_eoi;
    bool rotate_auto_eoi;
    bool fully_nested; /* ICW4.SFNM, the special fully nested mode */
    bool special_mask;
    bool read_isr; /* a read of the command port returns ISR instead of IRR */
    bool poll;     /* the next read is a poll */
};

struct pic {
    struct pic_chip chip[2]; /* 0 = master, 1 = slave on the master's input 2 */
    bool output;             /* cached INT output of the master */
};

/* Power-up: all inputs low and masked until the guest initializes the chips. */
void pic_reset(struct pic *pic);

/* Sets input `irq` (0..15; 2 is the cascade and ignored, as is anything above 15) to `level`. */
void pic_set_irq(struct pic *pic, unsigned int irq, bool level);

/* The master's INT output: an interrupt waits to be fetched with pic_ack(). */
static inline bool pic_pending(const struct pic *pic)
{
    return pic->output;
}

/* The INTA cycle. Returns the vector, that of input 7 (spurious) when nothing is pending. */
uint8_t pic_ack(struct pic *pic);

/* Byte accesses to the ports in enum pic_port. */
uint32_t pic_read(struct pic *pic, unsigned int port);
void pic_write(struct pic *pic, unsigned int port, uint8_t value);

#endif
