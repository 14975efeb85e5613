#include "vmm/stats.h"

static const char *const kind_names[] = {
    "interrupt", "nmi",       "window", "cpuid", "msr",       "io",    "mmio",
    "hlt",       "hypercall", "cr",     "dr",    "exception", "pause", "other",
};
static_assert(ARRAY_SIZE(kind_names) == EXIT_KINDS, "in the order of enum exit_kind");

const char *stat_kind_name(enum exit_kind kind)
{
    return kind_names[kind];
}

/* The power of two below which `percent` of the exits stay. */
static uint64_t bound(const uint64_t *buckets, uint64_t total, unsigned int percent)
{
    uint64_t seen = 0;
    unsigned int i = 0;

    while (i < STAT_BUCKETS - 1 && (seen += buckets[i]) * 100 < total * percent)
        i++;
    return 2ull << i;
}

void stat_print(const struct exit_stats *stats, emit_fn *emit)
{
    emit_line(emit, "  %-10s %12s %10s %10s %10s %10s", "exit", "count", "cycles", "50 % <",
              "99 % <", "all <");
    for (unsigned int k = 0; k < EXIT_KINDS; k++) {
        const uint64_t *buckets = stats->kind[k].count;
        uint64_t total = 0;

        for (unsigned int i = 0; i < STAT_BUCKETS; i++)
            total += buckets[i];
        if (total == 0)
            continue;
        emit_line(emit, "  %-10s %12llu %10llu %10llu %10llu %10llu", kind_names[k], LLU(total),
                  LLU(stats->kind[k].cycles / total), LLU(bound(buckets, total, 50)),
                  LLU(bound(buckets, total, 99)), LLU(bound(buckets, total, 100)));
    }
}
