#include "arch/x86/time.h"
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

/* How long it takes to count down from `count`: to the nearest tick, as periods add up. */
static inline uint64_t span_of(const struct lapic *l, uint32_t count)
{
    return (uint64_t)(((unsigned __int128)l->tsc_per_count * count + BIT64(31)) >> 32);
}

static void set_divide(struct lapic *l, uint32_t value)
{
    *lapic_reg(l, LAPIC_TIMER_DIV) = value;
    l->tsc_per_count = time_scale.tsc_per_ns << divide_shift(l);
}

/* 0 only when the timer is off. */
static uint64_t period_of(const struct lapic *l)
{
    uint32_t count = *lapic_reg(l, LAPIC_TIMER_INIT);

    return MAX(span_of(l, count), (uint64_t)(count != 0));
}

/* `now` + `span`, but never as late as UINT64_MAX, which means never. */
static uint64_t deadline(uint64_t now, uint64_t span)
{
    return span >= UINT64_MAX - now ? UINT64_MAX - 1 : now + span;
}

/* Moves a periodic timer's expiry behind `now` and stops a one-shot timer that is due. Skips whole
 * periods, so that the timer does not drift. */
static void advance(struct lapic *l, uint64_t now)
{
    uint64_t period = period_of(l), shortest = ns_span_to_tsc(MIN_PERIOD_NS), step, late;

    if (l->timer_expiry > now)
        return;
    if (timer_mode(l) != LVT_TIMER_PERIODIC || period == 0) {
        l->timer_expiry = UINT64_MAX;
        return;
    }
    late = now - l->timer_expiry;
    step = period;
    if (period < shortest)
        step = (shortest + period - 1) / period * period;
    l->timer_expiry = deadline(now, step - late % step);
}

static void stop(struct lapic *l)
{
    l->timer_expiry = UINT64_MAX;
    l->tsc_deadline = 0;
}

void lapic_timer_reset(struct lapic *l)
{
    stop(l);
    set_divide(l, 0);
}

static uint32_t current_count(const struct lapic *l, uint64_t now)
{
    bool periodic = timer_mode(l) == LVT_TIMER_PERIODIC;
    uint64_t period, left = l->timer_expiry - now;

    if (l->timer_expiry == UINT64_MAX || (l->timer_expiry <= now && !periodic))
        return 0;
    if (periodic) {
        period = period_of(l);
        if (period == 0)
            return 0;
        /* A coalesced periodic timer's expiry is several periods away. */
        if (l->timer_expiry <= now)
            left = period - (now - l->timer_expiry) % period;
        else if (left > period)
            left %= period;
    }
    return (uint32_t)MIN(tsc_span_to_ns(left) >> divide_shift(l), (uint64_t)UINT32_MAX);
}

/* The call of lapic_timer_expired() that is due may still be under way. */
uint32_t lapic_timer_read(struct lapic *l, uint64_t now)
{
    if (unlikely(lapic_timer_next(l) <= now))
        lapic_timer_expired(l, now);
    return current_count(l, now);
}

void lapic_timer_write_initial(struct lapic *l, uint32_t value, uint64_t now)
{
    /* 10.5.4.1: in TSC-deadline mode writes are ignored. */
    if (timer_mode(l) == LVT_TIMER_DEADLINE)
        return;
    *lapic_reg(l, LAPIC_TIMER_INIT) = value;
    l->timer_expiry = value == 0 ? UINT64_MAX : deadline(now, span_of(l, value));
    l->ops->timer_changed(l->ctx);
}

void lapic_timer_write_divide(struct lapic *l, uint32_t offset, uint32_t value, uint64_t now)
{
    uint32_t current;

    if (*lapic_reg(l, LAPIC_LVT_TIMER) & LVT_MASKED)
        advance(l, now);
    current = current_count(l, now);
    set_divide(l, value);
    /* What is due is still to be delivered. */
    if (l->timer_expiry == UINT64_MAX || l->timer_expiry <= now)
        return;
    /* The count goes on from where it is at the new rate. */
    l->timer_expiry = deadline(now, span_of(l, current));
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
        stop(l);
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
