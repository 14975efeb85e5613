#include "vmm/checks.h"

#include "arch/x86/interrupt.h"
#include "arch/x86/percpu.h"
#include "arch/x86/smp.h"
#include "arch/x86/time.h"
#include "lib/log.h"
#include "vmm/vm.h"
#include "vmm/worst.h"

/* Each CPU writes its own; whoever prints them may find one half written. */
static struct worst_table tables[MAX_PCPUS];

static void note(struct worst *worst, const struct worst *found)
{
    uint64_t ns = tsc_span_to_ns(found->cycles);

    if (worst_note(worst, found, ns_span_to_tsc(HANDLER_BOUND_NS)))
        log_warn("checks: CPU %u: %s took %llu ns, expected at most %u%s%s", this_cpu->id,
                 found->what, LLU(ns), HANDLER_BOUND_NS, found->vm ? ": VM " : "",
                 found->vm ? found->vm : "");
}

void checks_exit(const struct exit_stats *stats, uint16_t offset, uint32_t cycles)
{
    const struct vcpu *v = CONTAINER_OF(stats, struct vcpu, stats);
    enum exit_kind kind = offset / STAT_OFFSET(1);

    note(&tables[this_cpu->id].entries[kind], &(struct worst){.what = stat_kind_name(kind),
                                                              .cycles = cycles,
                                                              .vm = vm_name(v->vm),
                                                              .serial = v->vm->serial,
                                                              .rip = v->rip});
}

void checks_step(const char *name, uint64_t cycles)
{
    struct worst *worst = worst_step(&tables[this_cpu->id], name);

    if (worst)
        note(worst, &(struct worst){.what = name, .cycles = cycles});
}

void checks_owner(const struct vcpu *v)
{
    unsigned int owner = __atomic_load_n(&v->cpu, __ATOMIC_RELAXED);

    if (owner != this_cpu->id && !spin_machine_ends())
        core_panic("vCPU %u of %s belongs to CPU %u, and is touched by CPU %u", v->id,
                   vm_name(v->vm), owner, this_cpu->id);
}

void checks_home(const struct vm *vm)
{
    if (vm->home != this_cpu->id && !spin_machine_ends())
        core_panic("%s is at home on CPU %u, and its state is changed by CPU %u", vm_name(vm),
                   vm->home, this_cpu->id);
}

void checks_print(emit_fn *emit)
{
    emit_line(emit, "the longest since boot; bound: %u ns", HANDLER_BOUND_NS);
    for (unsigned int i = 0; i < smp_cpu_count(); i++)
        worst_print(&tables[i], i, ns_span_to_tsc(HANDLER_BOUND_NS), emit);
}
