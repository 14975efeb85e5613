#ifndef BULKHEAD_ARCH_X86_TIME_H
#define BULKHEAD_ARCH_X86_TIME_H

/* The core's time is the TSC. "Core time" is in nanoseconds since the core's first instruction. */

#include "arch/x86/asm.h"
#include "lib/macros.h"

struct acpi_info;

struct time_scale {
    uint64_t base;       /* TSC at core time 0 */
    uint64_t khz;        /* TSC frequency; 0 until calibrated */
    uint64_t ns_per_tsc; /* 32.32 fixed point */
    uint64_t tsc_per_ns; /* 32.32 fixed point */
};

extern struct time_scale time_scale;

static inline bool time_is_calibrated(void)
{
    return time_scale.khz != 0;
}

/* a * b / 2^32. The product fits 128 bits; the result is below 2^64 for any span that a machine
 * stays up. */
static inline uint64_t mul_shift32(uint64_t a, uint64_t b)
{
    return (uint64_t)(((unsigned __int128)a * b) >> 32);
}

/* A TSC value as core time, and back. */
static inline uint64_t tsc_to_ns(uint64_t tsc)
{
    return mul_shift32(tsc - time_scale.base, time_scale.ns_per_tsc);
}

/* Never before `ns` by tsc_to_ns(): the factors are no exact inverses, and what they are off by
 * grows with the time; a timer that comes early would be armed again and again. */
static inline uint64_t ns_to_tsc(uint64_t ns)
{
    uint64_t tsc = mul_shift32(ns, time_scale.tsc_per_ns);
    uint64_t back = mul_shift32(tsc, time_scale.ns_per_tsc);

    return tsc + mul_shift32(ns - back, time_scale.tsc_per_ns) + 1 + time_scale.base;
}

/* Lengths of time. */
static inline uint64_t tsc_span_to_ns(uint64_t tsc)
{
    return mul_shift32(tsc, time_scale.ns_per_tsc);
}

static inline uint64_t ns_span_to_tsc(uint64_t ns)
{
    return mul_shift32(ns, time_scale.tsc_per_ns);
}

static inline uint64_t time_now_ns(void)
{
    return tsc_to_ns(rdtsc());
}

/* Finds the TSC's frequency: from CPUID where it says so and can be believed, else by measuring
 * against HPET, PM timer or PIT, whichever the machine has. `base` is core time 0. Boot CPU, before
 * any timer is used. Returns 0 or -BH_ENOTSUP when no clock is there to compare with. */
MUST_CHECK int time_init(uint64_t base, const struct acpi_info *acpi);

#endif
