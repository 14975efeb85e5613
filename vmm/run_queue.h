#ifndef BULKHEAD_VMM_RUN_QUEUE_H
#define BULKHEAD_VMM_RUN_QUEUE_H

/* Who runs on one pCPU, and until when. Data and arithmetic only: no locks, no clock; times are the
 * pCPU's TSC, passed in, and never go back. Only the pCPU that owns a queue touches it and the
 * entities in it; a sched_cap may be shared with others'. All calls take O(log n) on average.
 *
 * Fair entities are ordered by the time that they have had, divided by their weights: the one with
 * least of it runs, for at most a slice. Who sleeps may come back behind by a slice, no more, so
 * that it runs soon and yet gets no more than its share. Slots entities run in their slots only. A
 * dedicated one has its pCPU alone. */

#include "lib/treap.h"
#include "vmm/cap.h"
#include "vmm/slots.h"
#include "vmm/timer.h"

#define RQ_FREE_ALL          1024u
#define SCHED_WEIGHT_MAX     1000u
#define SCHED_WEIGHT_DEFAULT 100u

enum sched_class { SCHED_FAIR, SCHED_DEDICATED, SCHED_SLOTS };

enum entity_state {
    ENTITY_AWAY,      /* in no queue's books */
    ENTITY_ASLEEP,    /* in a queue's books, does not want to run */
    ENTITY_READY,     /* waits for the CPU */
    ENTITY_THROTTLED, /* the same, and for the next period of its cap */
    ENTITY_RUNNING,
};

struct sched_entity {
    struct treap_node node; /* ready and fair: by virtual time; throttled: by the time of its end */
    enum sched_class class;
    enum entity_state state;
    bool yielded;
    uint32_t weight;
    uint64_t scale;        /* virtual time of a tick, 32.32 fixed point */
    uint64_t vruntime;     /* virtual time; away: how far it is ahead of others */
    struct sched_cap *cap; /* or NULL; of fair ones only */
    uint64_t allowed;      /* bit per pCPU that may have it: rq_steal() */

    uint64_t woken;       /* since when it wants to run */
    uint64_t since;       /* until when `waited`, or while it runs `ran`, has been counted */
    uint64_t waited, ran; /* ticks in all */
};

struct run_queue {
    uint64_t until; /* rq_until() */
    struct sched_entity *running;
    struct sched_entity *dedicated;  /* wants to run */
    struct sched_entity *preferred;  /* is next if it is not too far ahead; ready and fair */
    struct sched_entity *slot_owner; /* of the slot at the last rq_pick() */
    struct sched_entity *alone;      /* is_alone(): ready, and not in `fair` */
    struct treap fair, throttled;
    uint64_t min_vruntime; /* where the fair ones are; never goes back */
    uint32_t weights;      /* of the fair ones that want to run */
    uint32_t ready;        /* all that want to run */
    uint32_t free_part;    /* RQ_FREE_ALL-ths of the time that slots leave to fair ones */
    struct slot_table *slots;
    uint64_t boundary; /* of slots, at the last rq_pick(); TIMER_NEVER */

    uint64_t slice, undisturbed;
    /* The turn of the one that runs. */
    uint64_t started;
    uint64_t charged; /* up to when it has been charged */
    uint64_t taken;   /* from its cap; 0: has none */
    bool preempt;     /* one with less virtual time has come: the undisturbed time is enough */
};

/* Away, with no cap, allowed everywhere. */
void entity_init(struct sched_entity *se, enum sched_class class, uint32_t weight);

/* It runs or waits for the CPU. */
static inline bool entity_wants_cpu(const struct sched_entity *se)
{
    return se->state >= ENTITY_READY;
}

/* `slice`: TSC ticks of a turn while others wait; `undisturbed`: how much of it nobody takes away
 * by waking up. */
void rq_init(struct run_queue *rq, uint64_t slice, uint64_t undisturbed);

/* The table of the pCPU, or NULL. Effective at once. */
void rq_set_slots(struct run_queue *rq, struct slot_table *slots);

/* One that is away or asleep wants to run: it is new, has come from another queue, or wakes up. */
void rq_add(struct run_queue *rq, struct sched_entity *se, uint64_t now);

/* Takes one off, in whatever state it is, and out of the books: to stop it, or to move it. */
void rq_remove(struct run_queue *rq, struct sched_entity *se, uint64_t now);

struct sched_entity *rq_pick_among(struct run_queue *rq, uint64_t now);

/* Chooses who runs now: NULL: nobody. It runs until rq_put() or rq_remove(), one of which comes
 * before the next rq_pick(). */
static inline struct sched_entity *rq_pick(struct run_queue *rq, uint64_t now)
{
    struct sched_entity *se = rq->alone;

    if (!se)
        return rq_pick_among(rq, now);
    rq->alone = NULL;
    rq->preempt = false;
    se->state = ENTITY_RUNNING;
    se->waited += now - se->since;
    rq->running = se;
    rq->started = rq->charged = now;
    rq->until = TIMER_NEVER;
    return se;
}

/* The one that runs stops; it goes on wanting to or falls asleep. */
void rq_put(struct run_queue *rq, uint64_t now, bool wants_cpu);

/* When, as things are, rq_put() and rq_pick() are due; while nobody runs, rq_pick(). TIMER_NEVER:
 * not before something changes. Every other call may change it, so look again before each entry. */
static inline uint64_t rq_until(const struct run_queue *rq)
{
    return rq->until;
}

/* The one that runs ends its turn in favour of another fair one, if any. */
void rq_yield(struct run_queue *rq);

/* Lets one of the queue be next if it is ready and fair, unless it is a slice ahead. It gets no
 * more by it in the long run. */
void rq_prefer(struct run_queue *rq, struct sched_entity *se);

/* True when there is time for something else that takes so many ticks before the owner of a slot
 * runs, or could. With slots so close that there never is, always. */
bool rq_has_time(const struct run_queue *rq, uint64_t now, uint64_t ticks);

/* Sum of the weights of the fair ones that want to run, scaled by the time that slots leave them;
 * UINT64_MAX: they get none. */
uint64_t rq_load_beside_others(const struct run_queue *rq);
static inline uint64_t rq_load(const struct run_queue *rq)
{
    if (unlikely(rq->dedicated || rq->free_part != RQ_FREE_ALL))
        return rq_load_beside_others(rq);
    return rq->weights;
}

/* The fair one that would wait longest of those that may run on a pCPU of the mask, or NULL. It
 * stays in the queue: rq_remove() is next. */
struct sched_entity *rq_steal(const struct run_queue *rq, uint64_t cpus);

#endif
