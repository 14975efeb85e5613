#include "vmm/timer.h"

void timer_init(struct timer *timer, void (*expired)(struct timer *timer, uint64_t now))
{
    *timer = (struct timer){.deadline = TIMER_NEVER, .expired = expired};
}

void timer_cancel(struct timer *timer)
{
    if (!timer->link)
        return;
    *timer->link = timer->next;
    if (timer->next)
        timer->next->link = timer->link;
    timer->link = NULL;
    timer->next = NULL;
}

void timer_arm(struct timer_queue *queue, struct timer *timer, uint64_t deadline)
{
    struct timer **link = &queue->first;

    /* The usual case: the next one to expire stays that. */
    if (timer->link == link && deadline != TIMER_NEVER &&
        (!timer->next || deadline < timer->next->deadline)) {
        timer->deadline = deadline;
        return;
    }
    timer_cancel(timer);
    timer->deadline = deadline;
    if (deadline == TIMER_NEVER)
        return;
    while (*link && (*link)->deadline <= deadline)
        link = &(*link)->next;
    timer->link = link;
    timer->next = *link;
    if (timer->next)
        timer->next->link = &timer->next;
    *link = timer;
}

void timer_run(struct timer_queue *queue, uint64_t now)
{
    struct timer **end = &queue->first;

    struct timer *first = queue->first;

    if (!first || first->deadline > now)
        return;
    /* The usual case: it is the only one. */
    if (likely(!first->next || first->next->deadline > now)) {
        timer_cancel(first);
        first->expired(first, now);
        return;
    }
    while (*end && (*end)->deadline <= now)
        end = &(*end)->next;
    queue->due = queue->first;
    queue->due->link = &queue->due;
    queue->first = *end;
    if (queue->first)
        queue->first->link = &queue->first;
    *end = NULL;
    while (queue->due) {
        struct timer *timer = queue->due;
        timer_cancel(timer);
        timer->expired(timer, now);
    }
}
