/* Where interprocessor interrupts arrive (SDM vol. 3, 10.6): each way to send one, to CPUs that
 * sleep and to CPUs that compute, from the boot processor and from another one. */

#include "smp.h"

#define FLAT_DFR      0xffffffffu
#define CLUSTER_DFR   0x0fffffffu
#define FLAT_BITS     8
#define CLUSTER_CPUS  4
#define CLUSTERS      15 /* the 16th number is the broadcast */
#define NOBODY        0xc8u
#define NOBODY_X2     0x12345u
#define CLUSTER_ALL   0xffu
#define LOWEST_ROUNDS 16

enum logical { FLAT, CLUSTER, X2 };

static struct {
    unsigned int sent, wrong;
    uint32_t destination, icr;
    uint64_t got, expected;
    bool twice;
} tally;

static unsigned int sender;
static bool running;
static volatile bool stop;
static volatile uint64_t order; /* destination and ICR for the sender, 0: none */
static const char *mode_name;

/* Computes with interrupts on, and sends what it is told to. */
static void compute(struct smp_cpu *me, uint64_t arg)
{
    while (!stop) {
        me->beat++;
        if (order && me->index == sender) {
            smp_send((uint32_t)(order >> 32), (uint32_t)order);
            order = 0;
        }
        cpu_pause();
    }
}

static void send_order(struct smp_cpu *me, uint64_t arg)
{
    smp_send((uint32_t)(arg >> 32), (uint32_t)arg);
}

static void set_running(bool on)
{
    if (running == on)
        return;
    running = on;
    stop = !on;
    for (unsigned int i = 1; i < smp_count; i++)
        if (on)
            smp_ask(&smp_cpus[i], compute, 0);
        else
            smp_wait(&smp_cpus[i]);
    for (unsigned int i = 1; on && i < smp_count; i++) {
        uint64_t beat = smp_cpus[i].beat;
        SMP_WAIT(smp_cpus[i].beat != beat);
    }
}

/* What was sent has arrived wherever it would. */
static void settle(void)
{
    if (!running) {
        smp_sync();
        return;
    }
    for (unsigned int i = 1; i < smp_count; i++) {
        uint64_t beat = smp_cpus[i].beat;
        SMP_WAIT(smp_cpus[i].beat - beat >= 2);
    }
}

static void send_by_sender(uint32_t destination, uint32_t icr)
{
    uint64_t what = (uint64_t)destination << 32 | icr;

    if (sender == 0) {
        smp_send(destination, icr);
    } else if (running) {
        order = what;
        SMP_WAIT(order == 0);
    } else {
        smp_call(&smp_cpus[sender], send_order, what);
    }
}

static uint64_t who_got(unsigned int vector, bool *twice)
{
    uint64_t mask = 0;

    for (unsigned int i = 0; i < smp_count; i++) {
        mask |= smp_cpus[i].counts[vector] ? smp_bit(i) : 0;
        *twice |= smp_cpus[i].counts[vector] > 1;
    }
    return mask;
}

static unsigned int vector_of(uint32_t icr)
{
    return (icr & 0x700) == ICR_NMI ? VEC_NMI : icr & 0xff;
}

static void count_try(uint64_t got, uint64_t expected, bool twice, uint32_t destination,
                      uint32_t icr)
{
    tally.sent++;
    if (got == expected && !twice)
        return;
    if (tally.wrong++ == 0) {
        tally.destination = destination;
        tally.icr = icr;
        tally.got = got;
        tally.expected = expected;
        tally.twice = twice;
    }
}

static void try_send(uint32_t destination, uint32_t icr, uint64_t expected)
{
    unsigned int vector = vector_of(icr);
    bool twice = false;

    smp_clear_counts();
    send_by_sender(destination, icr);
    SMP_WAIT((who_got(vector, &twice) & expected) == expected);
    settle();
    twice = false;
    uint64_t got = who_got(vector, &twice);
    count_try(got, expected, twice, destination, icr);
}

/* Exactly one of the set must get it. */
static void try_lowest(uint32_t destination, uint32_t icr, uint64_t set)
{
    bool twice = false;

    smp_clear_counts();
    send_by_sender(destination, icr);
    SMP_WAIT(who_got(VEC_TEST, &twice) != 0);
    settle();
    twice = false;
    uint64_t got = who_got(VEC_TEST, &twice);
    bool one = got && !(got & (got - 1)) && !(got & ~set);
    count_try(got, one ? got : set, twice, destination, icr);
}

static void report(const char *what)
{
    char name[64], text[160];

    format(name, sizeof(name), "%s-%s-%s-from-%u", mode_name, what, running ? "running" : "halted",
           sender);
    format(text, sizeof(text), "0x%llx%s (destination 0x%x, ICR 0x%x; %u of %u wrong)",
           LLU(tally.expected), tally.twice ? " once each" : "", tally.destination, tally.icr,
           tally.wrong, tally.sent);
    check_that(name, tally.wrong == 0, tally.got, text);
    memset(&tally, 0, sizeof(tally));
}

/* --- logical destinations --- */

static uint32_t ldr_of(enum logical how, unsigned int i)
{
    uint32_t id = smp_cpus[i].apic_id;

    switch (how) {
    case FLAT: return BIT(i % FLAT_BITS);
    case CLUSTER:
        return i / CLUSTER_CPUS < CLUSTERS ? i / CLUSTER_CPUS << 4 | BIT(i % CLUSTER_CPUS) : 0;
    default: return id >> 4 << 16 | BIT(id & 15);
    }
}

/* SDM vol. 3, 10.6.2.2 and 10.12.10. */
static uint64_t who_is(enum logical how, uint32_t destination)
{
    uint64_t mask = 0;

    for (unsigned int i = 0; i < smp_count; i++) {
        uint32_t ldr = ldr_of(how, i);
        bool so = false;
        switch (how) {
        case FLAT: so = ldr & destination; break;
        case CLUSTER:
            so = (destination >> 4 == 0xf || destination >> 4 == ldr >> 4) &&
                 (ldr & destination & 0xf);
            break;
        case X2:
            so = destination == UINT32_MAX ||
                 (destination >> 16 == ldr >> 16 && (ldr & destination & 0xffff));
            break;
        }
        mask |= so ? smp_bit(i) : 0;
    }
    return mask;
}

static void set_logical(struct smp_cpu *me, uint64_t how)
{
    if (how == X2)
        return;
    lapic_write(LAPIC_REG_DFR, how == FLAT ? FLAT_DFR : CLUSTER_DFR);
    lapic_write(LAPIC_REG_LDR, ldr_of((enum logical)how, me->index) << 24);
}

static const struct {
    const char *name;
    uint32_t all, some, nobody;
} logical_rows[] = {
    [FLAT] = {"flat", 0xff, 0x55, 0x00},
    [CLUSTER] = {"cluster", 0x0f, 0x05, 0xe1},
    [X2] = {"cluster", 0xffffffff, 0x00005555, 0x00f00001},
};

static void check_logical(enum logical how)
{
    char name[40];

    set_running(false);
    smp_call_all(set_logical, how, true);
    for (unsigned int state = 0; state < 2; state++) {
        set_running(state);
        for (unsigned int i = 0; i < smp_count; i += smp_stride()) {
            uint32_t to = ldr_of(how, i);
            try_send(to, ICR_LOGICAL | ICR_ASSERT | VEC_TEST, who_is(how, to));
        }
        format(name, sizeof(name), "%s-each", logical_rows[how].name);
        report(name);
        const uint32_t sets[] = {logical_rows[how].all, logical_rows[how].some,
                                 logical_rows[how].nobody};
        for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
            try_send(sets[i], ICR_LOGICAL | ICR_ASSERT | VEC_TEST, who_is(how, sets[i]));
        if (how == CLUSTER && !smp_native) /* QEMU's LAPIC knows no broadcast to clusters */
            try_send(CLUSTER_ALL, ICR_LOGICAL | ICR_ASSERT | VEC_TEST, who_is(how, CLUSTER_ALL));
        format(name, sizeof(name), "%s-sets", logical_rows[how].name);
        report(name);
        for (unsigned int i = 0; i < LOWEST_ROUNDS / smp_stride(); i++) {
            uint32_t to = sets[i % 2];
            try_lowest(to, ICR_LOGICAL | ICR_LOWEST | ICR_ASSERT | VEC_TEST, who_is(how, to));
        }
        format(name, sizeof(name), "%s-lowest", logical_rows[how].name);
        report(name);
    }
}

/* --- physical destinations and shorthands --- */

static void check_physical(void)
{
    for (unsigned int i = 0; i < smp_count; i += smp_stride())
        try_send(smp_cpus[i].apic_id, ICR_ASSERT | VEC_TEST, smp_bit(i));
    report("physical");
    for (unsigned int i = 0; i < smp_count; i += smp_stride())
        try_send(smp_cpus[i].apic_id, VEC_TEST, smp_bit(i));
    report("physical-no-level");
    if (!lapic_is_x2()) {
        for (unsigned int i = 0; i < smp_count; i += smp_stride())
            try_send(smp_cpus[i].apic_id, ICR_LEVEL | ICR_ASSERT | VEC_TEST, smp_bit(i));
        report("level-assert");
    }
    try_send(smp_broadcast(), ICR_ASSERT | VEC_TEST, smp_mask());
    report("broadcast");
    try_send(lapic_is_x2() ? NOBODY_X2 : NOBODY, ICR_ASSERT | VEC_TEST, 0);
    try_send(smp_listed, ICR_ASSERT | VEC_TEST, 0);
    report("nobody");
    try_send(0, ICR_TO_SELF | ICR_ASSERT | VEC_TEST, smp_bit(sender));
    report("shorthand-self");
    try_send(0, ICR_TO_ALL | ICR_ASSERT | VEC_TEST, smp_mask());
    report("shorthand-all");
    try_send(0, ICR_TO_OTHER | ICR_ASSERT | VEC_TEST, smp_mask() & ~smp_bit(sender));
    report("shorthand-others");
    for (unsigned int i = 0; i < smp_count; i += smp_stride())
        if (i != sender)
            try_send(smp_cpus[i].apic_id, ICR_NMI | ICR_ASSERT, smp_bit(i));
    report("nmi");
    try_send(0, ICR_TO_OTHER | ICR_NMI | ICR_ASSERT, smp_mask() & ~smp_bit(sender));
    report("nmi-others");
}

static void check_all_ways(void)
{
    unsigned int senders[] = {0, smp_count - 1};

    for (unsigned int state = 0; state < 2; state++) {
        set_running(state);
        for (unsigned int i = 0; i < (smp_count > 1 ? ARRAY_SIZE(senders) : 1); i++) {
            sender = senders[i];
            check_physical();
        }
        sender = 0;
    }
    set_running(false);
}

/* --- priorities, and CPUs that take no interrupts --- */

static void set_tpr(struct smp_cpu *me, uint64_t value)
{
    lapic_write(LAPIC_REG_TPR, (uint32_t)value);
}

static void read_irr(struct smp_cpu *me, uint64_t vector)
{
    me->result = lapic_read((uint32_t)(LAPIC_REG_IRR + vector / 32 * 16)) >> vector % 32 & 1;
}

static void check_tpr(void)
{
    struct smp_cpu *to = &smp_cpus[smp_count - 1];

    smp_clear_counts();
    smp_call(to, set_tpr, 0x60);
    smp_send(to->apic_id, ICR_ASSERT | VEC_TEST);
    smp_sync();
    smp_call(to, read_irr, VEC_TEST);
    check_eq("tpr-masks", to->counts[VEC_TEST], 0);
    check_eq("tpr-irr", to->result, 1);
    smp_call(to, set_tpr, 0);
    smp_sync();
    check_eq("tpr-delivered-later", to->counts[VEC_TEST], 1);
}

/* All but one have a high priority: the one gets it (SDM vol. 3, 10.6.2.4). */
static void check_lowest_by_tpr(enum logical how)
{
    uint32_t all = logical_rows[how].all;

    smp_call_all(set_logical, how, true);
    if (smp_native) {
        check_skip("lowest-by-tpr", "QEMU's LAPIC takes the first CPU, whatever its TPR");
        return;
    }
    for (unsigned int low = 0; low < smp_count; low += smp_stride()) {
        for (unsigned int i = 0; i < smp_count; i++)
            smp_call(&smp_cpus[i], set_tpr, i == low ? 0 : 0x80);
        try_send(all, ICR_LOGICAL | ICR_LOWEST | ICR_ASSERT | VEC_TEST, smp_bit(low));
        smp_call_all(set_tpr, 0, true);
    }
    report("lowest-by-tpr");
}

static void hold_off(struct smp_cpu *me, uint64_t arg)
{
    interrupts_off();
    me->mark = 1;
    SMP_WAIT_TICKS(me->mark == 2, 2 * smp_patience);
    me->logged = 0;
    interrupts_on();
    __asm__ volatile("nop; nop");
}

static void check_order(void)
{
    struct smp_cpu *to = &smp_cpus[1];

    smp_clear_counts();
    to->mark = 0;
    smp_ask(to, hold_off, 0);
    SMP_WAIT(to->mark == 1);
    smp_send(to->apic_id, ICR_ASSERT | VEC_TEST);
    smp_send(to->apic_id, ICR_ASSERT | VEC_HIGH);
    smp_send(to->apic_id, ICR_ASSERT | VEC_TEST);
    smp_wait_us(1000);
    check_eq("if-clear-waits", to->counts[VEC_TEST] + to->counts[VEC_HIGH], 0);
    to->mark = 2;
    smp_wait(to);
    smp_sync();
    check_eq("higher-first", (uint64_t)to->log[0] << 8 | to->log[1], VEC_HIGH << 8 | VEC_TEST);
    check_eq("same-vector-merges", to->counts[VEC_TEST], 1);
}

static void halt_if_clear(struct smp_cpu *me, uint64_t arg)
{
    interrupts_off();
    me->mark = 1;
    __asm__ volatile("hlt" ::: "memory");
    me->mark = 2;
    me->stamp = me->counts[VEC_TEST];
    interrupts_on();
}

static void check_halt_if_clear(void)
{
    struct smp_cpu *to = &smp_cpus[1];

    smp_clear_counts();
    to->mark = 0;
    smp_ask(to, halt_if_clear, 0);
    SMP_WAIT(to->mark == 1);
    smp_wait_us(2000);
    smp_send(to->apic_id, ICR_ASSERT | VEC_TEST);
    smp_wait_us(20000);
    check_eq("hlt-if-clear-sleeps-on", to->mark, 1);
    smp_send(to->apic_id, ICR_NMI | ICR_ASSERT);
    check_eq("hlt-if-clear-nmi-wakes", SMP_WAIT(to->mark == 2), true);
    smp_wait(to);
    smp_sync();
    check_eq("hlt-if-clear-nmi-once", to->counts[VEC_NMI], 1);
    check_eq("hlt-if-clear-fixed-not-before", to->stamp, 0);
    check_eq("hlt-if-clear-fixed-afterwards", to->counts[VEC_TEST], 1);
}

/* Everybody to one CPU at the same time, each with its own vector: none gets lost. */
static void send_own(struct smp_cpu *me, uint64_t to)
{
    for (unsigned int i = 0; i < 4; i++)
        smp_send(smp_cpus[to].apic_id, ICR_ASSERT | (0xa0 + (me->index & 15) * 4 + i));
}

static void check_together(void)
{
    unsigned int wrong = 0, senders = MIN(smp_count, 16u);

    for (unsigned int to = 0; to < smp_count; to += smp_stride()) {
        smp_clear_counts();
        for (unsigned int i = 1; i < senders; i++)
            smp_ask(&smp_cpus[i], send_own, to);
        send_own(&smp_cpus[0], to);
        for (unsigned int i = 1; i < senders; i++)
            smp_wait(&smp_cpus[i]);
        smp_sync();
        for (unsigned int v = 0xa0; v < 0xa0 + senders * 4; v++)
            wrong += smp_cpus[to].counts[v] != 1;
    }
    check_eq("all-to-one-at-once", wrong, 0);
}

static void check_specials(enum logical how)
{
    sender = 0;
    if (smp_count == 1) {
        check_skip("priorities", "one CPU");
        return;
    }
    check_tpr();
    check_lowest_by_tpr(how);
    check_order();
    check_halt_if_clear();
    check_together();
}

static void read_ldr(struct smp_cpu *me, uint64_t arg)
{
    me->result = lapic_read(LAPIC_REG_LDR);
}

static void send_self_ipi(struct smp_cpu *me, uint64_t vector)
{
    lapic_write(LAPIC_REG_SELF_IPI, (uint32_t)vector);
}

static void check_x2(void)
{
    unsigned int wrong = 0;

    if (!smp_set_mode(true)) {
        check_skip("x2apic", "no x2APIC mode");
        return;
    }
    mode_name = "x2apic";
    topology_ids("x2apic");
    smp_call_all(read_ldr, 0, true);
    for (unsigned int i = 0; i < smp_count; i++)
        wrong += smp_cpus[i].result != ldr_of(X2, i);
    check_eq("x2apic-ldr", wrong, 0);
    check_all_ways();
    check_logical(X2);
    set_running(false);
    smp_clear_counts();
    smp_call_all(send_self_ipi, VEC_TEST, true);
    smp_sync();
    bool twice = false;
    check_eq("x2apic-self-ipi", who_got(VEC_TEST, &twice), smp_mask());
    check_specials(X2);
    if (!smp_native)
        check_eq("back-to-xapic", smp_set_mode(false), true);
}

void group_delivery(void)
{
    if (!lapic_is_x2()) {
        mode_name = "xapic";
        check_all_ways();
        check_logical(FLAT);
        check_logical(CLUSTER);
        set_running(false);
        check_specials(FLAT);
    }
    check_x2();
}
