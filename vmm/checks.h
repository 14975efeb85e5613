#ifndef BULKHEAD_VMM_CHECKS_H
#define BULKHEAD_VMM_CHECKS_H

/* CHECKS builds: how long exits (stat_exit()) and steps of the run loop take at worst. */

#include "arch/x86/asm.h"
#include "lib/checks.h"
#include "lib/emit.h"

struct vcpu;
struct vm;

/* What an exit or a step is to stay below: so long another VM on the CPU may have to wait beyond
 * the end of a slice. The first of a kind that is longer is logged. */
#define HANDLER_BOUND_NS 100000u

/* A step of the run loop, `name` a constant; runs `call`, between two readings of the clock. */
#define CHECKED_STEP(name, call)                   \
    do {                                           \
        uint64_t step_start = checks_step_begin(); \
        call;                                      \
        checks_step_end(name, step_start);         \
    } while (0)

void checks_step(const char *name, uint64_t cycles);

static inline uint64_t checks_step_begin(void)
{
    return CHECKS ? rdtsc() : 0;
}

static inline void checks_step_end(const char *name, uint64_t start)
{
    if (CHECKS)
        checks_step(name, rdtsc() - start);
}

/* CHECKS builds end the machine when a pCPU touches a vCPU that it does not own, or changes the
 * state of a VM whose home it is not. */
void checks_owner(const struct vcpu *v);
void checks_home(const struct vm *vm);
static inline void assert_owner(const struct vcpu *v)
{
    if (CHECKS)
        checks_owner(v);
}
static inline void assert_home(const struct vm *vm)
{
    if (CHECKS)
        checks_home(vm);
}

/* The longest on each CPU. */
void checks_print(emit_fn *emit);

#endif
