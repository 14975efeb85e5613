#ifndef BULKHEAD_ARCH_X86_SPECULATION_H
#define BULKHEAD_ARCH_X86_SPECULATION_H

/* Defences of the core, and of one VM against another, against what a CPU does speculatively
 * (docs/architecture.md, "Speculation"). `off=` on the core's command line turns them off. */

#include "lib/macros.h"

enum defence { /* as in defence.inc */
               DEFENCE_IBRS,
               DEFENCE_RETPOLINE,
               DEFENCE_RSB,
               DEFENCE_IBPB,
               DEFENCE_VERW,
               DEFENCE_L1D,
               DEFENCE_COUNT
};

enum defence_state { DEFENCE_ON, DEFENCE_NOT_NEEDED, DEFENCE_NOT_OFFERED, DEFENCE_TURNED_OFF };

#define SPECULATION_AUTOMATIC_IBRS BIT(8) /* in fe21_eax */

/* What the CPU says of itself; 0 where it has no such leaf or register. */
struct speculation_cpu {
    bool intel;
    uint32_t f7_ebx, f7_edx;    /* CPUID 7.0 */
    uint32_t fe8_ebx;           /* CPUID 80000008h */
    uint32_t fe21_eax;          /* CPUID 80000021h */
    uint64_t arch_capabilities; /* IA32_ARCH_CAPABILITIES */
};

extern const char *const defence_names[DEFENCE_COUNT];

/* Bits of enum defence: not to be used; to be used even if not needed. Before speculation_init().
 */
extern uint32_t defences_off, defences_on;

/* Decides on each defence; `off` and `on` as above, and `off` wins. */
void speculation_choose(const struct speculation_cpu *cpu, uint32_t off, uint32_t on,
                        enum defence_state state[DEFENCE_COUNT]);

/* Chooses for this machine, logs it and patches the core's code accordingly. Once, as long as the
 * boot's page tables let code be written. */
void speculation_init(void);

/* Each CPU, at boot: what is turned on once and stays on, in guests too. */
void speculation_init_cpu(void);

/* Before a vCPU of the VM with this serial number is loaded on this CPU: when another ran there
 * last, nothing that it left in predictors and L1 is left. */
void speculation_enter_vm(uint64_t serial);

/* Empties the L1 data cache, where guests could read it. */
void speculation_flush_l1d(void);

#endif
