/* What CPUID tells a guest. One row a leaf: the machine's value, masked, with bits added. A leaf
 * that is in no row reads as zeros. */

#include "vmm/cpuid.h"

#include "arch/x86/fpu.h"
#include "arch/x86/time.h"
#include "arch/x86/virt.h"
#include "lib/string.h"
#include "vmm/exit.h"
#include "vmm/vm.h"

#define ALL UINT32_MAX

#define MAX_BASIC      0x0du
#define MAX_EXTENDED   0x80000008u
#define HV_BASE        0x40000000u
#define HV_FREQUENCIES 0x40000010u
#define HV_KVM_BASE    0x40000100u

/* Leaf 1 ECX. */
#define F1C_SSE3         BIT(0)
#define F1C_PCLMUL       BIT(1)
#define F1C_SSSE3        BIT(9)
#define F1C_FMA          BIT(12)
#define F1C_CX16         BIT(13)
#define F1C_PCID         BIT(17)
#define F1C_SSE41        BIT(19)
#define F1C_SSE42        BIT(20)
#define F1C_X2APIC       BIT(21)
#define F1C_MOVBE        BIT(22)
#define F1C_POPCNT       BIT(23)
#define F1C_TSC_DEADLINE BIT(24)
#define F1C_AES          BIT(25)
#define F1C_XSAVE        BIT(26)
#define F1C_OSXSAVE      BIT(27)
#define F1C_AVX          BIT(28)
#define F1C_F16C         BIT(29)
#define F1C_RDRAND       BIT(30)
#define F1C_HYPERVISOR   BIT(31)
#define F1C_SHOWN                                                                                \
    (F1C_SSE3 | F1C_PCLMUL | F1C_SSSE3 | F1C_FMA | F1C_CX16 | F1C_PCID | F1C_SSE41 | F1C_SSE42 | \
     F1C_MOVBE | F1C_POPCNT | F1C_AES | F1C_XSAVE | F1C_AVX | F1C_F16C | F1C_RDRAND)

/* Leaf 1 EDX: FPU VME DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36 CLFSH MMX
 * FXSR SSE SSE2. */
#define F1D_SHOWN 0x078bfbffu

/* Leaf 7 EBX: FSGSBASE BMI1 AVX2 SMEP BMI2 ERMS INVPCID AVX512F AVX512DQ RDSEED ADX SMAP
 * AVX512_IFMA CLFLUSHOPT CLWB AVX512CD SHA AVX512BW AVX512VL. */
#define F7B_TSC_ADJUST BIT(1)
#define F7B_FSGSBASE   BIT(0)
#define F7B_SMEP       BIT(7)
#define F7B_SMAP       BIT(20)
#define F7B_SHOWN      0xf1bf07a9u
/* Leaf 7 ECX: AVX512_VBMI UMIP VBMI2 GFNI VAES VPCLMULQDQ VNNI BITALG VPOPCNTDQ RDPID. */
#define F7C_UMIP  BIT(2)
#define F7C_SHOWN 0x00405f46u
#define F7D_SHOWN BIT(4) /* FSRM */

/* 80000001h ECX: LAHF ABM SSE4A MISALIGNSSE 3DNOWPREFETCH XOP FMA4 TBM. */
#define FE1C_SHOWN  0x002109e1u
#define FE1D_NX     BIT(20)
#define FE1D_FFXSR  BIT(25)
#define FE1D_RDTSCP BIT(27)
/* 80000001h EDX: the bits that repeat leaf 1, SYSCALL NX MMXEXT FFXSR PAGE1GB RDTSCP LM 3DNOW. */
#define FE1D_SHOWN 0xefd3fbffu

#define LAPIC_TIMER_KHZ    1000000u /* vmm/irqchip/lapic.h */
#define FE7D_INVARIANT_TSC BIT(8)
#define FE8B_SHOWN         0x00000005u /* CLZERO, XSAVEERPTR */

/* KVM's feature bits (Linux Documentation/virt/kvm/x86/cpuid.rst). */
#define KVM_FEATURE_CLOCKSOURCE        BIT(0)
#define KVM_FEATURE_NOP_IO_DELAY       BIT(1)
#define KVM_FEATURE_CLOCKSOURCE2       BIT(3)
#define KVM_FEATURE_PV_EOI             BIT(6)
#define KVM_FEATURE_CLOCKSOURCE_STABLE BIT(24)

#define XSAVE_SHOWN 0x00000007u /* leaf 0Dh.1 EAX: XSAVEOPT XSAVEC XGETBV1; not XSAVES */
/* State components for guests: x87 SSE AVX and AVX-512. Not PKRU, MPX, AMX. */
#define XCR0_SHOWN 0xe7ull

typedef void adjust_fn(struct vcpu *v, uint32_t subleaf, struct cpuid_regs *r);
typedef void fix_fn(struct cpuid_regs *r);

struct cpuid_row {
    uint32_t leaf;
    struct cpuid_regs mask;
    fix_fn *fix;       /* may be NULL: at boot, on the answer that is kept */
    adjust_fn *adjust; /* may be NULL: at each execution */
    bool subleaves;    /* it has some: with `adjust` the machine is asked, else only 0 is shown */
    const char *reason;
};

INIT static void fix_max(struct cpuid_regs *r)
{
    r->eax = MIN(r->eax, MAX_BASIC);
}

static void adjust_features(struct vcpu *v, uint32_t subleaf, struct cpuid_regs *r)
{
    r->ebx |= 1u << 16 | v->lapic.apic_id << 24;
    r->ecx |= F1C_X2APIC | F1C_TSC_DEADLINE | F1C_HYPERVISOR;
    if (v->vm->state == VM_RUNNING && (virt->get_cr4(v) & CR4_OSXSAVE)) {
        r->ecx |= F1C_OSXSAVE;
    }
}

INIT static void fix_power(struct cpuid_regs *r)
{
    r->eax = BIT(2); /* ARAT: the LAPIC timer never stops */
}

/* No further subleaves are shown. */
INIT static bool tsc_is_invariant(void)
{
    return cpuid(0x80000000, 0).eax >= 0x80000007 &&
           (cpuid(0x80000007, 0).edx & FE7D_INVARIANT_TSC) != 0;
}

/* TSC_ADJUST helps where the TSC is trusted; elsewhere Linux reads it once a second for nothing. */
INIT static void fix_leaf7(struct cpuid_regs *r)
{
    r->ebx = tsc_is_invariant() ? r->ebx | F7B_TSC_ADJUST : r->ebx & ~F7B_TSC_ADJUST;
}

/* Subleaves, as the machine has them. */
static void adjust_nothing(struct vcpu *v, uint32_t subleaf, struct cpuid_regs *r)
{
}

/* One package, one core, one thread; the APIC ID in EDX is what x2APIC guests look for. */
static void adjust_topology(struct vcpu *v, uint32_t subleaf, struct cpuid_regs *r)
{
    static const uint32_t level_type[] = {1, 2}; /* SMT, core (SDM vol. 2, CPUID leaf 0Bh) */

    *r = (struct cpuid_regs){.ecx = subleaf & 0xff, .edx = v->lapic.apic_id};
    if (subleaf < ARRAY_SIZE(level_type)) {
        r->ebx = 1;
        r->ecx |= level_type[subleaf] << 8;
    }
}

/* Bytes of an XSAVE area in standard format for all components that guests are shown. */
static uint32_t xsave_max_size(void)
{
    uint64_t mask = cpuid_guest_xcr0_mask();
    uint32_t size = 576; /* legacy region and header */

    for (unsigned int i = 2; i < 63; i++) {
        if (mask & BIT64(i)) {
            struct cpuid_regs r = cpuid(0xd, i);
            size = MAX(size, r.ebx + r.eax);
        }
    }
    return size;
}

static void adjust_xsave(struct vcpu *v, uint32_t subleaf, struct cpuid_regs *r)
{
    uint64_t mask = cpuid_guest_xcr0_mask();

    if (mask == 0) {
        *r = (struct cpuid_regs){0};
    } else if (subleaf == 0) {
        /* EBX follows the guest's XCR0, which is loaded. */
        r->eax = (uint32_t)mask;
        r->edx = (uint32_t)(mask >> 32);
        r->ecx = xsave_max_size();
    } else if (subleaf == 1) {
        *r = (struct cpuid_regs){.eax = r->eax & XSAVE_SHOWN, .ebx = r->ebx};
    } else if (subleaf >= 63 || !(mask & BIT64(subleaf))) {
        *r = (struct cpuid_regs){0};
    }
}

INIT static void fix_max_extended(struct cpuid_regs *r)
{
    r->eax = MIN(r->eax, MAX_EXTENDED);
}

INIT static void fix_hypervisor(struct cpuid_regs *r)
{
    *r = (struct cpuid_regs){.eax = HV_FREQUENCIES};
    memcpy(&r->ebx, "Bulk", 4);
    memcpy(&r->ecx, "head", 4);
    memcpy(&r->edx, "Core", 4);
}

INIT static void fix_hypervisor_version(struct cpuid_regs *r)
{
    *r = (struct cpuid_regs){.eax = 1}; /* version of this interface */
}

INIT static void fix_kvm(struct cpuid_regs *r)
{
    *r = (struct cpuid_regs){.eax = HV_KVM_BASE + 1};
    memcpy(&r->ebx, "KVMK", 4);
    memcpy(&r->ecx, "VMKV", 4);
    memcpy(&r->edx, "M\0\0\0", 4);
}

INIT static void fix_kvm_features(struct cpuid_regs *r)
{
    *r = (struct cpuid_regs){.eax = KVM_FEATURE_CLOCKSOURCE | KVM_FEATURE_NOP_IO_DELAY |
                                    KVM_FEATURE_CLOCKSOURCE2 | KVM_FEATURE_PV_EOI |
                                    KVM_FEATURE_CLOCKSOURCE_STABLE};
}

/* As VMware defined it, and FreeBSD reads it behind KVM's signature, too: kHz of the TSC and of the
 * LAPIC timer. */
INIT static void fix_frequencies(struct cpuid_regs *r)
{
    *r = (struct cpuid_regs){.eax = (uint32_t)time_scale.khz, .ebx = LAPIC_TIMER_KHZ};
}

static const struct cpuid_row rows[] = {
    {0x0, {ALL, ALL, ALL, ALL}, fix_max, NULL, false, "vendor; the highest leaf listed here"},
    {0x1,
     {0x0fff3fff, 0x0000ff00, F1C_SHOWN, F1D_SHOWN},
     NULL,
     adjust_features,
     false,
     "what needs no emulation or is emulated; not: MONITOR, virtualization, thermal, debug store"},
    {0x2, {ALL, ALL, ALL, ALL}, NULL, NULL, false, "cache descriptors"},
    {0x4,
     {0x00003fff, ALL, ALL, ALL},
     NULL,
     adjust_nothing,
     true,
     "caches, without who shares them"},
    {0x6, {0, 0, 0, 0}, fix_power, NULL, false, "ARAT only: no thermal or power interface"},
    {0x7,
     {0, F7B_SHOWN, F7C_SHOWN, F7D_SHOWN},
     fix_leaf7,
     NULL,
     true,
     "not: SGX, MPX, RTM, PQM, PKU, LA57, Intel PT; speculation control MSRs are not offered"},
    {0xb, {0, 0, 0, 0}, NULL, adjust_topology, false, "one CPU; its x2APIC ID"},
    {0xd, {ALL, ALL, ALL, ALL}, NULL, adjust_xsave, true, "components that are switched"},
    {HV_BASE, {0, 0, 0, 0}, fix_hypervisor, NULL, false, "Bulkhead's signature"},
    {HV_BASE + 1, {0, 0, 0, 0}, fix_hypervisor_version, NULL, false, "interface version"},
    {HV_FREQUENCIES, {0, 0, 0, 0}, fix_frequencies, NULL, false, "of TSC and LAPIC timer"},
    {HV_KVM_BASE, {0, 0, 0, 0}, fix_kvm, NULL, false, "KVM-compatible paravirtual interface"},
    {HV_KVM_BASE + 1, {0, 0, 0, 0}, fix_kvm_features, NULL, false, "kvmclock, stable; EOI"},
    {0x80000000, {ALL, ALL, ALL, ALL}, fix_max_extended, NULL, false, "highest leaf"},
    {0x80000001,
     {0x0fff3fff, 0, FE1C_SHOWN, FE1D_SHOWN},
     NULL,
     NULL,
     false,
     "not: SVM, extended APIC space, OSVW, IBS, watchdog, topology, counters, MONITORX"},
    {0x80000002, {ALL, ALL, ALL, ALL}, NULL, NULL, false, "name"},
    {0x80000003, {ALL, ALL, ALL, ALL}, NULL, NULL, false, "name"},
    {0x80000004, {ALL, ALL, ALL, ALL}, NULL, NULL, false, "name"},
    {0x80000005, {ALL, ALL, ALL, ALL}, NULL, NULL, false, "L1 caches and TLBs"},
    {0x80000006, {ALL, ALL, ALL, ALL}, NULL, NULL, false, "L2 and L3 caches"},
    {0x80000007, {0, 0, 0, FE7D_INVARIANT_TSC}, NULL, NULL, false, "invariant TSC, if it is"},
    {0x80000008, {0x0000ffff, FE8B_SHOWN, 0, 0}, NULL, NULL, false, "address sizes; one CPU"},
};

/* The answers, made at boot: CPUID serializes and may itself be an exit when the core is nested, so
 * it is executed on the exit path for subleaves only. */
static struct answer {
    struct cpuid_regs regs;
    uint32_t leaf;
    uint32_t ecx; /* bits that must be 0 */
} ALIGNED(32) /* cheap to index */ answers[ARRAY_SIZE(rows)];

/* By a hash of the leaf, its row; 0, another leaf's, when the answer is not always the same, or
 * there is none. */
#define SLOTS 128u
static uint8_t slots[SLOTS];

static uint64_t guest_cr4_mask, guest_efer_mask;
static bool guest_has_rdtscp;
static uint32_t machine_max_basic;

static inline uint8_t *slot_of(uint32_t leaf)
{
    return &slots[(leaf ^ leaf >> 6 ^ leaf >> 25) % SLOTS];
}

static const struct cpuid_row *find(uint32_t leaf)
{
    for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].leaf == leaf) {
            return &rows[i];
        }
    }
    return NULL;
}

static struct cpuid_regs *answer_of(const struct cpuid_row *row)
{
    return &answers[row - rows].regs;
}

static struct cpuid_regs apply(const struct cpuid_row *row, struct cpuid_regs r)
{
    r.eax &= row->mask.eax;
    r.ebx &= row->mask.ebx;
    r.ecx &= row->mask.ecx;
    r.edx &= row->mask.edx;
    return r;
}

INIT void cpuid_policy_init(void)
{
    machine_max_basic = cpuid(0, 0).eax;
    uint32_t max_extended = cpuid(0x80000000, 0).eax;

    for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
        bool present = rows[i].leaf >= 0x80000000 ? rows[i].leaf <= max_extended
                                                  : rows[i].leaf <= machine_max_basic;
        if (present) {
            *answer_of(&rows[i]) = apply(&rows[i], cpuid(rows[i].leaf, 0));
        }
        if (rows[i].fix) {
            rows[i].fix(answer_of(&rows[i]));
        }
        answers[i].leaf = rows[i].leaf;
        answers[i].ecx = rows[i].subleaves ? ALL : 0;
        if (!rows[i].adjust) {
            *slot_of(rows[i].leaf) = (uint8_t)i;
        }
    }
    struct cpuid_regs f1 = *answer_of(find(1));
    struct cpuid_regs f7 = *answer_of(find(7));
    struct cpuid_regs e1 = *answer_of(find(0x80000001));
    guest_cr4_mask = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE |
                     CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT |
                     (f1.ecx & F1C_XSAVE ? CR4_OSXSAVE : 0) | (f1.ecx & F1C_PCID ? CR4_PCIDE : 0) |
                     (f7.ebx & F7B_FSGSBASE ? CR4_FSGSBASE : 0) |
                     (f7.ebx & F7B_SMEP ? CR4_SMEP : 0) | (f7.ebx & F7B_SMAP ? CR4_SMAP : 0) |
                     (f7.ecx & F7C_UMIP ? CR4_UMIP : 0);
    guest_has_rdtscp = (e1.edx & FE1D_RDTSCP) != 0;
    guest_efer_mask = EFER_SCE | EFER_LME | EFER_LMA | (e1.edx & FE1D_NX ? EFER_NXE : 0) |
                      (e1.edx & FE1D_FFXSR ? EFER_FFXSR : 0);
}

static inline void set_gprs(struct vcpu *v, const struct cpuid_regs *r)
{
    v->gpr[GPR_RAX] = r->eax;
    v->gpr[GPR_RBX] = r->ebx;
    v->gpr[GPR_RCX] = r->ecx;
    v->gpr[GPR_RDX] = r->edx;
}

/* What is not as it was made at boot. Beyond the highest basic leaf, Intel CPUs answer with that
 * leaf's data, AMD's with zeros, as it is here. */
static NOINLINE void answer_anew(struct vcpu *v)
{
    uint32_t leaf = (uint32_t)v->gpr[GPR_RAX], subleaf = (uint32_t)v->gpr[GPR_RCX];
    const struct cpuid_row *row = find(leaf);
    struct cpuid_regs r = {0};

    if (row && row->adjust) {
        r = row->subleaves && leaf <= machine_max_basic ? apply(row, cpuid(leaf, subleaf))
                                                        : *answer_of(row);
        row->adjust(v, subleaf, &r);
    } else if (row && !row->subleaves) {
        r = *answer_of(row); /* another leaf has its slot */
    }
    set_gprs(v, &r);
}

enum exit_action exit_cpuid(struct vcpu *v, unsigned int length)
{
    uint32_t leaf = (uint32_t)v->gpr[GPR_RAX];
    const struct answer *answer = &answers[*slot_of(leaf)];

    if (likely(answer->leaf == leaf && !(v->gpr[GPR_RCX] & answer->ecx))) {
        set_gprs(v, &answer->regs);
    } else {
        answer_anew(v);
    }
    vcpu_skip(v, length);
    return EXIT_RESUME;
}

uint64_t cpuid_guest_cr4_mask(void)
{
    return guest_cr4_mask;
}

uint64_t cpuid_guest_xcr0_mask(void)
{
    return fpu_machine_xcr0() & XCR0_SHOWN;
}

bool cpuid_guest_has_rdtscp(void)
{
    return guest_has_rdtscp;
}

uint64_t cpuid_guest_efer_mask(void)
{
    return guest_efer_mask;
}
