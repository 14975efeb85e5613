/* The timer queue: order, re-arming and cancelling, also of others from a handler, and at random
 * against a model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "vmm/timer.h"

#define TIMERS 8u

static struct timer_queue queue;
static struct timer t[TIMERS];
static char fired[64]; /* the timers' numbers, in the order of their calls */
static uint64_t fired_now;
/* What the handler of a timer does to another one. */
static struct {
    struct timer *target;
    uint64_t deadline; /* TIMER_NEVER: cancels */
} action[TIMERS];

static void on_expired(struct timer *timer, uint64_t now)
{
    size_t i = (size_t)(timer - t);
    size_t used = strlen(fired);

    assert_false(timer_is_armed(timer));
    assert_true(used + 1 < sizeof(fired));
    fired[used] = (char)('0' + i);
    fired_now = now;
    if (action[i].target && action[i].deadline == TIMER_NEVER)
        timer_cancel(action[i].target);
    else if (action[i].target)
        timer_arm(&queue, action[i].target, action[i].deadline);
}

/* All that are armed are in the queue, in the order of deadlines. */
static void check_links(void)
{
    const struct treap_node *node = queue.armed.first;
    unsigned int armed = 0;

    assert_null(queue.due.root);
    for (uint64_t last = 0; node; node = treap_neighbour(node, 1)) {
        assert_true(last <= node->key);
        last = node->key;
        armed++;
    }
    for (unsigned int i = 0; i < TIMERS; i++)
        armed -= timer_is_armed(&t[i]);
    assert_int_equal(armed, 0);
}

static int setup(void **state)
{
    (void)state;
    memset(&queue, 0, sizeof(queue));
    memset(t, 0xa5, sizeof(t));
    memset(action, 0, sizeof(action));
    for (unsigned int i = 0; i < TIMERS; i++)
        timer_init(&t[i], on_expired);
    memset(fired, 0, sizeof(fired));
    return 0;
}

static void run_expect(uint64_t now, const char *want)
{
    memset(fired, 0, sizeof(fired));
    timer_run(&queue, now);
    assert_string_equal(fired, want);
    if (*want)
        assert_true(fired_now == now);
    check_links();
}

static void test_order(void **state)
{
    (void)state;
    assert_true(timer_next(&queue) == TIMER_NEVER);
    run_expect(UINT64_MAX, "");
    timer_arm(&queue, &t[0], 30);
    timer_arm(&queue, &t[1], 10);
    timer_arm(&queue, &t[2], 20);
    timer_arm(&queue, &t[3], 20); /* the same time: the earlier armed first */
    timer_arm(&queue, &t[4], TIMER_NEVER - 1);
    check_links();
    assert_int_equal(timer_next(&queue), 10);
    run_expect(9, "");
    run_expect(10, "1");
    assert_int_equal(timer_next(&queue), 20);
    run_expect(29, "23");
    run_expect(1000, "0");
    run_expect(TIMER_NEVER - 2, "");
    run_expect(TIMER_NEVER, "4");
    assert_true(timer_next(&queue) == TIMER_NEVER);
}

static void test_rearm_and_cancel(void **state)
{
    (void)state;
    timer_cancel(&t[0]); /* not armed */
    for (unsigned int i = 0; i < 4; i++)
        timer_arm(&queue, &t[i], 10 * (i + 1));
    timer_arm(&queue, &t[0], 45); /* to the end */
    timer_arm(&queue, &t[3], 5);  /* to the front */
    check_links();
    assert_int_equal(timer_next(&queue), 5);
    timer_cancel(&t[1]); /* in the middle */
    timer_cancel(&t[1]);
    check_links();
    timer_arm(&queue, &t[3], TIMER_NEVER); /* the first */
    assert_false(timer_is_armed(&t[3]));
    check_links();
    assert_int_equal(timer_next(&queue), 30);
    timer_cancel(&t[0]); /* the last */
    run_expect(100, "2");
}

/* Periodic: once a call, however late it is. */
static void test_handler_rearms_itself(void **state)
{
    (void)state;
    action[0].target = &t[0];
    action[0].deadline = 5; /* past */
    timer_arm(&queue, &t[0], 1);
    timer_arm(&queue, &t[1], 8);
    run_expect(10, "01");
    assert_int_equal(timer_next(&queue), 5);
    action[0].deadline = 20;
    run_expect(10, "0");
    run_expect(10, "");
    assert_int_equal(timer_next(&queue), 20);
}

static void test_handler_cancels_others(void **state)
{
    (void)state;
    /* 0 cancels 1, which is due as well; 2 cancels 4, which is not. */
    action[0].target = &t[1];
    action[0].deadline = TIMER_NEVER;
    action[2].target = &t[4];
    action[2].deadline = TIMER_NEVER;
    for (unsigned int i = 0; i < 5; i++)
        timer_arm(&queue, &t[i], i + 1);
    timer_arm(&queue, &t[4], 100);
    run_expect(10, "023");
    assert_true(timer_next(&queue) == TIMER_NEVER);
    /* The last of the due ones. */
    action[0].target = &t[2];
    for (unsigned int i = 0; i < 3; i++)
        timer_arm(&queue, &t[i], i + 1);
    run_expect(10, "01");
}

static void test_handler_rearms_others(void **state)
{
    (void)state;
    /* 0 puts 1, due as well, off; 2 arms 3, not armed so far, for now. 4 stays. */
    action[0].target = &t[1];
    action[0].deadline = 50;
    action[2].target = &t[3];
    action[2].deadline = 9;
    for (unsigned int i = 0; i < 3; i++)
        timer_arm(&queue, &t[i], i + 1);
    timer_arm(&queue, &t[4], 60);
    run_expect(10, "02");
    assert_int_equal(timer_next(&queue), 9);
    run_expect(10, "3");
    assert_int_equal(timer_next(&queue), 50);
    run_expect(100, "14");
}

/* Calls the model's due timers in order of (deadline, time of arming). */
static void test_random(void **state)
{
    uint64_t deadline[TIMERS], stamp[TIMERS], stamps = 0, now = 0;

    (void)state;
    srand(7);
    for (unsigned int i = 0; i < TIMERS; i++)
        deadline[i] = TIMER_NEVER;
    for (unsigned int round = 0; round < 20000; round++) {
        unsigned int i = (unsigned int)rand() % TIMERS;
        char want[TIMERS + 1] = "";
        unsigned int count = 0;

        switch (rand() % 4) {
        case 0:
        case 1:
            deadline[i] = now + (unsigned int)rand() % 20;
            stamp[i] = stamps++;
            timer_arm(&queue, &t[i], deadline[i]);
            break;
        case 2:
            deadline[i] = TIMER_NEVER;
            timer_cancel(&t[i]);
            break;
        default:
            now += (unsigned int)rand() % 10;
            for (;;) {
                unsigned int best = TIMERS;
                for (unsigned int k = 0; k < TIMERS; k++)
                    if (deadline[k] <= now &&
                        (best == TIMERS || deadline[k] < deadline[best] ||
                         (deadline[k] == deadline[best] && stamp[k] < stamp[best])))
                        best = k;
                if (best == TIMERS)
                    break;
                want[count++] = (char)('0' + best);
                deadline[best] = TIMER_NEVER;
            }
            run_expect(now, want);
        }
        check_links();
        uint64_t next = TIMER_NEVER;
        for (unsigned int k = 0; k < TIMERS; k++)
            next = MIN(next, deadline[k]);
        assert_true(timer_next(&queue) == next);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_order, setup),
        cmocka_unit_test_setup(test_rearm_and_cancel, setup),
        cmocka_unit_test_setup(test_handler_rearms_itself, setup),
        cmocka_unit_test_setup(test_handler_cancels_others, setup),
        cmocka_unit_test_setup(test_handler_rearms_others, setup),
        cmocka_unit_test_setup(test_random, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
