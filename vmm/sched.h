#ifndef BULKHEAD_VMM_SCHED_H
#define BULKHEAD_VMM_SCHED_H

#include "arch/x86/percpu.h"
#include "vmm/vcpu.h"

/* Some VM has a request (vm_request()): the run loop leaves the guest for vm_handle_requests(). */
extern bool vm_requests_waiting;

/* Length of a time slice. */
void sched_init(uint64_t slice_ns);

/* Puts a vCPU that starts at the end of its pCPU's run queue. */
void sched_enqueue(struct vcpu *v);

/* Makes one that halted runnable: before those that compute if it has something left of its slice,
 * and then soon. */
void sched_wake(struct vcpu *v);

/* Takes it off, and off the CPU if it is loaded. */
void sched_remove(struct vcpu *v);

/* Something waits for the run loop: a request for a VM, or a timer that the guest has asked for,
 * which is earlier than the one that is armed. */
static inline bool sched_must_leave(void)
{
    return vm_requests_waiting || timer_next(&this_cpu->timers) < this_cpu->timer_armed;
}

/* Runs vCPUs for ever. */
NORETURN void sched_loop(void);

#endif
