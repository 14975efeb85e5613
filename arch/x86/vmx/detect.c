#include "arch/x86/vmx/detect.h"

#include "arch/x86/asm.h"
#include "arch/x86/interrupt.h"
#include "arch/x86/msr.h"
#include "arch/x86/virt.h"
#include "arch/x86/vmx/vmcs.h"
#include "lib/error.h"
#include "lib/format.h"

#define CPUID1_ECX_VMX     BIT(5)
#define CPUID_EXTENDED     0x80000001u
#define EDX_RDTSCP         BIT(27)
#define CPUID7_EBX_INVPCID BIT(10)

INIT static bool has_vmx(void)
{
    return (cpuid(1, 0).ecx & CPUID1_ECX_VMX) != 0;
}

INIT static bool is_turned_off(uint64_t *control)
{
    return rdmsr_safe(MSR_FEATURE_CONTROL, control) && (*control & FEATURE_LOCK) &&
           !(*control & FEATURE_VMX_OUTSIDE);
}

INIT bool vmx_can_be_used(void)
{
    uint64_t control;

    return has_vmx() && !is_turned_off(&control);
}

/* What CPUID shows must work in guests, too. */
INIT static int check_instructions(const struct vmx_caps *caps, char *why, size_t size)
{
    bool rdtscp = (cpuid(CPUID_EXTENDED, 0).edx & EDX_RDTSCP) != 0;
    bool invpcid = cpuid(0, 0).eax >= 7 && (cpuid(7, 0).ebx & CPUID7_EBX_INVPCID);

    if ((rdtscp && !(caps->proc2 & PROC2_RDTSCP)) || (invpcid && !(caps->proc2 & PROC2_INVPCID))) {
        format(why, size,
               "VT-x is there, but has no control for an instruction that CPUID shows: "
               "RDTSCP or INVPCID");
        return -BH_ENOTSUP;
    }
    return 0;
}

/* SDM vol. 3, A.2 to A.5 and A.10: by what the MSRs before it say. The loader cannot read one that
 * is not there. */
INIT static bool exists(const uint64_t msrs[VMX_CAP_COUNT], unsigned int msr)
{
    switch (msr) {
    case VMX_CAP_PROC2: return msrs[VMX_CAP_PROC] >> 32 & PROC_SECONDARY;
    case VMX_CAP_EPT_VPID: return msrs[VMX_CAP_PROC2] >> 32 & (PROC2_EPT | PROC2_VPID);
    case VMX_CAP_TRUE_PIN:
    case VMX_CAP_TRUE_PROC:
    case VMX_CAP_TRUE_EXIT:
    case VMX_CAP_TRUE_ENTRY: return msrs[VMX_CAP_BASIC] & VMX_BASIC_TRUE;
    default: return true;
    }
}

INIT int vmx_detect(uint32_t off, uint64_t msrs[VMX_CAP_COUNT], struct vmx_caps *caps, char *why,
                    size_t size)
{
    uint64_t control;

    if (!has_vmx()) {
        format(why, size, "this processor has no VT-x (VMX): CPUID 1 ECX bit 5 is 0");
        return -BH_ENODEV;
    }
    if (is_turned_off(&control)) {
        format(why, size,
               "VT-x is turned off in firmware: MSR IA32_FEATURE_CONTROL is locked (0x%llx) and "
               "bit 2 is 0; look for \"VT-x\" or \"virtualization\" in the firmware's setup",
               LLU(control));
        return -BH_ENOTSUP;
    }
    for (unsigned int i = 0; i < VMX_CAP_COUNT; i++)
        if (!exists(msrs, i) || !rdmsr_safe(MSR_VMX_BASIC + i, &msrs[i]))
            msrs[i] = 0;
    if (vmx_caps_evaluate(msrs, off, caps, why, size) != 0)
        return -BH_ENOTSUP;
    return check_instructions(caps, why, size);
}
