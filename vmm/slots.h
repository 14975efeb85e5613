#ifndef BULKHEAD_VMM_SLOTS_H
#define BULKHEAD_VMM_SLOTS_H

/* Time partitioning after ARINC 653: the cyclic table of one pCPU, which says whose the CPU is from
 * when to when in a frame that repeats. Only that pCPU touches it. Times are TSC ticks. */

#include "lib/macros.h"

struct sched_entity;

struct slot {
    struct sched_entity *owner; /* of this pCPU's queue; NULL: as if it slept for ever */
    uint64_t offset, length;    /* in the frame */
    bool share;                 /* while its owner does not want to run, fair ones do */
    /* Of those at whose start the owner was ready: how many got the CPU, how late, and how many
     * passed without. */
    uint64_t starts, late_max, late_sum, missed;
};

struct slot_table {
    struct slot *slots; /* in the order of time, without overlap */
    unsigned int count;
    uint64_t frame, gap; /* `gap`: the longest time without a slot */
    /* The present one, or the next. */
    unsigned int at;
    uint64_t frame_start, begin, end;
    bool begun; /* its start is counted */
};

/* `slots` belong to the table from now on. The first frame starts at `epoch`, which may be past.
 * -BH_EINVAL: no slots, or not in order, empty, overlapping or outside the frame. */
int slots_init(struct slot_table *table, struct slot *slots, unsigned int count, uint64_t frame,
               uint64_t epoch, uint64_t now);

/* Makes the slot at `now` or, between two, the next one the present. Returns it, NULL between. */
struct slot *slots_advance(struct slot_table *table, uint64_t now);

/* After slots_advance(): when the slot ends, or the next one begins. */
static inline uint64_t slots_boundary(const struct slot_table *table, uint64_t now)
{
    return now < table->begin ? table->begin : table->end;
}

/* The owner of the present slot gets the CPU. */
void slots_count_start(struct slot_table *table, uint64_t now);

#endif
