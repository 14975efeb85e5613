/* AMD-V: detection, VMCB set-up and the operations behind struct virt_ops. */

#include "arch/x86/svm/svm.h"

#include "arch/x86/asm.h"
#include "arch/x86/debug_registers.h"
#include "arch/x86/event_info.h"
#include "arch/x86/fpu.h"
#include "arch/x86/interrupt.h"
#include "arch/x86/mm/address_space.h"
#include "arch/x86/mm/page_alloc.h"
#include "arch/x86/msr.h"
#include "arch/x86/percpu.h"
#include "lib/error.h"
#include "lib/format.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vmm/cpuid.h"
#include "vmm/pause.h"
#include "vmm/pv_eoi.h"
#include "vmm/vm.h"

struct svm_features svm_features;

static uint64_t nested_leaf(unsigned int flags, unsigned int level)
{
    /* APM vol. 2, 15.25.5: guest accesses count as user accesses in the nested tables. */
    return PTE_P | PTE_U | PTE_A | (flags & PT_WRITE ? PTE_W | PTE_D : 0) |
           (flags & PT_EXEC ? 0 : PTE_NX) | (flags & PT_UNCACHED ? PTE_PCD | PTE_PWT : 0);
}

static struct pt_format nested_format = {
    .levels = 4,
    .leaf_max = 2,
    .present = PTE_P,
    .large = PTE_LARGE,
    .table = PTE_P | PTE_W | PTE_U | PTE_A,
    .addr_mask = PTE_ADDR,
    .leaf = nested_leaf,
};

INIT static int detect(uint32_t off, char *why, size_t size)
{
    int err = svm_detect(off, &svm_features, why, size);

    if (err)
        return err;
    nested_format.leaf_max = svm_features.large_pages ? 3 : 2;
    log_info("svm: revision %u, %u ASIDs,%s%s%s%s%s%s nested pages up to %s", svm_features.revision,
             svm_features.asids, svm_features.nrips ? " next RIP," : "",
             svm_features.decode_assists ? " decode assists," : "",
             svm_features.flush_by_asid ? " flush by ASID," : "",
             svm_features.clean_bits ? " clean bits," : "",
             svm_features.pause_filter ? " pause filter," : "",
             svm_features.virq_delivers ? " interrupts by V_IRQ," : "",
             nested_format.leaf_max == 3 ? "1 GiB" : "2 MiB");
    return 0;
}

INIT static int cpu_prepare(struct percpu *cpu)
{
    void *hsave = page_alloc();
    void *host_vmcb = page_alloc();

    if (!hsave || !host_vmcb || (svm_msrpm_pa == 0 && svm_permissions_init() != 0))
        return -BH_ENOMEM;
    cpu->svm.asid_next = 1;
    cpu->svm.asid_generation = 1;
    cpu->svm.host_vmcb_pa = page_to_pa(host_vmcb);
    cpu->svm.hsave_pa = page_to_pa(hsave);
    return 0;
}

INIT static int cpu_enable(void)
{
    const struct percpu *cpu = this_cpu;

    if (!svm_can_be_used())
        return -BH_ENOTSUP;
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
    wrmsr(MSR_AMD_VM_HSAVE_PA, cpu->svm.hsave_pa);
    __asm__ volatile("vmsave" ::"a"(cpu->svm.host_vmcb_pa) : "memory");
    return 0;
}

static void cpu_disable(void)
{
    /* Not with GIF clear, as it is while an exit is handled (APM vol. 2, 15.4). */
    if (rdmsr(MSR_EFER) & EFER_SVME)
        __asm__ volatile("stgi" ::: "memory");
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SVME);
}

static int vcpu_create(struct vcpu *v)
{
    static_assert(sizeof(struct svm_vcpu) <= PAGE_SIZE_4K, "one page");
    struct vmcb *vmcb = page_alloc_contiguous(2, 1);
    struct svm_vcpu *svm = (struct svm_vcpu *)(vmcb + 1);

    if (!vmcb)
        return -BH_ENOMEM;
    svm->vmcb = vmcb;
    svm->vmcb_pa = page_to_pa(svm->vmcb);
    v->svm = svm;
    return 0;
}

/* What always leaves the guest, and why; what is added for a time stands in exit.c. */
static void set_intercepts(struct vmcb *vmcb)
{
    vmcb->intercept_cr = INTERCEPT_CR_WRITE(4); /* only bits of features that it was shown */
    vmcb->intercept_dr = INTERCEPT_DR_ALL;      /* until the first use: then they are switched */
    /* A guest can make the CPU deliver #AC or #DB for ever without an instruction completing, which
     * no interrupt would end (CVE-2015-5307, CVE-2015-8104). Machine checks are the core's. */
    vmcb->intercept_exceptions = BIT(EXC_DB) | BIT(EXC_AC) | BIT(EXC_MC);
    vmcb->intercept3 = INTERCEPT3_INTR | INTERCEPT3_NMI | INTERCEPT3_SMI | INTERCEPT3_INIT |
                       INTERCEPT3_CR0_SEL | INTERCEPT3_RDPMC | INTERCEPT3_CPUID | INTERCEPT3_RSM |
                       INTERCEPT3_INVD | INTERCEPT3_HLT | INTERCEPT3_INVLPGA | INTERCEPT3_IOIO |
                       INTERCEPT3_MSR | INTERCEPT3_TASK | INTERCEPT3_SHUTDOWN;
    vmcb->intercept4 = INTERCEPT4_VMRUN | INTERCEPT4_VMMCALL | INTERCEPT4_VMLOAD |
                       INTERCEPT4_VMSAVE | INTERCEPT4_STGI | INTERCEPT4_CLGI | INTERCEPT4_SKINIT |
                       INTERCEPT4_WBINVD | INTERCEPT4_MONITOR | INTERCEPT4_MWAIT |
                       INTERCEPT4_MWAIT_ARMED | INTERCEPT4_XSETBV | INTERCEPT4_RDPRU;
}

/* Without the threshold all PAUSEs since the entry count. */
static void set_pause_filter(struct vmcb *vmcb)
{
    vmcb->intercept3 |= INTERCEPT3_PAUSE;
    vmcb->pause_count = PAUSE_FILTER_COUNT;
    vmcb->pause_threshold = svm_features.pause_threshold ? PAUSE_FILTER_GAP : 0;
}

static inline void intercept_cr(struct svm_vcpu *svm, uint32_t bits, bool on)
{
    uint32_t old = svm->vmcb->intercept_cr;
    uint32_t wanted = on ? old | bits : old & ~bits;

    if (wanted != old) {
        svm->vmcb->intercept_cr = wanted;
        svm_dirty(svm, CLEAN_INTERCEPTS);
    }
}

static void set_cr0(struct vcpu *v, uint64_t value)
{
    struct svm_vcpu *svm = v->svm;
    struct vmcb *vmcb = svm->vmcb;

    /* Reads must show CD and NW as they were written, and the write that clears them changes
     * nothing that the hardware could see; as long as neither is set, no exit. */
    svm->guest_cr0 = value & (CR0_CD | CR0_NW);
    intercept_cr(svm, INTERCEPT_CR_READ(0) | INTERCEPT_CR_WRITE(0), svm->guest_cr0);
    vmcb->cr0 = (value & ~(CR0_CD | CR0_NW)) | CR0_ET;
    if (svm->guest_efer & EFER_LME)
        svm->guest_efer = value & CR0_PG ? svm->guest_efer | EFER_LMA : svm->guest_efer & ~EFER_LMA;
    vmcb->efer = svm->guest_efer | EFER_SVME;
    svm_dirty(svm, CLEAN_CR);
}

static uint64_t get_cr0(struct vcpu *v)
{
    return v->svm->vmcb->cr0 | v->svm->guest_cr0;
}

/* CR0.PG changes LMA without an exit when nothing else in CR0 changes along; and when something
 * does, Bochs 2.7 changes LMA before the exit. */
static uint64_t get_efer(struct vcpu *v)
{
    const struct vmcb *vmcb = v->svm->vmcb;
    bool lma = (vmcb->efer & EFER_LME) && (vmcb->cr0 & CR0_PG);

    return (vmcb->efer & ~(EFER_SVME | EFER_LMA)) | (lma ? EFER_LMA : 0);
}

static void set_efer(struct vcpu *v, uint64_t value)
{
    v->svm->guest_efer = value;
    v->svm->vmcb->efer = value | EFER_SVME;
    svm_dirty(v->svm, CLEAN_CR);
}

/* Bochs 2.7 does not load CR2 from the VMCB: there it stays on the CPU, like DR0..3. */
static void set_cr2(struct vcpu *v, uint64_t value)
{
    v->svm->vmcb->cr2 = value;
    svm_dirty(v->svm, CLEAN_CR2);
    if (this_cpu->current == v)
        write_cr2(value);
}

static uint64_t get_cr4(struct vcpu *v)
{
    return v->svm->vmcb->cr4 & ~v->svm->hidden_cr4;
}

/* A machine check with CR4.MCE clear shuts the whole CPU down, so it is always set; a guest that
 * has it clear reads CR4 by way of an exit. */
static void set_cr4(struct vcpu *v, uint64_t value)
{
    struct svm_vcpu *svm = v->svm;
    struct vmcb *vmcb = svm->vmcb;

    svm->hidden_cr4 = ~value & CR4_MCE;
    vmcb->cr4 = value | CR4_MCE;
    intercept_cr(svm, INTERCEPT_CR_READ(4), svm->hidden_cr4);
    svm_dirty(svm, CLEAN_CR);
}

static void note_debug(struct vcpu *v, uint64_t dr6_bits)
{
    struct vmcb *vmcb = v->svm->vmcb;

    vmcb->dr6 |= dr6_bits;
    vmcb->dr7 &= ~DR7_GD;
    svm_dirty(v->svm, CLEAN_DR);
}

static void set_pat(struct vcpu *v, uint64_t value)
{
    v->svm->vmcb->g_pat = value;
    svm_dirty(v->svm, CLEAN_NP);
}

static void set_tsc_offset(struct vcpu *v, uint64_t offset)
{
    v->svm->vmcb->tsc_offset = offset;
    svm_dirty(v->svm, CLEAN_INTERCEPTS);
}

static void vcpu_reset(struct vcpu *v, const struct vcpu_sysregs *regs)
{
    struct svm_vcpu *svm = v->svm;
    struct vmcb *vmcb = svm->vmcb;

    *vmcb = (struct vmcb){0};
    set_intercepts(vmcb);
    if (svm_features.pause_filter && pause_is_to_exit(v->vm))
        set_pause_filter(vmcb);
    vmcb->iopm_base = svm_iopm_pa;
    vmcb->msrpm_base = svm_msrpm_pa;
    vmcb->int_ctl = INT_CTL_V_INTR_MASKING;
    vmcb->np_control = NP_ENABLE;
    vmcb->nested_cr3 = page_to_pa(v->vm->nested.root);
    vmcb->g_pat = PAT_INIT;
    vmcb->dr6 = DR6_INIT;
    vmcb->dr7 = DR7_INIT;
    memcpy(vmcb->seg, regs->seg, sizeof(vmcb->seg));
    vmcb->gdtr = regs->gdtr;
    vmcb->idtr = regs->idtr;
    vmcb->ldtr = regs->ldtr;
    vmcb->tr = regs->tr;
    vmcb->cpl = regs->cpl;
    vmcb->cr3 = regs->cr3;
    set_cr4(v, regs->cr4);
    svm->guest_efer = regs->efer;
    set_cr0(v, regs->cr0);
    svm->asid_generation = 0;
    svm->stepping_nmi = false;
    vmcb->clean = 0;
    v->cpu_tpr = (uint8_t *)&vmcb->int_ctl; /* V_TPR: CR8, in the low bits */
    v->cpu_tpr_shift = 4;
    vcpu_set_cpu_tpr(v);
    v->pending |= PENDING_BACKEND;
}

/* FS, GS, TR and LDTR are on the CPU while the vCPU runs. */
static void save_lazy(const struct svm_vcpu *svm)
{
    if (svm->running)
        __asm__ volatile("vmsave" ::"a"(svm->vmcb_pa) : "memory");
}

static void get_sysregs(struct vcpu *v, struct vcpu_sysregs *regs)
{
    const struct svm_vcpu *svm = v->svm;
    const struct vmcb *vmcb = svm->vmcb;

    save_lazy(svm);
    regs->cr0 = get_cr0(v);
    regs->cr2 = vmcb->cr2;
    regs->cr3 = vmcb->cr3;
    regs->cr4 = vmcb->cr4 & ~svm->hidden_cr4;
    regs->efer = get_efer(v);
    regs->dr6 = vmcb->dr6;
    regs->dr7 = vmcb->dr7;
    for (unsigned int i = 0; i < SEG_COUNT; i++)
        regs->seg[i] = vmcb->seg[i];
    regs->ldtr = vmcb->ldtr;
    regs->tr = vmcb->tr;
    regs->gdtr = vmcb->gdtr;
    regs->idtr = vmcb->idtr;
    regs->cpl = vmcb->cpl;
}

static void get_code_mode(struct vcpu *v, struct code_mode *mode)
{
    const struct vmcb *vmcb = v->svm->vmcb;

    mode->cr0 = vmcb->cr0;
    mode->cr3 = vmcb->cr3;
    mode->cr4 = vmcb->cr4;
    mode->efer = get_efer(v);
    mode->cs = vmcb->seg[SEG_CS];
    mode->cpl = vmcb->cpl;
    mode->key = svm_cs_key(vmcb);
}

/* LMA follows from LME and PG. */
static bool in_code_mode(struct vcpu *v, const struct code_mode *mode)
{
    const struct vmcb *vmcb = v->svm->vmcb;

    return svm_in_64bit_code(vmcb, mode) ||
           (mode->cpu_mode != MODE_64 &&
            ((vmcb->cr0 ^ mode->cr0) | (vmcb->cr3 ^ mode->cr3) | (vmcb->cr4 ^ mode->cr4) |
             ((vmcb->efer ^ mode->efer) & ~(EFER_SVME | EFER_LMA)) |
             (svm_cs_key(vmcb) ^ mode->key) | (vmcb->seg[SEG_CS].base ^ mode->cs.base)) == 0);
}

static uint64_t get_segment_base(struct vcpu *v, enum seg_index seg)
{
    save_lazy(v->svm);
    return v->svm->vmcb->seg[seg].base;
}

/* DR0..3, the FPU and TSC_AUX stay loaded between exits and change only when another vCPU comes. */
static void vcpu_load(struct vcpu *v)
{
    fpu_load(v);
    write_cr2(v->svm->vmcb->cr2);
    if (cpuid_guest_has_rdtscp())
        wrmsr(MSR_TSC_AUX, v->tsc_aux);
    v->svm->vmcb->clean = 0;
    v->pending |= PENDING_BACKEND; /* its ASID may be of an older generation */
    /* An armed breakpoint needs DR0..3 to be the guest's, used or not since the last switch. */
    if (v->svm->vmcb->dr7 & DR7_ARMED)
        svm_load_debug_registers(v);
}

static void vcpu_unload(struct vcpu *v)
{
    struct vmcb *vmcb = v->svm->vmcb;

    fpu_save(v);
    if (v->dr_live) {
        debug_registers_save(v);
        vmcb->intercept_dr = INTERCEPT_DR_ALL;
    }
}

static void vcpu_leave(struct vcpu *v)
{
}

/* ASIDs are given out by each CPU for itself. */
static void vcpu_arrive(struct vcpu *v)
{
    v->svm->asid_generation = 0;
    v->pending |= PENDING_BACKEND;
}

static enum exit_action vcpu_run(struct vcpu *v)
{
    struct svm_vcpu *svm = v->svm;
    enum exit_action action = v->pending ? svm_attend(v) : EXIT_RESUME;

    svm->vmcb->rax = v->gpr[GPR_RAX];
    svm->vmcb->rip = v->rip;
    if (action == EXIT_RESUME) {
        svm->running = true;
        action = svm_run(v, svm->vmcb_pa, this_cpu->svm.host_vmcb_pa);
        svm->running = false;
    }
    return action;
}

/* What the shadow held back is looked at before the next entry: Bochs 2.7 forgets V_IRQ at a VMRUN
 * that finds IF set in host and guest. */
static void clear_shadow(struct vcpu *v)
{
    v->svm->vmcb->int_state &= ~INT_STATE_SHADOW;
    v->pending |= PENDING_INTERRUPT;
}

/* The CPU takes it as soon as IF and the shadow let it, whatever TPR says. */
static void set_virq(struct vmcb *vmcb, uint8_t vector)
{
    vmcb->int_ctl = (uint32_t)vmcb->int_ctl | INT_CTL_V_IRQ | INT_CTL_V_IGN_TPR |
                    INT_CTL_V_INTR_PRIO(15) | (uint64_t)vector << INT_CTL_VECTOR_SHIFT;
}

/* An interrupt window that was asked for is closed: the interrupt needs none any more, and another
 * one asks again. */
static void inject(struct vcpu *v, const struct vcpu_event *event)
{
    struct vmcb *vmcb = v->svm->vmcb;

    if (svm_wants_window(vmcb))
        svm_close_window(v->svm);
    if (svm_features.virq_delivers && event->type == EVENT_INTERRUPT) {
        set_virq(vmcb, event->vector);
        return;
    }
    vmcb->event_inject = info_of(event);
    if (event->has_error)
        vmcb->event_inject |= (uint64_t)event->error << EVENT_ERROR_SHIFT;
}

/* A dummy virtual interrupt of the highest priority: taking it would need IF and no shadow, and its
 * intercept ends the guest just then. Until then MOV to CR8 exits: with V_IRQ set, QEMU's TCG (7.2)
 * fails an assertion there, so that any guest could end the machine. */
static void want_interrupt_window(struct vcpu *v)
{
    struct vmcb *vmcb = v->svm->vmcb;

    /* There is one V_IRQ: what waits must wait for the next exit, at the latest the EOI. */
    if (unlikely(svm_virq_delivers(vmcb))) {
        v->pending |= PENDING_INTERRUPT;
        return;
    }
    set_virq(vmcb, 0);
    vmcb->intercept3 |= INTERCEPT3_VINTR;
    vmcb->intercept_cr |= INTERCEPT_CR_WRITE(8);
    svm_dirty(v->svm, CLEAN_INTERCEPTS);
    v->pending |= PENDING_BACKEND;
}

/* The end of the NMI handler that runs, or else that of an interrupt shadow, which lasts for one
 * instruction: the interrupt window is the exit that comes then or, with IF clear, at the latest
 * with the next exit of any kind. */
static void want_nmi_window(struct vcpu *v)
{
    if (!v->nmi_blocked) {
        want_interrupt_window(v);
    } else if (!v->svm->stepping_nmi) { /* else its IRET is being stepped over already */
        v->svm->vmcb->intercept3 |= INTERCEPT3_IRET;
        svm_dirty(v->svm, CLEAN_INTERCEPTS);
    }
}

static void want_tpr_exit(struct vcpu *v, bool on)
{
    intercept_cr(v->svm, INTERCEPT_CR_WRITE(8), on || svm_wants_window(v->svm->vmcb));
}

/* Of the LAPIC, the CPU has CR8. TPR has four bits more, which stay as long as CR8 does. */
static void sync_lapic(struct vcpu *v)
{
    pv_eoi_sync(v);
    if (*v->cpu_tpr != (uint8_t)v->known_tpr)
        lapic_set_cr8(&v->lapic, *v->cpu_tpr);
    v->known_tpr = *v->cpu_tpr;
}

/* An ASID's translations are the guest's and the nested ones in one. */
static void flush(struct vcpu *v)
{
    v->svm->asid_generation = 0;
    v->pending |= PENDING_BACKEND;
}

static bool set_slice_end(struct vcpu *v, uint64_t tsc)
{
    return false;
}

static void dump(struct vcpu *v, emit_fn *emit)
{
    const struct vmcb *vmcb = v->svm->vmcb;

    emit_line(emit, "vmcb: exit code 0x%llx info1 0x%llx info2 0x%llx intinfo 0x%llx inject 0x%llx",
              LLU(vmcb->exit_code), LLU(vmcb->exit_info1), LLU(vmcb->exit_info2),
              LLU(vmcb->exit_int_info), LLU(vmcb->event_inject));
    emit_line(emit, "vmcb: asid %u int_ctl 0x%llx int_state 0x%llx np_cr3 0x%llx", vmcb->asid,
              LLU(vmcb->int_ctl), LLU(vmcb->int_state), LLU(vmcb->nested_cr3));
}

const struct virt_ops svm_ops = {
    .name = "AMD-V",
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
    .get_sysregs = get_sysregs,
    .get_code_mode = get_code_mode,
    .in_code_mode = in_code_mode,
    .get_segment_base = get_segment_base,
    .set_cr0 = set_cr0,
    .set_cr2 = set_cr2,
    .set_cr4 = set_cr4,
    .set_efer = set_efer,
    .note_debug = note_debug,
    .set_pat = set_pat,
    .get_cr0 = get_cr0,
    .get_cr4 = get_cr4,
    .get_efer = get_efer,
    .clear_shadow = clear_shadow,
    .inject = inject,
    .want_interrupt_window = want_interrupt_window,
    .want_nmi_window = want_nmi_window,
    .want_tpr_exit = want_tpr_exit,
    .sync_lapic = sync_lapic,
    .lapic_changed = vcpu_set_cpu_tpr,
    .set_tsc_offset = set_tsc_offset,
    .flush_guest = flush,
    .flush_nested = flush,
    .set_slice_end = set_slice_end,
    .dump = dump,
};
