#ifndef BULKHEAD_TESTS_SCHED_SIM_H
#define BULKHEAD_TESTS_SCHED_SIM_H

/* Simulated pCPUs with a run queue each, as the run loop uses them, and vCPUs that compute and
 * sleep. A tick is a nanosecond. */

#include <stdlib.h>
#include <string.h>

#include "vmm/run_queue.h"

#define US 1000ull
#define MS 1000000ull
#define S  1000000000ull

#define SIM_CPUS    4u
#define SIM_TASKS   80u
#define SLICE       (5 * MS)
#define UNDISTURBED (100 * US)

struct task {
    struct sched_entity se; /* first */
    uint64_t burst, sleep;  /* computes and sleeps in turns; 0: computes for ever */
    uint64_t spin;          /* yields each time it has computed for so long; 0: never */
    struct task *prefers;   /* when it yields */
    unsigned int cpu;
    bool present;
    uint64_t left, wake_at, yield_at;
    uint64_t latency_max, latency_sum, wakeups; /* from waking up to running */
    bool woken;
};

static struct {
    struct run_queue rq[SIM_CPUS];
    uint64_t turn_start[SIM_CPUS];
    uint64_t turn_max, turns;
    struct task task[SIM_TASKS];
    unsigned int cpus, tasks;
    uint64_t now;
    uint64_t late; /* the CPU may look at its queue so much too late */
    void (*watch)(void);
} sim;

static void sim_init(unsigned int cpus)
{
    memset(&sim, 0, sizeof(sim));
    sim.cpus = cpus;
    sim.now = 12345678901ull;
    srand(5);
    for (unsigned int i = 0; i < cpus; i++)
        rq_init(&sim.rq[i], SLICE, UNDISTURBED);
}

/* Adds a task that computes for ever. */
static struct task *sim_task(unsigned int cpu, enum sched_class class, uint32_t weight)
{
    struct task *t = &sim.task[sim.tasks++];

    assert_true(sim.tasks <= SIM_TASKS);
    entity_init(&t->se, class, weight);
    t->cpu = cpu;
    t->present = true;
    rq_add(&sim.rq[cpu], &t->se, sim.now);
    return t;
}

static struct task *sim_sleeper(unsigned int cpu, enum sched_class class, uint32_t weight,
                                uint64_t burst, uint64_t sleep)
{
    struct task *t = sim_task(cpu, class, weight);

    t->burst = t->left = burst;
    t->sleep = sleep;
    return t;
}

/* Time passes on one pCPU, at `sim.now`: the run loop's part. */
static void sim_cpu(unsigned int cpu)
{
    struct run_queue *rq = &sim.rq[cpu];
    struct task *t = (struct task *)rq->running;

    if (t && t->burst && t->left == 0) {
        rq_put(rq, sim.now, false);
        t->wake_at = sim.now + t->sleep;
        t->left = t->burst;
    } else if (t && t->spin && sim.now >= t->yield_at) {
        t->yield_at = UINT64_MAX;
        if (t->prefers && t->prefers->cpu == cpu)
            rq_prefer(rq, &t->prefers->se);
        rq_yield(rq);
    }
    for (unsigned int tries = 0; rq_until(rq) <= sim.now; tries++) {
        assert_true(tries < 2);
        if (rq->running) {
            sim.turn_max = MAX(sim.turn_max, sim.now - sim.turn_start[cpu]);
            rq_put(rq, sim.now, true);
        }
        t = (struct task *)rq_pick(rq, sim.now);
        sim.turn_start[cpu] = sim.now;
        sim.turns++;
        if (t && t->woken) {
            t->woken = false;
            t->latency_max = MAX(t->latency_max, sim.now - t->se.woken);
            t->latency_sum += sim.now - t->se.woken;
        }
        if (t && t->spin)
            t->yield_at = sim.now + t->spin;
    }
    /* What runs and what waits is consistent with what is said to be there. */
    assert_true(rq->running || (!rq->fair.first && !rq->alone) || rq_until(rq) != TIMER_NEVER);
}

static void sim_wake(void)
{
    for (unsigned int i = 0; i < sim.tasks; i++) {
        struct task *t = &sim.task[i];
        bool asleep = t->present && !entity_wants_cpu(&t->se);

        if (asleep && t->wake_at <= sim.now) {
            rq_add(&sim.rq[t->cpu], &t->se, sim.now);
            t->woken = true;
            t->wakeups++;
        }
    }
}

/* When something happens next. */
static uint64_t sim_next(void)
{
    uint64_t next = UINT64_MAX;

    for (unsigned int i = 0; i < sim.tasks; i++) {
        const struct task *t = &sim.task[i];
        if (!t->present)
            continue;
        if (!entity_wants_cpu(&t->se))
            next = MIN(next, t->wake_at);
        else if (t->se.state == ENTITY_RUNNING && t->burst)
            next = MIN(next, sim.now + t->left);
        if (t->se.state == ENTITY_RUNNING && t->spin)
            next = MIN(next, t->yield_at);
    }
    for (unsigned int i = 0; i < sim.cpus; i++) {
        uint64_t until = rq_until(&sim.rq[i]);
        if (until != TIMER_NEVER && sim.late)
            until += (unsigned int)rand() % sim.late;
        next = MIN(next, until);
    }
    return next;
}

static void sim_run(uint64_t ticks)
{
    uint64_t end = sim.now + ticks;

    for (;;) {
        uint64_t next;

        sim_wake();
        for (unsigned int i = 0; i < sim.cpus; i++)
            sim_cpu(i);
        if (sim.watch)
            sim.watch();
        next = MIN(sim_next(), end);
        assert_true(next >= sim.now);
        for (unsigned int i = 0; i < sim.tasks; i++)
            if (sim.task[i].se.state == ENTITY_RUNNING)
                sim.task[i].left -= MIN(sim.task[i].left, next - sim.now);
        sim.now = next;
        if (next == end)
            break;
    }
    /* Ends all turns, so that all is charged; those that have just run go on. */
    for (unsigned int i = 0; i < sim.cpus; i++)
        if (sim.rq[i].running)
            rq_put(&sim.rq[i], sim.now, true);
}

/* Asserts that `got` is within `permille` of `want`. */
static void assert_near(uint64_t got, uint64_t want, uint64_t permille)
{
    uint64_t off = got > want ? got - want : want - got;

    if (off * 1000 > want * permille)
        print_error("%llu is not near %llu\n", LLU(got), LLU(want));
    assert_true(off * 1000 <= want * permille);
}

#endif
