#ifndef BULKHEAD_VMM_SCHED_H
#define BULKHEAD_VMM_SCHED_H

#include "vmm/vcpu.h"

/* Length of a time slice, in TSC ticks. */
extern uint64_t sched_slice_tsc;

/* Puts a vCPU on its pCPU's run queue. */
void sched_enqueue(struct vcpu *v);

/* Takes it off, and off the CPU if it is loaded. */
void sched_remove(struct vcpu *v);

/* Runs vCPUs for ever. */
NORETURN void sched_loop(void);

#endif
