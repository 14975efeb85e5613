/* The 16550A. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vmm/devices/guest_uart.h"

enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR };
#define FCR  IIR
#define OUT2 0x08

static struct guest_uart uart;
static uint8_t sent[32];
static unsigned int sent_count, edges, room; /* so many are taken */
static bool line;

static unsigned int tx(void *ctx, const uint8_t *data, unsigned int bytes)
{
    assert_ptr_equal(ctx, sent);
    bytes = MIN(bytes, room);
    room -= bytes;
    for (unsigned int i = 0; i < bytes; i++)
        sent[sent_count++ % sizeof(sent)] = data[i];
    return bytes;
}

static void irq(void *ctx, bool level)
{
    assert_ptr_equal(ctx, sent);
    assert_int_not_equal(level, line); /* only changes are told */
    line = level;
    edges += level;
}

static const struct guest_uart_ops ops = {.tx = tx, .irq = irq};

static int setup(void **state)
{
    (void)state;
    line = false;
    sent_count = edges = 0;
    room = UINT_MAX;
    guest_uart_init(&uart, &ops, sent);
    return 0;
}

static uint8_t rd(unsigned int reg)
{
    return guest_uart_read(&uart, reg);
}

static void wr(unsigned int reg, uint8_t v)
{
    guest_uart_write(&uart, reg, v);
}

static void test_reset_state(void **state)
{
    (void)state;
    assert_int_equal(rd(IER), 0);
    assert_int_equal(rd(IIR), 0x01);
    assert_int_equal(rd(LCR), 0);
    assert_int_equal(rd(MCR), 0);
    assert_int_equal(rd(LSR), 0x60);
    assert_int_equal(rd(MSR), 0xB0);
    assert_int_equal(rd(RBR), 0);
}

/* The steps of Linux's autoconfig() and autoconfig_16550a(). */
static void test_linux_autoconfig(void **state)
{
    uint8_t status1, status2;

    (void)state;
    wr(IER, 0);
    assert_int_equal(rd(IER) & 0x0F, 0);
    wr(IER, 0x0F);
    assert_int_equal(rd(IER) & 0x0F, 0x0F);
    wr(IER, 0);
    wr(MCR, 0x10 | 0x0A);
    assert_int_equal(rd(MSR) & 0xF0, 0x90);
    wr(MCR, 0);
    wr(LCR, 0xBF);
    wr(IIR, 0);
    wr(LCR, 0);
    wr(FCR, 1);
    assert_int_equal(rd(IIR) >> 6, 3); /* 16550A */
    wr(LCR, 0x80);
    assert_int_not_equal(rd(2), 0); /* no EFR: not a 16650 */
    wr(LCR, 0xBF);
    assert_int_not_equal(rd(2), 0);
    /* Not a National super I/O chip: MCR is MCR in every bank. */
    wr(LCR, 0);
    status1 = rd(MCR);
    wr(LCR, 0xE0);
    wr(MCR, 0x10);
    status2 = rd(MCR);
    assert_int_equal((status1 ^ status2) & 0x10, 0x10);
    wr(MCR, 0);
    /* No 64-byte FIFO. */
    wr(LCR, 0x80);
    wr(FCR, 0x21);
    assert_int_equal(rd(IIR) >> 5, 6);
    wr(LCR, 0);
    /* Not an XScale: no UUE. */
    wr(IER, 0x40);
    assert_int_equal(rd(IER), 0);
    wr(SCR, 0x5A);
    assert_int_equal(rd(SCR), 0x5A);
}

static void test_divisor(void **state)
{
    (void)state;
    wr(LCR, 0x83);
    assert_int_equal(rd(0), 1);
    wr(0, 0x0C);
    wr(1, 0x34);
    assert_int_equal(rd(0), 0x0C);
    assert_int_equal(rd(1), 0x34);
    wr(LCR, 0x03);
    assert_int_equal(rd(IER), 0);
    assert_int_equal(sent_count, 0);
    assert_int_equal(rd(8 + LCR), 0x03); /* modulo 8 */
}

static void test_transmit(void **state)
{
    (void)state;
    wr(MCR, OUT2);
    wr(IER, 0x02);
    assert_true(line); /* enabling raises it: the transmitter is empty */
    assert_int_equal(rd(IIR), 0x02);
    assert_false(line); /* reading IIR acknowledges */
    assert_int_equal(rd(IIR), 0x01);
    wr(RBR, 'a');
    assert_true(line);
    wr(RBR, 'b'); /* each byte gives a new edge */
    assert_int_equal(edges, 3);
    assert_int_equal(sent_count, 2);
    assert_int_equal(sent[0], 'a');
    assert_int_equal(sent[1], 'b');
    assert_int_equal(rd(LSR), 0x60);
    wr(IER, 0);
    assert_false(line);
    wr(IER, 0x02); /* Linux's THRE test: comes again when it is enabled again */
    assert_true(line);
    assert_int_equal(rd(IIR), 0x02);
    wr(IER, 0x02); /* no change, no interrupt */
    assert_false(line);
}

static void test_out2_is_the_gate(void **state)
{
    (void)state;
    wr(IER, 0x02);
    assert_false(line);
    assert_int_equal(rd(IIR), 0x02);
    wr(RBR, 'x');
    wr(MCR, OUT2);
    assert_true(line);
    wr(MCR, 0);
    assert_false(line);
}

static void test_receive_without_fifo(void **state)
{
    (void)state;
    wr(MCR, OUT2);
    wr(IER, 0x01);
    assert_true(guest_uart_rx_ready(&uart));
    assert_true(guest_uart_rx(&uart, 'q'));
    assert_false(guest_uart_rx_ready(&uart));
    assert_false(guest_uart_rx(&uart, 'r'));
    assert_true(line);
    assert_int_equal(rd(IIR), 0x04);
    assert_int_equal(rd(LSR), 0x61); /* refusing is not an overrun */
    assert_int_equal(rd(RBR), 'q');
    assert_false(line);
    assert_int_equal(rd(RBR), 'q');
    assert_true(guest_uart_rx(&uart, 's'));
    assert_int_equal(rd(RBR), 's');
}

static void test_fifo_and_triggers(void **state)
{
    static const unsigned int levels[] = {1, 4, 8, 14};

    (void)state;
    wr(MCR, OUT2);
    wr(IER, 0x01);
    for (unsigned int t = 0; t < 4; t++) {
        wr(FCR, (uint8_t)(0x03 | t << 6));
        for (unsigned int i = 1; i <= 16; i++) {
            assert_true(guest_uart_rx(&uart, (uint8_t)i));
            assert_true(line); /* at once, below the trigger as a timeout */
            assert_int_equal(rd(IIR), i >= levels[t] ? 0xC4 : 0xCC);
        }
        assert_false(guest_uart_rx(&uart, 17));
        for (unsigned int i = 1; i <= 16; i++)
            assert_int_equal(rd(RBR), i);
        assert_false(line);
        assert_int_equal(rd(IIR), 0xC1);
    }
    /* Around the end of the ring. */
    for (unsigned int i = 0; i < 100; i++) {
        assert_true(guest_uart_rx(&uart, (uint8_t)i));
        assert_true(guest_uart_rx(&uart, (uint8_t)~i));
        assert_int_equal(rd(RBR), i);
        assert_int_equal(rd(RBR), (uint8_t)~i);
    }
}

static void test_fifo_control(void **state)
{
    (void)state;
    wr(FCR, 0x02); /* without the enable bit the rest does not count */
    assert_int_equal(rd(IIR) & 0xC0, 0);
    guest_uart_rx(&uart, 'a');
    wr(FCR, 0xC2);
    assert_int_equal(rd(LSR) & 1, 1);
    wr(FCR, 0x01); /* switching FIFOs on empties them */
    assert_int_equal(rd(LSR) & 1, 0);
    guest_uart_rx(&uart, 'a');
    guest_uart_rx(&uart, 'b');
    wr(FCR, 0x05); /* clears the transmitter only */
    assert_int_equal(rd(LSR) & 1, 1);
    wr(FCR, 0x03);
    assert_int_equal(rd(LSR) & 1, 0);
    guest_uart_rx(&uart, 'c');
    wr(FCR, 0);
    assert_int_equal(rd(LSR) & 1, 0);
}

static void test_priorities(void **state)
{
    (void)state;
    wr(MCR, OUT2 | 0x10);
    wr(IER, 0x0F);
    wr(RBR, 'a');
    wr(RBR, 'b');       /* overrun in loopback */
    assert_false(line); /* OUT2 is inactive in loopback */
    assert_int_equal(rd(IIR), 0x06);
    assert_int_equal(rd(LSR), 0x63);
    assert_int_equal(rd(LSR), 0x61);
    assert_int_equal(rd(IIR), 0x04);
    assert_int_equal(rd(RBR), 'a');
    assert_int_equal(rd(IIR), 0x02);
    assert_int_equal(rd(IIR), 0x00); /* the modem lines changed with the loopback */
    assert_int_equal(rd(MSR) & 0x0F, 0x03);
    assert_int_equal(rd(IIR), 0x01);
    assert_int_equal(sent_count, 0);
}

static void test_loopback_modem_lines(void **state)
{
    (void)state;
    wr(MCR, 0x10);
    assert_false(guest_uart_rx_ready(&uart));
    assert_false(guest_uart_rx(&uart, 'x'));
    assert_int_equal(rd(MSR), 0x0B); /* all three fell */
    assert_int_equal(rd(MSR), 0x00);
    wr(MCR, 0x11);
    assert_int_equal(rd(MSR), 0x22);
    wr(MCR, 0x12);
    assert_int_equal(rd(MSR), 0x13);
    wr(MCR, 0x14);
    assert_int_equal(rd(MSR), 0x41); /* RI's beginning gives no delta */
    wr(MCR, 0x18);
    assert_int_equal(rd(MSR), 0x8C); /* its end does */
    wr(MCR, 0xFF);
    assert_int_equal(rd(MCR), 0x1F);
    wr(LSR, 0xFF);
    wr(MSR, 0xFF);
    assert_int_equal(rd(LSR), 0x60);
    wr(FCR, 1);
    for (unsigned int i = 0; i < 16; i++)
        wr(RBR, (uint8_t)i);
    for (unsigned int i = 0; i < 16; i++)
        assert_int_equal(rd(RBR), i);
}

/* Who gets the bytes takes no more: one waits in the holding register, and further ones are not
 * taken. */
static void test_held(void **state)
{
    const uint8_t text[] = "abcdef";

    (void)state;
    room = 2;
    assert_int_equal(guest_uart_write_data(&uart, text, 5), 3);
    assert_int_equal(sent_count, 2);
    assert_true(guest_uart_tx_waits(&uart) && guest_uart_tx_full(&uart));
    assert_int_equal(rd(LSR), 0);
    assert_int_equal(guest_uart_write_data(&uart, text + 3, 2), 0);
    wr(RBR, 'x'); /* lost, as on a real one */
    guest_uart_resume(&uart);
    assert_int_equal(rd(LSR), 0);
    room = 9;
    assert_int_equal(guest_uart_write_data(&uart, text + 3, 2), 0);
    guest_uart_resume(&uart);
    assert_int_equal(rd(LSR), 0x60);
    assert_int_equal(guest_uart_write_data(&uart, text + 3, 3), 3);
    guest_uart_resume(&uart); /* nothing waits */
    assert_int_equal(sent_count, 6);
    assert_memory_equal(sent, text, 6);
    assert_int_equal(edges, 0);
}

/* The interrupt comes when the byte has been sent, and not before; enabling it does not change
 * that.
 */
static void test_held_interrupt(void **state)
{
    (void)state;
    wr(MCR, OUT2);
    wr(IER, 2);
    assert_int_equal(rd(IIR), 0x02);
    edges = 0;
    room = 0;
    wr(RBR, 'a');
    assert_false(line);
    wr(IER, 0);
    wr(IER, 2);
    assert_false(line);
    assert_int_equal(rd(IIR), 0x01);
    room = 1;
    guest_uart_resume(&uart);
    assert_true(line);
    assert_int_equal(edges, 1);
    assert_int_equal(rd(IIR), 0x02);
    /* Of several, those that are sent have an edge each. */
    edges = 0;
    room = 2;
    assert_int_equal(guest_uart_write_data(&uart, (const uint8_t *)"bcde", 4), 3);
    assert_int_equal(edges, 2);
    assert_false(line);
}

/* The divisor and loopback do not need the transmitter. */
static void test_held_elsewhere(void **state)
{
    (void)state;
    room = 0;
    wr(RBR, 'a');
    wr(LCR, 0x80);
    assert_false(guest_uart_tx_full(&uart));
    wr(RBR, 12);
    assert_int_equal(rd(RBR), 12);
    wr(LCR, 0);
    wr(MCR, 0x10);
    assert_false(guest_uart_tx_full(&uart));
    wr(RBR, 'b');
    assert_int_equal(rd(RBR), 'b');
    wr(MCR, 0);
    assert_true(guest_uart_tx_full(&uart));
    room = 1;
    guest_uart_resume(&uart);
    assert_int_equal(sent[0], 'a');
}

/* Many bytes at once: as one by one. */
static void test_write_data(void **state)
{
    const uint8_t text[] = "0123456789abcdefghij";

    (void)state;
    guest_uart_write_data(&uart, text, 20);
    assert_int_equal(sent_count, 20);
    assert_memory_equal(sent, text, 20);
    assert_int_equal(edges, 0);
    /* An interrupt for each. */
    guest_uart_write(&uart, MCR, OUT2);
    guest_uart_write(&uart, IER, 2);
    edges = 0;
    guest_uart_write_data(&uart, text, 5);
    assert_int_equal(edges, 5);
    assert_int_equal(sent_count, 25);
    /* The divisor keeps the last. */
    guest_uart_write(&uart, LCR, 0x80);
    guest_uart_write_data(&uart, text, 3);
    assert_int_equal(guest_uart_read(&uart, RBR), '2');
    guest_uart_write(&uart, LCR, 0);
    /* In loopback as many as fit are received, without and with the FIFO. */
    guest_uart_write(&uart, IER, 1);
    guest_uart_write(&uart, MCR, OUT2 | 0x10);
    edges = 0;
    guest_uart_write_data(&uart, text, 2);
    assert_int_equal(guest_uart_read(&uart, LSR) & 0x63, 0x63);
    assert_int_equal(guest_uart_read(&uart, RBR), '0');
    guest_uart_write(&uart, FCR, 1);
    guest_uart_write_data(&uart, text, 10);
    guest_uart_write_data(&uart, text + 10, 10);
    assert_int_equal(guest_uart_read(&uart, LSR) & 3, 3);
    for (unsigned int i = 0; i < 16; i++)
        assert_int_equal(guest_uart_read(&uart, RBR), text[i]);
    assert_int_equal(guest_uart_read(&uart, LSR) & 3, 0);
    assert_int_equal(edges, 0);
    assert_int_equal(sent_count, 25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_reset_state, setup),
        cmocka_unit_test_setup(test_linux_autoconfig, setup),
        cmocka_unit_test_setup(test_divisor, setup),
        cmocka_unit_test_setup(test_transmit, setup),
        cmocka_unit_test_setup(test_out2_is_the_gate, setup),
        cmocka_unit_test_setup(test_receive_without_fifo, setup),
        cmocka_unit_test_setup(test_fifo_and_triggers, setup),
        cmocka_unit_test_setup(test_fifo_control, setup),
        cmocka_unit_test_setup(test_priorities, setup),
        cmocka_unit_test_setup(test_loopback_modem_lines, setup),
        cmocka_unit_test_setup(test_write_data, setup),
        cmocka_unit_test_setup(test_held, setup),
        cmocka_unit_test_setup(test_held_interrupt, setup),
        cmocka_unit_test_setup(test_held_elsewhere, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
