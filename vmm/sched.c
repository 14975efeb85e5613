/* The run loop of each pCPU: pick a vCPU, enter it, handle its exits, pick again. Who is next, and
 * until when, vmm/run_queue.c says; balancing between pCPUs: vmm/balance.c. */

#include "vmm/sched.h"

#include "arch/x86/asm.h"
#include "arch/x86/lapic.h"
#include "arch/x86/speculation.h"
#include "arch/x86/time.h"
#include "arch/x86/virt.h"
#include "lib/log.h"
#include "vmm/balance.h"
#include "vmm/checks.h"
#include "vmm/console.h"
#include "vmm/mail.h"
#include "vmm/platform.h"
#include "vmm/steal_time.h"
#include "vmm/vm_life.h"

#define CONSOLE_POLL_NS 10000000u
#define CONSOLE_NS      100000u /* most commands of the monitor take less */

/* One that has woken up takes the CPU from another one only when that has had it for so long: what
 * it costs to switch stays a small part, however often a VM wakes up. */
#define UNDISTURBED_NS 100000u
/* With short slices, for this part of one. */
#define UNDISTURBED_PART 4

/* What vCPUs get between two steps of a VM that starts or ends (vm_attend()), at most. */
#define BETWEEN_STEPS_NS 1000000u

static uint64_t slice_tsc, undisturbed_tsc, between_steps_tsc;

INIT void sched_init(uint64_t slice_ns)
{
    slice_tsc = ns_span_to_tsc(slice_ns);
    between_steps_tsc = MIN(ns_span_to_tsc(BETWEEN_STEPS_NS), slice_tsc);
    undisturbed_tsc = MIN(ns_span_to_tsc(UNDISTURBED_NS), slice_tsc / UNDISTURBED_PART);
}

static struct vcpu *vcpu_of(struct sched_entity *se)
{
    return CONTAINER_OF(se, struct vcpu, sched);
}

void sched_enqueue(struct vcpu *v)
{
    assert_owner(v);
    mail_enter_queue(v);
    rq_add(&this_cpu->queue, &v->sched, rdtsc());
    sched_leave(); /* the turn of the one that runs may end earlier */
}

void sched_wake(struct vcpu *v)
{
    v->state = VCPU_RUNNABLE;
    sched_enqueue(v);
    balance_woken(v);
}

static void unload_current(void)
{
    struct percpu *cpu = this_cpu;

    if (cpu->current) {
        steal_time_leave(cpu->current);
        virt->vcpu_unload(cpu->current);
        timer_hold(&cpu->timers, NULL);
        cpu->current = NULL;
    }
}

void sched_remove(struct vcpu *v)
{
    v->state = VCPU_STOPPED;
    sched_take_off(v);
}

void sched_take_off(struct vcpu *v)
{
    assert_owner(v);
    rq_remove(&this_cpu->queue, &v->sched, rdtsc());
    if (this_cpu->current == v)
        unload_current();
    virt->vcpu_leave(v);
    mail_leave_queue(v); /* whoever posts to it from now on must kick */
}

/* The LAPIC timer follows the earliest of the timer queue and, where the CPU has no timer for that,
 * the end of the turn. */
static void arm_timer(uint64_t turn_end)
{
    struct percpu *cpu = this_cpu;
    uint64_t deadline = MIN(timer_next(&cpu->timers), turn_end);

    if (unlikely(cpu->noted) && (cpu->console_polled || cpu->console_input))
        deadline = MIN(deadline, rdtsc() + ns_span_to_tsc(CONSOLE_POLL_NS));
    if (deadline != cpu->timer_armed) {
        cpu->timer_armed = deadline;
        lapic_hw_timer_arm(deadline);
    }
}

bool sched_has_time(uint64_t ns)
{
    return rq_has_time(&this_cpu->queue, rdtsc(), ns_span_to_tsc(ns));
}

static void housekeeping(void)
{
    struct percpu *cpu = this_cpu;

    if (likely(!cpu->noted))
        return;
    if (cpu->timer_fired) {
        cpu->timer_fired = false;
        cpu->timer_armed = TIMER_NEVER;
        lapic_hw_eoi();
        CHECKED_STEP("timers", timer_run(&cpu->timers, rdtsc()));
        if (likely(!cpu->noted))
            return;
    }
    if (cpu->nmi_seen) {
        cpu->nmi_seen = false;
        log_warn("NMI: ignored");
    }
    if ((cpu->console_input || cpu->console_polled) && sched_has_time(CONSOLE_NS)) {
        cpu->console_input = false;
        CHECKED_STEP("console", console_poll());
    }
}

static void idle(void)
{
    struct percpu *cpu = this_cpu;
    uint64_t start = rdtsc();

    if (cpu->changing_vms > 0 || mail_or_home_waiting())
        return;
    /* It is off the pCPU for others of its VM, whether it waits for an interrupt or its share. */
    if (cpu->current && cpu->current->vm->vcpu_count > 1)
        steal_time_leave(cpu->current);
    arm_timer(rq_until(&cpu->queue));
    if (!cpu->timer_fired && !cpu->console_input)
        interrupts_wait();
    cpu->mail->idle_tsc += rdtsc() - start;
}

/* When the turn that began at `start` is over, as things are now. Starting and ending VMs
 * take turns, too. */
static uint64_t turn_end(uint64_t start)
{
    uint64_t end = rq_until(&this_cpu->queue);

    return unlikely(this_cpu->changing_vms > 0) ? MIN(end, start + between_steps_tsc) : end;
}

static void load(struct vcpu *v)
{
    unload_current();
    speculation_enter_vm(v->vm->serial);
    virt->vcpu_load(v);
    this_cpu->current = v;
    timer_hold(&this_cpu->timers, &v->lapic_timer);
    vcpu_update_lapic_timer(v);
    if (v->id == 0)
        platform_resume(v->vm);
}

/* Runs `v`, picked at TSC `start`, until it waits, its VM ends, or its turn is over. */
static void run(struct vcpu *v, uint64_t start)
{
    assert_owner(v);
    if (this_cpu->current != v)
        load(v);
    steal_time_enter(v);
    do {
        if (unlikely(vm_is_to_end(v->vm))) /* its mail is on the way */
            break;
        v->pending &= ~PENDING_LEAVE; /* all that asks for it is looked at from here on */
        uint64_t end = turn_end(start);
        arm_timer(virt->set_slice_end(v, end) ? TIMER_NEVER : end);
        (void)virt->vcpu_run(v);
        /* A vCPU that halted is woken up from outside this loop only. */
        if (v->state != VCPU_RUNNABLE)
            break;
        housekeeping();
    } while (!mail_or_home_waiting() && !this_cpu->rebalance && rdtsc() < turn_end(start));
}

void sched_moved_in(struct vcpu *v)
{
    virt->vcpu_arrive(v);
    vcpu_update_lapic_timer(v);
    if (v->state == VCPU_RUNNABLE)
        sched_enqueue(v);
}

void sched_prefer(struct vcpu *v)
{
    rq_prefer(&this_cpu->queue, &v->sched);
}

/* Its turn is over, or was interrupted. */
static void put_back(struct vcpu *v, uint64_t start)
{
    bool goes_on = v->state == VCPU_RUNNABLE;
    uint64_t now = rdtsc();

    if (goes_on)
        mail_enter_queue(v);
    v->run_tsc += now - start;
    rq_put(&this_cpu->queue, now, goes_on);
}

void sched_give_way(void)
{
    rq_yield(&this_cpu->queue);
    sched_leave();
}

/* What others have asked for. */
static NOINLINE void attend(void)
{
    if (mail_waiting())
        CHECKED_STEP("mail", mail_empty());
    CHECKED_STEP("VMs", vm_attend());
}

void sched_loop(void)
{
    struct run_queue *queue = &this_cpu->queue;

    this_cpu->mail = &cpu_mails[this_cpu->id];
    rq_init(queue, slice_tsc, undisturbed_tsc);
    rq_set_slots(queue, slot_table_of(this_cpu->id));
    this_cpu->console_polled = console_polled_by == this_cpu->id;
    for (;;) {
        housekeeping();
        if (unlikely(mail_or_home_waiting() || this_cpu->changing_vms > 0)) {
            attend();
            /* A VM that has ended to start again asks as well, and no interrupt comes for that. */
            if (mail_or_home_waiting())
                continue;
        }
        balance();
        uint64_t now = rdtsc();
        struct sched_entity *se = rq_pick(queue, now);
        if (!se) {
            idle();
            continue;
        }
        struct vcpu *v = vcpu_of(se);
        mail_leave_queue(v);
        if (likely(!mail_waiting()))
            run(v, now);
        put_back(v, now);
    }
}
