#ifndef BULKHEAD_ARCH_X86_VMX_VMX_H
#define BULKHEAD_ARCH_X86_VMX_VMX_H

/* What the files of the VT-x backend share. */

#include "arch/x86/percpu.h"
#include "arch/x86/virt.h"
#include "arch/x86/vmx/caps.h"
#include "arch/x86/vmx/detect.h"
#include "arch/x86/vmx/vmcs.h"

/* MSRs of a guest that the VMCS does not hold and the core does not use. */
#define VMX_LAZY_MSRS 5

/* By what the CPU does for a guest in x2APIC mode: nothing, its TPR, or most registers. */
#define VMX_APICV (PROC2_APIC_REGISTERS | PROC2_VIRTUAL_INTERRUPTS)
enum vmx_msr_bitmap { VMX_MSRS_PLAIN, VMX_MSRS_TPR, VMX_MSRS_APIC, VMX_MSR_BITMAPS };

struct vmx_vcpu {
    uint32_t *vmcs; /* begins with the revision */
    uint64_t vmcs_pa;
    bool launched;
    bool loaded; /* the lazily switched registers are on the CPU */
    bool flush_guest;
    bool flush_nested;
    uint16_t vpid;
    uint32_t proc_controls; /* as in the VMCS, as are the next two */
    uint32_t proc2_controls;
    uint32_t tpr_threshold;
    enum vmx_msr_bitmap msr_bitmap; /* PLAIN at first */
    uint64_t host_rsp;
    uint64_t slice_end; /* TSC; TIMER_NEVER: none */
    uint64_t cr2, dr6;  /* while not loaded */
    uint64_t msr[VMX_LAZY_MSRS];
};

extern struct vmx_caps vmx_caps;
extern uint64_t vmx_cap_msrs[VMX_CAP_COUNT]; /* what they come from */

/* The field must be one that this CPU has. */
static inline uint64_t vmcs_read(enum vmcs_field field)
{
    uint64_t value;

    __asm__ volatile("vmread %1, %0" : "=rm"(value) : "r"((uint64_t)field) : "cc");
    return value;
}

/* A failure leaves the old value: the field does not exist on this CPU, our own bug. It shows in
 * VMCS_INSTRUCTION_ERROR of a dump. */
static inline void vmcs_write(enum vmcs_field field, uint64_t value)
{
    __asm__ volatile("vmwrite %1, %0" ::"r"((uint64_t)field), "rm"(value) : "cc");
}

/* vmcs.c: makes the vCPU's VMCS the current one. Every function that reaches the VMCS does so
 * first, except while the vCPU runs. */
void vmx_make_current(struct vmx_vcpu *vmx);
static inline void vmx_select(struct vcpu *v)
{
    if (unlikely(this_cpu->vmx.current != v->vmx))
        vmx_make_current(v->vmx);
}

/* Sets or clears bits in the primary processor-based controls of the current VMCS. */
static inline void vmx_set_proc(struct vmx_vcpu *vmx, uint32_t bits, bool on)
{
    uint32_t wanted = on ? vmx->proc_controls | bits : vmx->proc_controls & ~bits;

    if (wanted != vmx->proc_controls) {
        vmx->proc_controls = wanted;
        vmcs_write(VMCS_PROC_CONTROLS, wanted);
    }
}

/* vmcs.c: writes everything that does not change while the VM runs: controls and the core's own
 * state. The VMCS is current. */
void vmx_init_vmcs(struct vcpu *v);

/* bitmaps.c: the I/O and MSR bitmaps, shared by all VMs. */
MUST_CHECK int vmx_bitmaps_init(void);
extern uint64_t vmx_io_bitmap_pa;
extern uint64_t vmx_msr_bitmap_pa[VMX_MSR_BITMAPS];

/* entry.asm: runs the guest, calling vmx_exit() after each exit, until that says something else
 * than EXIT_RESUME, or vmx_entry_refused() when there was no entry. `host_rsp` is the stack pointer
 * that the VMCS has; kept up to date. */
enum exit_action vmx_run(struct vcpu *v, uint64_t *host_rsp, bool launched);
extern const char vmx_exit_point[];

enum exit_action vmx_entry_refused(struct vcpu *v);

/* exit.c: what v->pending says, before the next entry; the VMCS is current. EXIT_RESCHEDULE: there
 * is to be none. */
enum exit_action vmx_attend(struct vcpu *v);
/* exit.c: takes the guest's registers over, handles the exit, and makes the next entry ready. */
enum exit_action vmx_exit(struct vcpu *v);
/* Says why the VMCS does not work, and ends the VM. */
enum exit_action vmx_entry_failed(struct vcpu *v, const char *what);

/* apic.c: what struct virt_ops says of the same names. */
void vmx_sync_lapic(struct vcpu *v);
void vmx_lapic_changed(struct vcpu *v);
void vmx_post_interrupts(struct vcpu *v);
void vmx_want_tpr_exit(struct vcpu *v, bool on);

/* guest_regs.c: the guest's system registers, in the VMCS and beside it: struct virt_ops says what
 * each does. The first writes the state of a CPU after RESET, with `regs` on top. The VMCS is
 * current. */
void vmx_init_guest_regs(struct vcpu *v, const struct vcpu_sysregs *regs);

void vmx_get_sysregs(struct vcpu *v, struct vcpu_sysregs *regs);
void vmx_get_code_mode(struct vcpu *v, struct code_mode *mode);
bool vmx_in_code_mode(struct vcpu *v, const struct code_mode *mode);
uint64_t vmx_get_segment_base(struct vcpu *v, enum seg_index seg);
void vmx_set_cr0(struct vcpu *v, uint64_t value);
void vmx_set_cr2(struct vcpu *v, uint64_t value);
void vmx_set_cr4(struct vcpu *v, uint64_t value);
void vmx_set_efer(struct vcpu *v, uint64_t value);
void vmx_note_debug(struct vcpu *v, uint64_t dr6_bits);
void vmx_set_pat(struct vcpu *v, uint64_t value);
uint64_t vmx_get_cr0(struct vcpu *v);
uint64_t vmx_get_cr4(struct vcpu *v);
uint64_t vmx_get_efer(struct vcpu *v);

/* The code that exited runs in 64-bit mode, and `mode` is that mode, still as it was got. LMA and
 * CS.L say that paging is on, and PAE; LA57 is not the guest's to set. The VMCS is current. */
static inline bool vmx_in_64bit_code(const struct code_mode *mode)
{
    return likely(mode->cpu_mode == MODE_64) && likely(vmcs_read(VMCS_GUEST_CR3) == mode->cr3) &&
           likely(vmcs_read(VMCS_GUEST_CS_ACCESS) == mode->key) &&
           likely(vmcs_read(VMCS_GUEST_EFER) == mode->efer);
}

/* Whether PAE paging would accept what stands at the guest's CR3, should these values of CR0 and
 * CR4 turn it on: reserved bits in one of the four entries are #GP (SDM vol. 3, 4.4.1). */
bool vmx_pdptes_valid(struct vcpu *v, uint64_t cr0, uint64_t cr4);

/* dump.c: prints the whole VMCS. */
void vmx_dump(struct vcpu *v, emit_fn *emit);

#endif
