/* What AMD-V's exit codes are, in terms of vmm/exit.h. One table, indexed by the code. */

#include "vmm/exit.h"
#include "arch/x86/asm.h"
#include "arch/x86/debug_registers.h"
#include "arch/x86/event_info.h"
#include "arch/x86/svm/svm.h"
#include "vmm/emulate/decode.h"
#include "vmm/sched.h"
#include "vmm/vm.h"

struct exit_entry {
    union {
        enum exit_action (*handler)(struct vcpu *v, struct vmcb *vmcb);
        /* For an instruction of which nothing else is to be known than its length: */
        enum exit_action (*instruction)(struct vcpu *v, unsigned int length);
    };
    uint16_t stat; /* STAT_OFFSET() */
    uint8_t insn;  /* enum insn_id + 1, for `instruction` */
};

#define HANDLER(function, kind)                               \
    {                                                         \
        .handler = function, STAT_OFFSET(EXIT_KIND_##kind), 0 \
    }
#define INSTRUCTION(function, kind, insn)                                       \
    {                                                                           \
        .instruction = function, STAT_OFFSET(EXIT_KIND_##kind), INSN_##insn + 1 \
    }

/* RDMSR and WRMSR have one exit code. */
static NOINLINE unsigned int decode_length(struct vcpu *v, const struct vmcb *vmcb, enum insn_id id)
{
    if (id == INSN_RDMSR && (vmcb->exit_info1 & MSR_INFO_WRITE))
        id = INSN_WRMSR;
    return exit_insn_length(v, id);
}

/* Length of the instruction that exited: from the CPU, or by decoding it. 0: a fault was raised in
 * the guest instead, or the instruction has changed meanwhile: just enter again. */
static inline unsigned int length_of(struct vcpu *v, const struct vmcb *vmcb, enum insn_id id)
{
    uint64_t length = vmcb->next_rip - vmcb->rip;

    if (likely(length - 1 < INSN_MAX_LENGTH && svm_features.nrips))
        return (unsigned int)length;
    return decode_length(v, vmcb, id);
}

/* Interrupts, NMI and SMI are taken when svm_run() sets GIF at its end. */
static enum exit_action on_interrupt(struct vcpu *v, struct vmcb *vmcb)
{
    return EXIT_RESCHEDULE;
}

static enum exit_action on_window(struct vcpu *v, struct vmcb *vmcb)
{
    svm_close_window(v->svm);
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
    v->pending |= PENDING_REGISTERS;
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
    /* Its handler's stack is in the core's TSS. It does not return. */
    __asm__ volatile("vmload; int %1" ::"a"(this_cpu->svm.host_vmcb_pa), "i"(EXC_MC) : "memory");
    return EXIT_STOP;
}

static enum exit_action on_task_switch(struct vcpu *v, struct vmcb *vmcb)
{
    return exit_task_switch(v, (uint16_t)vmcb->exit_info1);
}

/* INVD and WBINVD. QEMU's TCG reports INVD as WBINVD, so either may stand there. */
static enum exit_action on_cache(struct vcpu *v, struct vmcb *vmcb)
{
    unsigned int length = length_of(v, vmcb, INSN_WBINVD);

    if (length == 0 && !(v->pending & PENDING_EVENT))
        length = length_of(v, vmcb, INSN_INVD);
    return length ? exit_cache(v, length) : EXIT_RESUME;
}

static enum exit_action on_io(struct vcpu *v, struct vmcb *vmcb)
{
    uint64_t info = vmcb->exit_info1;
    uint64_t next = vmcb->exit_info2; /* always saved (APM vol. 2, 15.10.2) */

    if (unlikely(info & IOIO_STRING))
        return exit_string_io(v);
    if (unlikely(!(info & IOIO_BYTE))) {
        return info & IOIO_IN ? exit_in_wide(v, IOIO_PORT(info), next, IOIO_SIZE(info))
                              : exit_out_wide(v, IOIO_PORT(info), next, IOIO_SIZE(info));
    }
    return info & IOIO_IN ? exit_in(v, IOIO_PORT(info), next) : exit_out(v, IOIO_PORT(info), next);
}

static enum exit_action on_msr(struct vcpu *v, unsigned int length)
{
    return v->svm->vmcb->exit_info1 & MSR_INFO_WRITE ? exit_wrmsr(v, length)
                                                     : exit_rdmsr(v, length);
}

static enum exit_action on_rdpmc(struct vcpu *v, struct vmcb *vmcb)
{
    vcpu_raise_error(v, EXC_GP, 0); /* no counters are shown */
    return EXIT_RESUME;
}

static enum exit_action on_pause(struct vcpu *v, struct vmcb *vmcb)
{
    return exit_pause(v);
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

/* MOV from or to the register of the exit code. False: a fault was raised. */
static bool move_cr(struct vcpu *v, uint64_t exit_code, bool read, uint64_t *gpr, bool long_mode)
{
    uint64_t width = long_mode ? UINT64_MAX : UINT32_MAX;

    if (read) {
        *gpr = (exit_code == SVM_EXIT_CR0_READ ? virt->get_cr0(v) : virt->get_cr4(v)) & width;
        return true;
    }
    switch (exit_code) {
    case SVM_EXIT_CR4_WRITE: return exit_write_cr4(v, *gpr & width);
    case SVM_EXIT_CR8_WRITE: return exit_write_cr8(v, *gpr & width);
    default: return exit_write_cr0(v, *gpr & width);
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

/* LMSW, CLTS and SMSW, and MOV to or from a control register where the CPU does not tell which: the
 * instruction is fetched; it can be any of these, whatever the exit code says. */
static enum exit_action decode_cr(struct vcpu *v, struct vmcb *vmcb)
{
    uint8_t bytes[INSN_MAX_LENGTH];
    enum cpu_mode mode;
    struct insn insn;
    bool done;

    int len = exit_fetch(v, bytes, &mode);
    if (len <= 0 || insn_decode(&insn, bytes, (size_t)len, mode) != 0 || insn.map != MAP_0F)
        return EXIT_RESUME;
    uint64_t *gpr = &v->gpr[(insn.modrm & 7) | (insn.rex & REX_B ? 8 : 0)];
    uint64_t cr0 = virt->get_cr0(v);
    switch (insn.opcode) {
    case 0x20: /* MOV r, CRn */
    case 0x22: /* MOV CRn, r */
        done = move_cr(v, vmcb->exit_code, insn.opcode == 0x20, gpr, mode == MODE_64);
        break;
    case 0x06: /* CLTS */ done = exit_write_cr0(v, cr0 & ~CR0_TS); break;
    case 0x01: done = machine_status_word(v, &insn, gpr, cr0); break;
    default: return EXIT_RESUME;
    }
    if (done)
        vcpu_skip(v, insn.length);
    return EXIT_RESUME;
}

/* Decode assists tell of a MOV, and its general register (APM vol. 2, 15.33.1). */
static enum exit_action on_cr(struct vcpu *v, struct vmcb *vmcb)
{
    uint64_t info = vmcb->exit_info1;
    uint64_t length = vmcb->next_rip - vmcb->rip;
    bool long_mode = (vmcb->efer & EFER_LMA) && (vmcb->seg[SEG_CS].attrib & SEG_ATTR_L);

    v->pending |= PENDING_REGISTERS;
    if (!svm_features.decode_assists || !svm_features.nrips || !(info & CR_INFO_MOV) ||
        length - 1 >= INSN_MAX_LENGTH)
        return decode_cr(v, vmcb);
    if (move_cr(v, vmcb->exit_code, vmcb->exit_code < SVM_EXIT_CR0_WRITE,
                &v->gpr[info & CR_INFO_GPR], long_mode))
        vcpu_skip(v, (unsigned int)length);
    return EXIT_RESUME;
}

static NOINLINE enum exit_action other_nested_fault(struct vcpu *v, const struct vmcb *vmcb)
{
    uint64_t info = vmcb->exit_info1;
    unsigned int len = svm_features.decode_assists ? vmcb->insn_length & INSN_LENGTH_MASK : 0;

    return exit_nested_fault(v, vmcb->exit_info2, (info & PF_WRITE) != 0, (info & PF_FETCH) != 0,
                             (info & NPF_TABLE_WALK) != 0, vmcb->insn_bytes, len);
}

/* With the instruction's bytes in the VMCB (APM vol. 2, 15.33.4). Memory has been read for them
 * already, and these are what the CPU has executed. */
static NOINLINE enum exit_action access_with_bytes(struct vcpu *v, const struct vmcb *vmcb)
{
    const uint64_t usual = EFER_LMA | EFER_SVME;
    const struct code_insn *code = code_cache_insn(&v->code, v->rip);
    bool write = (vmcb->exit_info1 & PF_WRITE) != 0;
    struct window_bytes bytes;

    if (unlikely((vmcb->efer & usual) != usual || !(vmcb->seg[SEG_CS].attrib & SEG_ATTR_L)))
        return other_nested_fault(v, vmcb);
    /* One byte beyond; an instruction has 15. */
    __builtin_memcpy(&bytes, (const char *)vmcb + offsetof(struct vmcb, insn_bytes), sizeof(bytes));
    if (unlikely(code->rip != v->rip || !code_insn_is(code, bytes)))
        code = code_cache_decode(&v->code, MODE_64, v->rip, NULL, bytes);
    if (unlikely(!code || code->rip != v->rip ||
                 (vmcb->insn_length & INSN_LENGTH_MASK) < code->insn.length))
        return other_nested_fault(v, vmcb);
    return exit_decoded_mov(v, vmcb->exit_info2, write, code);
}

static enum exit_action on_nested_fault(struct vcpu *v, struct vmcb *vmcb)
{
    uint64_t info = vmcb->exit_info1, gpa = vmcb->exit_info2;
    const struct code_insn *code = code_cache_insn(&v->code, v->rip);

    if (unlikely(info & (PF_FETCH | NPF_TABLE_WALK)))
        return other_nested_fault(v, vmcb);
    if (svm_features.decode_assists)
        return access_with_bytes(v, vmcb);
    if (unlikely(code->rip != v->rip || !svm_in_64bit_code(vmcb, &code->walk->mode)))
        return exit_device_access(v, gpa, (info & PF_WRITE) != 0);
    return exit_device_mov(v, gpa, (info & PF_WRITE) != 0, code);
}

static enum exit_action on_shutdown(struct vcpu *v, struct vmcb *vmcb)
{
    vm_crash(v, "triple fault");
    return EXIT_STOP;
}

static enum exit_action on_unknown(struct vcpu *v, struct vmcb *vmcb)
{
    if ((uint32_t)vmcb->exit_code == SVM_EXIT_INVALID_32)
        vm_crash(v, "invalid VMCB");
    else
        vm_crash(v, "unexpected exit code 0x%llx", LLU(vmcb->exit_code));
    return EXIT_STOP;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
static const struct exit_entry exit_table[SVM_EXIT_ROWS] = {
    [0 ... SVM_EXIT_ROWS - 1] = HANDLER(on_unknown, OTHER),
    [SVM_EXIT_CR0_READ] = HANDLER(on_cr, CR),
    [SVM_EXIT_CR4_READ] = HANDLER(on_cr, CR),
    [SVM_EXIT_CR0_WRITE] = HANDLER(on_cr, CR),
    [SVM_EXIT_CR4_WRITE] = HANDLER(on_cr, CR),
    [SVM_EXIT_CR8_WRITE] = HANDLER(on_cr, CR),
    [SVM_EXIT_CR0_SEL] = HANDLER(on_cr, CR),
    [SVM_EXIT_DR0_READ... SVM_EXIT_DR15_WRITE] = HANDLER(on_dr, DR),
    [SVM_EXIT_EXCP_BASE + EXC_DB] = HANDLER(on_debug, EXCEPTION),
    [SVM_EXIT_EXCP_BASE + EXC_AC] = HANDLER(on_alignment, EXCEPTION),
    [SVM_EXIT_EXCP_BASE + EXC_MC] = HANDLER(on_machine_check, EXCEPTION),
    [SVM_EXIT_INTR] = HANDLER(on_interrupt, INTERRUPT),
    [SVM_EXIT_NMI] = HANDLER(on_interrupt, NMI),
    [SVM_EXIT_SMI... SVM_EXIT_INIT] = HANDLER(on_interrupt, OTHER),
    [SVM_EXIT_VINTR] = HANDLER(on_window, WINDOW),
    [SVM_EXIT_RDPMC] = HANDLER(on_rdpmc, OTHER),
    [SVM_EXIT_CPUID] = INSTRUCTION(exit_cpuid, CPUID, CPUID),
    [SVM_EXIT_RSM] = HANDLER(on_undefined, OTHER),
    [SVM_EXIT_IRET] = HANDLER(on_iret, WINDOW),
    [SVM_EXIT_INVD] = HANDLER(on_cache, OTHER),
    [SVM_EXIT_PAUSE] = HANDLER(on_pause, PAUSE),
    [SVM_EXIT_HLT] = INSTRUCTION(exit_hlt, HLT, HLT),
    [SVM_EXIT_INVLPGA] = HANDLER(on_undefined, OTHER),
    [SVM_EXIT_TASK_SWITCH] = HANDLER(on_task_switch, OTHER),
    [SVM_EXIT_IOIO] = HANDLER(on_io, IO),
    [SVM_EXIT_MSR] = INSTRUCTION(on_msr, MSR, RDMSR),
    [SVM_EXIT_SHUTDOWN] = HANDLER(on_shutdown, OTHER),
    [SVM_EXIT_VMRUN... SVM_EXIT_SKINIT] = HANDLER(on_undefined, OTHER),
    [SVM_EXIT_VMMCALL] = INSTRUCTION(exit_hypercall, HYPERCALL, VMMCALL),
    [SVM_EXIT_WBINVD] = HANDLER(on_cache, OTHER),
    [SVM_EXIT_MONITOR... SVM_EXIT_MWAIT_ARMED] = HANDLER(on_undefined, OTHER),
    [SVM_EXIT_XSETBV] = INSTRUCTION(exit_xsetbv, CR, XSETBV),
    [SVM_EXIT_RDPRU] = HANDLER(on_undefined, OTHER),
    [SVM_EXIT_NPF_ROW] = HANDLER(on_nested_fault, MMIO),
};
#pragma GCC diagnostic pop

/* An exit in the middle of an event's delivery: the event must be delivered again. Software
 * interrupts are not: their instruction simply runs again. */
static void redeliver(struct vcpu *v, uint64_t info)
{
    struct vcpu_event event = event_of((uint32_t)info, (uint32_t)(info >> EVENT_ERROR_SHIFT));

    if (event.type == EVENT_SOFTWARE ||
        (event.type == EVENT_EXCEPTION && (event.vector == EXC_BP || event.vector == EXC_OF)))
        return;
    vcpu_redeliver(v, &event);
}

/* An exit for something else may find the awaited interrupt window open: then its own exit is not
 * needed. (Bochs 2.7 moreover forgets V_IRQ at a VMRUN that finds IF set in host and guest.) */
static void note_open_window(struct vcpu *v, struct vmcb *vmcb)
{
    if (svm_wants_window(vmcb) && (v->rflags & RFLAGS_IF) && !v->in_shadow)
        (void)on_window(v, vmcb);
}

/* Gives the vCPU a new address-space identifier. A CPU gives them out in turn; when they run out it
 * starts over with a new generation and a full flush, and vCPUs with an identifier of an older
 * generation get a new one at their next entry. */
static void assign_asid(struct svm_vcpu *svm)
{
    struct percpu *cpu = this_cpu;

    if (cpu->svm.asid_next >= svm_features.asids) {
        cpu->svm.asid_generation++;
        cpu->svm.asid_next = 1; /* 0 is the core's own (APM vol. 2, 15.16) */
        svm->vmcb->tlb_control = TLB_CONTROL_ALL;
    }
    svm->vmcb->asid = cpu->svm.asid_next++;
    svm->asid_generation = cpu->svm.asid_generation;
    svm_dirty(svm, CLEAN_ASID);
}

enum exit_action svm_attend(struct vcpu *v)
{
    struct svm_vcpu *svm = v->svm;
    struct vmcb *vmcb = svm->vmcb;

    if (v->pending & PENDING_LEAVE)
        return EXIT_RESCHEDULE;
    if (v->pending & PENDING_BACKEND)
        note_open_window(v, vmcb);
    if (v->pending & PENDING_DELIVERY)
        vcpu_deliver_pending(v);
    vmcb->tlb_control = TLB_CONTROL_NONE;
    if (svm->asid_generation != this_cpu->svm.asid_generation)
        assign_asid(svm);
    vmcb->rsp = v->gpr[GPR_RSP];
    vmcb->rflags = v->rflags;
    v->pending &= ~PENDING_REGISTERS;
    if (!svm_wants_window(vmcb) && vmcb->tlb_control == TLB_CONTROL_NONE)
        v->pending &= ~PENDING_BACKEND;
    return likely(v->vm->request == VM_REQUEST_NONE) ? EXIT_RESUME : EXIT_STOP;
}

/* Delivers again what the exit has cut short. Returns false when that is nothing. */
COLD static bool redeliver_cut_short(struct vcpu *v, struct vmcb *vmcb)
{
    if (svm_virq_delivers(vmcb)) {
        const struct vcpu_event event = {.vector = (uint8_t)(vmcb->int_ctl >> INT_CTL_VECTOR_SHIFT),
                                         .type = EVENT_INTERRUPT};

        vmcb->int_ctl &= ~INT_CTL_V_IRQ;
        /* Else it was taken, and led to an exception, which the guest handles. */
        if ((v->rflags & RFLAGS_IF) && !v->in_shadow) {
            vcpu_redeliver(v, &event);
            return true;
        }
    }
    if (!(vmcb->exit_int_info & INTR_INFO_VALID))
        return false;
    redeliver(v, vmcb->exit_int_info);
    return true;
}

/* What is no instruction, or one of which more is to be known. */
static inline enum exit_action handle_event(struct vcpu *v, struct vmcb *vmcb,
                                            const struct exit_entry *entry)
{
    bool look = (vmcb->exit_int_info & INTR_INFO_VALID) || svm_features.virq_delivers;

    if (unlikely(look) && redeliver_cut_short(v, vmcb) && vmcb->exit_code == SVM_EXIT_NPF)
        return exit_delivery_fault(v, vmcb->exit_info2);
    return entry->handler(v, vmcb);
}

static inline const struct exit_entry *entry_of(const struct vmcb *vmcb)
{
    uint64_t code = vmcb->exit_code;

    if (unlikely(code >= SVM_EXIT_CODES))
        code = code == SVM_EXIT_NPF ? SVM_EXIT_NPF_ROW : SVM_EXIT_UNKNOWN_ROW;
    return &exit_table[code];
}

enum exit_action svm_exit(struct vcpu *v)
{
    uint32_t start = rdtsc_low();
    struct vmcb *vmcb = v->svm->vmcb;
    const struct exit_entry *entry = entry_of(vmcb);
    __asm__("" : "+r"(entry)); /* once computed, kept: indexing the table anew costs more */
    enum exit_action action = EXIT_RESUME;

    v->gpr[GPR_RAX] = vmcb->rax;
    v->gpr[GPR_RSP] = vmcb->rsp;
    v->rip = vmcb->rip;
    v->rflags = vmcb->rflags;
    v->in_shadow = vmcb->int_state & INT_STATE_SHADOW;
    vmcb->event_inject = 0;
    vmcb->clean = CLEAN_ALL;
    if (likely(entry->insn)) {
        unsigned int length = length_of(v, vmcb, (enum insn_id)(entry->insn - 1));
        if (likely(length))
            action = entry->instruction(v, length);
    } else {
        action = handle_event(v, vmcb, entry);
    }
    if (unlikely(v->pending) && action == EXIT_RESUME)
        action = svm_attend(v);
    vmcb->rax = v->gpr[GPR_RAX];
    vmcb->rip = v->rip;
    stat_exit(&v->stats, entry->stat, rdtsc_low() - start);
    return action;
}
