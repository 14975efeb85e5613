#include "vmm/irqchip/lapic_internal.h"

/* Register accesses. Section, table and figure numbers: SDM vol. 3A, chapter 10. */

#define REG_SIZE 0x10u

/* What registers demand, by the index of table 10-1 (offset / 16). */
#define XR  BIT(0) /* exists for xAPIC reads */
#define XW  BIT(1)
#define X2R BIT(2) /* exists for x2APIC reads (table 10-6) */
#define X2W BIT(3)
#define RO  (XR | X2R)
#define RW  (XR | XW | X2R | X2W)

#define PERF_WRITABLE (LVT_VECTOR | LVT_MODE | LVT_MASKED)
#define LINT_WRITABLE (PERF_WRITABLE | LVT_POLARITY | LVT_LEVEL)
#define DFR_WRITABLE  0xF0000000u
#define SVR_WRITABLE  (SVR_VECTOR | SVR_ENABLE | SVR_FOCUS | SVR_SUPPRESS_EOI)
#define ICR_DEST      0xFFFFFFFF00000000ull /* x2APIC: the ICR is one register */
#define ICR_WRITABLE \
    (ICR_VECTOR | ICR_MODE | ICR_LOGICAL | ICR_LEVEL | ICR_TRIGGER_LEVEL | ICR_SHORTHAND)

/* Bits that guests write although they can only be read; ignored in x2APIC mode, too. */
#define LVT_READ_ONLY (LVT_PENDING | LVT_REMOTE_IRR)

static uint32_t read_register(struct lapic *l, uint32_t offset, uint64_t now)
{
    return offset == LAPIC_TIMER_CUR ? lapic_timer_read(l, now) : *lapic_reg(l, offset);
}

/* The functions below write a register; `value` has only writable bits. */

static void write_nothing(struct lapic *l, uint32_t offset, uint32_t value, uint64_t now)
{
}

static void write_plain(struct lapic *l, uint32_t offset, uint32_t value, uint64_t now)
{
    *lapic_reg(l, offset) = value;
}

static void write_tpr(struct lapic *l, uint32_t offset, uint32_t value, uint64_t now)
{
    lapic_set_tpr(l, value);
}

static void write_eoi(struct lapic *l, uint32_t offset, uint32_t value, uint64_t now)
{
    lapic_eoi_write(l);
}

static void write_dfr(struct lapic *l, uint32_t offset, uint32_t value, uint64_t now)
{
    *lapic_reg(l, LAPIC_DFR) = value | ~DFR_WRITABLE;
}

static void write_svr(struct lapic *l, uint32_t offset, uint32_t value, uint64_t now)
{
    *lapic_reg(l, LAPIC_SVR) = value;
    if (!(value & SVR_ENABLE)) {
        /* 10.4.7.2: all LVT entries are masked and stay so. */
        lapic_timer_write_lvt(l, *lapic_reg(l, LAPIC_LVT_TIMER) | LVT_MASKED, now);
        for (uint32_t lvt = LAPIC_LVT_THERM; lvt <= LAPIC_LVT_ERROR; lvt += REG_SIZE)
            *lapic_reg(l, lvt) |= LVT_MASKED;
    }
    lapic_resync(l); /* hardware has not seen what it requested while it was off */
}

/* 10.5.3: a write shows what was collected since the last one. */
static void write_esr(struct lapic *l, uint32_t offset, uint32_t value, uint64_t now)
{
    *lapic_reg(l, LAPIC_ESR) = l->errors;
    l->errors = 0;
}

static void write_lvt(struct lapic *l, uint32_t offset, uint32_t value, uint64_t now)
{
    if (!(*lapic_reg(l, LAPIC_SVR) & SVR_ENABLE))
        value |= LVT_MASKED;
    if (offset == LAPIC_LVT_TIMER)
        lapic_timer_write_lvt(l, value, now);
    else
        *lapic_reg(l, offset) = value;
}

/* Whether an IPI with this vector and delivery mode exists (10.6.1); if not, says so in ESR. */
static bool check_ipi(struct lapic *l, const struct lapic_ipi *ipi)
{
    switch (ipi->delivery_mode) {
    case APIC_DELIVERY_FIXED:
    case APIC_DELIVERY_LOWEST:
        if (ipi->vector >= LAPIC_FIRST_VECTOR)
            return true;
        lapic_error(l, ESR_SEND_ILLEGAL_VECTOR);
        return false;
    case APIC_DELIVERY_SMI:
    case APIC_DELIVERY_NMI:
    case APIC_DELIVERY_STARTUP: return true;
    case APIC_DELIVERY_INIT: /* the de-assert form does nothing on a Pentium 4 or later */
        return ipi->level || !ipi->trigger_level;
    default: return false;
    }
}

static void write_self_ipi(struct lapic *l, uint32_t offset, uint32_t value, uint64_t now)
{
    if (value >= LAPIC_FIRST_VECTOR)
        lapic_accept(l, (uint8_t)value, false);
    else
        lapic_error(l, ESR_SEND_ILLEGAL_VECTOR);
}

COLD static void send_ipi(struct lapic *l, uint32_t icr, uint32_t dest)
{
    struct lapic_ipi ipi = {
        .vector = (uint8_t)(icr & ICR_VECTOR),
        .delivery_mode = (uint8_t)((icr & ICR_MODE) >> ICR_MODE_SHIFT),
        .shorthand = (uint8_t)((icr & ICR_SHORTHAND) >> ICR_SHORTHAND_SHIFT),
        .logical = (icr & ICR_LOGICAL) != 0,
        .level = (icr & ICR_LEVEL) != 0,
        .trigger_level = (icr & ICR_TRIGGER_LEVEL) != 0,
        .x2apic = lapic_is_x2apic(l),
        .dest = dest,
    };

    if (check_ipi(l, &ipi))
        l->ops->send_ipi(l->ctx, &ipi);
}

static void write_icr(struct lapic *l, uint32_t offset, uint32_t value, uint64_t now)
{
    uint32_t high = *lapic_reg(l, LAPIC_ICR_HIGH);

    *lapic_reg(l, LAPIC_ICR) = value;
    if ((value & (ICR_SHORTHAND | ICR_MODE)) == LAPIC_TO_SELF << ICR_SHORTHAND_SHIFT) /* fixed */
        write_self_ipi(l, offset, value & ICR_VECTOR, now);
    else
        send_ipi(l, value, lapic_is_x2apic(l) ? high : high >> 24);
}

static void write_timer_initial(struct lapic *l, uint32_t offset, uint32_t value, uint64_t now)
{
    lapic_timer_write_initial(l, value, now);
}

#define REG(name) [LAPIC_##name / REG_SIZE]
#define LVT(writable)                                         \
    {                                                         \
        RW, (writable), (writable) | LVT_READ_ONLY, write_lvt \
    }

/* What exists, and the bits that can be written: in x2APIC mode setting any but `x2apic` is #GP, in
 * xAPIC mode the others are ignored. A write to EOI or ESR acts whatever its bits. */
static const struct lapic_register {
    uint8_t rights;
    uint32_t writable;
    uint64_t x2apic;
    void (*write)(struct lapic *l, uint32_t offset, uint32_t value, uint64_t now);
} ALIGNED(32) /* cheap to index */ registers[LAPIC_SELF_IPI / REG_SIZE + 1] = {
    REG(ID) = {RO | XW, 0, 0, write_nothing},
    REG(VERSION) = {RO | XW, 0, 0, write_nothing},
    REG(TPR) = {RW, 0xFF, 0xFF, write_tpr},
    REG(PPR) = {RO | XW, 0, 0, write_nothing},
    REG(EOI) = {XR | XW | X2W, 0, 0, write_eoi},
    REG(LDR) = {RO | XW, 0xFF000000, 0, write_plain},
    REG(DFR) = {XR | XW, DFR_WRITABLE, 0, write_dfr},
    REG(SVR) = {RW, SVR_WRITABLE, SVR_WRITABLE, write_svr},
    [LAPIC_ISR / REG_SIZE... LAPIC_IRR / REG_SIZE + 7] = {RO | XW, 0, 0, write_nothing},
    REG(ESR) = {RW, 0, 0, write_esr},
    REG(ICR) = {RW, ICR_WRITABLE, ICR_DEST | ICR_PENDING | ICR_WRITABLE, write_icr},
    REG(ICR_HIGH) = {XR | XW, 0xFF000000, 0, write_plain},
    REG(LVT_TIMER) = LVT(LVT_VECTOR | LVT_MASKED | LVT_TIMER_MODE),
    REG(LVT_THERM) = LVT(PERF_WRITABLE),
    REG(LVT_PERF) = LVT(PERF_WRITABLE),
    REG(LVT_LINT0) = LVT(LINT_WRITABLE),
    REG(LVT_LINT1) = LVT(LINT_WRITABLE),
    REG(LVT_ERROR) = LVT(LVT_VECTOR | LVT_MASKED),
    REG(TIMER_INIT) = {RW, UINT32_MAX, UINT32_MAX, write_timer_initial},
    REG(TIMER_CUR) = {RO | XW, 0, 0, write_nothing},
    REG(TIMER_DIV) = {RW, 0xB, 0xB, lapic_timer_write_divide},
    REG(SELF_IPI) = {X2W, ICR_VECTOR, ICR_VECTOR, write_self_ipi},
};

/* Whether an access to it is allowed by `right`. The first of all is one that does not exist. */
static inline const struct lapic_register *row_of(uint32_t index, unsigned int right)
{
    const struct lapic_register *row = &registers[index < ARRAY_SIZE(registers) ? index : 0];

    return likely(row->rights & right) ? row : NULL;
}

/* 0 in the low bits of an offset: the rest is the number of a register. */
static inline uint32_t index_of(uint32_t offset)
{
    return offset / REG_SIZE | offset << 28;
}

static inline void write_register(struct lapic *l, const struct lapic_register *row,
                                  uint32_t offset, uint32_t value, uint64_t now)
{
    row->write(l, offset, value & row->writable, now);
}

/* What is no register that can be so accessed. */
COLD static int refuse_mmio(struct lapic *l, uint32_t offset)
{
    if (!lapic_is_xapic(l))
        return -BH_ENOENT;
    if (offset >= PAGE_SIZE_4K || !IS_ALIGNED(offset, REG_SIZE))
        return -BH_EINVAL;
    lapic_error(l, ESR_ILLEGAL_REGISTER);
    return 0;
}

int lapic_mmio_read(struct lapic *l, uint32_t offset, uint32_t *value, uint64_t now)
{
    if (unlikely(!lapic_is_xapic(l) || !row_of(index_of(offset), XR))) {
        int err = refuse_mmio(l, offset);

        *value = err ? *value : 0;
        return err;
    }
    *value = read_register(l, offset, now);
    return 0;
}

void lapic_mmio_write(struct lapic *l, uint32_t offset, uint32_t value, uint64_t now)
{
    const struct lapic_register *row = row_of(index_of(offset), XW);

    if (unlikely(!lapic_is_xapic(l) || !row))
        (void)refuse_mmio(l, offset);
    else
        write_register(l, row, offset, value, now);
}

int lapic_msr_read(struct lapic *l, uint32_t msr, uint64_t *value, uint64_t now)
{
    uint32_t index = msr - X2APIC_MSR_FIRST;

    if (!lapic_is_x2apic(l) || !row_of(index, X2R))
        return -BH_EINVAL;
    *value = read_register(l, index * REG_SIZE, now);
    if (index == LAPIC_ICR / REG_SIZE)
        *value |= (uint64_t)*lapic_reg(l, LAPIC_ICR_HIGH) << 32;
    return 0;
}

int lapic_msr_write(struct lapic *l, uint32_t msr, uint64_t value, uint64_t now)
{
    uint32_t index = msr - X2APIC_MSR_FIRST;
    const struct lapic_register *row = row_of(index, X2W);

    if (!lapic_is_x2apic(l) || !row || (value & ~row->x2apic))
        return -BH_EINVAL;
    if (index == LAPIC_ICR / REG_SIZE)
        *lapic_reg(l, LAPIC_ICR_HIGH) = (uint32_t)(value >> 32);
    write_register(l, row, index * REG_SIZE, (uint32_t)value, now);
    return 0;
}

/* 10.12.5.1: what stays and what changes when x2APIC mode is entered. */
static void enter_x2apic(struct lapic *l)
{
    *lapic_reg(l, LAPIC_ID) = l->apic_id;
    *lapic_reg(l, LAPIC_LDR) = (l->apic_id >> 4) << 16 | BIT(l->apic_id & 0xF);
    *lapic_reg(l, LAPIC_DFR) = 0;
    *lapic_reg(l, LAPIC_ICR_HIGH) = 0;
}

int lapic_set_base(struct lapic *l, uint64_t value, uint64_t now)
{
    const uint64_t mode = APIC_BASE_ENABLE | APIC_BASE_X2APIC;
    uint64_t from = l->base & mode, to = value & mode;

    if ((value & ~(mode | APIC_BASE_BSP)) != APIC_BASE_ADDRESS)
        return -BH_EINVAL;
    /* Figure 10-27: x2APIC needs an enabled xAPIC before it, and is only left by disabling. */
    if (to == APIC_BASE_X2APIC || (from == 0 && to == mode) ||
        (from == mode && to == APIC_BASE_ENABLE))
        return -BH_EINVAL;
    if (from == to)
        return 0;
    l->base = (l->base & ~mode) | to;
    l->xapic = to == APIC_BASE_ENABLE;
    if (to == mode)
        enter_x2apic(l);
    else
        lapic_reset(l); /* 10.4.3: what was set up may be lost when it is disabled */
    return 0;
}
