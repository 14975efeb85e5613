/* The LAPIC in x2APIC mode (SDM vol. 3, 10.12). */

#include "check.h"

#define VEC         0x74
#define BASE_ENABLE BIT64(11)
#define BASE_X2     BIT64(10)
#define BASE_BSP    BIT64(8)
#define X2_ID       0x802u
#define X2_VERSION  0x803u
#define X2_TPR      0x808u
#define X2_PPR      0x80au
#define X2_EOI      0x80bu
#define X2_LDR      0x80du
#define X2_DFR      0x80eu
#define X2_SVR      0x80fu
#define X2_IRR      0x820u
#define X2_ESR      0x828u
#define X2_ICR      0x830u
#define X2_ICR_HIGH 0x831u
#define X2_TIMER    0x832u
#define X2_INIT     0x838u
#define X2_CURRENT  0x839u
#define X2_DIVIDE   0x83eu
#define X2_SELF     0x83fu

SNIPPET(y_open, "sti; nop; nop; nop; cli");
SNIPPET(y_halt, "sti; hlt; cli");
SNIPPET(y_self, "wrmsr; sti; nop\ny_self_at: nop; cli");
extern const uint8_t y_self_at[];

static uint32_t count_after(const uint8_t *code)
{
    struct guest_regs r = {0};

    guest_exec(code, &r);
    return guest_irq_count;
}

static void check_access(void)
{
    static const struct {
        const char *name;
        uint32_t msr;
        bool write;
        uint64_t value;
    } bad[] = {
        {"dfr-read", X2_DFR, false, 0},
        {"dfr-write", X2_DFR, true, 0},
        {"icr-high-read", X2_ICR_HIGH, false, 0},
        {"eoi-read", X2_EOI, false, 0},
        {"self-ipi-read", X2_SELF, false, 0},
        {"id-write", X2_ID, true, 0},
        {"version-write", X2_VERSION, true, 0},
        {"ppr-write", X2_PPR, true, 0},
        {"ldr-write", X2_LDR, true, 0},
        {"eoi-not-0", X2_EOI, true, 1},
        {"esr-not-0", X2_ESR, true, 1},
        {"tpr-reserved", X2_TPR, true, 0x100},
        {"tpr-upper-half", X2_TPR, true, BIT64(32)},
        {"hole-read", 0x801, false, 0},
        {"hole-write", 0x807, true, 0},
        {"last-read", 0x8ff, false, 0},
        {"current-count-write", X2_CURRENT, true, 1},
        {"irr-write", X2_IRR, true, 0},
    };
    uint64_t value;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        int vector =
            bad[i].write ? try_wrmsr(bad[i].msr, bad[i].value) : try_rdmsr(bad[i].msr, &value);
        check_eq(bad[i].name, (uint64_t)vector, EXC_GP);
    }
}

static void check_registers(uint32_t id, uint32_t version)
{
    check_eq("id", rdmsr(X2_ID), id);
    check_eq("version", rdmsr(X2_VERSION), version);
    check_eq("ldr", rdmsr(X2_LDR), (id >> 4) << 16 | BIT(id & 15));
    check_eq("svr", rdmsr(X2_SVR) & 0x1ff, 0x1ff);
    wrmsr(X2_TPR, 0x50);
    check_eq("tpr", rdmsr(X2_TPR), 0x50);
    check_eq("ppr", rdmsr(X2_PPR), 0x50);
    uint64_t cr8;
    __asm__ volatile("mov %%cr8, %0" : "=r"(cr8));
    check_eq("tpr-in-cr8", cr8, 5);
    __asm__ volatile("mov %0, %%cr8" ::"r"(9ull) : "memory");
    wrmsr(X2_SVR, rdmsr(X2_SVR));
    __asm__ volatile("mov %%cr8, %0" : "=r"(cr8));
    check_eq("cr8-after-svr", cr8, 9);
    __asm__ volatile("mov %0, %%cr8" ::"r"(0ull) : "memory");
    check_eq("cr8-in-tpr", rdmsr(X2_TPR), 0);
}

static void check_interrupts(void)
{
    struct guest_regs r = {.rcx = X2_SELF, .rax = VEC};
    uint64_t id = rdmsr(X2_ID);

    guest_irq_clear();
    wrmsr(X2_SELF, VEC);
    check_eq("self-ipi-irr", rdmsr(X2_IRR + VEC / 32) >> VEC % 32 & 1, 1);
    check_eq("self-ipi", count_after(y_open), 1);
    check_eq("self-ipi-irr-afterwards", rdmsr(X2_IRR + VEC / 32) >> VEC % 32 & 1, 0);
    guest_irq_clear();
    guest_exec(y_self, &r);
    check_eq("self-ipi-after-sti", guest_irq_log[0].rip, (uintptr_t)y_self_at);
    guest_irq_clear();
    wrmsr(X2_ICR, id << 32 | VEC);
    check_eq("icr-physical", count_after(y_open), 1);
    check_eq("icr-reads-back", rdmsr(X2_ICR) & 0xffffffff0000ffffull & ~BIT64(14), id << 32 | VEC);
    guest_irq_clear();
    wrmsr(X2_ICR, (uint64_t)UINT32_MAX << 32 | VEC);
    check_eq("icr-broadcast", count_after(y_open), 1);
    guest_irq_clear();
    wrmsr(X2_ICR, (id + 7) << 32 | VEC);
    check_eq("icr-nobody", count_after(y_open), 0);
    guest_irq_clear();
    lapic_send_self(LAPIC_NMI);
    check_eq("icr-nmi", count_after(y_open), 1);
    guest_irq_clear();
    wrmsr(X2_DIVIDE, 0xb);
    wrmsr(X2_TIMER, VEC);
    wrmsr(X2_INIT, 20000);
    check_eq("timer", count_after(y_halt), 1);
    wrmsr(X2_TIMER, 0x10000);
}

void group_x2apic(void)
{
    uint32_t id = lapic_read(LAPIC_REG_ID) >> 24, version = lapic_read(LAPIC_REG_VERSION);

    if (!has.x2apic || !lapic_set_mode(true)) {
        check_skip("x2apic", "no x2APIC");
        return;
    }
    check_eq("base", rdmsr(MSR_APIC_BASE), GUEST_LAPIC | BASE_ENABLE | BASE_BSP | BASE_X2);
    check_eq("to-xapic", (uint64_t)try_wrmsr(MSR_APIC_BASE, GUEST_LAPIC | BASE_ENABLE | BASE_BSP),
             EXC_GP);
    check_registers(id, version);
    check_access();
    check_interrupts();
    if (!has.native) {
        check_eq("no-mmio", *(volatile uint32_t *)(GUEST_LAPIC + LAPIC_REG_VERSION), UINT32_MAX);
        check_eq("back-to-xapic", lapic_set_mode(false), true);
        check_eq("back-id", lapic_read(LAPIC_REG_ID) >> 24, id);
        guest_irq_clear();
        lapic_send_self(VEC);
        check_eq("back-ipi", count_after(y_open), 1);
    }
}
