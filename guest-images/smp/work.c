/* Work whose progress is seen from outside. */

#include "smp.h"

#define PING_MS  2000
#define VEC_PING 0x55
#define CHUNK    1000

/* --- shares of the processors --- */

static void count(struct smp_cpu *me, uint64_t arg)
{
    for (;;)
        me->beat++;
}

static void print_counts(uint64_t second, bool each)
{
    static uint64_t last[SMP_MAX];
    uint64_t sum = 0;

    for (unsigned int i = 0; i < smp_count; i++) {
        uint64_t beat = smp_cpus[i].beat;
        uint64_t value = each ? beat - last[i] : beat;
        last[i] = beat;
        sum += value;
        if (each)
            print("share %llu cpu%u %llu\n", LLU(second), i, LLU(value));
    }
    print("%s %llu all %llu\n", each ? "share" : "counter", LLU(second), LLU(sum));
}

static void count_all(bool each)
{
    uint64_t from = rdtsc();

    for (unsigned int i = 1; i < smp_count; i++)
        smp_ask(&smp_cpus[i], count, 0);
    for (uint64_t second = 1;; second++) {
        while (rdtsc() - from < second * 1000 * smp_tsc_ms)
            for (unsigned int i = 0; i < CHUNK; i++)
                smp_cpus[0].beat++;
        print_counts(second, each);
    }
}

void work_share(void)
{
    count_all(true);
}

void work_counter(void)
{
    count_all(false);
}

/* --- memory that is taken away under their feet --- */

#define WATCHED (12ull << 20)
#define GONE    (~0ull) /* what reads where no memory is */

static volatile uint64_t reads[SMP_MAX];
static volatile bool gone[SMP_MAX];

static void watch(struct smp_cpu *me, uint64_t arg)
{
    for (;;) {
        gone[me->index] = *(volatile uint64_t *)WATCHED == GONE;
        reads[me->index]++;
    }
}

static unsigned int gone_on(void)
{
    unsigned int n = 0;

    for (unsigned int i = 1; i < smp_count; i++)
        n += gone[i];
    return n;
}

/* Tells how many see memory there, whenever that changes. */
void work_watch(void)
{
    unsigned int last = UINT32_MAX;

    *(volatile uint64_t *)WATCHED = 0x1234;
    for (unsigned int i = 1; i < smp_count; i++)
        smp_ask(&smp_cpus[i], watch, 0);
    for (;;) {
        unsigned int now = gone_on();
        if (now == last)
            continue;
        smp_wait_us(20000);
        if (gone_on() == now) {
            print("watch: gone on %u of %u\n", now, smp_count - 1);
            last = now;
        }
    }
}

void work_idle(void)
{
    print("idle\n");
    smp_work_loop(&smp_cpus[0]);
}

/* --- ping-pong for a long time, with a deadline for each --- */

static volatile uint32_t pings;

static void on_ping(struct guest_frame *f)
{
    struct smp_cpu *me = smp_me();

    pings++;
    me->stamp = rdtsc();
    lapic_eoi();
    if (me->index)
        smp_send(smp_cpus[0].apic_id, ICR_ASSERT | VEC_PING);
}

void work_ping(uint64_t seconds)
{
    uint64_t start = rdtsc(), said = start, worst = 0, rounds = 0, lost = 0, seed = 1;

    guest_on(VEC_PING, on_ping);
    while (smp_count > 1 && (!seconds || rdtsc() - start < seconds * 1000 * smp_tsc_ms)) {
        struct smp_cpu *cpu = &smp_cpus[1 + smp_random(&seed) % (smp_count - 1)];
        uint64_t begin = rdtsc();
        pings = 0;
        smp_send(cpu->apic_id, ICR_ASSERT | VEC_PING);
        bool ok = SMP_WAIT(pings == 2);
        worst = MAX(worst, rdtsc() - begin);
        rounds++;
        if (!ok)
            print("LOST ping to %u: %u of 2 (%llu lost)\n", cpu->index, pings, LLU(++lost));
        if (rdtsc() - said >= PING_MS * smp_tsc_ms) {
            said = rdtsc();
            print("ping: %llu rounds, the slowest took %llu us\n", LLU(rounds),
                  LLU(worst * 1000 / smp_tsc_ms));
        }
    }
    print("ping-end: %llu lost\n", LLU(lost));
}
