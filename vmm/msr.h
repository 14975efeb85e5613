#ifndef BULKHEAD_VMM_MSR_H
#define BULKHEAD_VMM_MSR_H

#include "vmm/vcpu.h"

/* The policy table is in msr.c, with exit_rdmsr() and exit_wrmsr(). */

/* Calls `fn` for each MSR that the guest may access without an exit. */
void msr_for_each_direct(void (*fn)(uint32_t msr, bool read, bool write, void *ctx), void *ctx);

#endif
