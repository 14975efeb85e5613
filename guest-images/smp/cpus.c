/* Finding, starting and asking the processors. */

#include "smp.h"

#define RSDP_FROM    0xe0000u
#define RSDP_END     0x100000u
#define EBDA_SEGMENT 0x40e /* BIOS data area */
#define MADT_LAPIC   0
#define MADT_IOAPIC  1
#define MADT_ISO     2
#define MADT_X2APIC  9
#define MADT_ENABLED 1u
#define MAPPED_END   GIB   /* guestlib.h */
#define INIT_US      10000 /* SDM vol. 3, 8.4.4.1 */
#define SIPI_US      200
#define SIPI_TRIES   2
#define ICR_TRIES    1000000u
#define PATIENCE_MS  2000
#define HV_LEAF      0x40000000u
#define HV_TSC_LEAF  0x40000010u
#define TSS_RSP0     4 /* SDM vol. 3, figure 7-11 */
#define TSS_IST      36
#define TSS_TYPE     0x89ull
#define IST_COUNT    4
#define VEC_FIRST    32

struct PACKED rsdp {
    char signature[8];
    uint8_t sum;
    char oem[6];
    uint8_t revision;
    uint32_t rsdt, length;
    uint64_t xsdt;
};

struct PACKED table {
    char signature[4];
    uint32_t length;
    uint8_t rest[28];
};

struct PACKED table_pointer {
    uint16_t limit;
    uint64_t base;
};

struct smp_cpu smp_cpus[SMP_MAX];
unsigned int smp_count = 1, smp_listed;
uint32_t smp_irq0_pin;
const uint32_t smp_pages[2] = {0x8000, 0x9000};
uint64_t smp_tsc_ms, smp_patience;
uint8_t smp_index_of[256];
uint8_t smp_stacks[SMP_MAX][SMP_STACK] ALIGNED(16);
uint32_t smp_efer;
static uint8_t ist_stacks[SMP_MAX][IST_COUNT][SMP_IST] ALIGNED(16);
static struct table_pointer idt_pointer;
static volatile uint32_t arrived, go;

extern const uint8_t smp_trampoline[], smp_trampoline_end[];
void smp_ap_entry(unsigned int index, uint32_t page);

/* --- time --- */

static void find_tsc_rate(void)
{
    struct cpuid_regs r = cpuid(HV_LEAF, 0);

    smp_tsc_ms = guest_on_bulkhead() && r.eax >= HV_TSC_LEAF ? cpuid(HV_TSC_LEAF, 0).eax
                                                             : guest_tsc_per_ms();
    /* Many share what processors there are. */
    smp_patience = smp_tsc_ms * guest_number("patience", PATIENCE_MS) * (1 + smp_listed / 16);
}

void smp_wait_us(uint64_t us)
{
    uint64_t ticks = us * smp_tsc_ms / 1000, start = rdtsc();

    while (rdtsc() - start < ticks)
        cpu_pause();
}

uint32_t smp_random(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return (uint32_t)(x >> 16);
}

/* --- interrupts --- */

static void on_interrupt(struct guest_frame *f)
{
    struct smp_cpu *me = smp_me();

    me->counts[f->vector]++;
    if (me->logged < SMP_LOG)
        me->log[me->logged] = (uint8_t)f->vector;
    me->logged++;
    lapic_eoi();
}

static void on_spurious(struct guest_frame *f)
{
    smp_me()->counts[f->vector]++;
}

static void on_nmi(struct guest_frame *f)
{
    struct smp_cpu *me = smp_me();

    me->counts[f->vector]++;
    while (me->hold_nmi)
        cpu_pause();
}

void smp_clear_counts(void)
{
    for (unsigned int i = 0; i < smp_count; i++) {
        memset((void *)smp_cpus[i].counts, 0, sizeof(smp_cpus[i].counts));
        smp_cpus[i].logged = 0;
    }
}

/* --- ACPI --- */

static const struct rsdp *rsdp_between(uint32_t from, uint32_t end)
{
    for (uint32_t at = ALIGN_UP(from, 16u); at + sizeof(struct rsdp) <= end; at += 16)
        if (memcmp((const void *)(uintptr_t)at, "RSD PTR ", 8) == 0)
            return (const struct rsdp *)(uintptr_t)at;
    return NULL;
}

static const struct table *find_madt(void)
{
    uintptr_t at_ebda = EBDA_SEGMENT;
    __asm__("" : "+r"(at_ebda)); /* the compiler takes low addresses for null pointers */
    uint32_t ebda = (uint32_t)(*(const volatile uint16_t *)at_ebda) << 4;
    const struct rsdp *rsdp = rsdp_between(RSDP_FROM, RSDP_END);

    if (!rsdp && ebda)
        rsdp = rsdp_between(ebda, ebda + KIB);
    if (!rsdp)
        return NULL;
    bool wide = rsdp->revision >= 2 && rsdp->xsdt && rsdp->xsdt < MAPPED_END;
    uint64_t at = wide ? rsdp->xsdt : rsdp->rsdt;
    if (at >= MAPPED_END)
        return NULL;
    const struct table *root = (const struct table *)at;
    unsigned int size = wide ? 8 : 4;
    for (uint32_t i = sizeof(*root); i + size <= root->length; i += size) {
        uint64_t address = 0;
        memcpy(&address, (const uint8_t *)root + i, size);
        const struct table *t = (const struct table *)address;
        if (address < MAPPED_END && memcmp(t->signature, "APIC", 4) == 0)
            return t;
    }
    return NULL;
}

static void add_cpu(uint32_t id, uint32_t flags)
{
    if (!(flags & MADT_ENABLED))
        return;
    unsigned int index = id == smp_cpus[0].apic_id ? 0 : ++smp_listed;
    if (index >= SMP_MAX || id >= ARRAY_SIZE(smp_index_of)) {
        print("smp: APIC id %u is left out\n", id);
        smp_listed--;
        return;
    }
    smp_cpus[index].apic_id = id;
    smp_index_of[id] = (uint8_t)index;
}

static uint32_t read_u32(const uint8_t *p)
{
    uint32_t value;

    memcpy(&value, p, sizeof(value));
    return value;
}

static void read_madt(const struct table *madt)
{
    const uint8_t *at = (const uint8_t *)madt + 44, *end = (const uint8_t *)madt + madt->length;

    for (; at + 2 <= end && at[1] >= 2; at += at[1]) {
        switch (at[0]) {
        case MADT_LAPIC: add_cpu(at[3], read_u32(at + 4)); break;
        case MADT_X2APIC: add_cpu(read_u32(at + 4), read_u32(at + 8)); break;
        case MADT_ISO:
            if (at[3] == 0)
                smp_irq0_pin = read_u32(at + 4);
            break;
        default: break;
        }
    }
    smp_listed++; /* the BSP */
}

static void set_up_this(struct smp_cpu *me)
{
    wrmsr(MSR_GS_BASE, (uintptr_t)me);
}

bool smp_find(void)
{
    const struct table *madt = find_madt();

    for (unsigned int i = 0; i < SMP_MAX; i++) {
        smp_cpus[i].self = &smp_cpus[i];
        smp_cpus[i].index = i;
    }
    smp_cpus[0].apic_id = lapic_read(LAPIC_REG_ID) >> 24;
    set_up_this(&smp_cpus[0]);
    if (!madt) {
        print("smp: no MADT\n");
        return false;
    }
    read_madt(madt);
    find_tsc_rate();
    for (unsigned int v = VEC_FIRST; v < GUEST_SPURIOUS_VECTOR; v++)
        guest_on(v, v == GUEST_EXIT_VECTOR ? NULL : on_interrupt);
    guest_on(GUEST_SPURIOUS_VECTOR, on_spurious);
    guest_on(VEC_NMI, on_nmi);
    __asm__ volatile("sidt %0" : "=m"(idt_pointer));
    smp_efer = (uint32_t)(rdmsr(MSR_EFER) & ~EFER_LMA);
    for (unsigned int i = 0; i < ARRAY_SIZE(smp_pages); i++)
        memcpy((void *)(uintptr_t)smp_pages[i], smp_trampoline,
               (size_t)(smp_trampoline_end - smp_trampoline));
    return true;
}

/* --- the LAPIC --- */

uint32_t smp_broadcast(void)
{
    return lapic_is_x2() ? UINT32_MAX : 0xff;
}

void smp_send(uint32_t destination, uint32_t icr)
{
    uint64_t flags;

    if (lapic_is_x2()) {
        __asm__ volatile("mfence" ::: "memory"); /* SDM vol. 3, 10.12.3: the write waits for none */
        wrmsr(0x800 + LAPIC_REG_ICR / 16, (uint64_t)destination << 32 | icr);
        return;
    }
    __asm__ volatile("pushfq; pop %0; cli" : "=r"(flags)::"memory");
    for (unsigned int i = 0; i < ICR_TRIES && (lapic_read(LAPIC_REG_ICR) & ICR_PENDING); i++)
        cpu_pause();
    lapic_write(LAPIC_REG_ICR_HIGH, destination << 24);
    lapic_write(LAPIC_REG_ICR, icr);
    if (flags & RFLAGS_IF)
        interrupts_on();
}

void smp_lapic_here(void)
{
    uint64_t base = rdmsr(MSR_APIC_BASE);
    bool x2 = lapic_is_x2();

    if (!(base & BASE_X2) == x2) {
        base &= ~(BASE_ENABLE | BASE_X2);
        if (!x2)
            wrmsr(MSR_APIC_BASE, base);
        wrmsr(MSR_APIC_BASE, base | BASE_ENABLE);
        if (x2) {
            wrmsr(MSR_APIC_BASE, base | BASE_ENABLE | BASE_X2);
            /* Bochs 2.7 sets up the LDR at the second write. */
            wrmsr(MSR_APIC_BASE, base | BASE_ENABLE | BASE_X2);
        }
    }
    lapic_write(LAPIC_REG_SVR, 0x100 | GUEST_SPURIOUS_VECTOR);
    lapic_write(LAPIC_REG_TPR, 0);
    for (uint32_t lvt = LAPIC_REG_LVT_TIMER; lvt <= LAPIC_REG_LVT_ERROR; lvt += 16)
        lapic_write(lvt, LVT_MASKED);
}

static void switch_mode(struct smp_cpu *me, uint64_t arg)
{
    interrupts_off();
    __atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
    while (go != (uint32_t)arg)
        cpu_pause();
    smp_lapic_here();
}

bool smp_set_mode(bool x2)
{
    uint32_t turn = go + 1;

    if (lapic_is_x2() == x2)
        return true;
    arrived = 0;
    for (unsigned int i = 1; i < smp_count; i++)
        smp_ask(&smp_cpus[i], switch_mode, turn);
    bool ok = SMP_WAIT(arrived == smp_count - 1);
    interrupts_off();
    ok &= lapic_set_mode(x2);
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE)); /* Bochs 2.7 sets up the LDR at the second write */
    smp_lapic_here();
    interrupts_on();
    go = turn;
    for (unsigned int i = 1; i < smp_count; i++)
        ok &= smp_wait(&smp_cpus[i]);
    return ok;
}

/* --- start --- */

static void load_tables(struct smp_cpu *me)
{
    uint64_t base = (uintptr_t)me->tss, top = (uintptr_t)smp_stacks[me->index + 1];
    struct table_pointer gdt = {sizeof(me->gdt) - 1, (uintptr_t)me->gdt};

    memcpy(me->gdt, guest_gdt, sizeof(me->gdt));
    memset(me->tss, 0, sizeof(me->tss));
    memcpy(me->tss + TSS_RSP0, &top, sizeof(top));
    for (unsigned int i = 0; i < IST_COUNT; i++) {
        top = (uintptr_t)ist_stacks[me->index][i] + SMP_IST;
        memcpy(me->tss + TSS_IST + i * sizeof(top), &top, sizeof(top));
    }
    me->gdt[SEL_TSS / 8] = (sizeof(me->tss) - 1) | (base & 0xffffff) << 16 | TSS_TYPE << 40 |
                           (base >> 24 & 0xff) << 56;
    me->gdt[SEL_TSS / 8 + 1] = base >> 32;
    __asm__ volatile("lgdt %0; lidt %1; ltr %w2" ::"m"(gdt), "m"(idt_pointer), "r"(SEL_TSS)
                     : "memory");
}

static uint32_t lapic_raw(uint64_t base, uint32_t reg)
{
    return base & BASE_X2 ? (uint32_t)rdmsr(0x800 + reg / 16)
                          : *(volatile uint32_t *)(GUEST_LAPIC + reg);
}

static void note_lapic(struct smp_lapic_state *s)
{
    uint64_t base = rdmsr(MSR_APIC_BASE);

    *s = (struct smp_lapic_state){.base = base,
                                  .id = lapic_raw(base, LAPIC_REG_ID),
                                  .svr = lapic_raw(base, LAPIC_REG_SVR),
                                  .tpr = lapic_raw(base, LAPIC_REG_TPR),
                                  .ldr = lapic_raw(base, LAPIC_REG_LDR),
                                  .dfr = base & BASE_X2 ? 0 : lapic_raw(base, LAPIC_REG_DFR),
                                  .timer = lapic_raw(base, LAPIC_REG_LVT_TIMER),
                                  .lint0 = lapic_raw(base, LAPIC_REG_LVT_LINT0),
                                  .lint1 = lapic_raw(base, LAPIC_REG_LVT_LINT1),
                                  .error = lapic_raw(base, LAPIC_REG_LVT_ERROR),
                                  .count = lapic_raw(base, LAPIC_REG_TIMER_INIT)};
    for (uint32_t i = 0; i < 8; i++) {
        s->requested |= lapic_raw(base, LAPIC_REG_IRR + i * 16);
        s->in_service |= lapic_raw(base, LAPIC_REG_ISR + i * 16);
    }
}

void smp_ap_entry(unsigned int index, uint32_t page)
{
    struct smp_cpu *me = &smp_cpus[index];

    note_lapic(&me->lapic_state);
    load_tables(me);
    set_up_this(me);
    smp_lapic_here();
    me->page = page;
    me->done = me->asked;
    __atomic_add_fetch(&me->starts, 1, __ATOMIC_SEQ_CST);
    smp_work_loop(me);
}

bool smp_restart(struct smp_cpu *cpu, unsigned int page)
{
    uint32_t before;

    smp_send(cpu->apic_id, ICR_INIT | ICR_ASSERT);
    smp_wait_us(smp_native ? INIT_US : SIPI_US);
    before = cpu->starts;
    for (unsigned int i = 0; i < SIPI_TRIES && cpu->starts == before; i++) {
        smp_send(cpu->apic_id, ICR_SIPI | ICR_ASSERT | smp_pages[page] >> 12);
        smp_wait_us(SIPI_US);
    }
    return SMP_WAIT(cpu->starts != before);
}

void smp_start_all(void)
{
    unsigned int listed = smp_listed;

    smp_count = 1;
    for (unsigned int i = 1; i < listed; i++) {
        struct smp_cpu *cpu = &smp_cpus[i];
        if (!smp_restart(cpu, 0)) {
            print("LOST smp: APIC id %u does not start\n", cpu->apic_id);
            break; /* the indexes must be without holes */
        }
        smp_count++;
    }
}

/* --- work --- */

void smp_work_loop(struct smp_cpu *me)
{
    for (;;) {
        interrupts_off();
        if (me->asked != me->done) {
            uint32_t turn = me->asked;
            interrupts_on();
            me->work(me, me->arg);
            __atomic_store_n(&me->done, turn, __ATOMIC_SEQ_CST);
        } else {
            interrupts_wait();
        }
    }
}

void smp_ask(struct smp_cpu *cpu, smp_work *work, uint64_t arg)
{
    cpu->work = work;
    cpu->arg = arg;
    __atomic_add_fetch(&cpu->asked, 1, __ATOMIC_SEQ_CST);
    smp_send(cpu->apic_id, ICR_FIXED | ICR_ASSERT | VEC_KICK);
}

bool smp_wait(struct smp_cpu *cpu)
{
    return SMP_WAIT(cpu->done == cpu->asked);
}

bool smp_call(struct smp_cpu *cpu, smp_work *work, uint64_t arg)
{
    if (cpu == smp_me()) {
        work(cpu, arg);
        return true;
    }
    smp_ask(cpu, work, arg);
    return smp_wait(cpu);
}

bool smp_call_all(smp_work *work, uint64_t arg, bool here)
{
    bool ok = true;

    for (unsigned int i = 1; i < smp_count; i++)
        smp_ask(&smp_cpus[i], work, arg);
    if (here)
        work(&smp_cpus[0], arg);
    for (unsigned int i = 1; i < smp_count; i++)
        ok &= smp_wait(&smp_cpus[i]);
    return ok;
}

static void nothing(struct smp_cpu *me, uint64_t arg)
{
}

bool smp_sync(void)
{
    return smp_call_all(nothing, 0, false);
}
