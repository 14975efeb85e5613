#ifndef BULKHEAD_ARCH_X86_VMX_DETECT_H
#define BULKHEAD_ARCH_X86_VMX_DETECT_H

/* Whether this CPU has VT-x, and what of it. Boot only; the UEFI loader asks, too. */

#include "arch/x86/vmx/caps.h"

/* IA32_FEATURE_CONTROL (SDM vol. 3, 24.7). */
#define FEATURE_LOCK        BIT64(0)
#define FEATURE_VMX_OUTSIDE BIT64(2)

/* It is there, and firmware has not turned it off. */
bool vmx_can_be_used(void);

/* As struct virt_ops' detect; fills in the MSRs and what follows from them. */
MUST_CHECK int vmx_detect(uint32_t off, uint64_t msrs[VMX_CAP_COUNT], struct vmx_caps *caps,
                          char *why, size_t size);

#endif
