/* End of interrupt by a bit in memory (Linux Documentation/virt/kvm/x86/msr.rst, MSR_KVM_EOI_EN).
 * Where the CPU delivers interrupts the bit is never set, and all goes on as usual. */

#include "check.h"

#define MSR_PV_EOI     0x4b564d04u
#define LEAF_FEATURES  0x40000101u
#define FEATURE_PV_EOI BIT(6)
#define ENABLE         1ull
#define LOW_VEC        0x53
#define HIGH_VEC       0x93

SNIPPET(e_open, "sti; nop; nop; nop; cli");

static volatile uint32_t word;
static unsigned int by_bit, by_write;
static uint8_t order[8];
static unsigned int taken;
static bool send_high; /* from within the handler of the low one, which lets it in */

static uint64_t word_msr(void)
{
    return (uint64_t)(uintptr_t)&word | ENABLE;
}

static uint32_t in_service(void)
{
    uint32_t all = 0;

    for (uint32_t i = 0; i < 8; i++)
        all |= lapic_read(LAPIC_REG_ISR + i * 16);
    return all;
}

static void on_interrupt(struct guest_frame *frame)
{
    struct guest_regs r = {0};
    bool ended;

    if (send_high && frame->vector == LOW_VEC) {
        send_high = false;
        lapic_send_self(HIGH_VEC);
        guest_exec(e_open, &r);
    }
    if (taken < ARRAY_SIZE(order))
        order[taken++] = (uint8_t)frame->vector;
    __asm__ volatile("btrl $0, %0\n\tsetc %1" : "+m"(word), "=q"(ended)::"cc");
    if (ended) {
        by_bit++;
    } else {
        by_write++;
        lapic_write(LAPIC_REG_EOI, 0);
    }
}

static void take(void)
{
    struct guest_regs r = {0};

    guest_exec(e_open, &r);
}

static void clear(void)
{
    taken = by_bit = by_write = 0;
    order[0] = order[1] = 0;
}

static void check_interrupts(void)
{
    for (unsigned int i = 0; i < 3; i++) {
        lapic_send_self(LOW_VEC);
        take();
    }
    check_eq("each-comes", taken, 3);
    check_that("all-in-one-way", by_bit == 3 || by_write == 3, by_bit, "3 or 0");
    check_eq("none-in-service", in_service(), 0);
    check_eq("bit-afterwards", word & 1, 0);
    clear();
    lapic_send_self(LOW_VEC);
    lapic_send_self(HIGH_VEC);
    take();
    check_eq("both-come", (uint64_t)order[0] << 8 | order[1], HIGH_VEC << 8 | LOW_VEC);
    check_that("first-by-write", by_write >= 1, by_write,
               "1 or 2"); /* the other one waits for it */
    check_eq("both-ended", in_service(), 0);
    clear();
    send_high = true;
    lapic_send_self(LOW_VEC);
    take();
    check_eq("nested", (uint64_t)order[0] << 8 | order[1], HIGH_VEC << 8 | LOW_VEC);
    check_eq("nested-ended", in_service(), 0);
    clear();
}

/* An offer, and its end, are nothing that TPR shows. */
static void check_tpr(void)
{
    lapic_write(LAPIC_REG_TPR, 0x25);
    lapic_send_self(LOW_VEC);
    take();
    check_eq("tpr", lapic_read(LAPIC_REG_TPR), 0x25);
    check_eq("ppr", lapic_read(LAPIC_REG_PPR), 0x25);
    lapic_write(LAPIC_REG_TPR, 0);
    clear();
}

void group_pv_eoi(void)
{
    uint64_t value = ~0ull;

    if (has.native || !(cpuid(LEAF_FEATURES, 0).eax & FEATURE_PV_EOI)) {
        check_skip("pv-eoi", "the leaf does not offer it");
        return;
    }
    check_eq("reserved-bit", (uint64_t)try_wrmsr(MSR_PV_EOI, word_msr() | 2), EXC_GP);
    check_eq("no-memory", (uint64_t)try_wrmsr(MSR_PV_EOI, 0xfffffffffffff000ull | ENABLE), EXC_GP);
    check_eq("a-device", (uint64_t)try_wrmsr(MSR_PV_EOI, GUEST_LAPIC | ENABLE), EXC_GP);
    check_eq("off-at-first", try_rdmsr(MSR_PV_EOI, &value) == GUEST_RETURNED ? value : 1, 0);
    guest_on(LOW_VEC, on_interrupt);
    guest_on(HIGH_VEC, on_interrupt);
    wrmsr(MSR_PV_EOI, word_msr());
    check_eq("reads-back", rdmsr(MSR_PV_EOI), word_msr());
    check_interrupts();
    check_tpr();
    wrmsr(MSR_PV_EOI, 0);
    lapic_send_self(LOW_VEC);
    take();
    check_eq("off", (uint64_t)by_write << 8 | by_bit, 1 << 8);
    guest_on(LOW_VEC, NULL);
    guest_on(HIGH_VEC, NULL);
}
