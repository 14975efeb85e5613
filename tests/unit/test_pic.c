/* The 8259A pair: initialization, priorities, every EOI form, polling, ELCR. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vmm/irqchip/pic.h"

#define M_CMD  PIC_PORT_MASTER_CMD
#define M_DATA PIC_PORT_MASTER_DATA
#define S_CMD  PIC_PORT_SLAVE_CMD
#define S_DATA PIC_PORT_SLAVE_DATA

#define EOI           0x20
#define SPECIFIC(n)   (0x60 | (n))
#define READ_IRR      0x0A
#define READ_ISR      0x0B
#define SPECIAL_MASK  0x68
#define NORMAL_MASK   0x48
#define MASTER_VECTOR 0x20
#define SLAVE_VECTOR  0x28

static struct pic pic;

static void init_with(uint8_t icw4)
{
    pic_reset(&pic);
    pic_write(&pic, M_CMD, 0x11);
    pic_write(&pic, M_DATA, MASTER_VECTOR);
    pic_write(&pic, M_DATA, 0x04);
    pic_write(&pic, M_DATA, icw4);
    pic_write(&pic, S_CMD, 0x11);
    pic_write(&pic, S_DATA, SLAVE_VECTOR);
    pic_write(&pic, S_DATA, 0x02);
    pic_write(&pic, S_DATA, icw4 & (uint8_t)~0x10);
}

static int setup(void **state)
{
    (void)state;
    init_with(0x01);
    return 0;
}

static void pulse(unsigned int irq)
{
    pic_set_irq(&pic, irq, true);
    pic_set_irq(&pic, irq, false);
}

static uint8_t isr(uint16_t port)
{
    pic_write(&pic, port, READ_ISR);
    return pic_read(&pic, port);
}

static uint8_t irr(uint16_t port)
{
    pic_write(&pic, port, READ_IRR);
    return pic_read(&pic, port);
}

static void test_reset_is_masked(void **state)
{
    (void)state;
    pic_reset(&pic);
    for (unsigned int irq = 0; irq < 16; irq++)
        pulse(irq);
    assert_false(pic_pending(&pic));
    assert_int_equal(pic_read(&pic, M_DATA), 0xFF);
    assert_int_equal(pic_read(&pic, S_DATA), 0xFF);
    /* Linux looks for a PIC by writing the mask before it initializes it. */
    pic_write(&pic, M_DATA, 0xFB);
    assert_int_equal(pic_read(&pic, M_DATA), 0xFB);
    assert_false(pic_pending(&pic));
}

static void test_no_output_during_initialization(void **state)
{
    (void)state;
    pic_write(&pic, M_CMD, 0x11);
    pic_set_irq(&pic, 1, true);
    assert_false(pic_pending(&pic));
    pic_write(&pic, M_DATA, 0x47); /* low bits of ICW2 are dropped */
    pic_write(&pic, M_DATA, 0x04);
    assert_false(pic_pending(&pic));
    pic_write(&pic, M_DATA, 0x01);
    assert_true(pic_pending(&pic));
    assert_int_equal(pic_ack(&pic), 0x41);
}

static void test_icw1_clears(void **state)
{
    (void)state;
    pic_write(&pic, M_DATA, 0xF0);
    pulse(1);
    pic_ack(&pic);
    pulse(0);
    pic_write(&pic, M_CMD, 0x12); /* single, no ICW4 */
    pic_write(&pic, M_DATA, 0x30);
    assert_int_equal(pic_read(&pic, M_DATA), 0); /* ICW1 cleared the mask, no ICW3 was expected */
    assert_int_equal(isr(M_CMD), 0);
    assert_int_equal(irr(M_CMD), 0);
    pulse(3);
    assert_int_equal(pic_ack(&pic), 0x33);
    pic_write(&pic, M_CMD, 0x10); /* cascade, no ICW4 */
    pic_write(&pic, M_DATA, 0x20);
    pic_write(&pic, M_DATA, 0x04);
    pic_write(&pic, M_DATA, 0x55);
    assert_int_equal(pic_read(&pic, M_DATA), 0x55);
}

static void test_edge_needs_rising_edge(void **state)
{
    (void)state;
    pic_set_irq(&pic, 4, true);
    assert_int_equal(pic_ack(&pic), MASTER_VECTOR + 4);
    pic_write(&pic, M_CMD, EOI);
    assert_false(pic_pending(&pic)); /* still high: no second edge */
    pic_set_irq(&pic, 4, true);
    assert_false(pic_pending(&pic));
    pulse(4); /* falls only */
    assert_false(pic_pending(&pic));
    pulse(4);
    assert_true(pic_pending(&pic));
}

static void test_priority_and_nesting(void **state)
{
    (void)state;
    pulse(5);
    pulse(3);
    assert_int_equal(irr(M_CMD), 0x28);
    assert_int_equal(pic_ack(&pic), MASTER_VECTOR + 3);
    assert_false(pic_pending(&pic)); /* 5 waits for 3's EOI */
    pulse(1);
    assert_int_equal(pic_ack(&pic), MASTER_VECTOR + 1);
    assert_int_equal(isr(M_CMD), 0x0A);
    pic_write(&pic, M_CMD, EOI); /* ends 1, the more important one */
    assert_int_equal(isr(M_CMD), 0x08);
    pulse(3);
    assert_false(pic_pending(&pic)); /* an equal one does not interrupt itself */
    pic_write(&pic, M_CMD, SPECIFIC(3));
    assert_int_equal(pic_ack(&pic), MASTER_VECTOR + 3);
    pic_write(&pic, M_CMD, EOI);
    assert_int_equal(pic_ack(&pic), MASTER_VECTOR + 5);
    pic_write(&pic, M_CMD, EOI);
    pic_write(&pic, M_CMD, EOI); /* one too many */
    assert_int_equal(isr(M_CMD), 0);
}

static void test_mask(void **state)
{
    (void)state;
    pic_write(&pic, M_DATA, 0x02);
    pulse(1);
    assert_false(pic_pending(&pic));
    assert_int_equal(irr(M_CMD), 0x02); /* kept in IRR */
    pic_write(&pic, M_DATA, 0);
    assert_true(pic_pending(&pic));
    pic_write(&pic, M_DATA, 0x02);
    assert_false(pic_pending(&pic));
}

static void test_slave(void **state)
{
    (void)state;
    pulse(12);
    assert_int_equal(irr(M_CMD), 0x04);
    assert_int_equal(pic_ack(&pic), SLAVE_VECTOR + 4);
    assert_int_equal(isr(M_CMD), 0x04);
    assert_int_equal(isr(S_CMD), 0x10);
    pulse(10);
    assert_false(pic_pending(&pic)); /* the master's input 2 is in service */
    pulse(1);
    assert_int_equal(pic_ack(&pic), MASTER_VECTOR + 1);
    pic_write(&pic, M_CMD, EOI);
    pic_write(&pic, M_CMD, EOI);
    assert_int_equal(pic_ack(&pic), SLAVE_VECTOR + 2);
    pic_write(&pic, S_CMD, EOI);
    pic_write(&pic, S_CMD, EOI);
    pic_write(&pic, M_CMD, EOI);
    assert_false(pic_pending(&pic));
    pulse(8);
    pic_write(&pic, M_DATA, 0x04);
    assert_false(pic_pending(&pic)); /* cascade masked */
}

static void test_special_fully_nested(void **state)
{
    (void)state;
    init_with(0x11);
    pulse(12);
    pic_ack(&pic);
    pulse(14);
    assert_false(pic_pending(&pic)); /* less important on the slave itself */
    pulse(8);
    assert_int_equal(pic_ack(&pic), SLAVE_VECTOR + 0);
    assert_int_equal(isr(S_CMD), 0x11);
}

static void test_spurious(void **state)
{
    (void)state;
    assert_int_equal(pic_ack(&pic), MASTER_VECTOR + 7);
    assert_int_equal(isr(M_CMD), 0);
    pic_write(&pic, PIC_PORT_ELCR_MASTER, 0x20);
    pic_set_irq(&pic, 5, true);
    assert_true(pic_pending(&pic));
    pic_set_irq(&pic, 5, false); /* withdrawn before INTA */
    assert_false(pic_pending(&pic));
    assert_int_equal(pic_ack(&pic), MASTER_VECTOR + 7);
}

static void test_auto_eoi(void **state)
{
    (void)state;
    init_with(0x03);
    pulse(6);
    assert_int_equal(pic_ack(&pic), MASTER_VECTOR + 6);
    assert_int_equal(isr(M_CMD), 0);
    pic_write(&pic, M_CMD, 0x80); /* rotate in automatic EOI mode */
    pulse(0);
    assert_int_equal(pic_ack(&pic), MASTER_VECTOR + 0);
    pulse(0);
    pulse(1);
    assert_int_equal(pic_ack(&pic), MASTER_VECTOR + 1); /* 0 is the lowest now */
    pic_write(&pic, M_CMD, 0x00);
    assert_int_equal(pic_ack(&pic), MASTER_VECTOR + 0);
    pulse(1);
    pulse(2 + 1);
    assert_int_equal(pic_ack(&pic), MASTER_VECTOR + 3); /* the order stays: 2 is the highest */
}

static void test_rotation(void **state)
{
    (void)state;
    pulse(4);
    pic_ack(&pic);
    pic_write(&pic, M_CMD, 0xA0); /* rotate on non-specific EOI: 4 lowest */
    pulse(4);
    pulse(5);
    pulse(0);
    assert_int_equal(pic_ack(&pic), MASTER_VECTOR + 5);
    pic_write(&pic, M_CMD, 0xE0 | 5); /* rotate on specific EOI: 5 lowest */
    assert_int_equal(pic_ack(&pic), MASTER_VECTOR + 0);
    pic_write(&pic, M_CMD, EOI);
    assert_int_equal(pic_ack(&pic), MASTER_VECTOR + 4);
    pic_write(&pic, M_CMD, EOI);
    pic_write(&pic, M_CMD, 0xC0 | 2); /* set priority: 3 highest */
    pulse(0);
    pulse(3);
    assert_int_equal(pic_ack(&pic), MASTER_VECTOR + 3);
    pic_write(&pic, M_CMD, 0x40); /* no operation */
    assert_int_equal(isr(M_CMD), 0x08);
    pic_write(&pic, M_CMD, 0xA0);
    pic_write(&pic, M_CMD, 0xA0); /* nothing in service: nothing rotates */
    assert_int_equal(pic_ack(&pic), MASTER_VECTOR + 0);
}

static void test_special_mask(void **state)
{
    (void)state;
    pulse(2 + 1);
    pic_ack(&pic);
    pic_write(&pic, M_DATA, 0x08); /* mask what is in service */
    pulse(6);
    assert_false(pic_pending(&pic));
    pic_write(&pic, M_CMD, SPECIAL_MASK);
    assert_int_equal(pic_ack(&pic), MASTER_VECTOR + 6);
    pic_write(&pic, M_CMD, EOI); /* ends 6; 3 is masked */
    assert_int_equal(isr(M_CMD), 0x08);
    pic_write(&pic, M_CMD, EOI);
    assert_int_equal(isr(M_CMD), 0x08);
    pic_write(&pic, M_CMD, NORMAL_MASK);
    pic_write(&pic, M_CMD, EOI);
    assert_int_equal(isr(M_CMD), 0);
}

static void test_poll(void **state)
{
    (void)state;
    pic_write(&pic, M_CMD, 0x0C);
    assert_int_equal(pic_read(&pic, M_CMD), 0);
    pulse(3);
    pic_write(&pic, M_CMD, 0x0C);
    assert_int_equal(pic_read(&pic, M_DATA), 0x83);
    assert_int_equal(isr(M_CMD), 0x08);
    assert_int_equal(pic_read(&pic, M_DATA), 0); /* only one poll: the mask again */
    pulse(9);
    pic_write(&pic, S_CMD, 0x0C);
    assert_int_equal(pic_read(&pic, S_CMD), 0x81);
    assert_int_equal(irr(M_CMD), 0); /* the slave has no request any more */
    assert_int_equal(isr(S_CMD), 0x02);
}

static void test_level(void **state)
{
    (void)state;
    pic_write(&pic, PIC_PORT_ELCR_MASTER, 0xFF);
    pic_write(&pic, PIC_PORT_ELCR_SLAVE, 0xFF);
    assert_int_equal(pic_read(&pic, PIC_PORT_ELCR_MASTER), 0xF8);
    assert_int_equal(pic_read(&pic, PIC_PORT_ELCR_SLAVE), 0xDE);
    pic_set_irq(&pic, 11, true);
    assert_int_equal(pic_ack(&pic), SLAVE_VECTOR + 3);
    pic_write(&pic, S_CMD, EOI);
    pic_write(&pic, M_CMD, EOI);
    assert_int_equal(pic_ack(&pic), SLAVE_VECTOR + 3); /* again, it is still asserted */
    pic_set_irq(&pic, 11, false);
    pic_write(&pic, S_CMD, EOI);
    pic_write(&pic, M_CMD, EOI);
    assert_false(pic_pending(&pic));
    pic_set_irq(&pic, 5, true);
    pic_write(&pic, PIC_PORT_ELCR_MASTER, 0); /* back to edges: the level does not count */
    assert_false(pic_pending(&pic));
}

static void test_odd_arguments(void **state)
{
    (void)state;
    pulse(2);
    pulse(16);
    pulse(~0u);
    assert_false(pic_pending(&pic));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_reset_is_masked, setup),
        cmocka_unit_test_setup(test_no_output_during_initialization, setup),
        cmocka_unit_test_setup(test_icw1_clears, setup),
        cmocka_unit_test_setup(test_edge_needs_rising_edge, setup),
        cmocka_unit_test_setup(test_priority_and_nesting, setup),
        cmocka_unit_test_setup(test_mask, setup),
        cmocka_unit_test_setup(test_slave, setup),
        cmocka_unit_test_setup(test_special_fully_nested, setup),
        cmocka_unit_test_setup(test_spurious, setup),
        cmocka_unit_test_setup(test_auto_eoi, setup),
        cmocka_unit_test_setup(test_rotation, setup),
        cmocka_unit_test_setup(test_special_mask, setup),
        cmocka_unit_test_setup(test_poll, setup),
        cmocka_unit_test_setup(test_level, setup),
        cmocka_unit_test_setup(test_odd_arguments, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
