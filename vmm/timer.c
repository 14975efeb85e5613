#include "vmm/timer.h"

void timer_init(struct timer *timer, void (*expired)(struct timer *timer, uint64_t now))
{
    *timer = (struct timer){.node.key = TIMER_NEVER, .expired = expired};
}

void timer_cancel(struct timer *timer)
{
    if (timer_is_armed(timer))
        treap_remove(&timer->node);
}

/* Apart from timer_arm(), so that the usual cases there save no registers. */
static NOINLINE void move(struct timer_queue *queue, struct timer *timer, uint64_t deadline)
{
    treap_remove(&timer->node);
    timer_arm(queue, timer, deadline);
}

void timer_arm(struct timer_queue *queue, struct timer *timer, uint64_t deadline)
{
    const struct treap_node *next;

    /* The usual case: the next one to expire stays that. */
    if (queue->armed.first == &timer->node) {
        next = treap_second(&timer->node);
        if (next ? deadline < next->key : deadline != TIMER_NEVER) {
            timer->deadline = deadline;
            return;
        }
    }
    if (timer_is_armed(timer)) {
        move(queue, timer, deadline);
        return;
    }
    timer->deadline = deadline;
    if (deadline != TIMER_NEVER)
        treap_insert(&queue->armed, &timer->node);
}

static void expire(struct treap_node *node, uint64_t now)
{
    struct timer *timer = CONTAINER_OF(node, struct timer, node);

    treap_remove(node);
    timer->expired(timer, now);
}

/* All that are due at the outset. */
static NOINLINE void expire_several(struct timer_queue *queue, uint64_t now)
{
    struct treap_node *first = queue->armed.first;

    for (; first && first->key <= now; first = queue->armed.first) {
        treap_remove(first);
        treap_insert(&queue->due, first);
    }
    while (queue->due.first)
        expire(queue->due.first, now);
}

void timer_run(struct timer_queue *queue, uint64_t now)
{
    struct treap_node *first = queue->armed.first, *next;

    if (!first || first->key > now)
        return;
    next = treap_second(first);
    /* The usual case: it is the only one. */
    if (likely(!next || next->key > now))
        expire(first, now);
    else
        expire_several(queue, now);
}
