/* The 8254: modes, counting, latches, and interrupts that neither drift nor get lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vmm/irqchip/pit.h"

#define CONTROL(ch, access, mode) (uint8_t)((ch) << 6 | (access) << 4 | (mode) << 1)
#define LOW                       1
#define HIGH                      2
#define BOTH                      3
#define BCD                       1
#define S                         PIT_HZ
#define SPEAKER                   PIT_PORT_SPEAKER

/* OUT of channel 0, from its status byte (8254 data sheet, "Read-Back Command"). */
static bool out0(const struct pit *p, uint64_t now)
{
    struct pit copy = *p;

    pit_write(&copy, PIT_PORT_COMMAND, 0xe2, now);
    return pit_read(&copy, PIT_PORT_CHANNEL0, now) & 0x80;
}

static struct pit pit;

/* Times are ticks. */
static uint64_t at(uint64_t tick)
{
    return tick;
}

static int setup(void **state)
{
    (void)state;
    pit_reset(&pit, 0);
    return 0;
}

static void program(unsigned int ch, unsigned int mode, uint16_t count, uint64_t now)
{
    pit_write(&pit, PIT_PORT_COMMAND, CONTROL(ch, BOTH, mode), now);
    pit_write(&pit, (uint16_t)(0x40 + ch), (uint8_t)count, now);
    pit_write(&pit, (uint16_t)(0x40 + ch), (uint8_t)(count >> 8), now);
}

static unsigned int counter(unsigned int ch, uint64_t now)
{
    unsigned int v;

    pit_write(&pit, PIT_PORT_COMMAND, (uint8_t)(ch << 6), now);
    v = pit_read(&pit, (uint16_t)(0x40 + ch), now);
    return v | (unsigned int)pit_read(&pit, (uint16_t)(0x40 + ch), now) << 8;
}

static bool out2(uint64_t now)
{
    return (pit_read(&pit, SPEAKER, now) & 0x20) != 0;
}

static uint8_t status(unsigned int ch, uint64_t now)
{
    pit_write(&pit, PIT_PORT_COMMAND, (uint8_t)(0xE0 | 2 << ch), now);
    return pit_read(&pit, (uint16_t)(0x40 + ch), now);
}

static void test_reset(void **state)
{
    (void)state;
    assert_true(pit_next_irq(&pit, 0) == UINT64_MAX);
    assert_int_equal(pit_poll_irq(&pit, 1000 * S), 0);
    assert_true(out0(&pit, 0));
    assert_int_equal(pit_read(&pit, PIT_PORT_COMMAND, 0), 0xFF);
    assert_int_equal(pit_read(&pit, 0x50, 0), 0xFF);
    pit_write(&pit, 0x50, 1, 0);
    assert_int_equal(status(0, 0), 0x80 | 0x40 | 0x36);
}

static void test_mode0(void **state)
{
    (void)state;
    program(0, 0, 100, at(10));
    assert_false(out0(&pit, at(10)));
    assert_int_equal(counter(0, at(11)), 100);
    assert_int_equal(counter(0, at(41)), 70);
    assert_false(out0(&pit, at(110)));
    assert_true(out0(&pit, at(111))); /* N + 1 clocks after the write */
    assert_true(pit_next_irq(&pit, at(41)) == at(111));
    assert_int_equal(pit_poll_irq(&pit, at(111) - 1), 0);
    assert_int_equal(pit_poll_irq(&pit, at(111)), 1);
    assert_int_equal(pit_poll_irq(&pit, at(100000)), 0);
    assert_true(pit_next_irq(&pit, at(100000)) == UINT64_MAX);
    assert_int_equal(counter(0, at(112)), 0xFFFF); /* it wraps and goes on */
    /* The first byte of a new count lowers OUT and stops. */
    pit_write(&pit, 0x40, 5, at(200000));
    assert_false(out0(&pit, at(200000)));
    assert_true(pit_next_irq(&pit, at(200000)) == UINT64_MAX);
    pit_write(&pit, 0x40, 0, at(200000));
    assert_int_equal(pit_poll_irq(&pit, at(200006)), 1);
}

static void test_mode2(void **state)
{
    uint64_t next;

    (void)state;
    program(0, 2, 1000, 0);
    assert_true(out0(&pit, at(999)));
    assert_false(out0(&pit, at(1000))); /* low for one clock */
    assert_true(out0(&pit, at(1001)));
    assert_int_equal(counter(0, at(1)), 1000);
    assert_int_equal(counter(0, at(1000)), 1);
    assert_int_equal(counter(0, at(1001)), 1000);
    assert_int_equal(pit_poll_irq(&pit, at(1001)), 1);
    for (uint64_t k = 2; k < 50; k++) {
        next = pit_next_irq(&pit, at(k * 1000));
        assert_true(next == at(k * 1000 + 1));
        assert_int_equal(pit_poll_irq(&pit, next - 1), 0);
        assert_int_equal(pit_poll_irq(&pit, next), 1);
    }
    assert_int_equal(pit_poll_irq(&pit, at(60 * 1000 + 1)), 11); /* late: none is lost */
}

/* 30 days at 100 Hz, with odd polling times: the count of interrupts is exact. */
static void test_no_drift(void **state)
{
    uint64_t total = 0, days30 = 30ull * 86400 * S;

    (void)state;
    program(0, 2, 11932, 0);
    for (uint64_t now = 0; now < days30; now += 7919 * S / 3)
        total += pit_poll_irq(&pit, now);
    total += pit_poll_irq(&pit, days30);
    assert_true(total == (days30 - 1) / 11932);
    pit_poll_irq(&pit, 584 * 31557600ull * S); /* 584 years: no overflow */
    assert_true(pit_next_irq(&pit, 584 * 31557600ull * S) < UINT64_MAX);
}

static void test_poll_saturates(void **state)
{
    (void)state;
    program(0, 2, 2, 0);
    assert_int_equal(pit_poll_irq(&pit, 100000 * S), UINT32_MAX);
    assert_int_equal(pit_poll_irq(&pit, 100000 * S), 0);
}

static void test_fast_rates_are_bounded(void **state)
{
    (void)state;
    for (unsigned int mode = 2; mode <= 3; mode++) {
        uint64_t now = mode * S, next;

        program(0, mode, 1, now); /* illegal, taken as 2 */
        pit_poll_irq(&pit, now);
        for (int i = 0; i < 100; i++) {
            next = pit_next_irq(&pit, now);
            assert_true(next - now >= 23);
            assert_true(next - now < 36);
            now = next;
            assert_in_range(pit_poll_irq(&pit, now), 11, 13);
        }
    }
}

static void test_mode3(void **state)
{
    (void)state;
    program(0, 3, 5, 0); /* odd: 3 high, 2 low */
    static const bool wave[] = {true, true, true, false, false};
    static const unsigned int even_count[] = {4, 2, 0, 4, 2};

    for (uint64_t d = 0; d < 20; d++) {
        assert_int_equal(out0(&pit, at(1 + d)), wave[d % 5]);
        assert_int_equal(counter(0, at(1 + d)), even_count[d % 5]);
    }
    program(0, 3, 0, at(1000)); /* 65536 */
    pit_poll_irq(&pit, at(1000));
    assert_true(pit_next_irq(&pit, at(1000)) == at(1001 + 65536));
    assert_int_equal(counter(0, at(1001)), 0);
    assert_int_equal(counter(0, at(1002)), 0xFFFE);
    assert_int_equal(counter(0, at(1001 + 32768)), 0);
    assert_false(out0(&pit, at(1001 + 32768)));
}

static void test_reload_waits(void **state)
{
    (void)state;
    program(0, 2, 1000, 0);
    pit_write(&pit, 0x40, 0xF4, at(300)); /* 500 from the next period on */
    assert_int_equal(counter(0, at(301)), 700);
    pit_read(&pit, 0x40, at(301)); /* half of an unlatched read */
    pit_read(&pit, 0x40, at(301));
    pit_write(&pit, 0x40, 0x01, at(301));
    assert_int_equal(status(0, at(302)) & 0x40, 0x40); /* null count until it is taken */
    assert_true(pit_next_irq(&pit, at(301)) == at(1001));
    assert_int_equal(pit_poll_irq(&pit, at(1001)), 1);
    assert_true(pit_next_irq(&pit, at(1001)) == at(1501));
    assert_int_equal(status(0, at(1002)) & 0x40, 0);
    assert_int_equal(pit_poll_irq(&pit, at(3001)), 4);
    /* A count that is written before the first one was loaded. */
    program(0, 2, 100, at(5000));
    pit_write(&pit, 0x40, 200, at(5000));
    pit_write(&pit, 0x40, 0, at(5000));
    pit_poll_irq(&pit, at(5000));
    assert_true(pit_next_irq(&pit, at(5000)) == at(5201));
}

static void test_reload_of_square_wave(void **state)
{
    (void)state;
    program(0, 3, 1000, 0);
    /* In the high half: the low half already has the new length. */
    pit_write(&pit, 0x40, 200, at(100));
    pit_write(&pit, 0x40, 0, at(100));
    assert_true(pit_next_irq(&pit, at(100)) == at(501 + 100));
    assert_true(out0(&pit, at(500)));
    assert_false(out0(&pit, at(501)));
    assert_true(out0(&pit, at(601)));
    assert_int_equal(pit_poll_irq(&pit, at(801)), 2);
    /* In the low half: from the next period on. */
    pit_write(&pit, 0x40, 0x90, at(801 + 150));
    pit_write(&pit, 0x40, 1, at(801 + 150));
    assert_int_equal(pit_poll_irq(&pit, at(1001)), 1);
    assert_true(pit_next_irq(&pit, at(1001)) == at(1401));
}

static void test_mode4(void **state)
{
    (void)state;
    program(0, 4, 50, 0);
    assert_true(out0(&pit, at(50)));
    assert_false(out0(&pit, at(51)));
    assert_true(out0(&pit, at(52)));
    assert_true(pit_next_irq(&pit, 0) == at(52));
    assert_int_equal(pit_poll_irq(&pit, at(51)), 0);
    assert_int_equal(pit_poll_irq(&pit, at(52)), 1);
    assert_true(pit_next_irq(&pit, at(52)) == UINT64_MAX);
}

static void test_control_word_raises_out(void **state)
{
    (void)state;
    program(0, 0, 1000, 0);                                        /* OUT low */
    pit_write(&pit, PIT_PORT_COMMAND, CONTROL(0, BOTH, 2), at(5)); /* OUT high */
    assert_true(pit_next_irq(&pit, at(6)) == at(6));
    assert_int_equal(pit_poll_irq(&pit, at(6)), 1);
    assert_int_equal(pit_poll_irq(&pit, at(7)), 0);
    program(0, 1, 10, at(8)); /* channel 0 has no trigger */
    assert_true(pit_next_irq(&pit, at(8)) == UINT64_MAX);
    assert_int_equal(pit_poll_irq(&pit, at(1000)), 0);
}

static void test_one_shot_channel2(void **state)
{
    (void)state;
    program(2, 1, 100, 0);
    assert_true(out2(at(50)));
    pit_write(&pit, SPEAKER, 1, at(60));
    assert_true(out2(at(60)));
    assert_false(out2(at(61)));
    assert_false(out2(at(160)));
    assert_true(out2(at(161)));
    pit_write(&pit, SPEAKER, 0, at(170)); /* the falling gate does nothing */
    pit_write(&pit, SPEAKER, 1, at(180));
    pit_write(&pit, SPEAKER, 0, at(200));
    pit_write(&pit, SPEAKER, 1, at(210)); /* retriggers */
    assert_false(out2(at(305)));
    assert_true(out2(at(311)));
    /* A new count waits for the trigger. */
    pit_write(&pit, 0x42, 10, at(320));
    pit_write(&pit, 0x42, 0, at(320));
    assert_int_equal(status(2, at(320)) & 0x40, 0x40);
    pit_write(&pit, SPEAKER, 0, at(330));
    pit_write(&pit, SPEAKER, 1, at(340));
    assert_false(out2(at(350)));
    assert_true(out2(at(351)));
}

static void test_hardware_strobe(void **state)
{
    (void)state;
    pit_write(&pit, SPEAKER, 0, 0);
    program(2, 5, 20, 0);
    assert_true(out2(at(100)));
    pit_write(&pit, SPEAKER, 1, at(100));
    assert_true(out2(at(120)));
    assert_false(out2(at(121)));
    assert_true(out2(at(122)));
}

/* Linux and firmware calibrate the TSC this way. */
static void test_mode0_gated(void **state)
{
    (void)state;
    program(2, 0, 1000, 0); /* the gate is closed: nothing counts */
    assert_false(out2(at(5000)));
    assert_int_equal(counter(2, at(5000)), 1000);
    pit_write(&pit, SPEAKER, 1, at(5000));
    pit_write(&pit, SPEAKER, 1, at(5100));
    assert_int_equal(counter(2, at(5301)), 700);
    pit_write(&pit, SPEAKER, 0, at(5301));
    assert_int_equal(counter(2, at(9000)), 700);
    pit_write(&pit, SPEAKER, 3, at(10000));
    assert_int_equal(pit_read(&pit, SPEAKER, at(10000)) & 0xEF, 3);
    assert_false(out2(at(10699)));
    assert_true(out2(at(10700)));
}

static void test_square_gated(void **state)
{
    (void)state;
    pit_write(&pit, SPEAKER, 1, 0);
    program(2, 3, 100, 0);
    assert_false(out2(at(51)));
    pit_write(&pit, SPEAKER, 0, at(60));
    assert_true(out2(at(60))); /* a closed gate raises OUT at once */
    assert_true(out2(at(75)));
    pit_write(&pit, SPEAKER, 1, at(200)); /* and starts a new period when it opens */
    assert_true(out2(at(250)));
    assert_false(out2(at(251)));
    program(2, 2, 10, at(300));
    assert_false(out2(at(310)));
    pit_write(&pit, SPEAKER, 0, at(310));
    assert_true(out2(at(310)));
}

static void test_bcd(void **state)
{
    (void)state;
    pit_write(&pit, PIT_PORT_COMMAND, CONTROL(0, BOTH, 2) | BCD, 0);
    pit_write(&pit, 0x40, 0x00, 0);
    pit_write(&pit, 0x40, 0x10, 0); /* 1000 */
    assert_int_equal(counter(0, at(2)), 0x0999);
    pit_poll_irq(&pit, at(2));
    assert_true(pit_next_irq(&pit, at(2)) == at(1001));
    pit_write(&pit, PIT_PORT_COMMAND, CONTROL(0, BOTH, 0) | BCD, at(2000));
    pit_write(&pit, 0x40, 0, at(2000));
    pit_write(&pit, 0x40, 0, at(2000)); /* 10000 */
    assert_int_equal(counter(0, at(2001)), 0);
    assert_int_equal(counter(0, at(2002)), 0x9999);
    assert_int_equal(counter(0, at(2001 + 10001)), 0x9999);
    assert_int_equal(status(0, at(2002)) & 0x3F, 0x31);
    pit_write(&pit, PIT_PORT_COMMAND, CONTROL(0, BOTH, 2) | BCD, 0);
    pit_write(&pit, 0x40, 0xFF, 0); /* no BCD number: it must only do no harm */
    pit_write(&pit, 0x40, 0xFF, 0);
    (void)counter(0, at(12345));
}

static void test_access_modes(void **state)
{
    (void)state;
    pit_write(&pit, PIT_PORT_COMMAND, CONTROL(0, LOW, 0), 0);
    pit_write(&pit, 0x40, 0x80, 0);
    assert_int_equal(pit_read(&pit, 0x40, at(1)), 0x80);
    assert_int_equal(pit_read(&pit, 0x40, at(2)), 0x7F);
    pit_write(&pit, PIT_PORT_COMMAND, 0x00, at(3)); /* latch */
    assert_int_equal(pit_read(&pit, 0x40, at(50)), 0x7E);
    assert_int_equal(pit_read(&pit, 0x40, at(51)), 0x80 - 50);
    pit_write(&pit, PIT_PORT_COMMAND, CONTROL(1, HIGH, 2), 0);
    pit_write(&pit, 0x41, 0x12, 0);
    assert_int_equal(pit_read(&pit, 0x41, at(1)), 0x12);
    assert_int_equal(pit_read(&pit, 0x41, at(2)), 0x11);
    assert_int_equal(status(1, at(2)) & 0x3F, 0x24);
    pit_write(&pit, PIT_PORT_COMMAND, CONTROL(1, BOTH, 7), 0); /* 7 is mode 3 */
    assert_int_equal(status(1, at(2)) & 0x0E, 0x06);
}

static void test_latches(void **state)
{
    (void)state;
    program(0, 2, 1000, 0);
    pit_write(&pit, PIT_PORT_COMMAND, 0x00, at(101)); /* 900 */
    pit_write(&pit, PIT_PORT_COMMAND, 0x00, at(201)); /* ignored: the first is unread */
    assert_int_equal(pit_read(&pit, 0x40, at(301)), 900 & 0xFF);
    assert_int_equal(pit_read(&pit, 0x40, at(301)), 900 >> 8);
    /* Read-back of count and status of channels 0 and 2: status comes first. */
    program(2, 3, 500, 0);
    pit_write(&pit, PIT_PORT_COMMAND, 0xC0 | 0x0A, at(401));
    pit_write(&pit, PIT_PORT_COMMAND, 0xC0 | 0x0A, at(501));
    assert_int_equal(pit_read(&pit, 0x40, at(601)), 0x80 | 0x34);
    assert_int_equal(pit_read(&pit, 0x40, at(601)), 600 & 0xFF);
    assert_int_equal(pit_read(&pit, 0x40, at(601)), 600 >> 8);
    assert_int_equal(pit_read(&pit, 0x42, at(601)) & 0x3F, 0x36);
    /* Unlatched two-byte reads alternate. */
    assert_int_equal(pit_read(&pit, 0x40, at(701)), 300 & 0xFF);
    assert_int_equal(pit_read(&pit, 0x40, at(701)), 300 >> 8);
}

/* Random programs: the edges that are counted are those that OUT0 shows tick by tick, and the time
 * of the next one is foretold. */
static void test_edges_agree_with_out(void **state)
{
    uint32_t random = 7;
    uint64_t tick = 10, foretold = UINT64_MAX;
    unsigned int edges = 0;
    bool out = true;

    (void)state;
    for (int step = 0; step < 200000; step++) {
        bool now_out;

        random = random * 1664525u + 1013904223u;
        if (random >> 16 < 300) {
            uint16_t count = (uint16_t)(24 + (random & 0xFF));
            unsigned int mode = random >> 8 & 7;

            if (random & 0x800)
                pit_write(&pit, PIT_PORT_COMMAND, CONTROL(0, BOTH, mode), at(tick));
            now_out = out0(&pit, at(tick));
            edges += now_out && !out;
            out = now_out;
            pit_write(&pit, 0x40, (uint8_t)count, at(tick));
            if (random & 0x1000) {
                now_out = out0(&pit, at(tick));
                edges += now_out && !out;
                out = now_out;
                pit_write(&pit, 0x40, (uint8_t)(count >> 8), at(tick));
            }
            now_out = out0(&pit, at(tick));
            edges += now_out && !out;
            out = now_out;
            assert_int_equal(pit_poll_irq(&pit, at(tick)), edges);
            edges = 0;
            foretold = pit_next_irq(&pit, at(tick));
        }
        tick++;
        now_out = out0(&pit, at(tick));
        if (now_out && !out) {
            edges++;
            assert_true(foretold == at(tick));
            assert_int_equal(pit_poll_irq(&pit, at(tick) - 1), 0);
            assert_int_equal(pit_poll_irq(&pit, at(tick)), 1);
            edges = 0;
            foretold = pit_next_irq(&pit, at(tick));
        }
        assert_true(foretold > at(tick));
        out = now_out;
    }
}

static void test_refresh_toggles(void **state)
{
    unsigned int changes = 0;
    uint8_t last = pit_read(&pit, SPEAKER, 0) & 0x10;

    (void)state;
    for (uint64_t now = 0; now < S / 1000; now++) {
        uint8_t bit = pit_read(&pit, SPEAKER, now) & 0x10;

        changes += bit != last;
        last = bit;
    }
    assert_in_range(changes, 60, 70); /* every 15 us */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_reset, setup),
        cmocka_unit_test_setup(test_mode0, setup),
        cmocka_unit_test_setup(test_mode2, setup),
        cmocka_unit_test_setup(test_no_drift, setup),
        cmocka_unit_test_setup(test_poll_saturates, setup),
        cmocka_unit_test_setup(test_fast_rates_are_bounded, setup),
        cmocka_unit_test_setup(test_mode3, setup),
        cmocka_unit_test_setup(test_reload_waits, setup),
        cmocka_unit_test_setup(test_reload_of_square_wave, setup),
        cmocka_unit_test_setup(test_mode4, setup),
        cmocka_unit_test_setup(test_control_word_raises_out, setup),
        cmocka_unit_test_setup(test_one_shot_channel2, setup),
        cmocka_unit_test_setup(test_hardware_strobe, setup),
        cmocka_unit_test_setup(test_mode0_gated, setup),
        cmocka_unit_test_setup(test_square_gated, setup),
        cmocka_unit_test_setup(test_bcd, setup),
        cmocka_unit_test_setup(test_access_modes, setup),
        cmocka_unit_test_setup(test_latches, setup),
        cmocka_unit_test_setup(test_edges_agree_with_out, setup),
        cmocka_unit_test_setup(test_refresh_toggles, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
