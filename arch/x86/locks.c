/* What locks need of the machine. */

#include "arch/x86/percpu.h"
#include "arch/x86/smp.h"
#include "lib/spinlock.h"

struct held_locks *spin_held(void)
{
    return &this_cpu->held_locks;
}

bool spin_machine_ends(void)
{
    if (likely(!smp_is_ending()))
        return false;
    smp_claim_end();
    return true;
}
