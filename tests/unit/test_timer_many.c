/* Many timers in one queue, whose handlers arm and cancel others at random, against a model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "vmm/timer.h"

#define TIMERS 256u

static struct timer_queue queue;
static struct timer t[TIMERS];
static struct {
    uint64_t deadline, stamp;
    bool armed, due; /* due: not called yet in this timer_run() */
} model[TIMERS];
static uint64_t stamps, now;
static unsigned int calls;

static void arm(unsigned int i, uint64_t deadline)
{
    timer_arm(&queue, &t[i], deadline);
    model[i].deadline = deadline;
    model[i].armed = deadline != TIMER_NEVER;
    model[i].due = false;
    model[i].stamp = stamps++;
    assert_int_equal(timer_is_armed(&t[i]), model[i].armed);
}

static void cancel(unsigned int i)
{
    timer_cancel(&t[i]);
    model[i].armed = model[i].due = false;
}

static uint64_t any_deadline(void)
{
    return rand() % 16 ? now + (unsigned int)rand() % 300 - MIN(now, 60u) : TIMER_NEVER;
}

static bool before(unsigned int a, unsigned int b)
{
    return model[a].deadline < model[b].deadline ||
           (model[a].deadline == model[b].deadline && model[a].stamp < model[b].stamp);
}

static unsigned int first_due(void)
{
    unsigned int best = TIMERS;

    for (unsigned int i = 0; i < TIMERS; i++)
        if (model[i].due && (best == TIMERS || before(i, best)))
            best = i;
    return best;
}

static void on_expired(struct timer *timer, uint64_t at)
{
    unsigned int i = (unsigned int)(timer - t);

    assert_true(at == now);
    /* One that is held apart may come before or after others of the same time. */
    assert_true(model[i].due && model[i].deadline == model[first_due()].deadline);
    assert_false(timer_is_armed(timer));
    model[i].armed = model[i].due = false;
    calls++;
    for (int k = rand() % 4; k > 0; k--)
        arm((unsigned int)rand() % TIMERS, any_deadline());
    if (rand() % 4 == 0)
        cancel((unsigned int)rand() % TIMERS);
    if (rand() % 8 == 0)
        timer_hold(&queue, &t[(unsigned int)rand() % TIMERS]);
    if (rand() % 2)
        arm(i, any_deadline()); /* periodic */
}

static void test_random(void **state)
{
    (void)state;
    srand(11);
    for (unsigned int i = 0; i < TIMERS; i++)
        timer_init(&t[i], on_expired);
    for (unsigned int round = 0; round < 5000; round++) {
        uint64_t next = TIMER_NEVER;

        for (unsigned int k = 0; k < 6; k++)
            arm((unsigned int)rand() % TIMERS, any_deadline());
        cancel((unsigned int)rand() % TIMERS);
        if (rand() % 3 == 0)
            timer_hold(&queue, rand() % 4 ? &t[(unsigned int)rand() % TIMERS] : NULL);
        now += (unsigned int)rand() % 20;
        for (unsigned int i = 0; i < TIMERS; i++)
            model[i].due = model[i].armed && model[i].deadline <= now;
        timer_run(&queue, now);
        assert_int_equal(first_due(), TIMERS);
        for (unsigned int i = 0; i < TIMERS; i++) {
            assert_int_equal(timer_is_armed(&t[i]), model[i].armed);
            if (model[i].armed)
                next = MIN(next, model[i].deadline);
        }
        assert_true(timer_next(&queue) == next);
    }
    assert_true(calls > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
