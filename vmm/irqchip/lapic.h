#ifndef BULKHEAD_VMM_IRQCHIP_LAPIC_H
#define BULKHEAD_VMM_IRQCHIP_LAPIC_H

/* A virtual local APIC, xAPIC and x2APIC. Its registers are kept in a page in the architecture's
 * own layout, so that APIC virtualization hardware can work on the same page.
 *
 * It holds no lock: only the pCPU that runs the vCPU may call in here, others post to the vCPU.
 * Times are the machine's TSC. The timer's input clock is 1 GHz, one tick a nanosecond. */

#include "lib/error.h"
#include "vmm/irqchip/ioapic.h"
#include "vmm/irqchip/lapic_regs.h"

enum lapic_shorthand {
    LAPIC_TO_DEST,
    LAPIC_TO_SELF,
    LAPIC_TO_ALL,
    LAPIC_TO_OTHERS,
};

struct lapic_ipi {
    uint8_t vector;
    uint8_t delivery_mode; /* enum apic_delivery, never a reserved one */
    uint8_t shorthand;     /* enum lapic_shorthand */
    bool logical;
    bool level;         /* ICR.Level: assert */
    bool trigger_level; /* ICR.Trigger mode: level */
    bool x2apic;        /* `dest` has the 32-bit format; hand it on to lapic_match() */
    uint32_t dest;
};

/* All are called from within the calls below and must not call back into the same lapic, except
 * send_ipi and eoi, which may use lapic_accept() on it. */
struct lapic_ops {
    /* The guest sends an IPI. Not called for a fixed IPI to itself by shorthand, for illegal
     * vectors and reserved modes, or for an INIT de-assert, which P6 and later ignore. */
    void (*send_ipi)(void *ctx, const struct lapic_ipi *ipi);
    /* The guest has acknowledged a level-triggered interrupt and wants I/O APICs to know. */
    void (*eoi)(void *ctx, uint8_t vector);
    /* lapic_timer_next() or tsc_deadline has changed. */
    void (*timer_changed)(void *ctx);
};

struct lapic {
    uint32_t *regs;    /* the 4 KiB register page */
    int pending;       /* cached: the vector to deliver now, -1 = none */
    uint8_t irr_words; /* bit n: IRR register n is not 0 */
    uint8_t isr_words;
    bool xapic;       /* cached: what `base` says, see lapic_is_xapic() */
    bool tmr_changed; /* TMR is not what it was when somebody last cleared this */
    uint64_t base;    /* IA32_APIC_BASE */
    uint32_t apic_id;
    uint32_t errors;        /* collected since the last write of ESR */
    uint64_t timer_expiry;  /* one-shot and periodic; UINT64_MAX = stopped */
    uint64_t tsc_per_count; /* of the timer, 32.32 fixed point */
    uint64_t tsc_deadline;  /* guest TSC value, 0 = disarmed */
    const struct lapic_ops *ops;
    void *ctx;
};

static inline uint32_t *lapic_reg(const struct lapic *l, uint32_t offset)
{
    return &l->regs[offset / sizeof(uint32_t)];
}

/* Power-up: binds to the page and `ops`, enables xAPIC mode and resets. */
void lapic_init(struct lapic *l, uint32_t *regs_page, uint32_t apic_id, bool bsp,
                const struct lapic_ops *ops, void *ctx);

/* The state after INIT (SDM vol. 3, 10.4.7.3): as power-up, but IA32_APIC_BASE is kept. */
void lapic_reset(struct lapic *l);

/* What firmware leaves behind on the BSP for an OS that starts with the 8259 ("virtual wire mode",
 * MP specification 1.4, 3.6.2.2): APIC enabled, LINT0 = ExtINT, LINT1 = NMI. */
void lapic_set_virtual_wire(struct lapic *l);

/* Rebuilds the cached state (pending, PPR) after hardware or a restore changed the page. */
void lapic_resync(struct lapic *l);

/* The same when only TPR may have changed. */
void lapic_update_priority(struct lapic *l);

/* Registers -------------------------------------------------------------------------------- */

/* xAPIC accesses of 32 bits at `offset` in the page. -BH_ENOENT: no xAPIC is decoded there now
 * (globally disabled or x2APIC mode); -BH_EINVAL: `offset` is not 16-byte aligned in the page.
 * Reads of reserved registers give 0 and set ESR. Writes: as if there were no error, and nothing is
 * written. */
int lapic_mmio_read(struct lapic *l, uint32_t offset, uint32_t *value, uint64_t now);
void lapic_mmio_write(struct lapic *l, uint32_t offset, uint32_t value, uint64_t now);

/* x2APIC accesses to MSRs 800h..8FFh. -BH_EINVAL: the guest gets #GP. */
int lapic_msr_read(struct lapic *l, uint32_t msr, uint64_t *value, uint64_t now);
int lapic_msr_write(struct lapic *l, uint32_t msr, uint64_t value, uint64_t now);

/* IA32_APIC_BASE. -BH_EINVAL (the guest gets #GP): reserved bits, an illegal mode change, or
 * another address than the default. The BSP bit is kept as it is. */
int lapic_set_base(struct lapic *l, uint64_t value, uint64_t now);

static inline bool lapic_is_x2apic(const struct lapic *l)
{
    return (l->base & APIC_BASE_X2APIC) != 0;
}

/* In the mode whose registers are in memory. */
static inline bool lapic_is_xapic(const struct lapic *l)
{
    return l->xapic;
}

/* Enabled by IA32_APIC_BASE. */
static inline bool lapic_hw_enabled(const struct lapic *l)
{
    return (l->base & APIC_BASE_ENABLE) != 0;
}

/* Enabled by IA32_APIC_BASE and by SVR. */
static inline bool lapic_enabled(const struct lapic *l)
{
    return lapic_hw_enabled(l) && (*lapic_reg(l, LAPIC_SVR) & SVR_ENABLE) != 0;
}

/* Whether lapic_mmio_read() gives what stands in the page, and does no more. */
static inline bool lapic_is_plain(const struct lapic *l, uint32_t offset)
{
    uint32_t index = offset >> 4 | offset << 28;

    return lapic_is_xapic(l) && index < 64 && (LAPIC_PLAIN >> index & 1);
}

/* Interrupts ------------------------------------------------------------------------------- */

/* An interrupt message arrives: sets IRR and TMR. Dropped when the APIC is disabled; a vector
 * below 16 is an error that ESR shows. */
void lapic_accept(struct lapic *l, uint8_t vector, bool level);

/* The highest vector whose class is above PPR, -1 when there is none or the APIC is disabled. */
static inline int lapic_pending(const struct lapic *l)
{
    return l->pending;
}

/* The highest vector in IRR, whatever PPR is; -1 = none. */
int lapic_highest_irr(const struct lapic *l);

/* Whether there is any. */
static inline bool lapic_requested(const struct lapic *l)
{
    return l->irr_words != 0;
}

/* Neither a request nor an interrupt in service, as far as the cached state tells. */
static inline bool lapic_is_quiet(const struct lapic *l)
{
    return (l->irr_words | l->isr_words) == 0;
}

/* The CPU takes `vector` (that lapic_pending() returned): IRR -> ISR. */
void lapic_ack(struct lapic *l, uint8_t vector);

/* `vector` was requested by a level: its end is of interest to others. */
static inline bool lapic_is_level(const struct lapic *l, uint8_t vector)
{
    return (*lapic_reg(l, LAPIC_TMR + vector / 32u * 0x10) & BIT(vector & 31u)) != 0;
}

/* The guest writes EOI. */
void lapic_eoi_write(struct lapic *l);

/* The interrupt `vector` was taken out of ISR: tells those who wait for that. */
void lapic_eoi_done(struct lapic *l, uint8_t vector);

/* The highest vector in service in bits 15:8 and the highest requested one in bits 7:0, 0: none.
 * None is requested of a LAPIC that is disabled. */
uint16_t lapic_interrupt_status(const struct lapic *l);

static inline void lapic_set_tpr(struct lapic *l, uint32_t tpr)
{
    *lapic_reg(l, LAPIC_TPR) = tpr;
    if (lapic_is_quiet(l))
        *lapic_reg(l, LAPIC_PPR) = tpr;
    else
        lapic_update_priority(l);
}

/* CR8 is bits 7:4 of TPR. */
static inline uint8_t lapic_get_cr8(const struct lapic *l)
{
    return (uint8_t)(*lapic_reg(l, LAPIC_TPR) >> 4 & 0xF);
}
void lapic_set_cr8(struct lapic *l, uint8_t cr8);

/* Whether a message to `dest` is for this APIC. `x2apic_ipi` = struct lapic_ipi.x2apic; false for
 * messages of I/O APICs and MSIs, whose destination has 8 bits. */
bool lapic_match(const struct lapic *l, uint32_t dest, bool logical, bool x2apic_ipi);

/* LINT0 lets the 8259's INTR through: LVT LINT0 is an unmasked ExtINT, or the APIC is globally
 * disabled. */
bool lapic_lint0_extint(const struct lapic *l);

/* Timer ------------------------------------------------------------------------------------ */

/* When lapic_timer_expired() is to be called: UINT64_MAX = never. One-shot and
 * periodic mode; TSC-deadline mode has l->tsc_deadline. A masked timer needs no call. */
static inline uint64_t lapic_timer_next(const struct lapic *l)
{
    return *lapic_reg(l, LAPIC_LVT_TIMER) & LVT_MASKED ? UINT64_MAX : l->timer_expiry;
}

/* The time of lapic_timer_next() or the guest TSC value tsc_deadline has come. Harmless in
 * one-shot and periodic mode when the time has not come. Says timer_changed if it is to be called
 * again: the others are done with. */
void lapic_timer_expired(struct lapic *l, uint64_t now);

/* The guest reads the current count. One that reads 0 has set the IRR. */
uint32_t lapic_timer_read(struct lapic *l, uint64_t now);

/* The guest writes the initial count. */
void lapic_timer_write_initial(struct lapic *l, uint32_t value, uint64_t now);

/* IA32_TSC_DEADLINE. Outside TSC-deadline mode writes are ignored, and it reads 0. */
void lapic_set_tsc_deadline(struct lapic *l, uint64_t value);

#endif
