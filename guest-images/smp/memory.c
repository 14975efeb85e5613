/* What CPUs share: atomic instructions, locks, page tables, code. */

#include "smp.h"

#define ADDS        20000
#define LOCKED_ADDS 2000
#define FLIPS       60
#define OWN_FLIPS   500
#define WATCHERS    16
#define FRAMES      4
#define CODE_FLIPS  40
#define VEC_FLUSH   0x81
#define CR4_PGE     BIT64(7)
#define CPUID1D_PGE BIT(13)
#define SHARED_PAGE 0
#define OWN_PAGES   8 /* of the window, from here on one for each CPU */
#define MOV_EAX     0xb8
#define RET         0xc3

static volatile uint64_t sum, locked_sum, second_sum;
static volatile uint8_t lock;
static uint8_t frames[FRAMES][4096] ALIGNED(4096);
static uint8_t code[64] ALIGNED(64);

static void add(struct smp_cpu *me, uint64_t arg)
{
    for (unsigned int i = 0; i < ADDS; i++)
        __asm__ volatile("lock incq %0" : "+m"(sum)::"memory");
}

static void add_locked(struct smp_cpu *me, uint64_t arg)
{
    for (unsigned int i = 0; i < LOCKED_ADDS / smp_stride(); i++) {
        while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
            while (lock)
                cpu_pause();
        locked_sum++;
        if (++second_sum != locked_sum)
            me->mark++;
        __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
    }
}

static unsigned int marks(void)
{
    unsigned int all = 0;

    for (unsigned int i = 0; i < smp_count; i++)
        all += smp_cpus[i].mark;
    return all;
}

static void clear_marks(void)
{
    for (unsigned int i = 0; i < smp_count; i++)
        smp_cpus[i].mark = 0;
}

static void check_atomic(void)
{
    sum = locked_sum = second_sum = 0;
    clear_marks();
    check_eq("atomic-answer", smp_call_all(add, 0, true), true);
    check_eq("atomic-sum", sum, (uint64_t)ADDS * smp_count);
    check_eq("lock-answer", smp_call_all(add_locked, 0, true), true);
    check_eq("lock-sum", locked_sum, (uint64_t)(LOCKED_ADDS / smp_stride()) * smp_count);
    check_eq("lock-excludes", marks(), 0);
}

/* --- TLB shootdown --- */

enum flush { BY_INVLPG, BY_CR3, BY_PGE };

static volatile uint32_t round, flushed;
static volatile enum flush how;
static volatile bool stop;

static void flush_here(void)
{
    switch (how) {
    case BY_INVLPG: invlpg((void *)(GUEST_WINDOW + SHARED_PAGE * PAGE_SIZE_4K)); break;
    case BY_CR3: write_cr3(read_cr3()); break;
    case BY_PGE:
        write_cr4(read_cr4() & ~CR4_PGE);
        write_cr4(read_cr4() | CR4_PGE);
        break;
    }
}

static void on_flush(struct guest_frame *f)
{
    flush_here();
    smp_me()->stamp = round; /* from here on only the new page may be seen */
    __atomic_add_fetch(&flushed, 1, __ATOMIC_SEQ_CST);
    lapic_eoi();
}

/* Reads the page on and on. What it reads may not be older than the last flush. */
static void watch(struct smp_cpu *me, uint64_t arg)
{
    const volatile uint32_t *at =
        (const volatile uint32_t *)(GUEST_WINDOW + SHARED_PAGE * PAGE_SIZE_4K);

    while (!stop) {
        uint32_t before = (uint32_t)me->stamp;
        me->mark += *at < before;
        me->beat++;
    }
}

static void check_shootdown(const char *name, enum flush by)
{
    uint64_t flags = PT_P | PT_W | (by == BY_PGE ? PT_G : 0);
    unsigned int late = 0;

    how = by;
    clear_marks();
    round = 0;
    stop = false;
    memset(frames, 0, sizeof(frames));
    guest_map(SHARED_PAGE, (uintptr_t)frames[0], flags);
    for (unsigned int i = 1; i < smp_count && i < WATCHERS; i++) {
        smp_cpus[i].stamp = 0;
        smp_ask(&smp_cpus[i], watch, 0);
    }
    for (uint32_t i = 1; i <= FLIPS / smp_stride() && !late; i++) {
        uint8_t *frame = frames[i % 2];
        memcpy(frame, &i, sizeof(i));
        flushed = 0;
        round = i;
        __atomic_store_n(&guest_window_pt[SHARED_PAGE], (uintptr_t)frame | flags, __ATOMIC_SEQ_CST);
        flush_here();
        smp_send(0, ICR_TO_OTHER | ICR_ASSERT | VEC_FLUSH);
        late += !SMP_WAIT(flushed == smp_count - 1);
    }
    stop = true;
    for (unsigned int i = 1; i < smp_count; i++)
        smp_wait(&smp_cpus[i]);
    guest_map(SHARED_PAGE, 0, 0);
    check_eq(name, late * 1000000 + marks(), 0);
}

static void set_pge(struct smp_cpu *me, uint64_t on)
{
    write_cr4(on ? read_cr4() | CR4_PGE : read_cr4() & ~CR4_PGE);
}

/* --- page tables that each CPU changes for itself, all in the same table --- */

static void flip_own(struct smp_cpu *me, uint64_t arg)
{
    unsigned int page = OWN_PAGES + me->index;
    volatile uint32_t *at = (volatile uint32_t *)(GUEST_WINDOW + page * PAGE_SIZE_4K);
    uint64_t seed = me->index + 1;

    for (unsigned int i = 0; i < OWN_FLIPS; i++) {
        unsigned int frame = smp_random(&seed) % FRAMES;
        guest_map(page, (uintptr_t)frames[frame], PT_P | PT_W);
        me->mark += at[0] != frame + 1;
        me->mark += !(guest_window_pt[page] & PT_A) || (guest_window_pt[page] & PT_D);
        at[16 + me->index] = i;
        me->mark += !(guest_window_pt[page] & PT_D);
        uint32_t seen;
        memcpy(&seen, frames[frame] + (16 + me->index) * sizeof(seen), sizeof(seen));
        me->mark += seen != i;
    }
    guest_map(page, 0, 0);
}

static void check_own_tables(void)
{
    clear_marks();
    for (uint32_t i = 0; i < FRAMES; i++) {
        uint32_t value = i + 1;
        memcpy(frames[i], &value, sizeof(value));
    }
    check_eq("page-tables-answer", smp_call_all(flip_own, 0, true), true);
    check_eq("page-tables-of-ones-own", marks(), 0);
}

/* --- code that another CPU has changed (SDM vol. 3, 8.1.3) --- */

static void run_code(struct smp_cpu *me, uint64_t arg)
{
    uint32_t value;

    (void)cpuid(0, 0); /* serializes */
    __asm__ volatile("call *%1" : "=a"(value) : "r"(code) : "memory");
    me->mark += value != arg;
}

static void check_code(void)
{
    bool ok = true;

    clear_marks();
    for (uint32_t i = 1; i <= CODE_FLIPS && ok; i++) {
        code[0] = MOV_EAX;
        memcpy(code + 1, &i, sizeof(i));
        code[5] = RET;
        ok = smp_call_all(run_code, i, true);
    }
    check_eq("changed-code-answer", ok, true);
    check_eq("changed-code", marks(), 0);
}

void group_memory(void)
{
    check_atomic();
    check_own_tables();
    check_code();
    guest_on(VEC_FLUSH, on_flush);
    check_shootdown("shootdown-invlpg", BY_INVLPG);
    check_shootdown("shootdown-cr3", BY_CR3);
    if (cpuid(1, 0).edx & CPUID1D_PGE) {
        smp_call_all(set_pge, true, true);
        check_shootdown("shootdown-global-invlpg", BY_INVLPG);
        check_shootdown("shootdown-global-pge", BY_PGE);
        smp_call_all(set_pge, false, true);
    }
}
