#ifndef BULKHEAD_VMM_BALANCE_H
#define BULKHEAD_VMM_BALANCE_H

/* Which pCPU a vCPU runs on. A pCPU with more to do than another one gives vCPUs away, by mail; no
 * pCPU reaches into another's queue. */

#include "arch/x86/percpu.h"
#include "vmm/mail.h"
#include "vmm/vcpu.h"

struct config;
struct slot_table;

/* Builds the pCPUs' tables of slots, whose VMs exist. All begin at TSC `epoch`. 0 or -BH_ENOMEM.
 * Boot CPU, before the others run VMs. */
MUST_CHECK int balance_init(const struct config *config, uint64_t epoch);

/* The pCPU for what is nobody's: the console and the monitor. One that VMs of class fair have for
 * themselves, if there is one. Boot CPU, when the others have started. */
unsigned int balance_service_cpu(const struct config *config);

/* A pCPU's table, or NULL. */
struct slot_table *slot_table_of(unsigned int cpu);

/* The pCPU for a vCPU that starts, whose lower-numbered siblings have theirs. On its VM's home. */
unsigned int balance_choose(const struct vcpu *v);

/* A vCPU of this pCPU has woken up: sees to it that one goes to a pCPU that is idle. */
void balance_woken(const struct vcpu *v);

void balance_give(uint64_t load);

/* Tells the others how much this pCPU has to do and, now and then, gives some of it away. Run loop,
 * with no vCPU running. */
static inline void balance(void)
{
    uint64_t load = rq_load(&this_cpu->queue), *shown = &this_cpu->mail->load;

    if (*shown != load)
        __atomic_store_n(shown, load, __ATOMIC_RELAXED);
    if (unlikely(this_cpu->queue.ready > 1))
        balance_give(load);
}

#endif
