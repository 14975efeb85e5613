/* The MC146818: time, formats, setting it, UIP, and the three interrupts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

#include "vmm/devices/rtc.h"

#define S     1000000000ull
#define EPOCH 1709209799ull /* Thursday 2024-02-29 12:29:59 UTC */

static struct rtc rtc;

static int setup(void **state)
{
    (void)state;
    rtc_reset(&rtc, EPOCH, 0);
    return 0;
}

static uint8_t rd(uint8_t reg, uint64_t now)
{
    rtc_write(&rtc, RTC_PORT_INDEX, reg, now);
    return rtc_read(&rtc, RTC_PORT_DATA, now);
}

static void wr(uint8_t reg, uint8_t v, uint64_t now)
{
    rtc_write(&rtc, RTC_PORT_INDEX, reg, now);
    rtc_write(&rtc, RTC_PORT_DATA, v, now);
}

static void test_reset(void **state)
{
    (void)state;
    assert_int_equal(rd(0x0A, 0), 0x26);
    assert_int_equal(rd(0x0B, 0), 0x02);
    assert_int_equal(rd(0x0C, 0), 0);
    assert_int_equal(rd(0x0D, 0), 0x80);
    assert_false(rtc_poll(&rtc, 0));
    assert_true(rtc_next_event(&rtc, 0) == UINT64_MAX);
    assert_int_equal(rtc_read(&rtc, RTC_PORT_INDEX, 0), 0xFF);
    assert_int_equal(rtc_read(&rtc, 0x72, 0), 0xFF);
    rtc_write(&rtc, 0x72, 0, 0);
}

static void test_bcd_24h(void **state)
{
    (void)state;
    assert_int_equal(rd(0, 0), 0x59);
    assert_int_equal(rd(2, 0), 0x29);
    assert_int_equal(rd(4, 0), 0x12);
    assert_int_equal(rd(6, 0), 5); /* Sunday = 1 */
    assert_int_equal(rd(7, 0), 0x29);
    assert_int_equal(rd(8, 0), 0x02);
    assert_int_equal(rd(9, 0), 0x24);
    assert_int_equal(rd(RTC_CENTURY, 0), 0x20);
    assert_int_equal(rd(0, S - 1), 0x59);
    assert_int_equal(rd(0, S), 0x00);
    assert_int_equal(rd(2, S), 0x30);
    assert_int_equal(rd(7, 86400 * S), 0x01); /* 1 March */
    assert_int_equal(rd(8, 86400 * S), 0x03);
}

static void test_formats(void **state)
{
    (void)state;
    wr(0x0B, 0x06, 0); /* binary, 24 h */
    assert_int_equal(rd(0, 0), 59);
    assert_int_equal(rd(4, 0), 12);
    assert_int_equal(rd(9, 0), 24);
    wr(0x0B, 0x04, 0); /* binary, 12 h */
    assert_int_equal(rd(4, 0), 0x80 | 12);
    assert_int_equal(rd(4, 3600 * S), 0x80 | 1);
    assert_int_equal(rd(4, 12 * 3600 * S), 12); /* midnight */
    assert_int_equal(rd(4, 13 * 3600 * S), 1);
    wr(0x0B, 0x00, 0); /* BCD, 12 h */
    assert_int_equal(rd(4, 11 * 3600 * S), 0x80 | 0x11);
}

/* Every day of some centuries agrees with libc. */
static void test_calendar(void **state)
{
    (void)state;
    wr(0x0B, 0x06, 0);
    for (uint64_t day = 0; day < 250 * 365; day += 13) {
        time_t t = (time_t)(day * 86400 + day % 86400);
        struct tm tm;

        gmtime_r(&t, &tm);
        rtc_reset(&rtc, (uint64_t)t, 77);
        wr(0x0B, 0x06, 77);
        assert_int_equal(rd(0, 77), tm.tm_sec);
        assert_int_equal(rd(2, 77), tm.tm_min);
        assert_int_equal(rd(4, 77), tm.tm_hour);
        assert_int_equal(rd(6, 77), tm.tm_wday + 1);
        assert_int_equal(rd(7, 77), tm.tm_mday);
        assert_int_equal(rd(8, 77), tm.tm_mon + 1);
        assert_int_equal(rd(RTC_CENTURY, 77) * 100 + rd(9, 77), tm.tm_year + 1900);
        /* Reading the time back into the clock changes nothing. */
        wr(0x0B, 0x86, 77);
        wr(0x0B, 0x06, 77);
        assert_int_equal(rd(7, 77), tm.tm_mday);
        assert_int_equal(rd(0, 77), tm.tm_sec);
    }
    rtc_reset(&rtc, UINT64_MAX, 0); /* the last year with four digits */
    assert_int_equal(rd(9, 0), 0x99);
    assert_int_equal(rd(RTC_CENTURY, 0), 0x99);
}

static void test_uip(void **state)
{
    (void)state;
    assert_int_equal(rd(0x0A, S - 2228001), 0x26);
    assert_int_equal(rd(0x0A, S - 2228000), 0xA6);
    assert_int_equal(rd(0x0A, S - 1), 0xA6);
    assert_int_equal(rd(0, S - 1), 0x59);
    assert_int_equal(rd(0x0A, S), 0x26);
    wr(0x0B, 0x82, S); /* no update while SET */
    assert_int_equal(rd(0x0A, 2 * S - 1), 0x26);
}

static void set_time(uint64_t now)
{
    wr(0, 0x58, now);
    wr(2, 0x59, now);
    wr(4, 0x23, now);
    wr(7, 0x31, now);
    wr(8, 0x12, now);
    wr(9, 0x99, now);
    wr(RTC_CENTURY, 0x19, now);
}

static void test_set_time(void **state)
{
    (void)state;
    wr(0x0B, 0x82, S / 4);
    set_time(S / 4);
    assert_int_equal(rd(0, 30 * S), 0x58); /* stands still */
    wr(0x0B, 0x02, 30 * S + S / 4);
    assert_int_equal(rd(0, 30 * S + S / 2), 0x58);
    assert_int_equal(rd(0, 31 * S), 0x59); /* the divider ran on meanwhile */
    assert_int_equal(rd(9, 32 * S), 0x00);
    assert_int_equal(rd(RTC_CENTURY, 32 * S), 0x20);
    assert_int_equal(rd(8, 32 * S), 0x01);
    assert_int_equal(rd(6, 32 * S), 7); /* Saturday 2000-01-01 */
}

/* Linux's mc146818_set_time(): SET, divider reset, write, and both back. */
static void test_set_time_with_divider_reset(void **state)
{
    uint64_t now = 10 * S + 123456789;

    (void)state;
    wr(0x0B, 0x82, now);
    wr(0x0A, 0x76, now);
    set_time(now);
    wr(0x0B, 0x02, now);
    assert_int_equal(rd(0, now + 5 * S), 0x58); /* held by the divider */
    assert_true(rtc_next_event(&rtc, now) == UINT64_MAX);
    wr(0x0A, 0x26, now + 5 * S);
    assert_int_equal(rd(0, now + 5 * S + S / 2 - 1), 0x58);
    assert_int_equal(rd(0, now + 5 * S + S / 2), 0x59); /* half a second later */
    assert_int_equal(rd(0, now + 6 * S + S / 2), 0x00);
}

static void test_divider_off(void **state)
{
    (void)state;
    wr(0x0A, 0x06, 0); /* another time base: stops */
    assert_int_equal(rd(0, 10 * S), 0x59);
    wr(0x0A, 0x26, 10 * S);
    assert_int_equal(rd(0, 11 * S), 0x00);
}

static void test_write_while_running(void **state)
{
    (void)state;
    wr(4, 0x05, S / 2);
    assert_int_equal(rd(4, S / 2), 0x05);
    assert_int_equal(rd(0, S), 0x00);
    assert_int_equal(rd(2, S), 0x30);
    assert_int_equal(rd(7, S), 0x29);
}

static void test_nonsense_time(void **state)
{
    (void)state;
    for (unsigned int b = 0; b < 8; b++) {
        for (unsigned int v = 0; v < 256; v++) {
            wr(0x0B, (uint8_t)(0x80 | b), 0);
            for (uint8_t reg = 0; reg < 10; reg++)
                wr(reg, (uint8_t)v, 0);
            wr(RTC_CENTURY, (uint8_t)v, 0);
            wr(0x0B, (uint8_t)(0x70 | b), 0);
            rtc_poll(&rtc, 5 * S);
            rtc_next_event(&rtc, 5 * S);
            for (uint8_t reg = 0; reg < 14; reg++)
                rd(reg, 5 * S);
        }
    }
}

static void test_cmos(void **state)
{
    (void)state;
    for (uint8_t reg = 0x0E; reg < 0x80; reg++) {
        if (reg == RTC_CENTURY)
            continue;
        assert_int_equal(rd(reg, 0), 0);
        wr(reg, reg ^ 0x5A, 0);
    }
    for (uint8_t reg = 0x0E; reg < 0x80; reg++)
        if (reg != RTC_CENTURY)
            assert_int_equal(rd(reg | 0x80, 0), reg ^ 0x5A); /* bit 7 is the NMI mask */
    wr(0x0D, 0, 0);
    wr(0x0C, 0xFF, 0);
    assert_int_equal(rd(0x0D, 0), 0x80);
    assert_int_equal(rd(0x0C, 0), 0);
}

static void test_update_interrupt(void **state)
{
    (void)state;
    wr(0x0B, 0x12, S / 2);
    assert_true(rtc_next_event(&rtc, S / 2) == S);
    assert_false(rtc_poll(&rtc, S - 1));
    assert_true(rtc_poll(&rtc, S));
    assert_true(rtc_next_event(&rtc, S) == UINT64_MAX); /* the line stays up */
    assert_true(rtc_poll(&rtc, 5 * S));
    assert_int_equal(rd(0x0C, 5 * S), 0xD0); /* PF is set without its enable, too */
    assert_int_equal(rd(0x0C, 5 * S), 0x00);
    assert_false(rtc_poll(&rtc, 5 * S));
    assert_true(rtc_next_event(&rtc, 5 * S) == 6 * S);
    assert_true(rtc_next_event(&rtc, 8 * S) == 8 * S); /* overdue */
    wr(0x0B, 0x92, 5 * S);                             /* SET clears UIE */
    assert_int_equal(rd(0x0B, 5 * S), 0x82);
    assert_false(rtc_poll(&rtc, 9 * S));
}

static void test_flags_without_enable(void **state)
{
    (void)state;
    assert_false(rtc_poll(&rtc, 3 * S));
    wr(0x0B, 0x12, 3 * S); /* enabling with the flag already set raises the line */
    assert_true(rtc_poll(&rtc, 3 * S));
    wr(0x0B, 0x02, 3 * S);
    assert_false(rtc_poll(&rtc, 3 * S));
    assert_int_equal(rd(0x0C, 3 * S), 0x50);
}

static void test_periodic(void **state)
{
    uint64_t now = 0, next;
    unsigned int ticks = 0;

    (void)state;
    wr(0x0B, 0x42, 0); /* 1024 Hz */
    while ((next = rtc_next_event(&rtc, now)) <= 10 * S) {
        assert_false(rtc_poll(&rtc, next - 1));
        assert_true(rtc_poll(&rtc, next));
        assert_int_equal(rd(0x0C, next) & 0xC0, 0xC0);
        now = next;
        ticks++;
    }
    assert_int_equal(ticks, 10240);
    /* The slowest, 2 Hz, and rate 1, which is 256 Hz. */
    wr(0x0A, 0x2F, now);
    assert_true(rtc_next_event(&rtc, now) == 10 * S + S / 2);
    wr(0x0A, 0x21, now);
    assert_true(rtc_next_event(&rtc, now) == 10 * S + S / 256);
    wr(0x0A, 0x20, now);
    assert_true(rtc_next_event(&rtc, now) == UINT64_MAX);
    assert_false(rtc_poll(&rtc, now + 10 * S));
}

static void alarm_at(uint8_t h, uint8_t m, uint8_t s, uint64_t now)
{
    wr(5, h, now);
    wr(3, m, now);
    wr(1, s, now);
    wr(0x0B, 0x22, now);
}

static void test_alarm(void **state)
{
    (void)state;
    alarm_at(0x12, 0x30, 0x10, 0); /* now it is 12:29:59 */
    assert_true(rtc_next_event(&rtc, 0) == 11 * S);
    assert_false(rtc_poll(&rtc, 11 * S - 1));
    assert_true(rtc_poll(&rtc, 11 * S));
    assert_int_equal(rd(0x0C, 11 * S) & 0xA0, 0xA0);
    assert_true(rtc_next_event(&rtc, 11 * S) == (86400 + 11) * S); /* tomorrow */
    alarm_at(0x12, 0x29, 0x59, 11 * S);                            /* has just passed */
    assert_true(rtc_next_event(&rtc, 11 * S) == 86400 * S);
    alarm_at(0x00, 0x00, 0x00, 11 * S);
    assert_true(rtc_next_event(&rtc, 11 * S) == (11 * 3600 + 30 * 60 + 1) * S);
    rd(0x0C, 12 * S);
    assert_true(rtc_poll(&rtc, 300 * 86400 * S)); /* polled far too late */
}

static void test_alarm_wildcards(void **state)
{
    (void)state;
    alarm_at(0xFF, 0xFF, 0xFF, 0);
    assert_true(rtc_next_event(&rtc, 0) == S);
    alarm_at(0xC0, 0xFF, 0x30, 0);
    assert_true(rtc_next_event(&rtc, 0) == 31 * S);
    alarm_at(0xFF, 0x29, 0x30, 0); /* once an hour; this hour's has passed */
    assert_true(rtc_next_event(&rtc, 0) == (3600 - 29) * S);
    alarm_at(0x15, 0xFF, 0xFF, 0);
    assert_true(rtc_next_event(&rtc, 0) == (2 * 3600 + 30 * 60 + 1) * S);
    alarm_at(0x13, 0xFF, 0x05, 0);
    assert_true(rtc_next_event(&rtc, 0) == (30 * 60 + 1 + 5) * S);
    alarm_at(0x24, 0x00, 0x00, 0); /* no such hour */
    assert_true(rtc_next_event(&rtc, 0) == UINT64_MAX);
    alarm_at(0x23, 0x60, 0x00, 0);
    assert_true(rtc_next_event(&rtc, 0) == UINT64_MAX);
    alarm_at(0x23, 0x00, 0x60, 0);
    assert_true(rtc_next_event(&rtc, 0) == UINT64_MAX);
    assert_false(rtc_poll(&rtc, 200000 * S));
}

static void test_alarm_12h(void **state)
{
    (void)state;
    wr(5, 0x81, 0); /* 1 pm */
    wr(3, 0, 0);
    wr(1, 0, 0);
    wr(0x0B, 0x20, 0);
    assert_true(rtc_next_event(&rtc, 0) == (30 * 60 + 1) * S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_reset, setup),
        cmocka_unit_test_setup(test_bcd_24h, setup),
        cmocka_unit_test_setup(test_formats, setup),
        cmocka_unit_test_setup(test_calendar, setup),
        cmocka_unit_test_setup(test_uip, setup),
        cmocka_unit_test_setup(test_set_time, setup),
        cmocka_unit_test_setup(test_set_time_with_divider_reset, setup),
        cmocka_unit_test_setup(test_divider_off, setup),
        cmocka_unit_test_setup(test_write_while_running, setup),
        cmocka_unit_test_setup(test_nonsense_time, setup),
        cmocka_unit_test_setup(test_cmos, setup),
        cmocka_unit_test_setup(test_update_interrupt, setup),
        cmocka_unit_test_setup(test_flags_without_enable, setup),
        cmocka_unit_test_setup(test_periodic, setup),
        cmocka_unit_test_setup(test_alarm, setup),
        cmocka_unit_test_setup(test_alarm_wildcards, setup),
        cmocka_unit_test_setup(test_alarm_12h, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
