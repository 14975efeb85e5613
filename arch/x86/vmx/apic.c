/* The virtual LAPIC's page in the hands of the CPU (SDM vol. 3, chapter 30). */

#include "arch/x86/vmx/vmx.h"
#include "vmm/pv_eoi.h"

/* Without a TPR shadow the page is the core's alone. With one the CPU changes TPR in it; and with
 * virtual interrupts also IRR and ISR, which stay as they are while there is nothing in them: then
 * RVI and SVI are 0. */
void vmx_sync_lapic(struct vcpu *v)
{
    const struct vmx_vcpu *vmx = v->vmx;

    pv_eoi_sync(v);
    if (!(vmx->proc_controls & PROC_TPR_SHADOW)) {
        return;
    }
    if (vmx->proc2_controls & PROC2_VIRTUAL_INTERRUPTS) {
        vmx_select(v);
        if (!lapic_is_quiet(&v->lapic) || vmcs_read(VMCS_GUEST_INTERRUPT_STATUS) != 0) {
            lapic_resync(&v->lapic);
            return;
        }
    }
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

bool vmx_post_interrupts(struct vcpu *v)
{
    if (!(v->vmx->proc2_controls & PROC2_VIRTUAL_INTERRUPTS)) {
        return false;
    }
    vmx_select(v);
    if (unlikely(v->lapic.tmr_changed)) {
        update_eoi_exits(v);
    }
    vmcs_write(VMCS_GUEST_INTERRUPT_STATUS, lapic_interrupt_status(&v->lapic));
    return true;
}

/* The CPU takes part in x2APIC mode only; an xAPIC's page is device memory, and emulated. Of a
 * LAPIC that software has disabled it would still take self-IPIs: it gets only TPR then. */
static enum vmx_msr_bitmap wanted_bitmap(const struct lapic *l)
{
    if (!(vmx_caps.proc2 & PROC2_X2APIC) || !lapic_is_x2apic(l)) {
        return VMX_MSRS_PLAIN;
    }
    return (vmx_caps.proc2 & PROC2_APIC_REGISTERS) && lapic_enabled(l) ? VMX_MSRS_APIC
                                                                       : VMX_MSRS_TPR;
}

void vmx_lapic_changed(struct vcpu *v)
{
    struct vmx_vcpu *vmx = v->vmx;
    enum vmx_msr_bitmap bitmap = wanted_bitmap(&v->lapic);

    if (!(vmx->proc2_controls & PROC2_X2APIC) && bitmap == VMX_MSRS_PLAIN) {
        (void)vmx_post_interrupts(v); /* the CPU must know what an emulated EOI leaves in service */
    }
    if (bitmap == vmx->msr_bitmap) {
        return;
    }
    vmx->msr_bitmap = bitmap;
    vmx->proc2_controls = bitmap == VMX_MSRS_PLAIN ? vmx->proc2_controls & ~PROC2_X2APIC
                                                   : vmx->proc2_controls | PROC2_X2APIC;
    vmx_select(v);
    vmcs_write(VMCS_PROC2_CONTROLS, vmx->proc2_controls);
    vmcs_write(VMCS_MSR_BITMAP, vmx_msr_bitmap_pa[bitmap]);
}

/* Without a TPR shadow each write of CR8 exits. The threshold must not be above the priority that
 * the guest has now (27.2.1.1), which it is when the interrupt waits for another to end. */
void vmx_want_tpr_exit(struct vcpu *v, bool on)
{
    struct vmx_vcpu *vmx = v->vmx;
    uint32_t threshold = 0;

    if (!(vmx->proc_controls & PROC_TPR_SHADOW)) {
        return;
    }
    if (on) {
        threshold = MIN((uint32_t)lapic_highest_irr(&v->lapic) >> 4, lapic_get_cr8(&v->lapic));
    }
    if (threshold != vmx->tpr_threshold) {
        vmx->tpr_threshold = threshold;
        vmx_select(v);
        vmcs_write(VMCS_TPR_THRESHOLD, threshold);
    }
}
