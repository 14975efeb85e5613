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

/* Apart from timer_arm(), so that the usual case there saves no registers. */
static NOINLINE void arm_anew(struct timer_queue *queue, struct timer *timer, uint64_t deadline)
{
    timer_cancel(timer);
    timer->deadline = deadline;
    if (deadline != TIMER_NEVER)
        treap_insert(&queue->armed, &timer->node);
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
    arm_anew(queue, timer, deadline);
}

static void expire(struct treap_node *node, uint64_t now)
{
    struct timer *timer = CONTAINER_OF(node, struct timer, node);

    treap_remove(node);
    timer->expired(timer, now);
}

void timer_run(struct timer_queue *queue, uint64_t now)
{
    struct treap_node *first = queue->armed.first, *next;

    if (!first || first->key > now)
        return;
    next = treap_second(first);
    /* The usual case: it is the only one. */
    if (likely(!next || next->key > now)) {
        expire(first, now);
        return;
    }
    for (; first && first->key <= now; first = queue->armed.first) {
        treap_remove(first);
        treap_insert(&queue->due, first);
    }
    while (queue->due.first)
        expire(queue->due.first, now);
}
