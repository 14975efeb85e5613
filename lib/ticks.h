#ifndef BULKHEAD_LIB_TICKS_H
#define BULKHEAD_LIB_TICKS_H

/* From one clock to another. */

#include "lib/macros.h"

#define NS_PER_S 1000000000ull

/* high:low / divisor, rounded down; high < divisor. */
static inline uint64_t div_128_by_64(uint64_t high, uint64_t low, uint64_t divisor)
{
    __asm__("divq %2" : "+a"(low), "+d"(high) : "rm"(divisor) : "cc");
    return low;
}

/* Ticks of a clock of `hz` in each one of a faster clock of `fast_hz`, 0.64 fixed point: as exact
 * as that is, a tick is off by one in centuries. */
static inline uint64_t ticks_ratio(uint64_t hz, uint64_t fast_hz)
{
    return hz < fast_hz ? div_128_by_64(hz, 0, fast_hz) : UINT64_MAX;
}

/* The slow clock's ticks at a time of the fast one's. */
static inline uint64_t ticks_at(uint64_t fast, uint64_t ratio)
{
    return (uint64_t)(((unsigned __int128)fast * ratio) >> 64);
}

/* The fast clock's first time at which the slow one has so many ticks; UINT64_MAX: out of range. */
static inline uint64_t ticks_when(uint64_t ticks, uint64_t ratio)
{
    unsigned __int128 n = ((unsigned __int128)ticks << 64) + (ratio - 1);

    return (uint64_t)(n >> 64) < ratio ? div_128_by_64((uint64_t)(n >> 64), (uint64_t)n, ratio)
                                       : UINT64_MAX;
}

/* Nanoseconds and the ticks of a clock of `hz` < 2^32. Whole seconds are split off, so that both
 * conversions are exact and do not overflow on the way. */
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
