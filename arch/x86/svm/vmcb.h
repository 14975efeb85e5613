#ifndef BULKHEAD_ARCH_X86_SVM_VMCB_H
#define BULKHEAD_ARCH_X86_SVM_VMCB_H

/* The virtual machine control block (APM vol. 2, appendix B) and its constants. */

#include "arch/x86/segment.h"
#include "lib/macros.h"

/* Intercept vectors (APM vol. 2, table B-1). */
#define INTERCEPT_CR_READ(n)  BIT(n)
#define INTERCEPT_CR_WRITE(n) BIT(16 + (n))
#define INTERCEPT_DR_ALL      0xffffffffu

#define INTERCEPT3_INTR     BIT(0)
#define INTERCEPT3_NMI      BIT(1)
#define INTERCEPT3_SMI      BIT(2)
#define INTERCEPT3_INIT     BIT(3)
#define INTERCEPT3_VINTR    BIT(4)
#define INTERCEPT3_CR0_SEL  BIT(5)
#define INTERCEPT3_RDPMC    BIT(15)
#define INTERCEPT3_TASK     BIT(29)
#define INTERCEPT3_CPUID    BIT(18)
#define INTERCEPT3_RSM      BIT(19)
#define INTERCEPT3_IRET     BIT(20)
#define INTERCEPT3_INVD     BIT(22)
#define INTERCEPT3_PAUSE    BIT(23)
#define INTERCEPT3_HLT      BIT(24)
#define INTERCEPT3_INVLPGA  BIT(26)
#define INTERCEPT3_IOIO     BIT(27)
#define INTERCEPT3_MSR      BIT(28)
#define INTERCEPT3_SHUTDOWN BIT(31)

#define INTERCEPT4_VMRUN       BIT(0)
#define INTERCEPT4_VMMCALL     BIT(1)
#define INTERCEPT4_VMLOAD      BIT(2)
#define INTERCEPT4_VMSAVE      BIT(3)
#define INTERCEPT4_STGI        BIT(4)
#define INTERCEPT4_CLGI        BIT(5)
#define INTERCEPT4_SKINIT      BIT(6)
#define INTERCEPT4_WBINVD      BIT(9)
#define INTERCEPT4_MONITOR     BIT(10)
#define INTERCEPT4_MWAIT       BIT(11)
#define INTERCEPT4_MWAIT_ARMED BIT(12)
#define INTERCEPT4_XSETBV      BIT(13)
#define INTERCEPT4_RDPRU       BIT(14)

#define INT_CTL_V_IRQ          BIT64(8)
#define INT_CTL_V_INTR_PRIO(n) ((uint64_t)(n) << 16)
#define INT_CTL_V_IGN_TPR      BIT64(20)
#define INT_CTL_V_INTR_MASKING BIT64(24)
#define INT_CTL_VECTOR_SHIFT   32

#define INT_STATE_SHADOW BIT64(0)

#define TLB_CONTROL_NONE 0
#define TLB_CONTROL_ALL  1

#define NP_ENABLE BIT64(0)

/* EVENTINJ and EXITINTINFO (APM vol. 2, 15.20): INTR_INFO_* (arch/x86/event_info.h), and above them
 * the error code. */
#define EVENT_ERROR_SHIFT 32

/* Clean bits (APM vol. 2, 15.15.3). */
#define CLEAN_INTERCEPTS BIT(0)
#define CLEAN_ASID       BIT(2)
#define CLEAN_TPR        BIT(3)
#define CLEAN_NP         BIT(4)
#define CLEAN_CR         BIT(5)
#define CLEAN_DR         BIT(6)
#define CLEAN_CR2        BIT(9)
/* All but interrupt control, to which vcpu->cpu_tpr points. */
#define CLEAN_ALL (~CLEAN_TPR)

#define INSN_LENGTH_MASK 0xfu /* of insn_length */

/* EXITINFO1 of control register accesses, with decode assists (APM vol. 2, 15.33.1). */
#define CR_INFO_MOV BIT64(63)
#define CR_INFO_GPR 15u

/* EXITINFO1 of an MSR exit (APM vol. 2, 15.11). */
#define MSR_INFO_WRITE BIT64(0)

/* EXITINFO1 of an I/O exit (APM vol. 2, 15.10.2). */
#define IOIO_IN      BIT64(0)
#define IOIO_STRING  BIT64(2)
#define IOIO_BYTE    BIT64(4)
#define IOIO_SIZE(i) ((unsigned int)((i) >> 4 & 7)) /* 1, 2 or 4: the bits are one-hot */
#define IOIO_PORT(i) ((uint32_t)(i) >> 16)

/* EXITINFO1 of a nested page fault (APM vol. 2, 15.25.6): a page-fault error code, and whether
 * one of the guest's page tables was the target, not its final address. */
#define NPF_TABLE_WALK BIT64(33)

enum svm_exit_code {
    SVM_EXIT_CR0_READ = 0x000,
    SVM_EXIT_CR4_READ = 0x004,
    SVM_EXIT_CR0_WRITE = 0x010,
    SVM_EXIT_CR4_WRITE = 0x014,
    SVM_EXIT_CR8_WRITE = 0x018,
    SVM_EXIT_DR0_READ = 0x020,
    SVM_EXIT_DR15_WRITE = 0x03f,
    SVM_EXIT_EXCP_BASE = 0x040,
    SVM_EXIT_INTR = 0x060,
    SVM_EXIT_NMI = 0x061,
    SVM_EXIT_SMI = 0x062,
    SVM_EXIT_INIT = 0x063,
    SVM_EXIT_VINTR = 0x064,
    SVM_EXIT_CR0_SEL = 0x065,
    SVM_EXIT_RDPMC = 0x06f,
    SVM_EXIT_CPUID = 0x072,
    SVM_EXIT_RSM = 0x073,
    SVM_EXIT_IRET = 0x074,
    SVM_EXIT_INVD = 0x076,
    SVM_EXIT_PAUSE = 0x077,
    SVM_EXIT_HLT = 0x078,
    SVM_EXIT_INVLPGA = 0x07a,
    SVM_EXIT_IOIO = 0x07b,
    SVM_EXIT_MSR = 0x07c,
    SVM_EXIT_TASK_SWITCH = 0x07d,
    SVM_EXIT_SHUTDOWN = 0x07f,
    SVM_EXIT_VMRUN = 0x080,
    SVM_EXIT_VMMCALL = 0x081,
    SVM_EXIT_SKINIT = 0x086,
    SVM_EXIT_WBINVD = 0x089,
    SVM_EXIT_MONITOR = 0x08a,
    SVM_EXIT_MWAIT_ARMED = 0x08c,
    SVM_EXIT_XSETBV = 0x08d,
    SVM_EXIT_RDPRU = 0x08e,
    SVM_EXIT_CODES = 0x0a4,
    SVM_EXIT_NPF_ROW = SVM_EXIT_CODES, /* not a code: stands for SVM_EXIT_NPF */
    SVM_EXIT_UNKNOWN_ROW,
    SVM_EXIT_ROWS,
    SVM_EXIT_NPF = 0x400,
};

/* An invalid VMCB: -1, which some hypervisors below us give as 32 bits only. */
#define SVM_EXIT_INVALID_32 0xffffffffu

struct vmcb {
    /* Control area. */
    uint32_t intercept_cr;
    uint32_t intercept_dr;
    uint32_t intercept_exceptions;
    uint32_t intercept3;
    uint32_t intercept4;
    uint8_t reserved_14[0x3c - 0x14];
    uint16_t pause_threshold; /* loaded by VMRUN, as is the next one */
    uint16_t pause_count;
    uint64_t iopm_base;
    uint64_t msrpm_base;
    uint64_t tsc_offset;
    uint32_t asid;
    uint8_t tlb_control;
    uint8_t reserved_5d[3];
    uint64_t int_ctl;
    uint64_t int_state;
    uint64_t exit_code;
    uint64_t exit_info1;
    uint64_t exit_info2;
    uint64_t exit_int_info;
    uint64_t np_control;
    uint8_t reserved_98[0xa8 - 0x98];
    uint64_t event_inject;
    uint64_t nested_cr3;
    uint64_t reserved_b8;
    uint32_t clean;
    uint32_t reserved_c4;
    uint64_t next_rip;
    uint8_t insn_length;
    uint8_t insn_bytes[15];
    uint8_t reserved_e0[0x400 - 0xe0];

    /* State save area. */
    struct segment seg[SEG_COUNT];
    struct segment gdtr, ldtr, idtr, tr;
    uint8_t reserved_4a0[0x4cb - 0x4a0];
    uint8_t cpl;
    uint32_t reserved_4cc;
    uint64_t efer;
    uint8_t reserved_4d8[0x548 - 0x4d8];
    uint64_t cr4;
    uint64_t cr3;
    uint64_t cr0;
    uint64_t dr7;
    uint64_t dr6;
    uint64_t rflags;
    uint64_t rip;
    uint8_t reserved_580[0x5d8 - 0x580];
    uint64_t rsp;
    uint8_t reserved_5e0[0x5f8 - 0x5e0];
    uint64_t rax;
    uint8_t reserved_600[0x640 - 0x600]; /* of VMLOAD and VMSAVE */
    uint64_t cr2;
    uint8_t reserved_648[0x668 - 0x648];
    uint64_t g_pat;
    uint8_t reserved_670[0x1000 - 0x670];
};

static_assert(sizeof(struct vmcb) == 4096, "VMCB is one page");
static_assert(offsetof(struct vmcb, iopm_base) == 0x040, "VMCB layout");
static_assert(offsetof(struct vmcb, int_ctl) == 0x060, "VMCB layout");
static_assert(offsetof(struct vmcb, exit_int_info) == 0x088, "VMCB layout");
static_assert(offsetof(struct vmcb, nested_cr3) == 0x0b0, "VMCB layout");
static_assert(offsetof(struct vmcb, clean) == 0x0c0, "VMCB layout");
static_assert(offsetof(struct vmcb, insn_bytes) == 0x0d1, "VMCB layout");
static_assert(offsetof(struct vmcb, seg) == 0x400, "VMCB layout");
static_assert(offsetof(struct vmcb, efer) == 0x4d0, "VMCB layout");
static_assert(offsetof(struct vmcb, cr4) == 0x548, "VMCB layout");
static_assert(offsetof(struct vmcb, rip) == 0x578, "VMCB layout");
static_assert(offsetof(struct vmcb, rsp) == 0x5d8, "VMCB layout");
static_assert(offsetof(struct vmcb, rax) == 0x5f8, "VMCB layout");
static_assert(offsetof(struct vmcb, g_pat) == 0x668, "VMCB layout");

#endif
