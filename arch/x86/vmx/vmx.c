/* VT-x: detection, VMX operation and the operations behind struct virt_ops. */

#include "arch/x86/vmx/vmx.h"

#include "arch/x86/asm.h"
#include "arch/x86/debug_registers.h"
#include "arch/x86/fpu.h"
#include "arch/x86/interrupt.h"
#include "arch/x86/mm/page_alloc.h"
#include "arch/x86/msr.h"
#include "arch/x86/vmx/explain.h"
#include "lib/error.h"
#include "lib/format.h"
#include "lib/log.h"
#include "vmm/cpuid.h"
#include "vmm/vm.h"

struct vmx_caps vmx_caps;
uint64_t vmx_cap_msrs[VMX_CAP_COUNT];

static uint64_t nested_leaf(unsigned int flags, unsigned int level)
{
    return EPT_READ | (flags & PT_WRITE ? EPT_WRITE : 0) | (flags & PT_EXEC ? EPT_EXEC : 0) |
           (flags & PT_UNCACHED ? EPT_TYPE_UC : EPT_TYPE_WB);
}

static struct pt_format nested_format = {
    .levels = 4,
    .leaf_max = 2,
    .present = EPT_READ | EPT_WRITE | EPT_EXEC,
    .large = EPT_LARGE,
    .table = EPT_READ | EPT_WRITE | EPT_EXEC,
    .addr_mask = EPT_ADDR,
    .leaf = nested_leaf,
};

INIT static void log_features(void)
{
    log_info("vmx: revision 0x%x,%s%s%s%s%s nested pages up to %s", vmx_caps.revision,
             vmx_caps.proc2 & PROC2_VIRTUAL_INTERRUPTS ? " APIC virtualization," : "",
             vmx_caps.proc & PROC_TPR_SHADOW ? " TPR shadow," : "",
             vmx_caps.pin & PIN_PREEMPTION_TIMER ? " preemption timer," : "",
             vmx_caps.proc2 & PROC2_VPID ? " VPID," : "",
             vmx_caps.proc2 & PROC2_PAUSE_LOOP ? " PAUSE-loop exits," : "",
             vmx_caps.ept_leaf_max == 3   ? "1 GiB"
             : vmx_caps.ept_leaf_max == 2 ? "2 MiB"
                                          : "4 KiB");
}

INIT static int detect(uint32_t off, char *why, size_t size)
{
    int err = vmx_detect(off, vmx_cap_msrs, &vmx_caps, why, size);

    if (err)
        return err;
    nested_format.leaf_max = vmx_caps.ept_leaf_max;
    log_features();
    return 0;
}

INIT static int cpu_prepare(struct percpu *cpu)
{
    uint32_t *region = page_alloc();

    if (!region || (vmx_io_bitmap_pa == 0 && vmx_bitmaps_init() != 0))
        return -BH_ENOMEM;
    *region = vmx_caps.revision;
    cpu->vmx.vmxon_pa = page_to_pa(region);
    return 0;
}

/* Another CPU may be of another stepping, whose VMCS has another layout. */
INIT static int cpu_enable(void)
{
    uint64_t control;
    bool failed;

    if (!vmx_can_be_used() ||
        ((uint32_t)rdmsr(MSR_VMX_BASIC) & VMX_BASIC_REVISION) != vmx_caps.revision)
        return -BH_ENOTSUP;
    if (rdmsr_safe(MSR_FEATURE_CONTROL, &control) && !(control & FEATURE_LOCK))
        wrmsr(MSR_FEATURE_CONTROL, control | FEATURE_LOCK | FEATURE_VMX_OUTSIDE);
    write_cr0(read_cr0() | vmx_caps.cr0_fixed0);
    write_cr4(read_cr4() | vmx_caps.cr4_fixed0);
    __asm__ volatile("vmxon %1" : "=@ccbe"(failed) : "m"(this_cpu->vmx.vmxon_pa) : "memory");
    return failed ? -BH_ENOTSUP : 0;
}

/* In VMX operation an INIT, by which some machines reset, is held back (SDM vol. 3, 24.8). */
static void cpu_disable(void)
{
    __asm__ volatile("vmxoff" ::: "cc");
}

/* Not active on any CPU; makes the region usable, with no state worth anything. */
static void clear_vmcs(struct vmx_vcpu *vmx)
{
    *vmx->vmcs = vmx_caps.revision;
    __asm__ volatile("vmclear %0" ::"m"(vmx->vmcs_pa) : "cc", "memory");
}

static int vcpu_create(struct vcpu *v)
{
    static_assert(sizeof(struct vmx_vcpu) <= PAGE_SIZE_4K, "one page");
    uint32_t *vmcs = page_alloc_contiguous(2, 1);
    struct vmx_vcpu *vmx = (struct vmx_vcpu *)(vmcs + PAGE_SIZE_4K / sizeof(*vmcs));

    if (!vmcs)
        return -BH_ENOMEM;
    vmx->vmcs = vmcs;
    vmx->vmcs_pa = page_to_pa(vmx->vmcs);
    clear_vmcs(vmx);
    /* 0 is the core's own (SDM vol. 3, 29.1). */
    vmx->vpid = (uint16_t)(v->vm->index * VM_MAX_VCPUS + v->id + 1);
    static_assert(CONFIG_MAX_VMS * VM_MAX_VCPUS < UINT16_MAX, "VPIDs");
    v->vmx = vmx;
    return 0;
}

static void vcpu_reset(struct vcpu *v, const struct vcpu_sysregs *regs)
{
    struct vmx_vcpu *vmx = v->vmx;

    *vmx = (struct vmx_vcpu){
        .vmcs = vmx->vmcs,
        .vmcs_pa = vmx->vmcs_pa,
        .vpid = vmx->vpid,
        .flush_guest = true,
        .flush_nested = true,
        .slice_end = TIMER_NEVER,
        .dr6 = DR6_INIT,
    };
    clear_vmcs(vmx);
    vmx_make_current(vmx);
    vmx_init_vmcs(v);
    vmx_init_guest_regs(v, regs);
    v->pending |= PENDING_BACKEND;
    v->cpu_tpr = (uint8_t *)lapic_reg(&v->lapic, LAPIC_TPR);
    v->cpu_tpr_shift = 0;
    vmx_lapic_changed(v);
}

/* The guest's SYSCALL MSRs and GS base of the other side of SWAPGS. */
static const uint32_t lazy_msrs[VMX_LAZY_MSRS] = {
    MSR_STAR, MSR_STAR + 1, MSR_STAR + 2, MSR_SFMASK, MSR_KERNEL_GS_BASE,
};
static_assert(MSR_STAR + 3 == MSR_SFMASK, "STAR, LSTAR, CSTAR, SFMASK");

static void vcpu_load(struct vcpu *v)
{
    struct vmx_vcpu *vmx = v->vmx;

    fpu_load(v);
    if (cpuid_guest_has_rdtscp())
        wrmsr(MSR_TSC_AUX, v->tsc_aux);
    for (unsigned int i = 0; i < VMX_LAZY_MSRS; i++)
        wrmsr(lazy_msrs[i], vmx->msr[i]);
    write_cr2(vmx->cr2);
    write_dr6(vmx->dr6);
    vmx->loaded = true;
    vmx_select(v);
    /* An armed breakpoint needs DR0..3 to be the guest's, used or not since the last switch. */
    if (vmcs_read(VMCS_GUEST_DR7) & DR7_ARMED) {
        debug_registers_load(v);
        vmx_set_proc(vmx, PROC_MOV_DR, false);
    }
}

/* Its VMCS is to be active on one CPU only (SDM vol. 3, 25.11.1), which has the core's page tables
 * of that CPU. */
static void vcpu_arrive(struct vcpu *v)
{
    vmx_select(v);
    vmcs_write(VMCS_HOST_CR3, read_cr3());
    v->vmx->flush_guest = v->vmx->flush_nested = true; /* what is left here from earlier */
    v->pending |= PENDING_BACKEND;
}

static void vcpu_leave(struct vcpu *v)
{
    __asm__ volatile("vmclear %0" ::"m"(v->vmx->vmcs_pa) : "cc", "memory");
    v->vmx->launched = false;
    if (this_cpu->vmx.current == v->vmx)
        this_cpu->vmx.current = NULL;
}

static void vcpu_unload(struct vcpu *v)
{
    struct vmx_vcpu *vmx = v->vmx;

    fpu_save(v);
    for (unsigned int i = 0; i < VMX_LAZY_MSRS; i++)
        vmx->msr[i] = rdmsr(lazy_msrs[i]);
    vmx->cr2 = read_cr2();
    vmx->dr6 = read_dr6();
    vmx->loaded = false;
    if (v->dr_live) {
        vmx_select(v);
        debug_registers_save(v);
        vmx_set_proc(vmx, PROC_MOV_DR, true);
    }
    interrupts_restore_tables();
}

enum exit_action vmx_entry_refused(struct vcpu *v)
{
    return vmx_entry_failed(v, vmx_instruction_error((uint32_t)vmcs_read(VMCS_INSTRUCTION_ERROR)));
}

static enum exit_action vcpu_run(struct vcpu *v)
{
    struct vmx_vcpu *vmx = v->vmx;
    enum exit_action action = EXIT_RESUME;

    vmx_select(v);
    if (v->pending)
        action = vmx_attend(v);
    vmcs_write(VMCS_GUEST_RIP, v->rip);
    if (action == EXIT_RESUME) {
        action = vmx_run(v, &vmx->host_rsp, vmx->launched);
        vmx->launched = true;
    }
    return action;
}

static void clear_shadow(struct vcpu *v)
{
    uint64_t shadow = BLOCKED_BY_STI | BLOCKED_BY_MOV_SS;

    vmcs_write(VMCS_GUEST_INTERRUPTIBILITY, vmcs_read(VMCS_GUEST_INTERRUPTIBILITY) & ~shadow);
}

/* An interrupt window that was asked for is closed: the interrupt needs none any more, and another
 * one asks again. */
static void inject(struct vcpu *v, const struct vcpu_event *event)
{
    /* An exception's delivery ends the shadow that it comes in; the others wait for its end. */
    if (v->in_shadow)
        vcpu_end_shadow(v);
    vmx_set_proc(v->vmx, PROC_INTERRUPT_WINDOW, false);
    if (event->has_error)
        vmcs_write(VMCS_ENTRY_EXCEPTION_ERROR, event->error);
    vmcs_write(VMCS_ENTRY_INTERRUPTION_INFO, info_of(event));
}

static void want_interrupt_window(struct vcpu *v)
{
    vmx_select(v);
    vmx_set_proc(v->vmx, PROC_INTERRUPT_WINDOW, true);
}

/* It opens when neither an NMI handler nor MOV SS is in the way. A CPU may open it in the shadow of
 * STI (SDM vol. 3, 26.2), in which nothing is injected: the end of that is an interrupt window. */
static void want_nmi_window(struct vcpu *v)
{
    bool sti;

    vmx_select(v);
    sti = !v->nmi_blocked && (vmcs_read(VMCS_GUEST_INTERRUPTIBILITY) & BLOCKED_BY_STI);
    vmx_set_proc(v->vmx, sti ? PROC_INTERRUPT_WINDOW : PROC_NMI_WINDOW, true);
}

static void set_tsc_offset(struct vcpu *v, uint64_t offset)
{
    vmx_select(v);
    vmcs_write(VMCS_TSC_OFFSET, offset);
}

static void flush_guest(struct vcpu *v)
{
    v->vmx->flush_guest = true;
    v->pending |= PENDING_BACKEND;
}

static void flush_nested(struct vcpu *v)
{
    v->vmx->flush_nested = true;
    v->pending |= PENDING_BACKEND;
}

static bool set_slice_end(struct vcpu *v, uint64_t tsc)
{
    struct vmx_vcpu *vmx = v->vmx;

    if (!(vmx_caps.pin & PIN_PREEMPTION_TIMER))
        return false;
    if (tsc == vmx->slice_end)
        return true;
    if ((tsc == TIMER_NEVER) != (vmx->slice_end == TIMER_NEVER)) {
        vmx_select(v);
        vmcs_write(VMCS_PIN_CONTROLS,
                   tsc == TIMER_NEVER ? vmx_caps.pin & ~PIN_PREEMPTION_TIMER : vmx_caps.pin);
    }
    vmx->slice_end = tsc;
    v->pending |= PENDING_BACKEND;
    return true;
}

const struct virt_ops vmx_ops = {
    .name = "VT-x",
    .detect = detect,
    .cpu_prepare = cpu_prepare,
    .cpu_enable = cpu_enable,
    .cpu_disable = cpu_disable,
    .nested_format = &nested_format,
    .vcpu_create = vcpu_create,
    .vcpu_reset = vcpu_reset,
    .vcpu_load = vcpu_load,
    .vcpu_unload = vcpu_unload,
    .vcpu_leave = vcpu_leave,
    .vcpu_arrive = vcpu_arrive,
    .vcpu_run = vcpu_run,
    .get_sysregs = vmx_get_sysregs,
    .get_code_mode = vmx_get_code_mode,
    .in_code_mode = vmx_in_code_mode,
    .get_segment_base = vmx_get_segment_base,
    .set_cr0 = vmx_set_cr0,
    .set_cr2 = vmx_set_cr2,
    .set_cr4 = vmx_set_cr4,
    .set_efer = vmx_set_efer,
    .note_debug = vmx_note_debug,
    .set_pat = vmx_set_pat,
    .get_cr0 = vmx_get_cr0,
    .get_cr4 = vmx_get_cr4,
    .get_efer = vmx_get_efer,
    .clear_shadow = clear_shadow,
    .inject = inject,
    .want_interrupt_window = want_interrupt_window,
    .want_nmi_window = want_nmi_window,
    .want_tpr_exit = vmx_want_tpr_exit,
    .sync_lapic = vmx_sync_lapic,
    .lapic_changed = vmx_lapic_changed,
    .post_interrupts = vmx_post_interrupts,
    .set_tsc_offset = set_tsc_offset,
    .flush_guest = flush_guest,
    .flush_nested = flush_nested,
    .set_slice_end = set_slice_end,
    .dump = vmx_dump,
};
