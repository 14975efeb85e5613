#ifndef BULKHEAD_ARCH_X86_VMX_GUEST_REGS_H
#define BULKHEAD_ARCH_X86_VMX_GUEST_REGS_H

/* The guest's system registers, in the VMCS and beside it: struct virt_ops says what each does. */

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

/* Whether PAE paging would accept what stands at the guest's CR3, should these values of CR0 and
 * CR4 turn it on: reserved bits in one of the four entries are #GP (SDM vol. 3, 4.4.1). */
bool vmx_pdptes_valid(struct vcpu *v, uint64_t cr0, uint64_t cr4);

#endif
