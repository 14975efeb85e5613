/* The slots of [cpu N]: VM.VCPU OFFSET LENGTH [share]. */

#include "lib/string.h"
#include "vmm/config_internal.h"

/* NAME.NUMBER; a name may have dots, too. */
INIT static bool take_vcpu(struct text_span who, struct text_span *name, uint16_t *vcpu)
{
    size_t dot = who.len;
    uint64_t number;

    while (dot > 0 && who.at[dot - 1] != '.')
        dot--;
    if (dot < 2 || dot > CONFIG_NAME_MAX)
        return false;
    *name = (struct text_span){who.at, dot - 1};
    if (!text_decimal((struct text_span){who.at + dot, who.len - dot}, &number) ||
        number >= VM_MAX_VCPUS)
        return false;
    *vcpu = (uint16_t)number;
    return true;
}

INIT static bool take_time(struct text_span s, uint32_t min, uint32_t *us)
{
    uint64_t time;

    if (!text_duration(s, &time) || time < min || time > CONFIG_FRAME_MAX_US)
        return false;
    *us = (uint32_t)time;
    return true;
}

INIT static bool take_slot(struct text_span value, struct text_span *name, struct config_slot *slot)
{
    struct text_span who, offset, length, share;

    text_split_word(value, &who, &share);
    text_split_word(share, &offset, &share);
    text_split_word(share, &length, &share);
    slot->share = share.len > 0;
    return take_vcpu(who, name, &slot->vcpu) && take_time(offset, 0, &slot->offset_us) &&
           take_time(length, CONFIG_SLOT_MIN_US, &slot->length_us) &&
           (!slot->share || text_equals(share, "share"));
}

/* Keeps the CPU's slots sorted by offset, and those with the same in the order of the file. */
INIT static void insert(struct config_parser *p, const struct config_slot *slot)
{
    struct config_slot *to = &p->out->slots[p->slots_used];

    for (; to > p->cpu->slots && to[-1].offset_us > slot->offset_us; to--)
        *to = to[-1];
    *to = *slot;
    p->slots_used++;
    p->cpu->slot_count++;
}

INIT void config_set_slot(struct config_parser *p, struct text_span value)
{
    const unsigned int cpu = (unsigned int)(p->cpu - p->out->cpus);
    struct config_slot slot = {.line = p->line, .cpu = (uint16_t)cpu};
    struct text_span name;

    if (p->cpu->slot_count == CONFIG_CPU_SLOTS_MAX) {
        config_error(p, p->line, "slot: found a %dth in [cpu %u], expected at most %d",
                     CONFIG_CPU_SLOTS_MAX + 1, cpu, CONFIG_CPU_SLOTS_MAX);
        return;
    }
    if (p->slots_used == CONFIG_SLOTS_MAX) {
        config_error(p, p->line, "slot: found a %dth, expected at most %d in the whole file",
                     CONFIG_SLOTS_MAX + 1, CONFIG_SLOTS_MAX);
        return;
    }
    if (!take_slot(value, &name, &slot)) {
        config_bad_value(p, value);
        return;
    }
    slot.vm_name = config_keep(p, name);
    if (slot.vm_name != NULL)
        insert(p, &slot);
}
