/* The driver of the machine's serial ports, on fake ones: a 16550 at I/O ports, and registers in
 * memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* In the place of the machine's own. */
#define BULKHEAD_ARCH_X86_ASM_H
#define BULKHEAD_ARCH_X86_TIME_H
#include "lib/macros.h"

static void outb(uint16_t port, uint8_t value);
static uint8_t inb(uint16_t port);
static void rep_outsb(uint16_t port, const void *from, size_t count);
static uint64_t now;

static uint64_t rdtsc(void)
{
    return now++;
}

static void cpu_pause(void)
{
}

static bool time_is_calibrated(void)
{
    return false;
}

static uint64_t ns_span_to_tsc(uint64_t ns)
{
    return ns;
}

#include "drivers/uart.c"

/* A 16550. Bytes that it has sent end with a NUL. */
static struct fake {
    uint16_t base;
    uint8_t ier, lcr, mcr, scr, lsr;
    uint16_t divisor;
    bool busy;      /* takes nothing more */
    char input;     /* 0: none */
    bool old;       /* has no FIFO */
    bool too_early; /* a byte came while it was busy */
    size_t sent;
    char text[65536];
} fakes[5];

static struct fake *fake_at(uint16_t port)
{
    for (unsigned int i = 0; i < ARRAY_SIZE(fakes); i++)
        if (fakes[i].base != 0 && port >= fakes[i].base && port < fakes[i].base + 8)
            return &fakes[i];
    return NULL;
}

static void outb(uint16_t port, uint8_t value)
{
    struct fake *f = fake_at(port);

    if (!f)
        return;
    switch (port - f->base) {
    case 0:
        if (f->lcr & 0x80) {
            f->divisor = (uint16_t)((f->divisor & 0xff00) | value);
        } else {
            f->too_early |= f->busy;
            assert_true(f->sent < sizeof(f->text) - 1);
            f->text[f->sent++] = (char)value;
        }
        break;
    case 1:
        if (f->lcr & 0x80)
            f->divisor = (uint16_t)((f->divisor & 0xff) | value << 8);
        else
            f->ier = value;
        break;
    case 3: f->lcr = value; break;
    case 4: f->mcr = value; break;
    case 7: f->scr = value; break;
    }
}

static void rep_outsb(uint16_t port, const void *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        outb(port, ((const uint8_t *)from)[i]);
}

static uint8_t inb(uint16_t port)
{
    struct fake *f = fake_at(port);

    if (!f)
        return 0xff;
    switch (port - f->base) {
    case 0:
        if (f->lcr & 0x80)
            return (uint8_t)f->divisor;
        uint8_t c = (uint8_t)f->input;
        f->input = 0;
        return c;
    case 1: return f->lcr & 0x80 ? (uint8_t)(f->divisor >> 8) : f->ier;
    case 2: return (uint8_t)((f->old ? 0 : 0xc0) | (f->input && (f->ier & 1) ? 4 : 1));
    case 5: return (uint8_t)((f->busy ? 0 : 0x60) | (f->input != 0));
    case 7: return f->scr;
    default: return 0;
    }
}

static int setup(void **state)
{
    (void)state;
    memset(fakes, 0, sizeof(fakes));
    fakes[0].base = 0x3f8;
    fakes[1].base = 0x2f8;
    for (unsigned int i = 0; i < 2; i++)
        fakes[i].divisor = 12;
    memset(uarts, 0, sizeof(uarts));
    uart_count = 0;
    queue_tail = 0;
    return 0;
}

static int results[8];
static const struct uart_place com1 = {.port = 0x3f8, .baud = 115200},
                               com2 = {.port = 0x2f8, .baud = 9600};

static void say(const char *text)
{
    uart_write(text, strlen(text));
}

static void test_one(void **state)
{
    (void)state;
    assert_int_equal(uart_use(&com1, 1, results), 1);
    assert_int_equal(results[0], 0);
    assert_int_equal(fakes[0].divisor, 1);
    assert_int_equal(fakes[0].lcr, 3);
    assert_int_equal(fakes[0].mcr, 0xb);
    say("hello");
    assert_string_equal(fakes[0].text, "hello");
    assert_int_equal(uart_read(), -1);
    fakes[0].input = 'k';
    assert_false(uart_interrupt_pending());
    uart_enable_interrupts(0);
    assert_int_equal(fakes[0].ier, 1);
    assert_true(uart_interrupt_pending());
    assert_int_equal(uart_read(), 'k');
    assert_int_equal(uart_read(), -1);
    fakes[0].busy = true;
    say("0123456789abcdef0123456789");
    assert_int_equal(fakes[0].ier, 3); /* to be told when it has room */
    assert_false(fakes[0].too_early && fakes[0].sent > 5 + 16);
    fakes[0].busy = false;
    uart_pump(100);
    assert_string_equal(fakes[0].text, "hello0123456789abcdef0123456789");
    assert_int_equal(fakes[0].ier, 1);
}

/* Each byte is asked for. */
static void test_without_fifo(void **state)
{
    (void)state;
    fakes[0].old = true;
    assert_int_equal(uart_use(&com1, 1, results), 1);
    say("x");
    fakes[0].busy = true;
    say("yz");
    assert_false(fakes[0].too_early);
    fakes[0].busy = false;
    uart_pump(10);
    assert_string_equal(fakes[0].text, "xyz");
}

static void test_none_there(void **state)
{
    static const struct uart_place list[] = {{.port = 0x3e8, .baud = 9600},
                                             {.port = 0x2f8, .baud = 115200}};

    (void)state;
    assert_false(uart_answers(&list[0]));
    assert_int_equal(uart_use(list, 1, results), 0);
    assert_int_equal(results[0], -BH_ENOENT);
    assert_int_equal(uart_use(list, 2, results), 1);
    assert_int_equal(results[0], -BH_ENOENT);
    assert_int_equal(results[1], 0);
    assert_int_equal(uart_place_of(0)->port, 0x2f8);
    assert_int_equal(uart_use(list, 0, results), 0);
    assert_true(uart_has_room(1000));
    uart_flush();
    assert_int_equal(uart_read(), -1);
}

/* A port that comes later, or anew with another rate, says what was said before. */
static void test_replay(void **state)
{
    const struct uart_place both[] = {com2, com1};
    struct uart_place slow = com1;

    (void)state;
    say("first\n");
    assert_int_equal(uart_use(&com1, 1, results), 1);
    assert_string_equal(fakes[0].text, "first\n");
    say("second\n");
    assert_int_equal(uart_use(both, 2, results), 2);
    assert_string_equal(fakes[0].text, "first\nsecond\n"); /* once */
    assert_string_equal(fakes[1].text, "first\nsecond\n");
    assert_int_equal(fakes[1].divisor, 12);
    say("third\n");
    assert_string_equal(fakes[0].text, "first\nsecond\nthird\n");
    assert_string_equal(fakes[1].text, "first\nsecond\nthird\n");
    slow.baud = 57600;
    memset(fakes[0].text, 0, sizeof(fakes[0].text));
    fakes[0].sent = 0;
    assert_int_equal(uart_use(&slow, 1, results), 1);
    assert_int_equal(fakes[0].divisor, 2);
    uart_flush();
    assert_string_equal(fakes[0].text, "first\nsecond\nthird\n");
}

/* What the queue has not any more is missing, by whole lines. */
static void test_replay_of_much(void **state)
{
    char line[16];

    (void)state;
    for (unsigned int i = 0; i < 3000; i++) {
        snprintf(line, sizeof(line), "line %04u\n", i);
        say(line);
    }
    assert_int_equal(uart_use(&com1, 1, results), 1);
    uart_flush();
    assert_int_equal(strncmp(fakes[0].text, "line ", 5), 0);
    assert_int_equal(fakes[0].sent % 10, 0);
    assert_true(fakes[0].sent > 16000 && fakes[0].sent <= 16384);
    assert_string_equal(fakes[0].text + fakes[0].sent - 10, "line 2999\n");
}

static void test_rates(void **state)
{
    static const struct {
        uint32_t clock, baud;
        unsigned int divisor; /* 0: refused */
    } cases[] = {
        {0, 50, 2304},           {0, 0, 12},      {1843200, 115200, 1}, {48000000, 115200, 26},
        {14745600, 115200, 8},   {0, 230400, 0},  {0, 100000, 0},       {48000000, 10, 0},
        {100000000, 115200, 54}, {15, 115200, 0},
    };

    (void)state;
    for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
        struct uart_place place = {.port = 0x3f8, .clock = cases[i].clock, .baud = cases[i].baud};
        setup(NULL);
        assert_int_equal(uart_use(&place, 1, results), cases[i].divisor != 0);
        assert_int_equal(results[0], cases[i].divisor ? 0 : -BH_EINVAL);
        assert_int_equal(fakes[0].divisor, cases[i].divisor ? cases[i].divisor : 12);
    }
}

/* What firmware has set comes back after the core has set something else. */
static void test_rate_of_firmware(void **state)
{
    struct uart_place as_it_is = {.port = 0x3f8};

    (void)state;
    assert_int_equal(uart_use(&com1, 1, results), 1);
    assert_int_equal(fakes[0].divisor, 1);
    assert_int_equal(uart_use(&as_it_is, 1, results), 1);
    assert_int_equal(fakes[0].divisor, 12);
    setup(NULL);
    fakes[0].divisor = 0;
    assert_int_equal(uart_use(&as_it_is, 1, results), 1);
    assert_int_equal(fakes[0].divisor, 1);
}

/* The first one is waited for, and loses nothing; another one loses what is oldest. */
static void test_slow_ones(void **state)
{
    const struct uart_place both[] = {com1, com2};
    char line[1000];

    (void)state;
    memset(line, 'x', sizeof(line));
    assert_int_equal(uart_use(both, 2, results), 2);
    fakes[1].busy = true;
    for (unsigned int i = 0; i < 40; i++) {
        assert_true(uart_has_room(sizeof(line)));
        uart_write(line, sizeof(line));
        uart_flush(); /* gives the second one up */
    }
    assert_int_equal(fakes[0].sent, 40000);
    say("the end");
    fakes[1].busy = false;
    uart_flush();
    assert_true(fakes[1].sent >= 16384 && fakes[1].sent <= 16384 + 16);
    assert_string_equal(fakes[1].text + fakes[1].sent - 7, "the end");

    fakes[0].busy = true;
    unsigned int taken = 0;
    while (uart_has_room(sizeof(line)) && taken < 100) {
        uart_write(line, sizeof(line));
        taken++;
    }
    assert_int_equal(taken, 16);                               /* and no more */
    assert_true(uart_sent() >= 40007 && uart_sent() <= 40023); /* as far as its FIFO had room */
}

static void test_keys_of_each(void **state)
{
    const struct uart_place both[] = {com1, com2};

    (void)state;
    assert_int_equal(uart_use(both, 2, results), 2);
    uart_enable_interrupts(1);
    fakes[0].input = 'a';
    assert_false(uart_interrupt_pending()); /* it is polled */
    fakes[1].input = 'b';
    assert_true(uart_interrupt_pending());
    assert_int_equal(uart_read(), 'a');
    assert_int_equal(uart_read(), 'b');
    assert_int_equal(uart_read(), -1);
    fakes[0].base = 0; /* pulled out */
    assert_int_equal(uart_read(), -1);
}

static void test_too_many(void **state)
{
    struct uart_place list[5];

    (void)state;
    for (unsigned int i = 0; i < 5; i++) {
        fakes[i].base = (uint16_t)(0x1000 + 8 * i);
        list[i] = (struct uart_place){.port = fakes[i].base, .baud = 9600};
    }
    assert_int_equal(uart_use(list, 5, results), 4);
    assert_int_equal(results[4], -BH_ENOMEM);
    assert_int_equal(uart_used(), 4);
    say("x");
    for (unsigned int i = 0; i < 4; i++)
        assert_string_equal(fakes[i].text, "x");
}

/* Registers in memory keep what is written: bytes that are sent overwrite each other, and the
 * status is what the test puts there. */
static void test_memory(void **state)
{
    static const uint8_t strides[] = {1, 2, 4};

    (void)state;
    for (unsigned int i = 0; i < ARRAY_SIZE(strides); i++) {
        unsigned int stride = strides[i];
        uint8_t *regs = malloc(8 * stride); /* of that size, for ASan */
        struct uart_place place = {
            .registers = regs, .stride = (uint8_t)stride, .clock = 48000000, .baud = 115200};

        setup(NULL);
        memset(regs, 0xaa, 8 * stride);
        regs[5 * stride] = 0x60;
        assert_int_equal(uart_use(&place, 1, results), 1);
        assert_int_equal(regs[3 * stride], 3);
        assert_int_equal(regs[4 * stride], 0xb);
        assert_int_equal(regs[7 * stride], 0xa5);
        for (unsigned int k = 1; k < stride; k++) /* accesses are as wide as the distance */
            assert_int_equal(regs[3 * stride + k], 0);
        assert_int_equal(regs[6 * stride], 0xaa);
        say("q");
        assert_int_equal(regs[0], 'q');
        assert_int_equal(uart_read(), -1);
        regs[5 * stride] = 0x61;
        regs[0] = 'z';
        assert_int_equal(uart_read(), 'z');
        regs[5 * stride] = 0xff; /* gone */
        assert_int_equal(uart_read(), -1);
        free(regs);
    }
    uint32_t regs[64] = {0};
    static const uint8_t wrong[] = {0, 3, 8, 255};
    for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_false(uart_answers(&(struct uart_place){.registers = regs, .stride = wrong[i]}));
    assert_false(uart_answers(&(struct uart_place){.stride = 1}));
    assert_true(uart_answers(&(struct uart_place){.registers = regs, .stride = 4}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_one, setup),
        cmocka_unit_test_setup(test_without_fifo, setup),
        cmocka_unit_test_setup(test_none_there, setup),
        cmocka_unit_test_setup(test_replay, setup),
        cmocka_unit_test_setup(test_replay_of_much, setup),
        cmocka_unit_test_setup(test_rates, setup),
        cmocka_unit_test_setup(test_rate_of_firmware, setup),
        cmocka_unit_test_setup(test_slow_ones, setup),
        cmocka_unit_test_setup(test_keys_of_each, setup),
        cmocka_unit_test_setup(test_too_many, setup),
        cmocka_unit_test_setup(test_memory, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
