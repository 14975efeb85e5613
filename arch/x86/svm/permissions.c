/* The I/O and MSR permission maps, shared by all VMs: everything is intercepted except the MSRs
 * that the policy table (vmm/msr.c) lists as direct. */

#include "arch/x86/mm/page_alloc.h"
#include "arch/x86/svm/svm.h"
#include "lib/error.h"
#include "lib/string.h"
#include "vmm/msr.h"

#define IOPM_PAGES  3 /* APM vol. 2, 15.10.1: 12 KiB */
#define MSRPM_PAGES 2 /* 15.11: 8 KiB */

#define MSR_RANGE_SIZE  0x2000u
#define MSR_RANGE_BYTES 0x800u /* two bits an MSR */

uint64_t svm_iopm_pa;
uint64_t svm_msrpm_pa;

/* APM vol. 2, 15.11: even bit reads, odd bit writes. */
static void allow(uint32_t msr, bool read, bool write, void *ctx)
{
    static const uint32_t range_base[] = {0, 0xc0000000, 0xc0010000};
    uint8_t *map = ctx;

    for (unsigned int i = 0; i < ARRAY_SIZE(range_base); i++) {
        if (msr - range_base[i] < MSR_RANGE_SIZE) {
            unsigned int bit = (msr - range_base[i]) * 2;
            uint8_t *byte = &map[i * MSR_RANGE_BYTES + bit / 8];
            *byte &= (uint8_t) ~((read ? 1u : 0u) << bit % 8 | (write ? 2u : 0u) << bit % 8);
            return;
        }
    }
}

int svm_permissions_init(void)
{
    uint8_t *iopm = page_alloc_contiguous(IOPM_PAGES, 1);
    uint8_t *msrpm = page_alloc_contiguous(MSRPM_PAGES, 1);

    if (!iopm || !msrpm)
        return -BH_ENOMEM;
    memset(iopm, 0xff, IOPM_PAGES * PAGE_SIZE_4K);
    memset(msrpm, 0xff, MSRPM_PAGES * PAGE_SIZE_4K);
    msr_for_each_direct(allow, msrpm);
    svm_iopm_pa = page_to_pa(iopm);
    svm_msrpm_pa = page_to_pa(msrpm);
    return 0;
}
