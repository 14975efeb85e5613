#ifndef BULKHEAD_ARCH_X86_VMX_CHECK_H
#define BULKHEAD_ARCH_X86_VMX_CHECK_H

/* Why the CPU refuses to enter a guest: the rules of SDM vol. 3, 27.2 and 27.3.1, in software. */

#include "arch/x86/vmx/caps.h"
#include "arch/x86/vmx/explain.h"

/* What this CPU accepts. */
struct vmx_limits {
    uint64_t msr[VMX_CAP_COUNT]; /* the capability MSRs */
    unsigned int phys_bits, linear_bits;
    int vtpr; /* byte 80h of the virtual-APIC page; -1: not known */
};

/* Prints a line for each rule that the VMCS breaks, or that it breaks none. Returns how many. Knows
 * the rules for the fields and controls that the core uses. */
unsigned int vmx_check_vmcs(const struct vmcs_source *source, const struct vmx_limits *limits,
                            emit_fn *emit);

/* dump.c: the same for the current VMCS and this CPU. */
unsigned int vmx_check_current(emit_fn *emit);

#endif
