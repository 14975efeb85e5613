#include "arch/x86/memory_types.h"

#include "arch/x86/asm.h"
#include "arch/x86/interrupt.h"
#include "arch/x86/msr.h"
#include "arch/x86/regs.h"

#define CPUID1_EDX_MTRR    BIT(12)
#define MTRR_CAP_VARIABLES 0xffu /* how many; each has a base and a mask */
#define MTRR_CAP_FIXED     BIT64(8)
#define MTRR_DEF_ENABLE    BIT64(11)
#define VARIABLES_MAX      16u
#define PAT_LAST_SHIFT     56
#define PAT_COMBINING      1ull /* SDM vol. 3, table 12-10 */

static const uint32_t fixed[] = {
    MSR_MTRR_FIX64K_00000,    MSR_MTRR_FIX16K_80000,    MSR_MTRR_FIX16K_A0000,
    MSR_MTRR_FIX4K_C0000,     MSR_MTRR_FIX4K_C0000 + 1, MSR_MTRR_FIX4K_C0000 + 2,
    MSR_MTRR_FIX4K_C0000 + 3, MSR_MTRR_FIX4K_C0000 + 4, MSR_MTRR_FIX4K_C0000 + 5,
    MSR_MTRR_FIX4K_C0000 + 6, MSR_MTRR_FIX4K_F8000,
};
static_assert(MSR_MTRR_FIX4K_F8000 == MSR_MTRR_FIX4K_C0000 + 7, "eight in a row");

/* MTRR_DEF_TYPE is the last: it turns them on. */
static struct {
    uint32_t msr;
    uint64_t value;
} saved[1 + 2 * VARIABLES_MAX + ARRAY_SIZE(fixed) + 1] INIT_DATA;
static unsigned int saved_count INIT_DATA;

/* Entry 7 is what a page with PAT, PCD and PWT set gets. It is uncached after reset (SDM vol. 3,
 * table 12-12), and none of the tables before the core's has such a page. VT-x reloads the PAT on
 * exits (VMCS, host PAT); AMD-V has another one for guests, as long as paging is nested (APM vol.
 * 2, 15.25.8). */
INIT void memory_types_init(void)
{
    uint64_t pat = rdmsr(MSR_PAT) & ~(0xffull << PAT_LAST_SHIFT);

    wrmsr(MSR_PAT, pat | PAT_COMBINING << PAT_LAST_SHIFT);
    write_cr3(read_cr3());
}

INIT static void save(uint32_t msr)
{
    if (rdmsr_safe(msr, &saved[saved_count].value))
        saved[saved_count++].msr = msr;
}

INIT void memory_types_save(void)
{
    uint64_t cap;

    save(MSR_PAT);
    if (!(cpuid(1, 0).edx & CPUID1_EDX_MTRR) || !rdmsr_safe(MSR_MTRR_CAP, &cap))
        return;
    for (uint32_t i = 0; i < 2 * MIN((uint32_t)cap & MTRR_CAP_VARIABLES, VARIABLES_MAX); i++)
        save(MSR_MTRR_PHYS_BASE0 + i);
    for (unsigned int i = 0; i < ARRAY_SIZE(fixed) && (cap & MTRR_CAP_FIXED); i++)
        save(fixed[i]);
    save(MSR_MTRR_DEF_TYPE);
}

INIT static void flush(void)
{
    __asm__ volatile("wbinvd" ::: "memory");
    write_cr3(read_cr3());
}

INIT bool memory_types_load(void)
{
    uint64_t cr0 = read_cr0();
    bool same = true;

    memory_types_init();
    for (unsigned int i = 0; i < saved_count; i++)
        same &= rdmsr(saved[i].msr) == saved[i].value;
    if (same)
        return true;
    write_cr0((cr0 | CR0_CD) & ~CR0_NW);
    flush();
    if (saved_count > 0 && saved[saved_count - 1].msr == MSR_MTRR_DEF_TYPE)
        wrmsr(MSR_MTRR_DEF_TYPE, rdmsr(MSR_MTRR_DEF_TYPE) & ~MTRR_DEF_ENABLE);
    for (unsigned int i = 0; i < saved_count; i++)
        wrmsr(saved[i].msr, saved[i].value);
    flush();
    write_cr0(cr0);
    return false;
}
