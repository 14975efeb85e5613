#ifndef BULKHEAD_ARCH_X86_MSR_H
#define BULKHEAD_ARCH_X86_MSR_H

/* Model-specific registers that the core itself uses or has a rule for (SDM vol. 4; APM vol. 2,
 * appendix A). */

#define MSR_TSC               0x00000010u
#define MSR_APIC_BASE         0x0000001bu
#define MSR_FEATURE_CONTROL   0x0000003au
#define MSR_TSC_ADJUST        0x0000003bu
#define MSR_SPEC_CTRL         0x00000048u
#define MSR_PRED_CMD          0x00000049u
#define MSR_BIOS_SIGN_ID      0x0000008bu
#define MSR_MTRR_CAP          0x000000feu
#define MSR_ARCH_CAPABILITIES 0x0000010au
#define MSR_FLUSH_CMD         0x0000010bu
#define MSR_SYSENTER_CS       0x00000174u
#define MSR_SYSENTER_EIP      0x00000176u
#define MSR_MCG_CAP           0x00000179u
#define MSR_MCG_STATUS        0x0000017au
#define MSR_MISC_ENABLE       0x000001a0u
#define MSR_DEBUGCTL          0x000001d9u
#define MSR_MTRR_PHYS_BASE0   0x00000200u
#define MSR_MTRR_PHYS_LAST    0x0000020fu
#define MSR_MTRR_FIX64K_00000 0x00000250u
#define MSR_MTRR_FIX16K_80000 0x00000258u
#define MSR_MTRR_FIX16K_A0000 0x00000259u
#define MSR_MTRR_FIX4K_C0000  0x00000268u
#define MSR_MTRR_FIX4K_F8000  0x0000026fu
#define MSR_PAT               0x00000277u
#define MSR_MTRR_DEF_TYPE     0x000002ffu
#define MSR_TSC_DEADLINE      0x000006e0u
#define MSR_X2APIC_FIRST      0x00000800u
#define MSR_EFER              0xc0000080u
#define MSR_STAR              0xc0000081u
#define MSR_SFMASK            0xc0000084u
#define MSR_FS_BASE           0xc0000100u
#define MSR_KERNEL_GS_BASE    0xc0000102u
#define MSR_TSC_AUX           0xc0000103u
#define MSR_AMD_SYSCFG        0xc0010010u
#define MSR_AMD_HWCR          0xc0010015u
#define MSR_AMD_NB_CFG        0xc001001fu
#define MSR_AMD_PATCH_LOADER  0xc0010020u
#define MSR_AMD_INT_PENDING   0xc0010055u
#define MSR_AMD_VM_CR         0xc0010114u
#define MSR_AMD_VM_HSAVE_PA   0xc0010117u
#define MSR_AMD_LS_CFG        0xc0011020u
#define MSR_AMD_DC_CFG        0xc0011022u
#define MSR_AMD_FP_CFG        0xc0011028u
#define MSR_AMD_BU_CFG2       0xc001102au
#define MSR_AMD_DE_CFG        0xc0011029u

#define MSR_KVM_WALL_CLOCK      0x00000011u
#define MSR_KVM_SYSTEM_TIME     0x00000012u
#define MSR_KVM_WALL_CLOCK_NEW  0x4b564d00u
#define MSR_KVM_SYSTEM_TIME_NEW 0x4b564d01u
#define MSR_KVM_STEAL_TIME      0x4b564d03u
#define MSR_KVM_PV_EOI          0x4b564d04u

#define PAT_INIT     0x0007040600070406ull /* SDM vol. 3, 12.12.4 */
#define VM_CR_SVMDIS 0x10ull               /* APM vol. 2, 15.30.1 */

#endif
