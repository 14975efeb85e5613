/* CPUID: what Bulkhead shows (vmm/cpuid.c), and that the instruction itself behaves. */

#include "check.h"

#define F1D_HTT        BIT(28)
#define F1C_MONITOR    BIT(3)
#define F1C_VMX        BIT(5)
#define F1C_X2APIC     BIT(21)
#define F1C_DEADLINE   BIT(24)
#define F1C_OSXSAVE    BIT(27)
#define F1C_HYPERVISOR BIT(31)
/* FPU TSC MSR PAE CX8 APIC PGE CMOV PAT FXSR SSE SSE2: every 64-bit CPU has them. */
#define F1D_EXPECTED  0x0701a331u
#define FE1C_CMP      BIT(1)
#define FE1C_SVM      BIT(2)
#define FE1C_TOPOEXT  BIT(22)
#define FE1D_LM       BIT(29)
#define F7B_HIDDEN    (BIT(2) | BIT(11) | BIT(12) | BIT(14) | BIT(25)) /* SGX RTM PQM MPX PT */
#define F7C_HIDDEN    (BIT(3) | BIT(4) | BIT(16))                      /* PKU OSPKE LA57 */
#define KVM_CLOCK2    BIT(3)
#define KVM_STABLE    BIT(24)
#define UNKNOWN_BASIC 0x20u
#define JUNK          0xa5a5a5a500000000ull

SNIPPET(code_cpuid, "cpuid");
SNIPPET(code_cpuid_66, ".byte 0x66; cpuid");
SNIPPET(code_cpuid_f2, ".byte 0xf2; cpuid");
SNIPPET(code_cpuid_f3, ".byte 0xf3; cpuid");
SNIPPET(code_cpuid_67, ".byte 0x67; cpuid");
SNIPPET(code_cpuid_2e, ".byte 0x2e; cpuid");
SNIPPET(code_cpuid_rex, ".byte 0x48; cpuid");
SNIPPET(code_cpuid_many, ".byte 0x66, 0x2e, 0x3e, 0x64, 0x67, 0x66, 0xf2, 0x66, 0x66, 0x66, 0x66, "
                         "0x66, 0x4f; cpuid");
SNIPPET(code_cpuid_long, ".byte 0x66, 0x2e, 0x3e, 0x64, 0x67, 0x66, 0xf2, 0x66, 0x66, 0x66, 0x66, "
                         "0x66, 0x66, 0x66; cpuid");
SNIPPET(code_cpuid_lock, ".byte 0xf0; cpuid");

static void check_instruction(void)
{
    static const struct {
        const char *name;
        const uint8_t *code;
    } forms[] = {
        {"prefix-66", code_cpuid_66},           {"prefix-f2", code_cpuid_f2},
        {"prefix-f3", code_cpuid_f3},           {"prefix-67", code_cpuid_67},
        {"prefix-2e", code_cpuid_2e},           {"prefix-rex", code_cpuid_rex},
        {"prefixes-15-bytes", code_cpuid_many},
    };
    static const struct trap_row faults[] = {
        {"16-bytes", code_cpuid_long, EXC_GP, 0, 0, 0, {0}},
        {"lock", code_cpuid_lock, EXC_UD, 0, 0, 0, {0}},
    };
    struct cpuid_regs plain = cpuid(1, 0);
    struct guest_regs r;

    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        r = (struct guest_regs){.rax = 1};
        int vector = guest_exec(forms[i].code, &r);
        check_that(forms[i].name,
                   vector == GUEST_RETURNED && r.rax == plain.eax && r.rdx == plain.edx, r.rax,
                   "the same as without prefix");
    }
    check_traps(faults, ARRAY_SIZE(faults));
    r = (struct guest_regs){.rax = JUNK | 1, .rcx = JUNK, .rdx = JUNK, .rbx = JUNK};
    guest_exec(code_cpuid, &r);
    check_eq("upper-halves-cleared", (r.rax | r.rbx | r.rcx | r.rdx) >> 32, 0);
    check_eq("upper-half-of-leaf-ignored", r.rax, plain.eax);
    r = (struct guest_regs){.rax = 0,
                            .rbp = 1,
                            .rsi = 2,
                            .rdi = 3,
                            .r8 = 4,
                            .r9 = 5,
                            .r10 = 6,
                            .r11 = 7,
                            .r12 = 8,
                            .r13 = 9,
                            .r14 = 10,
                            .r15 = 11,
                            .rflags = RFLAGS_CF | RFLAGS_ZF | RFLAGS_OF | RFLAGS_SF};
    guest_exec(code_cpuid, &r);
    check_that("other-registers-kept",
               r.rbp == 1 && r.rsi == 2 && r.rdi == 3 && r.r8 == 4 && r.r9 == 5 && r.r10 == 6 &&
                   r.r11 == 7 && r.r12 == 8 && r.r13 == 9 && r.r14 == 10 && r.r15 == 11,
               r.rbp, "unchanged registers");
    check_eq("flags-kept", r.rflags, RFLAGS_FIXED | RFLAGS_CF | RFLAGS_ZF | RFLAGS_OF | RFLAGS_SF);
    r = (struct guest_regs){.rax = 1};
    check_eq("ring-3-runs", (uint64_t)guest_exec_in(SEL_USER_CODE64, code_cpuid, &r),
             (uint64_t)GUEST_RETURNED);
    check_eq("ring-3", r.rax, plain.eax);
    r = (struct guest_regs){.rax = 1};
    guest_exec_in(SEL_USER_CODE32, code_cpuid, &r);
    check_eq("compatibility-mode-ring-3", r.rax, plain.eax);
    r = (struct guest_regs){.rax = 1};
    guest_exec_in(SEL_CODE32, code_cpuid, &r);
    check_eq("compatibility-mode", r.rax, plain.eax);
}

static void check_osxsave(void)
{
    uint64_t cr4 = read_cr4();

    if (!has.xsave) {
        check_skip("osxsave", "no XSAVE");
        return;
    }
    write_cr4(cr4 & ~CR4_OSXSAVE);
    check_eq("osxsave-clear", cpuid(1, 0).ecx & F1C_OSXSAVE, 0);
    write_cr4(cr4 | CR4_OSXSAVE);
    check_eq("osxsave-set", cpuid(1, 0).ecx & F1C_OSXSAVE, F1C_OSXSAVE);

    uint64_t xcr0 = xgetbv(0);
    struct cpuid_regs r = cpuid(0xd, 0);
    check_eq("xsave-x87-sse", r.eax & 3, 3);
    check_eq("xsave-avx", (r.eax >> 2) & 1, has.avx);
    check_that("xsave-max-size", r.ecx >= r.ebx && r.ecx >= 576, r.ecx, "EBX and 576 at least");
    xsetbv(0, 1);
    check_eq("xsave-size-x87", cpuid(0xd, 0).ebx, 576);
    if (has.avx) {
        xsetbv(0, 7);
        struct cpuid_regs avx = cpuid(0xd, 2);
        check_eq("xsave-size-avx", cpuid(0xd, 0).ebx, avx.eax + avx.ebx);
    } else {
        check_skip("xsave-size-avx", "no AVX");
    }
    xsetbv(0, xcr0);
    r = cpuid(0xd, 62);
    check_eq("xsave-no-component-62", r.eax | r.ebx | r.ecx | r.edx, 0);
    write_cr4(cr4);
}

/* Leaf 4 or 8000001Dh: L1 and L2 are a core's, L3 the package's. */
static void check_caches(const char *name, uint32_t leaf, unsigned int cores)
{
    for (uint32_t i = 0; i < 8; i++) {
        uint32_t eax = cpuid(leaf, i).eax;
        unsigned int level = eax >> 5 & 7, sharing = (eax >> 14 & 0xfff) + 1;

        if (!(eax & 0x1f))
            return;
        check_eq(name, sharing, level < 3 ? 1 : cores);
        check_eq(name, eax >> 26, leaf == 4 ? cores - 1 : 0);
    }
}

/* A package of `cores` cores with a thread each; AMD's leaves. */
static void check_amd_topology(uint32_t id, unsigned int cores)
{
    uint32_t features = cpuid(0x80000001, 0).ecx, sizes = cpuid(0x80000008, 0).ecx;

    check_eq("amd-cores-no-threads", features & FE1C_CMP, cores > 1 ? FE1C_CMP : 0);
    check_eq("amd-cores", sizes & 0xff, cores - 1);
    check_that("amd-id-size", 1u << (sizes >> 12 & 0xf) >= cores, sizes, "room for all cores");
    if (!(features & FE1C_TOPOEXT)) {
        check_skip("amd-topology", "no TOPOEXT");
        return;
    }
    struct cpuid_regs r = cpuid(0x8000001e, 0);
    check_that("amd-topology", r.eax == id && r.ebx == id && r.ecx == 0, r.ebx,
               "core by APIC id, one thread, node 0");
    check_caches("amd-cache-sharing", 0x8000001d, cores);
}

static void check_topology(bool amd)
{
    struct cpuid_regs r = cpuid(1, 0);
    uint32_t id = lapic_is_x2() ? lapic_read(LAPIC_REG_ID) : lapic_read(LAPIC_REG_ID) >> 24;
    unsigned int cores = r.ebx >> 16 & 0xff;

    check_eq("apic-id", r.ebx >> 24, id);
    check_range("logical-processors", cores, 1, 64);
    check_eq("htt", r.edx & F1D_HTT, cores > 1 ? F1D_HTT : 0);
    check_caches("cache-sharing", 4, cores);
    if (amd)
        check_amd_topology(id, cores);
    else
        check_eq("no-amd-cores", cpuid(0x80000008, 0).ecx, 0);
    if (cpuid(0, 0).eax < 0xb) {
        check_skip("topology", "no leaf 0Bh");
        return;
    }
    r = cpuid(0xb, 0);
    check_eq("topology-smt", r.ecx, 0x100);
    check_eq("topology-smt-count", r.ebx & 0xffff, 1);
    check_eq("topology-smt-shift", r.eax, 0);
    check_eq("topology-x2apic-id", r.edx, id);
    r = cpuid(0xb, 1);
    check_eq("topology-core", r.ecx, 0x201);
    check_eq("topology-core-count", r.ebx & 0xffff, cores);
    check_that("topology-core-shift", 1u << r.eax >= cores, r.eax, "room for all cores");
    r = cpuid(0xb, 2);
    check_eq("topology-end", r.ecx >> 8 & 0xff, 0);
}

/* What Bulkhead's tables say whatever the machine is. */
static void check_policy(void)
{
    struct cpuid_regs r = cpuid(1, 0);

    check_eq("hypervisor-bit", r.ecx & F1C_HYPERVISOR, F1C_HYPERVISOR);
    check_eq("x2apic-shown", r.ecx & F1C_X2APIC, F1C_X2APIC);
    check_eq("tsc-deadline-shown", r.ecx & F1C_DEADLINE, F1C_DEADLINE);
    check_eq("vmx-hidden", r.ecx & F1C_VMX, 0);
    check_eq("monitor-hidden", r.ecx & F1C_MONITOR, 0);
    check_eq("svm-hidden", cpuid(0x80000001, 0).ecx & FE1C_SVM, 0);
    check_range("max-basic", cpuid(0, 0).eax, 0xb, 0xd);
    check_eq("max-extended", cpuid(0x80000000, 0).eax,
             cpuid(0x80000001, 0).ecx & FE1C_TOPOEXT ? 0x8000001e : 0x80000008);
    r = cpuid(0x40000000, 0);
    check_that("signature",
               r.eax == 0x40000010 && !memcmp(&r.ebx, "Bulk", 4) && !memcmp(&r.ecx, "head", 4) &&
                   !memcmp(&r.edx, "Core", 4),
               r.eax, "40000010h BulkheadCore");
    check_eq("interface-version", cpuid(0x40000001, 0).eax, 1);
    r = cpuid(0x40000100, 0);
    check_that("kvm-signature",
               r.eax == 0x40000101 && !memcmp(&r.ebx, "KVMK", 4) && !memcmp(&r.ecx, "VMKV", 4) &&
                   !memcmp(&r.edx, "M\0\0\0", 4),
               r.eax, "40000101h KVMKVMKVM");
    check_eq("kvm-clock", cpuid(0x40000101, 0).eax & (KVM_CLOCK2 | KVM_STABLE),
             KVM_CLOCK2 | KVM_STABLE);
    r = cpuid(7, 0);
    check_eq("leaf7-no-subleaf", r.eax, 0);
    check_eq("leaf7-hidden", (r.ebx & F7B_HIDDEN) | (r.ecx & F7C_HIDDEN), 0);
    r = cpuid(7, 1);
    check_eq("leaf7-subleaf1", r.eax | r.ebx | r.ecx | r.edx, 0);
    r = cpuid(0xa, 0);
    check_eq("no-performance-monitoring", r.eax | r.ebx | r.ecx | r.edx, 0);
    r = cpuid(0x8000000a, 0);
    check_eq("no-svm-leaf", r.eax | r.ebx | r.ecx | r.edx, 0);
    r = cpuid(UNKNOWN_BASIC, 0);
    check_eq("unknown-leaf", r.eax | r.ebx | r.ecx | r.edx, 0);
    r = cpuid(0x8fffffff, 0);
    check_eq("unknown-extended-leaf", r.eax | r.ebx | r.ecx | r.edx, 0);
    check_topology(cpuid(0, 0).ecx == 0x444d4163); /* "cAMD" */
}

void group_cpuid(void)
{
    struct cpuid_regs r = cpuid(0, 0);
    uint8_t name = (uint8_t)cpuid(0x80000002, 0).eax;

    check_that(
        "vendor",
        (!memcmp(&r.ebx, "Auth", 4) && !memcmp(&r.edx, "enti", 4) && !memcmp(&r.ecx, "cAMD", 4)) ||
            (!memcmp(&r.ebx, "Genu", 4) && !memcmp(&r.edx, "ineI", 4) &&
             !memcmp(&r.ecx, "ntel", 4)),
        r.ebx, "AuthenticAMD or GenuineIntel");
    check_eq("features-of-every-64-bit-cpu", cpuid(1, 0).edx & F1D_EXPECTED, F1D_EXPECTED);
    check_eq("long-mode", cpuid(0x80000001, 0).edx & FE1D_LM, FE1D_LM);
    check_range("physical-bits", cpuid(0x80000008, 0).eax & 0xff, 36, 52);
    check_eq("linear-bits", cpuid(0x80000008, 0).eax >> 8 & 0xff, 48);
    check_range("brand-string", name, ' ', '~');
    check_instruction();
    check_osxsave();
    if (!has.native)
        check_policy();
}
