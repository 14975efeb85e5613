#ifndef BULKHEAD_ARCH_X86_VMX_GUEST_REGS_H
#define BULKHEAD_ARCH_X86_VMX_GUEST_REGS_H

/* The guest's system registers, in the VMCS and beside it: struct virt_ops says what each does. */

#include "arch/x86/vmx/vmx.h"
#include "vmm/vcpu.h"

/* Writes the state of a CPU after RESET, with `regs` on top. The VMCS is current. */
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

/* The code that exited runs in 64-bit mode. The VMCS is current. */
bool vmx_in_64bit_mode(void);

/* And `mode` is that mode, still as it was got. LMA and CS.L say that paging is on, and PAE; LA57
 * is not the guest's to set. */
static inline bool vmx_in_64bit_code(const struct code_mode *mode)
{
    return likely(mode->cpu_mode == MODE_64) && likely(vmcs_read(VMCS_GUEST_CR3) == mode->cr3) &&
           likely(vmcs_read(VMCS_GUEST_CS_ACCESS) == mode->key) &&
           likely(vmcs_read(VMCS_GUEST_EFER) == mode->efer);
}

/* Whether PAE paging would accept what stands at the guest's CR3, should these values of CR0 and
 * CR4 turn it on: reserved bits in one of the four entries are #GP (SDM vol. 3, 4.4.1). */
bool vmx_pdptes_valid(struct vcpu *v, uint64_t cr0, uint64_t cr4);

#endif
