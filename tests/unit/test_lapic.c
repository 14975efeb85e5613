/* The local APIC: registers in both modes, mode changes, interrupts, IPIs, pins, timer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "arch/x86/time.h"
#include "vmm/irqchip/lapic.h"

#define S 1000000000ull

struct time_scale time_scale; /* arch/x86/time.c */

static uint32_t page[1024];
static struct lapic apic;
static struct lapic_ipi ipi;
static unsigned int ipis, eois, timer_changes;
static uint8_t eoi_vector;

static void send_ipi(void *ctx, const struct lapic_ipi *msg)
{
    assert_ptr_equal(ctx, &ipi);
    ipi = *msg;
    ipis++;
}

static void eoi(void *ctx, uint8_t vector)
{
    (void)ctx;
    eoi_vector = vector;
    eois++;
}

static void timer_changed(void *ctx)
{
    (void)ctx;
    timer_changes++;
}

static const struct lapic_ops ops = {
    .send_ipi = send_ipi, .eoi = eoi, .timer_changed = timer_changed};

static uint32_t rd(uint32_t offset)
{
    uint32_t v = 0;

    assert_int_equal(lapic_mmio_read(&apic, offset, &v, 0), 0);
    return v;
}

static void wr_at(uint32_t offset, uint32_t v, uint64_t now)
{
    lapic_mmio_write(&apic, offset, v, now);
}

static void wr(uint32_t offset, uint32_t v)
{
    wr_at(offset, v, 0);
}

static uint32_t errors(void)
{
    wr(LAPIC_ESR, 0);
    return rd(LAPIC_ESR);
}

static int setup(void **state)
{
    (void)state;
    ipis = eois = timer_changes = 0;
    time_scale = (struct time_scale){.ns_per_tsc = 1ull << 32, .tsc_per_ns = 1ull << 32};
    for (unsigned int i = 0; i < 1024; i++)
        page[i] = 0xA5A5A5A5;
    lapic_init(&apic, page, 3, false, &ops, &ipi);
    wr(LAPIC_SVR, 0x1FF);
    return 0;
}

static int setup_x2apic(void **state)
{
    setup(state);
    assert_int_equal(lapic_set_base(&apic, APIC_BASE_ADDRESS | 0xC00, 0), 0);
    return 0;
}

/* Takes and ends an interrupt; returns its vector. */
static int take(void)
{
    int v = lapic_pending(&apic);

    if (v >= 0)
        lapic_ack(&apic, (uint8_t)v);
    return v;
}

static void test_reset_state(void **state)
{
    (void)state;
    lapic_init(&apic, page, 3, true, &ops, &ipi);
    assert_true(apic.base == 0xFEE00900);
    assert_int_equal(rd(LAPIC_ID), 3u << 24);
    assert_int_equal(rd(LAPIC_VERSION), 0x01050014);
    assert_int_equal(rd(LAPIC_SVR), 0xFF);
    assert_int_equal(rd(LAPIC_DFR), 0xFFFFFFFF);
    assert_int_equal(rd(LAPIC_LDR), 0);
    assert_int_equal(rd(LAPIC_TPR), 0);
    assert_int_equal(rd(LAPIC_PPR), 0);
    for (uint32_t lvt = LAPIC_LVT_TIMER; lvt <= LAPIC_LVT_ERROR; lvt += 0x10)
        assert_int_equal(rd(lvt), LVT_MASKED);
    for (uint32_t r = LAPIC_ISR; r < LAPIC_ESR; r += 0x10)
        assert_int_equal(rd(r), 0);
    assert_int_equal(lapic_pending(&apic), -1);
    assert_int_equal(lapic_highest_irr(&apic), -1);
    assert_true(lapic_timer_next(&apic) == UINT64_MAX);
    lapic_init(&apic, page, 3, false, &ops, &ipi);
    assert_true(apic.base == 0xFEE00800);
}

static void test_init_keeps_base(void **state)
{
    (void)state;
    assert_true(lapic_is_x2apic(&apic));
    lapic_accept(&apic, 0x40, true);
    lapic_reset(&apic);
    assert_true(lapic_is_x2apic(&apic));
    assert_int_equal(lapic_pending(&apic), -1);
    assert_int_equal(*lapic_reg(&apic, LAPIC_ID), 3);
    assert_int_equal(*lapic_reg(&apic, LAPIC_LDR), 8);
    assert_int_equal(*lapic_reg(&apic, LAPIC_SVR), 0xFF);
}

static void test_accept_ack_eoi(void **state)
{
    (void)state;
    lapic_accept(&apic, 0x31, false);
    lapic_accept(&apic, 0x80, true);
    lapic_accept(&apic, 0x3F, false);
    assert_int_equal(rd(LAPIC_IRR + 0x10), 1u << 0x11 | 1u << 0x1F);
    assert_int_equal(rd(LAPIC_IRR + 0x40), 1);
    assert_int_equal(rd(LAPIC_TMR + 0x40), 1);
    assert_int_equal(lapic_highest_irr(&apic), 0x80);
    assert_int_equal(take(), 0x80);
    assert_int_equal(rd(LAPIC_PPR), 0x80);
    assert_int_equal(rd(LAPIC_ISR + 0x40), 1);
    assert_int_equal(rd(LAPIC_IRR + 0x40), 0);
    assert_int_equal(lapic_pending(&apic), -1); /* 3Fh is in a lower class */
    assert_int_equal(lapic_highest_irr(&apic), 0x3F);
    lapic_accept(&apic, 0x8F, false);
    assert_int_equal(lapic_pending(&apic), -1); /* the same class does not nest */
    lapic_accept(&apic, 0x90, false);
    assert_int_equal(take(), 0x90);
    wr(LAPIC_EOI, 0);
    assert_int_equal(eois, 0); /* edge */
    wr(LAPIC_EOI, 0x1234);
    assert_int_equal(eois, 1);
    assert_int_equal(eoi_vector, 0x80);
    assert_int_equal(take(), 0x8F);
    wr(LAPIC_EOI, 0);
    assert_int_equal(take(), 0x3F);
    wr(LAPIC_EOI, 0);
    assert_int_equal(take(), 0x31);
    wr(LAPIC_EOI, 0);
    assert_int_equal(lapic_pending(&apic), -1);
    assert_int_equal(rd(LAPIC_PPR), 0);
    wr(LAPIC_EOI, 0); /* one too many */
    assert_int_equal(eois, 1);
    /* The same vector, now edge-triggered: TMR follows. */
    lapic_accept(&apic, 0x80, false);
    take();
    wr(LAPIC_EOI, 0);
    assert_int_equal(eois, 1);
}

static void test_all_vectors(void **state)
{
    (void)state;
    for (int v = 16; v < 256; v++)
        lapic_accept(&apic, (uint8_t)v, v & 1);
    for (int v = 255; v >= 16; v--) {
        assert_int_equal(take(), v);
        wr(LAPIC_EOI, 0);
    }
    assert_int_equal(eois, 120);
    assert_int_equal(lapic_highest_irr(&apic), -1);
    assert_int_equal(apic.irr_words, 0);
    assert_int_equal(apic.isr_words, 0);
}

/* The cached state agrees with one that is rebuilt from the page after each random step. */
static void test_cache_agrees(void **state)
{
    uint32_t random = 1;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct lapic copy;
        int pending;

        random = random * 1664525u + 1013904223u;
        switch (random >> 28 & 7) {
        case 0: lapic_set_cr8(&apic, (uint8_t)(random >> 20)); break;
        case 1: wr(LAPIC_TPR, random >> 16 & 0x3F); break;
        case 2:
        case 3: lapic_eoi_write(&apic); break;
        case 4: take(); break;
        default: lapic_accept(&apic, (uint8_t)(random >> 16), random >> 15 & 1); break;
        }
        pending = lapic_pending(&apic);
        copy = apic;
        lapic_resync(&copy);
        assert_int_equal(copy.pending, pending);
        assert_int_equal(copy.irr_words, apic.irr_words);
        assert_int_equal(copy.isr_words, apic.isr_words);
    }
}

static void test_tpr(void **state)
{
    (void)state;
    lapic_accept(&apic, 0x45, false);
    assert_int_equal(lapic_pending(&apic), 0x45);
    wr(LAPIC_TPR, 0xFFFFFF47);
    assert_int_equal(rd(LAPIC_TPR), 0x47);
    assert_int_equal(rd(LAPIC_PPR), 0x47);
    assert_int_equal(lapic_get_cr8(&apic), 4);
    assert_int_equal(lapic_pending(&apic), -1);
    lapic_set_cr8(&apic, 0xF3);
    assert_int_equal(rd(LAPIC_TPR), 0x30);
    assert_int_equal(lapic_pending(&apic), 0x45);
    take();
    assert_int_equal(rd(LAPIC_PPR), 0x40);
    lapic_set_cr8(&apic, 4);
    assert_int_equal(rd(LAPIC_PPR), 0x40);
    lapic_set_cr8(&apic, 15);
    lapic_accept(&apic, 0xFF, false);
    assert_int_equal(lapic_pending(&apic), -1);
}

static void test_software_disable(void **state)
{
    (void)state;
    wr(LAPIC_LVT_TIMER, 0x30);
    wr(LAPIC_LVT_LINT0, 0x700);
    lapic_accept(&apic, 0x50, false);
    wr(LAPIC_SVR, 0xFF);
    assert_int_equal(lapic_pending(&apic), -1);
    assert_int_equal(rd(LAPIC_LVT_TIMER), 0x30 | LVT_MASKED);
    assert_int_equal(rd(LAPIC_LVT_LINT0), 0x700 | LVT_MASKED);
    wr(LAPIC_LVT_TIMER, 0x30);
    wr(LAPIC_LVT_ERROR, 0x31);
    assert_int_equal(rd(LAPIC_LVT_TIMER), 0x30 | LVT_MASKED); /* stays masked */
    assert_int_equal(rd(LAPIC_LVT_ERROR), 0x31 | LVT_MASKED);
    lapic_accept(&apic, 0x60, false);
    assert_int_equal(lapic_highest_irr(&apic), 0x50); /* not accepted; the old one is held */
    wr(LAPIC_SVR, 0x1FF);
    assert_int_equal(lapic_pending(&apic), 0x50);
}

static void test_suppress_eoi(void **state)
{
    (void)state;
    wr(LAPIC_SVR, 0x11FF);
    assert_int_equal(rd(LAPIC_SVR), 0x11FF);
    lapic_accept(&apic, 0x50, true);
    take();
    wr(LAPIC_EOI, 0);
    assert_int_equal(eois, 0);
    wr(LAPIC_SVR, 0xFFFFFFFF);
    assert_int_equal(rd(LAPIC_SVR), 0x13FF);
}

static void test_errors(void **state)
{
    (void)state;
    assert_int_equal(errors(), 0);
    lapic_accept(&apic, 15, false);
    assert_int_equal(rd(LAPIC_ESR), 0); /* shows only after a write */
    assert_int_equal(errors(), ESR_RECEIVE_ILLEGAL_VECTOR);
    assert_int_equal(errors(), 0);
    assert_int_equal(rd(0x000), 0); /* reserved */
    assert_int_equal(errors(), ESR_ILLEGAL_REGISTER);
    wr(0xFF0, 0);
    assert_int_equal(errors(), ESR_ILLEGAL_REGISTER);
    wr(LAPIC_SELF_IPI, 0x40); /* x2APIC only */
    assert_int_equal(errors(), ESR_ILLEGAL_REGISTER);
    assert_int_equal(lapic_highest_irr(&apic), -1);
    wr(LAPIC_ICR, 0x0000000F);
    assert_int_equal(errors(), ESR_SEND_ILLEGAL_VECTOR);
    assert_int_equal(ipis, 0);
    /* With the error interrupt on. */
    wr(LAPIC_LVT_ERROR, 0xFE);
    lapic_accept(&apic, 3, true);
    assert_int_equal(take(), 0xFE);
    wr(LAPIC_LVT_ERROR, 0x05); /* an illegal error vector must not recurse */
    lapic_accept(&apic, 3, true);
    assert_int_equal(errors(), ESR_RECEIVE_ILLEGAL_VECTOR);
}

static void test_mmio_checks(void **state)
{
    uint32_t v;

    (void)state;
    assert_int_equal(lapic_mmio_read(&apic, 0x21, &v, 0), -BH_EINVAL);
    assert_int_equal(lapic_mmio_read(&apic, 0x24, &v, 0), -BH_EINVAL);
    lapic_mmio_write(&apic, 0x1000, 0, 0);
    lapic_mmio_write(&apic, 0xFFFFFFF0, 0, 0);
    lapic_mmio_write(&apic, LAPIC_TPR + 4, 0x30, 0);
    assert_int_equal(rd(LAPIC_TPR), 0);
    assert_int_equal(errors(), 0);
    for (uint32_t offset = 0; offset < 0x1000; offset += 16) { /* nothing may break */
        lapic_mmio_read(&apic, offset, &v, UINT64_MAX);
        lapic_mmio_write(&apic, offset, 0xFFFFFFFF, UINT64_MAX);
        lapic_mmio_write(&apic, offset, 0, 1);
    }
    assert_int_equal(rd(LAPIC_ID), 3u << 24); /* read-only */
    assert_int_equal(rd(LAPIC_VERSION), 0x01050014);
    lapic_set_base(&apic, APIC_BASE_ADDRESS, 0);
    assert_int_equal(lapic_mmio_read(&apic, LAPIC_ID, &v, 0), -BH_ENOENT);
    lapic_mmio_write(&apic, LAPIC_TPR, 0x30, 0);
    assert_int_equal(*lapic_reg(&apic, LAPIC_TPR), 0);
}

/* Those that are read without a call: what the call would give, and nothing that it would do. */
static void test_plain(void **state)
{
    unsigned int plain = 0;
    uint32_t v;

    (void)state;
    for (uint32_t offset = 0; offset < 0x1000; offset += 4) {
        int err;

        wr(LAPIC_ESR, 0);
        *lapic_reg(&apic, offset) = 0x12340000 | offset;
        err = lapic_mmio_read(&apic, offset, &v, 0);
        assert_int_equal(lapic_is_plain(&apic, offset),
                         err == 0 && apic.errors == 0 && v == (0x12340000 | offset));
        plain += lapic_is_plain(&apic, offset);
    }
    assert_int_equal(plain, 8 + 24 + 1 + 9 + 1);
    assert_false(lapic_is_plain(&apic, LAPIC_TIMER_CUR));
    assert_false(lapic_is_plain(&apic, LAPIC_SELF_IPI));
    assert_false(lapic_is_plain(&apic, 0x1000 + LAPIC_TPR));
    lapic_set_base(&apic, APIC_BASE_ADDRESS | 0xC00, 0);
    assert_false(lapic_is_plain(&apic, LAPIC_TPR));
    lapic_set_base(&apic, APIC_BASE_ADDRESS, 0);
    assert_false(lapic_is_plain(&apic, LAPIC_TPR));
}

static void test_lvt_bits(void **state)
{
    (void)state;
    wr(LAPIC_LVT_TIMER, 0xFFFFFFFF);
    assert_int_equal(rd(LAPIC_LVT_TIMER), 0x000700FF);
    wr(LAPIC_LVT_THERM, 0xFFFFFFFF);
    assert_int_equal(rd(LAPIC_LVT_THERM), 0x000107FF);
    wr(LAPIC_LVT_PERF, 0xFFFFFFFF);
    assert_int_equal(rd(LAPIC_LVT_PERF), 0x000107FF);
    wr(LAPIC_LVT_LINT0, 0xFFFFFFFF);
    assert_int_equal(rd(LAPIC_LVT_LINT0), 0x0001A7FF);
    wr(LAPIC_LVT_ERROR, 0xFFFFFFFF);
    assert_int_equal(rd(LAPIC_LVT_ERROR), 0x000100FF);
    wr(LAPIC_TIMER_DIV, 0xFFFFFFFF);
    assert_int_equal(rd(LAPIC_TIMER_DIV), 0x0000000B);
    wr(LAPIC_LDR, 0xFFFFFFFF);
    assert_int_equal(rd(LAPIC_LDR), 0xFF000000);
    wr(LAPIC_DFR, 0);
    assert_int_equal(rd(LAPIC_DFR), 0x0FFFFFFF);
    wr(LAPIC_ICR_HIGH, 0xFFFFFFFF);
    assert_int_equal(rd(LAPIC_ICR_HIGH), 0xFF000000);
}

static void test_ipi(void **state)
{
    (void)state;
    wr(LAPIC_ICR_HIGH, 0x07000000);
    wr(LAPIC_ICR, 0x00004871 | ICR_PENDING);
    assert_int_equal(ipis, 1);
    assert_int_equal(ipi.vector, 0x71);
    assert_int_equal(ipi.delivery_mode, APIC_DELIVERY_FIXED);
    assert_int_equal(ipi.shorthand, LAPIC_TO_DEST);
    assert_true(ipi.logical);
    assert_true(ipi.level);
    assert_false(ipi.trigger_level);
    assert_false(ipi.x2apic);
    assert_int_equal(ipi.dest, 7);
    assert_int_equal(rd(LAPIC_ICR), 0x4871); /* delivered at once */
    wr(LAPIC_ICR, 0x000C4400);
    assert_int_equal(ipi.delivery_mode, APIC_DELIVERY_NMI);
    assert_int_equal(ipi.shorthand, LAPIC_TO_OTHERS);
    wr(LAPIC_ICR, 0x0000C500); /* INIT assert */
    assert_int_equal(ipi.delivery_mode, APIC_DELIVERY_INIT);
    assert_true(ipi.trigger_level);
    assert_int_equal(ipis, 3);
    wr(LAPIC_ICR, 0x00008500); /* INIT de-assert: nothing */
    wr(LAPIC_ICR, 0x00000300); /* reserved modes */
    wr(LAPIC_ICR, 0x00000700);
    assert_int_equal(ipis, 3);
    wr(LAPIC_ICR, 0x00000608);
    assert_int_equal(ipi.delivery_mode, APIC_DELIVERY_STARTUP);
    assert_int_equal(ipi.vector, 8);
    wr(LAPIC_ICR, 0x00000200);
    wr(LAPIC_ICR, 0x00000155);
    assert_int_equal(ipi.delivery_mode, APIC_DELIVERY_LOWEST);
    assert_int_equal(ipis, 6);
    wr(LAPIC_ICR, 0x00040042); /* to itself */
    assert_int_equal(ipis, 6);
    assert_int_equal(take(), 0x42);
    wr(LAPIC_ICR, 0x00080043);
    assert_int_equal(ipi.shorthand, LAPIC_TO_ALL);
}

static uint64_t msr(uint32_t index)
{
    uint64_t v = 0;

    assert_int_equal(lapic_msr_read(&apic, index, &v, 0), 0);
    return v;
}

static int wr_msr(uint32_t index, uint64_t v)
{
    return lapic_msr_write(&apic, index, v, 0);
}

static void test_x2apic_registers(void **state)
{
    static const uint16_t unreadable[] = {0x800, 0x801, 0x804, 0x809, 0x80B, 0x80C, 0x80E,
                                          0x82F, 0x831, 0x83A, 0x83F, 0x8FF, 0x7FF, 0x900};
    static const uint16_t unwritable[] = {0x800, 0x802, 0x803, 0x80A, 0x80D, 0x80E, 0x810,
                                          0x820, 0x827, 0x831, 0x839, 0x840, 0x7FF, 0x900};
    uint64_t v;

    (void)state;
    assert_int_equal(msr(0x802), 3);
    assert_int_equal(msr(0x803), 0x01050014);
    assert_int_equal(msr(0x80D), 8);
    for (unsigned int i = 0; i < ARRAY_SIZE(unreadable); i++)
        assert_int_equal(lapic_msr_read(&apic, unreadable[i], &v, 0), -BH_EINVAL);
    for (unsigned int i = 0; i < ARRAY_SIZE(unwritable); i++)
        assert_int_equal(wr_msr(unwritable[i], 0), -BH_EINVAL);
    assert_int_equal(wr_msr(0x808, 0x20), 0);
    assert_int_equal(msr(0x808), 0x20);
    assert_int_equal(msr(0x80A), 0x20);
    assert_int_equal(wr_msr(0x808, 0x120), -BH_EINVAL);
    assert_int_equal(wr_msr(0x808, 1ull << 32), -BH_EINVAL);
    assert_int_equal(wr_msr(0x80F, 0x2FF), 0);
    assert_int_equal(wr_msr(0x80F, 0x1FF), 0);
    assert_int_equal(wr_msr(0x80F, 0x400), -BH_EINVAL);
    assert_int_equal(wr_msr(0x80B, 1), -BH_EINVAL);
    assert_int_equal(wr_msr(0x80B, 1ull << 32), -BH_EINVAL);
    assert_int_equal(wr_msr(0x828, 1), -BH_EINVAL);
    assert_int_equal(wr_msr(0x828, 0), 0);
    assert_int_equal(wr_msr(0x832, 0x80000), -BH_EINVAL);
    assert_int_equal(wr_msr(0x835, LVT_REMOTE_IRR | LVT_PENDING | 0x700), 0);
    assert_int_equal(msr(0x835), 0x700);
    assert_int_equal(wr_msr(0x83E, 4), -BH_EINVAL);
    assert_int_equal(wr_msr(0x83E, 0xB), 0);
    for (uint32_t i = 0x800; i < 0x900; i++) { /* nothing may break */
        lapic_msr_read(&apic, i, &v, UINT64_MAX);
        lapic_msr_write(&apic, i, UINT64_MAX, UINT64_MAX);
        lapic_msr_write(&apic, i, 0xFF, UINT64_MAX);
    }
}

static void test_x2apic_interrupts(void **state)
{
    uint32_t v;

    (void)state;
    assert_int_equal(lapic_mmio_read(&apic, LAPIC_ID, &v, 0), -BH_ENOENT);
    assert_int_equal(wr_msr(0x830, 0x12345678000008A5ull), 0);
    assert_int_equal(ipis, 1);
    assert_true(ipi.x2apic);
    assert_int_equal(ipi.dest, 0x12345678);
    assert_int_equal(ipi.vector, 0xA5);
    assert_true(msr(0x830) == 0x12345678000008A5ull);
    assert_int_equal(wr_msr(0x830, ICR_PENDING | 0x45), 0);
    assert_int_equal(wr_msr(0x830, 1 << 13), -BH_EINVAL);
    assert_int_equal(wr_msr(0x830, 1 << 20), -BH_EINVAL);
    assert_int_equal(ipis, 2);
    assert_int_equal(wr_msr(0x83F, 0x77), 0);
    assert_int_equal(wr_msr(0x83F, 0x177), -BH_EINVAL);
    assert_int_equal(lapic_pending(&apic), 0x77);
    take();
    assert_int_equal(msr(0x813), 1u << 0x17);
    assert_int_equal(wr_msr(0x80B, 0), 0);
    assert_int_equal(msr(0x813), 0);
    assert_int_equal(wr_msr(0x83F, 0x07), 0);
    assert_int_equal(wr_msr(0x828, 0), 0);
    assert_int_equal(msr(0x828), ESR_SEND_ILLEGAL_VECTOR);
}

static void test_msrs_need_x2apic(void **state)
{
    uint64_t v;

    (void)state;
    assert_int_equal(lapic_msr_read(&apic, 0x802, &v, 0), -BH_EINVAL);
    assert_int_equal(wr_msr(0x808, 0), -BH_EINVAL);
}

static int base(uint64_t bits)
{
    return lapic_set_base(&apic, APIC_BASE_ADDRESS | bits, 0);
}

static void test_base(void **state)
{
    (void)state;
    assert_int_equal(lapic_set_base(&apic, 0xFEE01800, 0), -BH_EINVAL);
    assert_int_equal(lapic_set_base(&apic, 1ull << 52 | 0xFEE00800, 0), -BH_EINVAL);
    assert_int_equal(base(0x801), -BH_EINVAL);
    assert_int_equal(base(0xA00), -BH_EINVAL); /* bit 9 */
    assert_int_equal(base(0x400), -BH_EINVAL); /* x2APIC without enable */
    assert_int_equal(base(0x900), 0);
    assert_true(apic.base == 0xFEE00800); /* BSP is read-only */
    wr(LAPIC_ICR_HIGH, 0x05000000);
    lapic_accept(&apic, 0x66, false);
    assert_int_equal(base(0xC00), 0);
    assert_int_equal(lapic_pending(&apic), 0x66); /* the state stays */
    assert_int_equal(msr(0x830) >> 32, 0);
    assert_int_equal(msr(0x802), 3);
    assert_int_equal(base(0xC00), 0);
    assert_int_equal(base(0x800), -BH_EINVAL); /* x2APIC to xAPIC */
    assert_int_equal(base(0x400), -BH_EINVAL);
    assert_int_equal(base(0x000), 0);
    assert_false(lapic_hw_enabled(&apic));
    assert_int_equal(lapic_pending(&apic), -1);
    lapic_accept(&apic, 0x66, false);
    assert_int_equal(lapic_highest_irr(&apic), -1);
    assert_int_equal(base(0xC00), -BH_EINVAL); /* disabled to x2APIC */
    assert_int_equal(base(0x800), 0);
    assert_int_equal(rd(LAPIC_SVR), 0xFF);
    assert_int_equal(rd(LAPIC_ID), 3u << 24);
}

static void test_match_xapic(void **state)
{
    (void)state;
    assert_true(lapic_match(&apic, 3, false, false));
    assert_true(lapic_match(&apic, 3, false, true));
    assert_false(lapic_match(&apic, 4, false, false));
    assert_true(lapic_match(&apic, 0xFF, false, false));
    assert_false(lapic_match(&apic, 0xFF, false, true));
    assert_true(lapic_match(&apic, 0xFFFFFFFF, false, true));
    wr(LAPIC_LDR, 0x08000000); /* flat */
    assert_true(lapic_match(&apic, 0x08, true, false));
    assert_true(lapic_match(&apic, 0x0F, true, false));
    assert_false(lapic_match(&apic, 0xF7, true, false));
    assert_true(lapic_match(&apic, 0xFF, true, false));
    assert_false(lapic_match(&apic, 0x108, true, true));
    wr(LAPIC_DFR, 0x0FFFFFFF); /* cluster */
    wr(LAPIC_LDR, 0x24000000);
    assert_true(lapic_match(&apic, 0x24, true, false));
    assert_true(lapic_match(&apic, 0x2F, true, false));
    assert_false(lapic_match(&apic, 0x14, true, false));
    assert_false(lapic_match(&apic, 0x22, true, false));
    base(0);
    assert_false(lapic_match(&apic, 3, false, false));
    assert_false(lapic_match(&apic, 0xFF, false, false));
}

static void test_match_x2apic(void **state)
{
    (void)state;
    lapic_init(&apic, page, 0x25, false, &ops, &ipi);
    assert_int_equal(base(0xC00), 0);
    assert_int_equal(msr(0x80D), 0x00020020);
    assert_true(lapic_match(&apic, 0x25, false, true));
    assert_true(lapic_match(&apic, 0x25, false, false));
    assert_true(lapic_match(&apic, 0x00020020, true, true));
    assert_true(lapic_match(&apic, 0x0002FFFF, true, true));
    assert_false(lapic_match(&apic, 0x00010020, true, true));
    assert_false(lapic_match(&apic, 0x00020010, true, true));
    assert_true(lapic_match(&apic, 0xFFFFFFFF, true, true));
    assert_true(lapic_match(&apic, 0xFF, false, false));
    assert_false(lapic_match(&apic, 0xFF, false, true));
}

static void test_lint0(void **state)
{
    (void)state;
    assert_false(lapic_lint0_extint(&apic));
    lapic_set_virtual_wire(&apic);
    assert_true(lapic_enabled(&apic));
    assert_true(lapic_lint0_extint(&apic));
    wr(LAPIC_LVT_LINT0, 0x700 | LVT_MASKED);
    assert_false(lapic_lint0_extint(&apic));
    wr(LAPIC_LVT_LINT0, 0x33);
    assert_false(lapic_lint0_extint(&apic));
    base(0);
    assert_true(lapic_lint0_extint(&apic)); /* globally disabled: the pin is INTR */
}

static uint32_t current(uint64_t now)
{
    uint32_t v = 0;

    lapic_mmio_read(&apic, LAPIC_TIMER_CUR, &v, now);
    return v;
}

/* A TSC of 2.4 GHz: the count is in nanoseconds all the same, and periods are whole. */
static void test_timer_tsc(void **state)
{
    const uint64_t start = 1000;

    (void)state;
    time_scale = (struct time_scale){.ns_per_tsc = (1ull << 32) * 10 / 24,
                                     .tsc_per_ns = (1ull << 32) * 24 / 10};
    wr(LAPIC_LVT_TIMER, 0x40);
    wr(LAPIC_TIMER_DIV, 0x0);
    wr_at(LAPIC_TIMER_INIT, 500000, start);
    assert_true(lapic_timer_next(&apic) == start + 2400000);
    assert_in_range(current(start), 499999, 500000);
    assert_in_range(current(start + 1200000), 249999, 250000);
    lapic_timer_expired(&apic, start + 2399999);
    assert_int_equal(lapic_pending(&apic), -1);
    lapic_timer_expired(&apic, start + 2400000);
    assert_int_equal(lapic_pending(&apic), 0x40);
}

/* A period that is shorter than a tick of the TSC is still one. */
static void test_timer_slow_tsc(void **state)
{
    uint64_t next;

    (void)state;
    time_scale = (struct time_scale){.ns_per_tsc = 250ull << 32, .tsc_per_ns = (1ull << 32) / 250};
    wr(LAPIC_LVT_TIMER, 0x40 | LVT_TIMER_PERIODIC);
    wr(LAPIC_TIMER_DIV, 0xB);
    wr_at(LAPIC_TIMER_INIT, 10, 1000);
    next = lapic_timer_next(&apic);
    assert_in_range(next, 1000, 1001);
    lapic_timer_expired(&apic, next);
    assert_int_equal(lapic_pending(&apic), 0x40);
    assert_in_range(lapic_timer_next(&apic) - next, 79, 81); /* 20 us */
}

/* Who reads that the count is 0 finds the interrupt in IRR, whoever is late to say that it is due.
 */
static void test_timer_read_when_due(void **state)
{
    (void)state;
    wr(LAPIC_LVT_TIMER, 0x55);
    wr(LAPIC_TIMER_DIV, 0xb);
    wr_at(LAPIC_TIMER_INIT, 1000, 5000);
    assert_int_equal(current(5999), 1);
    assert_int_equal(lapic_highest_irr(&apic), -1);
    assert_int_equal(current(6000), 0);
    assert_int_equal(lapic_highest_irr(&apic), 0x55);
    assert_true(lapic_timer_next(&apic) == UINT64_MAX);
    /* A masked one is not delivered, nor lost track of. */
    wr(LAPIC_LVT_TIMER, 0x66 | LVT_MASKED);
    wr_at(LAPIC_TIMER_INIT, 1000, 7000);
    assert_int_equal(current(9000), 0);
    assert_int_equal(lapic_highest_irr(&apic), 0x55);
}

static void test_timer_one_shot(void **state)
{
    (void)state;
    wr(LAPIC_LVT_TIMER, 0x55);
    wr(LAPIC_TIMER_DIV, 0x3); /* by 16 */
    wr_at(LAPIC_TIMER_INIT, 1000, 5000);
    assert_true(timer_changes > 0);
    assert_true(lapic_timer_next(&apic) == 21000);
    assert_int_equal(current(5000), 1000);
    assert_int_equal(current(5016), 999);
    assert_int_equal(current(20999), 0);
    lapic_timer_expired(&apic, 20999); /* too early */
    assert_int_equal(lapic_pending(&apic), -1);
    lapic_timer_expired(&apic, 21500);
    assert_int_equal(take(), 0x55);
    assert_true(lapic_timer_next(&apic) == UINT64_MAX);
    assert_int_equal(current(21500), 0);
    wr_at(LAPIC_TIMER_INIT, 7, 0);
    wr_at(LAPIC_TIMER_INIT, 0, 0); /* stops */
    assert_true(lapic_timer_next(&apic) == UINT64_MAX);
    wr_at(LAPIC_TIMER_INIT, 0xFFFFFFFF, UINT64_MAX - 5);
    assert_true(lapic_timer_next(&apic) == UINT64_MAX - 1);
}

static void test_timer_divisors(void **state)
{
    static const uint8_t codes[] = {0xB, 0x0, 0x1, 0x2, 0x3, 0x8, 0x9, 0xA};

    (void)state;
    wr(LAPIC_LVT_TIMER, 0x55);
    for (unsigned int i = 0; i < 8; i++) {
        wr(LAPIC_TIMER_DIV, codes[i]);
        wr(LAPIC_TIMER_INIT, 100000);
        assert_true(lapic_timer_next(&apic) == 100000ull << i);
    }
    /* A change while it runs: the count goes on at the new rate. */
    wr(LAPIC_TIMER_DIV, 0xB);
    wr(LAPIC_TIMER_INIT, 1000);
    wr_at(LAPIC_TIMER_DIV, 0x0, 400);
    assert_int_equal(current(400), 600);
    assert_true(lapic_timer_next(&apic) == 400 + 1200);
    wr_at(LAPIC_TIMER_DIV, 0xB, 2000); /* due: stays due */
    assert_true(lapic_timer_next(&apic) == 1600);
    lapic_timer_expired(&apic, 2000);
    assert_int_equal(take(), 0x55);
}

static void test_timer_periodic(void **state)
{
    uint64_t now = 0;

    (void)state;
    wr(LAPIC_LVT_TIMER, 0x55 | LVT_TIMER_PERIODIC);
    wr(LAPIC_TIMER_DIV, 0xB);
    wr(LAPIC_TIMER_INIT, 1000003);
    for (uint64_t k = 1; k < 100; k++) {
        assert_true(lapic_timer_next(&apic) == k * 1000003);
        now = k * 1000003 + k % 7 * 1000; /* lateness does not add up */
        lapic_timer_expired(&apic, now);
        assert_int_equal(take(), 0x55);
        wr(LAPIC_EOI, 0);
    }
    lapic_timer_expired(&apic, 500 * 1000003ull + 5); /* missed ones come once */
    assert_int_equal(take(), 0x55);
    assert_int_equal(lapic_highest_irr(&apic), -1);
    assert_true(lapic_timer_next(&apic) == 501 * 1000003ull);
    assert_int_equal(current(501 * 1000003ull - 4), 4);
    assert_int_equal(current(501 * 1000003ull + 3), 1000000); /* overdue, but it counts on */
}

static void test_timer_fast_period(void **state)
{
    uint64_t now = 0, next;

    (void)state;
    wr(LAPIC_LVT_TIMER, 0x55 | LVT_TIMER_PERIODIC);
    wr(LAPIC_TIMER_DIV, 0xB);
    wr(LAPIC_TIMER_INIT, 3);
    now = lapic_timer_next(&apic);
    for (int i = 0; i < 100; i++) {
        lapic_timer_expired(&apic, now);
        next = lapic_timer_next(&apic);
        assert_in_range(next - now, 20000, 20003);
        assert_int_equal(next % 3, 0);
        assert_in_range(current(now), 0, 3);
        now = next;
    }
}

static void test_timer_masked(void **state)
{
    (void)state;
    wr(LAPIC_LVT_TIMER, 0x55 | LVT_MASKED);
    wr(LAPIC_TIMER_DIV, 0xB);
    wr(LAPIC_TIMER_INIT, 1000);
    assert_true(lapic_timer_next(&apic) == UINT64_MAX); /* no wake-up needed */
    assert_int_equal(current(400), 600);
    assert_int_equal(current(1400), 0);
    wr_at(LAPIC_LVT_TIMER, 0x55, 2000); /* what was missed does not fire */
    assert_true(lapic_timer_next(&apic) == UINT64_MAX);
    wr_at(LAPIC_LVT_TIMER, 0x55 | LVT_MASKED | LVT_TIMER_PERIODIC, 2000);
    wr_at(LAPIC_TIMER_INIT, 100000, 2000);
    assert_int_equal(current(2000 + 250000), 50000);
    wr_at(LAPIC_LVT_TIMER, 0x55 | LVT_TIMER_PERIODIC, 2000 + 250000);
    assert_true(lapic_timer_next(&apic) == 2000 + 300000);
    wr_at(LAPIC_LVT_TIMER, 0x55 | LVT_MASKED, 2000 + 250000);
    lapic_timer_expired(&apic, 2000 + 300000); /* masked: no interrupt */
    assert_int_equal(lapic_highest_irr(&apic), -1);
    /* A new divisor finds a masked timer that has run out. */
    wr_at(LAPIC_TIMER_INIT, 1000, 400000);
    wr_at(LAPIC_TIMER_DIV, 0x0, 500000);
    assert_int_equal(current(500000), 0);
}

static void test_timer_illegal_vector(void **state)
{
    (void)state;
    wr(LAPIC_LVT_TIMER, 0x05);
    wr(LAPIC_TIMER_INIT, 1000);
    lapic_timer_expired(&apic, S);
    assert_int_equal(errors(), ESR_RECEIVE_ILLEGAL_VECTOR);
}

static void test_tsc_deadline(void **state)
{
    unsigned int before;

    (void)state;
    lapic_set_tsc_deadline(&apic, 123); /* not in that mode */
    assert_true(apic.tsc_deadline == 0);
    wr(LAPIC_LVT_TIMER, 0x55);
    wr(LAPIC_TIMER_INIT, 1000);
    wr(LAPIC_LVT_TIMER, 0x55 | LVT_TIMER_DEADLINE);
    assert_true(lapic_timer_next(&apic) == UINT64_MAX); /* the mode change disarmed it */
    assert_int_equal(rd(LAPIC_TIMER_INIT), 0);
    wr(LAPIC_TIMER_INIT, 1000); /* ignored */
    assert_int_equal(rd(LAPIC_TIMER_INIT), 0);
    assert_int_equal(current(10), 0);
    lapic_timer_expired(&apic, 5); /* not armed */
    assert_int_equal(lapic_highest_irr(&apic), -1);
    before = timer_changes;
    lapic_set_tsc_deadline(&apic, 0x123456789ABC);
    assert_int_equal(timer_changes, before + 1);
    assert_true(apic.tsc_deadline == 0x123456789ABC);
    lapic_timer_expired(&apic, 5);
    assert_true(apic.tsc_deadline == 0);
    assert_int_equal(take(), 0x55);
    lapic_set_tsc_deadline(&apic, 9);
    wr(LAPIC_LVT_TIMER, 0x55 | LVT_TIMER_PERIODIC);
    assert_true(apic.tsc_deadline == 0);
    wr(LAPIC_LVT_TIMER, 0x55 | LVT_TIMER_DEADLINE);
    lapic_set_tsc_deadline(&apic, 9);
    base(0);
    assert_true(apic.tsc_deadline == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_reset_state, setup),
        cmocka_unit_test_setup(test_init_keeps_base, setup_x2apic),
        cmocka_unit_test_setup(test_accept_ack_eoi, setup),
        cmocka_unit_test_setup(test_all_vectors, setup),
        cmocka_unit_test_setup(test_cache_agrees, setup),
        cmocka_unit_test_setup(test_tpr, setup),
        cmocka_unit_test_setup(test_software_disable, setup),
        cmocka_unit_test_setup(test_suppress_eoi, setup),
        cmocka_unit_test_setup(test_errors, setup),
        cmocka_unit_test_setup(test_mmio_checks, setup),
        cmocka_unit_test_setup(test_plain, setup),
        cmocka_unit_test_setup(test_lvt_bits, setup),
        cmocka_unit_test_setup(test_ipi, setup),
        cmocka_unit_test_setup(test_x2apic_registers, setup_x2apic),
        cmocka_unit_test_setup(test_x2apic_interrupts, setup_x2apic),
        cmocka_unit_test_setup(test_msrs_need_x2apic, setup),
        cmocka_unit_test_setup(test_base, setup),
        cmocka_unit_test_setup(test_match_xapic, setup),
        cmocka_unit_test_setup(test_match_x2apic, setup),
        cmocka_unit_test_setup(test_lint0, setup),
        cmocka_unit_test_setup(test_timer_tsc, setup),
        cmocka_unit_test_setup(test_timer_slow_tsc, setup),
        cmocka_unit_test_setup(test_timer_one_shot, setup),
        cmocka_unit_test_setup(test_timer_read_when_due, setup),
        cmocka_unit_test_setup(test_timer_divisors, setup),
        cmocka_unit_test_setup(test_timer_periodic, setup),
        cmocka_unit_test_setup(test_timer_fast_period, setup),
        cmocka_unit_test_setup(test_timer_masked, setup),
        cmocka_unit_test_setup(test_timer_illegal_vector, setup),
        cmocka_unit_test_setup(test_tsc_deadline, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
