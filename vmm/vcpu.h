#ifndef BULKHEAD_VMM_VCPU_H
#define BULKHEAD_VMM_VCPU_H

/* A virtual CPU. Only the pCPU that owns it (`cpu`) touches it; others send it mail (vmm/mail.h).
 */

#include "arch/x86/regs.h"
#include "arch/x86/segment.h"
#include "vmm/emulate/code_cache.h"
#include "vmm/irqchip/lapic.h"
#include "vmm/run_queue.h"
#include "vmm/stats.h"
#include "vmm/timer.h"

struct vm;
struct svm_vcpu;
struct vmx_vcpu;

/* What others have for a vCPU. All of it is atomic. */
struct mailbox {
    uint32_t posted;   /* POSTED_* */
    uint32_t irr[8];   /* POSTED_INTERRUPTS: which, and */
    uint32_t tmr[8];   /* those that are level-triggered */
    uint8_t startup;   /* POSTED_STARTUP: the page to start at */
    bool deaf;         /* after INIT, until a start-up IPI: mail_signal(). Written by the owner */
    bool queued;       /* waits in its pCPU's run queue, and needs no kick; written by the owner */
    struct vcpu *next; /* in the pCPU's inbox */
} ALIGNED(64);

enum vcpu_state {
    VCPU_STOPPED,  /* not to be run: its VM is off */
    VCPU_RUNNABLE, /* on its pCPU's run queue, or running */
    VCPU_HALTED,   /* waits for an interrupt */
    VCPU_WAITING,  /* after INIT, for a start-up IPI; nothing else reaches it */
};

/* What is to be looked at before the next entry. One test on the exit path covers all. */
#define PENDING_EVENT     BIT(0) /* vcpu->event is to be injected */
#define PENDING_NMI       BIT(1)
#define PENDING_INTERRUPT BIT(2) /* LAPIC or PIC may have one */
#define PENDING_DEBUG     BIT(3) /* single-step trap after an emulated instruction */
#define PENDING_REGISTERS BIT(4) /* RSP or RFLAGS were changed: the backend takes them over */
#define PENDING_BACKEND   BIT(5) /* something that only the backend knows */
#define PENDING_LEAVE     BIT(6) /* the run loop has something to do: sched_leave() */

/* What vcpu_deliver_pending() is for. */
#define PENDING_DELIVERY (PENDING_EVENT | PENDING_NMI | PENDING_INTERRUPT | PENDING_DEBUG)

/* As the VMCB's EVENTINJ and the VMCS's interruption information number them (APM vol. 2, 15.20;
 * SDM vol. 3, table 25-17). */
enum event_type {
    EVENT_INTERRUPT = 0,
    EVENT_NMI = 2,
    EVENT_EXCEPTION = 3,
    EVENT_SOFTWARE = 4,
};

struct vcpu_event {
    uint8_t vector;
    uint8_t type; /* enum event_type */
    bool has_error;
    uint32_t error;
};

/* What an exit handler wants next. */
enum exit_action {
    EXIT_RESUME,     /* enter this vCPU again; 0, for entry.asm */
    EXIT_RESCHEDULE, /* it waits, or its time is over */
    EXIT_STOP,       /* its VM has ended */
};

/* System registers, for what is not on the hot path: start, emulation, dumps. */
struct vcpu_sysregs {
    uint64_t cr0, cr2, cr3, cr4, efer, dr6, dr7;
    struct segment seg[SEG_COUNT];
    struct segment ldtr, tr, gdtr, idtr;
    uint8_t cpl;
};

struct vcpu {
    uint64_t gpr[GPR_COUNT]; /* first, for entry.asm; RSP and RAX included; valid between exit and
                                entry */
    uint64_t rip;
    uint64_t rflags;
    uint32_t pending; /* PENDING_* */
    union {
        struct {
            bool in_shadow;    /* STI or MOV SS holds interrupts off for an instruction; as rip */
            bool has_siblings; /* vm_needs_lock() */
        };
        uint16_t shadow_or_siblings;
    };
    bool nmi_blocked; /* an NMI handler has not executed IRET yet */
    bool tpr_exit;    /* the backend may have been asked for an exit when TPR is lowered */
    bool by_cpu;      /* the CPU takes by itself what waits in the LAPIC */
    enum vcpu_state state;
    struct vcpu_event event;
    struct vm *vm;
    unsigned int id;
    unsigned int cpu; /* the pCPU that owns it, which alone changes this; while it is stopped, the
                         home of its VM */
    union {           /* the backend's part */
        struct svm_vcpu *svm;
        struct vmx_vcpu *vmx;
    };
    struct sched_entity sched;
    unsigned int slot_cpu; /* of class slots: the pCPU whose table has it */
    bool unhalted;         /* a HLT ends at once: vcpu_unhalt() */

    struct lapic lapic;
    /* The backend's: where the CPU has the task priority while the guest runs, which is that of
     * the LAPIC shifted right; and what was there when the LAPIC was last told of it. */
    uint8_t *cpu_tpr;
    uint16_t known_tpr;
    uint8_t cpu_tpr_shift;
    struct timer lapic_timer;
    uint64_t tsc_offset; /* guest TSC = machine's TSC + offset */

    /* MSRs that are only stored. */
    uint64_t pat, mtrr_def_type, misc_enable, tsc_adjust, tsc_aux, mcg_status, hwcr;
    uint64_t mtrr_fixed[11], mtrr_variable[16];
    uint64_t kvm_system_time; /* GPA | 1, 0: off */
    uint32_t kvm_version;
    bool pv_eoi_offered; /* see vmm/pv_eoi.h */
    uint64_t pv_eoi;     /* GPA | 1, 0: off */
    uint64_t pv_eoi_pa;
    uint64_t steal_time; /* GPA | 1, 0: off; see vmm/steal_time.h */
    uint64_t steal_time_pa;
    bool steal_marked; /* the guest has been told that it is off the pCPU */

    uint64_t run_tsc; /* TSC ticks spent in this vCPU, exits included */
    uint64_t guest_xcr0;
    void *xsave; /* FPU state while another vCPU has the CPU */
    uint64_t dr[4];
    bool dr_live; /* DR0..3 hold this vCPU's values while it is loaded */
    struct code_cache code;

    struct mailbox mail;
    uint64_t flushed; /* vm->flush_wanted when it last forgot nested translations; atomic */
    struct exit_stats stats;
};

static_assert(offsetof(struct vcpu, gpr) == 0, "entry.asm");

/* Queues an exception for the guest. A second one while one waits makes a double or triple fault
 * (SDM vol. 3, table 6-5). */
void vcpu_raise(struct vcpu *v, uint8_t vector);
void vcpu_raise_error(struct vcpu *v, uint8_t vector, uint32_t error);
void vcpu_raise_page_fault(struct vcpu *v, uint64_t cr2, uint32_t error);

/* An event that an exit interrupted: delivered again at the next entry. */
void vcpu_redeliver(struct vcpu *v, const struct vcpu_event *event);

/* Something changed that may make an interrupt or NMI deliverable: looks again before the next
 * entry, and wakes a halted vCPU. */
void vcpu_kick(struct vcpu *v);
void vcpu_nmi(struct vcpu *v);

/* Ends its HLT, or the next one, interrupt or not: what KVM's paravirtual kick does. */
void vcpu_unhalt(struct vcpu *v);

/* On its home, before its VM starts: from then on siblings that have started already may send it
 * signals, which wait for its own start. */
void vcpu_plug_in(struct vcpu *v);

/* Power-up, on its pCPU, with the VM's memory in place: the boot CPU as its kernel wants it, the
 * others wait for a start-up IPI. */
void vcpu_power_on(struct vcpu *v);

/* The signals of the same names (SDM vol. 3, 9.4). */
void vcpu_init_signal(struct vcpu *v);
void vcpu_startup_signal(struct vcpu *v, uint8_t page);

/* `next` as RIP, when it lies beyond a multiple of 4 GiB: outside 64-bit mode RIP has 32 bits. */
uint64_t vcpu_wrap_rip(struct vcpu *v, uint64_t next);

/* The rest of stepping over an instruction, for RFLAGS with RF or TF. */
void vcpu_skip_flags(struct vcpu *v);

/* Where the instruction at RIP ends, which `next` is but for a wrap-around. */
static inline uint64_t vcpu_rip_of(struct vcpu *v, uint64_t next)
{
    return likely((next ^ v->rip) >> 32 == 0) ? next : vcpu_wrap_rip(v, next);
}

/* The same for an instruction of `length` bytes. */
static inline uint64_t vcpu_next_rip(struct vcpu *v, unsigned int length)
{
    uint64_t next = v->rip + length;

    return likely((uint32_t)next >= length) ? next : vcpu_wrap_rip(v, next);
}

/* Ends the interrupt shadow, of which the backend is told. */
void vcpu_end_shadow(struct vcpu *v);

/* Tells the CPU of the LAPIC's task priority. */
static inline void vcpu_tell_cpu_tpr(struct vcpu *v, uint8_t tpr)
{
    uint8_t shown = (uint8_t)(tpr >> v->cpu_tpr_shift);

    *v->cpu_tpr = shown;
    v->known_tpr = shown;
}

static inline void vcpu_set_cpu_tpr(struct vcpu *v)
{
    vcpu_tell_cpu_tpr(v, (uint8_t)*lapic_reg(&v->lapic, LAPIC_TPR));
}

/* After an access to its LAPIC by the guest that runs: what is requested there is looked at before
 * the next entry. */
static inline void vcpu_check_lapic(struct vcpu *v)
{
    if (unlikely(lapic_requested(&v->lapic)))
        v->pending |= PENDING_INTERRUPT;
}

/* The same after one that may have changed what the 8259 wants, or whether it is heard. */
void vcpu_check_interrupts(struct vcpu *v);

static inline void vcpu_step(struct vcpu *v, uint64_t rip)
{
    v->rip = rip;
    if (unlikely(v->in_shadow))
        vcpu_end_shadow(v);
    if (unlikely(v->rflags & (RFLAGS_RF | RFLAGS_TF)))
        vcpu_skip_flags(v);
}

/* Steps over the instruction that was emulated: `next` as above. */
static inline void vcpu_skip_to(struct vcpu *v, uint64_t next)
{
    vcpu_step(v, vcpu_rip_of(v, next));
}

static inline void vcpu_skip(struct vcpu *v, unsigned int length)
{
    vcpu_step(v, vcpu_next_rip(v, length));
}

/* True when that is but to set RIP. */
static inline bool vcpu_skip_is_plain(const struct vcpu *v, uint64_t next)
{
    return (next ^ v->rip) >> 32 == 0 && !v->in_shadow && !(v->rflags & (RFLAGS_RF | RFLAGS_TF));
}

/* The same, and no lock is needed for the VM's devices. */
static inline bool vcpu_skip_is_plain_alone(const struct vcpu *v, uint64_t next)
{
    return (next ^ v->rip) >> 32 == 0 && !v->shadow_or_siblings &&
           !(v->rflags & (RFLAGS_RF | RFLAGS_TF));
}

/* Chooses what is delivered at the next entry; called when `pending` is not 0. */
void vcpu_deliver_pending(struct vcpu *v);

/* True when the vCPU, halted, has something to wake up for. */
bool vcpu_has_wakeup(const struct vcpu *v);

/* The guest's TSC now. */
uint64_t vcpu_tsc(const struct vcpu *v);

/* Arms the host timer for what the virtual LAPIC timer says. */
void vcpu_update_lapic_timer(struct vcpu *v);

/* Handler of vcpu->lapic_timer. */
void vcpu_lapic_timer_expired(struct timer *timer, uint64_t now);

/* When a timer of this vCPU's VM that has just expired may expire again, given that it wants to at
 * `deadline`. One that waits for the CPU needs none: its timers are brought up to date when it gets
 * the CPU. */
uint64_t vcpu_timer_limit(const struct vcpu *v, uint64_t deadline);

#endif
