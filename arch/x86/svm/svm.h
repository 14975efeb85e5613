#ifndef BULKHEAD_ARCH_X86_SVM_SVM_H
#define BULKHEAD_ARCH_X86_SVM_SVM_H

/* What the files of the AMD-V backend share. */

#include "arch/x86/percpu.h"
#include "arch/x86/svm/detect.h"
#include "arch/x86/svm/vmcb.h"
#include "arch/x86/virt.h"

struct svm_vcpu {
    struct vmcb *vmcb;
    uint64_t vmcb_pa;
    uint64_t guest_cr0; /* as the guest sees it: CD and NW are not passed to hardware */
    uint64_t guest_efer;
    uint64_t hidden_cr4; /* bits that hardware has set and the guest has not */
    uint64_t asid_generation;
    bool stepping_nmi; /* single-stepping over an NMI handler's IRET */
    bool stepping_had_tf;
    bool running; /* between the VMLOAD before the first entry and the VMSAVE after the last exit */
};

extern struct svm_features svm_features;

extern uint64_t svm_iopm_pa;
extern uint64_t svm_msrpm_pa;

/* All of CS but its base. */
static inline uint64_t svm_cs_key(const struct vmcb *vmcb)
{
    uint64_t key;

    __builtin_memcpy(&key, &vmcb->seg[SEG_CS], sizeof(key));
    return key;
}
static_assert(offsetof(struct segment, base) == sizeof(uint64_t), "selector, attributes, limit");

/* The code that exited runs in 64-bit mode, and `mode` is that mode, still as it was got. */
static inline bool svm_in_64bit_code(const struct vmcb *vmcb, const struct code_mode *mode)
{
    return likely(mode->cpu_mode == MODE_64) &&
           likely(((vmcb->cr3 ^ mode->cr3) | (svm_cs_key(vmcb) ^ mode->key) |
                   (vmcb->cr0 ^ mode->cr0) | (vmcb->efer ^ mode->efer ^ EFER_SVME)) == 0);
}

/* Marks parts of the VMCB as changed since the last run. */
static inline void svm_dirty(struct svm_vcpu *svm, uint32_t clean_bits)
{
    svm->vmcb->clean &= ~clean_bits;
}

/* V_IRQ is to end the guest as soon as it takes interrupts. */
static inline bool svm_wants_window(const struct vmcb *vmcb)
{
    return (vmcb->intercept3 & INTERCEPT3_VINTR) != 0;
}

/* V_IRQ stands for an interrupt, which the CPU delivers as it does a physical one, and not for the
 * interrupt window (struct svm_features, virq_delivers). */
static inline bool svm_virq_delivers(const struct vmcb *vmcb)
{
    return (vmcb->int_ctl & INT_CTL_V_IRQ) && !svm_wants_window(vmcb);
}

/* The interrupt window is not to end the guest any more. Where MOVs to CR8 are to exit all the
 * same, want_tpr_exit() comes after it. */
static inline void svm_close_window(struct svm_vcpu *svm)
{
    svm->vmcb->int_ctl &= ~INT_CTL_V_IRQ;
    svm->vmcb->intercept3 &= ~INTERCEPT3_VINTR;
    svm->vmcb->intercept_cr &= ~INTERCEPT_CR_WRITE(8);
    svm_dirty(svm, CLEAN_INTERCEPTS);
}

/* entry.asm: runs the guest, calling svm_exit() after each exit, until that says something else
 * than EXIT_RESUME. */
enum exit_action svm_run(struct vcpu *v, uint64_t vmcb_pa, uint64_t host_vmcb_pa);

/* exit.c: takes the guest's registers over, handles the exit, and makes the next entry ready. */
enum exit_action svm_exit(struct vcpu *v);
/* exit.c: what v->pending says, before the next entry. EXIT_RESCHEDULE: there is to be none. */
enum exit_action svm_attend(struct vcpu *v);

/* exit.c: puts the guest's DR0..3 on the CPU and stops intercepting debug register accesses. */
void svm_load_debug_registers(struct vcpu *v);

/* permissions.c: allocates and fills the I/O and MSR permission maps. 0 or -BH_ENOMEM. */
MUST_CHECK int svm_permissions_init(void);

#endif
