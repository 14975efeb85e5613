#ifndef BULKHEAD_VMM_WORST_H
#define BULKHEAD_VMM_WORST_H

/* The longest that a CPU was in each kind of exit and each step of its run loop: CHECKS builds. */

#include "lib/emit.h"
#include "vmm/stats.h"

#define WORST_STEPS 11

struct worst {
    const char *what; /* a constant: NULL: has not happened */
    uint64_t cycles;
    const char *vm; /* whose exit; NULL: a step */
    uint64_t serial, rip;
    bool reported;
};

struct worst_table {
    struct worst entries[EXIT_KINDS + WORST_STEPS]; /* exits by kind, steps as they come */
};

/* The entry of a step, which is known by the address of its name. NULL: there are too many. */
struct worst *worst_step(struct worst_table *table, const char *name);

/* It took `found->cycles`. True when this is the first time that takes more than `bound`. */
bool worst_note(struct worst *worst, const struct worst *found, uint64_t bound);

/* The table's longest, first the longest of all, a line each; `cpu` is in the lines. */
void worst_print(const struct worst_table *table, unsigned int cpu, uint64_t bound, emit_fn *emit);

#endif
