/* What the frequent exits mean: HLT, control registers. Ports and device
 * memory are in vmm/exit_io.c. */

#include "vmm/exit.h"

#include "arch/x86/asm.h"
#include "arch/x86/fpu.h"
#include "arch/x86/virt.h"
#include "lib/log.h"
#include "vmm/cpuid.h"
#include "vmm/pv_eoi.h"
#include "vmm/vm.h"

#define SELECTOR_RPL 3u
#define MAX_CR8      15u /* TPR bits 7:4; higher bits are reserved */

#define XCR0_X87    BIT64(0)
#define XCR0_SSE    BIT64(1)
#define XCR0_AVX    BIT64(2)
#define XCR0_AVX512 (BIT64(5) | BIT64(6) | BIT64(7))

#define CR0_DEFINED                                                                            \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | \
     CR0_PG)

enum exit_action exit_hlt(struct vcpu *v, unsigned int length)
{
    vcpu_skip(v, length);
    virt_sync_lapic(v);
    if (vcpu_has_wakeup(v)) {
        /* Injected at once: the window that was asked for would let one instruction run first. */
        v->pending |= PENDING_INTERRUPT;
        v->unhalted = false;
        return EXIT_RESUME;
    }
    v->state = VCPU_HALTED;
    return EXIT_RESCHEDULE;
}

/* SDM vol. 1, 13.3. */
static bool xcr0_is_valid(uint64_t value)
{
    return (value & XCR0_X87) && (!(value & XCR0_AVX) || (value & XCR0_SSE)) &&
           ((value & XCR0_AVX512) == 0 ||
            ((value & XCR0_AVX512) == XCR0_AVX512 && (value & XCR0_AVX))) &&
           (value & ~cpuid_guest_xcr0_mask()) == 0;
}

enum exit_action exit_xsetbv(struct vcpu *v, unsigned int length)
{
    uint64_t value = v->gpr[GPR_RDX] << 32 | (uint32_t)v->gpr[GPR_RAX];
    struct vcpu_sysregs regs;

    virt->get_sysregs(v, &regs);
    if (!(regs.cr4 & CR4_OSXSAVE))
        return exit_undefined(v);
    if (regs.cpl != 0 || (uint32_t)v->gpr[GPR_RCX] != 0 || !xcr0_is_valid(value)) {
        vcpu_raise_error(v, EXC_GP, 0);
        return EXIT_RESUME;
    }
    xsetbv(0, value);
    vcpu_skip(v, length);
    return EXIT_RESUME;
}

enum exit_action exit_cache(struct vcpu *v, unsigned int length)
{
    vcpu_skip(v, length);
    return EXIT_RESUME;
}

enum exit_action exit_task_switch(struct vcpu *v, uint16_t selector)
{
    if (!v->vm->logged_task_switch) {
        v->vm->logged_task_switch = true;
        log_warn("%s: task switch to selector 0x%x at 0x%llx: not emulated, #GP (further ones are "
                 "not logged)",
                 vm_name(v->vm), selector, (unsigned long long)v->rip);
    }
    vcpu_raise_error(v, EXC_GP, selector & ~SELECTOR_RPL);
    return EXIT_RESUME;
}

enum exit_action exit_delivery_fault(struct vcpu *v, uint64_t gpa)
{
    vm_crash(v, "event delivery touches 0x%llx, which is not memory", (unsigned long long)gpa);
    return EXIT_STOP;
}

enum exit_action exit_exception(struct vcpu *v, uint8_t vector)
{
    if (vector == EXC_AC)
        vcpu_raise_error(v, EXC_AC, 0);
    else
        vcpu_raise(v, vector);
    interrupts_take();
    return EXIT_RESCHEDULE;
}

enum exit_action exit_undefined(struct vcpu *v)
{
    vcpu_raise(v, EXC_UD);
    return EXIT_RESUME;
}

/* The rules of MOV to CR0 (SDM vol. 2, MOV to control registers). */
bool exit_write_cr0(struct vcpu *v, uint64_t value)
{
    struct vcpu_sysregs regs;

    virt->get_sysregs(v, &regs);
    bool bad = (value >> 32) != 0 || ((value & CR0_PG) && !(value & CR0_PE)) ||
               ((value & CR0_NW) && !(value & CR0_CD));
    if ((value & CR0_PG) && !(regs.cr0 & CR0_PG) && (regs.efer & EFER_LME)) {
        bad |= !(regs.cr4 & CR4_PAE) || (regs.seg[SEG_CS].attrib & SEG_ATTR_L) ||
               (regs.tr.attrib & SEG_ATTR_TYPE) == SEG_TYPE_TSS16_BUSY;
    }
    if (!(value & CR0_PG) && (regs.cr0 & CR0_PG)) {
        bad |= (regs.cr4 & CR4_PCIDE) != 0 ||
               ((regs.efer & EFER_LMA) && (regs.seg[SEG_CS].attrib & SEG_ATTR_L));
    }
    if (bad) {
        vcpu_raise_error(v, EXC_GP, 0);
        return false;
    }
    virt->set_cr0(v, (value & CR0_DEFINED) | CR0_ET);
    /* A change of paging drops all translations; the hardware has not seen this one. */
    if ((value ^ regs.cr0) & (CR0_PG | CR0_WP))
        virt->flush_guest(v);
    return true;
}

bool exit_write_cr4(struct vcpu *v, uint64_t value)
{
    struct vcpu_sysregs regs;

    virt->get_sysregs(v, &regs);
    bool bad = (value & ~cpuid_guest_cr4_mask()) != 0 ||
               ((regs.efer & EFER_LMA) && !(value & CR4_PAE)) ||
               ((value & CR4_PCIDE) && !(regs.cr4 & CR4_PCIDE) &&
                (!(regs.efer & EFER_LMA) || (regs.cr3 & 0xfff) != 0));
    if (bad) {
        vcpu_raise_error(v, EXC_GP, 0);
        return false;
    }
    virt->set_cr4(v, value);
    if ((value ^ regs.cr4) &
        (CR4_PGE | CR4_PAE | CR4_PSE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_LA57))
        virt->flush_guest(v);
    return true;
}

bool exit_write_cr8(struct vcpu *v, uint64_t value)
{
    if (value > MAX_CR8) {
        vcpu_raise_error(v, EXC_GP, 0);
        return false;
    }
    pv_eoi_sync(v);
    lapic_set_cr8(&v->lapic, (uint8_t)value);
    vcpu_set_cpu_tpr(v);
    virt->want_tpr_exit(v, false);
    v->pending |= PENDING_INTERRUPT;
    return true;
}
