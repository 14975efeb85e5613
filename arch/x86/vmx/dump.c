/* The VMCS on this CPU, for dumps: everything about it that is not pure. */

#include "arch/x86/asm.h"
#include "arch/x86/interrupt.h"
#include "arch/x86/mm/page_alloc.h"
#include "arch/x86/vmx/check.h"
#include "arch/x86/vmx/vmx.h"

#define CPUID_ADDRESS_SIZES 0x80000008u
#define VAPIC_TPR           0x80u

/* Unlike vmcs_read(), gives 0 for fields that the CPU does not have, or without a current VMCS. */
static uint64_t read_current(void *ctx, enum vmcs_field field)
{
    uint64_t value = 0;

    __asm__ volatile("vmread %1, %0" : "+r"(value) : "r"((uint64_t)field) : "cc");
    return value;
}

static const struct vmcs_source current_vmcs = {.read = read_current};

void vmx_dump(struct vcpu *v, emit_fn *emit)
{
    vmx_select(v);
    vmx_explain(&current_vmcs, emit);
}

unsigned int vmx_check_current(emit_fn *emit)
{
    const uint32_t sizes = cpuid(CPUID_ADDRESS_SIZES, 0).eax;
    const uint8_t *vapic = NULL;
    struct vmx_limits limits = {
        .phys_bits = (uint8_t)sizes,
        .linear_bits = (uint8_t)(sizes >> 8),
        .vtpr = -1,
    };

    if (read_current(NULL, VMCS_PROC_CONTROLS) & PROC_TPR_SHADOW)
        vapic = pa_to_page(ALIGN_DOWN(read_current(NULL, VMCS_VIRTUAL_APIC_PAGE), PAGE_SIZE_4K));
    if (vapic)
        limits.vtpr = vapic[VAPIC_TPR];
    for (unsigned int i = 0; i < VMX_CAP_COUNT; i++)
        (void)rdmsr_safe(MSR_VMX_BASIC + i, &limits.msr[i]);
    return vmx_check_vmcs(&current_vmcs, &limits, emit);
}
