#ifndef BULKHEAD_VMM_SCHED_H
#define BULKHEAD_VMM_SCHED_H

/* Each pCPU's run loop. All act on the pCPU that calls them, and on vCPUs that it owns. */

#include "arch/x86/percpu.h"
#include "vmm/vcpu.h"

/* Length of a time slice. */
void sched_init(uint64_t slice_ns);

/* Lets a vCPU run that starts, or has come from elsewhere. */
void sched_enqueue(struct vcpu *v);

/* Makes one that halted runnable, here or on a pCPU with less to do. */
void sched_wake(struct vcpu *v);

/* Takes it off the queue, and off the CPU if it is loaded: it stops, */
void sched_remove(struct vcpu *v);
/* or goes to another pCPU, and keeps its state. */
void sched_take_off(struct vcpu *v);

/* A vCPU that another pCPU gave away has come here. */
void sched_moved_in(struct vcpu *v);

/* A vCPU that waits for its turn gets it next. */
void sched_prefer(struct vcpu *v);

/* The turn of the one that runs ends, if another one waits: it waits for something that takes a
 * while. */
void sched_give_way(void);

/* The vCPU that runs on this CPU leaves its guest after the exit that is being handled. */
static inline void sched_leave(void)
{
    if (this_cpu->current)
        this_cpu->current->pending |= PENDING_LEAVE;
}

/* True when there is time for a piece of work that takes so long at most, and which no vCPU waits
 * for, without delaying a slot. Run loop. */
bool sched_has_time(uint64_t ns);

/* Arms a timer of this CPU. The run loop sets the machine's when it is the earliest. */
static inline void sched_timer_arm(struct timer *timer, uint64_t deadline)
{
    timer_arm(&this_cpu->timers, timer, deadline);
    if (unlikely(deadline < this_cpu->timer_armed))
        sched_leave();
}

/* Runs vCPUs for ever, on each pCPU. */
NORETURN void sched_loop(void);

#endif
