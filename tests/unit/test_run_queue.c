/* Fair scheduling on simulated pCPUs: shares, latency, yielding, moving. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/sched_sim.h"

static void test_weights(void **state)
{
    struct task *t[3];

    (void)state;
    sim_init(1);
    for (unsigned int i = 0; i < 3; i++)
        t[i] = sim_task(0, SCHED_FAIR, 100u << i);
    assert_true(rq_load(&sim.rq[0]) == 700);
    sim_run(10 * S);
    for (unsigned int i = 0; i < 3; i++) {
        assert_near(t[i]->se.ran, (10 * S << i) / 7, 20);
        assert_near(t[i]->se.ran + t[i]->se.waited, 10 * S, 3);
    }
    assert_true(sim.turn_max == SLICE);
    /* The lightest and the heaviest weight. */
    sim_init(1);
    t[0] = sim_task(0, SCHED_FAIR, 1);
    t[1] = sim_task(0, SCHED_FAIR, SCHED_WEIGHT_MAX);
    sim_run(100 * S);
    assert_near(t[0]->se.ran, 100 * S / 1001, 60);
}

/* Those that sleep get what they want, as it is less than their share; the others' shares stay
 * right, though their turns are interrupted all the time. */
static void test_weights_with_sleepers(void **state)
{
    struct task *t[3], *s[4];

    (void)state;
    sim_init(1);
    sim.late = 20 * US;
    for (unsigned int i = 0; i < 3; i++)
        t[i] = sim_task(0, SCHED_FAIR, 100u << i);
    for (unsigned int i = 0; i < 4; i++)
        s[i] = sim_sleeper(0, SCHED_FAIR, 200, 300 * US, 9 * MS + i * 777 * US);
    sim_run(20 * S);
    uint64_t all = t[0]->se.ran + t[1]->se.ran + t[2]->se.ran;
    for (unsigned int i = 0; i < 3; i++)
        assert_near(t[i]->se.ran, (all << i) / 7, 20);
    for (unsigned int i = 0; i < 4; i++) {
        uint64_t cycle = s[i]->burst + s[i]->sleep;
        assert_near(s[i]->se.ran, 20 * S / cycle * s[i]->burst, 80);
        assert_true(s[i]->latency_max < 2 * MS);
    }
}

/* Waking up often gives nobody more than his share. */
static void test_sleeping_gains_nothing(void **state)
{
    static const struct {
        uint64_t burst, sleep;
    } pattern[] = {{50 * US, 5 * US}, {1 * MS, 1 * US}, {5 * MS, 1 * US},    {4999 * US, 1},
                   {50 * MS, 5 * MS}, {20 * US, 1},     {5 * MS, 5500 * US}, {10 * MS, 10 * MS}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(pattern); i++) {
        sim_init(1);
        struct task *hog = sim_task(0, SCHED_FAIR, 100);
        struct task *s = sim_sleeper(0, SCHED_FAIR, 100, pattern[i].burst, pattern[i].sleep);
        sim_run(20 * S);
        assert_true(s->se.ran < 20 * S * 51 / 100);
        /* Of short bursts one fits beside each undisturbed turn of the other one. */
        uint64_t least = pattern[i].burst * 100 / (pattern[i].burst + UNDISTURBED);
        assert_true(s->se.ran > 20 * S * MIN(least, 40u) / 101);
        assert_near(hog->se.ran + s->se.ran, 20 * S, 1);
    }
}

/* Who has slept for long comes at once, but has no more than a slice to make up for. */
static void test_sleeping_saves_nothing(void **state)
{
    (void)state;
    sim_init(1);
    sim_task(0, SCHED_FAIR, 100);
    struct task *s = sim_sleeper(0, SCHED_FAIR, 100, 200 * MS, 5 * S);
    sim_run(5 * S + 400 * MS); /* it has slept, for most of the time */
    assert_true(s->se.state == ENTITY_ASLEEP && s->wakeups == 0);
    sim_run(s->wake_at - sim.now);
    s->se.ran = 0;
    sim_run(100 * MS);
    assert_true(s->wakeups == 1 && s->latency_max <= UNDISTURBED);
    assert_true(s->se.ran <= 50 * MS + 2 * SLICE);
    assert_true(s->se.ran >= 50 * MS - SLICE);
}

/* One that needs little runs within an undisturbed turn, whatever else computes. */
static void test_latency(void **state)
{
    struct task *s[3];

    (void)state;
    sim_init(1);
    for (unsigned int i = 0; i < 8; i++)
        sim_task(0, SCHED_FAIR, 100 + 50 * i);
    for (unsigned int i = 0; i < 3; i++)
        s[i] = sim_sleeper(0, SCHED_FAIR, 100, 50 * US, 3 * MS + i * 123 * US);
    sim_run(10 * S);
    for (unsigned int i = 0; i < 3; i++) {
        assert_true(s[i]->wakeups > 3000);
        assert_true(s[i]->latency_max <= UNDISTURBED + 2 * 50 * US);
    }
}

/* A crowd of 64 gets equal parts. */
static void test_crowd(void **state)
{
    (void)state;
    sim_init(1);
    for (unsigned int i = 0; i < 64; i++)
        sim_task(0, SCHED_FAIR, 100);
    sim_run(32 * S);
    for (unsigned int i = 0; i < 64; i++)
        assert_near(sim.task[i].se.ran, S / 2, 20);
}

static void test_undisturbed(void **state)
{
    struct run_queue rq;
    struct sched_entity hog, w;

    (void)state;
    rq_init(&rq, SLICE, UNDISTURBED);
    assert_true(rq_until(&rq) == TIMER_NEVER);
    assert_null(rq_pick(&rq, 1));
    assert_true(rq_until(&rq) == TIMER_NEVER);
    entity_init(&hog, SCHED_FAIR, 100);
    entity_init(&w, SCHED_FAIR, 100);
    rq_add(&rq, &hog, 1000);
    assert_true(rq_until(&rq) <= 1000);
    assert_ptr_equal(rq_pick(&rq, 1000), &hog);
    assert_true(rq_until(&rq) == TIMER_NEVER); /* alone */
    rq_add(&rq, &w, 2000);                     /* new: has a whole turn to wait */
    assert_true(rq_until(&rq) == 1000 + SLICE);
    rq_put(&rq, 3000, false);
    assert_ptr_equal(rq_pick(&rq, 3000), &w);
    rq_put(&rq, 4000, false);
    rq_add(&rq, &hog, 5000);
    assert_ptr_equal(rq_pick(&rq, 5000), &hog);
    rq_add(&rq, &w, 6000 + 1000); /* woken up: has had less */
    assert_true(rq_until(&rq) == 5000 + UNDISTURBED);
    uint64_t waited = w.waited;
    rq_put(&rq, 5000 + UNDISTURBED, true);
    assert_ptr_equal(rq_pick(&rq, 5000 + UNDISTURBED), &w);
    assert_true(w.waited - waited == UNDISTURBED - 2000);
    assert_true(rq_until(&rq) == 5000 + UNDISTURBED + SLICE);
    rq_remove(&rq, &hog, 200 * MS);
    assert_true(rq_until(&rq) == TIMER_NEVER);
    /* It has been alone for long: the other one need not wait. */
    rq_add(&rq, &hog, 300 * MS);
    assert_true(rq_until(&rq) <= 300 * MS);
    rq_remove(&rq, &w, 300 * MS);
    assert_ptr_equal(rq_pick(&rq, 300 * MS), &hog);
    rq_put(&rq, 301 * MS, false);
    assert_null(rq_pick(&rq, 301 * MS));
    assert_true(rq_load(&rq) == 0);
}

static void test_dedicated(void **state)
{
    struct run_queue rq;
    struct sched_entity se;

    (void)state;
    rq_init(&rq, SLICE, UNDISTURBED);
    entity_init(&se, SCHED_DEDICATED, 100);
    rq_add(&rq, &se, 5);
    assert_ptr_equal(rq_pick(&rq, 5), &se);
    assert_true(rq_until(&rq) == TIMER_NEVER);
    assert_true(rq_load(&rq) == UINT64_MAX);
    assert_null(rq_steal(&rq, UINT64_MAX));
    rq_put(&rq, 100, true);
    assert_ptr_equal(rq_pick(&rq, 100), &se);
    rq_put(&rq, 200, false);
    assert_null(rq_pick(&rq, 200));
    rq_add(&rq, &se, 300);
    assert_true(rq_until(&rq) <= 300);
    assert_ptr_equal(rq_pick(&rq, 300), &se);
    rq_remove(&rq, &se, 400);
    assert_null(rq_pick(&rq, 400));
    assert_true(se.ran == 95 + 100 + 100);
}

/* A and B hand the CPU to each other all the time: no more for them, no less for C. */
static void test_prefer_gains_nothing(void **state)
{
    (void)state;
    sim_init(1);
    struct task *a = sim_task(0, SCHED_FAIR, 100);
    struct task *b = sim_task(0, SCHED_FAIR, 100);
    struct task *c = sim_task(0, SCHED_FAIR, 100);
    a->spin = b->spin = 300 * US;
    a->prefers = b;
    b->prefers = a;
    sim_run(10 * S);
    assert_near(c->se.ran, 10 * S / 3, 20);
    assert_near(a->se.ran, 10 * S / 3, 20);
}

/* One that spins and yields lets the others run, and saves up no more than a slice. */
static void test_yield(void **state)
{
    (void)state;
    sim_init(1);
    struct task *a = sim_task(0, SCHED_FAIR, 100);
    struct task *b = sim_task(0, SCHED_FAIR, 300);
    a->spin = 10 * US;
    sim_run(2 * S);
    assert_true(a->se.ran < 2 * S / 50);
    assert_true(a->se.ran > 2 * S / 1000); /* but it has its turns */
    a->spin = 0;
    a->se.ran = b->se.ran = 0;
    sim_run(100 * MS);
    assert_true(a->se.ran < 25 * MS + 2 * SLICE);
    /* Alone, a yield changes nothing. */
    rq_remove(&sim.rq[0], &b->se, sim.now);
    b->present = false;
    sim_run(1 * MS);
    assert_ptr_equal(rq_pick(&sim.rq[0], sim.now), &a->se);
    rq_yield(&sim.rq[0]);
    assert_true(rq_until(&sim.rq[0]) == TIMER_NEVER);
}

/* The preferred one is next, and then it is the turn of who waited. */
static void test_prefer_once(void **state)
{
    struct run_queue rq;
    struct sched_entity e[3];
    uint64_t now = S;

    (void)state;
    rq_init(&rq, SLICE, UNDISTURBED);
    for (unsigned int i = 0; i < 3; i++) {
        entity_init(&e[i], SCHED_FAIR, 100);
        rq_add(&rq, &e[i], now);
    }
    assert_ptr_equal(rq_pick(&rq, now), &e[0]);
    rq_prefer(&rq, &e[0]); /* it runs: nothing to be done */
    rq_prefer(&rq, &e[2]);
    rq_yield(&rq);
    assert_true(rq_until(&rq) == 0);
    rq_put(&rq, now += MS, true);
    assert_ptr_equal(rq_pick(&rq, now), &e[2]);
    rq_put(&rq, now += SLICE, true);
    assert_ptr_equal(rq_pick(&rq, now), &e[1]);
    rq_prefer(&rq, &e[2]); /* a slice ahead of e[0], but no more */
    rq_put(&rq, now += SLICE, true);
    assert_ptr_equal(rq_pick(&rq, now), &e[2]);
    rq_prefer(&rq, &e[1]);
    rq_prefer(&rq, &e[1]);
    rq_remove(&rq, &e[1], now);
    rq_put(&rq, now += SLICE, true);
    rq_prefer(&rq, &e[2]); /* too far ahead */
    assert_ptr_equal(rq_pick(&rq, now), &e[0]);
    /* That it was too far ahead is not made up for later. */
    rq_add(&rq, &e[1], now);
    rq_put(&rq, now += 3 * SLICE / 2, true);
    assert_ptr_equal(rq_pick(&rq, now), &e[1]);
    /* A yield in favour of one that is too far ahead is in favour of the next one. */
    rq_remove(&rq, &e[1], now);
    assert_ptr_equal(rq_pick(&rq, now), &e[0]);
    rq_put(&rq, now += 4 * SLICE, true);
    assert_ptr_equal(rq_pick(&rq, now), &e[2]);
    entity_init(&e[1], SCHED_FAIR, 100);
    e[1].vruntime = 5; /* ahead by that */
    rq_add(&rq, &e[1], now);
    rq_prefer(&rq, &e[0]);
    rq_yield(&rq);
    rq_put(&rq, now, true);
    assert_ptr_equal(rq_pick(&rq, now), &e[1]);
    rq_put(&rq, now, false);
    assert_ptr_equal(rq_pick(&rq, now), &e[2]);
}

static void test_steal(void **state)
{
    struct run_queue rq;
    struct sched_entity e[4];
    uint64_t now = S;

    (void)state;
    rq_init(&rq, SLICE, UNDISTURBED);
    assert_null(rq_steal(&rq, UINT64_MAX));
    for (unsigned int i = 0; i < 4; i++) {
        entity_init(&e[i], SCHED_FAIR, 100);
        e[i].allowed = i == 3 ? BIT64(0) : BIT64(0) | BIT64(i);
        e[i].vruntime = i; /* as if it had come from another queue */
        rq_add(&rq, &e[i], now);
    }
    assert_ptr_equal(rq_pick(&rq, now), &e[0]);
    assert_ptr_equal(rq_steal(&rq, BIT64(0)), &e[3]);
    assert_ptr_equal(rq_steal(&rq, BIT64(1)), &e[1]);
    assert_ptr_equal(rq_steal(&rq, BIT64(2) | BIT64(1)), &e[2]);
    assert_null(rq_steal(&rq, BIT64(5)));
    rq_remove(&rq, &e[3], now);
    assert_ptr_equal(rq_steal(&rq, BIT64(0)), &e[2]);
    assert_true(rq_load(&rq) == 300);
}

static void sim_move(struct task *t, unsigned int cpu)
{
    bool runs = entity_wants_cpu(&t->se);

    rq_remove(&sim.rq[t->cpu], &t->se, sim.now);
    t->cpu = cpu;
    if (runs)
        rq_add(&sim.rq[cpu], &t->se, sim.now);
}

/* One moves to and fro between two queues with another one each, of which one is years ahead: half
 * of the time that it is there is its, and that of the others. */
static void test_migration(void **state)
{
    (void)state;
    sim_init(2);
    struct task *a = sim_task(0, SCHED_FAIR, 100);
    sim_run(5 * S);
    struct task *b = sim_task(1, SCHED_FAIR, 100);
    struct task *m = sim_task(0, SCHED_FAIR, 100);
    a->se.ran = 0;
    for (unsigned int i = 0; i < 400; i++) {
        sim_run(33 * MS + i % 7 * MS);
        sim_move(m, !m->cpu);
    }
    uint64_t all = a->se.ran + b->se.ran + m->se.ran;
    assert_near(m->se.ran, all / 4, 30);
    assert_near(a->se.ran, all * 3 / 8, 20);
    assert_near(b->se.ran, all * 3 / 8, 20);
}

/* Invariants of all queues. */
static void check(void)
{
    static struct sched_entity *const none;

    for (unsigned int cpu = 0; cpu < sim.cpus; cpu++) {
        const struct run_queue *rq = &sim.rq[cpu];
        uint32_t ready = 0, weights = 0, queued = 0;

        for (unsigned int i = 0; i < sim.tasks; i++) {
            const struct task *t = &sim.task[i];
            if (t->cpu != cpu || !entity_wants_cpu(&t->se))
                continue;
            ready++;
            weights += t->se.class == SCHED_FAIR ? t->se.weight : 0;
            assert_int_equal(t->se.state == ENTITY_RUNNING, rq->running == &t->se);
            if (t->se.state == ENTITY_THROTTLED)
                assert_ptr_equal(t->se.node.in, &rq->throttled);
            else if (t->se.state == ENTITY_READY && t->se.class == SCHED_FAIR &&
                     rq->alone != &t->se)
                assert_ptr_equal(t->se.node.in, &rq->fair);
            else
                assert_null(t->se.node.in);
            queued += t->se.node.in != NULL;
        }
        for (const struct treap_node *n = rq->fair.first; n; n = treap_neighbour(n, 1))
            queued--;
        for (const struct treap_node *n = rq->throttled.first; n; n = treap_neighbour(n, 1))
            queued--;
        assert_int_equal(queued, 0);
        assert_int_equal(ready, rq->ready);
        assert_int_equal(weights, rq->weights);
        assert_ptr_equal(rq->dedicated, none);
        assert_true(!rq->alone || (ready == 1 && rq->alone->state == ENTITY_READY));
        assert_true(!rq->preferred || rq->preferred->state == ENTITY_READY);
        /* Nobody idles while a fair one could run. */
        if (!rq->slots && rq_until(rq) > sim.now)
            assert_true(rq->running || (!rq->fair.first && !rq->alone));
    }
}

static void test_random(void **state)
{
    struct sched_cap cap;
    uint64_t slice_max = 0;

    (void)state;
    sim_init(3);
    sim.late = 50 * US;
    sim.watch = check;
    cap_init(&cap, 10 * MS, sim.now);
    cap_set(&cap, 130, 8);
    for (unsigned int i = 0; i < 40; i++) {
        struct task *t = sim_sleeper(i % 3, SCHED_FAIR, 1u + (unsigned int)rand() % 900,
                                     i % 4 ? (1 + (unsigned int)rand() % 8000) * US : 0,
                                     (1 + (unsigned int)rand() % 9000) * US);
        if (i % 5 == 0)
            t->se.cap = &cap;
        t->spin = i % 6 == 0 ? 400 * US : 0;
    }
    for (unsigned int round = 0; round < 6000; round++) {
        struct task *t = &sim.task[(unsigned int)rand() % sim.tasks];
        struct task *other = &sim.task[(unsigned int)rand() % sim.tasks];

        sim_run((unsigned int)rand() % (2 * MS));
        switch (rand() % 6) {
        case 0:
        case 1: sim_move(t, (unsigned int)rand() % 3); break;
        case 2:
            rq_remove(&sim.rq[t->cpu], &t->se, sim.now);
            t->present = false;
            break;
        case 3:
        case 4:
            t->present = true;
            if (!entity_wants_cpu(&t->se))
                rq_add(&sim.rq[t->cpu], &t->se, sim.now);
            break;
        default: rq_prefer(&sim.rq[other->cpu], &other->se);
        }
        check();
        /* One without a cap waits for its turn, but comes to it. */
        for (unsigned int i = 0; i < sim.tasks; i++)
            if (sim.task[i].se.state == ENTITY_READY && !sim.task[i].se.cap)
                slice_max = MAX(slice_max, sim.now - sim.task[i].se.since);
    }
    assert_true(sim.turns > 10000);
    assert_true(slice_max < 100 * S);
}

/* All that compute, with weights 1 to 40, come to a turn within what their weight says. */
static void test_no_starvation(void **state)
{
    (void)state;
    sim_init(1);
    for (unsigned int i = 0; i < 20; i++)
        sim_task(0, SCHED_FAIR, 1 + 2 * i);
    for (unsigned int i = 0; i < 20; i++)
        sim_sleeper(0, SCHED_FAIR, 40, 200 * US, (1 + i) * MS);
    uint64_t wait_max = 0;
    for (unsigned int round = 0; round < 20000; round++) {
        sim_run(1 * MS);
        for (unsigned int i = 0; i < 20; i++)
            if (sim.task[i].se.state == ENTITY_READY)
                wait_max = MAX(wait_max, sim.now - sim.task[i].se.since);
    }
    /* A turn of the lightest lasts a slice, and the sum of weights is 1200. */
    assert_true(wait_max < 1500 * SLICE);
    assert_true(sim.task[0].se.ran > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_weights_with_sleepers),
        cmocka_unit_test(test_sleeping_gains_nothing),
        cmocka_unit_test(test_sleeping_saves_nothing),
        cmocka_unit_test(test_latency),
        cmocka_unit_test(test_crowd),
        cmocka_unit_test(test_undisturbed),
        cmocka_unit_test(test_dedicated),
        cmocka_unit_test(test_prefer_gains_nothing),
        cmocka_unit_test(test_yield),
        cmocka_unit_test(test_prefer_once),
        cmocka_unit_test(test_steal),
        cmocka_unit_test(test_migration),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_no_starvation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
