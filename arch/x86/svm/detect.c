#include "arch/x86/svm/detect.h"

#include "arch/x86/asm.h"
#include "arch/x86/interrupt.h"
#include "arch/x86/msr.h"
#include "arch/x86/virt.h"
#include "lib/error.h"
#include "lib/format.h"

#define CPUID_AMD_FEATURES 0x80000001u
#define ECX_SVM            BIT(2)
#define EDX_PAGE_1G        BIT(26)
#define CPUID_SVM          0x8000000au
#define EAX_REVISION       0xffu
#define EDX_NP             BIT(0)
#define EDX_NRIPS          BIT(3)
#define EDX_CLEAN          BIT(5)
#define EDX_FLUSH_BY_ASID  BIT(6)
#define EDX_DECODE_ASSISTS BIT(7)
#define EDX_PAUSE_FILTER   BIT(10)
#define EDX_PAUSE_GAP      BIT(12)

#define MIN_ASIDS 2u /* one is the core's */

INIT static bool has_svm(void)
{
    return cpuid(0x80000000, 0).eax >= CPUID_SVM && (cpuid(CPUID_AMD_FEATURES, 0).ecx & ECX_SVM);
}

/* A CPU without VM_CR (Bochs has none) cannot have SVM turned off by it. */
INIT static bool is_turned_off(void)
{
    uint64_t vm_cr;

    return rdmsr_safe(MSR_AMD_VM_CR, &vm_cr) && (vm_cr & VM_CR_SVMDIS);
}

INIT bool svm_can_be_used(void)
{
    return has_svm() && !is_turned_off();
}

INIT int svm_detect(uint32_t off, struct svm_features *features, char *why, size_t size)
{
    if (!has_svm()) {
        format(why, size, "this processor has no AMD-V (SVM): CPUID 80000001h ECX bit 2 is 0");
        return -BH_ENODEV;
    }
    if (is_turned_off()) {
        format(why, size,
               "AMD-V (SVM) is turned off in firmware: MSR VM_CR, SVMDIS is set; look "
               "for \"SVM\" or \"virtualization\" in the firmware's setup");
        return -BH_ENOTSUP;
    }
    struct cpuid_regs r = cpuid(CPUID_SVM, 0);
    if (!(r.edx & EDX_NP)) {
        format(why, size,
               "AMD-V is there, but not nested paging (NPT): CPUID 8000000Ah EDX bit 0 is 0");
        return -BH_ENOTSUP;
    }
    if (r.ebx < MIN_ASIDS) {
        format(why, size, "AMD-V has %u address-space identifiers, expected at least %u", r.ebx,
               MIN_ASIDS);
        return -BH_ENOTSUP;
    }
    *features = (struct svm_features){
        .nrips = (r.edx & EDX_NRIPS) && !(off & BIT(FEATURE_NEXT_RIP)),
        .decode_assists = (r.edx & EDX_DECODE_ASSISTS) && !(off & BIT(FEATURE_DECODE_ASSISTS)),
        .flush_by_asid = (r.edx & EDX_FLUSH_BY_ASID) != 0,
        .clean_bits = (r.edx & EDX_CLEAN) != 0,
        .pause_filter = (r.edx & EDX_PAUSE_FILTER) && !(off & BIT(FEATURE_PAUSE_EXIT)),
        .pause_threshold = (r.edx & EDX_PAUSE_GAP) != 0,
        .large_pages =
            (cpuid(CPUID_AMD_FEATURES, 0).edx & EDX_PAGE_1G) && !(off & BIT(FEATURE_LARGE_PAGES)),
        .virq_delivers = (off & BIT(FEATURE_EVENT_INJECTION)) != 0,
        .asids = r.ebx,
        .revision = r.eax & EAX_REVISION,
    };
    return 0;
}
