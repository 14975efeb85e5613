#include "vmm/irqchip/lapic.h"

#include "lib/string.h"
#include "vmm/irqchip/lapic_internal.h"

/* Section, table and figure numbers: SDM vol. 3A, chapter 10. */

#define VECTOR_WORDS  8
#define PRIORITY      0xF0u /* the class of a vector or of TPR and PPR */
#define DFR_FLAT      0xFFFFFFFFu
#define ALL_X2APIC    0xFFFFFFFFu
#define ALL_XAPIC     0xFFu
#define VECTOR_BIT(v) BIT((v)&31u)

static uint32_t *vector_word(const struct lapic *l, uint32_t array, uint8_t vector)
{
    return lapic_reg(l, array) + vector / 32u * (0x10u / sizeof(uint32_t));
}

static unsigned int highest_bit(uint32_t v)
{
    return 31u ^ (unsigned int)__builtin_clz(v);
}

static int highest_vector(const struct lapic *l, uint32_t array, uint8_t words)
{
    unsigned int word;

    if (words == 0)
        return -1;
    word = highest_bit(words);
    return (int)(word * 32 + highest_bit(*vector_word(l, array, (uint8_t)(word * 32))));
}

int lapic_highest_irr(const struct lapic *l)
{
    return highest_vector(l, LAPIC_IRR, l->irr_words);
}

/* 10.8.3.1: PPR is the higher class of TPR and the highest vector in service. */
static inline uint32_t update_ppr(struct lapic *l)
{
    uint32_t tpr = *lapic_reg(l, LAPIC_TPR), ppr = tpr;

    if (l->isr_words != 0) {
        uint32_t isr = (uint32_t)highest_vector(l, LAPIC_ISR, l->isr_words) & PRIORITY;

        if (isr > (tpr & PRIORITY))
            ppr = isr;
    }
    *lapic_reg(l, LAPIC_PPR) = ppr;
    return ppr;
}

static inline void update_priority(struct lapic *l)
{
    uint32_t ppr = update_ppr(l);
    int vector;

    l->pending = -1;
    if (!lapic_requested(l))
        return;
    vector = lapic_highest_irr(l);
    if (((uint32_t)vector & PRIORITY) > (ppr & PRIORITY) && lapic_enabled(l))
        l->pending = vector;
}

void lapic_update_priority(struct lapic *l)
{
    update_priority(l);
}

static uint8_t used_words(const struct lapic *l, uint32_t array)
{
    uint8_t words = 0;

#pragma GCC unroll 8
    for (unsigned int i = 0; i < VECTOR_WORDS; i++)
        if (*lapic_reg(l, array + i * 0x10) != 0)
            words |= (uint8_t)BIT(i);
    return words;
}

void lapic_resync(struct lapic *l)
{
    l->irr_words = used_words(l, LAPIC_IRR);
    l->isr_words = used_words(l, LAPIC_ISR);
    lapic_update_priority(l);
}

/* 10.4.7.1. The APIC ID survives an INIT. */
static void reset_registers(struct lapic *l)
{
    bool x2apic = lapic_is_x2apic(l);

    memset(l->regs, 0, PAGE_SIZE_4K);
    *lapic_reg(l, LAPIC_ID) = x2apic ? l->apic_id : l->apic_id << 24;
    *lapic_reg(l, LAPIC_VERSION) = LAPIC_VERSION_VALUE;
    *lapic_reg(l, LAPIC_DFR) = x2apic ? 0 : DFR_FLAT;
    *lapic_reg(l, LAPIC_SVR) = SVR_VECTOR;
    for (uint32_t lvt = LAPIC_LVT_TIMER; lvt <= LAPIC_LVT_ERROR; lvt += 0x10)
        *lapic_reg(l, lvt) = LVT_MASKED;
    if (x2apic)
        *lapic_reg(l, LAPIC_LDR) = (l->apic_id >> 4) << 16 | BIT(l->apic_id & 0xF);
    l->errors = 0;
    l->tmr_changed = true;
    lapic_timer_reset(l);
    lapic_resync(l);
}

void lapic_init(struct lapic *l, uint32_t *regs_page, uint32_t apic_id, bool bsp,
                const struct lapic_ops *ops, void *ctx)
{
    *l = (struct lapic){
        .regs = regs_page,
        .base = APIC_BASE_ADDRESS | APIC_BASE_ENABLE | (bsp ? APIC_BASE_BSP : 0),
        .xapic = true,
        .apic_id = apic_id,
        .ops = ops,
        .ctx = ctx,
    };
    reset_registers(l);
}

void lapic_reset(struct lapic *l)
{
    reset_registers(l);
    l->ops->timer_changed(l->ctx);
}

void lapic_set_virtual_wire(struct lapic *l)
{
    *lapic_reg(l, LAPIC_SVR) = SVR_ENABLE | 0x0F;
    *lapic_reg(l, LAPIC_LVT_LINT0) = APIC_DELIVERY_EXTINT << LVT_MODE_SHIFT;
    *lapic_reg(l, LAPIC_LVT_LINT1) = APIC_DELIVERY_NMI << LVT_MODE_SHIFT;
    lapic_update_priority(l);
}

void lapic_error(struct lapic *l, uint32_t esr_bits)
{
    uint32_t lvt = *lapic_reg(l, LAPIC_LVT_ERROR);

    l->errors |= esr_bits;
    if ((lvt & LVT_MASKED) || !lapic_enabled(l))
        return;
    /* An illegal vector in the error entry itself must not make one error out of another. */
    if ((lvt & LVT_VECTOR) < LAPIC_FIRST_VECTOR)
        l->errors |= ESR_RECEIVE_ILLEGAL_VECTOR;
    else
        lapic_accept(l, (uint8_t)(lvt & LVT_VECTOR), false);
}

void lapic_accept(struct lapic *l, uint8_t vector, bool level)
{
    uint32_t *tmr = vector_word(l, LAPIC_TMR, vector);

    if (unlikely(!lapic_enabled(l)))
        return;
    if (unlikely(vector < LAPIC_FIRST_VECTOR)) {
        lapic_error(l, ESR_RECEIVE_ILLEGAL_VECTOR);
        return;
    }
    /* 10.8.4: TMR follows the trigger mode of each interrupt that is accepted. */
    if (((*tmr & VECTOR_BIT(vector)) != 0) != level) {
        *tmr ^= VECTOR_BIT(vector);
        l->tmr_changed = true;
    }
    *vector_word(l, LAPIC_IRR, vector) |= VECTOR_BIT(vector);
    l->irr_words |= (uint8_t)BIT(vector / 32u);
    /* Only a vector above both the pending one and PPR changes what is to be delivered. */
    if ((int)vector > l->pending && (vector & PRIORITY) > (*lapic_reg(l, LAPIC_PPR) & PRIORITY))
        l->pending = vector;
}

void lapic_ack(struct lapic *l, uint8_t vector)
{
    uint32_t *irr = vector_word(l, LAPIC_IRR, vector);
    uint8_t word = (uint8_t)BIT(vector / 32u);

    *irr &= ~VECTOR_BIT(vector);
    if (*irr == 0)
        l->irr_words &= (uint8_t)~word;
    *vector_word(l, LAPIC_ISR, vector) |= VECTOR_BIT(vector);
    l->isr_words |= word;
    /* It was the highest vector of all, and its class was above PPR: nothing else is due now. */
    *lapic_reg(l, LAPIC_PPR) = vector & PRIORITY;
    l->pending = -1;
}

COLD static void level_eoi(struct lapic *l, uint8_t vector)
{
    if (!(*lapic_reg(l, LAPIC_SVR) & SVR_SUPPRESS_EOI))
        l->ops->eoi(l->ctx, vector);
}

void lapic_eoi_write(struct lapic *l)
{
    unsigned int word, bit;
    uint32_t *isr, rest;

    if (l->isr_words == 0)
        return; /* 10.8.5: an EOI without an interrupt in service does nothing */
    word = highest_bit(l->isr_words);
    isr = lapic_reg(l, LAPIC_ISR + word * 0x10);
    bit = highest_bit(*isr);
    *isr = rest = *isr & ~BIT(bit);
    if (rest == 0)
        l->isr_words &= (uint8_t)~BIT(word);
    update_priority(l);
    if (unlikely(*lapic_reg(l, LAPIC_TMR + word * 0x10) & BIT(bit)))
        level_eoi(l, (uint8_t)(word * 32 + bit));
}

void lapic_eoi_done(struct lapic *l, uint8_t vector)
{
    if (lapic_is_level(l, vector))
        level_eoi(l, vector);
}

uint16_t lapic_interrupt_status(const struct lapic *l)
{
    int isr = highest_vector(l, LAPIC_ISR, l->isr_words);
    int irr = lapic_enabled(l) ? lapic_highest_irr(l) : 0;

    return (uint16_t)(MAX(isr, 0) << 8 | MAX(irr, 0));
}

void lapic_set_cr8(struct lapic *l, uint8_t cr8)
{
    lapic_set_tpr(l, (cr8 & 0xFu) << 4);
}

static bool match_logical(const struct lapic *l, uint32_t dest)
{
    uint32_t ldr = *lapic_reg(l, LAPIC_LDR);

    if (lapic_is_x2apic(l)) /* 10.12.10.2 */
        return ldr >> 16 == dest >> 16 && (ldr & dest & 0xFFFF) != 0;
    if (dest > ALL_XAPIC)
        return false;
    ldr >>= 24;
    if (*lapic_reg(l, LAPIC_DFR) == DFR_FLAT)
        return (ldr & dest) != 0;
    return ldr >> 4 == dest >> 4 && (ldr & dest & 0xF) != 0; /* 10.6.2.2, cluster model */
}

bool lapic_match(const struct lapic *l, uint32_t dest, bool logical, bool x2apic_ipi)
{
    if (!lapic_hw_enabled(l))
        return false;
    if (dest == (x2apic_ipi ? ALL_X2APIC : ALL_XAPIC))
        return true;
    return logical ? match_logical(l, dest) : dest == l->apic_id;
}

bool lapic_lint0_extint(const struct lapic *l)
{
    return !lapic_hw_enabled(l) || (*lapic_reg(l, LAPIC_LVT_LINT0) & (LVT_MASKED | LVT_MODE)) ==
                                       APIC_DELIVERY_EXTINT << LVT_MODE_SHIFT;
}

void lapic_deliver_lvt(struct lapic *l, uint32_t lvt_offset)
{
    uint32_t lvt = *lapic_reg(l, lvt_offset);

    if (!(lvt & LVT_MASKED))
        lapic_accept(l, (uint8_t)(lvt & LVT_VECTOR), false);
}
