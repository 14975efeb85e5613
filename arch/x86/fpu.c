#include "arch/x86/fpu.h"

#include "arch/x86/asm.h"
#include "arch/x86/mm/page_alloc.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/string.h"

#define CPUID1_ECX_XSAVE BIT(26)
#define CPUID_SIZES      0x80000008u
#define EBX_XSAVEERPTR   BIT(2)
#define FXSAVE_SIZE      512u
#define FCW_INIT         0x037f
#define MXCSR_INIT       0x1f80
#define MXCSR_OFFSET     24u

static uint64_t machine_xcr0; /* 0: no XSAVE */
static unsigned int area_pages;
/* AMD CPUs without this CPUID bit do not restore the x87 instruction and data pointers while no
 * exception is pending (CVE-2006-1056): they are overwritten with the core's own first. */
static uint32_t stale_pointers;

INIT void fpu_init_cpu(void)
{
    write_cr0(read_cr0() & ~(CR0_TS | CR0_EM));
    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
    if (machine_xcr0) {
        write_cr4(read_cr4() | CR4_OSXSAVE);
        xsetbv(0, machine_xcr0);
    }
}

INIT void fpu_init(void)
{
    uint32_t size = FXSAVE_SIZE;

    if (cpuid(1, 0).ecx & CPUID1_ECX_XSAVE) {
        struct cpuid_regs r = cpuid(0xd, 0);
        machine_xcr0 = (uint64_t)r.edx << 32 | r.eax;
    }
    fpu_init_cpu();
    if (machine_xcr0) {
        size = cpuid(0xd, 0).ebx; /* of what XCR0 has */
    }
    stale_pointers =
        cpuid(0x80000000, 0).eax >= CPUID_SIZES && !(cpuid(CPUID_SIZES, 0).ebx & EBX_XSAVEERPTR);
    area_pages = (unsigned int)(ALIGN_UP((uint64_t)size, PAGE_SIZE_4K) / PAGE_SIZE_4K);
    log_debug("fpu: XCR0 0x%llx, %u bytes a vCPU", LLU(machine_xcr0), size);
}

uint64_t fpu_machine_xcr0(void)
{
    return machine_xcr0;
}

int fpu_create(struct vcpu *v)
{
    v->xsave = page_alloc_contiguous(area_pages, 1);
    return v->xsave ? 0 : -BH_ENOMEM;
}

/* The state after RESET: XSTATE_BV 0 makes XRSTOR load each component's initial values; MXCSR and
 * FXRSTOR take theirs from the area. */
void fpu_reset(struct vcpu *v)
{
    uint8_t *area = v->xsave;

    memset(area, 0, area_pages * PAGE_SIZE_4K);
    area[0] = FCW_INIT & 0xff;
    area[1] = FCW_INIT >> 8;
    area[MXCSR_OFFSET] = MXCSR_INIT & 0xff;
    area[MXCSR_OFFSET + 1] = MXCSR_INIT >> 8;
    v->guest_xcr0 = 1;
}

/* All components that the machine has are switched, also those that guests are not offered: not
 * every machine lets the core intercept XSETBV (QEMU's TCG does not). */
void fpu_load(struct vcpu *v)
{
    if (stale_pointers)
        __asm__ volatile("fnclex; emms; fildl %0" ::"m"(stale_pointers));
    if (machine_xcr0) {
        xsetbv(0, machine_xcr0);
        __asm__ volatile("xrstor64 (%0)" ::"r"(v->xsave), "a"((uint32_t)machine_xcr0),
                         "d"((uint32_t)(machine_xcr0 >> 32))
                         : "memory");
        xsetbv(0, v->guest_xcr0);
    } else {
        __asm__ volatile("fxrstor64 (%0)" ::"r"(v->xsave) : "memory");
    }
}

void fpu_save(struct vcpu *v)
{
    if (machine_xcr0) {
        v->guest_xcr0 = xgetbv(0);
        xsetbv(0, machine_xcr0);
        __asm__ volatile("xsave64 (%0)" ::"r"(v->xsave), "a"((uint32_t)machine_xcr0),
                         "d"((uint32_t)(machine_xcr0 >> 32))
                         : "memory");
    } else {
        __asm__ volatile("fxsave64 (%0)" ::"r"(v->xsave) : "memory");
    }
}
