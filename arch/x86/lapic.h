#ifndef BULKHEAD_ARCH_X86_LAPIC_H
#define BULKHEAD_ARCH_X86_LAPIC_H

/* The machine's local APIC, as far as the core needs it: a one-shot timer, EOI, IPIs. Each function
 * acts on the CPU that calls it, with interrupts off. */

#include "lib/macros.h"

/* Vectors that the core uses (SDM vol. 3, 11.5.1: above 31; the class gives the priority). */
#define VECTOR_UART     0x40
#define VECTOR_TIMER    0x50 /* and in arch/x86/entry.asm */
#define VECTOR_KICK     0x60
#define VECTOR_STOP     0xf0
#define VECTOR_WATCHDOG 0xf1 /* boot only: arch/x86/watchdog.h */
#define VECTOR_SPURIOUS 0xff

#define CPUID1_ECX_X2APIC       BIT(21)
#define CPUID1_ECX_TSC_DEADLINE BIT(24)

#define XAPIC_ID_MAX 254u /* 255 is the broadcast address (SDM vol. 3, 11.6.1) */

/* Interrupt commands (SDM vol. 3, 11.6.1): level "assert", which all but INIT's other half have. */
#define IPI_FIXED(vector)    (0x4000u | (vector))
#define IPI_NMI              0x4400u
#define IPI_INIT             0x4500u
#define IPI_STARTUP(address) (0x4600u | (uint32_t)((address) / PAGE_SIZE_4K))

/* Use x2APIC mode, if the CPU has it, even if firmware left it off. Before lapic_hw_set_up(). */
extern bool lapic_hw_want_x2apic;

/* Enables the LAPIC in the mode that firmware left it in, and masks its local interrupts and the
 * 8259s. Its timer may be early or late. Boot CPU, boot only. Returns 0 or a negative error. */
MUST_CHECK int lapic_hw_init(void);

/* Chooses the mode, and measures the timer, when the TSC's frequency is known. Interrupts off.
 * Returns 0 or -BH_ENOTSUP when the timer does not count. */
MUST_CHECK int lapic_hw_set_up(void);

/* Whether the timer's vector is VECTOR_WATCHDOG, and all of lower classes wait. Interrupts off. */
void lapic_hw_watch(bool watch);

/* The same for another CPU, whose LAPIC is in the boot CPU's mode. */
void lapic_hw_init_cpu(void);

/* Where its registers are mapped; 0 in x2APIC mode. */
uint64_t lapic_hw_registers(void);

/* The highest APIC id that can be sent to. */
uint32_t lapic_hw_max_id(void);

/* Sends an IPI_* to the CPU with that APIC id. What was stored before is visible to it then. */
void lapic_hw_send(uint32_t apic_id, uint32_t command);

/* For a handler that may interrupt lapic_hw_send(): the half of a command that is written first. */
uint32_t lapic_hw_destination(void);
void lapic_hw_set_destination(uint32_t destination);

uint32_t lapic_hw_id(void);

void lapic_hw_eoi(void);

/* Interrupts with VECTOR_TIMER at or soon after `deadline` (TSC); TIMER_NEVER turns it off. A
 * deadline farther away than the counter reaches comes early: the caller looks and arms again. */
void lapic_hw_timer_arm(uint64_t deadline);

#endif
