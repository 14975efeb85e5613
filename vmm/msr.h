#ifndef BULKHEAD_VMM_MSR_H
#define BULKHEAD_VMM_MSR_H

#include "vmm/vcpu.h"

/* Guest accesses by the policy table in msr.c. -BH_EINVAL: the guest gets #GP. */
MUST_CHECK int msr_guest_read(struct vcpu *v, uint32_t msr, uint64_t *value);
MUST_CHECK int msr_guest_write(struct vcpu *v, uint32_t msr, uint64_t value);

/* Calls `fn` for each MSR that the guest may access without an exit. */
void msr_for_each_direct(void (*fn)(uint32_t msr, bool read, bool write, void *ctx), void *ctx);

#endif
