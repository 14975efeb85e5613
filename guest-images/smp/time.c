/* One time for all: the TSC, and everybody's timer at once. */

#include "smp.h"

#define ROUNDS           24
#define TICKS            4
#define TIMER_US         5000
#define PING_ROUNDS      200
#define CPUID1C_DEADLINE BIT(24)
#define CPUID7B_ADJUST   BIT(1)
#define ADJUST           0x100000000000ull

static struct {
    volatile uint32_t ping ALIGNED(64);
    volatile uint32_t pong ALIGNED(64);
    volatile uint64_t stamp;
} ball;

static void answer(struct smp_cpu *me, uint64_t arg)
{
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        SMP_WAIT(ball.ping == i);
        ball.stamp = rdtsc_ordered();
        __atomic_store_n(&ball.pong, i, __ATOMIC_SEQ_CST);
    }
}

/* How often time went backwards between this CPU and that one; the difference by its best round. */
static unsigned int backwards(struct smp_cpu *cpu, int64_t *offset, uint64_t *error)
{
    unsigned int bad = 0;

    *error = UINT64_MAX;
    ball.ping = ball.pong = 0;
    smp_ask(cpu, answer, 0);
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        uint64_t t0 = rdtsc_ordered();
        __atomic_store_n(&ball.ping, i, __ATOMIC_SEQ_CST);
        if (!SMP_WAIT(ball.pong == i))
            return ROUNDS;
        uint64_t t1 = ball.stamp, t2 = rdtsc_ordered();
        bad += t1 < t0 || t2 < t1;
        if (t2 - t0 < *error) {
            *error = t2 - t0;
            *offset = (int64_t)(t1 - t0 - (t2 - t0) / 2);
        }
    }
    smp_wait(cpu);
    return bad;
}

static void check_tsc(const char *name)
{
    unsigned int bad = 0;
    int64_t most = 0, offset = 0;
    uint64_t error = 0, its_error = 0;

    for (unsigned int i = 1; i < smp_count; i++) {
        bad += backwards(&smp_cpus[i], &offset, &error);
        if ((offset < 0 ? -offset : offset) >= (most < 0 ? -most : most)) {
            most = offset;
            its_error = error;
        }
    }
    check_eq(name, bad, 0);
    print("info %s: at most %lld ticks off, +- %llu\n", name, (long long)most, LLU(its_error / 2));
}

static void add_adjust(struct smp_cpu *me, uint64_t arg)
{
    uint64_t before = rdtsc();

    wrmsr(MSR_TSC_ADJUST, rdmsr(MSR_TSC_ADJUST) + arg);
    me->result = rdtsc() - before;
}

static void check_adjust(void)
{
    struct smp_cpu *cpu = &smp_cpus[smp_count - 1];
    uint64_t here = rdtsc();

    if (!(cpuid(7, 0).ebx & CPUID7B_ADJUST)) {
        check_skip("tsc-adjust", "no TSC_ADJUST");
        return;
    }
    smp_call(cpu, add_adjust, ADJUST);
    check_that("tsc-adjust-there", cpu->result >= ADJUST, cpu->result, "a jump");
    check_that("tsc-adjust-not-here", rdtsc() - here < ADJUST, rdtsc() - here, "no jump");
    smp_call(cpu, add_adjust, 0 - ADJUST);
    check_tsc("tsc-adjusted-back");
}

/* --- timers --- */

static void arm_deadline(struct smp_cpu *me, uint64_t at)
{
    lapic_write(LAPIC_REG_LVT_TIMER, LVT_DEADLINE | VEC_TIMER);
    __asm__ volatile("mfence" ::: "memory"); /* SDM vol. 3, 10.5.4.1 */
    me->stamp = 0;
    wrmsr(MSR_TSC_DEADLINE, at);
}

static uint32_t counts_per_ms;

static void arm_one_shot(struct smp_cpu *me, uint64_t us)
{
    lapic_write(LAPIC_REG_TIMER_DIV, TIMER_DIV_1);
    lapic_write(LAPIC_REG_LVT_TIMER, VEC_TIMER);
    me->stamp = 0;
    lapic_write(LAPIC_REG_TIMER_INIT, (uint32_t)(counts_per_ms * us / 1000));
}

static void arm_periodic(struct smp_cpu *me, uint64_t us)
{
    lapic_write(LAPIC_REG_TIMER_DIV, TIMER_DIV_1);
    lapic_write(LAPIC_REG_LVT_TIMER, LVT_PERIODIC | VEC_TIMER);
    lapic_write(LAPIC_REG_TIMER_INIT, (uint32_t)(counts_per_ms * us / 1000));
}

static void disarm(struct smp_cpu *me, uint64_t arg)
{
    lapic_write(LAPIC_REG_TIMER_INIT, 0);
    lapic_write(LAPIC_REG_LVT_TIMER, LVT_MASKED);
}

static void on_timer(struct guest_frame *f)
{
    struct smp_cpu *me = smp_me();

    me->stamp = rdtsc();
    me->counts[VEC_TIMER]++;
    lapic_eoi();
}

static unsigned int fewer_than(unsigned int count)
{
    unsigned int bad = 0;

    for (unsigned int i = 0; i < smp_count; i++)
        bad += smp_cpus[i].counts[VEC_TIMER] < count;
    return bad;
}

static unsigned int not_once(void)
{
    unsigned int bad = 0;

    for (unsigned int i = 0; i < smp_count; i++)
        bad += smp_cpus[i].counts[VEC_TIMER] != 1;
    return bad;
}

static void check_deadline(void)
{
    unsigned int early = 0;

    if (!(cpuid(1, 0).ecx & CPUID1C_DEADLINE)) {
        check_skip("deadline-all", "no TSC deadline mode");
        return;
    }
    smp_clear_counts();
    uint64_t at = rdtsc() + smp_tsc_ms * TIMER_US / 1000;
    smp_call_all(arm_deadline, at, true);
    SMP_WAIT(!fewer_than(1));
    smp_sync();
    check_eq("deadline-all", not_once(), 0);
    for (unsigned int i = 0; i < smp_count; i++)
        early += smp_cpus[i].stamp < at;
    check_eq("deadline-not-early", early, 0);
    smp_call_all(disarm, 0, true);
}

static void measure_counts(void)
{
    lapic_write(LAPIC_REG_TIMER_DIV, TIMER_DIV_1);
    lapic_write(LAPIC_REG_LVT_TIMER, LVT_MASKED);
    lapic_write(LAPIC_REG_TIMER_INIT, UINT32_MAX);
    uint64_t start = rdtsc();
    smp_wait_us(1000);
    uint32_t left = lapic_read(LAPIC_REG_TIMER_CUR);
    counts_per_ms = (uint32_t)((uint64_t)(UINT32_MAX - left) * smp_tsc_ms / (rdtsc() - start));
    disarm(smp_me(), 0);
}

static void check_timers(void)
{
    guest_on(VEC_TIMER, on_timer);
    check_deadline();
    measure_counts();
    smp_clear_counts();
    smp_call_all(arm_one_shot, TIMER_US, true);
    SMP_WAIT(!fewer_than(1));
    smp_wait_us(TIMER_US);
    smp_sync();
    check_eq("one-shot-all", not_once(), 0);
    smp_clear_counts();
    smp_call_all(arm_periodic, TIMER_US, true);
    check_eq("periodic-all", SMP_WAIT(!fewer_than(TICKS)), true);
    smp_call_all(disarm, 0, true);
    smp_clear_counts();
    smp_wait_us(2 * TIMER_US);
    check_eq("periodic-all-stopped", fewer_than(1), smp_count);
}

/* --- ping-pong by IPIs --- */

static struct smp_cpu *other;
static volatile uint32_t throws;

static void on_ball(struct guest_frame *f)
{
    smp_me()->counts[VEC_IRQ]++;
    lapic_eoi();
    if (++throws < PING_ROUNDS * 2)
        smp_send(smp_me() == other ? smp_cpus[0].apic_id : other->apic_id, ICR_ASSERT | VEC_IRQ);
}

static void check_ping_pong(void)
{
    unsigned int bad = 0;
    uint64_t start = rdtsc();

    guest_on(VEC_IRQ, on_ball);
    for (unsigned int i = 1; i < smp_count; i += smp_stride()) {
        other = &smp_cpus[i];
        throws = 0;
        smp_clear_counts();
        smp_send(other->apic_id, ICR_ASSERT | VEC_IRQ);
        SMP_WAIT_TICKS(throws == PING_ROUNDS * 2, 4 * smp_patience);
        bad += other->counts[VEC_IRQ] != PING_ROUNDS || smp_cpus[0].counts[VEC_IRQ] != PING_ROUNDS;
    }
    check_eq("ping-pong", bad, 0);
    print("info ping-pong: %llu ticks a round trip\n",
          LLU((rdtsc() - start) / PING_ROUNDS / (smp_count - 1)));
}

void group_time(void)
{
    check_timers();
    if (smp_count == 1) {
        check_skip("tsc", "one CPU");
        return;
    }
    check_tsc("tsc");
    check_adjust();
    check_eq("tsc-restart", smp_restart(&smp_cpus[smp_count - 1], 0), true);
    check_tsc("tsc-after-restart");
    check_ping_pong();
}
