#ifndef BULKHEAD_ARCH_X86_VIRT_H
#define BULKHEAD_ARCH_X86_VIRT_H

/* The one interface between vendor-neutral code and the two virtualization backends. */

#include "arch/x86/mm/pagetable.h"
#include "lib/emit.h"
#include "vmm/vcpu.h"

struct virt_ops {
    const char *name;

    /* Checks the CPU and its firmware settings. Returns 0, or -BH_ENOTSUP with what is missing, in
     * words, in `why`. */
    int (*detect)(char *why, size_t size);
    /* Turns virtualization on, on this CPU. 0 or -BH_ENOMEM. */
    int (*cpu_enable)(void);

    const struct pt_format *nested_format;

    /* Backend part of a vCPU: made with the VM, reset at each start. 0 or -BH_ENOMEM. */
    int (*vcpu_create)(struct vcpu *v);
    /* Brings the vCPU to the state of a CPU after RESET, with `regs` on top. */
    void (*vcpu_reset)(struct vcpu *v, const struct vcpu_sysregs *regs);

    /* Puts the vCPU's state that is switched lazily on the CPU, and takes it back. */
    void (*vcpu_load)(struct vcpu *v);
    void (*vcpu_unload)(struct vcpu *v);

    /* Enters the guest and handles the exit that ends it. Interrupts off. */
    enum exit_action (*vcpu_run)(struct vcpu *v);

    void (*get_sysregs)(struct vcpu *v, struct vcpu_sysregs *regs);
    void (*set_cr0)(struct vcpu *v, uint64_t value);
    void (*set_cr2)(struct vcpu *v, uint64_t value);
    void (*set_cr4)(struct vcpu *v, uint64_t value);
    void (*set_efer)(struct vcpu *v, uint64_t value);
    void (*set_dr6)(struct vcpu *v, uint64_t value);
    void (*set_pat)(struct vcpu *v, uint64_t value);
    uint64_t (*get_cr4)(struct vcpu *v);
    uint64_t (*get_efer)(struct vcpu *v);

    /* Interrupts: whether STI or MOV SS holds them off for an instruction; end of that hold; inject
     * at the next entry; exit as soon as an interrupt or NMI could be taken; exit when the guest
     * lowers CR8. */
    bool (*interrupt_shadow)(struct vcpu *v);
    void (*clear_shadow)(struct vcpu *v);
    void (*inject)(struct vcpu *v, const struct vcpu_event *event);
    void (*want_interrupt_window)(struct vcpu *v);
    void (*want_nmi_window)(struct vcpu *v);
    void (*intercept_cr8)(struct vcpu *v, bool on);
    /* The task priority that the CPU keeps for the guest, as CR8. */
    uint8_t (*get_cr8)(struct vcpu *v);
    void (*set_cr8)(struct vcpu *v, uint8_t cr8);

    void (*set_tsc_offset)(struct vcpu *v, uint64_t offset);
    /* Nested translations of this VM that a CPU may hold are out of date. */
    void (*flush_nested)(struct vcpu *v);
    /* Vendor's own control state, for a dump of a VM that died. */
    void (*dump)(struct vcpu *v, emit_fn *emit);
};

extern const struct virt_ops *virt;
extern const struct virt_ops svm_ops;

/* Chooses the backend that fits this CPU. Returns 0, or -BH_ENOTSUP after logging why not. */
MUST_CHECK int virt_init(void);

#endif
