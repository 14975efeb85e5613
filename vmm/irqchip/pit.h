#ifndef BULKHEAD_VMM_IRQCHIP_PIT_H
#define BULKHEAD_VMM_IRQCHIP_PIT_H

/* The 8254 interval timer and port 61h (gate and output of channel 2). All state is a function of
 * time; times are in ticks of PIT_HZ since boot, below 2^63, monotonic. The caller serializes. */

#include "lib/macros.h"

#define PIT_HZ       1193182ull
#define PIT_CHANNELS 3

enum pit_port {
    PIT_PORT_CHANNEL0 = 0x40,
    PIT_PORT_CHANNEL1 = 0x41,
    PIT_PORT_CHANNEL2 = 0x42,
    PIT_PORT_COMMAND = 0x43,
    PIT_PORT_SPEAKER = 0x61,
};

struct pit_channel {
    int64_t start;       /* tick at which the present count was loaded */
    int64_t reload_at;   /* tick at which `next_count` takes effect, INT64_MAX: none waits */
    int64_t paused_at;   /* ticks already counted when the gate stopped the count (mode 0, 4) */
    uint32_t count;      /* the count in use, 1..65536 */
    uint32_t next_count; /* the count register: what the next load brings */
    uint16_t latched;    /* what a counter latch command froze */
    uint8_t mode;        /* 0..5 */
    uint8_t access;      /* PIT_ACCESS_* */
    uint8_t low_byte;    /* the first byte of a two-byte write */
    uint8_t status;      /* latched status byte */
    bool gate;
    bool high_next_write; /* the next write is the high byte */
    uint8_t read_shift;   /* the byte that is read next: its place in the count */
    uint8_t read_toggle;  /* changes it after each: 8 when the bytes alternate */
    bool written;         /* a count was written since the control word */
    bool running;         /* counting from `start`: written, and in mode 1 and 5 triggered */
    union {
        struct {
            uint8_t latched_bytes; /* how many bytes of `latched` are still to be read */
            bool status_latched;
            bool bcd;
        };
        uint32_t unusual; /* any of these: one test when the counter is read */
    };
};

struct pit {
    struct pit_channel channel[PIT_CHANNELS];
    int64_t polled;     /* tick up to which edges of channel 0 are in `edges` */
    unsigned int edges; /* rising edges of OUT0 that were not polled yet */
    uint8_t speaker;    /* port 61h, the bits that can be written */
};

/* Power-up. Channel 0 has no count yet, as on hardware before firmware sets it. */
void pit_reset(struct pit *pit, uint64_t now);

/* Byte accesses to the ports in enum pit_port; others read FFh and ignore writes. */
uint32_t pit_read(struct pit *pit, unsigned int port, uint64_t now);
/* True when pit_poll_irq() or pit_next_irq() may return something else now. */
bool pit_write(struct pit *pit, unsigned int port, uint8_t value, uint64_t now);

/* Whether a command only freezes what is to be read: the counter latch and read-back commands. */
static inline bool pit_is_latch(uint8_t command)
{
    return (command & 0x30) == 0 || command >= 0xc0;
}

/* Writes such a command. */
void pit_latch(struct pit *pit, uint8_t command, uint64_t now);

/* The time of the first rising edge of OUT0 that pit_poll_irq() has not returned yet: <= now when
 * one is due, UINT64_MAX when none comes. A guest that asks for more than 50,000 interrupts a
 * second gets later times than the edges', so that it cannot keep the CPU busy with timers. */
uint64_t pit_next_irq(const struct pit *pit, uint64_t now);

/* Returns how many rising edges OUT0 (IRQ 0) had since the last call (saturates). */
unsigned int pit_poll_irq(struct pit *pit, uint64_t now);

#endif
