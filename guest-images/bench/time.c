/* Rows that take time: waking up, interrupts of the machine, and another VM on the CPU. */

#include "bench.h"

#define MSR_TSC_DEADLINE 0x6e0u
#define LVT_MASKED       0x10000u
#define LVT_DEADLINE     0x40000u
#define X2_TIMER_INIT    (0x800u + LAPIC_REG_TIMER_INIT / 16)
#define DIV_1            0xbu
#define TPR_ALL          0xf0
#define WAIT_TICKS       200000u /* how long a HLT lasts: more than the core takes to get idle */
#define SOON_TICKS       50000u
#define NS_PER_MS        1000000u
#define GAP_SAMPLES      20
#define OTHER_SAMPLES    10
#define TURN_ROUNDS      1000000u /* of a loop, until the other VM has had its turn */

/* Writes EOI, and keeps all registers. */
__asm__(".pushsection .text\n"
        "bench_on_x2:\npush %rax\npush %rcx\npush %rdx\nmov $0x80b, %ecx\nxor %eax, %eax\n"
        "xor %edx, %edx\nwrmsr\npop %rdx\npop %rcx\npop %rax\niretq\n"
        "bench_on_x1:\npush %rax\nmov $0xfee000b0, %eax\nmovl $0, (%rax)\npop "
        "%rax\niretq\n.popsection");
extern const uint8_t bench_on_x1[], bench_on_x2[];

/* Ticks that were missing from a loop that reads the TSC for `ticks`: what the loop itself takes
 * (at most GAP_LOOP + 3) does not count. */
#define GAP_LOOP 10
uint64_t bench_gaps(uint64_t ticks);
__asm__(".pushsection .text\nbench_gaps:\nxor %esi, %esi\n"
        "rdtsc\nshl $32, %rdx\nor %rdx, %rax\nmov %rax, %r8\nadd %rax, %rdi\n"
        "1: rdtsc\nshl $32, %rdx\nor %rdx, %rax\nmov %rax, %rcx\nsub %r8, %rcx\nmov %rax, %r8\n"
        "cmp $16, %rcx\njae 2f\n3: cmp %rdi, %rax\njb 1b\nmov %rsi, %rax\nret\n"
        "2: lea -10(%rsi,%rcx), %rsi\njmp 3b\n.popsection");
static_assert(GAP_LOOP == 10, "as in the LEA above");

/* RBX ticks from now, in TSC-deadline mode; RAX counts of the LAPIC timer. */
STUB(s_hlt_deadline, "shl $32, %r9\nor %r9, %r8\nxor %r9d, %r9d\nlea (%r8,%rbx), %rax\n"
                     "mov %rax, %rdx\nshr $32, %rdx\nwrmsr\nsti\nhlt\ncli");
STUB(s_hlt_timer, "wrmsr\nsti\nhlt\ncli");
STUB(s_take, "sti\nnop\ncli");

void bench_set_handler(void)
{
    uint64_t *gate = guest_gate(BENCH_VECTOR);
    uint64_t at = (uintptr_t)(lapic_is_x2() ? bench_on_x2 : bench_on_x1);

    gate[0] = (gate[0] & 0x0000ffffffff0000) | (at & 0xffff) | (at & 0xffff0000) << 32;
    gate[1] = at >> 32;
}

static void stop_timer(void)
{
    lapic_write(LAPIC_REG_TIMER_INIT, 0);
    lapic_write(LAPIC_REG_LVT_TIMER, LVT_MASKED);
}

static uint32_t counts_of(uint64_t ticks)
{
    return (uint32_t)(ticks * NS_PER_MS / guest_tsc_per_ms()); /* the LAPIC timer counts ns */
}

static uint64_t late(uint64_t ticks)
{
    return ticks == BENCH_FAULT ? ticks : ticks - WAIT_TICKS;
}

static uint64_t hlt_deadline(void)
{
    const struct bench_regs regs = {.rcx = MSR_TSC_DEADLINE, .rbx = WAIT_TICKS};

    lapic_write(LAPIC_REG_LVT_TIMER, LVT_DEADLINE | BENCH_VECTOR);
    return late(s_hlt_deadline(&regs));
}

static uint64_t hlt_timer(void)
{
    const struct bench_regs regs = {.rcx = X2_TIMER_INIT, .rax = counts_of(WAIT_TICKS)};

    lapic_write(LAPIC_REG_TIMER_DIV, DIV_1);
    lapic_write(LAPIC_REG_LVT_TIMER, BENCH_VECTOR);
    return late(s_hlt_timer(&regs));
}

/* Interrupts are on, because Bochs does not end a guest that keeps them off. */
static uint64_t timer_gaps(void)
{
    lapic_write(LAPIC_REG_TIMER_DIV, DIV_1);
    lapic_write(LAPIC_REG_LVT_TIMER, BENCH_VECTOR);
    lapic_write(LAPIC_REG_TIMER_INIT, counts_of(SOON_TICKS));
    interrupts_on();
    uint64_t gaps = bench_gaps(SOON_TICKS * 2);
    interrupts_off();
    return gaps;
}

/* The machine's timer interrupt, and what it is for: one in the virtual LAPIC, which waits. */
static uint64_t timer_masked_by_tpr(void)
{
    const struct bench_regs none = {0};

    lapic_write(LAPIC_REG_TPR, TPR_ALL);
    uint64_t gaps = timer_gaps();
    lapic_write(LAPIC_REG_TPR, 0);
    (void)s_take(&none);
    return gaps;
}

/* From the other VM's turn of `slice` ticks: what a switch there and back takes, halved. */
static uint64_t switch_vcpu(void)
{
    uint64_t gap = 0, slice = guest_number("slice", 0);

    interrupts_on();
    for (unsigned int i = 0; i < TURN_ROUNDS && gap < slice; i++)
        gap = bench_gaps(1);
    interrupts_off();
    return gap < slice ? BENCH_FAULT : (gap - slice) / 2;
}

const struct bench_row bench_time_rows[] = {
    {.name = "hlt-deadline",
     .measure = hlt_deadline,
     .mode = MODE_X2APIC,
     .needs = &bench_has.tsc_deadline,
     .samples = GAP_SAMPLES,
     .after = stop_timer},
    {.name = "hlt-timer",
     .measure = hlt_timer,
     .mode = MODE_X2APIC,
     .samples = GAP_SAMPLES,
     .after = stop_timer},
    {.name = "host-interrupt",
     .measure = timer_masked_by_tpr,
     .mode = MODE_X2APIC,
     .samples = GAP_SAMPLES,
     .after = stop_timer},
    {.name = "timer-tick",
     .measure = timer_gaps,
     .mode = MODE_X2APIC,
     .samples = GAP_SAMPLES,
     .after = stop_timer},
};
const size_t bench_time_row_count = ARRAY_SIZE(bench_time_rows);

/* With another VM on the CPU that computes. */
const struct bench_row bench_other_rows[] = {
    {.name = "2vm-hlt-deadline",
     .measure = hlt_deadline,
     .mode = MODE_X2APIC,
     .needs = &bench_has.tsc_deadline,
     .samples = OTHER_SAMPLES,
     .after = stop_timer},
    {.name = "2vm-switch", .measure = switch_vcpu, .samples = OTHER_SAMPLES},
};
const size_t bench_other_row_count = ARRAY_SIZE(bench_other_rows);
