/* What CPUID tells a guest. One row a leaf: the machine's value, masked, with bits added. A leaf
 * that is in no row reads as zeros. */

#include "vmm/cpuid.h"

#include "arch/x86/fpu.h"
#include "arch/x86/time.h"
#include "arch/x86/virt.h"
#include "vmm/cpuid_topology.h"
#include "vmm/exit.h"
#include "vmm/vm.h"

#define ALL UINT32_MAX

#define MAX_BASIC      0x0du
#define MAX_EXTENDED   CPUID_EXT_SIZES /* with TOPOEXT: */
#define MAX_TOPOEXT    CPUID_EXT_TOPOLOGY
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

/* 80000001h ECX: LAHF ABM SSE4A MISALIGNSSE 3DNOWPREFETCH XOP FMA4 TBM TOPOEXT. */
#define FE1C_SVM     BIT(2)
#define FE1C_TOPOEXT BIT(22)
#define FE1C_SHOWN   0x006109e1u
#define FE1D_NX      BIT(20)
#define FE1D_FFXSR   BIT(25)
#define FE1D_RDTSCP  BIT(27)
/* 80000001h EDX: the bits that repeat leaf 1, SYSCALL NX MMXEXT FFXSR PAGE1GB RDTSCP LM 3DNOW. */
#define FE1D_SHOWN 0xefd3fbffu

#define LAPIC_TIMER_KHZ    1000000u /* vmm/irqchip/lapic.h */
#define FE7D_INVARIANT_TSC BIT(8)
#define FE8B_SHOWN         0x00000005u /* CLZERO, XSAVEERPTR */

/* KVM's feature bits (Linux Documentation/virt/kvm/x86/cpuid.rst). */
#define KVM_FEATURE_CLOCKSOURCE        BIT(0)
#define KVM_FEATURE_NOP_IO_DELAY       BIT(1)
#define KVM_FEATURE_CLOCKSOURCE2       BIT(3)
#define KVM_FEATURE_STEAL_TIME         BIT(5)
#define KVM_FEATURE_PV_EOI             BIT(6)
#define KVM_FEATURE_PV_UNHALT          BIT(7)
#define KVM_FEATURE_PV_TLB_FLUSH       BIT(9)
#define KVM_FEATURE_PV_SEND_IPI        BIT(11)
#define KVM_FEATURE_PV_SCHED_YIELD     BIT(13)
#define KVM_FEATURE_CLOCKSOURCE_STABLE BIT(24)

/* In EDX. */
#define KVM_HINT_REALTIME BIT(0) /* vCPUs do not wait for a pCPU */

#define XSAVE_SHOWN 0x00000007u /* leaf 0Dh.1 EAX: XSAVEOPT XSAVEC XGETBV1; not XSAVES */
/* State components for guests: x87 SSE AVX and AVX-512. Not PKRU, MPX, AMX. */
#define XCR0_SHOWN 0xe7ull

enum subleaves {
    NO_SUBLEAVES,
    FIRST_SUBLEAF, /* it has some, of which only 0 is shown */
    ALL_SUBLEAVES, /* the machine is asked */
};

struct cpuid_row {
    uint32_t leaf;
    struct cpuid_regs mask, add;
    /* What is known only at execution; may be NULL. */
    void (*adjust)(struct vcpu *v, uint32_t subleaf, struct cpuid_regs *r);
    enum subleaves subleaves;
    bool same_alone; /* in a VM with one vCPU `adjust` does nothing */
};

static uint32_t max_basic, max_extended; /* of the leaves of the machine that are used */
static bool machine_is_amd;

/* The leaf is the one in RAX. */
static void adjust_topology(struct vcpu *v, uint32_t subleaf, struct cpuid_regs *r)
{
    const struct cpuid_topology topology = {
        .cores = v->vm->config->vcpus, .apic_id = v->lapic.apic_id, .amd = machine_is_amd};

    cpuid_add_topology(&topology, (uint32_t)v->gpr[GPR_RAX], subleaf, r);
}

static void adjust_features(struct vcpu *v, uint32_t subleaf, struct cpuid_regs *r)
{
    adjust_topology(v, subleaf, r);
    r->ecx |= F1C_X2APIC | F1C_TSC_DEADLINE | F1C_HYPERVISOR;
    if (v->vm->state == VM_RUNNING && (virt->get_cr4(v) & CR4_OSXSAVE))
        r->ecx |= F1C_OSXSAVE;
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

/* What serves to wait for other vCPUs, or to reach them. Where each has a pCPU, Linux does not look
 * at the first ones, and would do worse with them. */
static void adjust_paravirtual(struct vcpu *v, uint32_t subleaf, struct cpuid_regs *r)
{
    bool dedicated = v->vm->config->sched_class == CONFIG_CLASS_DEDICATED;

    if (dedicated)
        r->edx |= KVM_HINT_REALTIME;
    if (v->vm->vcpu_count > 1 && !dedicated)
        r->eax |= KVM_FEATURE_PV_UNHALT | KVM_FEATURE_PV_TLB_FLUSH | KVM_FEATURE_PV_SCHED_YIELD;
    if (v->vm->vcpu_count > 1)
        r->eax |= KVM_FEATURE_PV_SEND_IPI;
}

/* clang-format off */
#define AS_IS             {ALL, ALL, ALL, ALL}
#define CHARS(a, b, c, d) ((uint32_t)(a) | (b) << 8 | (c) << 16 | (uint32_t)(d) << 24)

static const struct cpuid_row rows[] = {
    {0x0, .mask = AS_IS}, /* vendor; EAX: see cpuid_policy_init() */
    /* What needs no emulation or is emulated; not: MONITOR, virtualization, thermal, debug store.
     */
    {0x1, .mask = {0x0fff3fff, 0x0000ff00, F1C_SHOWN, F1D_SHOWN}, .adjust = adjust_features},
    {0x2, .mask = AS_IS}, /* cache descriptors */
    /* Caches, without who shares them on the machine. */
    {0x4, .mask = {0x00003fff, ALL, ALL, ALL}, .adjust = adjust_topology,
     .subleaves = ALL_SUBLEAVES},
    {0x6, .add = {.eax = BIT(2)}}, /* ARAT only, as the LAPIC timer never stops */
    /* Not: SGX, MPX, RTM, PQM, PKU, LA57, Intel PT; speculation control MSRs are not offered. */
    {0x7, .mask = {0, F7B_SHOWN, F7C_SHOWN, F7D_SHOWN}, .subleaves = FIRST_SUBLEAF},
    {0xb, .adjust = adjust_topology},
    /* Components that are switched. */
    {0xd, .mask = AS_IS, .adjust = adjust_xsave, .subleaves = ALL_SUBLEAVES},
    {HV_BASE, .add = {HV_FREQUENCIES, CHARS('B', 'u', 'l', 'k'), CHARS('h', 'e', 'a', 'd'),
                      CHARS('C', 'o', 'r', 'e')}},
    {HV_BASE + 1, .add = {.eax = 1}}, /* version of this interface */
    /* As VMware defined it, and FreeBSD reads it behind KVM's signature, too: kHz of the TSC (see
     * below) and of the LAPIC timer. */
    {HV_FREQUENCIES, .add = {.ebx = LAPIC_TIMER_KHZ}},
    /* KVM-compatible paravirtual interface. */
    {HV_KVM_BASE, .add = {HV_KVM_BASE + 1, CHARS('K', 'V', 'M', 'K'), CHARS('V', 'M', 'K', 'V'),
                          CHARS('M', 0, 0, 0)}},
    {HV_KVM_BASE + 1, .add = {.eax = KVM_FEATURE_CLOCKSOURCE | KVM_FEATURE_NOP_IO_DELAY |
                                     KVM_FEATURE_CLOCKSOURCE2 | KVM_FEATURE_STEAL_TIME |
                                     KVM_FEATURE_PV_EOI | KVM_FEATURE_CLOCKSOURCE_STABLE},
     .adjust = adjust_paravirtual},
    {0x80000000, .mask = AS_IS}, /* EAX: see below */
    /* Not: SVM, extended APIC space, OSVW, IBS, watchdog, counters, MONITORX. */
    {0x80000001, .mask = {0x0fff3fff, 0, FE1C_SHOWN, FE1D_SHOWN}, .adjust = adjust_topology,
     .same_alone = true},
    {0x80000002, .mask = AS_IS}, /* name */
    {0x80000003, .mask = AS_IS},
    {0x80000004, .mask = AS_IS},
    {0x80000005, .mask = AS_IS}, /* L1 caches and TLBs */
    {0x80000006, .mask = AS_IS}, /* L2 and L3 caches */
    {0x80000007, .mask = {.edx = FE7D_INVARIANT_TSC}}, /* if it is */
    {0x80000008, .mask = {0x0000ffff, FE8B_SHOWN, 0, 0}, .adjust = adjust_topology,
     .same_alone = true}, /* address sizes */
    {0x8000001d, .mask = {0x00003fff, ALL, ALL, ALL}, .adjust = adjust_topology,
     .subleaves = ALL_SUBLEAVES}, /* as leaf 4 */
    {0x8000001e, .adjust = adjust_topology},
};
/* clang-format on */

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

static inline uint8_t *slot_of(uint32_t leaf)
{
    return &slots[(leaf ^ leaf >> 6 ^ leaf >> 25) % SLOTS];
}

static const struct cpuid_row *find(uint32_t leaf)
{
    for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++)
        if (rows[i].leaf == leaf)
            return &rows[i];
    return NULL;
}

static struct cpuid_regs *answer_of(const struct cpuid_row *row)
{
    return &answers[row - rows].regs;
}

static struct cpuid_regs apply(const struct cpuid_row *row, struct cpuid_regs r)
{
    return (struct cpuid_regs){
        (r.eax & row->mask.eax) | row->add.eax, (r.ebx & row->mask.ebx) | row->add.ebx,
        (r.ecx & row->mask.ecx) | row->add.ecx, (r.edx & row->mask.edx) | row->add.edx};
}

static bool is_present(uint32_t leaf)
{
    return leaf >= 0x80000000 ? leaf <= max_extended : leaf <= max_basic || leaf >= HV_BASE;
}

INIT void cpuid_policy_init(void)
{
    uint32_t features = cpuid(CPUID_EXT_FEATURES, 0).ecx;

    machine_is_amd = (features & FE1C_SVM) != 0;
    max_basic = MIN(cpuid(0, 0).eax, MAX_BASIC);
    max_extended =
        MIN(cpuid(0x80000000, 0).eax, features & FE1C_TOPOEXT ? MAX_TOPOEXT : MAX_EXTENDED);
    for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
        uint32_t leaf = rows[i].leaf;

        answers[i].regs =
            apply(&rows[i], is_present(leaf) ? cpuid(leaf, 0) : (struct cpuid_regs){0});
        answers[i].leaf = leaf;
        answers[i].ecx = rows[i].subleaves ? ALL : 0;
        if (!rows[i].adjust || rows[i].same_alone)
            *slot_of(leaf) = (uint8_t)i;
    }
    answers[0].regs.eax = max_basic;
    answer_of(find(0x80000000))->eax = max_extended;
    answer_of(find(HV_FREQUENCIES))->eax = (uint32_t)time_scale.khz;
    /* Helps where the TSC is trusted; elsewhere Linux would read it once a second for nothing. */
    if (answer_of(find(0x80000007))->edx & FE7D_INVARIANT_TSC)
        answer_of(find(7))->ebx |= F7B_TSC_ADJUST;
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

INIT void cpuid_add_vm(unsigned int vcpus)
{
    for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++)
        if (vcpus > 1 && machine_is_amd && rows[i].same_alone)
            *slot_of(rows[i].leaf) = 0;
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

    if (row && (subleaf == 0 || row->subleaves != FIRST_SUBLEAF)) {
        r = row->subleaves == ALL_SUBLEAVES && is_present(leaf) ? apply(row, cpuid(leaf, subleaf))
                                                                : *answer_of(row);
        if (row->adjust && is_present(leaf))
            row->adjust(v, subleaf, &r);
    }
    set_gprs(v, &r);
}

enum exit_action exit_cpuid(struct vcpu *v, unsigned int length)
{
    uint32_t leaf = (uint32_t)v->gpr[GPR_RAX];
    const struct answer *answer = &answers[*slot_of(leaf)];

    if (likely(answer->leaf == leaf && !(v->gpr[GPR_RCX] & answer->ecx)))
        set_gprs(v, &answer->regs);
    else
        answer_anew(v);
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
