#ifndef BULKHEAD_VMM_IPI_H
#define BULKHEAD_VMM_IPI_H

/* Interrupt messages between a VM's vCPUs and from its I/O APIC. */

#include "vmm/vm.h"

/* An IPI by the vCPU `from`, which this pCPU owns. */
void ipi_send(struct vcpu *from, const struct lapic_ipi *ipi);

/* A message of the I/O APIC, on any pCPU that has the VM's devices. */
void ipi_from_ioapic(struct vm *vm, const struct ioapic_message *msg);

/* The same interrupt for each vCPU of a set, bit n: vCPU `first` + n. KVM's paravirtual IPI.
 * Returns how many there were. */
unsigned int ipi_send_set(struct vcpu *from, uint64_t set, uint64_t first, uint32_t icr);

#endif
