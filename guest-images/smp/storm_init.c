/* The boot processor sends INIT and SIPI to the others, whatever they are doing; each start must
 * come in by a deadline, at the right page. */

#include "smp.h"

#define DELAY_US    200
#define PROGRESS_MS 3000
#define NATIVE_US   1000 /* QEMU takes the SIPI first, and ignores it, when both wait */
#define LOST_MAX    20
#define VEC_CHATTER 0x55

enum doing { COMPUTE, COMPUTE_CLOSED, HALT, HALT_CLOSED, IN_NMI, WAIT_SIPI, CHATTER, STATES };

static unsigned int lost;
static uint64_t starts_total, counted[STATES];

static void compute(struct smp_cpu *me, uint64_t arg)
{
    for (;;)
        me->beat++;
}

static void compute_closed(struct smp_cpu *me, uint64_t arg)
{
    interrupts_off();
    compute(me, arg);
}

static void halt_closed(struct smp_cpu *me, uint64_t arg)
{
    interrupts_off();
    for (;;)
        __asm__ volatile("hlt" ::: "memory");
}

static void halt(struct smp_cpu *me, uint64_t arg)
{
    for (;;)
        __asm__ volatile("sti; hlt" ::: "memory");
}

/* IPIs to all, as fast as it can. */
static void chatter(struct smp_cpu *me, uint64_t seed)
{
    seed |= 1;
    for (;;) {
        unsigned int to = smp_random(&seed) % smp_count;
        smp_send(smp_cpus[to].apic_id, ICR_ASSERT | VEC_CHATTER);
        for (uint32_t i = smp_random(&seed) % 256; i; i--)
            cpu_pause();
    }
}

static void put_into(struct smp_cpu *cpu, enum doing doing, uint64_t *seed)
{
    static smp_work *const works[STATES] = {
        [COMPUTE] = compute, [COMPUTE_CLOSED] = compute_closed,
        [HALT] = halt,       [HALT_CLOSED] = halt_closed,
        [CHATTER] = chatter,
    };

    switch (doing) {
    case IN_NMI:
        cpu->hold_nmi = true;
        smp_send(cpu->apic_id, ICR_NMI | ICR_ASSERT);
        break;
    case WAIT_SIPI: smp_send(cpu->apic_id, ICR_INIT | ICR_ASSERT); break;
    default: smp_ask(cpu, works[doing], smp_random(seed)); break;
    }
    if (smp_random(seed) % 2)
        smp_wait_us(smp_random(seed) % DELAY_US);
}

static void disturb(struct smp_cpu *cpu, uint64_t *seed)
{
    if (smp_random(seed) % 4 == 0)
        smp_send(cpu->apic_id, ICR_ASSERT | VEC_CHATTER);
    if (!smp_native && smp_random(seed) % 8 == 0)
        smp_send(cpu->apic_id, ICR_NMI | ICR_ASSERT);
}

static void delay(uint64_t *seed)
{
    if (smp_native)
        smp_wait_us(NATIVE_US);
    else if (smp_random(seed) % 2)
        smp_wait_us(smp_random(seed) % DELAY_US);
}

static void one_start(uint64_t *seed)
{
    struct smp_cpu *cpu = &smp_cpus[1 + smp_random(seed) % (smp_count - 1)];
    enum doing doing = smp_random(seed) % STATES;
    unsigned int page = smp_random(seed) % 2;

    put_into(cpu, doing, seed);
    disturb(cpu, seed);
    for (unsigned int i = smp_random(seed) % 8 == 0 ? 2 : 1; i; i--) {
        smp_send(cpu->apic_id, ICR_INIT | ICR_ASSERT);
        delay(seed);
    }
    /* `starts` does not change any more from here on, if INIT has reached it. */
    disturb(cpu, seed);
    uint32_t before = cpu->starts;
    unsigned int sipis = smp_native ? 2 : 1 + smp_random(seed) % 2;
    for (unsigned int i = 0; i < sipis; i++) {
        smp_send(cpu->apic_id, ICR_SIPI | ICR_ASSERT | smp_pages[page] >> 12);
        if (smp_native)
            smp_wait_us(NATIVE_US);
    }
    bool ok = SMP_WAIT(cpu->starts != before) && cpu->page == smp_pages[page];
    cpu->hold_nmi = false;
    starts_total++;
    counted[doing]++;
    if (ok)
        return;
    lost++;
    if (lost <= LOST_MAX)
        print("LOST start of %u from state %u: %u starts, at 0x%x, expected 0x%x\n", cpu->index,
              doing, cpu->starts - before, cpu->page, smp_pages[page]);
    smp_restart(cpu, 0);
}

void storm_init(uint64_t seconds)
{
    uint64_t seed = guest_number("seed", 1) * 0x9e3779b97f4a7c15ull | 1;
    uint64_t start = rdtsc(), said = start;

    if (smp_count == 1) {
        print("storm-end: one CPU\n");
        return;
    }
    while (rdtsc() - start < seconds * 1000 * smp_tsc_ms) {
        one_start(&seed);
        if (rdtsc() - said >= smp_tsc_ms * PROGRESS_MS) {
            said += smp_tsc_ms * PROGRESS_MS;
            print("storm: %llu s, %llu starts, %u lost\n",
                  LLU((rdtsc() - start) / smp_tsc_ms / 1000), LLU(starts_total), lost);
        }
    }
    for (unsigned int i = 0; i < STATES; i++)
        print("info state %u: %llu starts\n", i, LLU(counted[i]));
    for (unsigned int i = 1; i < smp_count; i++)
        if (!smp_restart(&smp_cpus[i], 0))
            lost++;
    if (!smp_sync())
        lost++;
    print("storm-end: %u lost\n", lost);
}
