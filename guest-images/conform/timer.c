/* The LAPIC timer's modes (SDM vol. 3, 10.5.4). */

#include "check.h"

#define VEC      0x71
#define MASKED   0x10000u
#define PERIODIC 0x20000u
#define DEADLINE 0x40000u
#define DIV_1    0xbu
#define DIV_16   0x3u
#define PER_MS   2u /* `count` is half a millisecond: more than the way into a VM and out of it */
#define LONG     0x10000000u
#define FEW      3u
#define LIMIT    2000000u /* rounds of a loop that waits */

#define PERIODS 8u /* a period is so many `count`: time enough for handler and end of interrupt */

static uint32_t count; /* timer ticks in half a millisecond */

SNIPPET(t_open, "sti; nop; nop; nop; cli");
SNIPPET(t_halt, "sti; hlt; cli");

static void halt(void)
{
    struct guest_regs r = {0};

    guest_exec(t_halt, &r);
}

static void open_interrupts(void)
{
    struct guest_regs r = {0};

    guest_exec(t_open, &r);
}

static void start(uint32_t lvt, uint32_t initial)
{
    guest_irq_clear();
    lapic_write(LAPIC_REG_TIMER_DIV, DIV_1);
    lapic_write(LAPIC_REG_LVT_TIMER, lvt);
    lapic_write(LAPIC_REG_TIMER_INIT, initial);
}

static void stop(void)
{
    lapic_write(LAPIC_REG_TIMER_INIT, 0);
    lapic_write(LAPIC_REG_LVT_TIMER, MASKED);
    open_interrupts();
}

/* Until the count has run out, without taking interrupts. */
static void wait_for_zero(void)
{
    for (unsigned int i = 0; i < LIMIT && lapic_read(LAPIC_REG_TIMER_CUR) != 0; i++) {
    }
}

static uint32_t in_irr(void)
{
    return lapic_read(LAPIC_REG_IRR + VEC / 32 * 16) >> VEC % 32 & 1;
}

static void check_one_shot(void)
{
    uint32_t first, second;

    start(VEC, LONG);
    first = lapic_read(LAPIC_REG_TIMER_CUR);
    second = lapic_read(LAPIC_REG_TIMER_CUR);
    check_range("counts-down", first, 1, LONG);
    check_that("counts-down-further", second < first, second, "less than before");
    check_eq("initial-count-kept", lapic_read(LAPIC_REG_TIMER_INIT), LONG);
    lapic_write(LAPIC_REG_TIMER_INIT, 0);
    check_eq("stopped", lapic_read(LAPIC_REG_TIMER_CUR), 0);
    start(VEC, count);
    halt();
    check_eq("one-shot-wakes", guest_interrupts[VEC], 1);
    check_eq("one-shot-rip", guest_irq_log[0].rip, (uintptr_t)t_halt + 2);
    check_eq("one-shot-at-zero", lapic_read(LAPIC_REG_TIMER_CUR), 0);
    open_interrupts();
    check_eq("one-shot-once", guest_irq_count, 1);
    stop();
    start(VEC | MASKED, count);
    wait_for_zero();
    open_interrupts();
    check_eq("masked-counts", lapic_read(LAPIC_REG_TIMER_CUR), 0);
    check_eq("masked", guest_irq_count, 0);
    stop();
    start(VEC, count);
    wait_for_zero();
    for (unsigned int i = 0; i < FEW && !in_irr(); i++) {
    }
    check_eq("waits-in-irr", in_irr(), 1);
    open_interrupts();
    check_eq("comes-with-sti", guest_irq_count, 1);
    stop();
}

static void check_periodic(void)
{
    start(VEC | PERIODIC, PERIODS * count);
    check_eq("periodic-lvt", lapic_read(LAPIC_REG_LVT_TIMER) & 0x70000, PERIODIC);
    for (unsigned int i = 0; i < FEW; i++)
        halt();
    check_range("periodic", guest_interrupts[VEC], FEW, UINT32_MAX);
    stop();
    guest_irq_clear();
    open_interrupts();
    check_eq("periodic-stopped", guest_irq_count, 0);
}

/* In a millisecond. */
static uint64_t ticks_of(uint32_t divide)
{
    lapic_write(LAPIC_REG_LVT_TIMER, VEC | MASKED);
    lapic_write(LAPIC_REG_TIMER_DIV, divide);
    lapic_write(LAPIC_REG_TIMER_INIT, LONG);
    uint32_t begin = lapic_read(LAPIC_REG_TIMER_CUR);
    uint64_t tsc = rdtsc();
    guest_wait_us(1000);
    /* The TSC says how long it really was: the machine may have other work. */
    uint32_t end = lapic_read(LAPIC_REG_TIMER_CUR);
    return (begin - end) * guest_tsc_per_ms() / (rdtsc() - tsc);
}

static void check_divide(void)
{
    uint64_t by_1 = ticks_of(DIV_1), by_16 = ticks_of(DIV_16);

    check_range("divided-by-16", by_16 * 1000 / (by_1 + 1), 1000 / 16 / 2, 1000 / 16 * 2);
    check_eq("divide-register", lapic_read(LAPIC_REG_TIMER_DIV), DIV_16);
    stop();
}

static void check_deadline(void)
{
    uint64_t begin, length = guest_tsc_per_ms() / 2;

    if (!has.tsc_deadline) {
        check_skip("deadline", "no TSC deadline mode");
        return;
    }
    guest_irq_clear();
    lapic_write(LAPIC_REG_LVT_TIMER, VEC | DEADLINE);
    check_eq("deadline-lvt", lapic_read(LAPIC_REG_LVT_TIMER) & 0x70000, DEADLINE);
    begin = rdtsc();
    wrmsr(MSR_TSC_DEADLINE, begin + length);
    check_eq("deadline-read", rdmsr(MSR_TSC_DEADLINE), begin + length);
    halt();
    check_eq("deadline-wakes", guest_interrupts[VEC], 1);
    check_that("deadline-not-early", rdtsc() - begin >= length, rdtsc() - begin, "the whole time");
    check_eq("deadline-disarmed", rdmsr(MSR_TSC_DEADLINE), 0);
    guest_irq_clear();
    wrmsr(MSR_TSC_DEADLINE, 1);
    open_interrupts();
    check_eq("deadline-in-the-past", guest_irq_count, 1);
    guest_irq_clear();
    wrmsr(MSR_TSC_DEADLINE, rdtsc() + guest_tsc_per_ms() * 1000);
    wrmsr(MSR_TSC_DEADLINE, 0);
    check_eq("deadline-cancelled", rdmsr(MSR_TSC_DEADLINE), 0);
    lapic_write(LAPIC_REG_TIMER_INIT, count);
    check_eq("deadline-ignores-count", lapic_read(LAPIC_REG_TIMER_CUR), 0);
    lapic_write(LAPIC_REG_LVT_TIMER, VEC);
    wrmsr(MSR_TSC_DEADLINE, rdtsc() + length);
    check_eq("deadline-in-other-mode", rdmsr(MSR_TSC_DEADLINE), 0);
    stop();
}

void group_timer(void)
{
    count = (uint32_t)ticks_of(DIV_1) / PER_MS;
    stop();
    check_one_shot();
    check_periodic();
    check_divide();
    check_deadline();
}
