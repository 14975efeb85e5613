#ifndef BULKHEAD_VMM_TIMER_H
#define BULKHEAD_VMM_TIMER_H

/* One-shot timers, a queue per CPU, ordered by deadline. Only the CPU that owns a queue touches it,
 * with interrupts off. Deadlines are TSC values of the machine. */

#include "lib/treap.h"

#define TIMER_NEVER UINT64_MAX

struct timer_queue;

struct timer {
    union {
        struct treap_node node;
        uint64_t deadline; /* the node's key */
    };
    void (*expired)(struct timer *timer, uint64_t now);
};

static_assert(offsetof(struct timer, node.key) == offsetof(struct timer, deadline), "union");

/* All zero: empty. One timer may be held apart from the others, so that arming it costs the same
 * however many there are. */
struct timer_queue {
    struct treap armed;
    struct treap apart; /* the one that is held, if it is armed */
    struct treap due;   /* while timer_run works: taken out, not yet called */
    struct timer *held; /* or NULL */
};

/* Prepares a timer; not armed. */
void timer_init(struct timer *timer, void (*expired)(struct timer *timer, uint64_t now));

/* Arms for `deadline`, or re-arms. TIMER_NEVER cancels. */
void timer_arm(struct timer_queue *queue, struct timer *timer, uint64_t deadline);

/* Disarms; a timer that is not armed is left alone. In a handler, also one that is due as well but
 * has not had its call yet. */
void timer_cancel(struct timer *timer);

/* Holds one timer apart, or none (NULL), instead of the one before. */
void timer_hold(struct timer_queue *queue, struct timer *timer);

static inline bool timer_is_armed(const struct timer *timer)
{
    return timer->node.in != NULL;
}

/* Earliest deadline, or TIMER_NEVER. */
static inline uint64_t timer_next(const struct timer_queue *queue)
{
    uint64_t next = queue->apart.first ? queue->apart.first->key : TIMER_NEVER;

    return queue->armed.first ? MIN(next, queue->armed.first->key) : next;
}

/* Calls what is due at `now` in the order of deadlines, each at most once: a timer that a handler
 * arms for a time that is past, too, waits for the next call, so that one call is bounded. Handlers
 * may arm and cancel any timer of the queue; they may not call timer_run. */
void timer_run(struct timer_queue *queue, uint64_t now);

#endif
