#include "arch/x86/asm.h"
#include "arch/x86/debug_registers.h"
#include "arch/x86/msr.h"
#include "arch/x86/vmx/vmx.h"
#include "vmm/guest_memory.h"
#include "vmm/vm.h"

#define PDPTES         4
#define PDPTE_P        BIT64(0)
#define PDPTE_RESERVED 0x1e6ull /* SDM vol. 3, table 4-8: bits 2:1 and 8:5 */
#define CR3_PDPT       0xffffffe0ull
#define ADDRESS_WIDTHS 0x80000008u

/* VMCB-style attributes have the descriptor's bits 55:52 in bits 11:8, access rights in 15:12. */
#define ATTR_LOW    0x00ffu
#define ATTR_HIGH   0x0f00u
#define ACCESS_HIGH 4u /* shift */

static uint64_t to_access(uint16_t attrib)
{
    if (!(attrib & SEG_ATTR_P))
        return ACCESS_UNUSABLE;
    return (attrib & ATTR_LOW) | (uint64_t)(attrib & ATTR_HIGH) << ACCESS_HIGH;
}

/* One that is unusable keeps its other rights, but is not present to whoever looks. */
static uint16_t from_access(uint64_t access)
{
    uint16_t attrib = (uint16_t)((access & ATTR_LOW) | (access >> ACCESS_HIGH & ATTR_HIGH));

    return access & ACCESS_UNUSABLE ? (uint16_t)(attrib & ~SEG_ATTR_P) : attrib;
}

static void write_segment(enum vmcs_segment index, const struct segment *s)
{
    vmcs_write(VMCS_SEGMENT(VMCS_GUEST_ES_SELECTOR, index), s->selector);
    vmcs_write(VMCS_SEGMENT(VMCS_GUEST_ES_LIMIT, index), s->limit);
    vmcs_write(VMCS_SEGMENT(VMCS_GUEST_ES_ACCESS, index), to_access(s->attrib));
    vmcs_write(VMCS_SEGMENT(VMCS_GUEST_ES_BASE, index), s->base);
}

static void read_segment(enum vmcs_segment index, struct segment *s)
{
    s->selector = (uint16_t)vmcs_read(VMCS_SEGMENT(VMCS_GUEST_ES_SELECTOR, index));
    s->limit = (uint32_t)vmcs_read(VMCS_SEGMENT(VMCS_GUEST_ES_LIMIT, index));
    s->attrib = from_access(vmcs_read(VMCS_SEGMENT(VMCS_GUEST_ES_ACCESS, index)));
    s->base = vmcs_read(VMCS_SEGMENT(VMCS_GUEST_ES_BASE, index));
}
static_assert((int)SEG_ES == (int)VMCS_ES && (int)SEG_GS == (int)VMCS_GS, "the same order");

void vmx_set_efer(struct vcpu *v, uint64_t value)
{
    uint64_t entry;

    vmx_select(v);
    entry = vmcs_read(VMCS_ENTRY_CONTROLS) & ~(uint64_t)ENTRY_IA32E_GUEST;
    vmcs_write(VMCS_GUEST_EFER, value);
    vmcs_write(VMCS_ENTRY_CONTROLS, value & EFER_LMA ? entry | ENTRY_IA32E_GUEST : entry);
}

static bool read_pdptes(struct vcpu *v, uint64_t pdptes[PDPTES])
{
    uint64_t gpa = vmcs_read(VMCS_GUEST_CR3) & CR3_PDPT;

    return guest_read(v->vm, gpa, pdptes, PDPTES * sizeof(pdptes[0])) == 0;
}

static bool is_pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LME);
}

bool vmx_pdptes_valid(struct vcpu *v, uint64_t cr0, uint64_t cr4)
{
    unsigned int width = cpuid(ADDRESS_WIDTHS, 0).eax & 0xff;
    uint64_t pdptes[PDPTES];

    vmx_select(v);
    if (!is_pae_paging(cr0, cr4, vmcs_read(VMCS_GUEST_EFER)))
        return true;
    if (!read_pdptes(v, pdptes))
        return false;
    for (unsigned int i = 0; i < PDPTES; i++)
        if ((pdptes[i] & PDPTE_P) && (pdptes[i] & (PDPTE_RESERVED | ~(BIT64(width) - 1))))
            return false;
    return true;
}

/* With EPT the CPU takes the four entries from the VMCS, not from memory, when it enters a guest
 * with PAE paging (SDM vol. 3, 27.3.2.4): a change that the core made for the guest loads them. */
static void load_pdptes(struct vcpu *v)
{
    uint64_t pdptes[PDPTES];

    if (!is_pae_paging(vmx_get_cr0(v), vmx_get_cr4(v), vmcs_read(VMCS_GUEST_EFER)) ||
        !read_pdptes(v, pdptes))
        return;
    for (unsigned int i = 0; i < PDPTES; i++)
        vmcs_write((enum vmcs_field)(VMCS_GUEST_PDPTE0 + 2 * i), pdptes[i]);
}

/* The shadow holds what the guest wrote of the bits that it does not own. CD and NW stay the
 * machine's: VM entry does not load them (27.3.2.1). */
void vmx_set_cr0(struct vcpu *v, uint64_t value)
{
    uint64_t efer;

    vmx_select(v);
    vmcs_write(VMCS_CR0_SHADOW, value);
    vmcs_write(VMCS_GUEST_CR0, (value & ~(CR0_CD | CR0_NW)) | CR0_NE | CR0_ET);
    efer = vmcs_read(VMCS_GUEST_EFER);
    if (efer & EFER_LME)
        vmx_set_efer(v, value & CR0_PG ? efer | EFER_LMA : efer & ~EFER_LMA);
    load_pdptes(v);
}

/* A machine check with CR4.MCE clear shuts the CPU down, so it is always set. */
void vmx_set_cr4(struct vcpu *v, uint64_t value)
{
    vmx_select(v);
    vmcs_write(VMCS_CR4_SHADOW, value);
    vmcs_write(VMCS_GUEST_CR4, value | vmx_caps.cr4_fixed0 | CR4_MCE);
    load_pdptes(v);
}

static uint64_t merge(enum vmcs_field reg, enum vmcs_field mask_field, enum vmcs_field shadow)
{
    uint64_t mask = vmcs_read(mask_field);

    return (vmcs_read(reg) & ~mask) | (vmcs_read(shadow) & mask);
}

uint64_t vmx_get_cr0(struct vcpu *v)
{
    vmx_select(v);
    return merge(VMCS_GUEST_CR0, VMCS_CR0_MASK, VMCS_CR0_SHADOW);
}

uint64_t vmx_get_cr4(struct vcpu *v)
{
    vmx_select(v);
    return merge(VMCS_GUEST_CR4, VMCS_CR4_MASK, VMCS_CR4_SHADOW);
}

uint64_t vmx_get_efer(struct vcpu *v)
{
    vmx_select(v);
    return vmcs_read(VMCS_GUEST_EFER);
}

void vmx_set_pat(struct vcpu *v, uint64_t value)
{
    vmx_select(v);
    vmcs_write(VMCS_GUEST_PAT, value);
}

/* Neither is in the VMCS: they stay on the CPU as long as the vCPU does. */
void vmx_set_cr2(struct vcpu *v, uint64_t value)
{
    if (v->vmx->loaded)
        write_cr2(value);
    else
        v->vmx->cr2 = value;
}

/* Only of a vCPU that runs. */
void vmx_note_debug(struct vcpu *v, uint64_t dr6_bits)
{
    write_dr6(read_dr6() | dr6_bits);
    vmcs_write(VMCS_GUEST_DR7, vmcs_read(VMCS_GUEST_DR7) & ~DR7_GD);
}

void vmx_init_guest_regs(struct vcpu *v, const struct vcpu_sysregs *regs)
{
    for (unsigned int i = 0; i < SEG_COUNT; i++)
        write_segment((enum vmcs_segment)i, &regs->seg[i]);
    write_segment(VMCS_LDTR, &regs->ldtr);
    write_segment(VMCS_TR, &regs->tr);
    vmcs_write(VMCS_GUEST_GDTR_BASE, regs->gdtr.base);
    vmcs_write(VMCS_GUEST_GDTR_LIMIT, regs->gdtr.limit);
    vmcs_write(VMCS_GUEST_IDTR_BASE, regs->idtr.base);
    vmcs_write(VMCS_GUEST_IDTR_LIMIT, regs->idtr.limit);
    vmcs_write(VMCS_GUEST_DR7, DR7_INIT);
    vmcs_write(VMCS_GUEST_PAT, PAT_INIT);
    vmcs_write(VMCS_GUEST_CR3, regs->cr3);
    vmx_set_efer(v, regs->efer);
    vmx_set_cr4(v, regs->cr4);
    vmx_set_cr0(v, regs->cr0);
}

void vmx_get_sysregs(struct vcpu *v, struct vcpu_sysregs *regs)
{
    struct vmx_vcpu *vmx = v->vmx;

    regs->cr0 = vmx_get_cr0(v);
    regs->cr2 = vmx->loaded ? read_cr2() : vmx->cr2;
    regs->cr3 = vmcs_read(VMCS_GUEST_CR3);
    regs->cr4 = vmx_get_cr4(v);
    regs->efer = vmcs_read(VMCS_GUEST_EFER);
    regs->dr6 = vmx->loaded ? read_dr6() : vmx->dr6;
    regs->dr7 = vmcs_read(VMCS_GUEST_DR7);
    for (unsigned int i = 0; i < SEG_COUNT; i++)
        read_segment((enum vmcs_segment)i, &regs->seg[i]);
    read_segment(VMCS_LDTR, &regs->ldtr);
    read_segment(VMCS_TR, &regs->tr);
    regs->gdtr = (struct segment){.base = vmcs_read(VMCS_GUEST_GDTR_BASE),
                                  .limit = (uint32_t)vmcs_read(VMCS_GUEST_GDTR_LIMIT)};
    regs->idtr = (struct segment){.base = vmcs_read(VMCS_GUEST_IDTR_BASE),
                                  .limit = (uint32_t)vmcs_read(VMCS_GUEST_IDTR_LIMIT)};
    /* An unusable SS keeps its DPL, which is the CPL (SDM vol. 3, 25.4.1). */
    regs->cpl = (uint8_t)(vmcs_read(VMCS_GUEST_SS_ACCESS) >> 5 & 3);
}

void vmx_get_code_mode(struct vcpu *v, struct code_mode *mode)
{
    mode->cr0 = vmcs_read(VMCS_GUEST_CR0);
    mode->cr3 = vmcs_read(VMCS_GUEST_CR3);
    mode->cr4 = vmcs_read(VMCS_GUEST_CR4);
    mode->efer = vmcs_read(VMCS_GUEST_EFER);
    read_segment(VMCS_CS, &mode->cs);
    mode->cpl = (uint8_t)(vmcs_read(VMCS_GUEST_SS_ACCESS) >> 5 & 3);
    mode->key = vmcs_read(VMCS_GUEST_CS_ACCESS);
}

bool vmx_in_code_mode(struct vcpu *v, const struct code_mode *mode)
{
    return vmx_in_64bit_code(mode) ||
           (mode->cpu_mode != MODE_64 && vmcs_read(VMCS_GUEST_CR0) == mode->cr0 &&
            vmcs_read(VMCS_GUEST_CR3) == mode->cr3 && vmcs_read(VMCS_GUEST_CR4) == mode->cr4 &&
            vmcs_read(VMCS_GUEST_EFER) == mode->efer &&
            vmcs_read(VMCS_GUEST_CS_ACCESS) == mode->key &&
            vmcs_read(VMCS_SEGMENT(VMCS_GUEST_ES_BASE, VMCS_CS)) == mode->cs.base &&
            vmcs_read(VMCS_SEGMENT(VMCS_GUEST_ES_LIMIT, VMCS_CS)) == mode->cs.limit);
}

uint64_t vmx_get_segment_base(struct vcpu *v, enum seg_index seg)
{
    return vmcs_read(VMCS_SEGMENT(VMCS_GUEST_ES_BASE, seg));
}
