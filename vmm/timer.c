#include "vmm/timer.h"

void timer_init(struct timer *timer, void (*expired)(struct timer *timer, uint64_t now))
{
    *timer = (struct timer){.deadline = TIMER_NEVER, .expired = expired};
}

void timer_cancel(struct timer *timer)
{
    struct timer_queue *queue = timer->queue;

    if (!queue) {
        return;
    }
    if (timer->prev) {
        timer->prev->next = timer->next;
    } else if (queue->due == timer) {
        queue->due = timer->next;
    } else {
        queue->first = timer->next;
    }
    if (timer->next) {
        timer->next->prev = timer->prev;
    }
    timer->queue = NULL;
    timer->next = NULL;
    timer->prev = NULL;
}

void timer_arm(struct timer_queue *queue, struct timer *timer, uint64_t deadline)
{
    struct timer *prev = NULL;
    struct timer *next;

    timer_cancel(timer);
    timer->deadline = deadline;
    if (deadline == TIMER_NEVER) {
        return;
    }
    for (next = queue->first; next && next->deadline <= deadline; next = next->next) {
        prev = next;
    }
    timer->queue = queue;
    timer->prev = prev;
    timer->next = next;
    if (prev) {
        prev->next = timer;
    } else {
        queue->first = timer;
    }
    if (next) {
        next->prev = timer;
    }
}

void timer_run(struct timer_queue *queue, uint64_t now)
{
    struct timer *last = NULL;

    for (struct timer *t = queue->first; t && t->deadline <= now; t = t->next) {
        last = t;
    }
    if (!last) {
        return;
    }
    queue->due = queue->first;
    queue->first = last->next;
    if (queue->first) {
        queue->first->prev = NULL;
    }
    last->next = NULL;
    while (queue->due) {
        struct timer *timer = queue->due;
        timer_cancel(timer);
        timer->expired(timer, now);
    }
}
