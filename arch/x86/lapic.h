#ifndef BULKHEAD_ARCH_X86_LAPIC_H
#define BULKHEAD_ARCH_X86_LAPIC_H

/* The machine's local APIC, as far as the core needs it: a one-shot timer and EOI. Each function
 * acts on the CPU that calls it, with interrupts off. */

#include "lib/macros.h"

/* Vectors that the core uses (SDM vol. 3, 11.5.1: above 31; the class gives the priority). */
#define VECTOR_UART     0x40
#define VECTOR_TIMER    0x50 /* and in arch/x86/entry.asm */
#define VECTOR_SPURIOUS 0xff

/* Enables the LAPIC in the mode that firmware left it in, masks its local interrupts, and measures
 * or chooses its timer. Returns 0 or -BH_ENOTSUP when there is none. */
MUST_CHECK int lapic_hw_init(uint64_t mmio_base);

uint32_t lapic_hw_id(void);

void lapic_hw_eoi(void);

/* Interrupts with VECTOR_TIMER at or soon after `deadline` (TSC); TIMER_NEVER turns it off. A
 * deadline farther away than the counter reaches comes early: the caller looks and arms again. */
void lapic_hw_timer_arm(uint64_t deadline);

#endif
