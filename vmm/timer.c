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

    if (likely(timer->node.in == &queue->apart && deadline != TIMER_NEVER)) {
        timer->deadline = deadline;
        return;
    }
    /* The next one to expire stays that. */
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
        treap_insert(timer == queue->held ? &queue->apart : &queue->armed, &timer->node);
}

static void change_set(struct timer *timer, struct treap *from, struct treap *to)
{
    if (timer && timer->node.in == from) {
        treap_remove(&timer->node);
        treap_insert(to, &timer->node);
    }
}

void timer_hold(struct timer_queue *queue, struct timer *timer)
{
    change_set(queue->held, &queue->apart, &queue->armed);
    change_set(timer, &queue->armed, &queue->apart);
    queue->held = timer;
}

static void expire(struct treap_node *node, uint64_t now)
{
    struct timer *timer = CONTAINER_OF(node, struct timer, node);

    treap_remove(node);
    timer->expired(timer, now);
}

static bool is_due(const struct treap_node *node, uint64_t now)
{
    return node && node->key <= now;
}

/* All that are due at the outset. */
static NOINLINE void expire_several(struct timer_queue *queue, uint64_t now)
{
    struct treap_node *first = queue->armed.first;

    if (is_due(queue->apart.first, now))
        change_set(queue->held, &queue->apart, &queue->due);
    for (; first && first->key <= now; first = queue->armed.first) {
        treap_remove(first);
        treap_insert(&queue->due, first);
    }
    while (queue->due.first)
        expire(queue->due.first, now);
}

static NOINLINE void expire_others(struct timer_queue *queue, uint64_t now)
{
    struct treap_node *first = queue->armed.first;

    if (!is_due(queue->apart.first, now) && !is_due(treap_second(first), now))
        expire(first, now);
    else
        expire_several(queue, now);
}

/* Usually it is the one that is held. */
void timer_run(struct timer_queue *queue, uint64_t now)
{
    struct timer *held = queue->held;

    if (unlikely(is_due(queue->armed.first, now))) {
        expire_others(queue, now);
    } else if (is_due(queue->apart.first, now)) {
        queue->apart = (struct treap){0};
        held->node.in = NULL;
        held->expired(held, now);
    }
}
