#ifndef BULKHEAD_VMM_VM_LIFE_H
#define BULKHEAD_VMM_VM_LIFE_H

/* How VMs start and end. A VM's home pCPU does it, in its run loop, so that the cost falls on the
 * VM's own CPUs; the vCPUs' owners take them on and off their CPUs, by mail. */

#include "vmm/mail.h"
#include "vmm/vm.h"

/* Looks after the VMs whose home this pCPU is: what was asked for, and a piece of the scrubbing.
 * Run loop only, with no vCPU running. */
void vm_attend(void);

/* On the vCPU's owner. */
void vm_start_vcpu(struct vcpu *v);
void vm_stop_vcpu(struct vcpu *v);
void vm_flush_vcpu(struct vcpu *v);
void vm_dump_to_console(struct vcpu *v);

/* vm.c, for the home, in this order: memory; mapped, up to `limit` bytes of it; the small pieces of
 * the kernel in it, and vm->entry; up to `limit` bytes of the big ones. 0, 1 when there is more to
 * do, or a negative error after logging what is wrong. What is given back has been scrubbed, or was
 * never used. */
MUST_CHECK int vm_alloc_memory(struct vm *vm);
MUST_CHECK int vm_map_step(struct vm *vm, uint64_t limit);
MUST_CHECK int vm_load_kernel(struct vm *vm);
MUST_CHECK int vm_load_step(struct vm *vm, uint64_t limit);
void vm_free_memory(struct vm *vm);

#endif
