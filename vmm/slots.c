#include "vmm/slots.h"

#include "lib/error.h"
#include "vmm/run_queue.h"

static void move_to(struct slot_table *t, unsigned int at)
{
    t->at = at;
    t->begin = t->frame_start + t->slots[at].offset;
    t->end = t->begin + t->slots[at].length;
    t->begun = false;
}

static bool ready_since(const struct sched_entity *owner, uint64_t when)
{
    return owner && entity_wants_cpu(owner) && owner->woken <= when;
}

static void step(struct slot_table *t)
{
    if (!t->begun && ready_since(t->slots[t->at].owner, t->begin))
        t->slots[t->at].missed++;
    if (t->at + 1 < t->count) {
        move_to(t, t->at + 1);
    } else {
        t->frame_start += t->frame;
        move_to(t, 0);
    }
}

/* The CPU was away, or idle, for whole frames: all of them but the last at once. */
static NOINLINE void skip_frames(struct slot_table *t, uint64_t now)
{
    uint64_t skipped = (now - t->frame_start) / t->frame - 1;

    for (unsigned int i = 0; i < t->count; i++)
        if (ready_since(t->slots[i].owner, t->begin))
            t->slots[i].missed += skipped - (i == t->at && t->begun);
    t->frame_start += skipped * t->frame;
    move_to(t, t->at);
}

static uint64_t longest_gap(const struct slot_table *t)
{
    uint64_t longest = 0, from = 0;

    for (unsigned int i = 0; i < t->count; i++) {
        longest = MAX(longest, t->slots[i].offset - from);
        from = t->slots[i].offset + t->slots[i].length;
    }
    return MAX(longest, t->frame - from + t->slots[0].offset); /* over the frame's end */
}

int slots_init(struct slot_table *t, struct slot *slots, unsigned int count, uint64_t frame,
               uint64_t epoch, uint64_t now)
{
    uint64_t free_from = 0;

    for (unsigned int i = 0; i < count; i++) {
        const struct slot *s = &slots[i];
        if (s->length == 0 || s->offset < free_from || s->offset > frame ||
            s->length > frame - s->offset)
            return -BH_EINVAL;
        free_from = s->offset + s->length;
    }
    if (count == 0)
        return -BH_EINVAL;
    *t = (struct slot_table){.slots = slots, .count = count, .frame = frame};
    t->gap = longest_gap(t);
    t->frame_start = now > epoch ? now - (now - epoch) % frame : epoch;
    move_to(t, 0);
    while (now >= t->end) {
        t->begun = true;
        step(t);
    }
    t->begun = now > t->begin;
    return 0;
}

struct slot *slots_advance(struct slot_table *t, uint64_t now)
{
    if (unlikely(now >= t->end)) {
        if (unlikely(now - t->frame_start >= 2 * t->frame))
            skip_frames(t, now);
        do {
            step(t);
        } while (now >= t->end);
    }
    return now >= t->begin ? &t->slots[t->at] : NULL;
}

void slots_count_start(struct slot_table *t, uint64_t now)
{
    struct slot *s = &t->slots[t->at];

    if (t->begun)
        return;
    t->begun = true;
    if (!ready_since(s->owner, t->begin))
        return;
    s->starts++;
    s->late_sum += now - t->begin;
    s->late_max = MAX(s->late_max, now - t->begin);
}
