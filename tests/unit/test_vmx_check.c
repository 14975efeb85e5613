/* Rules of VM entry: VMCSs that a CPU accepts pass; each rule broken by itself is named, with the
 * field and its value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/regs.h"
#include "arch/x86/vmx/check.h"
#include "tests/unit/vmx_model.h"

#define FIELDS 0x7000
#define U(x)   ((unsigned long long)(x))

#define CODE_64             0xa09bull
#define CODE_32             0xc09bull
#define DATA_32             0xc093ull
#define CODE_16             0x9bull
#define DATA_16             0x93ull
#define BUSY_TSS            0x8bull
#define LDT                 0x82ull
#define UNUSABLE            0x10000ull
#define NOT_CANONICAL       0x0000800000000000ull
#define BEYOND_40           (1ull << 40)
#define EVENT(type, vector) (INTR_INFO_VALID | (type) << INTR_INFO_TYPE_SHIFT | (vector))

static uint64_t vmcs[FIELDS];
static struct vmx_limits limits;
static char output[65536];

static uint64_t read_field(void *ctx, enum vmcs_field field)
{
    assert_ptr_equal(ctx, vmcs);
    assert_true((size_t)field < FIELDS);
    return vmcs[field];
}

static const struct vmcs_source source = {read_field, vmcs};

static void collect(const char *text, size_t len)
{
    size_t used = strlen(output);

    assert_true(len < EMIT_LINE_MAX - 1); /* else it was cut */
    assert_null(memchr(text, '\0', len));
    assert_true(used + len + 2 < sizeof(output));
    snprintf(output + used, sizeof(output) - used, "%.*s\n", (int)len, text);
}

static unsigned int check(void)
{
    output[0] = '\0';
    return vmx_check_vmcs(&source, &limits, collect);
}

static void set_segment(enum vmcs_segment i, uint64_t selector, uint64_t base, uint64_t limit,
                        uint64_t access)
{
    vmcs[VMCS_SEGMENT(VMCS_GUEST_ES_SELECTOR, i)] = selector;
    vmcs[VMCS_SEGMENT(VMCS_GUEST_ES_BASE, i)] = base;
    vmcs[VMCS_SEGMENT(VMCS_GUEST_ES_LIMIT, i)] = limit;
    vmcs[VMCS_SEGMENT(VMCS_GUEST_ES_ACCESS, i)] = access;
}

static void set_data_segments(uint64_t selector, uint64_t base, uint64_t limit, uint64_t access)
{
    for (enum vmcs_segment i = VMCS_ES; i <= VMCS_GS; i++)
        set_segment(i, selector, base, limit, access);
}

static void set_controls(void)
{
    vmcs[VMCS_PIN_CONTROLS] = 0x16 | PIN_EXTERNAL_INTERRUPT | PIN_NMI | PIN_VIRTUAL_NMI;
    vmcs[VMCS_PROC_CONTROLS] = 0x04006172 | PROC_HLT | PROC_TSC_OFFSET | PROC_TPR_SHADOW |
                               PROC_IO_BITMAPS | PROC_MSR_BITMAPS | PROC_SECONDARY;
    vmcs[VMCS_PROC2_CONTROLS] = PROC2_EPT | PROC2_VPID | PROC2_UNRESTRICTED_GUEST;
    vmcs[VMCS_EXIT_CONTROLS] = 0x36dfb | EXIT_SAVE_DEBUG | EXIT_HOST_64BIT | EXIT_ACK_INTERRUPT |
                               EXIT_SAVE_PAT | EXIT_LOAD_PAT | EXIT_SAVE_EFER | EXIT_LOAD_EFER;
    vmcs[VMCS_ENTRY_CONTROLS] =
        0x11fb | ENTRY_LOAD_DEBUG | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER | ENTRY_IA32E_GUEST;
    vmcs[VMCS_VPID] = 1;
    vmcs[VMCS_IO_BITMAP_A] = 0x1000;
    vmcs[VMCS_IO_BITMAP_B] = 0x2000;
    vmcs[VMCS_MSR_BITMAP] = 0x3000;
    vmcs[VMCS_VIRTUAL_APIC_PAGE] = 0x4000;
    vmcs[VMCS_EPT_POINTER] = 0x5000 | EPTP_WALK_LENGTH | EPTP_WB;
}

static void set_host(void)
{
    vmcs[VMCS_HOST_CS_SELECTOR] = 8;
    vmcs[VMCS_HOST_SS_SELECTOR] = 16;
    vmcs[VMCS_HOST_TR_SELECTOR] = 24;
    vmcs[VMCS_HOST_PAT] = 0x0007040600070406;
    vmcs[VMCS_HOST_EFER] = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
    vmcs[VMCS_HOST_CR0] = 0x80010031;
    vmcs[VMCS_HOST_CR3] = 0x10000;
    vmcs[VMCS_HOST_CR4] = 0x20a0;
    vmcs[VMCS_HOST_RIP] = 0xffffffff80100000;
    vmcs[VMCS_HOST_GS_BASE] = 0xffff800000000000;
}

/* A 64-bit guest. */
static void long_mode(void)
{
    memset(vmcs, 0, sizeof(vmcs));
    set_controls();
    set_host();
    set_data_segments(16, 0, 0xffffffff, DATA_32);
    set_segment(VMCS_CS, 8, 0, 0xffffffff, CODE_64);
    set_segment(VMCS_TR, 24, 0xffffffff80001000, 0x67, BUSY_TSS);
    set_segment(VMCS_LDTR, 0, 0, 0, UNUSABLE);
    vmcs[VMCS_LINK_POINTER] = UINT64_MAX;
    vmcs[VMCS_GUEST_PAT] = 0x0007040600070406;
    vmcs[VMCS_GUEST_EFER] = EFER_LME | EFER_LMA;
    vmcs[VMCS_GUEST_CR0] = 0x80000031;
    vmcs[VMCS_GUEST_CR3] = 0x20000;
    vmcs[VMCS_GUEST_CR4] = 0x2020;
    vmcs[VMCS_GUEST_DR7] = 0x400;
    vmcs[VMCS_GUEST_RIP] = 0xffffffff81000000;
    vmcs[VMCS_GUEST_RFLAGS] = RFLAGS_ONE;
    vmcs[VMCS_GUEST_GDTR_LIMIT] = 0xffff;
}

static void leave_long_mode(void)
{
    vmcs[VMCS_ENTRY_CONTROLS] &= ~(uint64_t)ENTRY_IA32E_GUEST;
    vmcs[VMCS_GUEST_EFER] = 0;
    vmcs[VMCS_GUEST_RIP] = 0xfff0;
}

/* The state after RESET. */
static void real_mode(void)
{
    long_mode();
    leave_long_mode();
    vmcs[VMCS_GUEST_CR0] = 0x60000030; /* with CD and NW */
    vmcs[VMCS_GUEST_CR4] = 0x2000;
    set_data_segments(0, 0, 0xffff, DATA_16);
    set_segment(VMCS_CS, 0xf000, 0xffff0000, 0xffff, CODE_16);
    set_segment(VMCS_TR, 0, 0, 0xffff, BUSY_TSS);
    set_segment(VMCS_LDTR, 0, 0, 0xffff, LDT);
}

/* 32-bit, PAE paging. */
static void pae_mode(void)
{
    long_mode();
    leave_long_mode();
    set_segment(VMCS_CS, 8, 0, 0xffffffff, CODE_32);
    vmcs[VMCS_GUEST_PDPTE0] = 0x30001;
    vmcs[VMCS_GUEST_PDPTE1] = 0xfffffffffffffffe; /* not present: any bits */
}

static void v86_mode(void)
{
    pae_mode();
    set_data_segments(0x1234, 0x12340, 0xffff, 0xf3);
    vmcs[VMCS_GUEST_RFLAGS] = RFLAGS_ONE | RFLAGS_VM | RFLAGS_IF;
}

/* Without the control "unrestricted guest". */
static void restricted(void)
{
    long_mode();
    vmcs[VMCS_PROC2_CONTROLS] &= ~(uint64_t)PROC2_UNRESTRICTED_GUEST;
}

/* Each vector virtualized by the CPU. */
static void apicv(void)
{
    long_mode();
    vmcs[VMCS_PROC2_CONTROLS] |= PROC2_X2APIC | PROC2_APIC_REGISTERS | PROC2_VIRTUAL_INTERRUPTS;
}

/* Something that is allowed, at the edge of a rule. */
static const struct good {
    const char *what;
    void (*mode)(void);
    enum vmcs_field field, field2;
    uint64_t value, value2;
} good[] = {
    {"64-bit guest", long_mode, VMCS_VPID, 0, 1, 0},
    {"real mode", real_mode, VMCS_VPID, 0, 1, 0},
    {"PAE paging", pae_mode, VMCS_VPID, 0, 1, 0},
    {"virtual-8086 mode", v86_mode, VMCS_VPID, 0, 1, 0},
    {"restricted guest", restricted, VMCS_VPID, 0, 1, 0},
    {"APIC virtualization", apicv, VMCS_TPR_THRESHOLD, 0, 0x123, 0},
    {"RIP one beyond the lower half", long_mode, VMCS_GUEST_RIP, 0, NOT_CANONICAL, 0},
    {"TPR threshold at the TPR's class", long_mode, VMCS_TPR_THRESHOLD, 0, 5, 0},
    {"uncached and no PAT type 2", long_mode, VMCS_GUEST_PAT, 0, 0x0706050401000000, 0},
    {"unusable SS of DPL 0", long_mode, VMCS_GUEST_SS_ACCESS, 0, UNUSABLE, 0},
    {"unusable DS with any base", long_mode, VMCS_GUEST_DS_ACCESS, VMCS_GUEST_DS_BASE, UNUSABLE,
     NOT_CANONICAL},
    {"FS base in the upper half", long_mode, VMCS_GUEST_FS_BASE, 0, 0xffffffff80000000, 0},
    {"halted", long_mode, VMCS_GUEST_ACTIVITY, 0, 1, 0},
    {"shutdown", long_mode, VMCS_GUEST_ACTIVITY, 0, 2, 0},
    {"interrupt injected", long_mode, VMCS_ENTRY_INTERRUPTION_INFO, VMCS_GUEST_RFLAGS,
     EVENT(0u, 0x20u), RFLAGS_ONE | RFLAGS_IF},
    {"NMI while halted", long_mode, VMCS_ENTRY_INTERRUPTION_INFO, VMCS_GUEST_ACTIVITY,
     EVENT(2u, 2u), 1},
    {"#GP with its error code", long_mode, VMCS_ENTRY_INTERRUPTION_INFO, 0,
     EVENT(3u, 13u) | INTR_INFO_ERROR, 0},
    {"#GP in real mode, without", real_mode, VMCS_ENTRY_INTERRUPTION_INFO, 0, EVENT(3u, 13u), 0},
    {"INT 80h", long_mode, VMCS_ENTRY_INTERRUPTION_INFO, VMCS_ENTRY_INSTRUCTION_LENGTH,
     EVENT(4u, 0x80u), 2},
    {"information that is not valid", long_mode, VMCS_ENTRY_INTERRUPTION_INFO, 0, 0x7fffffff, 0},
    {"blocking by STI", long_mode, VMCS_GUEST_INTERRUPTIBILITY, VMCS_GUEST_RFLAGS, 1,
     RFLAGS_ONE | RFLAGS_IF},
    {"16-bit busy TSS", pae_mode, VMCS_GUEST_TR_ACCESS, 0, 0x83, 0},
    {"data segment as CS", real_mode, VMCS_GUEST_CS_ACCESS, 0, DATA_16, 0},
    {"conforming code", long_mode, VMCS_GUEST_CS_ACCESS, 0, 0xa09f, 0},
    {"MSR bitmap off, its address odd", long_mode, VMCS_PROC_CONTROLS, VMCS_MSR_BITMAP,
     0x04006172 | PROC_SECONDARY, 3},
};

static void test_good(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        const struct good *g = &good[i];
        g->mode();
        vmcs[g->field] = g->value;
        if (g->field2)
            vmcs[g->field2] = g->value2;
        if (check() != 0)
            fail_msg("%s: %s", g->what, output);
        assert_string_equal(output, "no broken rule of VM entry found\n");
    }
}

/* One rule broken. `also`: a second field to set before, which must not break anything itself. */
static const struct bad {
    void (*mode)(void);
    enum vmcs_field field;
    uint64_t value;
    const char *text;
    enum vmcs_field also;
    uint64_t also_value;
} bad[] = {
    /* 27.2.1.1 */
    {long_mode, VMCS_PIN_CONTROLS, 0x3d, "bit 1 must be 1 in VMX operation (SDM vol. 3, 27.2.1.1)",
     VMCS_VPID, 1},
    {long_mode, VMCS_PIN_CONTROLS, 0xbf, "bit 7 must be 0 in VMX operation", 0, 0},
    {long_mode, VMCS_PROC_CONTROLS, 0x8c206172ull | PROC_IO_BITMAPS, "bit 27 must be 0", 0, 0},
    {long_mode, VMCS_PROC_CONTROLS, 0x84004172, "bit 13 must be 1", 0, 0},
    {long_mode, VMCS_PROC2_CONTROLS, 0x100a2, "bit 16 must be 0", 0, 0},
    {long_mode, VMCS_CR3_TARGET_COUNT, 5, "must not be more than IA32_VMX_MISC says", 0, 0},
    {long_mode, VMCS_IO_BITMAP_A, 0x1008, "bits 0x8 must be 0", 0, 0},
    {long_mode, VMCS_IO_BITMAP_B, BEYOND_40, "bits 0x10000000000 must be 0", 0, 0},
    {long_mode, VMCS_MSR_BITMAP, 0x3fff, "bits 0xfff must be 0", 0, 0},
    {long_mode, VMCS_VIRTUAL_APIC_PAGE, 0x4010, "bits 0x10 must be 0", 0, 0},
    {long_mode, VMCS_TPR_THRESHOLD, 0x13, "bits 0x10 must be 0", 0, 0},
    {long_mode, VMCS_TPR_THRESHOLD, 6, "must not be above bits 7:4 of the virtual TPR", 0, 0},
    {long_mode, VMCS_VPID, 0, "must not be 0", 0, 0},
    {apicv, VMCS_PROC_CONTROLS, 0x04006172ull | PROC_SECONDARY,
     "PROC2_CONTROLS 0x3b2: bits 4, 8 and 9 (virtual APIC) need a TPR shadow", 0, 0},
    {apicv, VMCS_PIN_CONTROLS, 0x16 | PIN_NMI | PIN_VIRTUAL_NMI,
     "PROC2_CONTROLS 0x3b2: bit 9 (virtual-interrupt delivery) needs external", 0, 0},
    {long_mode, VMCS_PIN_CONTROLS, 0x16 | PIN_EXTERNAL_INTERRUPT | PIN_VIRTUAL_NMI,
     "bit 5 (virtual NMIs) needs bit 3", 0, 0},
    {long_mode, VMCS_PROC_CONTROLS, 0x04006172ull | PROC_SECONDARY | PROC_NMI_WINDOW,
     "bit 22 (NMI-window exiting) needs virtual NMIs", VMCS_PIN_CONTROLS, 0x16 | PIN_NMI},
    {long_mode, VMCS_PROC2_CONTROLS, PROC2_UNRESTRICTED_GUEST,
     "bit 7 (unrestricted guest) needs bit 1 (EPT)", 0, 0},
    {long_mode, VMCS_EPT_POINTER, 0x5000 | EPTP_WALK_LENGTH | 4, "memory type must be one", 0, 0},
    {long_mode, VMCS_EPT_POINTER, 0x5000 | 2 << 3 | EPTP_WB, "page-walk length must be one", 0, 0},
    {long_mode, VMCS_EPT_POINTER, 0x5000 | EPTP_WALK_LENGTH | EPTP_WB | 0x80, "bits 0x80 must be 0",
     0, 0},
    {long_mode, VMCS_EPT_POINTER, BEYOND_40 | EPTP_WALK_LENGTH | EPTP_WB,
     "bits 0x10000000000 must be 0", 0, 0},
    /* 27.2.1.2 and 27.2.1.3 */
    {long_mode, VMCS_EXIT_CONTROLS, 0x36df9 | EXIT_HOST_64BIT, "bit 1 must be 1", 0, 0},
    {long_mode, VMCS_EXIT_CONTROLS, 0x36dfb | EXIT_HOST_64BIT | BIT(22),
     "bit 22 (save the preemption timer) needs that timer (SDM vol. 3, 27.2.1.2)", 0, 0},
    {long_mode, VMCS_EXIT_MSR_STORE_COUNT, 1, "bits 0x1 must be 0", 0, 0},
    {long_mode, VMCS_EXIT_MSR_LOAD_COUNT, 2, "bits 0x2 must be 0", 0, 0},
    {long_mode, VMCS_ENTRY_MSR_LOAD_COUNT, 512, "bits 0x200 must be 0", 0, 0},
    {long_mode, VMCS_ENTRY_CONTROLS, 0x11fb | ENTRY_IA32E_GUEST | BIT(17), "bit 17 must be 0", 0,
     0},
    {long_mode, VMCS_ENTRY_INTERRUPTION_INFO, EVENT(1u, 0u), "type 1 is reserved", 0, 0},
    {long_mode, VMCS_ENTRY_INTERRUPTION_INFO, EVENT(2u, 3u), "vector of an NMI must be 2", 0, 0},
    {long_mode, VMCS_ENTRY_INTERRUPTION_INFO, EVENT(3u, 32u), "must be below 32", 0, 0},
    {long_mode, VMCS_ENTRY_INTERRUPTION_INFO, EVENT(7u, 1u), "vector of type 7 must be 0", 0, 0},
    {long_mode, VMCS_ENTRY_INTERRUPTION_INFO, EVENT(3u, 14u), "bit 11 (error code) must be 1", 0,
     0},
    {long_mode, VMCS_ENTRY_INTERRUPTION_INFO, EVENT(3u, 6u) | INTR_INFO_ERROR,
     "bit 11 (error code) must be 0", 0, 0},
    {real_mode, VMCS_ENTRY_INTERRUPTION_INFO, EVENT(3u, 13u) | INTR_INFO_ERROR,
     "bit 11 (error code) must be 0", 0, 0},
    {long_mode, VMCS_ENTRY_INTERRUPTION_INFO, EVENT(2u, 2u) | INTR_INFO_NMI_UNBLOCK,
     "bits 0x1000 must be 0", 0, 0},
    {long_mode, VMCS_ENTRY_EXCEPTION_ERROR, 0x10000, "bits 0x10000 must be 0",
     VMCS_ENTRY_INTERRUPTION_INFO, EVENT(3u, 13u) | INTR_INFO_ERROR},
    {long_mode, VMCS_ENTRY_INSTRUCTION_LENGTH, 16, "must be 1 to 15", VMCS_ENTRY_INTERRUPTION_INFO,
     EVENT(4u, 0x80u)},
    {long_mode, VMCS_ENTRY_INSTRUCTION_LENGTH, 0, "must be 1 to 15 for a software event",
     VMCS_ENTRY_INTERRUPTION_INFO, EVENT(6u, 3u)},
    /* 27.2.2 to 27.2.4 */
    {long_mode, VMCS_HOST_CR0, 0x80010011,
     "bit 5 (NE) must be 1 in VMX operation (SDM vol. 3, "
     "27.2.2)",
     0, 0},
    {long_mode, VMCS_HOST_CR0, 0x180010031, "bit 32 must be 0", 0, 0},
    {long_mode, VMCS_HOST_CR4, 0xa0, "bit 13 (VMXE) must be 1", 0, 0},
    {long_mode, VMCS_HOST_CR4, 0x30a0, "bit 12 (LA57) must be 0", 0, 0},
    {long_mode, VMCS_HOST_CR4, 0x2080, "bit 5 (PAE) must be 1 for a 64-bit host", 0, 0},
    {long_mode, VMCS_HOST_CR3, BEYOND_40 | 0x1000, "bits 0x10000000000 must be 0", 0, 0},
    {long_mode, VMCS_HOST_SYSENTER_ESP, NOT_CANONICAL, "must be canonical", 0, 0},
    {long_mode, VMCS_HOST_SYSENTER_EIP, NOT_CANONICAL, "must be canonical", 0, 0},
    {long_mode, VMCS_HOST_PAT, 2, "each byte must be 0, 1, 4, 5, 6 or 7", 0, 0},
    {long_mode, VMCS_HOST_EFER, EFER_LME | EFER_LMA | EFER_SVME, "bits 0x1000 must be 0", 0, 0},
    {long_mode, VMCS_HOST_EFER, EFER_LME, "LMA and LME must be 1 for a 64-bit host", 0, 0},
    {long_mode, VMCS_HOST_ES_SELECTOR, 3, "bits 0x3 must be 0 (SDM vol. 3, 27.2.3)", 0, 0},
    {long_mode, VMCS_HOST_CS_SELECTOR, 0, "must not be 0", 0, 0},
    {long_mode, VMCS_HOST_GS_SELECTOR, 4, "bits 0x4 must be 0", 0, 0},
    {long_mode, VMCS_HOST_TR_SELECTOR, 0, "must not be 0", 0, 0},
    {long_mode, VMCS_HOST_TR_SELECTOR, 0x1c, "bits 0x4 must be 0", 0, 0},
    {long_mode, VMCS_HOST_FS_BASE, NOT_CANONICAL, "must be canonical", 0, 0},
    {long_mode, VMCS_HOST_GS_BASE, NOT_CANONICAL, "must be canonical", 0, 0},
    {long_mode, VMCS_HOST_TR_BASE, NOT_CANONICAL, "must be canonical", 0, 0},
    {long_mode, VMCS_HOST_GDTR_BASE, NOT_CANONICAL, "must be canonical", 0, 0},
    {long_mode, VMCS_HOST_IDTR_BASE, NOT_CANONICAL, "must be canonical", 0, 0},
    {long_mode, VMCS_HOST_RIP, NOT_CANONICAL, "must be canonical (SDM vol. 3, 27.2.4)", 0, 0},
    {long_mode, VMCS_EXIT_CONTROLS, 0x36dfb & ~0x200u, "bit 9 (64-bit host) must be 1", 0, 0},
    /* 27.3.1.1 */
    {real_mode, VMCS_GUEST_CR0, 0x10, "bit 5 (NE) must be 1", 0, 0},
    {real_mode, VMCS_GUEST_CR0, 0x80000030, "bit 31 (PG) needs bit 0 (PE)", 0, 0},
    {restricted, VMCS_GUEST_CR0, 0x80000030, NULL, 0, 0},
    {restricted, VMCS_GUEST_CR0, 0x31, NULL, 0, 0},
    {long_mode, VMCS_GUEST_CR0, 0x31, "bit 31 (PG) must be 1 in IA-32e mode", 0, 0},
    {long_mode, VMCS_GUEST_CR4, 0x20,
     "bit 13 (VMXE) must be 1 in VMX operation (SDM vol. 3, "
     "27.3.1.1)",
     0, 0},
    {long_mode, VMCS_GUEST_CR4, 0x2000, "bit 5 (PAE) must be 1 in IA-32e mode", 0, 0},
    {pae_mode, VMCS_GUEST_CR4, 0x22020, "bit 17 (PCIDE) must be 0 outside", 0, 0},
    {long_mode, VMCS_GUEST_CR3, 1ull << 63, "bits 0x8000000000000000 must be 0", 0, 0},
    {long_mode, VMCS_GUEST_DEBUGCTL, 8, "bits 0x8 must be 0", 0, 0},
    {long_mode, VMCS_GUEST_DR7, 0x100000400, "bits 0x100000000 must be 0", 0, 0},
    {long_mode, VMCS_GUEST_SYSENTER_ESP, NOT_CANONICAL, "must be canonical", 0, 0},
    {long_mode, VMCS_GUEST_SYSENTER_EIP, NOT_CANONICAL, "must be canonical", 0, 0},
    {long_mode, VMCS_GUEST_PAT, 0x0800000000000000, "each byte must be", 0, 0},
    {long_mode, VMCS_GUEST_EFER, EFER_LME | EFER_LMA | 2, "bits 0x2 must be 0", 0, 0},
    {pae_mode, VMCS_GUEST_EFER, EFER_LME, "bits 8 (LME) and 10 (LMA) must be equal", 0, 0},
    {real_mode, VMCS_GUEST_EFER, EFER_LMA, "bit 10 (LMA) must equal the control", 0, 0},
    /* 27.3.1.2 */
    {long_mode, VMCS_GUEST_TR_SELECTOR, 4, "bits 0x4 must be 0 (SDM vol. 3, 27.3.1.2)", 0, 0},
    {real_mode, VMCS_GUEST_LDTR_SELECTOR, 4, "bits 0x4 must be 0", 0, 0},
    {restricted, VMCS_GUEST_SS_SELECTOR, 17, NULL, 0, 0},
    {v86_mode, VMCS_GUEST_GS_BASE, 0x12350, "must be 16 times the selector", 0, 0},
    {v86_mode, VMCS_GUEST_CS_LIMIT, 0x1ffff, "must be 0xffff in virtual-8086 mode", 0, 0},
    {v86_mode, VMCS_GUEST_SS_ACCESS, DATA_16, "must be 0xf3 in virtual-8086 mode", 0, 0},
    {long_mode, VMCS_GUEST_TR_BASE, NOT_CANONICAL, "must be canonical", 0, 0},
    {long_mode, VMCS_GUEST_FS_BASE, NOT_CANONICAL, "must be canonical", 0, 0},
    {long_mode, VMCS_GUEST_GS_BASE, NOT_CANONICAL, "must be canonical", 0, 0},
    {real_mode, VMCS_GUEST_LDTR_BASE, NOT_CANONICAL, "must be canonical", 0, 0},
    {long_mode, VMCS_GUEST_CS_BASE, 1ull << 32, "bits 0x100000000 must be 0", 0, 0},
    {long_mode, VMCS_GUEST_ES_BASE, 1ull << 32, "bits 0x100000000 must be 0", 0, 0},
    {long_mode, VMCS_GUEST_CS_ACCESS, 0xa09a, "type must be 9, 11, 13 or 15", 0, 0},
    {long_mode, VMCS_GUEST_CS_ACCESS, 0xa08b, "bit 4 (S) must be 1", 0, 0},
    {long_mode, VMCS_GUEST_CS_ACCESS, 0xa01b, "bit 7 (P) must be 1", 0, 0},
    {long_mode, VMCS_GUEST_CS_ACCESS, 0xe09b, "bit 14 (D/B) must be 0 for 64-bit code", 0, 0},
    {long_mode, VMCS_GUEST_CS_ACCESS, 0xa19b, "bits 0x100 must be 0", 0, 0},
    {long_mode, VMCS_GUEST_CS_ACCESS, 0xa0fb, "DPL must equal that of SS", 0, 0},
    {long_mode, VMCS_GUEST_CS_ACCESS, 0xa0ff, "DPL must not be above that of SS", 0, 0},
    {restricted, VMCS_GUEST_CS_ACCESS, 0xa093, "type must be 9, 11, 13 or 15, or 3", 0, 0},
    {real_mode, VMCS_GUEST_CS_ACCESS, 0xf3, "DPL must be 0 as the type is 3", 0, 0},
    {long_mode, VMCS_GUEST_CS_LIMIT, 0xfffff000,
     "GUEST_CS_ACCESS 0xa09b: bit 15 (G) must be 0: the limit", 0, 0},
    {long_mode, VMCS_GUEST_SS_ACCESS, 0xc091, "type must be 3 or 7", 0, 0},
    {restricted, VMCS_GUEST_SS_ACCESS, 0xc0f3, "DPL must equal the RPL of SS", VMCS_GUEST_CS_ACCESS,
     0xa09f},
    {real_mode, VMCS_GUEST_SS_ACCESS, 0xf3, "DPL must be 0 in real mode", VMCS_GUEST_CS_ACCESS,
     0x9f},
    {long_mode, VMCS_GUEST_DS_ACCESS, 0xc092, "bit 0 (accessed) must be 1", 0, 0},
    {long_mode, VMCS_GUEST_ES_ACCESS, 0xc099, "code must be readable", 0, 0},
    {restricted, VMCS_GUEST_FS_SELECTOR, 0x13,
     "GUEST_FS_ACCESS 0xc093: DPL must not be below the RPL", 0, 0},
    {long_mode, VMCS_GUEST_GS_ACCESS, 0x4093, "bit 15 (G) must be 1", 0, 0},
    {real_mode, VMCS_GUEST_ES_LIMIT, 0x100fff,
     "GUEST_ES_ACCESS 0x93: bit 15 (G) must be 1: the limit", 0, 0},
    {long_mode, VMCS_GUEST_DS_ACCESS, 0x2c093, "bits 0x20000 must be 0", 0, 0},
    {long_mode, VMCS_GUEST_TR_ACCESS, 0x83, "type must be 11", 0, 0},
    {long_mode, VMCS_GUEST_TR_ACCESS, BUSY_TSS | 0x10, "bit 4 (S) must be 0", 0, 0},
    {long_mode, VMCS_GUEST_TR_ACCESS, 0xb, "bit 7 (P) must be 1", 0, 0},
    {long_mode, VMCS_GUEST_TR_ACCESS, BUSY_TSS | UNUSABLE, "bit 16 (unusable) must be 0", 0, 0},
    {long_mode, VMCS_GUEST_TR_ACCESS, BUSY_TSS | 0x8000, "bit 15 (G) must be 0", 0, 0},
    {real_mode, VMCS_GUEST_LDTR_ACCESS, 0x83, "type must be 2", 0, 0},
    /* 27.3.1.3 and 27.3.1.4 */
    {long_mode, VMCS_GUEST_GDTR_BASE, NOT_CANONICAL, "must be canonical", 0, 0},
    {long_mode, VMCS_GUEST_IDTR_BASE, NOT_CANONICAL, "must be canonical", 0, 0},
    {long_mode, VMCS_GUEST_GDTR_LIMIT, 0x10000, "bits 0x10000 must be 0", 0, 0},
    {long_mode, VMCS_GUEST_IDTR_LIMIT, 0x20000, "bits 0x20000 must be 0", 0, 0},
    {long_mode, VMCS_GUEST_RIP, 1ull << 48, "bits above the linear-address width", 0, 0},
    {pae_mode, VMCS_GUEST_RIP, 1ull << 32, "bits 63:32 must be 0 outside 64-bit mode", 0, 0},
    {long_mode, VMCS_GUEST_RFLAGS, RFLAGS_ONE | 8, "bits 0x8 must be 0", 0, 0},
    {long_mode, VMCS_GUEST_RFLAGS, 0, "bit 1 must be 1", 0, 0},
    {v86_mode, VMCS_GUEST_CR0, 0x20, "GUEST_RFLAGS 0x20202: bit 17 (VM) must be 0 in IA-32e", 0, 0},
    {long_mode, VMCS_GUEST_RFLAGS, RFLAGS_ONE, "bit 9 (IF) must be 1", VMCS_ENTRY_INTERRUPTION_INFO,
     EVENT(0u, 0x20u)},
    /* 27.3.1.5 and 27.3.1.6 */
    {long_mode, VMCS_GUEST_ACTIVITY, 4, "must be a state that the CPU has", 0, 0},
    {long_mode, VMCS_GUEST_ACTIVITY, 1ull << 40, "must be a state that the CPU has", 0, 0},
    {v86_mode, VMCS_GUEST_ACTIVITY, 1, "while the DPL of SS is not 0", 0, 0},
    {long_mode, VMCS_GUEST_ACTIVITY, 2, "does not allow the event", VMCS_ENTRY_INTERRUPTION_INFO,
     EVENT(3u, 1u)},
    {long_mode, VMCS_GUEST_ACTIVITY, 1, "does not allow the event", VMCS_ENTRY_INTERRUPTION_INFO,
     EVENT(3u, 6u)},
    {long_mode, VMCS_GUEST_ACTIVITY, 3, "does not allow the event", VMCS_ENTRY_INTERRUPTION_INFO,
     EVENT(2u, 2u)},
    {v86_mode, VMCS_GUEST_INTERRUPTIBILITY, 3, "must not both be 1", 0, 0},
    {v86_mode, VMCS_GUEST_INTERRUPTIBILITY, 0x20, "bits 0x20 must be 0", 0, 0},
    {long_mode, VMCS_GUEST_INTERRUPTIBILITY, 1, "must be 0 while RFLAGS.IF is 0", 0, 0},
    {v86_mode, VMCS_GUEST_INTERRUPTIBILITY, 2, "to inject an external interrupt",
     VMCS_ENTRY_INTERRUPTION_INFO, EVENT(0u, 0x20u)},
    {long_mode, VMCS_GUEST_INTERRUPTIBILITY, 2, "bit 1 (MOV SS) must be 0 to inject an NMI",
     VMCS_ENTRY_INTERRUPTION_INFO, EVENT(2u, 2u)},
    {long_mode, VMCS_GUEST_INTERRUPTIBILITY, 8, "bit 3 (NMI) must be 0 to inject an NMI",
     VMCS_ENTRY_INTERRUPTION_INFO, EVENT(2u, 2u)},
    {long_mode, VMCS_GUEST_INTERRUPTIBILITY, 4, "bit 2 (SMI) must be 0 outside SMM", 0, 0},
    {v86_mode, VMCS_GUEST_ACTIVITY, 2, "must be 0 while STI or MOV SS", VMCS_GUEST_INTERRUPTIBILITY,
     1},
    {long_mode, VMCS_GUEST_PENDING_DEBUG, 0x20010, "bits 0x20010 must be 0", 0, 0},
    {long_mode, VMCS_GUEST_PENDING_DEBUG, 0x4000, "bit 14 (BS) must be 1 exactly when TF",
     VMCS_GUEST_INTERRUPTIBILITY, 2},
    {long_mode, VMCS_LINK_POINTER, 0x6000, "must have all bits set", 0, 0},
    {pae_mode, VMCS_GUEST_PDPTE0, 0x30003, "bits 0x2 must be 0 (SDM vol. 3, 27.3.1.6)", 0, 0},
    {pae_mode, VMCS_GUEST_PDPTE3, BEYOND_40 | 1, "bits 0x10000000000 must be 0", 0, 0},
};

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* A rule that is broken by itself shows as one line that starts with field and value. `text` names
 * another field itself where the rule is that field's, and is NULL where two rules are broken. */
static void test_bad(void **state)
{
    char start[96];

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        const struct bad *b = &bad[i];
        b->mode();
        if (b->also)
            vmcs[b->also] = b->also_value;
        vmcs[b->field] = b->value;

        unsigned int broken = check();
        unsigned int lines = 0;
        for (const char *p = output; (p = strchr(p, '\n')) != NULL; p++)
            lines++;
        snprintf(start, sizeof(start), "%s 0x%llx: ", vmx_field_name(b->field), U(b->value));
        bool ok = b->text ? broken == 1 && strstr(output, b->text) &&
                                (starts_with(output, start) || starts_with(output, b->text))
                          : broken == 2 && strstr(output, start);
        if (!ok || lines != broken) {
            fail_msg("row %zu, %sexpected \"%s\", %u broken, got:\n%s", i, start,
                     b->text ? b->text : "two rules", broken, output);
        }
    }
    assert_true(ARRAY_SIZE(bad) >= 40);
}

/* What depends on the CPU. */
static void test_limits(void **state)
{
    long_mode();
    vmcs[VMCS_TPR_THRESHOLD] = 15;
    limits.vtpr = -1;
    assert_int_equal(check(), 0); /* not known: no complaint */

    vmcs[VMCS_GUEST_CR3] = BEYOND_40;
    limits.phys_bits = 46;
    assert_int_equal(check(), 0);
    limits.phys_bits = 64;
    assert_int_equal(check(), 0);

    vmcs[VMCS_GUEST_FS_BASE] = NOT_CANONICAL;
    limits.linear_bits = 57;
    assert_int_equal(check(), 0);

    vmcs[VMCS_EPT_POINTER] |= BIT(6);
    assert_int_equal(check(), 0);
    limits.msr[VMX_CAP_EPT_VPID] &= ~BIT64(21);
    assert_int_equal(check(), 1);
    assert_non_null(strstr(output, "the CPU has no accessed and dirty flags"));
    vmcs[VMCS_EPT_POINTER] = EPTP_WALK_LENGTH; /* uncached */
    assert_int_equal(check(), 0);

    limits.msr[VMX_CAP_MISC] |= BIT64(30); /* instructions of length 0 */
    vmcs[VMCS_ENTRY_INTERRUPTION_INFO] = EVENT(4u, 3u);
    assert_int_equal(check(), 0);
    limits.msr[VMX_CAP_BASIC] |= BIT64(56); /* error codes with any exception */
    vmcs[VMCS_ENTRY_INTERRUPTION_INFO] = EVENT(3u, 6u) | INTR_INFO_ERROR;
    assert_int_equal(check(), 0);
    limits.msr[VMX_CAP_MISC] &= ~BIT64(6);
    vmcs[VMCS_ENTRY_INTERRUPTION_INFO] = 0;
    vmcs[VMCS_GUEST_ACTIVITY] = 1;
    assert_int_equal(check(), 1);
}

/* Any bits at all: nothing but an answer, and as many lines as it says. */
static void test_random(void **state)
{
    unsigned int seed = 1;

    for (unsigned int round = 0; round < 2000; round++) {
        long_mode();
        for (size_t f = 0; f < FIELDS; f++) {
            if (round % 4 == 0 || rand_r(&seed) % 8 == 0) {
                vmcs[f] = (uint64_t)rand_r(&seed) << 40 ^ (uint64_t)rand_r(&seed) << 20 ^
                          (uint64_t)rand_r(&seed);
            }
        }
        limits.phys_bits = (unsigned int)rand_r(&seed) & 255;
        limits.linear_bits = (unsigned int)rand_r(&seed) & 255;
        unsigned int broken = check();
        unsigned int lines = 0;
        for (const char *p = output; (p = strchr(p, '\n')) != NULL; p++)
            lines++;
        assert_int_equal(lines, MAX(broken, 1u));
        output[0] = '\0';
        vmx_explain(&source, collect);
    }
}

static int setup(void **state)
{
    limits =
        (struct vmx_limits){.msr = VMX_HASWELL, .phys_bits = 40, .linear_bits = 48, .vtpr = 0x50};
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_good, setup),
        cmocka_unit_test_setup(test_bad, setup),
        cmocka_unit_test_setup(test_limits, setup),
        cmocka_unit_test_setup(test_random, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
