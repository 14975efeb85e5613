/* The 8259, its way through LINT0, and the I/O APIC's edge-triggered inputs, with the PIT as
 * source. */

#include "check.h"

#define PIC1_CMD    0x20
#define PIC1_DATA   0x21
#define OCW3_IRR    0x0a
#define OCW3_ISR    0x0b
#define PIC_EOI     0x20
#define PIT_CH0     0x40
#define PIT_MODE    0x43
#define PIT_ONESHOT 0x30 /* channel 0, both bytes, mode 0 */
#define PIT_COUNT   600  /* half a millisecond */
#define VEC_PIC     0x20
#define VEC_IOAPIC  0x72
#define LVT_EXTINT  0x700u
#define LVT_MASK    0x10000u
#define IOAPIC_PIN  2 /* where the PIT is wired to */

SNIPPET(c_halt, "sti; hlt; cli");
SNIPPET(c_open, "sti; nop; nop; nop; cli");

static volatile uint32_t *ioapic(unsigned int index)
{
    volatile uint32_t *window = (volatile uint32_t *)GUEST_IOAPIC;

    window[0] = index;
    return &window[4];
}

static void pit_start(void)
{
    outb(PIT_MODE, PIT_ONESHOT);
    outb(PIT_CH0, PIT_COUNT & 0xff);
    outb(PIT_CH0, PIT_COUNT >> 8);
}

static uint8_t pic_read(uint8_t which)
{
    outb(PIC1_CMD, which);
    return inb(PIC1_CMD);
}

static uint8_t isr_inside, irr_inside;

static void on_pic(struct guest_frame *f)
{
    guest_interrupts[VEC_PIC]++;
    isr_inside = pic_read(OCW3_ISR) & 1;
    irr_inside = pic_read(OCW3_IRR) & 1;
    outb(PIC1_CMD, PIC_EOI);
}

/* Until the PIT's edge shows in the PIC's IRR, or three times as long as it takes. */
static void wait_for_edge(void)
{
    uint64_t start = rdtsc(), limit = 3 * guest_tsc_per_ms() / 2;

    while (!(pic_read(OCW3_IRR) & 1) && rdtsc() - start < limit) {
    }
}

/* How often the PIC's vector came in these few instructions. */
static uint32_t count_in(const uint8_t *code)
{
    struct guest_regs r = {0};
    uint32_t before = guest_interrupts[VEC_PIC];

    guest_exec(code, &r);
    return guest_interrupts[VEC_PIC] - before;
}

static void check_pic(void)
{
    guest_irq_clear();
    guest_on(VEC_PIC, on_pic);
    lapic_write(LAPIC_REG_LVT_LINT0, LVT_EXTINT);
    outb(PIC1_DATA, 0xff);
    check_eq("imr", inb(PIC1_DATA), 0xff);
    pit_start();
    wait_for_edge();
    check_eq("irr-while-masked", pic_read(OCW3_IRR) & 1, 1);
    check_eq("masked", count_in(c_open), 0);
    outb(PIC1_DATA, 0xfe);
    check_eq("unmasked", count_in(c_open), 1);
    pit_start();
    wait_for_edge();
    check_eq("irr", pic_read(OCW3_IRR) & 1, 1);
    check_eq("delivered", count_in(c_open), 1);
    check_eq("isr-in-handler", isr_inside, 1);
    check_eq("irr-in-handler", irr_inside, 0);
    check_eq("isr-after-eoi", pic_read(OCW3_ISR) & 1, 0);
    check_eq("lapic-isr-not-touched", lapic_read(LAPIC_REG_ISR + VEC_PIC / 32 * 16) & 1, 0);
    pit_start();
    check_eq("wakes", count_in(c_halt), 1);
    lapic_write(LAPIC_REG_LVT_LINT0, LVT_EXTINT | LVT_MASK);
    pit_start();
    wait_for_edge();
    check_eq("lint0-masked", count_in(c_open), 0);
    lapic_write(LAPIC_REG_LVT_LINT0, LVT_EXTINT);
    check_eq("lint0-unmasked", count_in(c_open), 1);
    lapic_write(LAPIC_REG_LVT_LINT0, LVT_MASK);
    outb(PIC1_DATA, 0xff);
    guest_on(VEC_PIC, NULL);
}

static void check_ioapic(void)
{
    struct guest_regs r = {0};
    uint32_t pins = (*ioapic(1) >> 16 & 0xff) + 1;
    unsigned int entry = 0x10 + 2 * IOAPIC_PIN;

    check_range("ioapic-version", *ioapic(1) & 0xff, 0x11, 0x20);
    check_eq("ioapic-pins", pins, 24);
    check_eq("ioapic-reads-back-index", *(volatile uint32_t *)GUEST_IOAPIC, 1);
    *ioapic(entry + 1) = lapic_read(LAPIC_REG_ID) & 0xff000000;
    *ioapic(entry) = VEC_IOAPIC | LVT_MASK;
    check_eq("ioapic-entry", *ioapic(entry) & 0x1afff, VEC_IOAPIC | LVT_MASK);
    guest_irq_clear();
    pit_start();
    guest_wait_us(1000);
    guest_exec(c_open, &r);
    check_eq("ioapic-masked", guest_irq_count, 0);
    *ioapic(entry) = VEC_IOAPIC;
    guest_irq_clear();
    pit_start();
    guest_exec(c_halt, &r);
    check_eq("ioapic-wakes", guest_interrupts[VEC_IOAPIC], 1);
    guest_exec(c_open, &r);
    check_eq("ioapic-edge-once", guest_interrupts[VEC_IOAPIC], 1);
    *ioapic(entry) = LVT_MASK;
}

void group_pic(void)
{
    guest_tsc_per_ms();
    check_pic();
    check_ioapic();
}
