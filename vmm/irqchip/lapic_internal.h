#ifndef BULKHEAD_VMM_IRQCHIP_LAPIC_INTERNAL_H
#define BULKHEAD_VMM_IRQCHIP_LAPIC_INTERNAL_H

/* Shared by the lapic*.c files only. */

#include "vmm/irqchip/lapic.h"

/* Vectors below this one are illegal in messages (SDM vol. 3, 10.5.2). */
#define LAPIC_FIRST_VECTOR 16

/* Notes ESR bits and sends the LVT error interrupt. */
void lapic_error(struct lapic *l, uint32_t esr_bits);

/* Sends the interrupt of an LVT entry with fixed delivery, unless it is masked. */
void lapic_deliver_lvt(struct lapic *l, uint32_t lvt_offset);

/* The timer's register accesses. `now` as everywhere. */
void lapic_timer_reset(struct lapic *l);
void lapic_timer_write_divide(struct lapic *l, uint32_t offset, uint32_t value, uint64_t now);
void lapic_timer_write_lvt(struct lapic *l, uint32_t value, uint64_t now);

#endif
