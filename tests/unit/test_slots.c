/* Time partitioning: the cyclic table, and slots beside fair ones with caps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/error.h"
#include "tests/unit/sched_sim.h"

#define FRAME (20 * MS)

static struct slot slots[4];
static struct slot_table table;

static void add_slot(unsigned int i, struct task *owner, uint64_t offset, uint64_t length,
                     bool share)
{
    slots[i] = (struct slot){
        .owner = owner ? &owner->se : NULL, .offset = offset, .length = length, .share = share};
}

static void start_table(unsigned int count)
{
    assert_int_equal(slots_init(&table, slots, count, FRAME, sim.now, sim.now), 0);
    rq_set_slots(&sim.rq[0], &table);
}

static int try(unsigned int count, uint64_t frame)
{
    return slots_init(&table, slots, count, frame, 0, 0);
}

static void test_init(void **state)
{
    (void)state;
    add_slot(0, NULL, 0, 5, false);
    add_slot(1, NULL, 5, 10, false);
    assert_int_equal(try(2, 15), 0);
    assert_int_equal(try(2, 14), -BH_EINVAL);
    assert_int_equal(try(0, 14), -BH_EINVAL);
    slots[1].length = 0;
    assert_int_equal(try(2, 15), -BH_EINVAL);
    slots[1].length = UINT64_MAX - 3;
    assert_int_equal(try(2, 15), -BH_EINVAL);
    add_slot(1, NULL, 4, 2, false);
    assert_int_equal(try(2, 15), -BH_EINVAL);
    add_slot(1, NULL, 16, 1, false);
    assert_int_equal(try(2, 15), -BH_EINVAL);
}

/* Where the table is, at any time, also after years away. */
static void test_position(void **state)
{
    uint64_t now = 7;

    (void)state;
    add_slot(0, NULL, 10, 20, false);
    add_slot(1, NULL, 30, 5, false);
    add_slot(2, NULL, 60, 40, false);
    srand(1);
    for (unsigned int round = 0; round < 200; round++) {
        uint64_t epoch = (unsigned int)rand() % 3 * 250ull;

        now = (unsigned int)rand() % 1000;
        assert_int_equal(slots_init(&table, slots, 3, 100, epoch, now), 0);
        for (unsigned int i = 0; i < 300; i++) {
            uint64_t at = now < epoch ? 0 : (now - epoch) % 100;
            const struct slot *want = at >= 60              ? &slots[2]
                                      : at >= 30 && at < 35 ? &slots[1]
                                      : at >= 10 && at < 30 ? &slots[0]
                                                            : NULL;
            assert_ptr_equal(slots_advance(&table, now), want);
            uint64_t end = at < 10 ? 10 : at < 30 ? 30 : at < 35 ? 35 : at < 60 ? 60 : 100;
            if (now < epoch)
                assert_true(slots_boundary(&table, now) == epoch + 10);
            else
                assert_true(slots_boundary(&table, now) == now - at + end);
            now += rand() % 50 ? (unsigned int)rand() % 30 : (unsigned int)rand();
        }
    }
}

/* Two partitions, three noisy fair ones, one that sleeps, and a cap. */
static void test_exact(void **state)
{
    struct sched_cap cap;

    (void)state;
    for (uint64_t late = 0; late <= 2 * US; late += 2 * US) {
        sim_init(1);
        sim.late = late;
        struct task *a = sim_task(0, SCHED_SLOTS, 100);
        struct task *b = sim_task(0, SCHED_SLOTS, 100);
        cap_init(&cap, 10 * MS, sim.now);
        cap_set(&cap, 10, 1);
        for (unsigned int i = 0; i < 3; i++)
            sim_task(0, SCHED_FAIR, 100 << i);
        sim.task[2].se.cap = &cap;
        struct task *s = sim_sleeper(0, SCHED_FAIR, 100, 30 * US, 70 * US);
        add_slot(0, a, 0, 3 * MS, false);
        add_slot(1, b, 3 * MS, 4 * MS, true);
        add_slot(2, a, 7 * MS, 1 * MS, true);
        add_slot(3, NULL, 15 * MS, 2 * MS, false);
        start_table(4);
        assert_int_equal(rq_load(&sim.rq[0]), 800 * 1024 / (1024 * 15 / 20));
        sim_run(500 * FRAME);
        assert_near(a->se.ran, 500 * 4 * MS, 1);
        assert_near(b->se.ran, 500 * 4 * MS, 1);
        uint64_t fair = s->se.ran;
        for (unsigned int i = 2; i < 5; i++)
            fair += sim.task[i].se.ran;
        assert_near(fair, 500 * 10 * MS, 1);
        assert_true(s->wakeups > 10000);
        for (unsigned int i = 0; i < 3; i++) {
            assert_in_range(slots[i].starts, 499, 500);
            assert_int_equal(slots[i].missed, 0);
            assert_true(slots[i].late_max <= late);
            assert_true(slots[i].late_sum <= late * 500);
            assert_int_equal(slots[i].late_sum == 0, late == 0);
        }
        assert_int_equal(slots[3].starts + slots[3].missed, 0);
    }
}

/* What an owner that sleeps leaves of its slot goes to fair ones only if the slot says so. */
static void test_share(void **state)
{
    (void)state;
    for (unsigned int share = 0; share < 2; share++) {
        sim_init(1);
        struct task *a = sim_sleeper(0, SCHED_SLOTS, 100, 1 * MS, FRAME);
        struct task *hog = sim_task(0, SCHED_FAIR, 100);
        add_slot(0, a, 5 * MS, 10 * MS, share);
        start_table(1);
        sim_run(200 * FRAME);
        /* It wakes 1 ms later in each frame: in the first place in its slot, which runs it at
         * once, at last beyond it: it waits for the next one's start. */
        assert_in_range(a->wakeups, 180, 200);
        assert_true(a->se.ran >= 180 * MS);
        if (share)
            assert_near(hog->se.ran + a->se.ran, 200 * FRAME, 1);
        else
            assert_near(hog->se.ran, 200 * 10 * MS, 1);
        assert_true(a->latency_max <= 10 * MS);
        assert_int_equal(slots[0].missed, 0);
        assert_int_equal(slots[0].late_max, 0);
    }
}

/* One step after the other. */
static void test_steps(void **state)
{
    (void)state;
    for (unsigned int share = 0; share < 2; share++) {
        sim_init(1);
        uint64_t t = sim.now;
        struct run_queue *rq = &sim.rq[0];
        struct task *a = sim_task(0, SCHED_SLOTS, 100);
        struct task *hog = sim_task(0, SCHED_FAIR, 100);
        add_slot(0, a, 5 * MS, 5 * MS, share);
        start_table(1);
        assert_true(rq_until(rq) <= t);
        assert_ptr_equal(rq_pick(rq, t), &hog->se);
        assert_true(rq_until(rq) == t + 5 * MS);
        rq_put(rq, t + 5 * MS + 3, true);
        assert_ptr_equal(rq_pick(rq, t + 5 * MS + 3), &a->se);
        assert_true(rq_until(rq) == t + 10 * MS);
        assert_int_equal(slots[0].late_max, 3);
        /* It sleeps, and wakes in its slot. */
        rq_put(rq, t + 6 * MS, false);
        assert_ptr_equal(rq_pick(rq, t + 6 * MS), share ? &hog->se : NULL);
        assert_true(rq_until(rq) == t + 10 * MS);
        rq_add(rq, &a->se, t + 7 * MS);
        assert_true(rq_until(rq) <= t + 7 * MS);
        if (share)
            rq_put(rq, t + 7 * MS, true);
        assert_ptr_equal(rq_pick(rq, t + 7 * MS), &a->se);
        rq_yield(rq);
        assert_true(rq_until(rq) == t + 10 * MS);
        rq_put(rq, t + 8 * MS, false);
        assert_ptr_equal(rq_pick(rq, t + 8 * MS), share ? &hog->se : NULL);
        /* It wakes in its slot, but is looked at when that is over. */
        rq_add(rq, &a->se, t + 9 * MS);
        if (share)
            rq_put(rq, t + 11 * MS, true);
        assert_ptr_equal(rq_pick(rq, t + 11 * MS), &hog->se);
        assert_true(rq_until(rq) == t + FRAME + 5 * MS);
        /* Waking outside its slot disturbs nobody. */
        rq_put(rq, t + 12 * MS, true);
        assert_ptr_equal(rq_pick(rq, t + 12 * MS), &hog->se);
        rq_remove(rq, &a->se, t + 13 * MS);
        rq_add(rq, &a->se, t + 14 * MS);
        assert_true(rq_until(rq) == t + FRAME + 5 * MS);
        rq_set_slots(rq, NULL);
        assert_true(rq_until(rq) == 0);
        rq_put(rq, t + 15 * MS, true);
        assert_ptr_equal(rq_pick(rq, t + 15 * MS), &hog->se);
        assert_true(rq_until(rq) == TIMER_NEVER);
        assert_int_equal(slots[0].starts, 1);
        assert_int_equal(slots[0].missed, 0);
    }
}

/* With nobody but slots' owners the idle CPU sleeps until a slot may run one. */
static void test_idle(void **state)
{
    (void)state;
    sim_init(1);
    uint64_t t = sim.now;
    struct run_queue *rq = &sim.rq[0];
    struct task *a = sim_task(0, SCHED_SLOTS, 100);
    add_slot(0, a, 5 * MS, 5 * MS, false);
    start_table(1);
    assert_null(rq_pick(rq, t));
    assert_true(rq_until(rq) == t + 5 * MS);
    assert_ptr_equal(rq_pick(rq, t + 5 * MS), &a->se);
    rq_put(rq, t + 6 * MS, false);
    assert_null(rq_pick(rq, t + 6 * MS));
    assert_true(rq_until(rq) == TIMER_NEVER);
    /* It wakes years later, in its slot; no start is counted, as it was asleep. */
    t += 1000000000 * FRAME;
    rq_add(rq, &a->se, t + 7 * MS);
    assert_ptr_equal(rq_pick(rq, t + 7 * MS), &a->se);
    assert_true(rq_until(rq) == t + 10 * MS);
    assert_int_equal(slots[0].starts, 1);
    assert_int_equal(slots[0].missed, 0);
    /* The CPU is away for a hundred frames while its owner waits. */
    rq_put(rq, t + 10 * MS, true);
    assert_null(rq_pick(rq, t + 10 * MS));
    assert_ptr_equal(rq_pick(rq, t + 100 * FRAME + 6 * MS), &a->se);
    assert_int_equal(slots[0].missed, 99);
    assert_int_equal(slots[0].starts, 2);
    assert_int_equal(slots[0].late_max, MS);
    assert_true(rq_until(rq) == t + 100 * FRAME + 10 * MS);
    /* It ran through several: the first one had begun, the last one begins late. */
    rq_put(rq, t + 104 * FRAME + 7 * MS, true);
    assert_ptr_equal(rq_pick(rq, t + 104 * FRAME + 7 * MS), &a->se);
    assert_int_equal(slots[0].missed, 99 + 3);
    assert_int_equal(slots[0].starts, 3);
    assert_int_equal(slots[0].late_max, 2 * MS);
}

/* A table that comes while somebody runs, and whose epoch is to come or past. */
static void test_set_late(void **state)
{
    (void)state;
    sim_init(1);
    uint64_t t = sim.now;
    struct run_queue *rq = &sim.rq[0];
    struct task *a = sim_task(0, SCHED_SLOTS, 100);
    struct task *hog = sim_task(0, SCHED_FAIR, 100);
    assert_ptr_equal(rq_pick(rq, t), &hog->se);
    add_slot(0, a, 0, FRAME, false);
    assert_int_equal(slots_init(&table, slots, 1, FRAME, t + 5 * S, t), 0);
    rq_set_slots(rq, &table);
    assert_true(rq_until(rq) == 0);
    assert_true(rq_load(rq) == UINT64_MAX);
    rq_put(rq, t, true);
    assert_ptr_equal(rq_pick(rq, t), &hog->se);
    assert_true(rq_until(rq) == t + 5 * S);
    /* In the midst of a slot: its start is not counted. */
    t += S;
    assert_int_equal(slots_init(&table, slots, 1, FRAME, 3, t), 0);
    rq_set_slots(rq, &table);
    rq_put(rq, t, true);
    assert_ptr_equal(rq_pick(rq, t), &a->se);
    assert_int_equal(slots[0].starts, 0);
    uint64_t end = rq_until(rq);
    assert_true(end > t && end <= t + FRAME && (end - 3) % FRAME == 0);
    rq_put(rq, end, true);
    assert_ptr_equal(rq_pick(rq, end), &a->se);
    assert_int_equal(slots[0].starts, 1);
    assert_int_equal(slots[0].missed, 0);
}

static uint64_t epoch;

/* Who runs is who may. */
static void check(void)
{
    const struct sched_entity *running = sim.rq[0].running;
    uint64_t at = (sim.now - epoch) % FRAME;
    const struct slot *slot = NULL;

    for (unsigned int i = 0; i < 4; i++)
        if (at >= slots[i].offset && at < slots[i].offset + slots[i].length)
            slot = &slots[i];
    if (running && running->class == SCHED_SLOTS)
        assert_ptr_equal(running, slot ? slot->owner : NULL);
    if (slot && slot->owner && entity_wants_cpu(slot->owner))
        assert_ptr_equal(running, slot->owner);
    else if (slot && !slot->share)
        assert_null(running);
    else if (sim.rq[0].fair.first)
        assert_non_null(running);
}

/* Everything at once: slots, caps, those that compute, sleep, yield, come, go. */
static void test_random(void **state)
{
    struct sched_cap cap;

    (void)state;
    sim_init(1);
    sim.watch = check;
    epoch = sim.now;
    struct task *a = sim_sleeper(0, SCHED_SLOTS, 100, 700 * US, 900 * US);
    struct task *b = sim_task(0, SCHED_SLOTS, 100);
    struct task *c = sim_sleeper(0, SCHED_SLOTS, 100, 11 * MS, 17 * MS);
    add_slot(0, a, 1 * MS, 3 * MS, true);
    add_slot(1, b, 4 * MS, 1 * MS, false);
    add_slot(2, a, 5 * MS, 2 * MS, false);
    add_slot(3, c, 12 * MS, 3 * MS, true);
    start_table(4);
    cap_init(&cap, 10 * MS, sim.now);
    cap_set(&cap, 40, 6);
    for (unsigned int i = 0; i < 30; i++) {
        struct task *t =
            sim_sleeper(0, SCHED_FAIR, 50 + i, i % 3 ? (i + 1) * 111 * US : 0, i * 1234 * US);
        t->se.cap = i % 5 ? NULL : &cap;
        t->spin = i % 7 ? 0 : 600 * US;
    }
    for (unsigned int round = 0; round < 5000; round++) {
        struct task *t = &sim.task[(unsigned int)rand() % sim.tasks];

        sim_run((unsigned int)rand() % (4 * MS));
        if (t->present)
            rq_remove(&sim.rq[0], &t->se, sim.now);
        else
            rq_add(&sim.rq[0], &t->se, sim.now);
        t->present = !t->present;
    }
    for (unsigned int i = 0; i < 4; i++) {
        assert_true(slots[i].starts > 50);
        assert_int_equal(slots[i].missed, 0);
        assert_int_equal(slots[i].late_max, 0);
    }
}

/* Time for other work: up to the next slot, or in one whose owner sleeps. */
static void test_has_time(void **state)
{
    struct sched_entity owner;
    struct run_queue rq;

    (void)state;
    slots[0] = (struct slot){.owner = &owner, .offset = 200, .length = 100};
    slots[1] = (struct slot){.offset = 500, .length = 100};
    entity_init(&owner, SCHED_SLOTS, 100);
    rq_init(&rq, SLICE, SLICE / 4);
    assert_true(rq_has_time(&rq, 0, UINT64_MAX));
    assert_int_equal(slots_init(&table, slots, 2, 1000, 0, 0), 0);
    assert_int_equal(table.gap, 600);
    rq_set_slots(&rq, &table);
    rq_add(&rq, &owner, 0);
    assert_true(rq_has_time(&rq, 100, 100));
    assert_false(rq_has_time(&rq, 101, 100));
    assert_true(rq_has_time(&rq, 101, 601)); /* there never is */
    assert_false(rq_has_time(&rq, 200, 0));
    assert_true(rq_pick(&rq, 200) == &owner);
    assert_false(rq_has_time(&rq, 250, 0));
    rq_put(&rq, 260, false);
    assert_true(rq_has_time(&rq, 260, 40));
    assert_false(rq_has_time(&rq, 260, 41));
    assert_true(rq_has_time(&rq, 500, 100)); /* that of nobody */
    assert_true(rq_has_time(&rq, 600, 600));
    assert_false(rq_has_time(&rq, 601, 600));
    assert_int_equal(slots[0].missed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init),     cmocka_unit_test(test_position),
        cmocka_unit_test(test_exact),    cmocka_unit_test(test_share),
        cmocka_unit_test(test_steps),    cmocka_unit_test(test_idle),
        cmocka_unit_test(test_set_late), cmocka_unit_test(test_random),
        cmocka_unit_test(test_has_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
