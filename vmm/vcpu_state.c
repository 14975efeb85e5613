/* A vCPU's state after power-up, INIT and a start-up IPI (SDM vol. 3, 9.1 and 9.4). */

#include "arch/x86/asm.h"
#include "arch/x86/fpu.h"
#include "arch/x86/virt.h"
#include "lib/string.h"
#include "vmm/checks.h"
#include "vmm/platform.h"
#include "vmm/pv_eoi.h"
#include "vmm/sched.h"
#include "vmm/vm.h"

#define MISC_ENABLE_FAST_STRINGS 1ull
#define PAT_RESET                0x0007040600070406ull
#define MTRR_WB_ON               0xc06ull /* enabled, fixed ranges too, default write-back: as firmware does */
#define MTRR_ALL_WB              0x0606060606060606ull

#define REAL_LIMIT 0xffffu
#define ATTR_CODE  0x09bu /* present, accessed, 16-bit: table 9-1 */
#define ATTR_DATA  0x093u
#define ATTR_LDT   0x082u
#define ATTR_TSS   0x08bu

/* Registers that both signals set, and where the CPU begins. */
static void reset_registers(struct vcpu *v, struct vcpu_sysregs *regs)
{
    assert_owner(v);
    regs->ldtr = (struct segment){.attrib = ATTR_LDT, .limit = REAL_LIMIT};
    regs->tr = (struct segment){.attrib = ATTR_TSS, .limit = REAL_LIMIT};
    v->rflags = RFLAGS_ONE;
    v->pending = PENDING_REGISTERS;
    v->in_shadow = false;
    v->nmi_blocked = false;
    v->pv_eoi_offered = false;
    v->unhalted = false;
    memset(v->dr, 0, sizeof(v->dr));
    v->dr_live = false;
    code_cache_reset(&v->code);
    virt->vcpu_reset(v, regs);
    virt->set_tsc_offset(v, v->tsc_offset);
}

/* What the guest had the core write into its memory. KVM forgets it at INIT, too. */
static void reset_paravirtual(struct vcpu *v)
{
    v->kvm_system_time = v->pv_eoi = v->steal_time = 0;
    v->steal_marked = false;
}

static void enter_kernel(struct vcpu *v, const struct guest_entry *entry)
{
    struct vcpu_sysregs regs = {
        .cr0 = entry->cr0, .cr3 = entry->cr3, .cr4 = entry->cr4, .efer = entry->efer};

    regs.gdtr = (struct segment){.base = entry->gdt_gpa, .limit = entry->gdt_limit};
    for (unsigned int i = 0; i < SEG_COUNT; i++)
        regs.seg[i] = entry->data;
    regs.seg[SEG_CS] = entry->cs;
    v->gpr[GPR_RAX] = entry->rax;
    v->gpr[GPR_RBX] = entry->rbx;
    v->gpr[GPR_RSI] = entry->rsi;
    v->rip = entry->rip;
    reset_registers(v, &regs);
}

static void enter_real_mode(struct vcpu *v, uint8_t page)
{
    const struct segment data = {.attrib = ATTR_DATA, .limit = REAL_LIMIT};
    struct vcpu_sysregs regs = {.cr0 = CR0_ET};

    regs.gdtr.limit = regs.idtr.limit = REAL_LIMIT;
    for (unsigned int i = 0; i < SEG_COUNT; i++)
        regs.seg[i] = data;
    regs.seg[SEG_CS] = (struct segment){.selector = (uint16_t)(page << 8),
                                        .attrib = ATTR_CODE,
                                        .limit = REAL_LIMIT,
                                        .base = (uint64_t)page << 12};
    memset(v->gpr, 0, sizeof(v->gpr));
    v->gpr[GPR_RDX] = cpuid(1, 0).eax;
    v->rip = 0;
    reset_registers(v, &regs);
    virt->set_pat(v, v->pat);
}

void vcpu_plug_in(struct vcpu *v)
{
    lapic_init(&v->lapic, v->lapic.regs, v->id, v->id == 0, &platform_lapic_ops, v);
    __atomic_store_n(&v->mail.deaf, v->id != 0, __ATOMIC_SEQ_CST);
}

void vcpu_power_on(struct vcpu *v)
{
    memset(v->gpr, 0, sizeof(v->gpr));
    v->pat = PAT_RESET;
    v->mtrr_def_type = MTRR_WB_ON;
    memset(v->mtrr_variable, 0, sizeof(v->mtrr_variable));
    for (unsigned int i = 0; i < ARRAY_SIZE(v->mtrr_fixed); i++)
        v->mtrr_fixed[i] = MTRR_ALL_WB;
    v->misc_enable = MISC_ENABLE_FAST_STRINGS;
    v->tsc_adjust = v->tsc_aux = v->mcg_status = v->hwcr = 0;
    reset_paravirtual(v);
    v->tsc_offset = v->vm->tsc_offset;
    fpu_reset(v);
    if (v->id == 0) {
        lapic_set_virtual_wire(&v->lapic);
        enter_kernel(v, &v->vm->entry);
        v->state = VCPU_RUNNABLE;
    } else {
        enter_real_mode(v, 0);
        v->state = VCPU_WAITING;
    }
}

/* The boot CPU would start at the firmware's first instruction: this PC has none, so it is that of
 * the machine. TSC, MTRRs, FPU and what else 9.1 says stay as they are. */
void vcpu_init_signal(struct vcpu *v)
{
    if (v->id == 0) {
        vm_request(v->vm, VM_REQUEST_RESET, "INIT of its boot CPU");
        return;
    }
    pv_eoi_sync(v);
    sched_remove(v);
    reset_paravirtual(v);
    lapic_reset(&v->lapic);
    enter_real_mode(v, 0);
    v->state = VCPU_WAITING;
}

void vcpu_startup_signal(struct vcpu *v, uint8_t page)
{
    if (v->state != VCPU_WAITING)
        return; /* the second of the two that are usually sent */
    enter_real_mode(v, page);
    v->state = VCPU_RUNNABLE;
    __atomic_store_n(&v->mail.deaf, false, __ATOMIC_SEQ_CST);
    sched_enqueue(v);
}
