#ifndef CONFORM_CHECK_H
#define CONFORM_CHECK_H

/* Checks, one line each on the console, and what the groups share. A check's name is "group.name".
 */

#include "checks.h"

#define EXC_DE  0
#define EXC_DB  1
#define EXC_NMI 2
#define EXC_BP  3
#define EXC_OF  4
#define EXC_BR  5
#define EXC_UD  6
#define EXC_NM  7
#define EXC_DF  8
#define EXC_TS  10
#define EXC_NP  11
#define EXC_SS  12
#define EXC_GP  13
#define EXC_PF  14
#define EXC_MF  16
#define EXC_AC  17
#define EXC_XM  19

#define PF_P    1u
#define PF_W    2u
#define PF_U    4u
#define PF_RSVD 8u
#define PF_I    16u

#define CR0_PE BIT64(0)
#define CR0_MP BIT64(1)
#define CR0_EM BIT64(2)
#define CR0_TS BIT64(3)
#define CR0_ET BIT64(4)
#define CR0_NE BIT64(5)
#define CR0_WP BIT64(16)
#define CR0_AM BIT64(18)
#define CR0_NW BIT64(29)
#define CR0_CD BIT64(30)
#define CR0_PG BIT64(31)

#define CR4_TSD      BIT64(2)
#define CR4_DE       BIT64(3)
#define CR4_PSE      BIT64(4)
#define CR4_PAE      BIT64(5)
#define CR4_MCE      BIT64(6)
#define CR4_PGE      BIT64(7)
#define CR4_UMIP     BIT64(11)
#define CR4_VMXE     BIT64(13)
#define CR4_FSGSBASE BIT64(16)
#define CR4_PCIDE    BIT64(17)
#define CR4_OSXSAVE  BIT64(18)
#define CR4_SMEP     BIT64(20)
#define CR4_SMAP     BIT64(21)

#define MSR_TSC            0x10u
#define MSR_APIC_BASE      0x1bu
#define MSR_TSC_ADJUST     0x3bu
#define MSR_PAT            0x277u
#define MSR_TSC_DEADLINE   0x6e0u
#define MSR_EFER           0xc0000080u
#define MSR_STAR           0xc0000081u
#define MSR_LSTAR          0xc0000082u
#define MSR_CSTAR          0xc0000083u
#define MSR_SFMASK         0xc0000084u
#define MSR_FS_BASE        0xc0000100u
#define MSR_GS_BASE        0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_TSC_AUX        0xc0000103u
#define EFER_SCE           BIT64(0)
#define EFER_LME           BIT64(8)
#define EFER_LMA           BIT64(10)
#define EFER_NXE           BIT64(11)
#define EFER_SVME          BIT64(12)

#define NONCANONICAL 0x8000000000000000ull

/* Features, from CPUID, read once. */
struct features {
    bool amd, native, tcg; /* tcg: QEMU itself */
    bool x2apic, tsc_deadline, xsave, avx, rdtscp, pcid, invpcid, smep, smap, umip, fsgsbase;
    bool tsc_adjust, sse3, nx, pge, svm;
};
extern struct features has;

/* One piece of code and the exception that it must end in. */
struct trap_row {
    const char *name;
    const uint8_t *code;
    int vector; /* or GUEST_RETURNED */
    uint32_t error;
    uint16_t at; /* where the exception's RIP must point: bytes behind `code` */
    uint16_t cs; /* 0: SEL_CODE64 */
    struct guest_regs regs;
};

/* Runs the code and compares vector, error code and RIP. */
void check_trap(const struct trap_row *row);
void check_traps(const struct trap_row *rows, size_t count);

/* An instruction that must not or must fault: the vector, GUEST_RETURNED if none. */
int try_rdmsr(uint32_t msr, uint64_t *value);
int try_wrmsr(uint32_t msr, uint64_t value);
int try_write_cr0(uint64_t value);
int try_write_cr3(uint64_t value);
int try_write_cr4(uint64_t value);
int try_xsetbv(uint32_t reg, uint64_t value);

/* The groups. */
void group_boot(void);
void group_cpuid(void);
void group_msr(void);
void group_exception(void);
void group_pagefault(void);
void group_privilege(void);
void group_interrupt(void);
void group_nmi(void);
void group_lapic(void);
void group_timer(void);
void group_pv_eoi(void);
void group_paravirtual(void);
void group_pic(void);
void group_modes(void);
void group_paging32(void);
void group_v86(void);
void group_task(void);
void group_step(void);
void group_debug(void);
void group_string(void);
void group_mmio(void);
void group_cr(void);
void group_tlb(void);
void group_code(void);
void group_tsc(void);
void group_fpu(void);
void group_x2apic(void);

#endif
