#ifndef BULKHEAD_VMM_CPUID_H
#define BULKHEAD_VMM_CPUID_H

#include "arch/x86/asm.h"
#include "vmm/vcpu.h"

/* Reads the machine's CPUID once and applies the policy tables. Boot, after time_init(). */
void cpuid_policy_init(void);

/* There is to be a VM with that many vCPUs: some answers are the same in all VMs only while none
 * has several. Boot, after that. */
void cpuid_add_vm(unsigned int vcpus);

/* Bits of CR4 and XCR0 that a guest may set, given the features it is shown. */
uint64_t cpuid_guest_cr4_mask(void);
uint64_t cpuid_guest_xcr0_mask(void);
bool cpuid_guest_has_rdtscp(void);
/* EFER bits likewise. */
uint64_t cpuid_guest_efer_mask(void);

#endif
