#ifndef BULKHEAD_VMM_EMULATE_EMU_MOV_H
#define BULKHEAD_VMM_EMULATE_EMU_MOV_H

/* The short way for the instructions that reach nearly every device register: a plain MOV or MOVZX
 * between memory and a register or an immediate. It does what emu_step() does, which remains for
 * all others. */

#include "arch/x86/mm/pte.h"
#include "arch/x86/regs.h"
#include "vmm/emulate/decode.h"

struct emu_mov {
    uint8_t size; /* of the access in bytes; 0: the instruction is another one */
    bool write;
    bool has_base; /* the base of the segment insn.mem.seg counts */
    uint8_t plain; /* `write`, when the address is only a register and a displacement */
};
#define EMU_MOV_NOT_PLAIN 2

void emu_mov_of(const struct insn *insn, struct emu_mov *mov);

/* The address of insn.mem, before it is cut to the address size. */
static inline uint64_t emu_effective_address(const struct insn *insn, const uint64_t *regs,
                                             uint64_t rip)
{
    const struct insn_mem *mem = &insn->mem;
    uint64_t address = (uint64_t)mem->disp;

    if (mem->base == INSN_REG_RIP)
        address += rip + insn->length;
    else if (mem->base != INSN_NO_REG)
        address += regs[mem->base];
    if (mem->index != INSN_NO_REG)
        address += regs[mem->index] * mem->scale;
    return address;
}

/* Whether it makes the access at `gpa` of which the nested page fault told, and naturally aligned,
 * that is inside a page. `rip`: its own; `base`: its segment's. The CPU has made all checks of that
 * access. The address size cuts nothing of what is compared. */
static inline bool emu_mov_fits(const struct emu_mov *mov, const struct insn *insn,
                                const uint64_t *regs, uint64_t rip, uint64_t base, uint64_t gpa,
                                bool write)
{
    uint64_t linear = base + emu_effective_address(insn, regs, rip);

    return mov->write == write && ((linear ^ gpa) & (PAGE_SIZE_4K - 1)) == 0 &&
           (gpa & (mov->size - 1u)) == 0;
}

/* The same for a plain address, and false for any other. */
static inline bool emu_mov_fits_plainly(const struct emu_mov *mov, const struct insn *insn,
                                        const uint64_t *regs, uint64_t gpa, bool write)
{
    return likely(mov->plain == write) && likely((gpa & (mov->size - 1u)) == 0) &&
           likely((((uint64_t)insn->mem.disp + regs[insn->mem.base]) ^ gpa) % PAGE_SIZE_4K == 0);
}

/* What it writes: the low mov.size bytes. */
static inline uint64_t emu_mov_value(const struct insn *insn, const uint64_t *regs)
{
    return insn->src.kind == OPERAND_REG ? regs[insn->src.reg] : insn->imm;
}

/* Takes what it has read, of which the low mov.size bytes count. Narrow registers keep their rest.
 */
static inline void emu_mov_finish(const struct insn *insn, uint64_t *regs, uint64_t value)
{
    uint64_t *reg = &regs[insn->dst.reg];
    unsigned int unread = 64u - 8u * insn->src.size;

    if (likely(insn->src.size == 4)) {
        *reg = (uint32_t)value;
        return;
    }
    value = value << unread >> unread;
    if (insn->dst.size >= 4)
        *reg = value;
    else
        *reg = insn->dst.size == 1 ? (*reg & ~0xffull) | value : (*reg & ~0xffffull) | value;
}

#endif
