/* Which defences a CPU needs and has. */

#include "arch/x86/speculation.h"

/* CPUID bits (SDM vol. 2, CPUID; APM vol. 3, appendix E). AMD keeps Intel's bits of leaf 7 EDX 0,
 * and the other way round. */
#define F7B_RTM       BIT(11)
#define F7D_MD_CLEAR  BIT(10)
#define F7D_SPEC_CTRL BIT(26) /* IBRS and IBPB */
#define F7D_FLUSH_L1D BIT(28)
#define FE8B_IBPB     BIT(12)

/* IA32_ARCH_CAPABILITIES (SDM vol. 4, table 2-2). */
#define CAP_RDCL_NO    BIT64(0)
#define CAP_IBRS_ALL   BIT64(1)
#define CAP_SKIP_L1DFL BIT64(3)
#define CAP_MDS_NO     BIT64(5)
#define CAP_TAA_NO     BIT64(8)
#define CAP_PBRSB_NO   BIT64(24)
#define CAP_RFDS_NO    BIT64(27)
#define CAP_RFDS_CLEAR BIT64(28)

const char *const defence_names[DEFENCE_COUNT] = {
    [DEFENCE_IBRS] = "ibrs", [DEFENCE_RETPOLINE] = "retpoline", [DEFENCE_RSB] = "rsb",
    [DEFENCE_IBPB] = "ibpb", [DEFENCE_VERW] = "verw",           [DEFENCE_L1D] = "l1d",
};

void speculation_choose(const struct speculation_cpu *cpu, uint32_t off, uint32_t on,
                        enum defence_state state[DEFENCE_COUNT])
{
    const uint64_t cap = cpu->arch_capabilities;
    const bool automatic_ibrs = cpu->fe21_eax & SPECULATION_AUTOMATIC_IBRS;
    const bool enhanced_ibrs = (cpu->f7_edx & F7D_SPEC_CTRL) && (cap & CAP_IBRS_ALL);
    const bool has_ibrs = enhanced_ibrs || automatic_ibrs;
    const bool ibrs = has_ibrs && !(off & BIT(DEFENCE_IBRS));
    const bool taa = (cpu->f7_ebx & F7B_RTM) && !(cap & CAP_TAA_NO);
    const bool rfds = (cap & (CAP_RFDS_NO | CAP_RFDS_CLEAR)) == CAP_RFDS_CLEAR;
    const struct {
        bool needed, offered;
    } table[DEFENCE_COUNT] = {
        [DEFENCE_IBRS] = {true, has_ibrs},
        [DEFENCE_RETPOLINE] = {!ibrs, true},
        /* With automatic IBRS the CPU clears the return stack at #VMEXIT (APM vol. 2, 3.1.7). With
         * enhanced IBRS a return does not use what the guest left there, but for the one entry of
         * processors without PBRSB_NO. */
        [DEFENCE_RSB] = {!ibrs || (enhanced_ibrs && !(cap & CAP_PBRSB_NO)), true},
        [DEFENCE_IBPB] = {true, (cpu->f7_edx & F7D_SPEC_CTRL) || (cpu->fe8_ebx & FE8B_IBPB)},
        [DEFENCE_VERW] = {cpu->intel && (!(cap & CAP_MDS_NO) || taa || rfds),
                          (cpu->f7_edx & F7D_MD_CLEAR) || rfds},
        [DEFENCE_L1D] = {cpu->intel && !(cap & (CAP_RDCL_NO | CAP_SKIP_L1DFL)),
                         cpu->f7_edx & F7D_FLUSH_L1D},
    };

    for (unsigned int i = 0; i < DEFENCE_COUNT; i++) {
        const bool needed = table[i].needed || (on & BIT(i));
        state[i] = !needed             ? DEFENCE_NOT_NEEDED
                   : !table[i].offered ? DEFENCE_NOT_OFFERED
                   : off & BIT(i)      ? DEFENCE_TURNED_OFF
                                       : DEFENCE_ON;
    }
}
