#ifndef BULKHEAD_TESTS_UNIT_VMX_MODEL_H
#define BULKHEAD_TESTS_UNIT_VMX_MODEL_H

/* VT-x capability MSRs as Bochs 2.7 has them, by model. */

#include "arch/x86/vmx/caps.h"
#include "arch/x86/vmx/vmcs.h"

#define MUST_AND_MAY(must, may) ((uint64_t)(may) << 32 | (must))

/* `proc2`: high half of IA32_VMX_PROCBASED_CTLS2. */
#define VMX_MODEL(proc2, misc, ept_vpid)                                                 \
    {                                                                                    \
        [VMX_CAP_BASIC] = VMX_BASIC_TRUE | 6ull << 50 | 0x1000ull << 32 | 0x2b,          \
        [VMX_CAP_PIN] = MUST_AND_MAY(0x16, 0x7f),                                        \
        [VMX_CAP_PROC] = MUST_AND_MAY(0x0401e172, 0xf7f9fffe),                           \
        [VMX_CAP_EXIT] = MUST_AND_MAY(0x00036dff, 0x007fffff),                           \
        [VMX_CAP_ENTRY] = MUST_AND_MAY(0x000011ff, 0x0000ffff), [VMX_CAP_MISC] = (misc), \
        [VMX_CAP_CR0_FIXED0] = 0x80000021, [VMX_CAP_CR0_FIXED1] = 0xffffffff,            \
        [VMX_CAP_CR4_FIXED0] = 0x2000, [VMX_CAP_CR4_FIXED1] = 0x1767ff,                  \
        [VMX_CAP_PROC2] = MUST_AND_MAY(0, proc2), [VMX_CAP_EPT_VPID] = (ept_vpid),       \
        [VMX_CAP_TRUE_PIN] = MUST_AND_MAY(0x16, 0x7f),                                   \
        [VMX_CAP_TRUE_PROC] = MUST_AND_MAY(0x04006172, 0xf7f9fffe),                      \
        [VMX_CAP_TRUE_EXIT] = MUST_AND_MAY(0x00036dfb, 0x007fffff),                      \
        [VMX_CAP_TRUE_ENTRY] = MUST_AND_MAY(0x000011fb, 0x0000ffff),                     \
    }
#define VMX_HASWELL VMX_MODEL(0x00047fff, 0x200401e0, 0x00000f0106334141)
#define VMX_SKYLAKE VMX_MODEL(0x02177fff, 0x600401e0, 0x00000f0106334141)

#endif
