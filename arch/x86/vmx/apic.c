/* The virtual LAPIC's page in the hands of the CPU (SDM vol. 3, chapter 30). */

#include "arch/x86/vmx/vmx.h"
#include "vmm/pv_eoi.h"

/* With a TPR shadow the CPU changes TPR in the page; and while it delivers interrupts also IRR and
 * ISR, which stay as they are while there is nothing in them: then RVI and SVI are 0. */
void vmx_sync_lapic(struct vcpu *v)
{
    pv_eoi_sync(v);
    if (!v->by_cpu) {
        v->known_tpr = *v->cpu_tpr;
        lapic_update_priority(&v->lapic);
        return;
    }
    vmx_select(v);
    if (!lapic_is_quiet(&v->lapic) || vmcs_read(VMCS_GUEST_INTERRUPT_STATUS) != 0)
        lapic_resync(&v->lapic);
    else
        lapic_update_priority(&v->lapic);
}

/* Level-triggered interrupts leave the guest at their EOI: I/O APICs wait for it. */
static void update_eoi_exits(struct vcpu *v)
{
    for (unsigned int i = 0; i < 4; i++) {
        uint64_t tmr = *lapic_reg(&v->lapic, LAPIC_TMR + 2 * i * 0x10) |
                       (uint64_t)*lapic_reg(&v->lapic, LAPIC_TMR + (2 * i + 1) * 0x10) << 32;
        vmcs_write((enum vmcs_field)(VMCS_EOI_EXIT_BITMAP0 + 2 * i), tmr);
    }
    v->lapic.tmr_changed = false;
}

void vmx_post_interrupts(struct vcpu *v)
{
    vmx_select(v);
    if (unlikely(v->lapic.tmr_changed))
        update_eoi_exits(v);
    vmcs_write(VMCS_GUEST_INTERRUPT_STATUS, lapic_interrupt_status(&v->lapic));
}

/* The CPU takes part in x2APIC mode only; an xAPIC's page is device memory, and emulated. Of a
 * LAPIC that software has disabled it would still take self-IPIs: it gets only TPR then. */
static enum vmx_msr_bitmap wanted_bitmap(const struct lapic *l)
{
    if (!(vmx_caps.proc2 & PROC2_X2APIC) || !lapic_is_x2apic(l))
        return VMX_MSRS_PLAIN;
    return (vmx_caps.proc2 & PROC2_APIC_REGISTERS) && lapic_enabled(l) ? VMX_MSRS_APIC
                                                                       : VMX_MSRS_TPR;
}

/* By what the CPU does. */
static const uint32_t bitmap_controls[VMX_MSR_BITMAPS] = {
    [VMX_MSRS_TPR] = PROC2_X2APIC,
    [VMX_MSRS_APIC] = PROC2_X2APIC | VMX_APICV,
};

void vmx_lapic_changed(struct vcpu *v)
{
    struct vmx_vcpu *vmx = v->vmx;
    enum vmx_msr_bitmap bitmap = wanted_bitmap(&v->lapic);

    vcpu_set_cpu_tpr(v);
    v->by_cpu = bitmap == VMX_MSRS_APIC;
    if (v->by_cpu)
        v->known_tpr = TPR_UNKNOWN;
    if (bitmap == vmx->msr_bitmap)
        return;
    vmx->msr_bitmap = bitmap;
    vmx->proc2_controls &= ~bitmap_controls[VMX_MSRS_APIC];
    vmx->proc2_controls |= bitmap_controls[bitmap];
    vmx_select(v);
    vmcs_write(VMCS_PROC2_CONTROLS, vmx->proc2_controls);
    vmcs_write(VMCS_MSR_BITMAP, vmx_msr_bitmap_pa[bitmap]);
    v->pending |= PENDING_INTERRUPT; /* who delivers what waits may have changed */
}

/* Without a TPR shadow each write of CR8 exits. The threshold must not be above the priority that
 * the guest has now (27.2.1.1), which it is when the interrupt waits for another to end. */
void vmx_want_tpr_exit(struct vcpu *v, bool on)
{
    struct vmx_vcpu *vmx = v->vmx;
    uint32_t threshold = 0;

    if (!(vmx->proc_controls & PROC_TPR_SHADOW))
        return;
    if (on)
        threshold = MIN((uint32_t)lapic_highest_irr(&v->lapic) >> 4, lapic_get_cr8(&v->lapic));
    if (threshold != vmx->tpr_threshold) {
        vmx->tpr_threshold = threshold;
        vmx_select(v);
        vmcs_write(VMCS_TPR_THRESHOLD, threshold);
    }
}
