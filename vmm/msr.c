/* What a guest may do with which MSR. One row a register or range, sorted; everything else gives
 * #GP and, once a VM, a line in the log. */

#include "vmm/msr.h"

#include "arch/x86/asm.h"
#include "arch/x86/interrupt.h"
#include "arch/x86/msr.h"
#include "arch/x86/virt.h"
#include "lib/error.h"
#include "lib/log.h"
#include "vmm/cpuid.h"
#include "vmm/exit.h"
#include "vmm/pv_eoi.h"
#include "vmm/pvclock.h"
#include "vmm/steal_time.h"
#include "vmm/vm.h"

/* FFDIS, IGNNE_EM, MCi status writes, TscFreqSel (APM vol. 2, 3.2.10). */
#define HWCR_ALLOWED     (BIT64(6) | BIT64(8) | BIT64(18) | BIT64(24))
#define MTRR_CAP         0x508ull /* write-combining, fixed ranges, 8 variable ones */
#define MTRR_DEF_ALLOWED 0xcffull
#define FEATURE_LOCKED   BIT64(0)
#define DE_CFG_LFENCE    BIT64(1)

typedef enum exit_action read_fn(struct vcpu *v, unsigned int length);
typedef enum exit_action write_fn(struct vcpu *v, unsigned int length, uint64_t value);

struct msr_row {
    uint32_t first, last;
    uint16_t place; /* in struct vcpu, where it is read from; 0: nowhere. A range is an array */
    bool direct;    /* the guest's own: no exit, switched with the vCPU */
    read_fn *read;  /* of what has no place. NULL: #GP */
    write_fn *write;
    uint64_t stored; /* without `write`: bits that may be set, and all goes to its place */
};

static inline uint32_t msr_of(const struct vcpu *v)
{
    return (uint32_t)v->gpr[GPR_RCX];
}

static inline uint64_t *place_of(struct vcpu *v, const struct msr_row *row)
{
    return (uint64_t *)((char *)v + row->place) + (msr_of(v) - row->first);
}

static COLD enum exit_action refuse(struct vcpu *v)
{
    vcpu_raise_error(v, EXC_GP, 0);
    return EXIT_RESUME;
}

static inline enum exit_action done_here(struct vcpu *v, unsigned int length)
{
    vcpu_skip(v, length);
    return EXIT_RESUME;
}

static inline enum exit_action answer_here(struct vcpu *v, uint64_t value, unsigned int length)
{
    v->gpr[GPR_RAX] = (uint32_t)value;
    v->gpr[GPR_RDX] = value >> 32;
    return done_here(v, length);
}

/* The same for where a jump more is no matter. */
static NOINLINE enum exit_action done(struct vcpu *v, unsigned int length)
{
    return done_here(v, length);
}

static inline enum exit_action done_or_refuse(struct vcpu *v, int err, unsigned int length)
{
    return err ? refuse(v) : done(v, length);
}

static NOINLINE enum exit_action answer(struct vcpu *v, uint64_t value, unsigned int length)
{
    return answer_here(v, value, length);
}

static enum exit_action read_zero(struct vcpu *v, unsigned int length)
{
    return answer(v, 0, length);
}

static enum exit_action write_ignore(struct vcpu *v, unsigned int length, uint64_t value)
{
    return done(v, length);
}

static enum exit_action read_tsc(struct vcpu *v, unsigned int length)
{
    return answer(v, vcpu_tsc(v), length);
}

static void set_tsc_offset(struct vcpu *v, uint64_t offset)
{
    v->tsc_offset = offset;
    virt->set_tsc_offset(v, offset);
    vcpu_update_lapic_timer(v);
    pvclock_update(v);
}

/* A write of the TSC shows in TSC_ADJUST, and the other way round (SDM vol. 3, 18.17.3). */
static enum exit_action write_tsc(struct vcpu *v, unsigned int length, uint64_t value)
{
    uint64_t delta = value - vcpu_tsc(v);

    v->tsc_adjust += delta;
    set_tsc_offset(v, v->tsc_offset + delta);
    return done(v, length);
}

static enum exit_action write_tsc_adjust(struct vcpu *v, unsigned int length, uint64_t value)
{
    if (value != v->tsc_adjust) {
        uint64_t delta = value - v->tsc_adjust;
        v->tsc_adjust = value;
        set_tsc_offset(v, v->tsc_offset + delta);
    }
    return done(v, length);
}

static enum exit_action write_pvclock(struct vcpu *v, unsigned int length, uint64_t value)
{
    return done_or_refuse(v, pvclock_write(v, value), length);
}

static enum exit_action write_pvclock_wall(struct vcpu *v, unsigned int length, uint64_t value)
{
    return done_or_refuse(v, pvclock_write_wall(v, value), length);
}

static enum exit_action write_steal_time(struct vcpu *v, unsigned int length, uint64_t value)
{
    return done_or_refuse(v, steal_time_enable(v, value), length);
}

static enum exit_action write_pv_eoi(struct vcpu *v, unsigned int length, uint64_t value)
{
    return done_or_refuse(v, pv_eoi_enable(v, value), length);
}

static enum exit_action write_tsc_deadline(struct vcpu *v, unsigned int length, uint64_t value)
{
    lapic_set_tsc_deadline(&v->lapic, value);
    return done(v, length);
}

static enum exit_action write_apic_base(struct vcpu *v, unsigned int length, uint64_t value)
{
    int err;

    virt_sync_lapic(v);
    err = lapic_set_base(&v->lapic, value, rdtsc());
    virt->lapic_changed(v);
    vcpu_kick(v);
    return done_or_refuse(v, err, length);
}

/* x2APIC registers. */
static enum exit_action read_x2apic(struct vcpu *v, unsigned int length)
{
    uint64_t value;
    int err;

    virt_sync_lapic(v);
    err = lapic_msr_read(&v->lapic, msr_of(v), &value, rdtsc());
    vcpu_check_lapic(v); /* the timer may have expired meanwhile */
    return err ? refuse(v) : answer(v, value, length);
}

static enum exit_action write_x2apic(struct vcpu *v, unsigned int length, uint64_t value)
{
    uint32_t msr = msr_of(v);
    bool svr = msr == X2APIC_MSR_FIRST + LAPIC_SVR / 0x10;

    /* lapic_changed() hands the LAPIC's TPR to the CPU: not an older one than the CPU's. For the
     * others vcpu_deliver_pending() is early enough. */
    if (unlikely(svr))
        virt_sync_lapic(v);
    else
        pv_eoi_sync(v);
    if (unlikely(lapic_msr_write(&v->lapic, msr, value, rdtsc()) != 0))
        return refuse(v);
    if (unlikely(svr))
        virt->lapic_changed(v);
    vcpu_check_interrupts(v);
    return done(v, length);
}

static enum exit_action read_x2apic_tpr(struct vcpu *v, unsigned int length)
{
    if (unlikely(!lapic_is_x2apic(&v->lapic)))
        return refuse(v);
    virt_sync_lapic(v);
    return answer_here(v, *lapic_reg(&v->lapic, LAPIC_TPR), length);
}

static enum exit_action write_x2apic_tpr(struct vcpu *v, unsigned int length, uint64_t value)
{
    if (unlikely(!lapic_is_x2apic(&v->lapic) || value > UINT8_MAX))
        return refuse(v);
    pv_eoi_sync(v);
    lapic_set_tpr(&v->lapic, (uint32_t)value);
    vcpu_tell_cpu_tpr(v, (uint8_t)value);
    vcpu_check_lapic(v);
    return done_here(v, length);
}

static enum exit_action write_x2apic_eoi(struct vcpu *v, unsigned int length, uint64_t value)
{
    if (unlikely(!lapic_is_x2apic(&v->lapic) || value != 0))
        return refuse(v);
    pv_eoi_sync(v);
    lapic_eoi_write(&v->lapic);
    vcpu_check_lapic(v);
    return done_here(v, length);
}

static enum exit_action write_x2apic_timer(struct vcpu *v, unsigned int length, uint64_t value)
{
    if (unlikely(!lapic_is_x2apic(&v->lapic) || value > UINT32_MAX))
        return refuse(v);
    lapic_timer_write_initial(&v->lapic, (uint32_t)value, rdtsc());
    return done_here(v, length);
}

static enum exit_action read_efer(struct vcpu *v, unsigned int length)
{
    return answer_here(v, virt->get_efer(v), length);
}

static NOINLINE enum exit_action change_efer(struct vcpu *v, unsigned int length, uint64_t value)
{
    uint64_t old = virt->get_efer(v);

    if ((value & ~cpuid_guest_efer_mask()) ||
        ((virt->get_cr0(v) & CR0_PG) && ((value ^ old) & EFER_LME)))
        return refuse(v);
    virt->set_efer(v, (value & ~EFER_LMA) | (old & EFER_LMA));
    if ((value ^ old) & EFER_NXE)
        virt->flush_guest(v);
    return done(v, length);
}

static enum exit_action write_efer(struct vcpu *v, unsigned int length, uint64_t value)
{
    if (likely(value == virt->get_efer(v)))
        return done_here(v, length);
    return change_efer(v, length, value);
}

/* Memory types 0, 1, 4, 5, 6 and 7 exist (SDM vol. 3, table 12-10). */
static enum exit_action write_pat(struct vcpu *v, unsigned int length, uint64_t value)
{
    for (unsigned int i = 0; i < 8; i++) {
        uint8_t type = (uint8_t)(value >> 8 * i);
        if (type > 7 || type == 2 || type == 3)
            return refuse(v);
    }
    v->pat = value;
    virt->set_pat(v, value);
    return done(v, length);
}

static enum exit_action read_mtrr_cap(struct vcpu *v, unsigned int length)
{
    return answer(v, MTRR_CAP, length);
}

static enum exit_action write_mcg_status(struct vcpu *v, unsigned int length, uint64_t value)
{
    v->mcg_status = value & 7;
    return done(v, length);
}

static enum exit_action read_microcode(struct vcpu *v, unsigned int length)
{
    uint64_t value;

    return answer(v, rdmsr_safe(msr_of(v), &value) ? value : 0, length);
}

static enum exit_action read_feature_control(struct vcpu *v, unsigned int length)
{
    return answer(v, FEATURE_LOCKED, length);
}

/* Whether LFENCE serializes: the core sees to it on CPUs that can be told (arch/x86/cpu.c). */
static enum exit_action read_de_cfg(struct vcpu *v, unsigned int length)
{
    uint64_t value;

    return answer(v, rdmsr_safe(msr_of(v), &value) ? value & DE_CFG_LFENCE : 0, length);
}

static enum exit_action read_tsc_aux(struct vcpu *v, unsigned int length)
{
    return cpuid_guest_has_rdtscp() ? answer(v, v->tsc_aux, length) : refuse(v);
}

static enum exit_action write_tsc_aux(struct vcpu *v, unsigned int length, uint64_t value)
{
    if (value >> 32 || !cpuid_guest_has_rdtscp())
        return refuse(v);
    v->tsc_aux = value;
    wrmsr(MSR_TSC_AUX, value);
    return done(v, length);
}

#define PLACE(field) offsetof(struct vcpu, field)

#define ONE(msr)     (msr), (msr)
#define STORED(mask) 0, NULL, NULL, mask
#define ALL          UINT64_MAX
#define DIRECT       0, true, NULL, NULL, 0

/* clang-format off */
static const struct msr_row rows[] = {
    /* P5 machine check address and type: none. */
    {0x0, 0x1, 0, false, read_zero, write_ignore, 0},
    {ONE(MSR_TSC), 0, false, read_tsc, write_tsc, 0}, /* RDTSC needs no exit; this does */
    {ONE(MSR_KVM_WALL_CLOCK), 0, false, NULL, write_pvclock_wall, 0},
    {ONE(MSR_KVM_SYSTEM_TIME), PLACE(kvm_system_time), false, NULL, write_pvclock, 0},
    {ONE(0x17), 0, false, read_zero, NULL, 0}, /* platform ID */
    {ONE(MSR_APIC_BASE), PLACE(lapic.base), false, NULL, write_apic_base, 0},
    {ONE(0x2a), 0, false, read_zero, write_ignore, 0}, /* EBL_CR_POWERON */
    {ONE(MSR_FEATURE_CONTROL), 0, false, read_feature_control, NULL, 0}, /* locked, all is off */
    {ONE(MSR_TSC_ADJUST), PLACE(tsc_adjust), false, NULL, write_tsc_adjust, 0},
    {ONE(0x79), 0, false, NULL, write_ignore, 0}, /* microcode update trigger (Intel) */
    /* Microcode revision; Intel's protocol writes 0 before. */
    {ONE(MSR_BIOS_SIGN_ID), 0, false, read_microcode, write_ignore, 0},
    {ONE(MSR_MTRR_CAP), 0, false, read_mtrr_cap, NULL, 0}, /* MTRRs are stored, no more */
    {MSR_SYSENTER_CS, MSR_SYSENTER_EIP, DIRECT},
    {ONE(MSR_MCG_CAP), 0, false, read_zero, NULL, 0}, /* no machine check banks */
    {ONE(MSR_MCG_STATUS), PLACE(mcg_status), false, NULL, write_mcg_status, 0},
    {ONE(MSR_MISC_ENABLE), PLACE(misc_enable), STORED(ALL)},
    /* No branch records; single-step on branches is not offered. */
    {ONE(MSR_DEBUGCTL), 0, false, read_zero, write_ignore, 0},
    /* The nested tables decide on memory types. */
    {MSR_MTRR_PHYS_BASE0, MSR_MTRR_PHYS_LAST, PLACE(mtrr_variable), STORED(ALL)},
    {ONE(MSR_MTRR_FIX64K_00000), PLACE(mtrr_fixed[0]), STORED(ALL)},
    {MSR_MTRR_FIX16K_80000, MSR_MTRR_FIX16K_A0000, PLACE(mtrr_fixed[1]), STORED(ALL)},
    {MSR_MTRR_FIX4K_C0000, MSR_MTRR_FIX4K_F8000, PLACE(mtrr_fixed[3]), STORED(ALL)},
    {ONE(MSR_PAT), PLACE(pat), false, NULL, write_pat, 0}, /* not every machine switches it */
    {ONE(MSR_MTRR_DEF_TYPE), PLACE(mtrr_def_type), STORED(MTRR_DEF_ALLOWED)},
    {ONE(MSR_TSC_DEADLINE), PLACE(lapic.tsc_deadline), false, NULL, write_tsc_deadline, 0},
    {X2APIC_MSR_FIRST, X2APIC_MSR_TPR - 1, 0, false, read_x2apic, write_x2apic, 0},
    {ONE(X2APIC_MSR_TPR), 0, false, read_x2apic_tpr, write_x2apic_tpr, 0},
    {X2APIC_MSR_TPR + 1, X2APIC_MSR_EOI - 1, 0, false, read_x2apic, write_x2apic, 0},
    {ONE(X2APIC_MSR_EOI), 0, false, read_x2apic, write_x2apic_eoi, 0},
    {X2APIC_MSR_EOI + 1, X2APIC_MSR_TIMER - 1, 0, false, read_x2apic, write_x2apic, 0},
    {ONE(X2APIC_MSR_TIMER), 0, false, read_x2apic, write_x2apic_timer, 0},
    {X2APIC_MSR_TIMER + 1, X2APIC_MSR_LAST, 0, false, read_x2apic, write_x2apic, 0},
    {ONE(MSR_KVM_WALL_CLOCK_NEW), 0, false, NULL, write_pvclock_wall, 0},
    {ONE(MSR_KVM_SYSTEM_TIME_NEW), PLACE(kvm_system_time), false, NULL, write_pvclock, 0},
    {ONE(MSR_KVM_STEAL_TIME), PLACE(steal_time), false, NULL, write_steal_time, 0},
    {ONE(MSR_KVM_PV_EOI), PLACE(pv_eoi), false, NULL, write_pv_eoi, 0},
    {ONE(MSR_EFER), 0, false, read_efer, write_efer, 0}, /* SVME is the core's */
    {MSR_STAR, MSR_SFMASK, DIRECT},
    {MSR_FS_BASE, MSR_KERNEL_GS_BASE, DIRECT},
    {ONE(MSR_TSC_AUX), 0, false, read_tsc_aux, write_tsc_aux, 0}, /* switched with the vCPU */
    {ONE(MSR_AMD_SYSCFG), 0, false, read_zero, write_ignore, 0}, /* no memory encryption */
    {ONE(MSR_AMD_HWCR), PLACE(hwcr), STORED(HWCR_ALLOWED)},
    {ONE(MSR_AMD_NB_CFG), 0, false, read_zero, write_ignore, 0}, /* no northbridge */
    {ONE(MSR_AMD_PATCH_LOADER), 0, false, NULL, write_ignore, 0}, /* microcode */
    {ONE(MSR_AMD_INT_PENDING), 0, false, read_zero, write_ignore, 0}, /* no C1E */
    /* Chicken bits. */
    {ONE(MSR_AMD_LS_CFG), 0, false, read_zero, write_ignore, 0},
    {ONE(MSR_AMD_DC_CFG), 0, false, read_zero, write_ignore, 0},
    {ONE(MSR_AMD_FP_CFG), 0, false, read_zero, write_ignore, 0},
    {ONE(MSR_AMD_DE_CFG), 0, false, read_de_cfg, write_ignore, 0}, /* LFENCE serializing */
    {ONE(MSR_AMD_BU_CFG2), 0, false, read_zero, write_ignore, 0},
};
/* clang-format on */

/* By a hash of the number, the row that was found last; what stands there by chance is no harm. All
 * CPUs share it: each access reads its slot once. */
#define CACHE_SIZE 64u
static const struct msr_row no_row = {.first = 1, .last = 0};
static const struct msr_row *cache[CACHE_SIZE] = {[0 ... CACHE_SIZE - 1] = &no_row};

static inline const struct msr_row **slot_of(uint32_t msr)
{
    return &cache[(msr ^ msr >> 24) % CACHE_SIZE];
}

static inline const struct msr_row *cached_row(uint32_t msr)
{
    return __atomic_load_n(slot_of(msr), __ATOMIC_RELAXED);
}

static inline bool has_msr(const struct msr_row *row, uint32_t msr)
{
    return msr >= row->first && msr <= row->last;
}

/* The register's row, from now on also in the cache. NULL: it does not exist for guests. */
static const struct msr_row *search(uint32_t msr)
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
            __atomic_store_n(slot_of(msr), &rows[mid], __ATOMIC_RELAXED);
            return &rows[mid];
        }
    }
    return NULL;
}

/* The first access of a register that does not exist for guests is logged. */
static COLD enum exit_action refuse_unknown(struct vcpu *v, bool write)
{
    if (!v->vm->logged_msr) {
        v->vm->logged_msr = true;
        log_info("%s: %s of MSR 0x%x (0x%llx) refused with #GP (further ones are not logged)",
                 vm_name(v->vm), write ? "write" : "read", msr_of(v),
                 write ? LLU(v->gpr[GPR_RDX] << 32 | (uint32_t)v->gpr[GPR_RAX]) : 0);
    }
    return refuse(v);
}

static inline enum exit_action read_row(struct vcpu *v, unsigned int length,
                                        const struct msr_row *row)
{
    if (row->place)
        return answer_here(v, *place_of(v, row), length);
    return likely(row->read) ? row->read(v, length) : refuse_unknown(v, false);
}

static inline enum exit_action write_row(struct vcpu *v, unsigned int length,
                                         const struct msr_row *row)
{
    uint64_t value = v->gpr[GPR_RDX] << 32 | (uint32_t)v->gpr[GPR_RAX];

    if (likely(row->write))
        return row->write(v, length, value);
    if (!row->stored)
        return refuse_unknown(v, true);
    if (value & ~row->stored)
        return refuse(v);
    *place_of(v, row) = value;
    return done_here(v, length);
}

/* For a register whose row is not in the cache. */
static COLD enum exit_action search_and_read(struct vcpu *v, unsigned int length)
{
    const struct msr_row *row = search(msr_of(v));

    return row ? read_row(v, length, row) : refuse_unknown(v, false);
}

static COLD enum exit_action search_and_write(struct vcpu *v, unsigned int length)
{
    const struct msr_row *row = search(msr_of(v));

    return row ? write_row(v, length, row) : refuse_unknown(v, true);
}

enum exit_action exit_rdmsr(struct vcpu *v, unsigned int length)
{
    const struct msr_row *row = cached_row(msr_of(v));

    if (unlikely(!has_msr(row, msr_of(v))))
        return search_and_read(v, length);
    return read_row(v, length, row);
}

enum exit_action exit_wrmsr(struct vcpu *v, unsigned int length)
{
    const struct msr_row *row = cached_row(msr_of(v));

    if (unlikely(!has_msr(row, msr_of(v))))
        return search_and_write(v, length);
    return write_row(v, length, row);
}

INIT void msr_for_each_direct(void (*fn)(uint32_t msr, bool read, bool write, void *ctx), void *ctx)
{
    for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++)
        for (uint32_t msr = rows[i].first; rows[i].direct && msr <= rows[i].last; msr++)
            fn(msr, true, true, ctx);
}
