#include "vmm/run_queue.h"

/* Virtual time of a tick with weight 1: as fine as that for the highest weight, and yet it takes 9
 * years at 4 GHz to wrap. */
#define TICK_UNITS 16u

/* Virtual time starts here, so that one may be behind. */
#define VRUNTIME_START BIT64(40)

void entity_init(struct sched_entity *se, enum sched_class class, uint32_t weight)
{
    *se = (struct sched_entity){.class = class, .weight = weight, .allowed = UINT64_MAX};
    se->scale = ((uint64_t)TICK_UNITS << 32) / weight;
}

void rq_init(struct run_queue *rq, uint64_t slice, uint64_t undisturbed)
{
    *rq = (struct run_queue){
        .until = TIMER_NEVER,
        .boundary = TIMER_NEVER,
        .min_vruntime = VRUNTIME_START,
        .slice = slice,
        .undisturbed = undisturbed,
        .free_part = RQ_FREE_ALL,
    };
}

static struct sched_entity *entity_of(struct treap_node *node)
{
    return node ? CONTAINER_OF(node, struct sched_entity, node) : NULL;
}

static uint64_t virtual_time(const struct sched_entity *se, uint64_t ticks)
{
    return (uint64_t)(((unsigned __int128)ticks * se->scale) >> 32);
}

static bool runs_fair(const struct run_queue *rq)
{
    return rq->running && rq->running->class == SCHED_FAIR;
}

/* The virtual time of the one that has had least; with none, where the last one was. */
static uint64_t least_vruntime(const struct run_queue *rq)
{
    uint64_t least = rq->fair.first ? rq->fair.first->key : UINT64_MAX;

    if (runs_fair(rq))
        least = MIN(least, rq->running->vruntime);
    return least != UINT64_MAX ? least : rq->min_vruntime;
}

static void update_min(struct run_queue *rq)
{
    rq->min_vruntime = MAX(rq->min_vruntime, least_vruntime(rq));
}

/* Charges the one that runs. */
static void charge(struct run_queue *rq, uint64_t now)
{
    struct sched_entity *se = rq->running;

    if (!se || now <= rq->charged)
        return;
    se->ran += now - rq->charged;
    se->since = now;
    se->vruntime += virtual_time(se, now - rq->charged);
    rq->charged = now;
    update_min(rq);
}

static void set_until(struct run_queue *rq)
{
    uint64_t until = TIMER_NEVER;

    if (rq->running && rq->running->class == SCHED_SLOTS) {
        until = rq->boundary;
    } else if (!rq->dedicated && rq->ready > 0) {
        if (rq->running && rq->fair.first)
            until = rq->started + (rq->preempt ? rq->undisturbed : rq->slice);
        if (rq->taken > 0)
            until = MIN(until, rq->started + rq->taken);
        if (rq->throttled.first)
            until = MIN(until, rq->throttled.first->key);
        until = MIN(until, rq->boundary);
    }
    rq->until = until;
}

/* None is further behind than a slice. */
static void limit_lag(const struct run_queue *rq, struct sched_entity *se)
{
    uint64_t floor = rq->min_vruntime - virtual_time(se, rq->slice);

    if (unlikely((int64_t)(se->vruntime - floor) < 0))
        se->vruntime = floor;
}

/* Puts a fair one among those that wait. */
static void enqueue(struct run_queue *rq, struct sched_entity *se)
{
    limit_lag(rq, se);
    se->state = ENTITY_READY;
    se->node.key = se->vruntime;
    treap_insert(&rq->fair, &se->node);
}

static void dequeue(struct run_queue *rq, struct sched_entity *se)
{
    if (se->node.in)
        treap_remove(&se->node);
    if (rq->preferred == se)
        rq->preferred = NULL;
}

/* Whether of the one that wants to run, if it is the only one, nothing is to be thought about: the
 * usual case, which is kept short. */
static bool is_alone(const struct run_queue *rq, const struct sched_entity *se)
{
    return se->class == SCHED_FAIR && !se->cap && !rq->slots;
}

/* It gets company, or something else is to be thought about. */
static void settle(struct run_queue *rq)
{
    if (rq->alone)
        enqueue(rq, rq->alone);
    rq->alone = NULL;
}

void rq_set_slots(struct run_queue *rq, struct slot_table *slots)
{
    uint64_t kept = 0;

    for (unsigned int i = 0; slots && i < slots->count; i++)
        kept += slots->slots[i].share ? 0 : slots->slots[i].length;
    rq->free_part =
        slots ? (uint32_t)((slots->frame - kept) * RQ_FREE_ALL / slots->frame) : RQ_FREE_ALL;
    settle(rq);
    rq->slots = slots;
    rq->slot_owner = NULL;
    rq->boundary = TIMER_NEVER;
    rq->until = 0;
}

static NOINLINE void add_among(struct run_queue *rq, struct sched_entity *se, uint64_t now)
{
    settle(rq);
    charge(rq, now);
    if (se->state == ENTITY_AWAY)
        se->vruntime += least_vruntime(rq);
    se->state = ENTITY_READY;
    se->yielded = false;
    se->woken = se->since = now;
    rq->ready++;
    if (se->class == SCHED_FAIR) {
        rq->weights += se->weight;
        enqueue(rq, se);
        update_min(rq);
        if (runs_fair(rq) && se->vruntime < rq->running->vruntime)
            rq->preempt = true;
    } else if (se->class == SCHED_DEDICATED) {
        rq->dedicated = se;
    }
    set_until(rq);
    if (!rq->running || rq->slot_owner == se)
        rq->until = 0;
}

void rq_add(struct run_queue *rq, struct sched_entity *se, uint64_t now)
{
    if (rq->ready > 0 || se->state != ENTITY_ASLEEP || !is_alone(rq, se)) {
        add_among(rq, se, now);
        return;
    }
    limit_lag(rq, se);
    rq->min_vruntime = MAX(rq->min_vruntime, se->vruntime);
    se->state = ENTITY_READY;
    se->yielded = false;
    se->woken = se->since = now;
    rq->ready = 1;
    rq->weights = se->weight;
    rq->alone = se;
    rq->until = 0;
}

/* Does not want to run any more. */
static void leave(struct run_queue *rq, struct sched_entity *se)
{
    rq->ready--;
    if (se->class == SCHED_FAIR)
        rq->weights -= se->weight;
    else if (se->class == SCHED_DEDICATED)
        rq->dedicated = NULL;
}

/* The one that runs is charged for its turn, and nobody runs. */
static void end_turn(struct run_queue *rq, uint64_t now)
{
    struct sched_entity *se = rq->running;

    charge(rq, now);
    if (rq->taken > 0)
        cap_give(se->cap, now, (int64_t)(rq->taken - (rq->charged - rq->started)));
    rq->taken = 0;
    rq->running = NULL;
    rq->until = 0;
}

void rq_remove(struct run_queue *rq, struct sched_entity *se, uint64_t now)
{
    if (se->state == ENTITY_AWAY)
        return;
    settle(rq);
    charge(rq, now);
    if (rq->running == se)
        end_turn(rq, now);
    else if (entity_wants_cpu(se))
        se->waited += now - se->since;
    if (entity_wants_cpu(se))
        leave(rq, se);
    dequeue(rq, se);
    se->state = ENTITY_AWAY;
    se->vruntime -= least_vruntime(rq); /* so far it is ahead of the others here, or behind */
    set_until(rq);
    if (!rq->running)
        rq->until = 0;
}

/* True when `se` may go before `first`, which has least: it is not ahead by more than a slice of
 * that one. */
static bool may_precede(const struct run_queue *rq, const struct sched_entity *se,
                        const struct sched_entity *first)
{
    return se->vruntime <= first->vruntime + virtual_time(first, rq->slice);
}

/* One that has yielded lets another one go first. If it does so again and again it saves up no more
 * than a slice. */
static void give_way(struct run_queue *rq, struct sched_entity *se)
{
    struct sched_entity *first = entity_of(rq->fair.first);

    se->yielded = false;
    if (!first)
        return;
    if (!may_precede(rq, first, se))
        se->vruntime = first->vruntime - virtual_time(se, rq->slice);
    if (!rq->preferred || !may_precede(rq, rq->preferred, se))
        rq->preferred = first;
}

void rq_put(struct run_queue *rq, uint64_t now, bool wants_cpu)
{
    struct sched_entity *se = rq->running;

    end_turn(rq, now);
    if (!wants_cpu) {
        leave(rq, se);
        se->state = ENTITY_ASLEEP;
        return;
    }
    se->state = ENTITY_READY;
    se->since = now;
    if (rq->ready == 1 && is_alone(rq, se)) {
        se->yielded = false;
        rq->alone = se;
        return;
    }
    if (se->yielded)
        give_way(rq, se);
    if (se->class == SCHED_FAIR)
        enqueue(rq, se);
}

static void throttle(struct run_queue *rq, struct sched_entity *se, uint64_t until)
{
    dequeue(rq, se);
    se->state = ENTITY_THROTTLED;
    se->node.key = until;
    treap_insert(&rq->throttled, &se->node);
}

static void release_throttled(struct run_queue *rq, uint64_t now)
{
    while (unlikely(rq->throttled.first && rq->throttled.first->key <= now)) {
        struct sched_entity *se = entity_of(rq->throttled.first);
        treap_remove(&se->node);
        enqueue(rq, se);
    }
}

static struct sched_entity *choose_fair(struct run_queue *rq, uint64_t now)
{
    while (rq->fair.first) {
        struct sched_entity *se = entity_of(rq->fair.first);
        uint64_t again;

        if (rq->preferred && may_precede(rq, rq->preferred, se))
            se = rq->preferred;
        rq->preferred = NULL;
        if (se->cap)
            rq->taken = cap_take(se->cap, now, &again);
        if (!se->cap || rq->taken > 0)
            return se;
        throttle(rq, se, again);
    }
    return NULL;
}

static struct sched_entity *choose(struct run_queue *rq, uint64_t now)
{
    if (rq->dedicated)
        return rq->dedicated;
    if (rq->slots) {
        const struct slot *slot = slots_advance(rq->slots, now);

        rq->boundary = slots_boundary(rq->slots, now);
        rq->slot_owner = slot ? slot->owner : NULL;
        if (rq->slot_owner && entity_wants_cpu(rq->slot_owner)) {
            slots_count_start(rq->slots, now);
            return rq->slot_owner;
        }
        if (slot && !slot->share)
            return NULL;
    }
    return choose_fair(rq, now);
}

struct sched_entity *rq_pick_among(struct run_queue *rq, uint64_t now)
{
    struct sched_entity *se;

    release_throttled(rq, now);
    se = choose(rq, now);
    rq->preempt = false;
    if (se) {
        dequeue(rq, se);
        se->state = ENTITY_RUNNING;
        se->waited += now - se->since;
        se->since = now;
        rq->running = se;
        rq->started = rq->charged = now;
    }
    set_until(rq);
    return se;
}

void rq_yield(struct run_queue *rq)
{
    if (!runs_fair(rq) || !rq->fair.first)
        return;
    rq->running->yielded = true;
    rq->until = 0;
}

void rq_prefer(struct run_queue *rq, struct sched_entity *se)
{
    settle(rq);
    if (se->state == ENTITY_READY && se->class == SCHED_FAIR)
        rq->preferred = se;
}

bool rq_has_time(const struct run_queue *rq, uint64_t now, uint64_t ticks)
{
    const struct slot *slot;

    if (!rq->slots || rq->slots->gap < ticks)
        return true;
    slot = slots_advance(rq->slots, now);
    if (slot && slot->owner && entity_wants_cpu(slot->owner))
        return false;
    return slots_boundary(rq->slots, now) - now >= ticks;
}

uint64_t rq_load_beside_others(const struct run_queue *rq)
{
    if (rq->dedicated || rq->free_part == 0)
        return UINT64_MAX;
    return (uint64_t)rq->weights * RQ_FREE_ALL / rq->free_part;
}

struct sched_entity *rq_steal(const struct run_queue *rq, uint64_t cpus)
{
    struct treap_node *node = rq->alone ? &rq->alone->node : treap_last(&rq->fair);

    while (node && !(entity_of(node)->allowed & cpus))
        node = treap_neighbour(node, 0);
    return entity_of(node);
}
