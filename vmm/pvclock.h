#ifndef BULKHEAD_VMM_PVCLOCK_H
#define BULKHEAD_VMM_PVCLOCK_H

/* The KVM-compatible paravirtual clock (Linux Documentation/virt/kvm/x86/msr.rst). */

#include "vmm/vcpu.h"

/* The guest writes one of the MSRs. 0 or -BH_EINVAL: #GP. */
int pvclock_write(struct vcpu *v, uint64_t value);
int pvclock_write_wall(struct vcpu *v, uint64_t value);

/* Writes the guest's time page again, if it has one: after the TSC offset changed. */
void pvclock_update(struct vcpu *v);

#endif
