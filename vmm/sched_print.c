#include "vmm/sched_print.h"

#include "arch/x86/asm.h"
#include "arch/x86/smp.h"
#include "arch/x86/time.h"
#include "vmm/balance.h"
#include "vmm/mail.h"
#include "vmm/vm.h"

static uint64_t ms(uint64_t tsc)
{
    return tsc_span_to_ns(tsc) / 1000000;
}

/* To the nearest: they were microseconds. */
static uint64_t us(uint64_t tsc)
{
    return (tsc_span_to_ns(tsc) + 500) / 1000;
}

static const struct vcpu *owner_of(const struct slot *slot)
{
    return CONTAINER_OF(slot->owner, struct vcpu, sched);
}

static void print_slots(const struct slot_table *table, emit_fn *emit)
{
    for (unsigned int i = 0; i < table->count; i++) {
        const struct slot *slot = &table->slots[i];
        uint64_t starts = slot->starts;
        emit_line(
            emit,
            "  slot %llu+%llu us %s.%u%s: %llu starts, %llu missed, late by %llu ticks at most, "
            "%llu on average",
            LLU(us(slot->offset)), LLU(us(slot->length)), vm_name(owner_of(slot)->vm),
            owner_of(slot)->id, slot->share ? " share" : "", LLU(starts), LLU(slot->missed),
            LLU(slot->late_max), LLU(starts ? slot->late_sum / starts : 0));
    }
}

static void print_cpu(unsigned int cpu, emit_fn *emit)
{
    const struct slot_table *table = slot_table_of(cpu);

    emit_line(emit, "CPU %u: idle %llu ms of %llu, load %lld", cpu,
              LLU(ms(cpu_mails[cpu].idle_tsc)), LLU(time_now_ns() / 1000000),
              (long long)cpu_mails[cpu].load);
    if (table)
        print_slots(table, emit);
}

void sched_forget_slots(void)
{
    for (unsigned int i = 0; i < smp_cpu_count(); i++) {
        struct slot_table *table = slot_table_of(i);
        for (unsigned int n = 0; table && n < table->count; n++) {
            struct slot *slot = &table->slots[n];
            slot->starts = slot->late_max = slot->late_sum = slot->missed = 0;
        }
    }
}

static const char *class_of(const struct sched_entity *se)
{
    static const char *const names[] = {
        [SCHED_FAIR] = "fair", [SCHED_DEDICATED] = "dedicated", [SCHED_SLOTS] = "slots"};

    return names[se->class];
}

/* With what its present turn has added so far. */
static uint64_t ran(const struct sched_entity *se)
{
    uint64_t counted = se->ran, since = se->since, now = rdtsc();

    return counted + (se->state == ENTITY_RUNNING && now > since ? now - since : 0);
}

static void print_vcpu(const struct vcpu *v, emit_fn *emit)
{
    const struct sched_entity *se = &v->sched;
    uint64_t ran_us = us(ran(se));

    if (v->state == VCPU_STOPPED)
        return;
    emit_line(emit, "%s.%u: CPU %u, %s, weight %u, ran %llu.%03llu ms, waited %llu ms",
              vm_name(v->vm), v->id, v->cpu, class_of(se), se->weight, LLU(ran_us / 1000),
              LLU(ran_us % 1000), LLU(ms(se->waited)));
}

void sched_print(emit_fn *emit)
{
    for (unsigned int i = 0; i < smp_cpu_count(); i++)
        if (smp_is_usable(i))
            print_cpu(i, emit);
    for (unsigned int i = 0; i < vm_count; i++)
        for (unsigned int n = 0; n < vms[i]->vcpu_count; n++)
            print_vcpu(vms[i]->vcpus[n], emit);
}
