#ifndef BULKHEAD_VMM_STEAL_TIME_H
#define BULKHEAD_VMM_STEAL_TIME_H

/* Steal time, KVM-compatible (Linux Documentation/virt/kvm/x86/msr.rst, MSR_KVM_STEAL_TIME): the
 * guest's memory says how long the vCPU was runnable but had no pCPU, and whether it is off the
 * pCPU now. Of one that is, other vCPUs may ask there that its translations be thrown away before
 * it runs again (KVM_FEATURE_PV_TLB_FLUSH), and need not wait for it. */

#include "vmm/vcpu.h"

/* The guest writes the MSR. 0 or -BH_EINVAL: #GP. */
int steal_time_enable(struct vcpu *v, uint64_t value);

void steal_time_mark(struct vcpu *v);
void steal_time_report(struct vcpu *v);

/* It leaves the pCPU to another one, or is not to run for a while: the guest is told. */
static inline void steal_time_leave(struct vcpu *v)
{
    if (unlikely(v->steal_time) && !v->steal_marked)
        steal_time_mark(v);
}

/* It has been picked to run; before the entry. Of one that was not off the pCPU there is nothing to
 * tell yet: what it waited for are the few steps between two turns. */
static inline void steal_time_enter(struct vcpu *v)
{
    if (unlikely(v->steal_time) && v->steal_marked)
        steal_time_report(v);
}

#endif
