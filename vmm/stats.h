#ifndef BULKHEAD_VMM_STATS_H
#define BULKHEAD_VMM_STATS_H

/* How often each vCPU leaves its guest, for what, and how long the core takes: counted always. */

#include "lib/checks.h"
#include "lib/emit.h"
#include "lib/macros.h"

/* The names stand in vmm/stats.c. */
/* clang-format off */
enum exit_kind {
    EXIT_KIND_INTERRUPT, EXIT_KIND_NMI, EXIT_KIND_WINDOW, EXIT_KIND_CPUID, EXIT_KIND_MSR,
    EXIT_KIND_IO, EXIT_KIND_MMIO, EXIT_KIND_HLT, EXIT_KIND_HYPERCALL, EXIT_KIND_CR, EXIT_KIND_DR,
    EXIT_KIND_EXCEPTION, EXIT_KIND_PAUSE, EXIT_KIND_OTHER,
    EXIT_KINDS
};
/* clang-format on */

#define STAT_BUCKETS 32

struct exit_stats {
    struct exit_stat {
        uint64_t cycles;
        uint64_t count[STAT_BUCKETS]; /* by the highest bit of the cycles */
    } kind[EXIT_KINDS];
};

/* Where a kind's figures are in struct exit_stats: what tables of exits hold, to save arithmetic.
 */
#define STAT_OFFSET(kind) ((uint16_t)((kind) * sizeof(struct exit_stat)))
static_assert(sizeof(struct exit_stats) <= UINT16_MAX, "STAT_OFFSET()");

/* Of a vCPU's statistics, CHECKS builds: vmm/checks.c. */
void checks_exit(const struct exit_stats *stats, uint16_t offset, uint32_t cycles);

/* An exit took so many TSC cycles. The low halves of two TSC values are enough to know: no exit
 * takes 2^32. */
static inline void stat_exit(struct exit_stats *stats, uint16_t offset, uint32_t cycles)
{
    struct exit_stat *stat = (struct exit_stat *)((char *)stats + offset);
    uint64_t bucket = cycles;

    stat->cycles += cycles;
    /* Of 0, BSR leaves its destination as it is (APM vol. 3; SDM vol. 2 since 2023): 0. */
    __asm__("bsr %0, %0" : "+r"(bucket) : : "cc");
    stat->count[bucket]++;
    if (CHECKS)
        checks_exit(stats, offset, cycles);
}

const char *stat_kind_name(enum exit_kind kind);

/* Prints a line for each kind that has happened, the kinds in order. */
void stat_print(const struct exit_stats *stats, emit_fn *emit);

#endif
