#ifndef BULKHEAD_ARCH_X86_DEBUG_REGISTERS_H
#define BULKHEAD_ARCH_X86_DEBUG_REGISTERS_H

/* A guest's DR0..3, which are put on the CPU when the guest first uses them after it got the CPU.
 */

#include "vmm/vcpu.h"

#define DR6_INIT 0xffff0ff0ull
#define DR7_INIT 0x400ull
#define DR6_BS   BIT64(14)
#define DR7_GD   BIT64(13)

#define DR6_BREAKPOINTS 0xfull

/* DR7 arms a breakpoint. */
#define DR7_ARMED 0xffull

/* Puts the vCPU's DR0..3 on this CPU, and takes them back. */
void debug_registers_load(struct vcpu *v);
void debug_registers_save(struct vcpu *v);

#endif
