/* What a VMCS holds that does not change while its VM runs, and which VMCS is current. */

#include "arch/x86/asm.h"
#include "arch/x86/interrupt.h"
#include "arch/x86/mm/page_alloc.h"
#include "arch/x86/msr.h"
#include "arch/x86/regs.h"
#include "arch/x86/vmx/vmx.h"
#include "vmm/cpuid.h"
#include "vmm/pause.h"
#include "vmm/vm.h"

#define NO_LINK UINT64_MAX /* SDM vol. 3, 25.4.2: no VMCS shadowing */

void vmx_make_current(struct vmx_vcpu *vmx)
{
    bool failed;

    __asm__ volatile("vmptrld %1" : "=@ccbe"(failed) : "m"(vmx->vmcs_pa) : "memory");
    if (failed)
        core_panic("VMPTRLD of 0x%llx failed", LLU(vmx->vmcs_pa));
    this_cpu->vmx.current = vmx;
}

/* Among them what the core does not use: LDT, FS, GS and SYSENTER of the host. */
static void write_zeroes(void)
{
    static const enum vmcs_field zeroes[] = {
        VMCS_HOST_FS_SELECTOR,
        VMCS_HOST_GS_SELECTOR,
        VMCS_HOST_FS_BASE,
        VMCS_HOST_GS_BASE,
        VMCS_HOST_SYSENTER_CS,
        VMCS_HOST_SYSENTER_ESP,
        VMCS_HOST_SYSENTER_EIP,
        VMCS_PAGE_FAULT_MASK,
        VMCS_PAGE_FAULT_MATCH,
        VMCS_CR3_TARGET_COUNT,
        VMCS_EXIT_MSR_STORE_COUNT,
        VMCS_EXIT_MSR_LOAD_COUNT,
        VMCS_ENTRY_MSR_LOAD_COUNT,
        VMCS_ENTRY_INTERRUPTION_INFO,
        VMCS_GUEST_DEBUGCTL,
        VMCS_GUEST_INTERRUPTIBILITY,
        VMCS_GUEST_ACTIVITY,
        VMCS_GUEST_SYSENTER_CS,
        VMCS_GUEST_SYSENTER_ESP,
        VMCS_GUEST_SYSENTER_EIP,
        VMCS_GUEST_PENDING_DEBUG,
        VMCS_GUEST_RSP,
        VMCS_GUEST_RIP,
    };

    for (unsigned int i = 0; i < ARRAY_SIZE(zeroes); i++)
        vmcs_write(zeroes[i], 0);
}

/* SDM vol. 3, 27.2.2 to 27.2.4. The exit loads all of it, and the limits of GDTR and IDTR get FFFFh
 * (28.5.2); as the core loads no selectors but its own, that waits until the vCPU leaves the CPU.
 */
static void write_host_state(void)
{
    const struct percpu *cpu = this_cpu;
    struct table_pointer idtr;

    __asm__ volatile("sidt %0" : "=m"(idtr));
    vmcs_write(VMCS_HOST_CR0, read_cr0());
    vmcs_write(VMCS_HOST_CR3, read_cr3());
    vmcs_write(VMCS_HOST_CR4, read_cr4());
    vmcs_write(VMCS_HOST_EFER, rdmsr(MSR_EFER));
    vmcs_write(VMCS_HOST_PAT, rdmsr(MSR_PAT));
    vmcs_write(VMCS_HOST_CS_SELECTOR, SELECTOR_CODE);
    vmcs_write(VMCS_HOST_SS_SELECTOR, SELECTOR_DATA);
    vmcs_write(VMCS_HOST_DS_SELECTOR, SELECTOR_DATA);
    vmcs_write(VMCS_HOST_ES_SELECTOR, SELECTOR_DATA);
    vmcs_write(VMCS_HOST_TR_SELECTOR, SELECTOR_TSS);
    vmcs_write(VMCS_HOST_TR_BASE, (uint64_t)&cpu->tss);
    vmcs_write(VMCS_HOST_GDTR_BASE, (uint64_t)&cpu->gdt);
    vmcs_write(VMCS_HOST_IDTR_BASE, idtr.base);
    vmcs_write(VMCS_HOST_RIP, (uint64_t)vmx_exit_point);
}

static void write_controls(struct vcpu *v)
{
    struct vmx_vcpu *vmx = v->vmx;

    vmx->proc_controls = vmx_caps.proc;
    vmx->proc2_controls = vmx_caps.proc2 & ~(PROC2_X2APIC | VMX_APICV); /* as the guest uses it */
    if (!pause_is_to_exit(v->vm))
        vmx->proc2_controls &= ~PROC2_PAUSE_LOOP;
    vmcs_write(VMCS_PIN_CONTROLS, vmx_caps.pin & ~PIN_PREEMPTION_TIMER);
    vmcs_write(VMCS_PROC_CONTROLS, vmx->proc_controls);
    vmcs_write(VMCS_PROC2_CONTROLS, vmx->proc2_controls);
    vmcs_write(VMCS_EXIT_CONTROLS, vmx_caps.exit);
    vmcs_write(VMCS_ENTRY_CONTROLS, vmx_caps.entry);
    /* A guest can make the CPU deliver #AC or #DB for ever without an instruction completing, which
     * no interrupt would end (CVE-2015-5307, CVE-2015-8104). Machine checks are the core's. */
    vmcs_write(VMCS_EXCEPTION_BITMAP, BIT(EXC_DB) | BIT(EXC_AC) | BIT(EXC_MC));
    vmcs_write(VMCS_IO_BITMAP_A, vmx_io_bitmap_pa);
    vmcs_write(VMCS_IO_BITMAP_B, vmx_io_bitmap_pa + PAGE_SIZE_4K);
    vmcs_write(VMCS_MSR_BITMAP, vmx_msr_bitmap_pa[VMX_MSRS_PLAIN]);
    vmcs_write(VMCS_EPT_POINTER, page_to_pa(v->vm->nested.root) | EPTP_WB | EPTP_WALK_LENGTH);
    /* The guest owns every bit of the features that it is shown; a write of another one exits and
     * gets #GP. */
    vmcs_write(VMCS_CR4_MASK, ~(cpuid_guest_cr4_mask() & ~CR4_MCE));
    vmcs_write(VMCS_CR0_MASK, CR0_NE | CR0_CD | CR0_NW);
}

void vmx_init_vmcs(struct vcpu *v)
{
    struct vmx_vcpu *vmx = v->vmx;

    write_zeroes();
    write_host_state();
    write_controls(v);
    vmcs_write(VMCS_LINK_POINTER, NO_LINK);
    if (vmx_caps.proc2 & PROC2_VPID)
        vmcs_write(VMCS_VPID, vmx->vpid);
    if (vmx_caps.proc2 & PROC2_PAUSE_LOOP) {
        vmcs_write(VMCS_PAUSE_LOOP_GAP, PAUSE_LOOP_GAP);
        vmcs_write(VMCS_PAUSE_LOOP_WINDOW, PAUSE_LOOP_WINDOW);
    }
    if (vmx_caps.proc2 & PROC2_ENCLS)
        vmcs_write(VMCS_ENCLS_BITMAP, UINT64_MAX);
    if (vmx_caps.proc & PROC_TPR_SHADOW) {
        vmx->tpr_threshold = 0;
        vmcs_write(VMCS_VIRTUAL_APIC_PAGE, page_to_pa(v->lapic.regs));
        vmcs_write(VMCS_TPR_THRESHOLD, 0);
    }
    if (vmx_caps.proc2 & PROC2_VIRTUAL_INTERRUPTS) {
        vmcs_write(VMCS_GUEST_INTERRUPT_STATUS, 0);
        for (unsigned int i = 0; i < 4; i++)
            vmcs_write((enum vmcs_field)(VMCS_EOI_EXIT_BITMAP0 + 2 * i), 0);
    }
}
