#ifndef BULKHEAD_ARCH_X86_DEBUG_REGISTERS_H
#define BULKHEAD_ARCH_X86_DEBUG_REGISTERS_H

/* A guest's DR0..3, which are put on the CPU when the guest first uses them after it got the CPU.
 */

#include "arch/x86/asm.h"
#include "vmm/vcpu.h"

#define DR6_INIT 0xffff0ff0ull
#define DR7_INIT 0x400ull
#define DR6_BS   BIT64(14)
#define DR7_GD   BIT64(13)

#define DR6_BREAKPOINTS 0xfull

/* DR7 arms a breakpoint. */
#define DR7_ARMED 0xffull

/* Puts the vCPU's DR0..3 on this CPU, and takes them back. */
static inline void debug_registers_load(struct vcpu *v)
{
    write_dr0(v->dr[0]);
    write_dr1(v->dr[1]);
    write_dr2(v->dr[2]);
    write_dr3(v->dr[3]);
    v->dr_live = true;
}

static inline void debug_registers_save(struct vcpu *v)
{
    v->dr[0] = read_dr0();
    v->dr[1] = read_dr1();
    v->dr[2] = read_dr2();
    v->dr[3] = read_dr3();
    v->dr_live = false;
}

#endif
