#include "arch/x86/lapic.h"

#include "arch/x86/asm.h"
#include "arch/x86/mm/address_space.h"
#include "arch/x86/msr.h"
#include "arch/x86/time.h"
#include "lib/error.h"
#include "lib/log.h"
#include "vmm/irqchip/lapic_regs.h"
#include "vmm/timer.h"

#define LVT_NMI     (4u << LVT_MODE_SHIFT)
#define TIMER_DIV_1 0x0b
#define TPR_WATCH   0xe0 /* vectors above 0xef only (SDM vol. 3, 11.8.3.1) */

#define X2APIC_ID_MAX   (UINT32_MAX - 1)
#define ICR_IDLE_ROUNDS 100000u
#define CALIBRATION_NS  1000000u

#define APIC_BASE_PAGE 0x000ffffffffff000ull /* of IA32_APIC_BASE */

#define PIC1_DATA 0x21
#define PIC2_DATA 0xa1
#define PIC_ALL   0xff

static volatile char *lapic_mmio; /* NULL: x2APIC mode */
static bool tsc_deadline;
bool lapic_hw_want_x2apic INIT_DATA;
static uint64_t ticks_per_tsc = BIT64(32) / 32; /* 32.32 fixed point; at first a guess */

static uint32_t apic_read(unsigned int reg)
{
    if (lapic_mmio)
        return *(volatile uint32_t *)(lapic_mmio + reg);
    return (uint32_t)rdmsr(MSR_X2APIC_FIRST + reg / 16);
}

static void apic_write(unsigned int reg, uint32_t value)
{
    if (lapic_mmio)
        *(volatile uint32_t *)(lapic_mmio + reg) = value;
    else
        wrmsr(MSR_X2APIC_FIRST + reg / 16, value);
}

/* Counts of the LAPIC timer in a millisecond of TSC time. */
INIT static int calibrate_timer(void)
{
    uint64_t span = ns_span_to_tsc(CALIBRATION_NS);

    apic_write(LAPIC_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
    apic_write(LAPIC_TIMER_INIT, UINT32_MAX);
    uint64_t start = rdtsc();
    while (rdtsc() - start < span)
        cpu_pause();
    uint32_t counted = UINT32_MAX - apic_read(LAPIC_TIMER_CUR);
    uint64_t elapsed = rdtsc() - start;
    apic_write(LAPIC_TIMER_INIT, 0);
    if (counted == 0) {
        log_error("the local APIC timer does not count");
        return -BH_ENOTSUP;
    }
    ticks_per_tsc = ((uint64_t)counted << 32) / elapsed;
    return 0;
}

/* With APICs in use, the 8259s have to be masked (ACPI 6.5, 5.2.12.1); firmware leaves them on. */
INIT static void mask_8259s(void)
{
    outb(PIC1_DATA, PIC_ALL);
    outb(PIC2_DATA, PIC_ALL);
}

static void set_timer(uint32_t vector)
{
    apic_write(LAPIC_LVT_TIMER, vector | (tsc_deadline ? LVT_TIMER_DEADLINE : 0));
    __asm__ volatile("mfence" ::: "memory"); /* before a deadline (SDM vol. 3, 11.5.4.1) */
}

void lapic_hw_watch(bool watch)
{
    set_timer(watch ? VECTOR_WATCHDOG : VECTOR_TIMER);
    apic_write(LAPIC_TPR, watch ? TPR_WATCH : 0);
}

INIT void lapic_hw_init_cpu(void)
{
    apic_write(LAPIC_SVR, SVR_ENABLE | VECTOR_SPURIOUS);
    apic_write(LAPIC_TPR, 0);
    apic_write(LAPIC_LVT_LINT0, LVT_MASKED);
    apic_write(LAPIC_LVT_LINT1, LVT_NMI);
    apic_write(LAPIC_LVT_PERF, LVT_MASKED);
    apic_write(LAPIC_TIMER_DIV, TIMER_DIV_1);
    set_timer(VECTOR_TIMER);
}

INIT int lapic_hw_init(void)
{
    uint64_t base = rdmsr(MSR_APIC_BASE);

    if (!(base & APIC_BASE_ENABLE)) {
        base |= APIC_BASE_ENABLE;
        wrmsr(MSR_APIC_BASE, base);
    }
    if (!(base & APIC_BASE_X2APIC)) {
        lapic_mmio = device_map(base & APIC_BASE_PAGE, PAGE_SIZE_4K);
        if (!lapic_mmio)
            return -BH_ENOMEM;
    }
    mask_8259s();
    tsc_deadline = (cpuid(1, 0).ecx & CPUID1_ECX_TSC_DEADLINE) != 0;
    lapic_hw_init_cpu();
    return 0;
}

INIT int lapic_hw_set_up(void)
{
    if (lapic_mmio && lapic_hw_want_x2apic && (cpuid(1, 0).ecx & CPUID1_ECX_X2APIC)) {
        /* From the enabled state only (SDM vol. 3, figure 11-27). */
        wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_X2APIC);
        lapic_mmio = NULL;
        lapic_hw_init_cpu();
    }
    if (!tsc_deadline) {
        int err = calibrate_timer();
        if (err)
            return err;
        set_timer(VECTOR_TIMER);
    }
    log_info("lapic: id %u, %s mode, timer %s", lapic_hw_id(), lapic_mmio ? "xAPIC" : "x2APIC",
             tsc_deadline ? "TSC deadline" : "one-shot");
    return 0;
}

uint32_t lapic_hw_id(void)
{
    uint32_t id = apic_read(LAPIC_ID);

    return lapic_mmio ? id >> 24 : id;
}

INIT uint64_t lapic_hw_registers(void)
{
    return (uint64_t)lapic_mmio;
}

INIT uint32_t lapic_hw_max_id(void)
{
    return lapic_mmio ? XAPIC_ID_MAX : X2APIC_ID_MAX;
}

static void wait_until_sent(void)
{
    for (unsigned int i = 0; i < ICR_IDLE_ROUNDS && (apic_read(LAPIC_ICR) & ICR_PENDING); i++)
        cpu_pause();
}

void lapic_hw_send(uint32_t apic_id, uint32_t command)
{
    if (!lapic_mmio) {
        /* These writes wait for no stores (SDM vol. 3, 11.12.3). */
        __asm__ volatile("mfence; lfence" ::: "memory");
        wrmsr(MSR_X2APIC_FIRST + LAPIC_ICR / 16, (uint64_t)apic_id << 32 | command);
        return;
    }
    wait_until_sent();
    apic_write(LAPIC_ICR_HIGH, apic_id << 24);
    apic_write(LAPIC_ICR, command);
    wait_until_sent();
}

uint32_t lapic_hw_destination(void)
{
    return lapic_mmio ? apic_read(LAPIC_ICR_HIGH) : 0;
}

void lapic_hw_set_destination(uint32_t destination)
{
    if (lapic_mmio)
        apic_write(LAPIC_ICR_HIGH, destination);
}

void lapic_hw_eoi(void)
{
    apic_write(LAPIC_EOI, 0);
}

void lapic_hw_timer_arm(uint64_t deadline)
{
    if (tsc_deadline) {
        /* 0 disarms; a deadline in the past fires at once (SDM vol. 3, 11.5.4.1). */
        wrmsr(MSR_TSC_DEADLINE, deadline == TIMER_NEVER ? 0 : MAX(deadline, (uint64_t)1));
        return;
    }
    if (deadline == TIMER_NEVER) {
        apic_write(LAPIC_TIMER_INIT, 0);
        return;
    }
    uint64_t now = rdtsc();
    uint64_t left = deadline > now ? mul_shift32(deadline - now, ticks_per_tsc) + 1 : 1;
    apic_write(LAPIC_TIMER_INIT, (uint32_t)MIN(left, (uint64_t)UINT32_MAX));
}
