/* INIT and SIPI (SDM vol. 3, 8.4 and 9.1, 10.4.7.3), and what they do to a CPU that runs. */

#include "smp.h"

#define CR0_CD_NW     0x60000000u
#define CR0_ET        0x10u
#define DR6_INIT      0xffff0ff0u
#define DR7_INIT      0x400u
#define SVR_INIT      0xffu
#define DFR_INIT      0xffffffffu
#define TABLE_LIMIT   0xffffu
#define RFLAGS_INIT   0x2u
#define QUIET_US      20000
#define INIT_DEASSERT (ICR_INIT | ICR_LEVEL)
#define INIT_WAIT_US  (smp_native ? 10000 : 200)
#define LONG_COUNT    0x7fffffffu
#define DR0_MARK      0x12340ull

static struct smp_cpu *victim;
static volatile bool stop;

static void spin_open(struct smp_cpu *me, uint64_t arg)
{
    while (!stop)
        me->beat++;
}

static void spin_closed(struct smp_cpu *me, uint64_t arg)
{
    interrupts_off();
    spin_open(me, arg);
    interrupts_on();
}

/* Everything that INIT resets is made to look otherwise first. */
static void spin_spoiled(struct smp_cpu *me, uint64_t arg)
{
    interrupts_off();
    lapic_write(LAPIC_REG_TPR, 0x30);
    lapic_write(LAPIC_REG_LVT_LINT1, ICR_NMI);
    lapic_write(LAPIC_REG_LVT_ERROR, 0x73);
    lapic_write(LAPIC_REG_LVT_TIMER, VEC_TIMER);
    lapic_write(LAPIC_REG_TIMER_INIT, LONG_COUNT);
    if (!lapic_is_x2()) {
        lapic_write(LAPIC_REG_LDR, 0x01000000);
        lapic_write(LAPIC_REG_DFR, 0x0fffffff);
    }
    write_dr0(DR0_MARK);
    __asm__ volatile("mov %0, %%cr2" ::"r"(DR0_MARK));
    spin_open(me, arg);
}

static void halt_closed(struct smp_cpu *me, uint64_t arg)
{
    interrupts_off();
    me->beat++;
    __asm__ volatile("hlt" ::: "memory");
}

static void halt_open(struct smp_cpu *me, uint64_t arg)
{
    me->beat++;
    for (;;)
        __asm__ volatile("sti; hlt" ::: "memory");
}

static void shut_down(struct smp_cpu *me, uint64_t arg)
{
    halt_open(me, arg);
}

static void begin(smp_work *work)
{
    uint64_t beat = victim->beat;

    stop = false;
    smp_ask(victim, work, 0);
    SMP_WAIT(victim->beat != beat);
}

static bool beats(void)
{
    uint64_t beat = victim->beat;

    return SMP_WAIT_TICKS(victim->beat != beat, smp_tsc_ms * QUIET_US / 1000);
}

/* It stops, if not at once: on a machine whose own CPUs are not always there, an INIT takes a
 * while. */
static bool stops(void)
{
    return SMP_WAIT(!beats());
}

/* The same, for one that must go on: others may have the processor. */
static bool goes_on(void)
{
    uint64_t beat = victim->beat;

    return SMP_WAIT(victim->beat != beat);
}

static const volatile struct smp_state *state_of(uint32_t page)
{
    return (const volatile struct smp_state *)(uintptr_t)(page + SMP_STATE_OFFSET);
}

static void check_registers(const volatile struct smp_state *s, uint32_t page)
{
    const struct {
        const char *name;
        uint32_t got, expected;
    } rows[] = {
        {"init-cs", s->cs, page >> 4},
        {"init-segments", s->ds | s->es | s->ss | s->fs | s->gs, 0},
        {"init-general", s->eax | s->ebx | s->ecx | s->esi | s->edi | s->ebp | s->esp, 0},
        {"init-edx", s->edx, cpuid(1, 0).eax},
        {"init-eflags", s->eflags, RFLAGS_INIT},
        {"init-cr0", s->cr0 & ~CR0_CD_NW, CR0_ET},
        {"init-cr2", s->cr2, 0},
        {"init-cr3", s->cr3, 0},
        {"init-cr4", s->cr4, 0},
        {"init-efer", s->efer, 0},
        {"init-dr0", s->dr0, 0},
        {"init-dr6", s->dr6, DR6_INIT},
        {"init-dr7", s->dr7, DR7_INIT},
        {"init-gdtr", s->gdt_base | (s->gdt_limit ^ TABLE_LIMIT), 0},
        {"init-idtr", s->idt_base | (s->idt_limit ^ TABLE_LIMIT), 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_eq(rows[i].name, rows[i].got, rows[i].expected);
}

static void check_lapic(const struct smp_lapic_state *s, bool x2)
{
    /* INIT leaves the mode and the id (SDM vol. 3, 10.12.5.1). */
    check_eq("init-apic-base", s->base, GUEST_LAPIC | BASE_ENABLE | (x2 ? BASE_X2 : 0));
    check_eq("init-lapic-id", x2 ? s->id : s->id >> 24, victim->apic_id);
    check_eq("init-svr", s->svr, SVR_INIT);
    check_eq("init-tpr", s->tpr, 0);
    check_eq("init-lvts-masked", s->timer & s->lint0 & s->lint1 & s->error, LVT_MASKED);
    check_eq("init-lvts", s->timer | s->lint0 | s->lint1 | s->error, LVT_MASKED);
    check_eq("init-timer-count", s->count, 0);
    check_eq("init-irr", s->requested, 0);
    check_eq("init-isr", s->in_service, 0);
    if (!x2) {
        check_eq("init-ldr", s->ldr, 0);
        check_eq("init-dfr", s->dfr, DFR_INIT);
    }
}

static void check_restart(void)
{
    uint32_t starts = victim->starts;

    begin(spin_spoiled);
    smp_send(victim->apic_id, ICR_ASSERT | VEC_TEST); /* waits in the IRR */
    memset((void *)(uintptr_t)(smp_pages[1] + SMP_STATE_OFFSET), 0xcc, sizeof(struct smp_state));
    check_eq("restart-at-another-page", smp_restart(victim, 1), true);
    check_eq("restart-once", victim->starts, starts + 1);
    check_eq("restart-page", victim->page, smp_pages[1]);
    check_registers(state_of(smp_pages[1]), smp_pages[1]);
    check_lapic(&victim->lapic_state, lapic_is_x2());
    check_eq("restart-works", smp_sync(), true);
}

/* A CPU that waits for SIPI takes nothing else. */
static void check_wait_for_sipi(void)
{
    uint32_t starts;

    begin(spin_open);
    smp_send(victim->apic_id, ICR_INIT | ICR_ASSERT);
    smp_wait_us(INIT_WAIT_US);
    check_eq("init-stops-it", stops(), true);
    smp_clear_counts();
    starts = victim->starts;
    smp_send(victim->apic_id, ICR_ASSERT | VEC_TEST);
    if (!smp_native) /* QEMU's CPU begins to run at an NMI */
        smp_send(victim->apic_id, ICR_NMI | ICR_ASSERT);
    check_eq("waiting-sleeps-on", beats(), false);
    check_eq("waiting-takes-nothing", victim->counts[VEC_TEST] + victim->counts[VEC_NMI], 0);
    smp_send(victim->apic_id, ICR_SIPI | ICR_ASSERT | smp_pages[0] >> 12);
    check_eq("sipi-starts-it", SMP_WAIT(victim->starts == starts + 1), true);
    smp_sync();
    /* Its LAPIC was disabled then (SDM vol. 3, 10.4.7.2). */
    if (smp_native)
        check_skip("waiting-drops-fixed", "QEMU's LAPIC keeps it");
    else
        check_eq("waiting-drops-fixed", victim->counts[VEC_TEST], 0);
}

static void check_ignored(void)
{
    uint32_t starts = victim->starts;

    begin(spin_open);
    smp_send(victim->apic_id, ICR_SIPI | ICR_ASSERT | smp_pages[1] >> 12);
    check_eq("sipi-to-a-running-one-runs-on", goes_on(), true);
    check_eq("sipi-to-a-running-one-ignored", victim->starts, starts);
    if (!lapic_is_x2()) {
        smp_send(victim->apic_id, INIT_DEASSERT);
        check_eq("init-deassert-runs-on", goes_on(), true);
    }
    stop = true;
    smp_wait(victim);
    smp_sync();
    check_eq("sipi-to-a-halted-one-before", victim->starts, starts);
    smp_send(victim->apic_id, ICR_SIPI | ICR_ASSERT | smp_pages[1] >> 12);
    smp_wait_us(QUIET_US);
    check_eq("sipi-to-a-halted-one-ignored", victim->starts, starts);
    check_eq("sipi-to-a-halted-one-works-on", smp_sync(), true);
}

/* INIT in each state that a CPU can be in. */
static void check_states(void)
{
    static const struct {
        const char *name;
        smp_work *work;
    } rows[] = {
        {"from-spin", spin_open},       {"from-spin-if-clear", spin_closed},
        {"from-halt", halt_open},       {"from-halt-if-clear", halt_closed},
        {"from-spoiled", spin_spoiled}, {"from-loop", shut_down},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        begin(rows[i].work);
        bool ok = smp_restart(victim, i % 2);
        check_eq(rows[i].name, ok && smp_sync(), true);
    }
    /* In an NMI's handler: NMIs are open again afterwards. */
    victim->hold_nmi = true;
    smp_clear_counts();
    smp_send(victim->apic_id, ICR_NMI | ICR_ASSERT);
    SMP_WAIT(victim->counts[VEC_NMI] == 1);
    bool ok = smp_restart(victim, 0);
    victim->hold_nmi = false;
    check_eq("from-nmi", ok && smp_sync(), true);
    smp_send(victim->apic_id, ICR_NMI | ICR_ASSERT);
    check_eq("from-nmi-nmi-again", SMP_WAIT(victim->counts[VEC_NMI] == 2), true);
}

/* Messages in quick succession: the last one counts. */
static void check_order(void)
{
    uint32_t starts, id = victim->apic_id;

    begin(spin_open);
    smp_send(id, ICR_INIT | ICR_ASSERT);
    smp_wait_us(INIT_WAIT_US);
    smp_send(id, ICR_SIPI | ICR_ASSERT | smp_pages[1] >> 12);
    smp_send(id, ICR_INIT | ICR_ASSERT);
    smp_wait_us(INIT_WAIT_US);
    check_eq("sipi-then-init-waits", stops(), true);
    starts = victim->starts;
    smp_wait_us(QUIET_US);
    check_eq("sipi-then-init-no-start", victim->starts, starts);
    smp_send(id, ICR_INIT | ICR_ASSERT);
    smp_wait_us(INIT_WAIT_US);
    smp_send(id, ICR_SIPI | ICR_ASSERT | smp_pages[0] >> 12);
    smp_send(id, ICR_SIPI | ICR_ASSERT | smp_pages[1] >> 12);
    SMP_WAIT(victim->starts != starts);
    smp_wait_us(QUIET_US);
    check_eq("two-sipis-one-start", victim->starts, starts + 1);
    check_eq("two-sipis-works", smp_sync(), true);
}

/* All at once, by shorthand. */
static void check_broadcast(void)
{
    uint32_t before[SMP_MAX];
    unsigned int late = 0;

    smp_send(0, ICR_TO_OTHER | ICR_INIT | ICR_ASSERT);
    smp_wait_us(INIT_WAIT_US);
    for (unsigned int i = 1; i < smp_count; i++)
        before[i] = smp_cpus[i].starts;
    smp_send(0, ICR_TO_OTHER | ICR_SIPI | ICR_ASSERT | smp_pages[1] >> 12);
    for (unsigned int i = 1; i < smp_count; i++)
        late += !SMP_WAIT(smp_cpus[i].starts == before[i] + 1);
    check_eq("all-at-once", late, 0);
    check_eq("all-at-once-works", smp_sync(), true);
}

void group_start(void)
{
    if (smp_count == 1) {
        check_skip("restart", "one CPU");
        return;
    }
    victim = &smp_cpus[smp_count - 1];
    check_restart();
    check_wait_for_sipi();
    check_ignored();
    check_states();
    check_order();
    check_broadcast();
}
