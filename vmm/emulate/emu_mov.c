#include "vmm/emulate/emu_mov.h"

#include "vmm/emulate/emu_internal.h"

void emu_mov_of(const struct insn *insn, struct emu_mov *mov)
{
    const struct insn_operand *dst = &insn->dst, *src = &insn->src;

    *mov = (struct emu_mov){.write = dst->kind == OPERAND_MEM,
                            .has_base = insn->mode != MODE_64 || insn->mem.seg == SEG_FS ||
                                        insn->mem.seg == SEG_GS};
    mov->plain = !mov->has_base && insn->mem.base < GPR_COUNT && insn->mem.index == INSN_NO_REG
                     ? mov->write
                     : EMU_MOV_NOT_PLAIN;
    if ((insn->op != OP_MOV && insn->op != OP_MOVZX) || (insn->prefixes & PREFIX_LOCK) ||
        dst->high_byte || src->high_byte)
        return;
    if (mov->write && (src->kind == OPERAND_REG || src->kind == OPERAND_IMM))
        mov->size = dst->size;
    else if (dst->kind == OPERAND_REG && dst->reg != GPR_RSP && src->kind == OPERAND_MEM)
        mov->size = src->size;
}
