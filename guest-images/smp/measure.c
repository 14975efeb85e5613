/* Figures for tests/bench, as the bench guest prints them: what IPIs, waking up and TLB flushes
 * between processors cost. In x2APIC mode. With the word `share` all share one pCPU. */

#include "smp.h"

#define SAMPLES   100u
#define SLEEP_US  50
#define VEC_PING  0x55 /* answered by VEC_PONG to CPU 0 */
#define VEC_PONG  0x56
#define VEC_FLUSH 0x57
#define VEC_WAKE  0x58
#define X2_ICR    0x830u

#define MSR_STEAL_TIME 0x4b564d03u
#define STEAL_ENABLE   1u
#define PREEMPTED      1u /* of the byte `preempted` */
#define FLUSH_TLB      2u
#define HC_SEND_IPI    10u
#define HC_YIELD_TO    11u

/* Short, so that most of a figure is not the guest's own: they keep all registers. */
#define SAVE "push %rax\npush %rcx\npush %rdx\n"
#define EOI  "mov $0x80b, %ecx\nxor %eax, %eax\nxor %edx, %edx\nwrmsr\n"
#define BACK "pop %rdx\npop %rcx\npop %rax\niretq\n"
__asm__(".pushsection .text\n"
        "smp_on_ping:\n" SAVE EOI "mov $0x830, %ecx\nmov $0x4056, %eax\nwrmsr\n" BACK
        "smp_on_pong:\n" SAVE "movl $1, smp_done\n" EOI BACK "smp_on_flush:\n" SAVE
        "invlpg 0x1000\nrdtsc\nmov %eax, smp_stamp\nmov %edx, smp_stamp+4\n"
        "movl $1, smp_done\n" EOI BACK "smp_on_wake:\n" SAVE EOI BACK ".popsection");
extern const uint8_t smp_on_ping[], smp_on_pong[], smp_on_flush[], smp_on_wake[];

volatile uint32_t smp_done;
volatile uint64_t smp_stamp;
static uint64_t samples[SAMPLES];
static volatile bool stop;

struct steal_area {
    uint8_t before[16];
    volatile uint8_t preempted;
    uint8_t rest[47];
};
static struct steal_area steal_areas[SMP_MAX] ALIGNED(64);

static void set_gate(unsigned int vector, const uint8_t *handler)
{
    uint64_t *gate = guest_gate(vector), at = (uintptr_t)handler;

    gate[0] = (gate[0] & 0x0000ffffffff0000) | (at & 0xffff) | (at & 0xffff0000) << 32;
    gate[1] = at >> 32;
}

static inline void send(uint32_t to, uint32_t icr)
{
    wrmsr(X2_ICR, (uint64_t)to << 32 | ICR_ASSERT | icr);
}

static inline uint64_t hypercall(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    static int amd = -1;

    if (amd < 0)
        amd = cpuid(0, 0).ebx == 0x68747541; /* "Auth" */
    if (amd)
        __asm__ volatile("vmmcall" : "+a"(number) : "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
    else
        __asm__ volatile("vmcall" : "+a"(number) : "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
    return number;
}

static void sleep_until_done(void)
{
    while (!smp_done) {
        interrupts_wait();
        interrupts_off();
    }
}

/* --- what is measured; interrupts are off; 0: nothing came --- */

/* Both sleep in between. */
static uint64_t wake_round_trip(uint32_t to)
{
    uint64_t begin = rdtsc();

    send(to, VEC_PING);
    sleep_until_done();
    return rdtsc() - begin;
}

/* Both compute. */
static uint64_t round_trip(uint32_t to)
{
    uint64_t begin = rdtsc();

    send(to, VEC_PING);
    interrupts_on();
    while (!smp_done)
        cpu_pause();
    uint64_t end = rdtsc();
    interrupts_off();
    return end - begin;
}

static uint64_t send_one(uint32_t to)
{
    uint64_t begin = rdtsc();

    send(to, VEC_WAKE);
    return rdtsc() - begin;
}

static uint64_t send_three(uint32_t to)
{
    uint64_t begin = rdtsc();

    send(1, VEC_WAKE);
    send(2, VEC_WAKE);
    send(3, VEC_WAKE);
    return rdtsc() - begin;
}

static uint64_t send_one_pv(uint32_t to)
{
    uint64_t begin = rdtsc();
    uint64_t sent = hypercall(HC_SEND_IPI, smp_bit(1), 0, 0, VEC_WAKE);
    uint64_t end = rdtsc();

    return sent == 1 ? end - begin : 0;
}

static uint64_t send_three_pv(uint32_t to)
{
    uint64_t begin = rdtsc();
    uint64_t sent = hypercall(HC_SEND_IPI, smp_bit(1) | smp_bit(2) | smp_bit(3), 0, 0, VEC_WAKE);
    uint64_t end = rdtsc();

    return sent == 3 ? end - begin : 0;
}

/* Until INVLPG has been executed there, and the sender knows. */
static uint64_t flush_by_ipi(uint32_t to)
{
    uint64_t begin = rdtsc();

    send(to, VEC_FLUSH);
    while (!smp_done)
        cpu_pause();
    return rdtsc() - begin;
}

/* It waits in the run queue: Linux then lets it go first (kvm_smp_send_call_func_ipi()). */
static uint64_t flush_preempted_by_ipi(uint32_t to)
{
    uint64_t begin = rdtsc();

    if (steal_areas[to].preempted != PREEMPTED)
        return 0;
    send(to, VEC_FLUSH);
    hypercall(HC_YIELD_TO, to, 0, 0, 0);
    while (!smp_done)
        cpu_pause();
    return smp_stamp - begin;
}

/* It is told, and need not come (KVM_FEATURE_PV_TLB_FLUSH). */
static uint64_t flush_preempted_pv(uint32_t to)
{
    uint64_t begin = rdtsc();
    uint8_t old = PREEMPTED;
    bool told = __atomic_compare_exchange_n(&steal_areas[to].preempted, &old, PREEMPTED | FLUSH_TLB,
                                            false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    uint64_t end = rdtsc();

    return told ? end - begin : 0;
}

enum state { HALTED, RUNNING, PREEMPTED_ONE };
static const struct row {
    const char *name;
    uint64_t (*measure)(uint32_t to);
    enum state state; /* of the other one */
} pair_rows[] =
    {
        {"2cpu-ipi-send", send_one, RUNNING},
        {"2cpu-ipi-send-halted", send_one, HALTED},
        {"2cpu-ipi-round-trip", round_trip, RUNNING},
        {"2cpu-wake-round-trip", wake_round_trip, HALTED},
        {"2cpu-flush-ipi", flush_by_ipi, RUNNING},
},
  shared_rows[] = {
      {"1cpu-wake-round-trip", wake_round_trip, HALTED},
      {"1cpu-ipi-1", send_one, HALTED},
      {"1cpu-ipi-3", send_three, HALTED},
      {"1cpu-ipi-1-pv", send_one_pv, HALTED},
      {"1cpu-ipi-3-pv", send_three_pv, HALTED},
      {"1cpu-flush-ipi", flush_preempted_by_ipi, PREEMPTED_ONE},
      {"1cpu-flush-pv", flush_preempted_pv, PREEMPTED_ONE},
};

static void compute_until_stop(struct smp_cpu *me, uint64_t arg)
{
    wrmsr(MSR_STEAL_TIME, (uintptr_t)&steal_areas[me->index] | STEAL_ENABLE);
    me->mark = 1;
    while (!stop)
        cpu_pause();
    wrmsr(MSR_STEAL_TIME, 0);
}

/* By the LAPIC's timer: the others get the CPU, and are taken off it at its end. */
static void sleep_us(uint64_t us)
{
    lapic_write(LAPIC_REG_TIMER_DIV, TIMER_DIV_1);
    lapic_write(LAPIC_REG_LVT_TIMER, VEC_WAKE);
    lapic_write(LAPIC_REG_TIMER_INIT, (uint32_t)(us * 1000));
    interrupts_off();
    while (lapic_read(LAPIC_REG_TIMER_CUR)) {
        interrupts_wait();
        interrupts_off();
    }
}

static bool take_samples(const struct row *row)
{
    for (unsigned int i = 0; i < SAMPLES; i++) {
        interrupts_on();
        sleep_us(SLEEP_US * (row->state == PREEMPTED_ONE ? 10 : 1));
        smp_done = 0;
        samples[i] = row->measure(smp_cpus[1].apic_id);
        interrupts_on();
        if (samples[i] == 0)
            return false;
    }
    return true;
}

static void sort_samples(void)
{
    for (unsigned int i = 1; i < SAMPLES; i++) {
        uint64_t value = samples[i];
        unsigned int at = i;
        for (; at > 0 && samples[at - 1] > value; at--)
            samples[at] = samples[at - 1];
        samples[at] = value;
    }
}

static void measure_row(const struct row *row)
{
    struct smp_cpu *cpu = &smp_cpus[1];

    stop = false;
    cpu->mark = 0;
    if (row->state != HALTED)
        smp_ask(cpu, compute_until_stop, 0);
    bool ok = row->state == HALTED || SMP_WAIT(cpu->mark);
    ok = ok && take_samples(row);
    stop = true;
    smp_wait(cpu);
    sort_samples();
    if (ok)
        print("bench %s min=%llu median=%llu max=%llu n=%u\n", row->name, LLU(samples[0]),
              LLU(samples[SAMPLES / 2]), LLU(samples[SAMPLES - 1]), SAMPLES);
    else
        print("bench %s skip: nothing came\n", row->name);
}

void measure_rows(void)
{
    bool shared = guest_has_word("share");
    const struct row *rows = shared ? shared_rows : pair_rows;
    size_t count = shared ? ARRAY_SIZE(shared_rows) : ARRAY_SIZE(pair_rows);

    set_gate(VEC_PING, smp_on_ping);
    set_gate(VEC_PONG, smp_on_pong);
    set_gate(VEC_FLUSH, smp_on_flush);
    set_gate(VEC_WAKE, smp_on_wake);
    for (size_t i = 0; i < count && smp_count >= (shared ? 4 : 2); i++)
        measure_row(&rows[i]);
    print("bench-end\n");
}
