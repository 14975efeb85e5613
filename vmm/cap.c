#include "vmm/cap.h"

/* `state`: the budget in the lower bits, signed, the period's number, which wraps, above. */
#define BUDGET_BITS 40
#define BUDGET_MASK (BIT64(BUDGET_BITS) - 1)
#define NUMBER_MASK (BIT64(64 - BUDGET_BITS) - 1)
#define DEBT_MAX    ((int64_t)BIT64(BUDGET_BITS - 2)) /* more is forgiven: some minute */

/* A CPU that reads its TSC just before another one's period begins comes late with the old number;
 * differences from here on are taken for that. */
#define NUMBER_BEHIND (NUMBER_MASK - 127)

/* Pieces are not smaller than these parts of a period: what it costs to switch stays small. */
#define PIECE_PART 16
#define LEAST_PART 1024

static int64_t budget_of(uint64_t state)
{
    return (int64_t)(state << (64 - BUDGET_BITS)) >> (64 - BUDGET_BITS);
}

static uint64_t with_budget(uint64_t state, int64_t budget)
{
    return (state & ~BUDGET_MASK) | ((uint64_t)budget & BUDGET_MASK);
}

static uint64_t number_at(const struct sched_cap *cap, uint64_t now)
{
    return now > cap->origin ? (now - cap->origin) / cap->period : 0;
}

static int64_t quota_of(const struct sched_cap *cap)
{
    return (int64_t)__atomic_load_n(&cap->quota, __ATOMIC_RELAXED);
}

/* The state as of period `number`: each one that has passed brings its budget, which is not saved
 * up. */
static uint64_t refreshed(const struct sched_cap *cap, uint64_t state, uint64_t number)
{
    uint64_t passed = (number - (state >> BUDGET_BITS)) & NUMBER_MASK;
    int64_t quota = quota_of(cap);

    if (passed == 0 || passed >= NUMBER_BEHIND)
        return state;
    return with_budget(number << BUDGET_BITS,
                       MIN(budget_of(state) + (int64_t)passed * quota, quota));
}

void cap_init(struct sched_cap *cap, uint64_t period, uint64_t now)
{
    *cap = (struct sched_cap){.origin = now, .period = period};
}

void cap_set(struct sched_cap *cap, unsigned int percent, unsigned int vcpus)
{
    uint64_t quota = cap->period * percent / 100;
    bool first = quota_of(cap) == 0;

    __atomic_store_n(&cap->quota, quota, __ATOMIC_RELAXED);
    __atomic_store_n(&cap->piece, MAX(quota / vcpus, cap->period / PIECE_PART), __ATOMIC_RELAXED);
    if (first)
        __atomic_store_n(&cap->state, quota, __ATOMIC_RELAXED);
}

uint64_t cap_take(struct sched_cap *cap, uint64_t now, uint64_t *again)
{
    uint64_t number = number_at(cap, now);
    uint64_t old = __atomic_load_n(&cap->state, __ATOMIC_RELAXED);
    int64_t piece = (int64_t)__atomic_load_n(&cap->piece, __ATOMIC_RELAXED);
    int64_t least = (int64_t)(cap->period / LEAST_PART);
    uint64_t state;
    int64_t taken;

    do {
        state = refreshed(cap, old, number);
        if (budget_of(state) <= 0) {
            *again = cap->origin + (number + 1) * cap->period;
            return 0;
        }
        taken = MAX(MIN(piece, budget_of(state)), least);
        state = with_budget(state, budget_of(state) - taken);
    } while (!__atomic_compare_exchange_n(&cap->state, &old, state, true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return (uint64_t)taken;
}

void cap_give(struct sched_cap *cap, uint64_t now, int64_t unused)
{
    uint64_t number = number_at(cap, now);
    uint64_t old = __atomic_load_n(&cap->state, __ATOMIC_RELAXED);
    int64_t owed = MAX(unused, -DEBT_MAX);
    uint64_t state;

    do {
        state = refreshed(cap, old, number);
        int64_t budget = MIN(budget_of(state) + owed, quota_of(cap));
        state = with_budget(state, MAX(budget, -DEBT_MAX));
    } while (!__atomic_compare_exchange_n(&cap->state, &old, state, true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
}
