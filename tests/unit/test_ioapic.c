/* The I/O APIC: registers, edge and level pins, Remote IRR, EOI. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vmm/irqchip/ioapic.h"

#define LEVEL  0x8000u
#define MASKED 0x10000u
#define RIRR   0x4000u

static struct ioapic io;
static struct ioapic_message last;
static unsigned int sent;

static void deliver(void *ctx, const struct ioapic_message *msg)
{
    assert_ptr_equal(ctx, &sent);
    last = *msg;
    sent++;
}

static const struct ioapic_ops ops = {.deliver = deliver};

static int setup(void **state)
{
    (void)state;
    ioapic_init(&io, &ops, &sent);
    sent = 0;
    return 0;
}

static uint32_t get(uint8_t index)
{
    ioapic_write(&io, 0, index);
    return ioapic_read(&io, 0x10);
}

static void set(uint8_t index, uint32_t value)
{
    ioapic_write(&io, 0, index);
    ioapic_write(&io, 0x10, value);
}

static void program(unsigned int pin, uint32_t low)
{
    set((uint8_t)(0x11 + 2 * pin), 0x05000000);
    set((uint8_t)(0x10 + 2 * pin), low);
}

static void test_registers(void **state)
{
    (void)state;
    assert_int_equal(get(1), 0x00170020);
    for (uint8_t pin = 0; pin < IOAPIC_PINS; pin++) {
        assert_int_equal(get((uint8_t)(0x10 + 2 * pin)), MASKED);
        assert_int_equal(get((uint8_t)(0x11 + 2 * pin)), 0);
    }
    set(0, 0xFFFFFFFF);
    assert_int_equal(get(0), 0x0F000000);
    assert_int_equal(get(2), 0x0F000000);
    set(1, 0); /* read-only */
    assert_int_equal(get(1), 0x00170020);
    set(0x10, 0xFFFFFFFF);
    assert_int_equal(get(0x10), 0x0001AFFF); /* without delivery status and Remote IRR */
    set(0x11, 0xFFFFFFFF);
    assert_int_equal(get(0x11), 0xFF000000);
    assert_int_equal(ioapic_read(&io, 0), 0x11);
    /* What does not exist. */
    assert_int_equal(get(3), 0);
    assert_int_equal(get(0x40), 0);
    assert_int_equal(get(0xFF), 0);
    set(0x40, 0);
    set(0xFF, 0);
    set(0x0F, 0);
    assert_int_equal(ioapic_read(&io, 0x20), 0);
    assert_int_equal(ioapic_read(&io, 0x40), 0);
    ioapic_write(&io, 0x20, 0);
}

static void test_edge(void **state)
{
    struct ioapic_message msg;

    (void)state;
    assert_false(ioapic_pin_message(&io, 4, &msg));
    assert_false(ioapic_pin_message(&io, IOAPIC_PINS, &msg));
    program(4, 0x0934); /* logical, lowest priority */
    ioapic_set_irq(&io, 4, true);
    assert_int_equal(sent, 1);
    assert_int_equal(last.vector, 0x34);
    assert_int_equal(last.delivery_mode, APIC_DELIVERY_LOWEST);
    assert_int_equal(last.dest, 5);
    assert_true(last.logical);
    assert_false(last.level);
    ioapic_set_irq(&io, 4, true); /* no edge */
    assert_int_equal(sent, 1);
    ioapic_eoi(&io, 0x34); /* means nothing to an edge */
    assert_int_equal(sent, 1);
    ioapic_set_irq(&io, 4, false);
    ioapic_set_irq(&io, 4, true); /* no EOI needed before */
    assert_int_equal(sent, 2);
    assert_true(ioapic_pin_message(&io, 4, &msg));
    assert_int_equal(msg.vector, 0x34);
}

static void test_masked_edge_is_lost(void **state)
{
    (void)state;
    program(4, 0x34 | MASKED);
    ioapic_set_irq(&io, 4, true);
    program(4, 0x34);
    assert_int_equal(sent, 0);
    ioapic_set_irq(&io, 4, false);
    ioapic_set_irq(&io, 4, true);
    assert_int_equal(sent, 1);
}

static void test_level(void **state)
{
    (void)state;
    program(9, 0x59 | LEVEL);
    ioapic_set_irq(&io, 9, true);
    assert_int_equal(sent, 1);
    assert_true(last.level);
    assert_int_equal(get(0x10 + 18), 0x59 | LEVEL | RIRR);
    ioapic_set_irq(&io, 9, false);
    ioapic_set_irq(&io, 9, true);
    assert_int_equal(sent, 1); /* not before the EOI */
    ioapic_eoi(&io, 0x58);     /* of another vector */
    assert_int_equal(sent, 1);
    ioapic_eoi(&io, 0x59);
    assert_int_equal(sent, 2); /* still asserted */
    ioapic_set_irq(&io, 9, false);
    ioapic_write(&io, 0x40, 0x59); /* the EOI register */
    assert_int_equal(sent, 2);
    assert_int_equal(get(0x10 + 18), 0x59 | LEVEL);
    ioapic_eoi(&io, 0x59); /* one too many */
    assert_int_equal(sent, 2);
}

static void test_level_masked(void **state)
{
    (void)state;
    program(10, 0x60 | LEVEL | MASKED);
    ioapic_set_irq(&io, 10, true);
    assert_int_equal(sent, 0);
    program(10, 0x60 | LEVEL);
    assert_int_equal(sent, 1); /* a level is still there */
    /* Masked while in service, and unmasked after the EOI: Linux's handle_fasteoi_irq. */
    program(10, 0x60 | LEVEL | MASKED);
    assert_int_equal(get(0x10 + 20) & RIRR, RIRR);
    ioapic_eoi(&io, 0x60);
    assert_int_equal(sent, 1);
    program(10, 0x60 | LEVEL);
    assert_int_equal(sent, 2);
}

static void test_shared_vector(void **state)
{
    (void)state;
    program(3, 0x70 | LEVEL);
    program(5, 0x70 | LEVEL);
    ioapic_set_irq(&io, 3, true);
    ioapic_set_irq(&io, 5, true);
    assert_int_equal(sent, 2);
    ioapic_set_irq(&io, 3, false);
    ioapic_eoi(&io, 0x70);
    assert_int_equal(sent, 3);
}

/* The way to an EOI without the register: edge-triggered for a moment. */
static void test_edge_clears_remote_irr(void **state)
{
    (void)state;
    program(9, 0x59 | LEVEL);
    ioapic_set_irq(&io, 9, true);
    program(9, 0x59 | MASKED);
    assert_int_equal(get(0x10 + 18), 0x59 | MASKED);
    program(9, 0x59 | LEVEL);
    assert_int_equal(sent, 2);
}

static void test_polarity_is_kept(void **state)
{
    (void)state;
    program(9, 0x59 | LEVEL | 0x2000);
    assert_int_equal(sent, 0);
    assert_int_equal(get(0x10 + 18), 0x59 | LEVEL | 0x2000);
    ioapic_set_irq(&io, 9, true);
    assert_int_equal(sent, 1);
}

static void test_extint_and_nmi_are_edges(void **state)
{
    (void)state;
    program(0, 0x700 | LEVEL);
    ioapic_set_irq(&io, 0, true);
    assert_int_equal(sent, 1);
    assert_int_equal(last.delivery_mode, APIC_DELIVERY_EXTINT);
    assert_false(last.level);
    assert_int_equal(get(0x10) & RIRR, 0);
    program(1, 0x400 | LEVEL);
    ioapic_set_irq(&io, 1, true);
    assert_int_equal(last.delivery_mode, APIC_DELIVERY_NMI);
    ioapic_set_irq(&io, 1, false);
    ioapic_set_irq(&io, 1, true);
    assert_int_equal(sent, 3);
}

static void test_bad_pins(void **state)
{
    (void)state;
    ioapic_set_irq(&io, IOAPIC_PINS, true);
    ioapic_set_irq(&io, 32, true);
    ioapic_set_irq(&io, ~0u, true);
    assert_int_equal(sent, 0);
    assert_int_equal(io.lines, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_registers, setup),
        cmocka_unit_test_setup(test_edge, setup),
        cmocka_unit_test_setup(test_masked_edge_is_lost, setup),
        cmocka_unit_test_setup(test_level, setup),
        cmocka_unit_test_setup(test_level_masked, setup),
        cmocka_unit_test_setup(test_shared_vector, setup),
        cmocka_unit_test_setup(test_edge_clears_remote_irr, setup),
        cmocka_unit_test_setup(test_polarity_is_kept, setup),
        cmocka_unit_test_setup(test_extint_and_nmi_are_edges, setup),
        cmocka_unit_test_setup(test_bad_pins, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
