#include "vmm/mail.h"

#include "arch/x86/smp.h"
#include "arch/x86/virt.h"
#include "vmm/platform_internal.h"
#include "vmm/sched.h"
#include "vmm/vm.h"
#include "vmm/vm_life.h"

struct cpu_mail cpu_mails[MAX_PCPUS];

/* Whose mail is taken before the run loop looks at other things: HANDLER_BOUND_NS. */
#define VCPUS_AT_ONCE 16

static void push(struct vcpu *v, unsigned int cpu)
{
    struct vcpu **inbox = &cpu_mails[cpu].inbox;

    v->mail.next = __atomic_load_n(inbox, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(inbox, &v->mail.next, v, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED))
        ;
}

/* The vCPU that runs here looks at its mail in the run loop. */
static void notify(unsigned int cpu)
{
    if (cpu == this_cpu->id)
        sched_leave();
    else
        smp_kick(cpu);
}

/* Whoever posts first pushes. Of one that posts something urgent before that push is seen, the
 * first one sees the bit and kicks: all accesses here are in one order (SEQ_CST). */
static void post(struct vcpu *v, uint32_t drop, uint32_t what)
{
    uint32_t old = __atomic_load_n(&v->mail.posted, __ATOMIC_RELAXED);
    unsigned int cpu;

    while (!__atomic_compare_exchange_n(&v->mail.posted, &old, (old & ~drop) | what, true,
                                        __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        ;
    cpu = __atomic_load_n(&v->cpu, __ATOMIC_ACQUIRE);
    if (old == 0)
        push(v, cpu);
    if ((old == 0 && !__atomic_load_n(&v->mail.queued, __ATOMIC_SEQ_CST)) ||
        (__atomic_load_n(&v->mail.posted, __ATOMIC_SEQ_CST) & POSTED_URGENT))
        notify(cpu);
}

void mail_post(struct vcpu *v, uint32_t what)
{
    post(v, 0, what);
}

/* An INIT is the last of the signals of its kind in these POSTED_*. */
static bool has_init(uint32_t posted)
{
    return (posted & (POSTED_INIT | POSTED_STARTUP)) == POSTED_INIT;
}

/* An INIT whose sender goes on has effect, whether its owner has seen it or not: the owner turns
 * `deaf` on before it takes the bit away. */
static bool waits_for_startup(const struct vcpu *v)
{
    return has_init(__atomic_load_n(&v->mail.posted, __ATOMIC_SEQ_CST)) ||
           __atomic_load_n(&v->mail.deaf, __ATOMIC_SEQ_CST);
}

void mail_signal(struct vcpu *v, uint32_t what)
{
    if (!waits_for_startup(v))
        post(v, 0, what);
}

/* What came before and has not been looked at is of no effect after this. */
void mail_init(struct vcpu *v)
{
    post(v, POSTED_STARTUP | POSTED_INTERRUPTS | POSTED_NMI | POSTED_EXTINT | POSTED_UNHALT,
         POSTED_INIT);
}

/* What is left of its VM's last life goes. */
void mail_start(struct vcpu *v)
{
    post(v, UINT32_MAX, POSTED_START);
}

void mail_startup(struct vcpu *v, uint8_t page)
{
    __atomic_store_n(&v->mail.startup, page, __ATOMIC_RELAXED);
    post(v, 0, POSTED_STARTUP);
}

void mail_interrupt(struct vcpu *v, uint8_t vector, bool level)
{
    uint32_t bit = BIT(vector & 31u);

    if (vcpu_is_here(v)) {
        lapic_accept(&v->lapic, vector, level);
        vcpu_kick(v);
        return;
    }
    if (waits_for_startup(v))
        return;
    if (level)
        __atomic_fetch_or(&v->mail.tmr[vector / 32], bit, __ATOMIC_RELAXED);
    __atomic_fetch_or(&v->mail.irr[vector / 32], bit, __ATOMIC_RELEASE);
    post(v, 0, POSTED_INTERRUPTS);
}

void mail_ask_home(unsigned int cpu)
{
    __atomic_store_n(&cpu_mails[cpu].home_asked, true, __ATOMIC_SEQ_CST);
    notify(cpu);
}

static void take_interrupts(struct vcpu *v)
{
    for (unsigned int i = 0; i < ARRAY_SIZE(v->mail.irr); i++) {
        uint32_t irr, tmr;

        if (__atomic_load_n(&v->mail.irr[i], __ATOMIC_RELAXED) == 0)
            continue;
        irr = __atomic_exchange_n(&v->mail.irr[i], 0, __ATOMIC_ACQUIRE);
        tmr = __atomic_fetch_and(&v->mail.tmr[i], ~irr, __ATOMIC_RELAXED);
        for (; irr != 0; irr &= irr - 1) {
            unsigned int bit = (unsigned int)__builtin_ctz(irr);
            lapic_accept(&v->lapic, (uint8_t)(i * 32 + bit), tmr >> bit & 1);
        }
    }
    vcpu_kick(v);
}

/* What a vCPU that is off, or waits for a start-up IPI, has no use for. */
static void drop_interrupts(struct vcpu *v)
{
    for (unsigned int i = 0; i < ARRAY_SIZE(v->mail.irr); i++) {
        __atomic_store_n(&v->mail.irr[i], 0, __ATOMIC_RELAXED);
        __atomic_store_n(&v->mail.tmr[i], 0, __ATOMIC_RELAXED);
    }
}

/* INIT before the start-up IPI that follows it, both before interrupts. */
static void take_signals(struct vcpu *v, uint32_t what)
{
    if (what & POSTED_INIT) {
        drop_interrupts(v);
        vcpu_init_signal(v);
    }
    if (what & POSTED_STARTUP)
        vcpu_startup_signal(v, __atomic_load_n(&v->mail.startup, __ATOMIC_RELAXED));
    if (v->state == VCPU_WAITING) {
        drop_interrupts(v);
        return;
    }
    if (what & POSTED_INTERRUPTS)
        take_interrupts(v);
    if (what & POSTED_NMI)
        vcpu_nmi(v);
    if (what & POSTED_EXTINT)
        vcpu_kick(v);
    if (what & POSTED_UNHALT)
        vcpu_unhalt(v);
}

static void take_devices(struct vm *vm, uint32_t what)
{
    vm_lock(vm);
    if (what & POSTED_INPUT)
        platform_feed_input(vm);
    if (what & POSTED_BUTTON)
        platform_power_button(vm);
    if (what & POSTED_DEVICES)
        platform_arm_device_timer(vm);
    vm_unlock(vm);
}

/* A start comes before all that is posted with it: mail_start(). */
static void take(struct vcpu *v, uint32_t what)
{
    if (what & (POSTED_STOP | POSTED_START))
        drop_interrupts(v);
    if (what & POSTED_START)
        vm_start_vcpu(v);
    if (what & POSTED_STOP) {
        vm_stop_vcpu(v);
        return;
    }
    if (what & POSTED_DUMP)
        vm_dump_to_console(v);
    if (v->state == VCPU_STOPPED)
        return;
    if (what & POSTED_MOVED)
        sched_moved_in(v);
    if (what & POSTED_FLUSH)
        vm_flush_vcpu(v);
    if (what & (POSTED_INPUT | POSTED_BUTTON | POSTED_DEVICES))
        take_devices(v->vm, what);
    if (what & POSTED_YIELD_TO)
        sched_prefer(v);
    take_signals(v, what);
}

static void hear_init(struct vcpu *v)
{
    if (unlikely(has_init(__atomic_load_n(&v->mail.posted, __ATOMIC_RELAXED))))
        __atomic_store_n(&v->mail.deaf, true, __ATOMIC_SEQ_CST);
}

void mail_empty(void)
{
    struct vcpu *v = __atomic_exchange_n(&cpu_mails[this_cpu->id].inbox, NULL, __ATOMIC_SEQ_CST);

    for (unsigned int taken = 0; v; taken++) {
        struct vcpu *next = v->mail.next; /* it may get mail again at once */

        if (taken >= VCPUS_AT_ONCE) {
            push(v, this_cpu->id);
        } else if (vcpu_is_here(v)) {
            hear_init(v);
            take(v, __atomic_exchange_n(&v->mail.posted, 0, __ATOMIC_SEQ_CST));
        } else {
            push(v, v->cpu);
            notify(v->cpu);
        }
        v = next;
    }
}
