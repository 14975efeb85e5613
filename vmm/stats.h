#ifndef BULKHEAD_VMM_STATS_H
#define BULKHEAD_VMM_STATS_H

/* How often each vCPU leaves its guest, for what, and how long the core takes: counted always. */

#include "lib/emit.h"
#include "lib/macros.h"

/* The names stand in vmm/stats.c. */
enum exit_kind {
    EXIT_KIND_INTERRUPT,
    EXIT_KIND_NMI,
    EXIT_KIND_WINDOW,
    EXIT_KIND_CPUID,
    EXIT_KIND_MSR,
    EXIT_KIND_IO,
    EXIT_KIND_MMIO,
    EXIT_KIND_HLT,
    EXIT_KIND_HYPERCALL,
    EXIT_KIND_CR,
    EXIT_KIND_DR,
    EXIT_KIND_EXCEPTION,
    EXIT_KIND_OTHER,
    EXIT_KINDS
};

#define STAT_BUCKETS 32

struct exit_stats {
    uint64_t cycles[EXIT_KINDS];
    uint64_t count[EXIT_KINDS][STAT_BUCKETS]; /* by the highest bit of the cycles */
};

/* An exit took so many TSC cycles. The low halves of two TSC values are enough to know: no exit
 * takes 2^32. */
static inline void stat_exit(struct exit_stats *stats, unsigned int kind, uint32_t cycles)
{
    stats->cycles[kind] += cycles;
    stats->count[kind][31u ^ (unsigned int)__builtin_clz(cycles | 1)]++;
}

/* Prints a line for each kind that has happened, the kinds in order. */
void stat_print(const struct exit_stats *stats, emit_fn *emit);

#endif
