#include "arch/x86/debug_registers.h"

#include "arch/x86/asm.h"

void debug_registers_load(struct vcpu *v)
{
    write_dr0(v->dr[0]);
    write_dr1(v->dr[1]);
    write_dr2(v->dr[2]);
    write_dr3(v->dr[3]);
    v->dr_live = true;
}

void debug_registers_save(struct vcpu *v)
{
    v->dr[0] = read_dr0();
    v->dr[1] = read_dr1();
    v->dr[2] = read_dr2();
    v->dr[3] = read_dr3();
    v->dr_live = false;
}
