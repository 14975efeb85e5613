/* Priorities, IRR and ISR, TPR and CR8, IPIs (SDM vol. 3, 10.6 and 10.8), in xAPIC mode. */

#include "check.h"

#define LOW_VEC  0x51
#define HIGH_VEC 0x91
#define SVR_ON   0x1ffu
#define SVR_OFF  0x0ffu
#define LVT_MASK 0x10000u
#define ESR_SEND BIT(5)
#define LOGICAL  BIT(11)
#define ALL_SELF 0x80000u
#define CLASS(v) ((v)&0xf0)

SNIPPET(l_open, "sti; nop; nop; nop; cli");
SNIPPET(l_set_cr8, "mov %rax, %cr8");
SNIPPET(l_cr8_if, "sti; nop; mov %rax, %cr8\nl_cr8_if_at: nop; nop; cli");
extern const uint8_t l_cr8_if_at[];

static uint32_t reg_bit(uint32_t reg, unsigned int vector)
{
    return lapic_read(reg + vector / 32 * 16) >> vector % 32 & 1;
}

static void open_interrupts(void)
{
    struct guest_regs r = {0};

    guest_exec(l_open, &r);
}

static void write_cr8(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr8" ::"r"(value) : "memory");
}

static uint64_t read_cr8(void)
{
    uint64_t value;

    __asm__ volatile("mov %%cr8, %0" : "=r"(value)::"memory");
    return value;
}

static void check_order(void)
{
    guest_irq_clear();
    lapic_send_self(LOW_VEC);
    lapic_send_self(HIGH_VEC);
    check_eq("irr-while-if-clear",
             reg_bit(LAPIC_REG_IRR, LOW_VEC) << 1 | reg_bit(LAPIC_REG_IRR, HIGH_VEC), 3);
    check_eq("isr-while-if-clear", reg_bit(LAPIC_REG_ISR, LOW_VEC), 0);
    open_interrupts();
    check_eq("higher-first", guest_irq_log[0].vector << 8 | guest_irq_log[1].vector,
             HIGH_VEC << 8 | LOW_VEC);
    check_eq("irr-afterwards", reg_bit(LAPIC_REG_IRR, LOW_VEC), 0);
    guest_irq_clear();
    lapic_send_self(LOW_VEC);
    lapic_send_self(LOW_VEC);
    open_interrupts();
    check_eq("same-vector-once", guest_irq_count, 1);
}

static struct {
    uint32_t isr_own, isr_high, irr_own, ppr, count_low, nested_high, low_again;
} seen;

static void on_low(struct guest_frame *f)
{
    seen.count_low++;
    if (seen.count_low > 1) {
        lapic_eoi();
        return;
    }
    seen.isr_own = reg_bit(LAPIC_REG_ISR, LOW_VEC);
    seen.irr_own = reg_bit(LAPIC_REG_IRR, LOW_VEC);
    seen.ppr = lapic_read(LAPIC_REG_PPR);
    lapic_send_self(LOW_VEC);  /* waits: the same class is in service */
    lapic_send_self(HIGH_VEC); /* comes in between */
    __asm__ volatile("sti; nop; nop; nop; cli" ::: "memory");
    seen.nested_high = guest_interrupts[HIGH_VEC];
    seen.low_again = seen.count_low;
    lapic_eoi();
}

static void on_high(struct guest_frame *f)
{
    guest_interrupts[HIGH_VEC]++;
    seen.isr_high = reg_bit(LAPIC_REG_ISR, LOW_VEC) << 1 | reg_bit(LAPIC_REG_ISR, HIGH_VEC);
    lapic_eoi();
    seen.isr_high = seen.isr_high << 2 | reg_bit(LAPIC_REG_ISR, LOW_VEC) << 1 |
                    reg_bit(LAPIC_REG_ISR, HIGH_VEC);
}

static void check_service(void)
{
    guest_irq_clear();
    guest_on(LOW_VEC, on_low);
    guest_on(HIGH_VEC, on_high);
    lapic_send_self(LOW_VEC);
    open_interrupts();
    guest_on(LOW_VEC, NULL);
    guest_on(HIGH_VEC, NULL);
    check_eq("isr-in-handler", seen.isr_own, 1);
    check_eq("irr-in-handler", seen.irr_own, 0);
    check_eq("ppr-in-handler", CLASS(seen.ppr), CLASS(LOW_VEC));
    check_eq("higher-interrupts-handler", seen.nested_high, 1);
    check_eq("same-class-waits", seen.low_again, 1);
    check_eq("same-vector-comes-after-eoi", seen.count_low, 2);
    check_eq("eoi-takes-the-highest", seen.isr_high, 0xe);
    check_eq("isr-afterwards", reg_bit(LAPIC_REG_ISR, LOW_VEC), 0);
    check_eq("ppr-afterwards", lapic_read(LAPIC_REG_PPR), 0);
}

static void check_tpr(void)
{
    struct guest_regs r = {.rax = 16};

    write_cr8(5);
    check_eq("cr8-in-tpr", lapic_read(LAPIC_REG_TPR), 0x50);
    check_eq("cr8-in-ppr", lapic_read(LAPIC_REG_PPR), 0x50);
    lapic_write(LAPIC_REG_TPR, 0x8a);
    check_eq("tpr-in-cr8", read_cr8(), 8);
    check_eq("tpr-sub-class-kept", lapic_read(LAPIC_REG_TPR), 0x8a);
    check_eq("cr8-over-15", (uint64_t)guest_exec(l_set_cr8, &r), EXC_GP);
    check_eq("cr8-over-15-kept", read_cr8(), 8);
    guest_irq_clear();
    write_cr8(5);
    lapic_send_self(LOW_VEC);
    lapic_send_self(0x61);
    open_interrupts();
    check_eq("cr8-blocks-its-class", guest_interrupts[LOW_VEC], 0);
    check_eq("cr8-lets-higher-in", guest_interrupts[0x61], 1);
    r.rax = 4;
    guest_exec(l_cr8_if, &r);
    check_eq("lower-cr8-lets-it-in", guest_interrupts[LOW_VEC], 1);
    check_eq("lower-cr8-at-once", guest_irq_log[1].rip, (uintptr_t)l_cr8_if_at);
    guest_irq_clear();
    lapic_send_self(LOW_VEC); /* waits for IF, while CR8 changes */
    write_cr8(5);
    open_interrupts();
    check_eq("raised-cr8-blocks-what-waits", guest_irq_count, 0);
    write_cr8(0);
    lapic_send_self(HIGH_VEC);
    write_cr8(0xf);
    write_cr8(4);
    open_interrupts();
    check_eq("cr8-while-two-wait", guest_irq_log[0].vector << 8 | guest_irq_log[1].vector,
             HIGH_VEC << 8 | LOW_VEC);
    guest_irq_clear();
    lapic_write(LAPIC_REG_TPR, 0x50);
    lapic_send_self(LOW_VEC);
    open_interrupts();
    check_eq("tpr-blocks", guest_irq_count, 0);
    lapic_write(LAPIC_REG_TPR, 0);
    open_interrupts();
    check_eq("lower-tpr-lets-it-in", guest_irq_count, 1);
    check_eq("cr8-0", read_cr8(), 0);
}

static uint32_t send_and_count(uint32_t icr_high, uint32_t icr)
{
    guest_irq_clear();
    lapic_write(LAPIC_REG_ICR_HIGH, icr_high);
    lapic_write(LAPIC_REG_ICR, icr);
    open_interrupts();
    return guest_irq_count;
}

static void check_ipi(void)
{
    uint32_t id = lapic_read(LAPIC_REG_ID) & 0xff000000;

    check_eq("ipi-physical", send_and_count(id, LOW_VEC), 1);
    check_eq("ipi-shorthand-self", send_and_count(0, LAPIC_TO_SELF | LOW_VEC), 1);
    check_eq("ipi-shorthand-all", send_and_count(0, ALL_SELF | LOW_VEC), 1);
    check_eq("ipi-all-but-self", send_and_count(0, ALL_SELF | LAPIC_TO_SELF | LOW_VEC), 0);
    check_eq("ipi-broadcast", send_and_count(0xff000000, LOW_VEC), 1);
    check_eq("ipi-nobody", send_and_count(0x0e000000, LOW_VEC), 0);
    lapic_write(LAPIC_REG_DFR, 0xffffffff);
    lapic_write(LAPIC_REG_LDR, 0x04000000);
    check_eq("ipi-logical", send_and_count(0x06000000, LOGICAL | LOW_VEC), 1);
    check_eq("ipi-logical-other", send_and_count(0x03000000, LOGICAL | LOW_VEC), 0);
    check_eq("ldr", lapic_read(LAPIC_REG_LDR), 0x04000000);
    lapic_write(LAPIC_REG_ESR, 0);
    check_eq("ipi-illegal-vector", send_and_count(id, 0x0f), 0);
    lapic_write(LAPIC_REG_ESR, 0);
    check_eq("esr-illegal-vector", lapic_read(LAPIC_REG_ESR) & ESR_SEND, ESR_SEND);
    lapic_write(LAPIC_REG_ESR, 0);
    check_eq("esr-cleared", lapic_read(LAPIC_REG_ESR), 0);
    check_eq("icr-not-pending", lapic_read(LAPIC_REG_ICR) >> 12 & 1, 0);
}

static void check_registers(void)
{
    check_range("version", lapic_read(LAPIC_REG_VERSION) & 0xff, 0x10, 0x1f);
    check_range("max-lvt", lapic_read(LAPIC_REG_VERSION) >> 16 & 0xff, 3, 6);
    check_eq("svr", lapic_read(LAPIC_REG_SVR) & SVR_ON, SVR_ON);
    lapic_write(LAPIC_REG_LVT_ERROR, 0x73);
    check_eq("lvt-kept", lapic_read(LAPIC_REG_LVT_ERROR), 0x73);
    lapic_write(LAPIC_REG_SVR, SVR_OFF);
    check_eq("software-disable-masks-lvt", lapic_read(LAPIC_REG_LVT_ERROR) & LVT_MASK, LVT_MASK);
    lapic_write(LAPIC_REG_LVT_ERROR, 0x73);
    check_eq("lvt-stays-masked", lapic_read(LAPIC_REG_LVT_ERROR) & LVT_MASK, LVT_MASK);
    lapic_write(LAPIC_REG_SVR, SVR_ON);
    check_eq("lvt-masked-afterwards", lapic_read(LAPIC_REG_LVT_ERROR) & LVT_MASK, LVT_MASK);
    lapic_write(LAPIC_REG_LVT_ERROR, LVT_MASK);
    uint32_t version = lapic_read(LAPIC_REG_VERSION);
    lapic_write(LAPIC_REG_VERSION, 0);
    check_eq("version-read-only", lapic_read(LAPIC_REG_VERSION), version);
}

void group_lapic(void)
{
    check_registers();
    check_order();
    check_service();
    check_tpr();
    check_ipi();
}
