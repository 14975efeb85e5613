#include "vmm/vcpu.h"

#include "arch/x86/debug_registers.h"
#include "arch/x86/percpu.h"
#include "arch/x86/time.h"
#include "arch/x86/virt.h"
#include "vmm/checks.h"
#include "vmm/platform.h"
#include "vmm/pv_eoi.h"
#include "vmm/sched.h"
#include "vmm/vm.h"

/* A vCPU that has not the CPU gets timer interrupts at most this often: their cost falls on the one
 * that has it. */
#define OTHERS_TIMER_MIN_NS 1000000u

/* Exceptions of which two in a row make a double fault (SDM vol. 3, table 6-4). */
static bool is_contributory(uint8_t vector)
{
    return vector == EXC_DE || (vector >= EXC_TS && vector <= EXC_GP);
}

static void raise(struct vcpu *v, const struct vcpu_event *event)
{
    assert_owner(v);
    if (v->pending & PENDING_EVENT && v->event.type == EVENT_EXCEPTION) {
        uint8_t first = v->event.vector;
        if (first == EXC_DF) {
            vm_crash(v, "triple fault");
            return;
        }
        if ((is_contributory(first) && is_contributory(event->vector)) ||
            (first == EXC_PF && (event->vector == EXC_PF || is_contributory(event->vector)))) {
            v->event = (struct vcpu_event){EXC_DF, EVENT_EXCEPTION, event->has_error, 0};
            return;
        }
    }
    v->event = *event;
    v->pending |= PENDING_EVENT;
}

void vcpu_raise(struct vcpu *v, uint8_t vector)
{
    const struct vcpu_event event = {vector, EVENT_EXCEPTION, false, 0};

    raise(v, &event);
}

void vcpu_raise_error(struct vcpu *v, uint8_t vector, uint32_t error)
{
    /* Real mode pushes no error codes. */
    bool has_error = (virt->get_cr0(v) & CR0_PE) != 0;
    const struct vcpu_event event = {vector, EVENT_EXCEPTION, has_error, error};

    raise(v, &event);
}

void vcpu_raise_page_fault(struct vcpu *v, uint64_t cr2, uint32_t error)
{
    virt->set_cr2(v, cr2);
    vcpu_raise_error(v, EXC_PF, error);
}

void vcpu_redeliver(struct vcpu *v, const struct vcpu_event *event)
{
    if (event->type == EVENT_NMI) {
        v->nmi_blocked = false;
        v->pending |= PENDING_NMI;
        return;
    }
    v->event = *event;
    v->pending |= PENDING_EVENT;
}

bool vcpu_has_wakeup(const struct vcpu *v)
{
    if ((v->pending & (PENDING_EVENT | PENDING_DEBUG)) ||
        ((v->pending & PENDING_NMI) && !v->nmi_blocked) || v->unhalted)
        return true;
    return (v->rflags & RFLAGS_IF) && (lapic_pending(&v->lapic) >= 0 || platform_extint_pending(v));
}

void vcpu_kick(struct vcpu *v)
{
    assert_owner(v);
    v->pending |= PENDING_INTERRUPT;
    if (v->state == VCPU_HALTED && vcpu_has_wakeup(v))
        sched_wake(v);
}

void vcpu_nmi(struct vcpu *v)
{
    assert_owner(v);
    v->pending |= PENDING_NMI;
    vcpu_kick(v);
}

void vcpu_unhalt(struct vcpu *v)
{
    assert_owner(v);
    v->unhalted = v->state != VCPU_HALTED;
    if (!v->unhalted)
        sched_wake(v);
}

uint64_t vcpu_wrap_rip(struct vcpu *v, uint64_t next)
{
    struct vcpu_sysregs regs;

    virt->get_sysregs(v, &regs);
    return (regs.efer & EFER_LMA) && (regs.seg[SEG_CS].attrib & SEG_ATTR_L) ? next : (uint32_t)next;
}

void vcpu_skip_flags(struct vcpu *v)
{
    v->rflags &= ~RFLAGS_RF;
    v->pending |= PENDING_REGISTERS | (v->rflags & RFLAGS_TF ? PENDING_DEBUG : 0);
}

void vcpu_end_shadow(struct vcpu *v)
{
    v->in_shadow = false;
    virt->clear_shadow(v);
}

/* The single-step trap that the emulated instruction would have ended in. */
static void raise_debug(struct vcpu *v)
{
    v->pending &= ~PENDING_DEBUG;
    virt->note_debug(v, DR6_BS);
    if (!(v->pending & PENDING_EVENT))
        vcpu_raise(v, EXC_DB);
}

/* What waits is looked at again when the guest can take it: when it lets interrupts in, or when it
 * lowers its task priority, which it can without an exit. */
static inline void want_window(struct vcpu *v)
{
    bool window =
        platform_extint_pending(v) || (!v->by_cpu && unlikely(lapic_pending(&v->lapic) >= 0));
    bool tpr_exit = !v->by_cpu && !window && lapic_requested(&v->lapic);

    v->pending &= ~PENDING_INTERRUPT;
    if (window)
        virt->want_interrupt_window(v);
    if (unlikely(tpr_exit || v->tpr_exit)) {
        v->tpr_exit = tpr_exit;
        virt->want_tpr_exit(v, tpr_exit);
    }
}

static inline void post_interrupts(struct vcpu *v)
{
    if (v->by_cpu)
        virt->post_interrupts(v);
}

/* The backend closes the interrupt window when it injects, so it is asked for again. */
static void inject(struct vcpu *v, const struct vcpu_event *event)
{
    virt->inject(v, event);
    post_interrupts(v);
    want_window(v);
}

/* Returns false when the NMI has to wait. */
static bool inject_nmi(struct vcpu *v)
{
    const struct vcpu_event event = {EXC_NMI, EVENT_NMI, false, 0};

    if (v->nmi_blocked || v->in_shadow) {
        virt->want_nmi_window(v);
        return false;
    }
    v->pending &= ~PENDING_NMI;
    v->nmi_blocked = true;
    virt->want_nmi_window(v);
    inject(v, &event);
    return true;
}

/* No event waits, so `event` is free. */
static inline void inject_interrupt(struct vcpu *v)
{
    bool extint = platform_extint_pending(v);
    int vector = v->by_cpu ? -1 : lapic_pending(&v->lapic);

    post_interrupts(v);
    if ((extint || vector >= 0) && (v->rflags & RFLAGS_IF) && !v->in_shadow) {
        if (unlikely(extint)) {
            vector = platform_extint_ack(v->vm);
        } else {
            lapic_ack(&v->lapic, (uint8_t)vector);
            pv_eoi_offer(v, (uint8_t)vector);
        }
        v->event = (struct vcpu_event){.vector = (uint8_t)vector, .type = EVENT_INTERRUPT};
        virt->inject(v, &v->event);
    }
    want_window(v);
}

/* Events before interrupts. Returns whether one was injected. */
COLD static bool deliver_event(struct vcpu *v)
{
    if (v->pending & PENDING_DEBUG)
        raise_debug(v);
    if (v->pending & PENDING_EVENT) {
        v->pending &= ~PENDING_EVENT;
        inject(v, &v->event);
        if (v->pending & PENDING_NMI && !v->nmi_blocked)
            virt->want_nmi_window(v);
        return true;
    }
    return v->pending & PENDING_NMI && inject_nmi(v);
}

void vcpu_deliver_pending(struct vcpu *v)
{
    virt_sync_lapic(v);
    if (unlikely(v->pending & ~PENDING_INTERRUPT) && deliver_event(v))
        return;
    if (likely(v->pending & PENDING_INTERRUPT))
        inject_interrupt(v);
}

void vcpu_check_interrupts(struct vcpu *v)
{
    if (lapic_requested(&v->lapic) || platform_extint_pending(v))
        v->pending |= PENDING_INTERRUPT;
}

uint64_t vcpu_tsc(const struct vcpu *v)
{
    return rdtsc() + v->tsc_offset;
}

void vcpu_update_lapic_timer(struct vcpu *v)
{
    uint64_t deadline = lapic_timer_next(&v->lapic);

    assert_owner(v);
    if (v->lapic.tsc_deadline != 0) {
        uint64_t now = rdtsc(), guest_now = now + v->tsc_offset;
        uint64_t left = v->lapic.tsc_deadline - guest_now;
        /* One that is past is due now, not when the machine's timer gets to say so. */
        if (unlikely(v->lapic.tsc_deadline <= guest_now)) {
            timer_cancel(&v->lapic_timer);
            lapic_timer_expired(&v->lapic, now);
            vcpu_kick(v);
            return;
        }
        deadline = left < TIMER_NEVER - now ? now + left : TIMER_NEVER;
    }
    sched_timer_arm(&v->lapic_timer, deadline);
}

uint64_t vcpu_timer_limit(const struct vcpu *v, uint64_t deadline)
{
    if (this_cpu->current == v || deadline == TIMER_NEVER)
        return deadline;
    if (v->state == VCPU_RUNNABLE)
        return TIMER_NEVER;
    return MAX(deadline, rdtsc() + ns_span_to_tsc(OTHERS_TIMER_MIN_NS));
}

void vcpu_lapic_timer_expired(struct timer *timer, uint64_t now)
{
    struct vcpu *v = CONTAINER_OF(timer, struct vcpu, lapic_timer);

    lapic_timer_expired(&v->lapic, now); /* arms a periodic one for the next time */
    vcpu_kick(v);
    if (this_cpu->current != v && timer_is_armed(timer))
        sched_timer_arm(timer, vcpu_timer_limit(v, timer->deadline));
}
