/* Time: the TSC over exits, its MSRs, and against the PIT and the ACPI timer. */

#include "check.h"

#define PM_TIMER       0x608 /* Bulkhead and QEMU */
#define PM_TIMER_BOCHS 0xb008
#define PM_HZ          3579545ull
#define PM_MASK        0xffffffu /* 24 bits at least (ACPI 6.5, 4.8.3.3) */
#define ROUNDS         64u
#define JUMP           0x1000000000ull
#define WAIT_US        3000ull
#define TRIES          5u

SNIPPET(k_halt, "sti; hlt; cli");

static void check_monotonic(void)
{
    uint64_t last = rdtsc(), backwards = 0, length = 0;

    for (unsigned int i = 0; i < ROUNDS; i++) {
        switch (i % 4) {
        case 0: cpuid(0, 0); break;
        case 1: inb(0x61); break;
        case 2: (void)lapic_read(LAPIC_REG_VERSION); break;
        default: break;
        }
        uint64_t now = rdtsc();
        backwards += now < last;
        length += now - last;
        last = now;
    }
    check_eq("monotonic", backwards, 0);
    check_that("runs", length > 0, length, "more than 0");
}

static void check_msr(void)
{
    uint64_t before = rdtsc(), msr = rdmsr(MSR_TSC), after = rdtsc();

    check_that("msr-agrees", msr >= before && msr <= after, msr - before, "a value in between");
    if (has.rdtscp) {
        uint32_t lo, hi, aux;

        before = rdtsc();
        __asm__ volatile("rdtscp" : "=a"(lo), "=d"(hi), "=c"(aux));
        after = rdtsc();
        uint64_t p = (uint64_t)hi << 32 | lo;
        check_that("rdtscp-agrees", p >= before && p <= after, p - before, "a value in between");
    }
    before = rdtsc();
    wrmsr(MSR_TSC, before + JUMP);
    after = rdtsc();
    check_that("write", after >= before + JUMP, after - before, "the new value");
    if (!has.tsc_adjust) {
        check_skip("adjust", "no TSC_ADJUST");
        wrmsr(MSR_TSC, rdtsc() - JUMP);
        return;
    }
    check_range("write-shows-in-adjust", rdmsr(MSR_TSC_ADJUST), JUMP - JUMP / 16, JUMP);
    uint64_t adjust = rdmsr(MSR_TSC_ADJUST);
    before = rdtsc();
    wrmsr(MSR_TSC_ADJUST, adjust + JUMP);
    after = rdtsc();
    check_range("adjust", after - before, JUMP, JUMP + JUMP / 2);
    check_eq("adjust-reads-back", rdmsr(MSR_TSC_ADJUST), adjust + JUMP);
    wrmsr(MSR_TSC_ADJUST, 0);
    check_that("adjust-back", rdtsc() < before, rdtsc(), "a smaller value");
    check_eq("adjust-0", rdmsr(MSR_TSC_ADJUST), 0);
}

/* Ticks of the ACPI timer in a while, in thousandths of what the TSC says. */
static uint64_t compare_clocks(uint16_t port)
{
    uint64_t per_ms = guest_tsc_per_ms();
    uint32_t pm = inl(port);
    uint64_t tsc = rdtsc();

    guest_wait_us(WAIT_US);
    uint32_t pm_ticks = (inl(port) - pm) & PM_MASK;
    uint64_t us = (rdtsc() - tsc) * 1000 / per_ms;
    return pm_ticks * 1000000ull / PM_HZ * 1000 / us;
}

/* The best of some: another program of the machine may come between two readings. */
static void check_clocks(void)
{
    uint16_t port = inl(PM_TIMER) != UINT32_MAX ? PM_TIMER : PM_TIMER_BOCHS;
    uint64_t ratio = 0;

    for (unsigned int i = 0; i < TRIES && (ratio < 950 || ratio > 1050); i++)
        ratio = compare_clocks(port);
    check_range("acpi-timer", ratio, 950, 1050);
}

/* A LAPIC timer's time passes for the TSC, too, while the CPU is halted. */
static void check_halt(void)
{
    struct guest_regs r = {0};
    uint64_t per_ms = guest_tsc_per_ms();

    lapic_write(LAPIC_REG_TIMER_DIV, 0xb);
    lapic_write(LAPIC_REG_LVT_TIMER, 0x10071);
    lapic_write(LAPIC_REG_TIMER_INIT, UINT32_MAX);
    uint64_t begin = rdtsc();
    uint32_t count = lapic_read(LAPIC_REG_TIMER_CUR);
    guest_wait_us(1000);
    count -= lapic_read(LAPIC_REG_TIMER_CUR);
    uint64_t ms1000 = (rdtsc() - begin) * 1000 / per_ms;
    uint32_t per_lapic_ms = (uint32_t)(count * 1000ull / ms1000);
    lapic_write(LAPIC_REG_LVT_TIMER, 0x71);
    begin = rdtsc();
    lapic_write(LAPIC_REG_TIMER_INIT, 2 * per_lapic_ms);
    guest_exec(k_halt, &r);
    check_range("runs-while-halted", (rdtsc() - begin) * 100 / per_ms, 190, 100000);
    lapic_write(LAPIC_REG_LVT_TIMER, 0x10000);
}

void group_tsc(void)
{
    check_monotonic();
    check_msr();
    check_clocks();
    check_halt();
}
