/* What a guest may do with which MSR. One row a register or range, sorted; everything else gives
 * #GP and, once a VM, a line in the log. */

#include "vmm/msr.h"

#include "arch/x86/asm.h"
#include "arch/x86/interrupt.h"
#include "arch/x86/msr.h"
#include "arch/x86/time.h"
#include "arch/x86/virt.h"
#include "lib/error.h"
#include "lib/log.h"
#include "vmm/cpuid.h"
#include "vmm/exit.h"
#include "vmm/pv_eoi.h"
#include "vmm/pvclock.h"
#include "vmm/vm.h"

/* FFDIS, IGNNE_EM, MCi status writes, TscFreqSel (APM vol. 2, 3.2.10). */
#define HWCR_ALLOWED     (BIT64(6) | BIT64(8) | BIT64(18) | BIT64(24))
#define MTRR_CAP         0x508ull /* write-combining, fixed ranges, 8 variable ones */
#define MTRR_DEF_ALLOWED 0xcffull
#define FEATURE_LOCKED   BIT64(0)
#define DE_CFG_LFENCE    BIT64(1)

typedef int read_fn(struct vcpu *v, uint32_t msr, uint64_t *value);
typedef int write_fn(struct vcpu *v, uint32_t msr, uint64_t value);

/* A register that is only kept: its place in struct vcpu, or in its arrays. */
static uint64_t *stored(struct vcpu *v, uint32_t msr)
{
    switch (msr) {
    case MSR_TSC_ADJUST: return &v->tsc_adjust;
    case MSR_MCG_STATUS: return &v->mcg_status;
    case MSR_MISC_ENABLE: return &v->misc_enable;
    case MSR_MTRR_PHYS_BASE0 ... MSR_MTRR_PHYS_LAST:
        return &v->mtrr_variable[msr - MSR_MTRR_PHYS_BASE0];
    case MSR_MTRR_FIX64K_00000: return &v->mtrr_fixed[0];
    case MSR_MTRR_FIX16K_80000: return &v->mtrr_fixed[1];
    case MSR_MTRR_FIX16K_A0000: return &v->mtrr_fixed[2];
    case MSR_MTRR_FIX4K_C0000 ... MSR_MTRR_FIX4K_F8000:
        return &v->mtrr_fixed[3 + (msr - MSR_MTRR_FIX4K_C0000)];
    case MSR_MTRR_DEF_TYPE: return &v->mtrr_def_type;
    case MSR_PAT: return &v->pat;
    case MSR_AMD_HWCR: return &v->hwcr;
    default: return &v->tsc_aux;
    }
}

static int read_stored(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    *value = *stored(v, msr);
    return 0;
}

static int write_stored(struct vcpu *v, uint32_t msr, uint64_t value)
{
    *stored(v, msr) = value;
    return 0;
}

struct msr_row {
    uint32_t first, last;
    bool direct; /* the guest's own: no exit, switched with the vCPU */
    read_fn *read;
    write_fn *write; /* NULL: #GP */
    const char *reason;
};

static int read_zero(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    *value = 0;
    return 0;
}

static int write_ignore(struct vcpu *v, uint32_t msr, uint64_t value)
{
    return 0;
}

static int read_tsc(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    *value = vcpu_tsc(v);
    return 0;
}

static void set_tsc_offset(struct vcpu *v, uint64_t offset)
{
    v->tsc_offset = offset;
    virt->set_tsc_offset(v, offset);
    vcpu_update_lapic_timer(v);
    pvclock_update(v);
}

/* A write of the TSC shows in TSC_ADJUST, and the other way round (SDM vol. 3, 18.17.3). */
static int write_tsc(struct vcpu *v, uint32_t msr, uint64_t value)
{
    uint64_t delta = value - vcpu_tsc(v);

    v->tsc_adjust += delta;
    set_tsc_offset(v, v->tsc_offset + delta);
    return 0;
}

static int write_tsc_adjust(struct vcpu *v, uint32_t msr, uint64_t value)
{
    if (value != v->tsc_adjust) {
        uint64_t delta = value - v->tsc_adjust;
        v->tsc_adjust = value;
        set_tsc_offset(v, v->tsc_offset + delta);
    }
    return 0;
}

static int read_tsc_deadline(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    *value = lapic_get_tsc_deadline(&v->lapic);
    return 0;
}

static int write_tsc_deadline(struct vcpu *v, uint32_t msr, uint64_t value)
{
    lapic_set_tsc_deadline(&v->lapic, value);
    return 0;
}

static int read_apic_base(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    *value = lapic_get_base(&v->lapic);
    return 0;
}

static int write_apic_base(struct vcpu *v, uint32_t msr, uint64_t value)
{
    virt->sync_lapic(v);
    int err = lapic_set_base(&v->lapic, value, time_now_ns());
    virt->lapic_changed(v);
    vcpu_kick(v);
    return err;
}

static int read_efer(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    *value = virt->get_efer(v);
    return 0;
}

static int write_efer(struct vcpu *v, uint32_t msr, uint64_t value)
{
    struct vcpu_sysregs regs;

    virt->get_sysregs(v, &regs);
    if ((value & ~cpuid_guest_efer_mask()) ||
        ((regs.cr0 & CR0_PG) && ((value ^ regs.efer) & EFER_LME))) {
        return -BH_EINVAL;
    }
    virt->set_efer(v, (value & ~EFER_LMA) | (regs.efer & EFER_LMA));
    if ((value ^ regs.efer) & EFER_NXE) {
        virt->flush_guest(v);
    }
    return 0;
}

/* Memory types 0, 1, 4, 5, 6 and 7 exist (SDM vol. 3, table 12-10). */
static int write_pat(struct vcpu *v, uint32_t msr, uint64_t value)
{
    for (unsigned int i = 0; i < 8; i++) {
        uint8_t type = (uint8_t)(value >> 8 * i);
        if (type > 7 || type == 2 || type == 3) {
            return -BH_EINVAL;
        }
    }
    v->pat = value;
    virt->set_pat(v, value);
    return 0;
}

static int read_mtrr_cap(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    *value = MTRR_CAP;
    return 0;
}

static int write_mtrr(struct vcpu *v, uint32_t msr, uint64_t value)
{
    if (msr == MSR_MTRR_DEF_TYPE && (value & ~MTRR_DEF_ALLOWED)) {
        return -BH_EINVAL;
    }
    return write_stored(v, msr, value);
}

static int write_mcg_status(struct vcpu *v, uint32_t msr, uint64_t value)
{
    v->mcg_status = value & 7;
    return 0;
}

static int read_microcode(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    return rdmsr_safe(msr, value) ? 0 : read_zero(v, msr, value);
}

static int read_feature_control(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    *value = FEATURE_LOCKED;
    return 0;
}

static int write_hwcr(struct vcpu *v, uint32_t msr, uint64_t value)
{
    if (value & ~HWCR_ALLOWED) {
        return -BH_EINVAL;
    }
    v->hwcr = value;
    return 0;
}

/* Whether LFENCE serializes: the core sees to it on CPUs that can be told (arch/x86/cpu.c). */
static int read_de_cfg(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    if (!rdmsr_safe(msr, value)) {
        *value = 0;
    }
    *value &= DE_CFG_LFENCE;
    return 0;
}

static int read_tsc_aux(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    *value = v->tsc_aux;
    return cpuid_guest_has_rdtscp() ? 0 : -BH_EINVAL;
}

static int write_tsc_aux(struct vcpu *v, uint32_t msr, uint64_t value)
{
    if (value >> 32 || !cpuid_guest_has_rdtscp()) {
        return -BH_EINVAL;
    }
    v->tsc_aux = value;
    wrmsr(msr, value);
    return 0;
}

static const struct msr_row rows[] = {
    {0x0, 0x1, false, read_zero, write_ignore, "P5 machine check address and type: none"},
    {MSR_TSC, MSR_TSC, false, read_tsc, write_tsc, "RDTSC needs no exit; this does"},
    {MSR_KVM_WALL_CLOCK, MSR_KVM_WALL_CLOCK, false, NULL, pvclock_write_wall, "kvmclock"},
    {MSR_KVM_SYSTEM_TIME, MSR_KVM_SYSTEM_TIME, false, pvclock_read, pvclock_write, "kvmclock"},
    {0x17, 0x17, false, read_zero, NULL, "platform ID"},
    {MSR_APIC_BASE, MSR_APIC_BASE, false, read_apic_base, write_apic_base, "virtual LAPIC"},
    {0x2a, 0x2a, false, read_zero, write_ignore, "EBL_CR_POWERON: power-on configuration"},
    {MSR_FEATURE_CONTROL, MSR_FEATURE_CONTROL, false, read_feature_control, NULL,
     "locked with everything off"},
    {MSR_TSC_ADJUST, MSR_TSC_ADJUST, false, read_stored, write_tsc_adjust, "TSC offset"},
    {0x79, 0x79, false, NULL, write_ignore, "microcode update trigger (Intel)"},
    {MSR_BIOS_SIGN_ID, MSR_BIOS_SIGN_ID, false, read_microcode, write_ignore,
     "microcode revision; Intel's protocol writes 0 before"},
    {MSR_MTRR_CAP, MSR_MTRR_CAP, false, read_mtrr_cap, NULL, "MTRRs are stored, no more"},
    {MSR_SYSENTER_CS, MSR_SYSENTER_EIP, true, NULL, NULL,
     "the guest's own, switched with the vCPU"},
    {MSR_MCG_CAP, MSR_MCG_CAP, false, read_zero, NULL, "no machine check banks"},
    {MSR_MCG_STATUS, MSR_MCG_STATUS, false, read_stored, write_mcg_status, "stored"},
    {MSR_MISC_ENABLE, MSR_MISC_ENABLE, false, read_stored, write_stored, "stored"},
    {MSR_DEBUGCTL, MSR_DEBUGCTL, false, read_zero, write_ignore,
     "no branch records; single-step on branches is not offered"},
    {MSR_MTRR_PHYS_BASE0, MSR_MTRR_PHYS_LAST, false, read_stored, write_mtrr,
     "stored: the nested tables decide on memory types"},
    {MSR_MTRR_FIX64K_00000, MSR_MTRR_FIX64K_00000, false, read_stored, write_mtrr, "stored"},
    {MSR_MTRR_FIX16K_80000, MSR_MTRR_FIX16K_A0000, false, read_stored, write_mtrr, "stored"},
    {MSR_MTRR_FIX4K_C0000, MSR_MTRR_FIX4K_F8000, false, read_stored, write_mtrr, "stored"},
    {MSR_PAT, MSR_PAT, false, read_stored, write_pat, "not every machine switches it"},
    {MSR_MTRR_DEF_TYPE, MSR_MTRR_DEF_TYPE, false, read_stored, write_mtrr, "stored"},
    {MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, false, read_tsc_deadline, write_tsc_deadline,
     "virtual LAPIC timer"},
    {MSR_X2APIC_FIRST, MSR_X2APIC_LAST, false, vcpu_x2apic_read, vcpu_x2apic_write, "virtual LAPIC"},
    {MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_WALL_CLOCK_NEW, false, NULL, pvclock_write_wall, "kvmclock"},
    {MSR_KVM_SYSTEM_TIME_NEW, MSR_KVM_SYSTEM_TIME_NEW, false, pvclock_read, pvclock_write,
     "kvmclock"},
    {MSR_KVM_PV_EOI, MSR_KVM_PV_EOI, false, pv_eoi_read, pv_eoi_write, "EOI without an exit"},
    {MSR_EFER, MSR_EFER, false, read_efer, write_efer, "SVME is the core's"},
    {MSR_STAR, MSR_SFMASK, true, NULL, NULL, "SYSCALL; switched with the vCPU"},
    {MSR_FS_BASE, MSR_KERNEL_GS_BASE, true, NULL, NULL, "the guest's own, switched with the vCPU"},
    {MSR_TSC_AUX, MSR_TSC_AUX, false, read_tsc_aux, write_tsc_aux, "switched with the vCPU"},
    {MSR_AMD_SYSCFG, MSR_AMD_SYSCFG, false, read_zero, write_ignore, "no memory encryption"},
    {MSR_AMD_HWCR, MSR_AMD_HWCR, false, read_stored, write_hwcr, "stored"},
    {MSR_AMD_NB_CFG, MSR_AMD_NB_CFG, false, read_zero, write_ignore, "no northbridge"},
    {MSR_AMD_PATCH_LOADER, MSR_AMD_PATCH_LOADER, false, NULL, write_ignore, "microcode"},
    {MSR_AMD_INT_PENDING, MSR_AMD_INT_PENDING, false, read_zero, write_ignore, "no C1E"},
    {MSR_AMD_LS_CFG, MSR_AMD_LS_CFG, false, read_zero, write_ignore, "chicken bits"},
    {MSR_AMD_DC_CFG, MSR_AMD_DC_CFG, false, read_zero, write_ignore, "chicken bits"},
    {MSR_AMD_FP_CFG, MSR_AMD_FP_CFG, false, read_zero, write_ignore, "chicken bits"},
    {MSR_AMD_DE_CFG, MSR_AMD_DE_CFG, false, read_de_cfg, write_ignore, "LFENCE serializing"},
    {MSR_AMD_BU_CFG2, MSR_AMD_BU_CFG2, false, read_zero, write_ignore, "chicken bits"},
};

/* By a hash of the number, the row that was found last; what stands there by chance is no harm. */
#define CACHE_SIZE 64u
static const struct msr_row no_row = {.first = 1, .last = 0};
static const struct msr_row *cache[CACHE_SIZE] = {[0 ... CACHE_SIZE - 1] = &no_row};

static inline const struct msr_row **slot_of(uint32_t msr)
{
    return &cache[(msr ^ msr >> 24) % CACHE_SIZE];
}

static inline bool has_msr(const struct msr_row *row, uint32_t msr)
{
    return msr >= row->first && msr <= row->last;
}

/* `no_row` when the register does not exist for guests. */
static NOINLINE const struct msr_row *search(uint32_t msr)
{
    unsigned int low = 0;
    unsigned int high = ARRAY_SIZE(rows);

    while (low < high) {
        unsigned int mid = (low + high) / 2;
        if (msr > rows[mid].last) {
            low = mid + 1;
        } else if (msr < rows[mid].first) {
            high = mid;
        } else {
            *slot_of(msr) = &rows[mid];
            return &rows[mid];
        }
    }
    return &no_row;
}

static inline const struct msr_row *find(uint32_t msr)
{
    const struct msr_row *row = *slot_of(msr);

    return likely(has_msr(row, msr)) ? row : search(msr);
}

/* #GP; the first access of a register that does not exist for guests is logged. */
static NOINLINE enum exit_action refuse(struct vcpu *v, bool write)
{
    uint32_t msr = (uint32_t)v->gpr[GPR_RCX];
    const struct msr_row *row = find(msr);

    if ((write ? !row->write : !row->read) && !v->vm->logged_msr) {
        v->vm->logged_msr = true;
        log_info("%s: %s of MSR 0x%x (0x%llx) refused with #GP (further ones are not logged)",
                 vm_name(v->vm), write ? "write" : "read", msr,
                 write ? LLU(v->gpr[GPR_RDX] << 32 | (uint32_t)v->gpr[GPR_RAX]) : 0);
    }
    vcpu_raise_error(v, EXC_GP, 0);
    return EXIT_RESUME;
}

enum exit_action exit_rdmsr(struct vcpu *v, unsigned int length)
{
    uint32_t msr = (uint32_t)v->gpr[GPR_RCX];
    read_fn *read = find(msr)->read;

    if (unlikely(!read || read(v, msr, &v->msr_value) != 0)) {
        return refuse(v, false);
    }
    v->gpr[GPR_RAX] = (uint32_t)v->msr_value;
    v->gpr[GPR_RDX] = v->msr_value >> 32;
    vcpu_skip(v, length);
    return EXIT_RESUME;
}

enum exit_action exit_wrmsr(struct vcpu *v, unsigned int length)
{
    uint32_t msr = (uint32_t)v->gpr[GPR_RCX];
    write_fn *write = find(msr)->write;

    if (unlikely(!write || write(v, msr, v->gpr[GPR_RDX] << 32 | (uint32_t)v->gpr[GPR_RAX]) != 0)) {
        return refuse(v, true);
    }
    vcpu_skip(v, length);
    return EXIT_RESUME;
}

INIT void msr_for_each_direct(void (*fn)(uint32_t msr, bool read, bool write, void *ctx), void *ctx)
{
    for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
        for (uint32_t msr = rows[i].first; rows[i].direct && msr <= rows[i].last; msr++) {
            fn(msr, true, true, ctx);
        }
    }
}
