#ifndef BULKHEAD_ARCH_X86_FPU_H
#define BULKHEAD_ARCH_X86_FPU_H

/* x87, SSE, AVX and whatever else XSAVE covers. The core uses none of it, so a vCPU's state stays
 * in the registers until another vCPU comes. */

#include "vmm/vcpu.h"

/* Finds out what the CPU has and enables it in CR4 and XCR0. Boot CPU; the others do the latter. */
void fpu_init(void);
void fpu_init_cpu(void);

/* State components that the machine has (XCR0 bits); 0 without XSAVE. */
uint64_t fpu_machine_xcr0(void);

/* Allocates the save area with the state after RESET. 0 or -BH_ENOMEM. */
MUST_CHECK int fpu_create(struct vcpu *v);
void fpu_reset(struct vcpu *v);

void fpu_load(struct vcpu *v);
void fpu_save(struct vcpu *v);

#endif
