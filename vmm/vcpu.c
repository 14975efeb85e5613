#include "vmm/vcpu.h"

#include "arch/x86/debug_registers.h"
#include "arch/x86/percpu.h"
#include "arch/x86/time.h"
#include "arch/x86/virt.h"
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
    if (v->pending & PENDING_EVENT && v->event.type == EVENT_EXCEPTION) {
        uint8_t first = v->event.vector;
        if (first == EXC_DF) {
            vm_request(v->vm, VM_REQUEST_CRASH, "triple fault");
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
        ((v->pending & PENDING_NMI) && !v->nmi_blocked)) {
        return true;
    }
    return (v->rflags & RFLAGS_IF) &&
           (lapic_pending(&v->lapic) >= 0 || platform_extint_pending(v->vm));
}

void vcpu_kick(struct vcpu *v)
{
    v->pending |= PENDING_INTERRUPT;
    if (v->state == VCPU_HALTED && vcpu_has_wakeup(v)) {
        sched_wake(v);
    }
}

void vcpu_nmi(struct vcpu *v)
{
    v->pending |= PENDING_NMI;
    vcpu_kick(v);
}

uint64_t vcpu_wrap_rip(struct vcpu *v, uint64_t next)
{
    struct vcpu_sysregs regs;

    virt->get_sysregs(v, &regs);
    return (regs.efer & EFER_LMA) && (regs.seg[SEG_CS].attrib & SEG_ATTR_L) ? next : (uint32_t)next;
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
    if (!(v->pending & PENDING_EVENT)) {
        vcpu_raise(v, EXC_DB);
    }
}

/* What waits is looked at again when the guest can take it: when it lets interrupts in, or when it
 * lowers its task priority, which it can without an exit. `by_cpu`: the CPU does so by itself for
 * what the LAPIC has. */
static void want_window(struct vcpu *v, bool by_cpu)
{
    bool window = platform_extint_pending(v->vm) || (!by_cpu && lapic_pending(&v->lapic) >= 0);
    bool tpr_exit = !by_cpu && !window && lapic_requested(&v->lapic);

    v->pending &= ~PENDING_INTERRUPT;
    if (window) {
        virt->want_interrupt_window(v);
    }
    if (tpr_exit || v->tpr_exit) {
        v->tpr_exit = tpr_exit;
        virt->want_tpr_exit(v, tpr_exit);
    }
}

/* The backend closes the interrupt window when it injects, so it is asked for again. */
static void inject(struct vcpu *v, const struct vcpu_event *event)
{
    virt->inject(v, event);
    want_window(v, virt->post_interrupts(v));
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
static void inject_interrupt(struct vcpu *v)
{
    bool extint = platform_extint_pending(v->vm);
    bool by_cpu = virt->post_interrupts(v);
    int vector = by_cpu ? -1 : lapic_pending(&v->lapic);

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
    want_window(v, by_cpu);
}

/* Events before interrupts. Returns whether one was injected. */
COLD static bool deliver_event(struct vcpu *v)
{
    if (v->pending & PENDING_DEBUG) {
        raise_debug(v);
    }
    if (v->pending & PENDING_EVENT) {
        v->pending &= ~PENDING_EVENT;
        inject(v, &v->event);
        if (v->pending & PENDING_NMI && !v->nmi_blocked) {
            virt->want_nmi_window(v);
        }
        return true;
    }
    return v->pending & PENDING_NMI && inject_nmi(v);
}

void vcpu_deliver_pending(struct vcpu *v)
{
    virt->sync_lapic(v);
    if (unlikely(v->pending & ~PENDING_INTERRUPT) && deliver_event(v)) {
        return;
    }
    if (likely(v->pending & PENDING_INTERRUPT)) {
        inject_interrupt(v);
    }
}

void vcpu_check_interrupts(struct vcpu *v)
{
    if (lapic_requested(&v->lapic) || pic_pending(&v->vm->pic)) {
        v->pending |= PENDING_INTERRUPT;
    }
}

int vcpu_x2apic_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    virt->sync_lapic(v);
    int err = lapic_msr_read(&v->lapic, msr, value, time_now_ns());
    vcpu_check_interrupts(v); /* the timer may have expired meanwhile */
    return err;
}

/* Only TPR is held by the CPU as well, or instead; and a request that comes by a stale one is
 * looked at again in vcpu_deliver_pending(). */
int vcpu_x2apic_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
    pv_eoi_sync(v);
    int err = lapic_msr_write(&v->lapic, msr, value, time_now_ns());

    if (msr == X2APIC_MSR_TPR && !err) {
        virt->lapic_changed(v);
    }
    vcpu_check_interrupts(v);
    return err;
}

uint64_t vcpu_tsc(const struct vcpu *v)
{
    return rdtsc() + v->tsc_offset;
}

/* When the virtual LAPIC's timer is due, on the machine's TSC, which is `now`. */
static uint64_t lapic_deadline(const struct vcpu *v, uint64_t now)
{
    uint64_t guest_now = now + v->tsc_offset, ns;

    if (v->lapic.tsc_deadline != 0) {
        uint64_t left = v->lapic.tsc_deadline - guest_now;
        if (v->lapic.tsc_deadline <= guest_now) {
            return now;
        }
        return left < TIMER_NEVER - now ? now + left : TIMER_NEVER;
    }
    ns = lapic_timer_next(&v->lapic);
    return ns == UINT64_MAX ? TIMER_NEVER : ns_to_tsc(ns);
}

void vcpu_update_lapic_timer(struct vcpu *v)
{
    uint64_t now = rdtsc(), deadline = lapic_deadline(v, now);

    /* One that is past is due now, not when the machine's timer gets to say so. */
    if (unlikely(deadline <= now && v->lapic.tsc_deadline != 0)) {
        timer_cancel(&v->lapic_timer);
        lapic_timer_expired(&v->lapic, tsc_to_ns(now));
        vcpu_kick(v);
        return;
    }
    timer_arm(&this_cpu->timers, &v->lapic_timer, deadline);
}

uint64_t vcpu_timer_limit(const struct vcpu *v, uint64_t deadline)
{
    if (this_cpu->current == v || deadline == TIMER_NEVER) {
        return deadline;
    }
    if (v->state == VCPU_RUNNABLE) {
        return TIMER_NEVER;
    }
    return MAX(deadline, rdtsc() + ns_span_to_tsc(OTHERS_TIMER_MIN_NS));
}

void vcpu_lapic_timer_expired(struct timer *timer, uint64_t now)
{
    struct vcpu *v = CONTAINER_OF(timer, struct vcpu, lapic_timer);

    lapic_timer_expired(&v->lapic, tsc_to_ns(now)); /* arms a periodic one for the next time */
    vcpu_kick(v);
    if (this_cpu->current != v && timer_is_armed(timer)) {
        timer_arm(&this_cpu->timers, timer, vcpu_timer_limit(v, timer->deadline));
    }
}
