/* What AMD-V's exit codes are, in terms of vmm/exit.h. One table, indexed by the code. */

#include "vmm/exit.h"
#include "arch/x86/asm.h"
#include "arch/x86/debug_registers.h"
#include "arch/x86/svm/svm.h"
#include "vmm/emulate/decode.h"
#include "vmm/sched.h"
#include "vmm/vm.h"

struct exit_entry {
    enum exit_action (*handler)(struct vcpu *v, struct vmcb *vmcb);
    /* Or, for an instruction of which nothing else is to be known than its length: */
    enum exit_action (*instruction)(struct vcpu *v, unsigned int length);
    uint8_t kind; /* enum exit_kind */
    uint8_t insn; /* enum insn_id */
};

/* Length of the instruction that exited: from the CPU, or by decoding it. 0: a fault was raised in
 * the guest instead, or the instruction has changed meanwhile: just enter again. */
static inline unsigned int length_of(struct vcpu *v, const struct vmcb *vmcb, enum insn_id id)
{
    if (likely(svm_features.nrips && vmcb->next_rip > v->rip)) {
        return (unsigned int)(vmcb->next_rip - v->rip);
    }
    return exit_insn_length(v, id);
}

static enum exit_action on_interrupt(struct vcpu *v, struct vmcb *vmcb)
{
    interrupts_take();
    return EXIT_RESCHEDULE;
}

/* NMI and SMI were taken when GIF came back on. */
static enum exit_action on_taken(struct vcpu *v, struct vmcb *vmcb)
{
    return EXIT_RESUME;
}

static enum exit_action on_window(struct vcpu *v, struct vmcb *vmcb)
{
    vmcb->int_ctl &= ~INT_CTL_V_IRQ;
    vmcb->intercept3 &= ~INTERCEPT3_VINTR;
    svm_dirty(v->svm, CLEAN_TPR | CLEAN_INTERCEPTS);
    v->pending |= PENDING_INTERRUPT;
    return EXIT_RESUME;
}

/* An NMI handler is about to return. NMIs stay blocked until IRET is done: one step further. */
static enum exit_action on_iret(struct vcpu *v, struct vmcb *vmcb)
{
    vmcb->intercept3 &= ~INTERCEPT3_IRET;
    svm_dirty(v->svm, CLEAN_INTERCEPTS);
    v->svm->stepping_nmi = true;
    v->svm->stepping_had_tf = (v->rflags & RFLAGS_TF) != 0;
    v->rflags |= RFLAGS_TF;
    return EXIT_RESUME;
}

static enum exit_action on_debug(struct vcpu *v, struct vmcb *vmcb)
{
    struct svm_vcpu *svm = v->svm;

    if (svm->stepping_nmi) {
        svm->stepping_nmi = false;
        v->nmi_blocked = false;
        if (!svm->stepping_had_tf) {
            vmcb->dr6 &= ~DR6_BS;
            svm_dirty(svm, CLEAN_DR);
            return EXIT_RESUME;
        }
    }
    /* DR6 is as the guest would have it (APM vol. 2, 15.12.2), DR7 is not. */
    virt->note_debug(v, 0);
    return exit_exception(v, EXC_DB);
}

static enum exit_action on_alignment(struct vcpu *v, struct vmcb *vmcb)
{
    return exit_exception(v, EXC_AC);
}

static enum exit_action on_machine_check(struct vcpu *v, struct vmcb *vmcb)
{
    __asm__ volatile("int %0" ::"i"(EXC_MC));
    return EXIT_RESUME;
}

static enum exit_action on_task_switch(struct vcpu *v, struct vmcb *vmcb)
{
    return exit_task_switch(v, (uint16_t)vmcb->exit_info1);
}

/* INVD and WBINVD. QEMU's TCG reports INVD as WBINVD, so either may stand there. */
static enum exit_action on_cache(struct vcpu *v, struct vmcb *vmcb)
{
    unsigned int length = length_of(v, vmcb, INSN_WBINVD);

    if (length == 0 && !(v->pending & PENDING_EVENT)) {
        length = length_of(v, vmcb, INSN_INVD);
    }
    return length ? exit_cache(v, length) : EXIT_RESUME;
}

static enum exit_action on_io(struct vcpu *v, struct vmcb *vmcb)
{
    uint64_t info = vmcb->exit_info1;
    uint64_t next = vmcb->exit_info2; /* always saved (APM vol. 2, 15.10.2) */

    if (unlikely(info & IOIO_STRING)) {
        return exit_string_io(v);
    }
    if (info & IOIO_IN) {
        return likely(info & IOIO_BYTE) ? exit_in(v, IOIO_PORT(info), next)
                                        : exit_in_wide(v, IOIO_PORT(info), next, IOIO_SIZE(info));
    }
    return likely(info & IOIO_BYTE) ? exit_out(v, IOIO_PORT(info), next)
                                    : exit_out_wide(v, IOIO_PORT(info), next, IOIO_SIZE(info));
}

static enum exit_action on_rdpmc(struct vcpu *v, struct vmcb *vmcb)
{
    vcpu_raise_error(v, EXC_GP, 0); /* no counters are shown */
    return EXIT_RESUME;
}

static enum exit_action on_undefined(struct vcpu *v, struct vmcb *vmcb)
{
    return exit_undefined(v);
}

void svm_load_debug_registers(struct vcpu *v)
{
    debug_registers_load(v);
    v->svm->vmcb->intercept_dr = 0;
    svm_dirty(v->svm, CLEAN_INTERCEPTS);
}

/* The first debug register access since the vCPU came on: the instruction runs again, for real. */
static enum exit_action on_dr(struct vcpu *v, struct vmcb *vmcb)
{
    svm_load_debug_registers(v);
    return EXIT_RESUME;
}

static bool write_cr(struct vcpu *v, uint64_t exit_code, uint64_t value)
{
    switch (exit_code) {
    case SVM_EXIT_CR4_WRITE: return exit_write_cr4(v, value);
    case SVM_EXIT_CR8_WRITE: return exit_write_cr8(v, value);
    default: return exit_write_cr0(v, value);
    }
}

/* LMSW and SMSW (0F 01 /6 and /4) with a register. */
static bool machine_status_word(struct vcpu *v, const struct insn *insn, uint64_t *gpr,
                                uint64_t cr0)
{
    unsigned int reg = insn->modrm >> 3 & 7;

    if ((insn->modrm >> 6) != 3 || (reg != 4 && reg != 6)) {
        vcpu_raise(v, EXC_UD); /* with a memory operand: not emulated */
        return false;
    }
    if (reg == 6) {
        /* LMSW changes PE, MP, EM, TS and cannot clear PE (APM vol. 3). */
        return exit_write_cr0(v, (cr0 & ~(CR0_MP | CR0_EM | CR0_TS)) | (*gpr & 15));
    }
    *gpr = insn->op_size == 2 ? (*gpr & ~0xffffull) | (cr0 & 0xffff) : cr0;
    return true;
}

/* MOV to or from a control register, LMSW, CLTS and SMSW. Without decode assists the instruction is
 * fetched; it can be any of these, whatever the exit code says. */
static enum exit_action on_cr(struct vcpu *v, struct vmcb *vmcb)
{
    uint8_t bytes[INSN_MAX_LENGTH];
    struct vcpu_sysregs regs;
    enum cpu_mode mode;
    struct insn insn;
    bool done;

    int len = exit_fetch(v, bytes, &mode);
    if (len <= 0 || insn_decode(&insn, bytes, (size_t)len, mode) != 0 || insn.map != MAP_0F) {
        return EXIT_RESUME;
    }
    virt->get_sysregs(v, &regs);
    uint64_t *gpr = &v->gpr[(insn.modrm & 7) | (insn.rex & REX_B ? 8 : 0)];
    uint64_t width = mode == MODE_64 ? UINT64_MAX : UINT32_MAX;
    switch (insn.opcode) {
    case 0x20: /* MOV r, CRn: CR0 or CR4 */
        *gpr = (vmcb->exit_code == SVM_EXIT_CR0_READ ? regs.cr0 : regs.cr4) & width;
        done = true;
        break;
    case 0x22: /* MOV CRn, r */ done = write_cr(v, vmcb->exit_code, *gpr & width); break;
    case 0x06: /* CLTS */ done = exit_write_cr0(v, regs.cr0 & ~CR0_TS); break;
    case 0x01: done = machine_status_word(v, &insn, gpr, regs.cr0); break;
    default: return EXIT_RESUME;
    }
    if (done) {
        vcpu_skip(v, insn.length);
    }
    return EXIT_RESUME;
}

static NOINLINE enum exit_action other_nested_fault(struct vcpu *v, const struct vmcb *vmcb)
{
    uint64_t info = vmcb->exit_info1;
    unsigned int len = svm_features.decode_assists ? vmcb->insn_length & 15u : 0;

    return exit_nested_fault(v, vmcb->exit_info2, (info & PF_WRITE) != 0, (info & PF_FETCH) != 0,
                             (info & NPF_TABLE_WALK) != 0, vmcb->insn_bytes, len);
}

static enum exit_action on_nested_fault(struct vcpu *v, struct vmcb *vmcb)
{
    uint64_t info = vmcb->exit_info1;

    if (likely(!(info & (PF_FETCH | NPF_TABLE_WALK)) &&
               exit_device_mov(v, vmcb->exit_info2, (info & PF_WRITE) != 0))) {
        return EXIT_RESUME;
    }
    return other_nested_fault(v, vmcb);
}

static enum exit_action on_shutdown(struct vcpu *v, struct vmcb *vmcb)
{
    vm_request(v->vm, VM_REQUEST_CRASH, "triple fault");
    return EXIT_STOP;
}

static NOINLINE enum exit_action on_unknown(struct vcpu *v, struct vmcb *vmcb)
{
    if ((uint32_t)vmcb->exit_code == SVM_EXIT_INVALID_32) {
        vm_request(v->vm, VM_REQUEST_CRASH, "invalid VMCB");
    } else {
        vm_request(v->vm, VM_REQUEST_CRASH, "unexpected exit code 0x%llx",
                   (unsigned long long)vmcb->exit_code);
    }
    return EXIT_STOP;
}

static const struct exit_entry exit_table[SVM_EXIT_ROWS] = {
    [SVM_EXIT_CR0_READ] = {on_cr, NULL, EXIT_KIND_CR, 0},
    [SVM_EXIT_CR4_READ] = {on_cr, NULL, EXIT_KIND_CR, 0},
    [SVM_EXIT_CR0_WRITE] = {on_cr, NULL, EXIT_KIND_CR, 0},
    [SVM_EXIT_CR4_WRITE] = {on_cr, NULL, EXIT_KIND_CR, 0},
    [SVM_EXIT_CR8_WRITE] = {on_cr, NULL, EXIT_KIND_CR, 0},
    [SVM_EXIT_CR0_SEL] = {on_cr, NULL, EXIT_KIND_CR, 0},
    [SVM_EXIT_DR0_READ... SVM_EXIT_DR15_WRITE] = {on_dr, NULL, EXIT_KIND_DR, 0},
    [SVM_EXIT_EXCP_BASE + EXC_DB] = {on_debug, NULL, EXIT_KIND_EXCEPTION, 0},
    [SVM_EXIT_EXCP_BASE + EXC_AC] = {on_alignment, NULL, EXIT_KIND_EXCEPTION, 0},
    [SVM_EXIT_EXCP_BASE + EXC_MC] = {on_machine_check, NULL, EXIT_KIND_EXCEPTION, 0},
    [SVM_EXIT_INTR] = {on_interrupt, NULL, EXIT_KIND_INTERRUPT, 0},
    [SVM_EXIT_NMI] = {on_taken, NULL, EXIT_KIND_NMI, 0},
    [SVM_EXIT_SMI] = {on_taken, NULL, EXIT_KIND_OTHER, 0},
    [SVM_EXIT_INIT] = {on_taken, NULL, EXIT_KIND_OTHER, 0},
    [SVM_EXIT_VINTR] = {on_window, NULL, EXIT_KIND_WINDOW, 0},
    [SVM_EXIT_RDPMC] = {on_rdpmc, NULL, EXIT_KIND_OTHER, 0},
    [SVM_EXIT_CPUID] = {NULL, exit_cpuid, EXIT_KIND_CPUID, INSN_CPUID},
    [SVM_EXIT_RSM] = {on_undefined, NULL, EXIT_KIND_OTHER, 0},
    [SVM_EXIT_IRET] = {on_iret, NULL, EXIT_KIND_WINDOW, 0},
    [SVM_EXIT_INVD] = {on_cache, NULL, EXIT_KIND_OTHER, 0},
    [SVM_EXIT_HLT] = {NULL, exit_hlt, EXIT_KIND_HLT, INSN_HLT},
    [SVM_EXIT_INVLPGA] = {on_undefined, NULL, EXIT_KIND_OTHER, 0},
    [SVM_EXIT_TASK_SWITCH] = {on_task_switch, NULL, EXIT_KIND_OTHER, 0},
    [SVM_EXIT_IOIO] = {on_io, NULL, EXIT_KIND_IO, 0},
    [SVM_EXIT_MSR] = {NULL, exit_rdmsr, EXIT_KIND_MSR, INSN_RDMSR},
    [SVM_EXIT_MSR_WRITE] = {NULL, exit_wrmsr, EXIT_KIND_MSR, INSN_WRMSR},
    [SVM_EXIT_SHUTDOWN] = {on_shutdown, NULL, EXIT_KIND_OTHER, 0},
    [SVM_EXIT_VMRUN] = {on_undefined, NULL, EXIT_KIND_OTHER, 0},
    [SVM_EXIT_VMMCALL] = {NULL, exit_hypercall, EXIT_KIND_HYPERCALL, INSN_VMMCALL},
    [SVM_EXIT_VMLOAD] = {on_undefined, NULL, EXIT_KIND_OTHER, 0},
    [SVM_EXIT_VMSAVE] = {on_undefined, NULL, EXIT_KIND_OTHER, 0},
    [SVM_EXIT_STGI] = {on_undefined, NULL, EXIT_KIND_OTHER, 0},
    [SVM_EXIT_CLGI] = {on_undefined, NULL, EXIT_KIND_OTHER, 0},
    [SVM_EXIT_SKINIT] = {on_undefined, NULL, EXIT_KIND_OTHER, 0},
    [SVM_EXIT_WBINVD] = {on_cache, NULL, EXIT_KIND_OTHER, 0},
    [SVM_EXIT_MONITOR] = {on_undefined, NULL, EXIT_KIND_OTHER, 0},
    [SVM_EXIT_MWAIT] = {on_undefined, NULL, EXIT_KIND_OTHER, 0},
    [SVM_EXIT_MWAIT_ARMED] = {on_undefined, NULL, EXIT_KIND_OTHER, 0},
    [SVM_EXIT_XSETBV] = {NULL, exit_xsetbv, EXIT_KIND_CR, INSN_XSETBV},
    [SVM_EXIT_RDPRU] = {on_undefined, NULL, EXIT_KIND_OTHER, 0},
};

/* An exit in the middle of an event's delivery: the event must be delivered again. Software
 * interrupts are not: their instruction simply runs again. */
static NOINLINE void redeliver(struct vcpu *v, uint64_t info)
{
    struct vcpu_event event = {
        .vector = EVENT_VECTOR(info),
        .type = EVENT_TYPE(info),
        .has_error = (info & EVENT_ERROR_VALID) != 0,
        .error = (uint32_t)(info >> EVENT_ERROR_SHIFT),
    };

    if (event.type == EVENT_SOFTWARE ||
        (event.type == EVENT_EXCEPTION && (event.vector == EXC_BP || event.vector == EXC_OF))) {
        return;
    }
    vcpu_redeliver(v, &event);
}

/* An exit for something else may find the awaited interrupt window open: then its own exit is not
 * needed. (Bochs 2.7 moreover forgets V_IRQ at a VMRUN that finds IF set in host and guest.) */
static void note_open_window(struct vcpu *v, struct vmcb *vmcb)
{
    if (unlikely(vmcb->int_ctl & INT_CTL_V_IRQ) && (v->rflags & RFLAGS_IF) &&
        !(vmcb->int_state & INT_STATE_SHADOW)) {
        (void)on_window(v, vmcb);
    }
}

static inline enum exit_action handle_exit(struct vcpu *v, struct vmcb *vmcb)
{
    uint64_t code = vmcb->exit_code;

    vmcb->event_inject = 0;
    note_open_window(v, vmcb);
    if (unlikely(vmcb->exit_int_info & EVENT_VALID)) {
        redeliver(v, vmcb->exit_int_info);
        if (code == SVM_EXIT_NPF) {
            return exit_delivery_fault(v, vmcb->exit_info2);
        }
    }
    if (unlikely(code >= SVM_EXIT_CODES)) {
        if (code == SVM_EXIT_NPF) {
            stat_exit(&v->stats, EXIT_KIND_MMIO, 0);
            return on_nested_fault(v, vmcb);
        }
        return on_unknown(v, vmcb);
    }
    if (code == SVM_EXIT_MSR && (vmcb->exit_info1 & 1)) {
        code = SVM_EXIT_MSR_WRITE;
    }
    const struct exit_entry *entry = &exit_table[code];
    stat_exit(&v->stats, entry->kind, 0);
    if (entry->instruction) {
        unsigned int length = length_of(v, vmcb, (enum insn_id)entry->insn);
        return likely(length) ? entry->instruction(v, length) : EXIT_RESUME;
    }
    return likely(entry->handler) ? entry->handler(v, vmcb) : on_unknown(v, vmcb);
}

enum exit_action svm_exit(struct vcpu *v)
{
    struct svm_vcpu *svm = v->svm;
    struct vmcb *vmcb = svm->vmcb;

    v->gpr[GPR_RAX] = vmcb->rax;
    v->gpr[GPR_RSP] = vmcb->rsp;
    v->rip = vmcb->rip;
    v->rflags = vmcb->rflags;
    v->in_shadow = vmcb->int_state & INT_STATE_SHADOW;
    vmcb->tlb_control = TLB_CONTROL_NONE;
    vmcb->clean = CLEAN_ALL;
    enum exit_action action = handle_exit(v, vmcb);
    if (unlikely(action != EXIT_RESUME)) {
        return action;
    }
    if (unlikely(sched_must_leave())) {
        return EXIT_RESCHEDULE;
    }
    svm_prepare_entry(v, svm);
    return EXIT_RESUME;
}
