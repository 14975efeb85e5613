/* The machine's interrupts and who gets them: the I/O APIC's input of the PIT, and the 8259. */

#include "smp.h"

#define PIC1_DATA     0x21
#define PIC1_CMD      0x20
#define PIC_EOI       0x20
#define PIC_NO_IRQ0   0xff
#define PIC_IRQ0      0xfe
#define PIT_CH0       0x40
#define PIT_MODE      0x43
#define PIT_ONESHOT   0x30 /* channel 0, both bytes, mode 0 */
#define PIT_COUNT     600  /* half a millisecond */
#define IOREDTBL      0x10
#define REDIR_MASKED  BIT(16)
#define REDIR_LOGICAL BIT(11)
#define REDIR_LOWEST  0x100u
#define LVT_EXTINT    0x700u
#define FLAT_BITS     8u
#define ROUNDS        8

static uint64_t wrong_got, wrong_expected;
static unsigned int wrong;

static void ioapic_write(uint32_t index, uint32_t value)
{
    volatile uint32_t *window = (volatile uint32_t *)GUEST_IOAPIC;

    window[0] = index;
    window[4] = value;
}

static void route(uint32_t low, uint32_t destination)
{
    uint32_t at = IOREDTBL + smp_irq0_pin * 2;

    ioapic_write(at, REDIR_MASKED);
    ioapic_write(at + 1, destination << 24);
    ioapic_write(at, low);
}

static void pit_start(void)
{
    outb(PIT_MODE, PIT_ONESHOT);
    outb(PIT_CH0, PIT_COUNT & 0xff);
    outb(PIT_CH0, PIT_COUNT >> 8);
}

static uint64_t who_got(unsigned int vector)
{
    uint64_t mask = 0;

    for (unsigned int i = 0; i < smp_count; i++)
        mask |= smp_cpus[i].counts[vector] ? smp_bit(i) : 0;
    return mask;
}

static unsigned int sum_of(unsigned int vector)
{
    unsigned int sum = 0;

    for (unsigned int i = 0; i < smp_count; i++)
        sum += smp_cpus[i].counts[vector];
    return sum;
}

/* One edge of the PIT; who got it. `count`: so many interrupts there must be. */
static uint64_t fire(unsigned int vector, unsigned int count)
{
    smp_clear_counts();
    pit_start();
    if (count)
        SMP_WAIT(sum_of(vector) >= count);
    else
        smp_wait_us(2000);
    smp_sync();
    if (sum_of(vector) != count)
        wrong++;
    return who_got(vector);
}

static void expect(uint64_t got, uint64_t expected)
{
    if (got == expected)
        return;
    wrong++;
    wrong_got = got;
    wrong_expected = expected;
}

static void report(const char *name)
{
    char text[60];

    format(text, sizeof(text), "0x%llx, one each (%u wrong)", LLU(wrong_expected), wrong);
    check_that(name, wrong == 0, wrong_got, text);
    wrong = 0;
    wrong_got = wrong_expected = 0;
}

static void set_flat(struct smp_cpu *me, uint64_t arg)
{
    lapic_write(LAPIC_REG_DFR, UINT32_MAX);
    lapic_write(LAPIC_REG_LDR, me->index < FLAT_BITS ? BIT(me->index) << 24 : 0);
}

static void check_flat(void)
{
    unsigned int flat = MIN(smp_count, FLAT_BITS);
    uint64_t all = BIT64(flat) - 1;

    smp_call_all(set_flat, 0, true);
    for (unsigned int i = 0; i < flat; i++) {
        route(REDIR_LOGICAL | VEC_IRQ, BIT(i));
        expect(fire(VEC_IRQ, 1), smp_bit(i));
    }
    report("logical-each");
    route(REDIR_LOGICAL | VEC_IRQ, 0xff);
    expect(fire(VEC_IRQ, flat), all);
    report("logical-all");
    for (unsigned int i = 0; i < ROUNDS; i++) {
        route(REDIR_LOGICAL | REDIR_LOWEST | VEC_IRQ, 0xff);
        uint64_t got = fire(VEC_IRQ, 1);
        expect(got & ~all, 0);
    }
    report("lowest-priority-one");
}

static void on_pic(struct guest_frame *f)
{
    smp_me()->counts[VEC_PIC]++;
    outb(PIC1_CMD, PIC_EOI);
}

static void check_extint(void)
{
    route(REDIR_MASKED, 0);
    guest_on(VEC_PIC, on_pic);
    lapic_write(LAPIC_REG_LVT_LINT0, LVT_EXTINT);
    outb(PIC1_DATA, PIC_IRQ0);
    /* The edge of unmasking, if the PIT's output is high: not counted. */
    smp_wait_us(1000);
    expect(fire(VEC_PIC, 1), smp_bit(0));
    expect(fire(VEC_PIC, 1), smp_bit(0));
    report("extint-to-the-bsp");
    outb(PIC1_DATA, PIC_NO_IRQ0);
    lapic_write(LAPIC_REG_LVT_LINT0, LVT_MASKED);
}

void group_ioapic(void)
{
    if (lapic_is_x2()) {
        check_skip("ioapic", "in xAPIC mode only");
        return;
    }
    for (unsigned int i = 0; i < smp_count; i += smp_stride()) {
        route(VEC_IRQ, smp_cpus[i].apic_id);
        expect(fire(VEC_IRQ, 1), smp_bit(i));
    }
    report("physical-each");
    for (unsigned int i = 0; i < smp_count; i += smp_stride()) {
        route(REDIR_MASKED | VEC_IRQ, smp_cpus[i].apic_id);
        expect(fire(VEC_IRQ, 0), 0);
    }
    report("masked");
    route(VEC_IRQ, 0xff);
    expect(fire(VEC_IRQ, smp_count), smp_mask());
    report("broadcast");
    route(VEC_IRQ, smp_listed);
    expect(fire(VEC_IRQ, 0), 0);
    report("nobody");
    check_flat();
    check_extint();
}
