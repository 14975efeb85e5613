/* All CPUs send one another IPIs, and sleep in between. Each pair of them has a slot with a
 * sequence number and a vector of its own: an IPI that nobody takes within smp_patience is lost,
 * and said so. A CPU that is woken sends at least one, unless all that it has sent are still on
 * their way: so the storm never ends by itself. */

#include "smp.h"

#define VEC_STORM   0x40 /* + the sender's index */
#define TICK_MS     10
#define PROGRESS_MS 3000
#define SPIN_MAX    2000
#define TPR_ABOVE   0x90u /* the storm's vectors are below */
#define FLAT_BITS   8u
#define SELF_MAX    8
#define LOST_MAX    20

struct slot {
    volatile uint32_t sent, seen;     /* fixed interrupts */
    volatile uint32_t nmi, nmi_seen;  /* NMIs, of which one waits at most: those merge */
    volatile uint64_t when, nmi_when; /* TSC */
    volatile bool lost;
};
static struct slot slots[SMP_MAX][SMP_MAX]; /* [to][from] */
static volatile bool over, quiet;           /* `quiet`: no new ones */
static volatile uint64_t sent_total[SMP_MAX], worst[SMP_MAX];
static volatile bool woken[SMP_MAX];
static volatile uint32_t at_work;
static unsigned int lost;

static void note_late(struct smp_cpu *me, uint64_t when)
{
    uint64_t ticks = rdtsc() - when;

    if ((int64_t)ticks > (int64_t)worst[me->index])
        worst[me->index] = ticks;
}

static void on_storm(struct guest_frame *f)
{
    struct smp_cpu *me = smp_me();
    struct slot *s = &slots[me->index][f->vector - VEC_STORM];

    note_late(me, s->when);
    s->seen = s->sent;
    woken[me->index] = true;
    lapic_eoi();
}

static void on_nmi_storm(struct guest_frame *f)
{
    struct smp_cpu *me = smp_me();

    me->counts[VEC_NMI]++;
    for (unsigned int i = 0; i < smp_count; i++) {
        struct slot *s = &slots[me->index][i];
        if (s->nmi_seen != s->nmi)
            s->nmi_seen = s->nmi;
    }
    woken[me->index] = true;
}

static void on_tick(struct guest_frame *f)
{
    lapic_eoi();
}

static bool is_free(const struct slot *s)
{
    return s->sent == s->seen && s->nmi == s->nmi_seen;
}

static void mark_sent(struct smp_cpu *me, unsigned int to)
{
    struct slot *s = &slots[to][me->index];

    s->when = rdtsc();
    __atomic_store_n(&s->sent, s->sent + 1, __ATOMIC_SEQ_CST);
    sent_total[me->index]++;
}

static uint32_t logical_of(unsigned int index)
{
    uint32_t id = smp_cpus[index].apic_id;

    return lapic_is_x2() ? id >> 4 << 16 | BIT(id & 15) : BIT(index);
}

static bool has_logical(void)
{
    return lapic_is_x2() || smp_count <= FLAT_BITS;
}

/* All others, if none of them has one on its way. */
static bool send_all(struct smp_cpu *me)
{
    for (unsigned int i = 0; i < smp_count; i++)
        if (i != me->index && !is_free(&slots[i][me->index]))
            return false;
    for (unsigned int i = 0; i < smp_count; i++)
        if (i != me->index)
            mark_sent(me, i);
    smp_send(0, ICR_TO_OTHER | ICR_ASSERT | (VEC_STORM + me->index));
    return true;
}

static bool send_one(struct smp_cpu *me, unsigned int to, uint32_t kind)
{
    struct slot *s = &slots[to][me->index];

    if (!is_free(s))
        return false;
    if (kind < 10 && to != me->index) {
        s->nmi_when = rdtsc();
        __atomic_store_n(&s->nmi, s->nmi + 1, __ATOMIC_SEQ_CST);
        sent_total[me->index]++;
        smp_send(smp_cpus[to].apic_id, ICR_NMI | ICR_ASSERT);
        return true;
    }
    mark_sent(me, to);
    if (kind < 30 && has_logical())
        smp_send(logical_of(to), ICR_LOGICAL | ICR_ASSERT | (VEC_STORM + me->index));
    else
        smp_send(smp_cpus[to].apic_id, ICR_ASSERT | (VEC_STORM + me->index));
    return true;
}

static void send_some(struct smp_cpu *me, uint64_t *seed)
{
    unsigned int more = 1 + smp_random(seed) % 2;

    if (smp_random(seed) % 32 == 0 && send_all(me))
        return;
    /* From a random one on, so that each that is free is found. */
    unsigned int start = smp_random(seed);
    for (unsigned int i = 0; i < smp_count && more; i++) {
        unsigned int to = (start + i) % smp_count;
        /* To itself only now and then: it must not keep itself awake. */
        if (to == me->index && (smp_count > 1 && smp_random(seed) % SELF_MAX))
            continue;
        if (send_one(me, to, smp_random(seed) % 100))
            more--;
    }
}

static void pass_time(uint64_t *seed)
{
    uint32_t kind = smp_random(seed) % 16, length = smp_random(seed) % SPIN_MAX;

    switch (kind) {
    case 0: /* interrupts off */
        interrupts_off();
        for (uint32_t i = 0; i < length; i++)
            cpu_pause();
        interrupts_on();
        break;
    case 1: /* exits */
        for (uint32_t i = 0; i < length / 512; i++)
            (void)cpuid(0, 0);
        break;
    case 2: /* behind the TPR */
        lapic_write(LAPIC_REG_TPR, TPR_ABOVE);
        for (uint32_t i = 0; i < length; i++)
            cpu_pause();
        lapic_write(LAPIC_REG_TPR, 0);
        break;
    case 3:
    case 4:
        for (uint32_t i = 0; i < length; i++)
            cpu_pause();
        break;
    default: break;
    }
}

static void take_part(struct smp_cpu *me, uint64_t *seed)
{
    if (!quiet)
        send_some(me, seed);
    pass_time(seed);
    interrupts_off();
    if (!woken[me->index] && !over)
        interrupts_wait();
    woken[me->index] = false;
    interrupts_on();
}

static void storm_loop(struct smp_cpu *me, uint64_t seed)
{
    seed = (seed + 1) * 0x9e3779b97f4a7c15ull + me->index * 0xbf58476d1ce4e5b9ull;
    __atomic_add_fetch(&at_work, 1, __ATOMIC_SEQ_CST);
    while (!over)
        take_part(me, &seed);
}

static void look_for_lost(void)
{
    for (unsigned int to = 0; to < smp_count; to++) {
        for (unsigned int from = 0; from < smp_count; from++) {
            struct slot *s = &slots[to][from];
            bool nmi = s->nmi != s->nmi_seen, fixed = s->sent != s->seen;
            uint64_t when = fixed ? s->when : s->nmi_when, now = rdtsc();
            if (s->lost || !(nmi || fixed) || now - when < smp_patience || now < when)
                continue;
            if (fixed ? s->sent == s->seen : s->nmi == s->nmi_seen)
                continue; /* just now */
            s->lost = true;
            lost++;
            if (lost <= LOST_MAX)
                print("LOST %s from %u to %u, %llu ms ago\n", fixed ? "IPI" : "NMI", from, to,
                      LLU((now - when) / smp_tsc_ms));
        }
    }
}

static void progress(uint64_t start)
{
    uint64_t sum = 0, late = 0;

    for (unsigned int i = 0; i < smp_count; i++) {
        sum += sent_total[i];
        late = MAX(late, worst[i]);
    }
    print("storm: %llu s, %llu IPIs, the slowest took %llu us, %u lost\n",
          LLU((rdtsc() - start) / smp_tsc_ms / 1000), LLU(sum), LLU(late * 1000 / smp_tsc_ms),
          lost);
}

static void set_flat(struct smp_cpu *me, uint64_t arg)
{
    if (lapic_is_x2())
        return;
    lapic_write(LAPIC_REG_DFR, UINT32_MAX);
    lapic_write(LAPIC_REG_LDR, me->index < FLAT_BITS ? BIT(me->index) << 24 : 0);
}

/* The LAPIC timer of this CPU, which otherwise might sleep while something is lost. */
static void start_tick(void)
{
    lapic_write(LAPIC_REG_TIMER_DIV, TIMER_DIV_1);
    lapic_write(LAPIC_REG_LVT_TIMER, LVT_MASKED);
    lapic_write(LAPIC_REG_TIMER_INIT, UINT32_MAX);
    uint64_t start = rdtsc();
    smp_wait_us(1000);
    uint64_t counts =
        (UINT32_MAX - lapic_read(LAPIC_REG_TIMER_CUR)) * smp_tsc_ms * TICK_MS / (rdtsc() - start);
    guest_on(VEC_HIGH, on_tick);
    lapic_write(LAPIC_REG_LVT_TIMER, LVT_PERIODIC | VEC_HIGH);
    lapic_write(LAPIC_REG_TIMER_INIT, (uint32_t)counts);
}

static void run_storm(uint64_t ticks, uint64_t *seed)
{
    uint64_t start = rdtsc(), said = start;

    while (rdtsc() - start < ticks) {
        take_part(&smp_cpus[0], seed);
        look_for_lost();
        if (rdtsc() - said >= smp_tsc_ms * PROGRESS_MS) {
            said += smp_tsc_ms * PROGRESS_MS;
            progress(start);
        }
    }
    quiet = true;
    SMP_WAIT_TICKS(0, smp_patience + smp_tsc_ms * TICK_MS);
    look_for_lost();
    progress(start);
}

void storm_ipi(uint64_t seconds)
{
    uint64_t seed = guest_number("seed", 1);

    smp_call_all(set_flat, 0, true);
    for (unsigned int i = 0; i < smp_count; i++)
        guest_on(VEC_STORM + i, on_storm);
    guest_on(VEC_NMI, on_nmi_storm);
    for (unsigned int i = 1; i < smp_count; i++)
        smp_ask(&smp_cpus[i], storm_loop, seed);
    if (!SMP_WAIT(at_work == smp_count - 1))
        print("LOST the storm has not begun everywhere\n");
    start_tick();
    run_storm(seconds * 1000 * smp_tsc_ms, &seed);
    over = true;
    if (!smp_sync())
        print("LOST a CPU does not end\n");
    print("storm-end: %u lost\n", lost);
}
