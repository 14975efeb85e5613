#ifndef BULKHEAD_LIB_TICKS_H
#define BULKHEAD_LIB_TICKS_H

/* Nanoseconds and the ticks of a clock of `hz` < 2^32. Whole seconds are split off, so that both
 * conversions are exact and do not overflow on the way. */

#include "lib/macros.h"

#define NS_PER_S 1000000000ull

static inline uint64_t ns_to_ticks(uint64_t ns, uint64_t hz)
{
    return ns / NS_PER_S * hz + ns % NS_PER_S * hz / NS_PER_S;
}

/* The first nanosecond at which that many ticks have come; UINT64_MAX when it is out of range. */
static inline uint64_t ticks_to_ns(uint64_t ticks, uint64_t hz)
{
    uint64_t ns;

    if (__builtin_mul_overflow(ticks / hz, NS_PER_S, &ns) ||
        __builtin_add_overflow(ns, (ticks % hz * NS_PER_S + hz - 1) / hz, &ns))
        return UINT64_MAX;
    return ns;
}

#endif
