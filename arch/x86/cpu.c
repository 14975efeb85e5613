#include "arch/x86/cpu.h"

#include "arch/x86/asm.h"
#include "arch/x86/interrupt.h"
#include "arch/x86/msr.h"
#include "arch/x86/percpu.h"
#include "arch/x86/regs.h"
#include "arch/x86/speculation.h"
#include "lib/log.h"
#include "lib/string.h"

#define F7B_SMEP      BIT(7)
#define F7B_SMAP      BIT(20)
#define F7C_UMIP      BIT(2)
#define DE_CFG_LFENCE BIT64(1)

#define CPUID_SIZES   0x80000008u
#define PA_BITS_LEAST 36u /* of CPUs without that leaf (SDM vol. 3, 4.1.4) */
#define PA_BITS_MOST  52u

uint64_t cpu_physical_end(void)
{
    bool told = cpuid(0x80000000, 0).eax >= CPUID_SIZES;
    unsigned int bits = told ? (uint8_t)cpuid(CPUID_SIZES, 0).eax : PA_BITS_LEAST;

    return BIT64(MIN(bits, PA_BITS_MOST));
}

/* AMD64 "Software techniques for managing speculation", mitigation G-2. */
INIT static void serialize_lfence(void)
{
    uint64_t value;
    struct cpuid_regs r = cpuid(0, 0);

    if (memcmp(&r.ebx, "Auth", 4) != 0 || !rdmsr_safe(MSR_AMD_DE_CFG, &value) ||
        (value & DE_CFG_LFENCE))
        return;
    wrmsr(MSR_AMD_DE_CFG, value | DE_CFG_LFENCE);
}

INIT void cpu_protect(void)
{
    struct cpuid_regs f7 = cpuid(0, 0).eax >= 7 ? cpuid(7, 0) : (struct cpuid_regs){0};
    uint64_t cr4 = read_cr4() | CR4_MCE; /* else a machine check is a silent shutdown */

    cr4 |= f7.ebx & F7B_SMEP ? CR4_SMEP : 0;
    cr4 |= f7.ebx & F7B_SMAP ? CR4_SMAP : 0;
    cr4 |= f7.ecx & F7C_UMIP ? CR4_UMIP : 0;
    write_cr4(cr4);
    write_cr0(read_cr0() | CR0_WP);
    serialize_lfence();
    speculation_init_cpu();
    if (this_cpu->id != 0)
        return;
    log_info("cpu: NX%s%s%s", cr4 & CR4_SMEP ? " SMEP" : "", cr4 & CR4_SMAP ? " SMAP" : "",
             cr4 & CR4_UMIP ? " UMIP" : "");
}
