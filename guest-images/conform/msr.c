/* MSRs: what is kept, what is refused (SDM vol. 4; APM vol. 2, appendix A; policy: vmm/msr.c). */

#include "check.h"

#define MSR_FEATURE_CONTROL 0x3au
#define MSR_MTRR_CAP        0xfeu
#define MSR_SYSENTER_CS     0x174u
#define MSR_SYSENTER_ESP    0x175u
#define MSR_SYSENTER_EIP    0x176u
#define MSR_MTRR_BASE0      0x200u
#define MSR_MTRR_MASK0      0x201u
#define MSR_MTRR_FIX64K     0x250u
#define MSR_MTRR_DEF        0x2ffu
#define MSR_X2APIC_VERSION  0x803u
#define MSR_KVM_CLOCK       0x4b564d01u

#define BASE_ENABLE BIT64(11)
#define BASE_X2     BIT64(10)
#define BASE_BSP    BIT64(8)
#define PATTERN     0x123456789abcull
#define KVM_STABLE  BIT(0)

SNIPPET(code_rdmsr1, "rdmsr");
SNIPPET(code_rdmsr_66, ".byte 0x66; rdmsr");
SNIPPET(code_rdmsr_rex, ".byte 0x48; rdmsr");
SNIPPET(code_wrmsr1, "wrmsr");
SNIPPET(code_rdtscp, "rdtscp");
SNIPPET(code_fs_load, "mov %fs:0, %rax");
SNIPPET(code_gs_swapped, "swapgs; mov %gs:0, %rax; swapgs");

/* Registers of the guest's own: written, kept over an exit, read back. */
static void check_kept(void)
{
    static const struct {
        const char *name;
        uint32_t msr;
        uint64_t value;
    } rows[] = {
        {"star", MSR_STAR, 0x0018000800000000ull},
        {"lstar", MSR_LSTAR, PATTERN},
        {"lstar-upper-half", MSR_LSTAR, 0xffff800012345678ull},
        {"cstar", MSR_CSTAR, PATTERN},
        {"sfmask", MSR_SFMASK, 0x700},
        {"fs-base", MSR_FS_BASE, PATTERN},
        {"gs-base", MSR_GS_BASE, 0xffff800000001000ull},
        {"kernel-gs-base", MSR_KERNEL_GS_BASE, PATTERN},
        {"sysenter-cs", MSR_SYSENTER_CS, 0x8},
        {"sysenter-esp", MSR_SYSENTER_ESP, 0x12345678},
        {"sysenter-eip", MSR_SYSENTER_EIP, 0x1234567},
        {"pat", MSR_PAT, 0x0706050401000007ull},
        {"mtrr-base", MSR_MTRR_BASE0, 0x10000006},
        {"mtrr-mask", MSR_MTRR_MASK0, 0xfff0000800ull},
        {"mtrr-fixed", MSR_MTRR_FIX64K, 0x0606060606060606ull},
        {"mtrr-default", MSR_MTRR_DEF, 0xc06},
    };
    uint64_t old, got;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (try_rdmsr(rows[i].msr, &old) != GUEST_RETURNED ||
            try_wrmsr(rows[i].msr, rows[i].value) != GUEST_RETURNED) {
            check_that(rows[i].name, false, (uint64_t)guest_trap.vector, "no exception");
            continue;
        }
        cpuid(0, 0);
        inb(0x61);
        try_rdmsr(rows[i].msr, &got);
        check_eq(rows[i].name, got, rows[i].value);
        try_wrmsr(rows[i].msr, old);
    }
}

/* What must end in #GP(0), nothing changed. */
static void check_refused(void)
{
    static const struct {
        const char *name;
        uint32_t msr;
        uint64_t value;
    } rows[] = {
        {"pat-type-2", MSR_PAT, 0x0007040600070402ull},
        {"pat-type-3", MSR_PAT, 0x0307040600070406ull},
        {"pat-reserved", MSR_PAT, 0x0007040600078406ull},
        {"fs-base-noncanonical", MSR_FS_BASE, NONCANONICAL},
        {"gs-base-noncanonical", MSR_GS_BASE, NONCANONICAL},
        {"kernel-gs-base-noncanonical", MSR_KERNEL_GS_BASE, NONCANONICAL},
        {"lstar-noncanonical", MSR_LSTAR, NONCANONICAL},
        {"cstar-noncanonical", MSR_CSTAR, NONCANONICAL},
        {"apic-base-x2apic-disabled", MSR_APIC_BASE, GUEST_LAPIC | BASE_X2},
        {"apic-base-reserved", MSR_APIC_BASE, GUEST_LAPIC | BASE_ENABLE | BASE_BSP | 1},
        {"mtrr-default-reserved", MSR_MTRR_DEF, 0x100},
        {"mtrr-cap-read-only", MSR_MTRR_CAP, 0},
        {"efer-reserved", MSR_EFER, EFER_LME | EFER_LMA | BIT64(2)},
        {"efer-reserved-high", MSR_EFER, EFER_LME | EFER_LMA | BIT64(40)},
        {"efer-lme-with-paging", MSR_EFER, EFER_LMA | EFER_NXE},
        {"unknown-write", 0xc0012345, 0},
        {"unknown-write-low", 0x5000, 0},
        {"unknown-write-high", 0xdeadbeef, 0},
    };
    uint64_t old, got;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        /* QEMU's TCG itself takes them, and never turns the LAPIC on again. */
        if (has.tcg && rows[i].msr == MSR_APIC_BASE) {
            check_skip(rows[i].name, "native TCG");
            continue;
        }
        bool readable = try_rdmsr(rows[i].msr, &old) == GUEST_RETURNED;
        int vector = try_wrmsr(rows[i].msr, rows[i].value);

        got = old = readable ? old : 0;
        if (readable)
            try_rdmsr(rows[i].msr, &got);
        if (vector == GUEST_RETURNED && readable)
            try_wrmsr(rows[i].msr, old);
        check_that(rows[i].name, vector == EXC_GP && guest_trap.vector != EXC_UD && got == old,
                   (uint64_t)vector, "#GP and the old value");
    }
}

static void check_unknown(void)
{
    static const struct {
        const char *name;
        uint32_t msr;
    } rows[] = {
        /* Around the ends of what the permission maps of both vendors cover. */
        {"unknown-read-1fff", 0x1fff},         {"unknown-read-2000", 0x2000},
        {"unknown-read-3fffffff", 0x3fffffff}, {"unknown-read-bfffffff", 0xbfffffff},
        {"unknown-read-c0001fff", 0xc0001fff}, {"unknown-read-c0002000", 0xc0002000},
        {"unknown-read-c0011fff", 0xc0011fff}, {"unknown-read-ffffffff", 0xffffffff},
    };
    uint64_t value;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_eq(rows[i].name, (uint64_t)try_rdmsr(rows[i].msr, &value), EXC_GP);
}

static void check_instruction(void)
{
    static const struct trap_row traps[] = {
        {"rdmsr-ring-3", code_rdmsr1, EXC_GP, 0, 0, SEL_USER_CODE64, {.rcx = MSR_EFER}},
        {"wrmsr-ring-3", code_wrmsr1, EXC_GP, 0, 0, SEL_USER_CODE64, {.rcx = MSR_EFER}},
        {"rdmsr-compatibility-ring-3",
         code_rdmsr1,
         EXC_GP,
         0,
         0,
         SEL_USER_CODE32,
         {.rcx = MSR_EFER}},
        {"rdmsr-fault-at-itself", code_rdmsr1, EXC_GP, 0, 0, 0, {.rcx = 0xdeadbeef}},
    };
    uint64_t efer = rdmsr(MSR_EFER);
    struct guest_regs r;

    check_traps(traps, ARRAY_SIZE(traps));
    r = (struct guest_regs){.rax = ~0ull, .rdx = ~0ull, .rcx = 0xffffffff00000000ull | MSR_EFER};
    guest_exec(code_rdmsr1, &r);
    check_eq("rdmsr-rax", r.rax, (uint32_t)efer);
    check_eq("rdmsr-rdx", r.rdx, efer >> 32);
    r = (struct guest_regs){.rcx = MSR_EFER};
    guest_exec(code_rdmsr_66, &r);
    check_eq("rdmsr-prefix-66", r.rax, (uint32_t)efer);
    r = (struct guest_regs){.rcx = MSR_EFER};
    guest_exec(code_rdmsr_rex, &r);
    check_eq("rdmsr-prefix-rex", r.rax, (uint32_t)efer);
    r = (struct guest_regs){
        .rcx = MSR_KERNEL_GS_BASE, .rax = 0xffffffff00001234ull, .rdx = 0xffffffff00000056ull};
    guest_exec(code_wrmsr1, &r);
    check_eq("wrmsr-ignores-upper-halves", rdmsr(MSR_KERNEL_GS_BASE), 0x5600001234ull);
    wrmsr(MSR_KERNEL_GS_BASE, 0);
    r = (struct guest_regs){.rcx = MSR_EFER};
    guest_exec_in(SEL_CODE32, code_rdmsr1, &r);
    check_eq("rdmsr-compatibility-mode", r.rax, (uint32_t)efer);
}

static void check_efer(void)
{
    uint64_t efer = rdmsr(MSR_EFER);

    check_eq("efer-long-mode", efer & (EFER_LME | EFER_LMA), EFER_LME | EFER_LMA);
    check_eq("efer-svme-hidden", efer & EFER_SVME, 0);
    wrmsr(MSR_EFER, efer ^ EFER_SCE);
    check_eq("efer-sce", rdmsr(MSR_EFER), efer ^ EFER_SCE);
    wrmsr(MSR_EFER, efer);
    if (has.nx) {
        wrmsr(MSR_EFER, efer & ~EFER_NXE);
        check_eq("efer-nxe", rdmsr(MSR_EFER) & EFER_NXE, 0);
        wrmsr(MSR_EFER, efer);
    }
    if (!has.svm)
        check_eq("efer-svme-refused", (uint64_t)try_wrmsr(MSR_EFER, efer | EFER_SVME), EXC_GP);
}

static void check_bases(void)
{
    static uint64_t here = 0xfeedfacecafebeefull, there = 0x1badd00dull;
    struct guest_regs r = {0};

    wrmsr(MSR_FS_BASE, (uintptr_t)&here);
    wrmsr(MSR_GS_BASE, 0);
    wrmsr(MSR_KERNEL_GS_BASE, (uintptr_t)&there);
    guest_exec(code_fs_load, &r);
    check_eq("fs-base-is-used", r.rax, here);
    guest_exec(code_gs_swapped, &r);
    check_eq("swapgs", r.rax, there);
    wrmsr(MSR_FS_BASE, 0);
    wrmsr(MSR_KERNEL_GS_BASE, 0);
    if (!has.rdtscp) {
        check_skip("tsc-aux", "no RDTSCP");
        return;
    }
    wrmsr(MSR_TSC_AUX, 0x89abcdef);
    cpuid(0, 0);
    check_eq("tsc-aux", rdmsr(MSR_TSC_AUX), 0x89abcdef);
    guest_exec(code_rdtscp, &r);
    check_eq("tsc-aux-rdtscp", r.rcx, 0x89abcdef);
    check_eq("tsc-aux-reserved", (uint64_t)try_wrmsr(MSR_TSC_AUX, BIT64(32)), EXC_GP);
    wrmsr(MSR_TSC_AUX, 0);
}

static void check_apic_base(void)
{
    uint64_t value;

    check_eq("apic-base", rdmsr(MSR_APIC_BASE), GUEST_LAPIC | BASE_ENABLE | BASE_BSP);
    check_eq("x2apic-msr-in-xapic-mode", (uint64_t)try_rdmsr(MSR_X2APIC_VERSION, &value), EXC_GP);
}

/* kvmclock (Linux Documentation/virt/kvm/x86/msr.rst). */
static void check_kvm_clock(void)
{
    static struct {
        uint32_t version, pad;
        uint64_t tsc, system;
        uint32_t mul;
        int8_t shift;
        uint8_t flags, pad2[2];
    } volatile clock ALIGNED(64);

    clock.version = 1;
    check_eq("kvm-clock-write", (uint64_t)try_wrmsr(MSR_KVM_CLOCK, (uintptr_t)&clock | 1),
             (uint64_t)GUEST_RETURNED);
    cpuid(0, 0);
    check_eq("kvm-clock-version", clock.version & 1, 0);
    check_that("kvm-clock-scale", clock.mul != 0, clock.mul, "a multiplier");
    check_eq("kvm-clock-stable", clock.flags & KVM_STABLE, KVM_STABLE);
    check_that("kvm-clock-tsc", clock.tsc <= rdtsc(), clock.tsc, "a TSC of the past");
    try_wrmsr(MSR_KVM_CLOCK, 0);
}

void group_msr(void)
{
    check_kept();
    check_refused();
    check_unknown();
    check_instruction();
    check_efer();
    check_bases();
    check_apic_base();
    if (!has.native) {
        uint64_t locked = 0;

        check_kvm_clock();
        try_rdmsr(MSR_FEATURE_CONTROL, &locked);
        check_eq("feature-control-locked", locked, 1);
        check_eq("apic-base-move-refused",
                 (uint64_t)try_wrmsr(MSR_APIC_BASE, 0xfed00000 | BASE_ENABLE | BASE_BSP), EXC_GP);
    }
}
