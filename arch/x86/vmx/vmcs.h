#ifndef BULKHEAD_ARCH_X86_VMX_VMCS_H
#define BULKHEAD_ARCH_X86_VMX_VMCS_H

/* The VMCS: its fields (SDM vol. 3, appendix B) and the bits in them (chapters 25 and 28). */

#include "arch/x86/event_info.h"
#include "lib/macros.h"

/* One list for the numbers and for the names in dumps: F(name, encoding). */
#define VMCS_CONTROL_FIELDS(F)          \
    F(VPID, 0x0000)                     \
    F(IO_BITMAP_A, 0x2000)              \
    F(IO_BITMAP_B, 0x2002)              \
    F(MSR_BITMAP, 0x2004)               \
    F(TSC_OFFSET, 0x2010)               \
    F(VIRTUAL_APIC_PAGE, 0x2012)        \
    F(EPT_POINTER, 0x201a)              \
    F(EOI_EXIT_BITMAP0, 0x201c)         \
    F(EOI_EXIT_BITMAP1, 0x201e)         \
    F(EOI_EXIT_BITMAP2, 0x2020)         \
    F(EOI_EXIT_BITMAP3, 0x2022)         \
    F(ENCLS_BITMAP, 0x202e)             \
    F(PIN_CONTROLS, 0x4000)             \
    F(PROC_CONTROLS, 0x4002)            \
    F(EXCEPTION_BITMAP, 0x4004)         \
    F(PAGE_FAULT_MASK, 0x4006)          \
    F(PAGE_FAULT_MATCH, 0x4008)         \
    F(CR3_TARGET_COUNT, 0x400a)         \
    F(EXIT_CONTROLS, 0x400c)            \
    F(EXIT_MSR_STORE_COUNT, 0x400e)     \
    F(EXIT_MSR_LOAD_COUNT, 0x4010)      \
    F(ENTRY_CONTROLS, 0x4012)           \
    F(ENTRY_MSR_LOAD_COUNT, 0x4014)     \
    F(ENTRY_INTERRUPTION_INFO, 0x4016)  \
    F(ENTRY_EXCEPTION_ERROR, 0x4018)    \
    F(ENTRY_INSTRUCTION_LENGTH, 0x401a) \
    F(TPR_THRESHOLD, 0x401c)            \
    F(PROC2_CONTROLS, 0x401e)           \
    F(PAUSE_LOOP_GAP, 0x4020)           \
    F(PAUSE_LOOP_WINDOW, 0x4022)        \
    F(CR0_MASK, 0x6000)                 \
    F(CR4_MASK, 0x6002)                 \
    F(CR0_SHADOW, 0x6004)               \
    F(CR4_SHADOW, 0x6006)

#define VMCS_EXIT_FIELDS(F)            \
    F(GUEST_PHYSICAL_ADDRESS, 0x2400)  \
    F(INSTRUCTION_ERROR, 0x4400)       \
    F(EXIT_REASON, 0x4402)             \
    F(EXIT_INTERRUPTION_INFO, 0x4404)  \
    F(EXIT_INTERRUPTION_ERROR, 0x4406) \
    F(IDT_VECTORING_INFO, 0x4408)      \
    F(IDT_VECTORING_ERROR, 0x440a)     \
    F(EXIT_INSTRUCTION_LENGTH, 0x440c) \
    F(EXIT_QUALIFICATION, 0x6400)      \
    F(GUEST_LINEAR_ADDRESS, 0x640a)

#define VMCS_SEGMENT_FIELDS(F, what, first) \
    F(GUEST_ES_##what, (first))             \
    F(GUEST_CS_##what, (first) + 2)         \
    F(GUEST_SS_##what, (first) + 4)         \
    F(GUEST_DS_##what, (first) + 6)         \
    F(GUEST_FS_##what, (first) + 8)         \
    F(GUEST_GS_##what, (first) + 10)        \
    F(GUEST_LDTR_##what, (first) + 12)      \
    F(GUEST_TR_##what, (first) + 14)

#define VMCS_GUEST_FIELDS(F)                 \
    VMCS_SEGMENT_FIELDS(F, SELECTOR, 0x0800) \
    F(GUEST_INTERRUPT_STATUS, 0x0810)        \
    F(LINK_POINTER, 0x2800)                  \
    F(GUEST_DEBUGCTL, 0x2802)                \
    F(GUEST_PAT, 0x2804)                     \
    F(GUEST_EFER, 0x2806)                    \
    F(GUEST_PDPTE0, 0x280a)                  \
    F(GUEST_PDPTE1, 0x280c)                  \
    F(GUEST_PDPTE2, 0x280e)                  \
    F(GUEST_PDPTE3, 0x2810)                  \
    VMCS_SEGMENT_FIELDS(F, LIMIT, 0x4800)    \
    F(GUEST_GDTR_LIMIT, 0x4810)              \
    F(GUEST_IDTR_LIMIT, 0x4812)              \
    VMCS_SEGMENT_FIELDS(F, ACCESS, 0x4814)   \
    F(GUEST_INTERRUPTIBILITY, 0x4824)        \
    F(GUEST_ACTIVITY, 0x4826)                \
    F(GUEST_SYSENTER_CS, 0x482a)             \
    F(PREEMPTION_TIMER, 0x482e)              \
    F(GUEST_CR0, 0x6800)                     \
    F(GUEST_CR3, 0x6802)                     \
    F(GUEST_CR4, 0x6804)                     \
    VMCS_SEGMENT_FIELDS(F, BASE, 0x6806)     \
    F(GUEST_GDTR_BASE, 0x6816)               \
    F(GUEST_IDTR_BASE, 0x6818)               \
    F(GUEST_DR7, 0x681a)                     \
    F(GUEST_RSP, 0x681c)                     \
    F(GUEST_RIP, 0x681e)                     \
    F(GUEST_RFLAGS, 0x6820)                  \
    F(GUEST_PENDING_DEBUG, 0x6822)           \
    F(GUEST_SYSENTER_ESP, 0x6824)            \
    F(GUEST_SYSENTER_EIP, 0x6826)

#define VMCS_HOST_FIELDS(F)      \
    F(HOST_ES_SELECTOR, 0x0c00)  \
    F(HOST_CS_SELECTOR, 0x0c02)  \
    F(HOST_SS_SELECTOR, 0x0c04)  \
    F(HOST_DS_SELECTOR, 0x0c06)  \
    F(HOST_FS_SELECTOR, 0x0c08)  \
    F(HOST_GS_SELECTOR, 0x0c0a)  \
    F(HOST_TR_SELECTOR, 0x0c0c)  \
    F(HOST_PAT, 0x2c00)          \
    F(HOST_EFER, 0x2c02)         \
    F(HOST_SYSENTER_CS, 0x4c00)  \
    F(HOST_CR0, 0x6c00)          \
    F(HOST_CR3, 0x6c02)          \
    F(HOST_CR4, 0x6c04)          \
    F(HOST_FS_BASE, 0x6c06)      \
    F(HOST_GS_BASE, 0x6c08)      \
    F(HOST_TR_BASE, 0x6c0a)      \
    F(HOST_GDTR_BASE, 0x6c0c)    \
    F(HOST_IDTR_BASE, 0x6c0e)    \
    F(HOST_SYSENTER_ESP, 0x6c10) \
    F(HOST_SYSENTER_EIP, 0x6c12) \
    F(HOST_RSP, 0x6c14)          \
    F(HOST_RIP, 0x6c16)

#define VMCS_FIELD_NUMBER(name, encoding) VMCS_##name = (encoding),
enum vmcs_field {
    VMCS_CONTROL_FIELDS(VMCS_FIELD_NUMBER) VMCS_EXIT_FIELDS(VMCS_FIELD_NUMBER)
        VMCS_GUEST_FIELDS(VMCS_FIELD_NUMBER) VMCS_HOST_FIELDS(VMCS_FIELD_NUMBER)
};

/* Fields of the eight segment registers stand two apart, in this order. */
#define VMCS_SEGMENT(field_of_es, index) ((enum vmcs_field)((field_of_es) + 2u * (index)))
enum vmcs_segment { VMCS_ES, VMCS_CS, VMCS_SS, VMCS_DS, VMCS_FS, VMCS_GS, VMCS_LDTR, VMCS_TR };

/* Pin-based controls (table 25-5). */
#define PIN_EXTERNAL_INTERRUPT BIT(0)
#define PIN_NMI                BIT(3)
#define PIN_VIRTUAL_NMI        BIT(5)
#define PIN_PREEMPTION_TIMER   BIT(6)

/* Primary processor-based controls (table 25-6). */
#define PROC_INTERRUPT_WINDOW BIT(2)
#define PROC_TSC_OFFSET       BIT(3)
#define PROC_HLT              BIT(7)
#define PROC_INVLPG           BIT(9)
#define PROC_MWAIT            BIT(10)
#define PROC_RDPMC            BIT(11)
#define PROC_RDTSC            BIT(12)
#define PROC_CR3_LOAD         BIT(15)
#define PROC_CR3_STORE        BIT(16)
#define PROC_CR8_LOAD         BIT(19)
#define PROC_CR8_STORE        BIT(20)
#define PROC_TPR_SHADOW       BIT(21)
#define PROC_NMI_WINDOW       BIT(22)
#define PROC_MOV_DR           BIT(23)
#define PROC_IO_BITMAPS       BIT(25)
#define PROC_MSR_BITMAPS      BIT(28)
#define PROC_MONITOR          BIT(29)
#define PROC_PAUSE            BIT(30)
#define PROC_SECONDARY        BIT(31)

/* Secondary processor-based controls (table 25-7). */
#define PROC2_EPT                BIT(1)
#define PROC2_RDTSCP             BIT(3)
#define PROC2_X2APIC             BIT(4)
#define PROC2_VPID               BIT(5)
#define PROC2_WBINVD             BIT(6)
#define PROC2_UNRESTRICTED_GUEST BIT(7)
#define PROC2_APIC_REGISTERS     BIT(8)
#define PROC2_VIRTUAL_INTERRUPTS BIT(9)
#define PROC2_PAUSE_LOOP         BIT(10)
#define PROC2_INVPCID            BIT(12)
#define PROC2_ENCLS              BIT(15)

/* VM-exit controls (table 25-13). */
#define EXIT_SAVE_DEBUG    BIT(2)
#define EXIT_HOST_64BIT    BIT(9)
#define EXIT_ACK_INTERRUPT BIT(15)
#define EXIT_SAVE_PAT      BIT(18)
#define EXIT_LOAD_PAT      BIT(19)
#define EXIT_SAVE_EFER     BIT(20)
#define EXIT_LOAD_EFER     BIT(21)

/* VM-entry controls (table 25-15). */
#define ENTRY_LOAD_DEBUG  BIT(2)
#define ENTRY_IA32E_GUEST BIT(9)
#define ENTRY_LOAD_PAT    BIT(14)
#define ENTRY_LOAD_EFER   BIT(15)

/* Interruption information: what AMD's has not. Types 4 to 6 come from instructions. */
#define INTR_TYPE_PRIVILEGED  5 /* INT1 */
#define INTR_INFO_NMI_UNBLOCK BIT(12)

/* Interruptibility state (table 25-3). */
#define BLOCKED_BY_STI    BIT(0)
#define BLOCKED_BY_MOV_SS BIT(1)
#define BLOCKED_BY_SMI    BIT(2)
#define BLOCKED_BY_NMI    BIT(3)

/* Access rights (table 25-2). */
#define ACCESS_L        BIT(13)
#define ACCESS_UNUSABLE BIT(16)

#define EXIT_REASON_ENTRY_FAILURE BIT(31)
#define EXIT_REASON_BASIC         0xffffu

/* Basic exit reasons (SDM vol. 3, appendix C). */
enum vmx_exit_reason {
    VMX_EXIT_EXCEPTION_NMI = 0,
    VMX_EXIT_EXTERNAL_INTERRUPT = 1,
    VMX_EXIT_TRIPLE_FAULT = 2,
    VMX_EXIT_INIT = 3,
    VMX_EXIT_SIPI = 4,
    VMX_EXIT_INTERRUPT_WINDOW = 7,
    VMX_EXIT_NMI_WINDOW = 8,
    VMX_EXIT_TASK_SWITCH = 9,
    VMX_EXIT_CPUID = 10,
    VMX_EXIT_GETSEC = 11,
    VMX_EXIT_HLT = 12,
    VMX_EXIT_INVD = 13,
    VMX_EXIT_RDPMC = 15,
    VMX_EXIT_VMCALL = 18,
    VMX_EXIT_VMCLEAR = 19,
    VMX_EXIT_VMXON = 27,
    VMX_EXIT_CR = 28,
    VMX_EXIT_DR = 29,
    VMX_EXIT_IO = 30,
    VMX_EXIT_RDMSR = 31,
    VMX_EXIT_WRMSR = 32,
    VMX_EXIT_GUEST_STATE = 33,
    VMX_EXIT_MSR_LOADING = 34,
    VMX_EXIT_MWAIT = 36,
    VMX_EXIT_MONITOR = 39,
    VMX_EXIT_PAUSE = 40,
    VMX_EXIT_ENTRY_MACHINE_CHECK = 41,
    VMX_EXIT_TPR_THRESHOLD = 43,
    VMX_EXIT_VIRTUAL_EOI = 45,
    VMX_EXIT_EPT_VIOLATION = 48,
    VMX_EXIT_INVEPT = 50,
    VMX_EXIT_PREEMPTION_TIMER = 52,
    VMX_EXIT_INVVPID = 53,
    VMX_EXIT_WBINVD = 54,
    VMX_EXIT_XSETBV = 55,
    VMX_EXIT_APIC_WRITE = 56,
    VMX_EXIT_VMFUNC = 59,
    VMX_EXIT_ENCLS = 60,
    VMX_EXIT_SEAMCALL = 76,
    VMX_EXIT_TDCALL = 77,
    VMX_EXIT_REASONS
};

/* Exit qualification of control-register accesses (table 28-3). */
#define CR_QUAL_NUMBER(q) ((unsigned int)((q)&15))
#define CR_QUAL_READ(q)   (((q) >> 4 & 3) == 1)
#define CR_QUAL_GPR(q)    ((unsigned int)((q) >> 8 & 15))

/* ... of I/O instructions (table 28-5). */
#define IO_QUAL_SIZE(q) ((unsigned int)((q)&7) + 1)
#define IO_QUAL_IN      BIT64(3)
#define IO_QUAL_STRING  BIT64(4)
#define IO_QUAL_PORT(q) ((uint32_t)(q) >> 16)

/* ... of EPT violations (table 28-7). */
#define EPT_QUAL_WRITE        BIT64(1)
#define EPT_QUAL_FETCH        BIT64(2)
#define EPT_QUAL_LINEAR_VALID BIT64(7)
#define EPT_QUAL_TRANSLATED   BIT64(8) /* the access itself, not one to a paging structure */
#define EPT_QUAL_NMI_UNBLOCK  BIT64(12)

/* ... of debug exceptions (table 28-1): the bits that DR6 has, too. */
#define DB_QUAL_DR6 (BIT64(0) | BIT64(1) | BIT64(2) | BIT64(3) | BIT64(13) | BIT64(14))

/* EPT entries (SDM vol. 3, tables 29-1 to 29-7) and pointer (table 25-9). */
#define EPT_READ         BIT64(0)
#define EPT_WRITE        BIT64(1)
#define EPT_EXEC         BIT64(2)
#define EPT_TYPE_UC      (0ull << 3)
#define EPT_TYPE_WB      (6ull << 3)
#define EPT_LARGE        BIT64(7)
#define EPT_ADDR         0x000ffffffffff000ull
#define EPTP_WB          6ull
#define EPTP_WALK_LENGTH (3ull << 3) /* levels less one */

#endif
