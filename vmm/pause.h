#ifndef BULKHEAD_VMM_PAUSE_H
#define BULKHEAD_VMM_PAUSE_H

/* What is done about a vCPU that waits in a loop for another one of its VM that does not run. */

#include "vmm/vm.h"

/* How long a loop of PAUSEs goes on before it exits. AMD-V: how many PAUSEs, with less than so many
 * cycles between two (APM vol. 2, 15.14.4). VT-x: TSC ticks since the first, and between two (SDM
 * vol. 3, 26.1.3). */
#define PAUSE_FILTER_COUNT 3000
#define PAUSE_FILTER_GAP   128
#define PAUSE_LOOP_WINDOW  4096
#define PAUSE_LOOP_GAP     128

/* Whether loops of PAUSEs are to exit: one on a pCPU of its own has nobody to give it to. */
static inline bool pause_is_to_exit(const struct vm *vm)
{
    return vm->vcpu_count > 1 && vm->config->sched_class != CONFIG_CLASS_DEDICATED;
}

/* `v`, which runs here, waits for `to`, of the same VM. If that waits for its turn, it gets it
 * soon, and if somebody wants this pCPU, v's turn is over. Returns whether. In exit handlers. */
bool pause_yield_to(struct vcpu *v, struct vcpu *to);

#endif
