#ifndef BULKHEAD_SMP_H
#define BULKHEAD_SMP_H

/* The SMP guest: up to 64 CPUs, found in the MADT and started by INIT and SIPI. Only the boot
 * processor, index 0, prints. The others sleep (STI; HLT) until smp_call() gives them work. */

#include "checks.h"
#include "lib/format.h"

#define SMP_MAX          64u
#define SMP_STACK        16384u /* ap.asm */
#define SMP_IST          4096u
#define SMP_STATE_OFFSET 0x800u
#define SMP_ALL          (~0u)

/* Delivery modes and flags of the ICR (SDM vol. 3, 10.6.1). */
#define ICR_FIXED    0x000u
#define ICR_LOWEST   0x100u
#define ICR_NMI      0x400u
#define ICR_INIT     0x500u
#define ICR_SIPI     0x600u
#define ICR_LOGICAL  BIT(11)
#define ICR_PENDING  BIT(12)
#define ICR_ASSERT   BIT(14)
#define ICR_LEVEL    BIT(15)
#define ICR_TO_SELF  (1u << 18)
#define ICR_TO_ALL   (2u << 18)
#define ICR_TO_OTHER (3u << 18)

#define MSR_TSC_ADJUST   0x3bu
#define MSR_APIC_BASE    0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_EFER         0xc0000080u
#define MSR_GS_BASE      0xc0000101u
#define BASE_BSP         BIT64(8)
#define BASE_X2          BIT64(10)
#define BASE_ENABLE      BIT64(11)
#define EFER_LMA         BIT64(10)
#define LVT_MASKED       0x10000u
#define LVT_PERIODIC     0x20000u
#define LVT_DEADLINE     0x40000u
#define TIMER_DIV_1      0xbu

#define VEC_NMI   2
#define VEC_PIC   0x20 /* IRQ 0 by way of the 8259: no EOI to the LAPIC */
#define VEC_TEST  0x51
#define VEC_TIMER 0x61
#define VEC_IRQ   0x71
#define VEC_HIGH  0x91
#define VEC_KICK  0xf1

/* What a processor finds at its start; ap.asm fills it. */
struct PACKED smp_state {
    uint32_t eax, ebx, ecx, edx, esi, edi, ebp, esp, eflags;
    uint32_t cr0, cr2, cr3, cr4, dr6, dr7, efer, dr0, free;
    uint16_t cs, ds, es, ss, fs, gs;
    uint16_t gdt_limit;
    uint32_t gdt_base;
    uint16_t idt_limit;
    uint32_t idt_base;
};
static_assert(offsetof(struct smp_state, cs) == 72 && sizeof(struct smp_state) == 96, "ap.asm");

/* Its LAPIC then. */
struct smp_lapic_state {
    uint64_t base;
    uint32_t id, svr, tpr, ldr, dfr, timer, lint0, lint1, error, count, requested, in_service;
};

struct smp_cpu;
typedef void smp_work(struct smp_cpu *me, uint64_t arg);

#define SMP_LOG 16
struct ALIGNED(64) smp_cpu {
    struct smp_cpu *self; /* at GS:0 */
    unsigned int index;
    uint32_t apic_id;
    volatile uint32_t starts; /* how often it has come in from its trampoline */
    volatile uint32_t page;   /* where from, the last time */
    struct smp_lapic_state lapic_state;
    smp_work *volatile work;
    volatile uint64_t arg;
    volatile uint32_t asked, done;
    volatile uint64_t beat; /* counts on while it computes */
    volatile uint32_t mark; /* the tests' own */
    volatile uint64_t stamp, result;
    volatile bool hold_nmi; /* an NMI's handler waits for this to be false */
    volatile uint32_t counts[256];
    volatile uint8_t log[SMP_LOG];
    volatile unsigned int logged;
    uint64_t gdt[GUEST_GDT_SLOTS];
    uint8_t tss[104];
};

extern struct smp_cpu smp_cpus[SMP_MAX];
extern unsigned int smp_count;  /* CPUs that have started, BSP included */
extern unsigned int smp_listed; /* in the MADT */
extern uint32_t smp_irq0_pin;
extern const uint32_t smp_pages[2]; /* the trampolines */

static inline struct smp_cpu *smp_me(void)
{
    struct smp_cpu *me;

    __asm__ volatile("mov %%gs:0, %0" : "=r"(me));
    return me;
}

static inline uint64_t smp_bit(unsigned int index)
{
    return BIT64(index);
}

/* Of many CPUs the checks that take each in turn take about eight. */
static inline unsigned int smp_stride(void)
{
    return MAX(1u, smp_count / 8);
}

/* All that have started. */
static inline uint64_t smp_mask(void)
{
    return smp_count == 64 ? ~0ull : BIT64(smp_count) - 1;
}

/* --- cpus.c --- */

/* Reads the MADT; false (and a line that says why): there is none. */
bool smp_find(void);
/* Starts all; prints a line for each that does not come. */
void smp_start_all(void);
/* INIT and SIPI to one. False: it has not come in within smp_patience. */
bool smp_restart(struct smp_cpu *cpu, unsigned int page);
/* ICR: destination (an id, or logical) and low half. */
void smp_send(uint32_t destination, uint32_t icr);
uint32_t smp_broadcast(void); /* the destination of all, physical mode */
/* LAPIC of this CPU: as lapic_is_x2() says, enabled, all masked, TPR 0. */
void smp_lapic_here(void);
/* All CPUs' LAPICs to that mode; false: there is no such. */
bool smp_set_mode(bool x2);
/* Gives a CPU work and wakes it by an IPI; smp_wait() until it is done (false: not in time). */
void smp_ask(struct smp_cpu *cpu, smp_work *work, uint64_t arg);
bool smp_wait(struct smp_cpu *cpu);
bool smp_call(struct smp_cpu *cpu, smp_work *work, uint64_t arg);
/* On all others, then on this one if `here`. */
bool smp_call_all(smp_work *work, uint64_t arg, bool here);
/* All others have run since, and taken what was pending. */
bool smp_sync(void);
void smp_clear_counts(void);
void smp_work_loop(struct smp_cpu *me); /* never returns */

extern uint64_t smp_tsc_ms;   /* ticks of a millisecond */
extern uint64_t smp_patience; /* ticks until something counts as lost */
void smp_wait_us(uint64_t us);
uint32_t smp_random(uint64_t *state); /* xorshift64 */

/* Until `cond`; its value at last. */
#define SMP_WAIT_TICKS(cond, ticks)                              \
    ({                                                           \
        uint64_t wait_from = rdtsc();                            \
        while (!(cond) && rdtsc() - wait_from < (uint64_t)ticks) \
            cpu_pause();                                         \
        (cond);                                                  \
    })
#define SMP_WAIT(cond) SMP_WAIT_TICKS(cond, smp_patience)

/* --- Checks --- */

extern bool smp_native; /* the word `native`: not in Bulkhead */

void group_topology(void);
void topology_ids(const char *mode); /* who is who, in the LAPICs' mode */
void group_start(void);
void group_delivery(void);
void group_ioapic(void);
void group_time(void);
void group_memory(void);

/* --- the other things to do; they end with the guest, or never --- */

void storm_ipi(uint64_t seconds);
void storm_init(uint64_t seconds);
void work_share(void);
void work_counter(void);
void work_idle(void);
void work_watch(void);
void work_ping(uint64_t seconds);
void measure_rows(void);

#endif
