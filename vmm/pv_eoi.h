#ifndef BULKHEAD_VMM_PV_EOI_H
#define BULKHEAD_VMM_PV_EOI_H

/* End of interrupt without an exit, KVM-compatible (Linux Documentation/virt/kvm/x86/msr.rst,
 * MSR_KVM_EOI_EN): a bit in the guest's memory says that clearing it is all that is needed. It is
 * for interrupts that the core injects; a CPU that delivers them by itself needs no such thing. */

#include "vmm/vcpu.h"

/* The guest writes the MSR. 0 or -BH_EINVAL: #GP. */
int pv_eoi_enable(struct vcpu *v, uint64_t value);

void pv_eoi_set(struct vcpu *v, uint8_t vector);
void pv_eoi_take_back(struct vcpu *v);

/* `vector` of the LAPIC was injected: the guest may end it by the bit. */
static inline void pv_eoi_offer(struct vcpu *v, uint8_t vector)
{
    if (unlikely(v->pv_eoi))
        pv_eoi_set(v, vector);
}

/* Before anybody looks at the LAPIC or changes it: the guest's EOI, if it came, is carried out, and
 * if not, the offer ends. */
static inline void pv_eoi_sync(struct vcpu *v)
{
    if (unlikely(v->pv_eoi_offered))
        pv_eoi_take_back(v);
}

#endif
