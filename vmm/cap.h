#ifndef BULKHEAD_VMM_CAP_H
#define BULKHEAD_VMM_CAP_H

/* A VM's limit: so many percent of one CPU, over all its vCPUs, in each period. A vCPU that gets a
 * CPU takes a piece of the period's budget, and gives back what it has not used; what it has used
 * beyond that is paid by the next periods. Any CPU may call all functions at any time. */

#include "lib/macros.h"

#define CAP_PERIOD_NS 10000000u

struct sched_cap {
    uint64_t state; /* atomic: number of the period, and what is left of its budget (cap.c) */
    uint64_t origin, period; /* TSC ticks */
    uint64_t quota, piece;   /* atomic, TSC ticks: the budget of a period; taken at once */
};

/* A new period's budget is there at `now`. `period`: TSC ticks of CAP_PERIOD_NS. */
void cap_init(struct sched_cap *cap, uint64_t period, uint64_t now);

/* `percent` of one CPU (at least 1, at most 100 per vCPU), shared by `vcpus`: from the next period
 * on, the first time at once. */
void cap_set(struct sched_cap *cap, unsigned int percent, unsigned int vcpus);

/* Takes TSC ticks out of the budget. 0: none is left, try again at *again, the next period. */
uint64_t cap_take(struct sched_cap *cap, uint64_t now, uint64_t *again);

/* Gives back what was taken and not used; negative: used, but not taken. */
void cap_give(struct sched_cap *cap, uint64_t now, int64_t unused);

#endif
