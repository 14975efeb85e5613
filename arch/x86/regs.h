#ifndef BULKHEAD_ARCH_X86_REGS_H
#define BULKHEAD_ARCH_X86_REGS_H

/* Architectural register bits and vectors, named as in the SDM (vol. 3, 2.5 and 6.3) and APM. */

#include "lib/macros.h"

/* General registers in the order in which instructions encode them. */
enum gpr_index {
    GPR_RAX,
    GPR_RCX,
    GPR_RDX,
    GPR_RBX,
    GPR_RSP,
    GPR_RBP,
    GPR_RSI,
    GPR_RDI,
    GPR_R8,
    GPR_R9,
    GPR_R10,
    GPR_R11,
    GPR_R12,
    GPR_R13,
    GPR_R14,
    GPR_R15,
    GPR_COUNT
};

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

#define CR4_VME        BIT64(0)
#define CR4_PVI        BIT64(1)
#define CR4_TSD        BIT64(2)
#define CR4_DE         BIT64(3)
#define CR4_PSE        BIT64(4)
#define CR4_PAE        BIT64(5)
#define CR4_MCE        BIT64(6)
#define CR4_PGE        BIT64(7)
#define CR4_PCE        BIT64(8)
#define CR4_OSFXSR     BIT64(9)
#define CR4_OSXMMEXCPT BIT64(10)
#define CR4_UMIP       BIT64(11)
#define CR4_LA57       BIT64(12)
#define CR4_FSGSBASE   BIT64(16)
#define CR4_PCIDE      BIT64(17)
#define CR4_OSXSAVE    BIT64(18)
#define CR4_SMEP       BIT64(20)
#define CR4_SMAP       BIT64(21)

#define EFER_SCE    BIT64(0)
#define EFER_LME    BIT64(8)
#define EFER_LMA    BIT64(10)
#define EFER_NXE    BIT64(11)
#define EFER_SVME   BIT64(12)
#define EFER_FFXSR  BIT64(14)
#define EFER_AIBRSE BIT64(21)

#define RFLAGS_CF  BIT64(0)
#define RFLAGS_ONE BIT64(1) /* always set */
#define RFLAGS_PF  BIT64(2)
#define RFLAGS_AF  BIT64(4)
#define RFLAGS_ZF  BIT64(6)
#define RFLAGS_SF  BIT64(7)
#define RFLAGS_TF  BIT64(8)
#define RFLAGS_IF  BIT64(9)
#define RFLAGS_DF  BIT64(10)
#define RFLAGS_OF  BIT64(11)
#define RFLAGS_RF  BIT64(16)
#define RFLAGS_VM  BIT64(17)
#define RFLAGS_AC  BIT64(18)

/* Exception vectors (SDM vol. 3, table 6-1). */
enum exception_vector {
    EXC_DE = 0,
    EXC_DB = 1,
    EXC_NMI = 2,
    EXC_BP = 3,
    EXC_OF = 4,
    EXC_UD = 6,
    EXC_DF = 8,
    EXC_TS = 10,
    EXC_SS = 12,
    EXC_GP = 13,
    EXC_PF = 14,
    EXC_AC = 17,
    EXC_MC = 18,
};

/* Page-fault error code (SDM vol. 3, figure 4-12). */
#define PF_PRESENT BIT(0)
#define PF_WRITE   BIT(1)
#define PF_USER    BIT(2)
#define PF_RSVD    BIT(3)
#define PF_FETCH   BIT(4)

#endif
