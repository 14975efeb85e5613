/* The run loop: pick a vCPU, enter it, handle its exits, pick again. Round robin: a vCPU that uses
 * up its slice goes to the end of the queue, one that halts leaves it, and keeps what it has left
 * of its slice for when it wakes up. */

#include "vmm/sched.h"

#include "arch/x86/asm.h"
#include "arch/x86/lapic.h"
#include "arch/x86/percpu.h"
#include "arch/x86/speculation.h"
#include "arch/x86/time.h"
#include "arch/x86/virt.h"
#include "lib/log.h"
#include "vmm/console.h"
#include "vmm/mail.h"
#include "vmm/platform.h"
#include "vmm/vm_life.h"

#define CONSOLE_POLL_NS 10000000u

/* One that has woken up takes the CPU from another one only when that has had it for so long: what
 * it costs to switch stays a small part, however often a VM wakes up. */
#define UNDISTURBED_NS 100000u
/* With short slices, for this part of one. */
#define UNDISTURBED_PART 4

static uint64_t slice_tsc, undisturbed_tsc;

INIT void sched_init(uint64_t slice_ns)
{
    slice_tsc = ns_span_to_tsc(slice_ns);
    undisturbed_tsc = MIN(ns_span_to_tsc(UNDISTURBED_NS), slice_tsc / UNDISTURBED_PART);
}

static void refill(struct vcpu *v)
{
    v->slice_left = slice_tsc;
    v->turn = this_cpu->turns;
    v->boosted = false;
}

/* At the end, or in front of all but those that have woken up. */
static void insert(struct vcpu *v, bool front)
{
    struct vcpu **link = &this_cpu->run_head;

    while (*link && (!front || (*link)->boosted))
        link = &(*link)->run_next;
    v->run_next = *link;
    *link = v;
    mail_enter_queue(v);
}

void sched_enqueue(struct vcpu *v)
{
    refill(v);
    insert(v, false);
}

/* It gets a new slice when the others have used up theirs since it got its last one: waking up
 * often gives nobody more than his share. */
static NOINLINE void wake_among_others(struct vcpu *v)
{
    const struct percpu *cpu = this_cpu;
    uint64_t others = cpu->running ? 1 : 0;

    for (const struct vcpu *at = cpu->run_head; at; at = at->run_next)
        others++;
    if (cpu->turns - v->turn >= others)
        refill(v);
    v->boosted = v->slice_left >= undisturbed_tsc;
    if (!v->boosted)
        refill(v);
    insert(v, v->boosted);
}

void sched_wake(struct vcpu *v)
{
    v->state = VCPU_RUNNABLE;
    if (likely(!this_cpu->running && !this_cpu->run_head))
        sched_enqueue(v);
    else
        wake_among_others(v);
}

static struct vcpu *dequeue(void)
{
    struct percpu *cpu = this_cpu;
    struct vcpu *v = cpu->run_head;

    if (v)
        cpu->run_head = v->run_next;
    return v;
}

static void unload_current(void)
{
    struct percpu *cpu = this_cpu;

    if (cpu->current) {
        virt->vcpu_unload(cpu->current);
        cpu->current = NULL;
    }
}

void sched_remove(struct vcpu *v)
{
    struct percpu *cpu = this_cpu;

    v->state = VCPU_STOPPED;
    if (cpu->current == v)
        unload_current();
    virt->vcpu_leave(v);
    for (struct vcpu **link = &cpu->run_head; *link; link = &(*link)->run_next) {
        if (*link == v) {
            *link = v->run_next;
            break;
        }
    }
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

static void housekeeping(void)
{
    struct percpu *cpu = this_cpu;

    if (likely(!cpu->noted))
        return;
    if (cpu->timer_fired) {
        cpu->timer_fired = false;
        cpu->timer_armed = TIMER_NEVER;
        lapic_hw_eoi();
        timer_run(&cpu->timers, rdtsc());
    }
    if (cpu->nmi_seen) {
        cpu->nmi_seen = false;
        log_warn("NMI: ignored");
    }
    if (cpu->console_input || cpu->console_polled) {
        cpu->console_input = false;
        console_poll();
    }
}

static void idle(void)
{
    struct percpu *cpu = this_cpu;
    uint64_t start = rdtsc();

    if (cpu->ending_vms > 0 || mail_waiting() || vm_home_asked())
        return;
    arm_timer(TIMER_NEVER);
    if (!cpu->timer_fired && !cpu->console_input)
        interrupts_wait();
    cpu->idle_tsc += rdtsc() - start;
}

/* When the turn of `v`, which runs since `start`, is over, as things are now. */
static uint64_t turn_end(const struct vcpu *v, uint64_t start)
{
    const struct vcpu *next = this_cpu->run_head;

    if (next && next->boosted)
        return start + MIN(v->slice_left, undisturbed_tsc);
    return next || this_cpu->ending_vms > 0 ? start + v->slice_left : TIMER_NEVER;
}

/* Runs `v` until it waits, its VM ends, or its turn is over. */
static void run(struct vcpu *v)
{
    struct percpu *cpu = this_cpu;
    uint64_t start = rdtsc();
    uint64_t end;

    cpu->running = v;
    if (cpu->current != v) {
        unload_current();
        speculation_enter_vm(v->vm->serial);
        virt->vcpu_load(v);
        cpu->current = v;
        vcpu_update_lapic_timer(v);
        if (v->id == 0)
            platform_resume(v->vm);
    }
    do {
        v->pending &= ~PENDING_LEAVE; /* all that asks for it is looked at from here on */
        end = turn_end(v, start);
        arm_timer(virt->set_slice_end(v, end) ? TIMER_NEVER : end);
        (void)virt->vcpu_run(v);
        /* A vCPU that halted is woken up from outside this loop only. */
        if (v->state != VCPU_RUNNABLE)
            break;
        housekeeping(); /* may end its VM */
    } while (v->state == VCPU_RUNNABLE && !mail_waiting() && !vm_home_asked() &&
             rdtsc() < turn_end(v, start));
    cpu->running = NULL;
    uint64_t used = rdtsc() - start;
    v->run_tsc += used;
    v->slice_left -= MIN(v->slice_left, used);
}

/* A turn that was interrupted goes on as soon as possible, one that is over is the last. */
static void requeue(struct vcpu *v)
{
    v->boosted = false;
    if (v->slice_left > 0) {
        insert(v, true);
    } else {
        this_cpu->turns++;
        sched_enqueue(v);
    }
}

/* Round its VM's pCPUs. */
unsigned int sched_choose_cpu(const struct vcpu *v)
{
    uint64_t cpus = v->vm->config->cpus, left = cpus;

    for (unsigned int i = 0; i < v->id; i++) {
        left &= left - 1;
        left = left ? left : cpus;
    }
    return (unsigned int)__builtin_ctzll(left);
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
}

void sched_loop(void)
{
    for (;;) {
        housekeeping();
        mail_take();
        vm_attend();
        struct vcpu *v = dequeue();
        if (!v) {
            idle();
            continue;
        }
        mail_leave_queue(v);
        if (likely(!mail_waiting()))
            run(v);
        if (v->state == VCPU_RUNNABLE)
            requeue(v);
    }
}
