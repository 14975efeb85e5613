/* Caps: a VM's vCPUs together get no more than so many percent of a CPU, on as many pCPUs as they
 * may run, and what they have when they compute all the time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "tests/unit/sched_sim.h"

#define PERIOD (10 * MS)

static struct sched_cap cap;

static void start_cap(unsigned int percent, unsigned int vcpus)
{
    cap_init(&cap, PERIOD, sim.now);
    cap_set(&cap, percent, vcpus);
}

static uint64_t ran_under_cap(void)
{
    uint64_t ran = 0;

    for (unsigned int i = 0; i < sim.tasks; i++)
        ran += sim.task[i].se.cap ? sim.task[i].se.ran : 0;
    return ran;
}

static struct task *capped(unsigned int cpu)
{
    struct task *t = sim_task(cpu, SCHED_FAIR, 100);

    t->se.cap = &cap;
    return t;
}

static void test_take_and_give(void **state)
{
    uint64_t again = 0, t = 1000;

    (void)state;
    cap_init(&cap, PERIOD, t);
    cap_set(&cap, 25, 1);
    assert_true(cap_take(&cap, t, &again) == PERIOD / 4);
    assert_true(cap_take(&cap, t, &again) == 0);
    assert_true(again == t + PERIOD);
    cap_give(&cap, t + 5, MS);
    assert_true(cap_take(&cap, t + 5, &again) == MS);
    assert_true(cap_take(&cap, t + PERIOD - 1, &again) == 0);
    assert_true(cap_take(&cap, t + PERIOD, &again) == PERIOD / 4);
    /* Another CPU, whose clock is a bit behind, opens no period anew. */
    assert_true(cap_take(&cap, t + PERIOD - 1, &again) == 0);
    assert_true(cap_take(&cap, t + PERIOD, &again) == 0);
    /* Debts: three quotas used beyond. */
    cap_give(&cap, t + PERIOD, -(int64_t)(3 * PERIOD / 4));
    assert_true(cap_take(&cap, t + 4 * PERIOD, &again) == 0);
    assert_true(again == t + 5 * PERIOD);
    assert_true(cap_take(&cap, t + 5 * PERIOD, &again) == PERIOD / 4);
    /* Nothing is saved up, neither by sleeping nor by giving back late. */
    t += 1000 * PERIOD;
    assert_true(cap_take(&cap, t, &again) == PERIOD / 4);
    cap_give(&cap, t + 7 * PERIOD, PERIOD / 4);
    assert_true(cap_take(&cap, t + 7 * PERIOD, &again) == PERIOD / 4);
    assert_true(cap_take(&cap, t + 7 * PERIOD, &again) == 0);
    /* What is left is taken with a minimum, which is owed then. */
    cap_give(&cap, t + 7 * PERIOD, 1);
    assert_true(cap_take(&cap, t + 7 * PERIOD, &again) > 1000);
    /* Absurd debts are limited; after that the periods go on. */
    cap_give(&cap, t, INT64_MIN);
    cap_give(&cap, t, INT64_MIN);
    assert_true(cap_take(&cap, t + 100 * S, &again) == 0);
    assert_true(cap_take(&cap, t + 2000 * S, &again) == PERIOD / 4);
    cap_set(&cap, 50, 2);
    assert_true(cap_take(&cap, t + 3000 * S, &again) == PERIOD / 4);
    assert_true(cap_take(&cap, t + 3000 * S, &again) == PERIOD / 4);
    assert_true(cap_take(&cap, t + 3000 * S, &again) == 0);
}

static void test_alone(void **state)
{
    static const unsigned int percent[] = {1, 10, 25, 50, 99};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(percent); i++) {
        for (unsigned int late = 0; late <= 50; late += 50) {
            sim_init(1);
            sim.late = late * US;
            start_cap(percent[i], 1);
            struct task *t = capped(0);
            sim_run(10 * S);
            assert_near(t->se.ran, 10 * S * percent[i] / 100, 10);
            assert_near(t->se.ran + t->se.waited, 10 * S, 10);
        }
    }
}

/* The idle CPU is told when the next period begins, one alone when its budget ends. */
static void test_until(void **state)
{
    (void)state;
    sim_init(1);
    start_cap(25, 1);
    uint64_t start = sim.now;
    struct task *t = capped(0);
    struct run_queue *rq = &sim.rq[0];
    assert_ptr_equal(rq_pick(rq, start), &t->se);
    assert_true(rq_until(rq) == start + PERIOD / 4);
    rq_put(rq, start + PERIOD / 4, true);
    assert_null(rq_pick(rq, start + PERIOD / 4));
    assert_true(rq_until(rq) == start + PERIOD);
    assert_null(rq_steal(rq, UINT64_MAX));
    assert_ptr_equal(rq_pick(rq, start + PERIOD), &t->se);
    rq_put(rq, start + PERIOD * 5 / 4, true);
    assert_null(rq_pick(rq, start + PERIOD * 5 / 4));
    rq_remove(rq, &t->se, start + PERIOD * 5 / 4);
    assert_true(rq_until(rq) == 0);
    assert_null(rq_pick(rq, start + PERIOD * 5 / 4));
    assert_true(rq_until(rq) == TIMER_NEVER);
}

static void test_beside_others(void **state)
{
    (void)state;
    sim_init(1);
    sim.late = 30 * US;
    start_cap(25, 1);
    struct task *t = capped(0);
    struct task *hog = sim_task(0, SCHED_FAIR, 100);
    struct task *s = sim_sleeper(0, SCHED_FAIR, 100, 100 * US, 2 * MS);
    sim_run(10 * S);
    assert_near(t->se.ran, 10 * S / 4, 10);
    assert_near(hog->se.ran + t->se.ran + s->se.ran, 10 * S, 1);
    /* Its share is less than the cap: the cap changes nothing. */
    sim_init(1);
    start_cap(50, 1);
    t = capped(0);
    for (unsigned int i = 0; i < 3; i++)
        sim_task(0, SCHED_FAIR, 100);
    sim_run(10 * S);
    assert_near(t->se.ran, 10 * S / 4, 20);
}

/* Several vCPUs on several pCPUs. */
static void test_smp(void **state)
{
    static const struct {
        unsigned int percent, vcpus, cpus;
    } c[] = {{150, 4, 4}, {150, 4, 2}, {25, 4, 4}, {100, 2, 2}, {50, 16, 4}, {5, 2, 2}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
        for (unsigned int hogs = 0; hogs <= c[i].cpus; hogs += c[i].cpus) {
            sim_init(c[i].cpus);
            sim.late = 10 * US;
            start_cap(c[i].percent, c[i].vcpus);
            for (unsigned int k = 0; k < c[i].vcpus; k++)
                capped(k % c[i].cpus)->se.weight = 100;
            for (unsigned int k = 0; k < hogs; k++)
                sim_task(k, SCHED_FAIR, 20);
            sim_run(10 * S);
            assert_near(ran_under_cap(), 10 * S * c[i].percent / 100, 10);
        }
    }
}

/* Those that sleep in between get no more than the cap either. */
static void test_sleepers(void **state)
{
    (void)state;
    sim_init(2);
    start_cap(30, 6);
    for (unsigned int i = 0; i < 6; i++)
        sim_sleeper(i % 2, SCHED_FAIR, 100, (300 + i * 500) * US, (100 + i) * US)->se.cap = &cap;
    sim_run(10 * S);
    assert_true(ran_under_cap() <= 10 * S * 30 * 101 / 10000);
    assert_true(ran_under_cap() >= 10 * S * 28 / 100);
}

/* Threads that take and give at the same time use up each period's quota, and no more. */
#define THREADS 4u
#define PERIODS 500u

static pthread_barrier_t barrier;
static uint64_t taken_in[PERIODS];

static void *taker(void *arg)
{
    uint64_t again;

    (void)arg;
    for (unsigned int i = 0; i < PERIODS; i++) {
        pthread_barrier_wait(&barrier);
        for (uint64_t now = i * PERIOD; now < (i + 1) * PERIOD; now += PERIOD / 64) {
            uint64_t taken = cap_take(&cap, now, &again);
            uint64_t given = taken / 4;
            cap_give(&cap, now, (int64_t)given);
            __atomic_fetch_add(&taken_in[i], taken - given, __ATOMIC_RELAXED);
        }
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static void test_race(void **state)
{
    pthread_t thread[THREADS];
    uint64_t all = 0;

    (void)state;
    cap_init(&cap, PERIOD, 0);
    cap_set(&cap, 200, 16);
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (unsigned int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, taker, NULL), 0);
    for (unsigned int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    for (unsigned int i = 0; i < PERIODS; i++)
        all += taken_in[i];
    assert_near(all, PERIODS * 2 * PERIOD, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take_and_give), cmocka_unit_test(test_alone),
        cmocka_unit_test(test_until),         cmocka_unit_test(test_beside_others),
        cmocka_unit_test(test_smp),           cmocka_unit_test(test_sleepers),
        cmocka_unit_test(test_race),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
