/* The run loop: pick a vCPU, enter it, handle its exits, pick again. Round robin: a vCPU that uses
 * up its slice goes to the end of the queue, one that halts leaves it. */

#include "vmm/sched.h"

#include "arch/x86/asm.h"
#include "arch/x86/lapic.h"
#include "arch/x86/percpu.h"
#include "arch/x86/power.h"
#include "arch/x86/time.h"
#include "arch/x86/virt.h"
#include "lib/log.h"
#include "vmm/console.h"
#include "vmm/platform.h"
#include "vmm/vm.h"

#define CONSOLE_POLL_NS 10000000u

uint64_t sched_slice_tsc;

void sched_enqueue(struct vcpu *v)
{
    struct percpu *cpu = this_cpu;

    if (v->queued) {
        return;
    }
    v->queued = true;
    v->run_next = NULL;
    if (cpu->run_tail) {
        cpu->run_tail->run_next = v;
    } else {
        cpu->run_head = v;
    }
    cpu->run_tail = v;
}

static struct vcpu *dequeue(void)
{
    struct percpu *cpu = this_cpu;
    struct vcpu *v = cpu->run_head;

    if (v) {
        cpu->run_head = v->run_next;
        if (!cpu->run_head) {
            cpu->run_tail = NULL;
        }
        v->queued = false;
        v->run_next = NULL;
    }
    return v;
}

static void unload_current(void)
{
    struct percpu *cpu = this_cpu;

    if (cpu->current) {
        code_cache_unmap(&cpu->current->code);
        virt->vcpu_unload(cpu->current);
        cpu->current = NULL;
    }
}

void sched_remove(struct vcpu *v)
{
    struct percpu *cpu = this_cpu;

    v->state = VCPU_STOPPED;
    if (cpu->current == v) {
        unload_current();
    }
    if (!v->queued) {
        return;
    }
    struct vcpu *prev = NULL;
    for (struct vcpu *at = cpu->run_head; at; prev = at, at = at->run_next) {
        if (at != v) {
            continue;
        }
        if (prev) {
            prev->run_next = v->run_next;
        } else {
            cpu->run_head = v->run_next;
        }
        if (cpu->run_tail == v) {
            cpu->run_tail = prev;
        }
        break;
    }
    v->queued = false;
    v->run_next = NULL;
}

/* The LAPIC timer follows the earliest of the timer queue and, where the CPU has no timer for that,
 * the slice's end. */
static void arm_timer(uint64_t slice_end)
{
    struct percpu *cpu = this_cpu;
    uint64_t deadline = MIN(timer_next(&cpu->timers), slice_end);

    if (console_needs_polling() || cpu->console_input) {
        deadline = MIN(deadline, rdtsc() + ns_span_to_tsc(CONSOLE_POLL_NS));
    }
    if (deadline != cpu->timer_armed) {
        cpu->timer_armed = deadline;
        lapic_hw_timer_arm(deadline);
    }
}

static void housekeeping(void)
{
    struct percpu *cpu = this_cpu;

    if (cpu->nmi_seen) {
        cpu->nmi_seen = false;
        log_warn("NMI: ignored");
    }
    if (cpu->timer_fired) {
        cpu->timer_fired = false;
        cpu->timer_armed = TIMER_NEVER;
        timer_run(&cpu->timers, rdtsc());
    }
    if (cpu->console_input || console_needs_polling()) {
        cpu->console_input = false;
        console_poll();
    }
}

static void idle(void)
{
    struct percpu *cpu = this_cpu;
    uint64_t start = rdtsc();

    if (vm_ending_count > 0) {
        return;
    }
    arm_timer(TIMER_NEVER);
    if (!cpu->timer_fired && !cpu->console_input) {
        interrupts_wait();
    }
    cpu->idle_tsc += rdtsc() - start;
}

/* Runs `v` until it waits, its VM ends, or its slice is over while another waits. */
static void run(struct vcpu *v)
{
    struct percpu *cpu = this_cpu;
    uint64_t start = rdtsc();
    uint64_t slice_end = start + sched_slice_tsc;

    if (cpu->current != v) {
        unload_current();
        virt->vcpu_load(v);
        cpu->current = v;
        vcpu_update_lapic_timer(v);
        platform_resume(v->vm);
    }
    for (;;) {
        bool others_wait = cpu->run_head || vm_ending_count > 0;
        uint64_t end = others_wait ? slice_end : TIMER_NEVER;
        arm_timer(virt->set_slice_end(v, end) ? TIMER_NEVER : end);
        (void)virt->vcpu_run(v);
        /* A vCPU that halted is woken up from outside this loop only. */
        if (v->state != VCPU_RUNNABLE) {
            break;
        }
        housekeeping();
        if (vm_requests_waiting) {
            break;
        }
        if (others_wait && rdtsc() >= slice_end) {
            break;
        }
    }
    v->run_tsc += rdtsc() - start;
}

/* When all VMs have ended: what the configuration says. */
static void check_all_off(void)
{
    if (!vm_all_off() || !vm_when_done_armed) {
        return;
    }
    vm_when_done_armed = false;
    switch (vm_when_done) {
    case CONFIG_DONE_POWEROFF: log_info("the last VM has ended: powering off"); power_off();
    case CONFIG_DONE_REBOOT:
        log_info("the last VM has ended: resetting the machine");
        power_reset();
    case CONFIG_DONE_HALT:
        log_info("the last VM has ended: waiting in the monitor (Ctrl-A 0)");
        break;
    }
}

void sched_loop(void)
{
    for (;;) {
        housekeeping();
        if (vm_requests_waiting) {
            vm_handle_requests();
        }
        if (vm_ending_count > 0) {
            vm_scrub_step();
        }
        struct vcpu *v = dequeue();
        if (!v) {
            check_all_off();
            idle();
            continue;
        }
        if (v->state != VCPU_RUNNABLE) {
            continue;
        }
        run(v);
        if (v->state == VCPU_RUNNABLE) {
            sched_enqueue(v);
        }
    }
}
