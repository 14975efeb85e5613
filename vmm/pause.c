#include "vmm/pause.h"

#include "vmm/exit.h"
#include "vmm/mail.h"
#include "vmm/sched.h"

/* Of one that another pCPU owns, it may be over at any time: what is done then is no harm. */
static bool waits_for_turn(const struct vcpu *v)
{
    return __atomic_load_n(&v->mail.queued, __ATOMIC_RELAXED);
}

bool pause_yield_to(struct vcpu *v, struct vcpu *to)
{
    if (to == v || !waits_for_turn(to))
        return false;
    if (vcpu_is_here(to))
        sched_prefer(to);
    else
        mail_post(to, POSTED_YIELD_TO); /* that needs no kick: the vCPU is queued */
    sched_give_way();
    return true;
}

/* Who holds the lock, nobody knows; but a vCPU that waits for its turn may, and one that runs will
 * give it back by itself. Round, beginning behind the one that was chosen last; one whose place is
 * on this pCPU goes first, as it can have that at once. */
static struct vcpu *choose(const struct vcpu *v)
{
    const struct vm *vm = v->vm;
    unsigned int last = __atomic_load_n(&vm->last_boosted, __ATOMIC_RELAXED);
    struct vcpu *elsewhere = NULL;

    for (unsigned int i = 1; i <= vm->vcpu_count; i++) {
        struct vcpu *at = vm->vcpus[(last + i) % vm->vcpu_count];

        if (at == v || !waits_for_turn(at))
            continue;
        if (vcpu_is_here(at))
            return at;
        if (!elsewhere)
            elsewhere = at;
    }
    return elsewhere;
}

/* The PAUSE is executed again: the CPU counts anew. */
enum exit_action exit_pause(struct vcpu *v)
{
    struct vcpu *chosen = choose(v);

    if (chosen) {
        __atomic_store_n(&v->vm->last_boosted, chosen->id, __ATOMIC_RELAXED);
        (void)pause_yield_to(v, chosen);
    }
    return EXIT_RESUME;
}
