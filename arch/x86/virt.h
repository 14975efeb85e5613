#ifndef BULKHEAD_ARCH_X86_VIRT_H
#define BULKHEAD_ARCH_X86_VIRT_H

/* The one interface between vendor-neutral code and the two virtualization backends. */

#include "arch/x86/mm/pagetable.h"
#include "lib/emit.h"
#include "vmm/vcpu.h"

struct percpu;

/* What a CPU may have and the core can do without; `off=` on the core's command line names them. */
enum virt_feature {
    FEATURE_NEXT_RIP,
    FEATURE_DECODE_ASSISTS,
    FEATURE_APICV, /* registers and interrupt delivery of the virtual APIC by the CPU */
    FEATURE_TPR_SHADOW,
    FEATURE_PREEMPTION_TIMER,
    FEATURE_VPID,
    FEATURE_LARGE_PAGES, /* 1 GiB in nested tables */
    FEATURE_PAUSE_EXIT,  /* of loops of PAUSEs */
    /* AMD-V's, of interrupts; without it V_IRQ delivers them. Not in `off=all`: it is there for
     * QEMU's -icount (docs/testing.md). */
    FEATURE_EVENT_INJECTION,
    FEATURE_COUNT
};

struct virt_ops {
    const char *name;

    /* Checks the CPU and its firmware settings, `off`: bits of enum virt_feature not to be used.
     * Returns 0; -BH_ENODEV when the CPU is of another kind; -BH_ENOTSUP when it cannot be used.
     * The reason is in `why`, in words. */
    int (*detect)(uint32_t off, char *why, size_t size);
    /* On the boot CPU, for this or another one: memory that it needs. 0 or -BH_ENOMEM. */
    int (*cpu_prepare)(struct percpu *cpu);
    /* Turns virtualization on, on this CPU, in silence: 0 or, when it has none or firmware has
     * turned it off, -BH_ENOTSUP; and off, before a reset. */
    int (*cpu_enable)(void);
    void (*cpu_disable)(void);

    const struct pt_format *nested_format;

    /* Backend part of a vCPU: made with the VM, reset at each start. 0 or -BH_ENOMEM. */
    int (*vcpu_create)(struct vcpu *v);
    /* Brings the vCPU to the state of a CPU after RESET, with `regs` on top. */
    void (*vcpu_reset)(struct vcpu *v, const struct vcpu_sysregs *regs);

    /* Puts the vCPU's state that is switched lazily on the CPU, and takes it back. */
    void (*vcpu_load)(struct vcpu *v);
    void (*vcpu_unload)(struct vcpu *v);

    /* It has been unloaded, and another pCPU is to own it; this one does now. Before it is reset,
     * neither is needed. */
    void (*vcpu_leave)(struct vcpu *v);
    void (*vcpu_arrive)(struct vcpu *v);

    /* Enters the guest and handles exits until one asks for something else than to resume, or
     * somebody for sched_leave(). Interrupts off. */
    enum exit_action (*vcpu_run)(struct vcpu *v);

    void (*get_sysregs)(struct vcpu *v, struct vcpu_sysregs *regs);
    /* Of these only what an instruction's fetch and access need. The vCPU is loaded. */
    void (*get_code_mode)(struct vcpu *v, struct code_mode *mode);
    bool (*in_code_mode)(struct vcpu *v, const struct code_mode *mode); /* still as it was got */
    uint64_t (*get_segment_base)(struct vcpu *v, enum seg_index seg);
    void (*set_cr0)(struct vcpu *v, uint64_t value);
    void (*set_cr2)(struct vcpu *v, uint64_t value);
    void (*set_cr4)(struct vcpu *v, uint64_t value);
    void (*set_efer)(struct vcpu *v, uint64_t value);
    void (*set_pat)(struct vcpu *v, uint64_t value);
    uint64_t (*get_cr0)(struct vcpu *v);
    uint64_t (*get_cr4)(struct vcpu *v);
    uint64_t (*get_efer)(struct vcpu *v);

    /* The guest gets #DB: sets these bits in its DR6, and clears DR7.GD (SDM vol. 3, 18.2.4). */
    void (*note_debug)(struct vcpu *v, uint64_t dr6_bits);

    /* Interrupts: end of the shadow of STI or MOV SS; inject at the next entry; exit as soon as an
     * interrupt or NMI could be taken; exit when the guest lowers its task priority. */
    void (*clear_shadow)(struct vcpu *v);
    void (*inject)(struct vcpu *v, const struct vcpu_event *event);
    void (*want_interrupt_window)(struct vcpu *v);
    void (*want_nmi_window)(struct vcpu *v);
    void (*want_tpr_exit)(struct vcpu *v, bool on);

    /* The virtual LAPIC: takes over what the CPU changed in it while the guest ran, see
     * virt_sync_lapic(); sees to a new mode (IA32_APIC_BASE, SVR). */
    void (*sync_lapic)(struct vcpu *v);
    void (*lapic_changed)(struct vcpu *v);
    /* Hands over what waits in the LAPIC, when v->by_cpu; else the core has to inject it. */
    void (*post_interrupts)(struct vcpu *v);

    void (*set_tsc_offset)(struct vcpu *v, uint64_t offset);
    /* Out of date on the CPU: the guest's own translations; the nested ones of its VM. */
    void (*flush_guest)(struct vcpu *v);
    void (*flush_nested)(struct vcpu *v);
    /* Ends the guest at this TSC value, TIMER_NEVER: not. False when the CPU has no means of its
     * own for that. */
    bool (*set_slice_end)(struct vcpu *v, uint64_t tsc);
    /* Vendor's own control state, for a dump of a VM that died. */
    void (*dump)(struct vcpu *v, emit_fn *emit);
};

#define TPR_UNKNOWN 0x100u /* in v->known_tpr: the CPU may have changed more */

extern const struct virt_ops *virt;
extern const struct virt_ops svm_ops;
extern const struct virt_ops vmx_ops;

static inline bool virt_lapic_synced(const struct vcpu *v)
{
    return *v->cpu_tpr == v->known_tpr;
}

/* Brings the virtual LAPIC up to date with what the CPU did while the guest ran. */
static inline void virt_sync_lapic(struct vcpu *v)
{
    if (unlikely(!virt_lapic_synced(v)))
        virt->sync_lapic(v);
}

/* Takes a list like "apicv,rsb": features ("all": each of them) and defences
 * (arch/x86/speculation.h) not to be used; `on`: defences to be used, needed or not, and "x2apic".
 * Logs what it does not know. Before speculation_init() and virt_init(). */
void virt_turn(bool on, const char *list, size_t len);

/* Chooses the backend that fits this CPU. Returns 0, or -BH_ENOTSUP after logging why not. */
MUST_CHECK int virt_init(void);

#endif
