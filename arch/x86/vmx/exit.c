/* What VT-x's exit reasons are, in terms of vmm/exit.h. One table, indexed by the reason. */

#include "vmm/exit.h"
#include "arch/x86/asm.h"
#include "arch/x86/debug_registers.h"
#include "arch/x86/interrupt.h"
#include "arch/x86/vmx/check.h"
#include "arch/x86/vmx/vmx.h"
#include "lib/log.h"
#include "vmm/sched.h"
#include "vmm/vm.h"

/* What a handler is told, and whether its exit can come in the middle of an event's delivery. */
enum exit_form {
    FORM_EVENT, /* it can */
    FORM_QUALIFIED,
    FORM_INSTRUCTION, /* of which nothing else is to be known than its length */
};

struct exit_entry {
    union {
        enum exit_action (*handler)(struct vcpu *v, uint64_t qualification);
        enum exit_action (*instruction)(struct vcpu *v, unsigned int length);
    };
    uint16_t stat; /* STAT_OFFSET() */
    uint8_t form;  /* enum exit_form */
};

#define EVENT(function, kind)                                          \
    {                                                                  \
        .handler = function, STAT_OFFSET(EXIT_KIND_##kind), FORM_EVENT \
    }
#define QUALIFIED(function, kind)                                          \
    {                                                                      \
        .handler = function, STAT_OFFSET(EXIT_KIND_##kind), FORM_QUALIFIED \
    }
#define INSTRUCTION(function, kind)                                              \
    {                                                                            \
        .instruction = function, STAT_OFFSET(EXIT_KIND_##kind), FORM_INSTRUCTION \
    }

static unsigned int insn_length(void)
{
    return (unsigned int)vmcs_read(VMCS_EXIT_INSTRUCTION_LENGTH);
}

/* The DR6 bits of a #DB come with the exit; the CPU has not set them, nor cleared DR7.GD (SDM
 * vol. 3, 28.1). */
static enum exit_action on_debug(struct vcpu *v, uint64_t qualification)
{
    write_dr6(read_dr6() & ~DR6_BREAKPOINTS);
    virt->note_debug(v, qualification & DB_QUAL_DR6);
    return exit_exception(v, EXC_DB);
}

static enum exit_action on_machine_check(struct vcpu *v, uint64_t qualification)
{
    __asm__ volatile("int %0" ::"i"(EXC_MC));
    return EXIT_RESUME;
}

static enum exit_action on_exception_or_nmi(struct vcpu *v, uint64_t qualification)
{
    uint32_t info = (uint32_t)vmcs_read(VMCS_EXIT_INTERRUPTION_INFO);

    if (INTR_INFO_TYPE(info) == EVENT_NMI) {
        /* NMIs stay blocked until an IRET: that of the core's own handler. */
        __asm__ volatile("int %0" ::"i"(EXC_NMI));
        return EXIT_RESUME;
    }
    switch (INTR_INFO_VECTOR(info)) {
    case EXC_DB:
        /* INT1: a trap, whose exit comes before it (28.3.3). */
        if (INTR_INFO_TYPE(info) == INTR_TYPE_PRIVILEGED)
            v->rip = vcpu_next_rip(v, insn_length());
        return on_debug(v, qualification);
    case EXC_AC: return exit_exception(v, EXC_AC);
    default: return on_machine_check(v, qualification);
    }
}

/* It was acknowledged by the exit. */
static enum exit_action on_interrupt(struct vcpu *v, uint64_t qualification)
{
    interrupt_take(INTR_INFO_VECTOR(vmcs_read(VMCS_EXIT_INTERRUPTION_INFO)));
    return EXIT_RESCHEDULE;
}

/* Bochs 2.7 holds interrupts back while a guest that was entered with IF clear keeps it so. */
static enum exit_action on_slice_end(struct vcpu *v, uint64_t qualification)
{
    interrupts_take();
    return EXIT_RESCHEDULE;
}

static enum exit_action on_triple_fault(struct vcpu *v, uint64_t qualification)
{
    vm_crash(v, "triple fault");
    return EXIT_STOP;
}

/* INIT and SIPI are for the machine's firmware and for processors that wait: nothing here. */
static enum exit_action on_ignored(struct vcpu *v, uint64_t qualification)
{
    return EXIT_RESUME;
}

static enum exit_action on_interrupt_window(struct vcpu *v, uint64_t qualification)
{
    vmx_set_proc(v->vmx, PROC_INTERRUPT_WINDOW, false);
    v->pending |= PENDING_INTERRUPT;
    return EXIT_RESUME;
}

/* The guest's NMI handler has ended, or the shadow that an NMI waited for. */
static enum exit_action on_nmi_window(struct vcpu *v, uint64_t qualification)
{
    vmx_set_proc(v->vmx, PROC_NMI_WINDOW, false);
    v->nmi_blocked = false;
    return EXIT_RESUME;
}

static enum exit_action on_task_switch(struct vcpu *v, uint64_t qualification)
{
    return exit_task_switch(v, (uint16_t)qualification);
}

static enum exit_action on_rdpmc(struct vcpu *v, uint64_t qualification)
{
    vcpu_raise_error(v, EXC_GP, 0); /* no counters are shown */
    return EXIT_RESUME;
}

static enum exit_action on_pause(struct vcpu *v, uint64_t qualification)
{
    return exit_pause(v);
}

static enum exit_action on_undefined(struct vcpu *v, uint64_t qualification)
{
    return exit_undefined(v);
}

static enum exit_action on_io(struct vcpu *v, uint64_t qualification)
{
    unsigned int port = IO_QUAL_PORT(qualification), size = IO_QUAL_SIZE(qualification);
    uint64_t next;

    if (unlikely(qualification & IO_QUAL_STRING))
        return exit_string_io(v);
    next = v->rip + insn_length();
    if (qualification & IO_QUAL_IN)
        return likely(size == 1) ? exit_in(v, port, next) : exit_in_wide(v, port, next, size);
    return likely(size == 1) ? exit_out(v, port, next) : exit_out_wide(v, port, next, size);
}

/* The first debug register access since the vCPU came on: the instruction runs again, for real. */
static enum exit_action on_dr(struct vcpu *v, uint64_t qualification)
{
    uint64_t shadow = vmcs_read(VMCS_GUEST_INTERRUPTIBILITY);

    debug_registers_load(v);
    vmx_set_proc(v->vmx, PROC_MOV_DR, false);
    /* VM entry insists on the trap that MOV SS has put off (SDM vol. 3, 27.3.1.5). */
    if ((shadow & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS)) && (v->rflags & RFLAGS_TF))
        vmcs_write(VMCS_GUEST_PENDING_DEBUG, vmcs_read(VMCS_GUEST_PENDING_DEBUG) | DR6_BS);
    return EXIT_RESUME;
}

static bool write_cr(struct vcpu *v, unsigned int number, uint64_t value)
{
    uint64_t cr0 = number == 0 ? value : vmx_get_cr0(v);
    uint64_t cr4 = number == 4 ? value : vmx_get_cr4(v);

    if (number == 8)
        return exit_write_cr8(v, value);
    if (!vmx_pdptes_valid(v, cr0, cr4)) {
        vcpu_raise_error(v, EXC_GP, 0);
        return false;
    }
    return number == 0 ? exit_write_cr0(v, value) : exit_write_cr4(v, value);
}

/* MOV to CR0, CR4 and CR8 and MOV from CR8; the guest owns the bits that CLTS and LMSW change. */
static enum exit_action on_cr(struct vcpu *v, uint64_t qualification)
{
    uint64_t *gpr = &v->gpr[CR_QUAL_GPR(qualification)];
    v->pending |= PENDING_REGISTERS;
    bool code_64 =
        (vmcs_read(VMCS_GUEST_EFER) & EFER_LMA) && (vmcs_read(VMCS_GUEST_CS_ACCESS) & ACCESS_L);
    uint64_t width = code_64 ? UINT64_MAX : UINT32_MAX;
    bool done = true;

    if (CR_QUAL_READ(qualification))
        *gpr = lapic_get_cr8(&v->lapic);
    else
        done = write_cr(v, CR_QUAL_NUMBER(qualification), *gpr & width);
    if (done)
        vcpu_skip(v, insn_length());
    return EXIT_RESUME;
}

static enum exit_action on_tpr_threshold(struct vcpu *v, uint64_t qualification)
{
    v->pending |= PENDING_INTERRUPT;
    return EXIT_RESUME;
}

/* The CPU has taken the vector out of ISR. */
static enum exit_action on_virtual_eoi(struct vcpu *v, uint64_t qualification)
{
    vmx_sync_lapic(v);
    lapic_eoi_done(&v->lapic, (uint8_t)qualification);
    v->pending |= PENDING_INTERRUPT;
    return EXIT_RESUME;
}

/* A write that the CPU has done in the virtual-APIC page and left to be acted upon; only that of an
 * illegal vector to SELF IPI does so (SDM vol. 3, 30.5). */
static enum exit_action on_apic_write(struct vcpu *v, uint64_t qualification)
{
    uint32_t value = *lapic_reg(&v->lapic, LAPIC_SELF_IPI);

    vmx_sync_lapic(v);
    (void)lapic_msr_write(&v->lapic, X2APIC_MSR_FIRST + LAPIC_SELF_IPI / 0x10, value, 0);
    v->pending |= PENDING_INTERRUPT;
    return EXIT_RESUME;
}

static enum exit_action other_ept_violation(struct vcpu *v, uint64_t gpa, uint64_t q)
{
    bool table_walk = !(q & EPT_QUAL_LINEAR_VALID) || !(q & EPT_QUAL_TRANSLATED);

    if (q & EPT_QUAL_NMI_UNBLOCK) {
        /* In the middle of the IRET that ends an NMI handler: that is executed again, and NMIs are
         * still blocked (SDM vol. 3, 28.2.3). */
        vmcs_write(VMCS_GUEST_INTERRUPTIBILITY,
                   vmcs_read(VMCS_GUEST_INTERRUPTIBILITY) | BLOCKED_BY_NMI);
    }
    return exit_nested_fault(v, gpa, (q & EPT_QUAL_WRITE) != 0, (q & EPT_QUAL_FETCH) != 0,
                             table_walk, NULL, 0);
}

static enum exit_action on_ept_violation(struct vcpu *v, uint64_t q)
{
    const uint64_t usual = EPT_QUAL_LINEAR_VALID | EPT_QUAL_TRANSLATED;
    uint64_t gpa = vmcs_read(VMCS_GUEST_PHYSICAL_ADDRESS);

    const struct code_insn *code = code_cache_insn(&v->code, v->rip);

    if (unlikely((q & (usual | EPT_QUAL_FETCH | EPT_QUAL_NMI_UNBLOCK)) != usual))
        return other_ept_violation(v, gpa, q);
    if (unlikely(code->rip != v->rip || !vmx_in_64bit_code(&code->walk->mode)))
        return exit_device_access(v, gpa, (q & EPT_QUAL_WRITE) != 0);
    return exit_device_mov(v, gpa, (q & EPT_QUAL_WRITE) != 0, code);
}

static enum exit_action on_entry_failure(struct vcpu *v, uint64_t qualification)
{
    return vmx_entry_failed(v, "VM entry failed: invalid guest state");
}

static enum exit_action on_unknown(struct vcpu *v, uint64_t qualification)
{
    uint32_t reason = (uint32_t)vmcs_read(VMCS_EXIT_REASON) & EXIT_REASON_BASIC;

    vm_crash(v, "unexpected exit: %s (%u)", vmx_exit_reason_name(reason), reason);
    return EXIT_STOP;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
static const struct exit_entry exit_table[VMX_EXIT_REASONS + 1] = {
    [0 ... VMX_EXIT_REASONS] = EVENT(on_unknown, OTHER),
    [VMX_EXIT_EXCEPTION_NMI] = EVENT(on_exception_or_nmi, EXCEPTION),
    [VMX_EXIT_EXTERNAL_INTERRUPT] = EVENT(on_interrupt, INTERRUPT),
    [VMX_EXIT_TRIPLE_FAULT] = EVENT(on_triple_fault, OTHER),
    [VMX_EXIT_INIT... VMX_EXIT_SIPI] = EVENT(on_ignored, OTHER),
    [VMX_EXIT_INTERRUPT_WINDOW] = EVENT(on_interrupt_window, WINDOW),
    [VMX_EXIT_NMI_WINDOW] = EVENT(on_nmi_window, WINDOW),
    [VMX_EXIT_TASK_SWITCH] = EVENT(on_task_switch, OTHER),
    [VMX_EXIT_CPUID] = INSTRUCTION(exit_cpuid, CPUID),
    [VMX_EXIT_GETSEC] = EVENT(on_undefined, OTHER),
    [VMX_EXIT_HLT] = INSTRUCTION(exit_hlt, HLT),
    [VMX_EXIT_INVD] = INSTRUCTION(exit_cache, OTHER),
    [VMX_EXIT_RDPMC] = EVENT(on_rdpmc, OTHER),
    [VMX_EXIT_VMCALL] = INSTRUCTION(exit_hypercall, HYPERCALL),
    [VMX_EXIT_VMCLEAR... VMX_EXIT_VMXON] = EVENT(on_undefined, OTHER),
    [VMX_EXIT_CR] = QUALIFIED(on_cr, CR),
    [VMX_EXIT_DR] = QUALIFIED(on_dr, DR),
    [VMX_EXIT_IO] = QUALIFIED(on_io, IO),
    [VMX_EXIT_RDMSR] = INSTRUCTION(exit_rdmsr, MSR),
    [VMX_EXIT_WRMSR] = INSTRUCTION(exit_wrmsr, MSR),
    [VMX_EXIT_GUEST_STATE... VMX_EXIT_MSR_LOADING] = EVENT(on_entry_failure, OTHER),
    [VMX_EXIT_MWAIT] = EVENT(on_undefined, OTHER),
    [VMX_EXIT_MONITOR] = EVENT(on_undefined, OTHER),
    [VMX_EXIT_PAUSE] = EVENT(on_pause, PAUSE),
    [VMX_EXIT_ENTRY_MACHINE_CHECK] = EVENT(on_machine_check, OTHER),
    [VMX_EXIT_TPR_THRESHOLD] = EVENT(on_tpr_threshold, CR),
    [VMX_EXIT_VIRTUAL_EOI] = EVENT(on_virtual_eoi, MSR),
    [VMX_EXIT_EPT_VIOLATION] = EVENT(on_ept_violation, MMIO),
    [VMX_EXIT_INVEPT] = EVENT(on_undefined, OTHER),
    [VMX_EXIT_PREEMPTION_TIMER] = EVENT(on_slice_end, INTERRUPT),
    [VMX_EXIT_INVVPID] = EVENT(on_undefined, OTHER),
    [VMX_EXIT_WBINVD] = INSTRUCTION(exit_cache, OTHER),
    [VMX_EXIT_XSETBV] = INSTRUCTION(exit_xsetbv, CR),
    [VMX_EXIT_APIC_WRITE] = EVENT(on_apic_write, MSR),
    [VMX_EXIT_VMFUNC... VMX_EXIT_ENCLS] = EVENT(on_undefined, OTHER),
    [VMX_EXIT_SEAMCALL... VMX_EXIT_TDCALL] = EVENT(on_undefined, OTHER),
};
#pragma GCC diagnostic pop

/* An exit in the middle of an event's delivery: the event must be delivered again. What comes from
 * an instruction is not (types 4 to 6): the instruction simply runs again. */
static NOINLINE void redeliver(struct vcpu *v, uint32_t info)
{
    struct vcpu_event event = event_of(info, (uint32_t)vmcs_read(VMCS_IDT_VECTORING_ERROR));

    if (event.type >= EVENT_SOFTWARE)
        return;
    if (event.type == EVENT_NMI) {
        vmcs_write(VMCS_GUEST_INTERRUPTIBILITY,
                   vmcs_read(VMCS_GUEST_INTERRUPTIBILITY) & ~(uint64_t)BLOCKED_BY_NMI);
    }
    vcpu_redeliver(v, &event);
}

enum exit_action vmx_entry_failed(struct vcpu *v, const char *what)
{
    vmx_check_current(log_error_detail);
    vm_crash(v, "%s", what);
    return EXIT_STOP;
}

struct invalidate_descriptor {
    uint64_t context, address;
};

static NOINLINE void flush(struct vcpu *v)
{
    struct vmx_vcpu *vmx = v->vmx;
    struct invalidate_descriptor d = {.context = vmx->vpid};

    if (vmx_caps.proc2 & PROC2_VPID)
        __asm__ volatile("invvpid %0, %1" ::"m"(d), "r"((uint64_t)vmx_caps.invvpid) : "cc");
    if (vmx->flush_nested) {
        d.context = vmcs_read(VMCS_EPT_POINTER);
        __asm__ volatile("invept %0, %1" ::"m"(d), "r"((uint64_t)vmx_caps.invept) : "cc");
    }
    vmx->flush_guest = vmx->flush_nested = false;
}

/* The preemption timer counts down while the guest runs: it is set anew at each entry. */
static void set_preemption_timer(const struct vmx_vcpu *vmx)
{
    uint64_t now = rdtsc();
    uint64_t left = vmx->slice_end > now ? vmx->slice_end - now : 0;
    uint64_t value = left ? (left >> vmx_caps.timer_shift) + 1 : 0;

    vmcs_write(VMCS_PREEMPTION_TIMER, MIN(value, (uint64_t)UINT32_MAX));
}

enum exit_action vmx_attend(struct vcpu *v)
{
    struct vmx_vcpu *vmx = v->vmx;

    if (v->pending & PENDING_LEAVE)
        return EXIT_RESCHEDULE;
    if (v->pending & PENDING_DELIVERY)
        vcpu_deliver_pending(v);
    if (vmx->flush_guest || vmx->flush_nested)
        flush(v);
    if (v->pending & PENDING_REGISTERS) {
        vmcs_write(VMCS_GUEST_RSP, v->gpr[GPR_RSP]);
        vmcs_write(VMCS_GUEST_RFLAGS, v->rflags);
    }
    v->pending &= ~(PENDING_REGISTERS | PENDING_BACKEND);
    if (vmx->slice_end != TIMER_NEVER) {
        set_preemption_timer(vmx);
        v->pending |= PENDING_BACKEND;
    }
    return likely(v->vm->request == VM_REQUEST_NONE) ? EXIT_RESUME : EXIT_STOP;
}

static inline enum exit_action handle_event(struct vcpu *v, const struct exit_entry *entry)
{
    uint32_t vectoring = (uint32_t)vmcs_read(VMCS_IDT_VECTORING_INFO);

    if (unlikely(vectoring & INTR_INFO_VALID)) {
        redeliver(v, vectoring);
        if (entry == &exit_table[VMX_EXIT_EPT_VIOLATION])
            return exit_delivery_fault(v, vmcs_read(VMCS_GUEST_PHYSICAL_ADDRESS));
    }
    return entry->handler(v, vmcs_read(VMCS_EXIT_QUALIFICATION));
}

static inline const struct exit_entry *entry_of(uint64_t reason)
{
    reason &= EXIT_REASON_BASIC;
    return &exit_table[likely(reason < VMX_EXIT_REASONS) ? reason : VMX_EXIT_REASONS];
}

enum exit_action vmx_exit(struct vcpu *v)
{
    uint32_t start = rdtsc_low();
    const struct exit_entry *entry = entry_of(vmcs_read(VMCS_EXIT_REASON));
    enum exit_action action;
    uint64_t rip;

    __asm__("" : "+r"(entry)); /* once computed, kept: indexing the table anew costs more */
    v->gpr[GPR_RSP] = vmcs_read(VMCS_GUEST_RSP);
    v->rip = rip = vmcs_read(VMCS_GUEST_RIP);
    v->rflags = vmcs_read(VMCS_GUEST_RFLAGS);
    v->in_shadow = vmcs_read(VMCS_GUEST_INTERRUPTIBILITY) & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS);
    if (likely(entry->form == FORM_INSTRUCTION))
        action = entry->instruction(v, insn_length());
    else if (likely(entry->form == FORM_QUALIFIED))
        action = entry->handler(v, vmcs_read(VMCS_EXIT_QUALIFICATION));
    else
        action = handle_event(v, entry);
    if (unlikely(v->pending) && action == EXIT_RESUME)
        action = vmx_attend(v);
    if (v->rip != rip)
        vmcs_write(VMCS_GUEST_RIP, v->rip);
    stat_exit(&v->stats, entry->stat, rdtsc_low() - start);
    return action;
}
