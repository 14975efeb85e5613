/* The I/O and MSR bitmaps, shared by all VMs: everything exits except the MSRs that the policy
 * table (vmm/msr.c) lists as direct and, in x2APIC mode, the LAPIC registers that the CPU
 * virtualizes. */

#include "arch/x86/mm/page_alloc.h"
#include "arch/x86/msr.h"
#include "arch/x86/vmx/vmx.h"
#include "lib/error.h"
#include "lib/string.h"
#include "vmm/irqchip/lapic_regs.h"
#include "vmm/msr.h"

#define IO_BITMAP_PAGES 2 /* SDM vol. 3, 25.6.4: ports up to 7FFFh, then the rest */

/* SDM vol. 3, 25.6.9: reads of low and high MSRs, then writes, 1 KiB each. */
#define MSR_HIGH       0xc0000000u
#define MSR_RANGE_SIZE 0x2000u
#define HIGH_OFFSET    1024u
#define WRITE_OFFSET   2048u

uint64_t vmx_io_bitmap_pa;
uint64_t vmx_msr_bitmap_pa[VMX_MSR_BITMAPS];

static void allow(uint32_t msr, bool read, bool write, void *ctx)
{
    uint8_t *map = ctx;
    uint32_t base = msr >= MSR_HIGH ? MSR_HIGH : 0;
    uint32_t byte = (msr - base) / 8 + (base ? HIGH_OFFSET : 0);
    uint8_t bit = (uint8_t)BIT(msr % 8);

    if (msr - base >= MSR_RANGE_SIZE)
        return;
    if (read)
        map[byte] &= (uint8_t)~bit;
    if (write)
        map[byte + WRITE_OFFSET] &= (uint8_t)~bit;
}

INIT static uint8_t *new_bitmap(void)
{
    uint8_t *map = page_alloc();

    if (map) {
        memset(map, 0xff, PAGE_SIZE_4K);
        msr_for_each_direct(allow, map);
    }
    return map;
}

/* SDM vol. 3, 30.5: reads come from the virtual-APIC page, and of the writes these three are fully
 * virtualized. The timer's count runs in the core; ICR has another layout here; and EOI and DFR
 * cannot be read in x2APIC mode. */
INIT static void allow_x2apic(uint8_t *map)
{
    const uint64_t written =
        LAPIC_BIT(LAPIC_TPR) | LAPIC_BIT(LAPIC_EOI) | LAPIC_BIT(LAPIC_SELF_IPI);
    const uint64_t read = LAPIC_PLAIN & ~(LAPIC_BIT(LAPIC_EOI) | LAPIC_BIT(LAPIC_DFR) |
                                          LAPIC_BIT(LAPIC_ICR) | LAPIC_BIT(LAPIC_ICR_HIGH));

    for (unsigned int i = 0; i < 64; i++)
        allow(X2APIC_MSR_FIRST + i, read & BIT64(i), written & BIT64(i), map);
}

INIT int vmx_bitmaps_init(void)
{
    uint8_t *io = page_alloc_contiguous(IO_BITMAP_PAGES, 1);

    if (!io)
        return -BH_ENOMEM;
    memset(io, 0xff, IO_BITMAP_PAGES * PAGE_SIZE_4K);
    vmx_io_bitmap_pa = page_to_pa(io);
    for (unsigned int i = 0; i < VMX_MSR_BITMAPS; i++) {
        uint8_t *map = new_bitmap();
        if (!map)
            return -BH_ENOMEM;
        if (i == VMX_MSRS_TPR)
            allow(X2APIC_MSR_TPR, true, true, map);
        else if (i == VMX_MSRS_APIC)
            allow_x2apic(map);
        vmx_msr_bitmap_pa[i] = page_to_pa(map);
    }
    return 0;
}
