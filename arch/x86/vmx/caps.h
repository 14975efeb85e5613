#ifndef BULKHEAD_ARCH_X86_VMX_CAPS_H
#define BULKHEAD_ARCH_X86_VMX_CAPS_H

/* What this CPU's VT-x can do, from its capability MSRs (SDM vol. 3, appendix A). */

#include "lib/macros.h"

/* The MSRs from IA32_VMX_BASIC on, in their order. */
enum vmx_cap_msr {
    VMX_CAP_BASIC,
    VMX_CAP_PIN,
    VMX_CAP_PROC,
    VMX_CAP_EXIT,
    VMX_CAP_ENTRY,
    VMX_CAP_MISC,
    VMX_CAP_CR0_FIXED0,
    VMX_CAP_CR0_FIXED1,
    VMX_CAP_CR4_FIXED0,
    VMX_CAP_CR4_FIXED1,
    VMX_CAP_VMCS_ENUM,
    VMX_CAP_PROC2,
    VMX_CAP_EPT_VPID,
    VMX_CAP_TRUE_PIN,
    VMX_CAP_TRUE_PROC,
    VMX_CAP_TRUE_EXIT,
    VMX_CAP_TRUE_ENTRY,
    VMX_CAP_COUNT
};
#define MSR_VMX_BASIC 0x480u

/* IA32_VMX_BASIC. */
#define VMX_BASIC_REVISION 0x7fffffffull
#define VMX_BASIC_TRUE     BIT64(55)

/* IA32_VMX_MISC. */
#define VMX_MISC_TIMER_SHIFT 31ull

/* IA32_VMX_EPT_VPID_CAP. */
#define EPT_CAP_WALK_4         BIT64(6)
#define EPT_CAP_WB             BIT64(14)
#define EPT_CAP_2M             BIT64(16)
#define EPT_CAP_1G             BIT64(17)
#define EPT_CAP_INVEPT         BIT64(20)
#define EPT_CAP_INVEPT_SINGLE  BIT64(25)
#define EPT_CAP_INVEPT_ALL     BIT64(26)
#define EPT_CAP_INVVPID        BIT64(32)
#define EPT_CAP_INVVPID_SINGLE BIT64(41)
#define EPT_CAP_INVVPID_ALL    BIT64(42)

/* Kinds of INVEPT and INVVPID that exist on all CPUs that have them at all. */
#define INV_SINGLE 1u
#define INV_ALL    2u

/* The controls that each VMCS starts with: required ones, and optional ones where the CPU has them
 * and the command line does not say off. */
struct vmx_caps {
    uint32_t revision;
    uint32_t pin, proc, proc2, exit, entry;
    uint64_t cr0_fixed0, cr4_fixed0;
    unsigned int timer_shift; /* preemption timer: TSC ticks = value << timer_shift */
    unsigned int ept_leaf_max;
    unsigned int invept, invvpid; /* INV_SINGLE or INV_ALL; 0: none */
};

/* Works out *caps from the MSRs' values; `off` are features not to be used (enum virt_feature's
 * bits). Returns 0, or -BH_ENOTSUP with everything required that is missing, by name, in `why`. */
MUST_CHECK int vmx_caps_evaluate(const uint64_t msrs[VMX_CAP_COUNT], uint32_t off,
                                 struct vmx_caps *caps, char *why, size_t size);

#endif
