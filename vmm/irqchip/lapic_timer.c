#include "vmm/irqchip/lapic_internal.h"

/* The local APIC timer (SDM vol. 3, 10.5.4). */

/* A periodic timer that is faster than this interrupts only every so often, so that a guest
 * cannot keep the CPU busy with timers: 50 kHz. */
#define MIN_PERIOD_NS 20000ull

static uint32_t timer_mode(const struct lapic *l)
{
    return *lapic_reg(l, LAPIC_LVT_TIMER) & LVT_TIMER_MODE;
}

/* log2 of the divisor: bits 3, 1 and 0 of the register give 2, 4 ... 128, 1 (figure 10-10). */
static unsigned int divide_shift(const struct lapic *l)
{
    uint32_t v = *lapic_reg(l, LAPIC_TIMER_DIV);

    return (((v & 3) | (v >> 1 & 4)) + 1) & 7;
}

static uint64_t period_ns(const struct lapic *l)
{
    return (uint64_t)*lapic_reg(l, LAPIC_TIMER_INIT) << divide_shift(l);
}

/* `now` + `ns`, but never as late as UINT64_MAX, which means never. */
static uint64_t deadline(uint64_t now, uint64_t ns)
{
    return ns >= UINT64_MAX - now ? UINT64_MAX - 1 : now + ns;
}

/* Moves a periodic timer's expiry behind `now` and stops a one-shot timer that is due. Skips whole
 * periods, so that the timer does not drift. */
static void advance(struct lapic *l, uint64_t now)
{
    uint64_t period = period_ns(l), step, late;

    if (l->timer_expiry > now)
        return;
    if (timer_mode(l) != LVT_TIMER_PERIODIC || period == 0) {
        l->timer_expiry = UINT64_MAX;
        return;
    }
    late = now - l->timer_expiry;
    step = period;
    if (period < MIN_PERIOD_NS)
        step = (MIN_PERIOD_NS + period - 1) / period * period;
    l->timer_expiry = deadline(now, step - late % step);
}

void lapic_timer_stop(struct lapic *l)
{
    l->timer_expiry = UINT64_MAX;
    l->tsc_deadline = 0;
}

static void start(struct lapic *l, uint64_t now)
{
    uint64_t period = period_ns(l);

    l->timer_expiry = period == 0 ? UINT64_MAX : deadline(now, period);
}

uint32_t lapic_timer_current(const struct lapic *l, uint64_t now)
{
    uint64_t period = period_ns(l), left;

    if (l->timer_expiry == UINT64_MAX)
        return 0;
    if (l->timer_expiry > now) {
        left = l->timer_expiry - now;
        /* A coalesced periodic timer's expiry is several periods away. */
        if (left > period && timer_mode(l) == LVT_TIMER_PERIODIC && period != 0)
            left %= period;
    } else {
        if (timer_mode(l) != LVT_TIMER_PERIODIC || period == 0)
            return 0;
        left = period - (now - l->timer_expiry) % period;
    }
    return (uint32_t)MIN(left >> divide_shift(l), (uint64_t)UINT32_MAX);
}

void lapic_timer_write_initial(struct lapic *l, uint32_t value, uint64_t now)
{
    /* 10.5.4.1: in TSC-deadline mode writes are ignored. */
    if (timer_mode(l) == LVT_TIMER_DEADLINE)
        return;
    *lapic_reg(l, LAPIC_TIMER_INIT) = value;
    start(l, now);
    l->ops->timer_changed(l->ctx);
}

void lapic_timer_write_divide(struct lapic *l, uint32_t value, uint64_t now)
{
    uint32_t current;

    if (*lapic_reg(l, LAPIC_LVT_TIMER) & LVT_MASKED)
        advance(l, now);
    current = lapic_timer_current(l, now);
    *lapic_reg(l, LAPIC_TIMER_DIV) = value;
    /* What is due is still to be delivered. */
    if (l->timer_expiry == UINT64_MAX || l->timer_expiry <= now)
        return;
    /* The count goes on from where it is at the new rate. */
    l->timer_expiry = deadline(now, (uint64_t)current << divide_shift(l));
    l->ops->timer_changed(l->ctx);
}

void lapic_timer_write_lvt(struct lapic *l, uint32_t value, uint64_t now)
{
    bool was_deadline = timer_mode(l) == LVT_TIMER_DEADLINE;
    bool is_deadline = (value & LVT_TIMER_MODE) == LVT_TIMER_DEADLINE;

    /* What became due while the entry was masked is gone. */
    if (*lapic_reg(l, LAPIC_LVT_TIMER) & LVT_MASKED)
        advance(l, now);
    *lapic_reg(l, LAPIC_LVT_TIMER) = value;
    if (was_deadline != is_deadline) {
        /* 10.5.4.1: changing to or from TSC-deadline mode disarms the timer. */
        lapic_timer_stop(l);
        *lapic_reg(l, LAPIC_TIMER_INIT) = 0;
    }
    l->ops->timer_changed(l->ctx);
}

void lapic_timer_expired(struct lapic *l, uint64_t now)
{
    if (timer_mode(l) == LVT_TIMER_DEADLINE) {
        if (l->tsc_deadline == 0)
            return;
        l->tsc_deadline = 0;
    } else {
        if (l->timer_expiry > now)
            return;
        advance(l, now);
    }
    lapic_deliver_lvt(l, LAPIC_LVT_TIMER);
    if (l->timer_expiry != UINT64_MAX)
        l->ops->timer_changed(l->ctx);
}

void lapic_set_tsc_deadline(struct lapic *l, uint64_t value)
{
    if (timer_mode(l) != LVT_TIMER_DEADLINE || !lapic_hw_enabled(l))
        return;
    l->tsc_deadline = value;
    l->ops->timer_changed(l->ctx);
}
