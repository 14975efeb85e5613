/* What is known of the opcode maps (SDM vol. 2, appendix A.3 and A.4; APM vol. 3, appendix A.1 and
 * A.2). */

#include "vmm/emulate/decode_tables.h"

/* clang-format off */
/* Not emulated, but exits that the CPU describes too little. */
#define PLAIN(flags)           {OP_OTHER, FORM_NONE, OPF_VALID | (flags)}

#define OP(op, form, flags)    {OP_##op, FORM_##form, OPF_VALID | (flags)}
#define OP_RM(op, form, flags) OP(op, form, OPF_MODRM | (flags))
#define GROUP(group, flags)    {GROUP_##group, FORM_GROUP, OPF_VALID | OPF_MODRM | (flags)}

/* Many have an opcode for bytes and, next to it, one for larger operands. */
#define BOTH(opcode, op, form, flags) \
    [(opcode)] = OP(op, form, OPF_BYTE | (flags)), [(opcode) + 1] = OP(op, form, flags)
#define BOTH_RM(opcode, op, form) BOTH(opcode, op, form, OPF_MODRM)

/* The eight rows of the classic two-operand instructions share one layout. */
#define ALU_ROW(base, op) \
    BOTH_RM(base, op, EG), BOTH_RM((base) + 2, op, GE), \
    [(base) + 4] = OP(op, AI, OPF_BYTE | OPF_IMM8), [(base) + 5] = OP(op, AI, OPF_IMMZ)
/* clang-format on */

const struct opcode_info opcode_one_byte[256] = {
    ALU_ROW(0x00, ADD),
    ALU_ROW(0x08, OR),
    ALU_ROW(0x10, ADC),
    ALU_ROW(0x18, SBB),
    ALU_ROW(0x20, AND),
    ALU_ROW(0x28, SUB),
    ALU_ROW(0x30, XOR),
    ALU_ROW(0x38, CMP),
    [0x63] = OP_RM(MOVSX, GE32, 0), /* MOVSXD; ARPL outside 64-bit mode */
    BOTH(0x6c, INS, INS, 0),
    BOTH(0x6e, OUTS, OUTS, 0),
    [0x80] = GROUP(1, OPF_BYTE | OPF_IMM8),
    [0x81] = GROUP(1, OPF_IMMZ),
    [0x83] = GROUP(1, OPF_IMM8),
    BOTH_RM(0x84, TEST, EG),
    BOTH_RM(0x86, XCHG, EG),
    BOTH_RM(0x88, MOV, EG),
    BOTH_RM(0x8a, MOV, GE),
    [0x8f] = GROUP(1A, 0),
    BOTH(0xa0, MOV, AO, OPF_MOFFS),
    BOTH(0xa2, MOV, OA, OPF_MOFFS),
    BOTH(0xa4, MOVS, MOVS, 0),
    BOTH(0xa6, CMPS, CMPS, 0),
    [0xa8] = OP(TEST, AI, OPF_BYTE | OPF_IMM8),
    [0xa9] = OP(TEST, AI, OPF_IMMZ),
    BOTH(0xaa, STOS, STOS, 0),
    BOTH(0xac, LODS, LODS, 0),
    BOTH(0xae, SCAS, SCAS, 0),
    [0xc6] = GROUP(11, OPF_BYTE | OPF_IMM8),
    [0xc7] = GROUP(11, OPF_IMMZ),
    [0xf4] = PLAIN(0), /* HLT */
    [0xf6] = GROUP(3, OPF_BYTE),
    [0xf7] = GROUP(3, 0),
    [0xfe] = GROUP(4, OPF_BYTE),
    [0xff] = GROUP(5, 0),
};

const struct opcode_info opcode_0f[256] = {
    [0x01] = PLAIN(OPF_MODRM),  /* VMMCALL, XSETBV, LMSW, SMSW */
    [0x06] = PLAIN(0),          /* CLTS */
    [0x08 ... 0x09] = PLAIN(0), /* INVD, WBINVD */
    [0x20] = PLAIN(OPF_MODRM | OPF_REGONLY),
    [0x22] = PLAIN(OPF_MODRM | OPF_REGONLY),
    [0x30] = PLAIN(0), /* WRMSR */
    [0x32] = PLAIN(0), /* RDMSR */
    [0xa2] = PLAIN(0), /* CPUID */
    [0xa3] = OP_RM(BT, EG, 0),
    [0xab] = OP_RM(BTS, EG, 0),
    BOTH_RM(0xb0, CMPXCHG, EG),
    [0xb3] = OP_RM(BTR, EG, 0),
    [0xb6] = OP_RM(MOVZX, GE8, 0),
    [0xb7] = OP_RM(MOVZX, GE16, 0),
    [0xba] = GROUP(8, OPF_IMM8),
    [0xbb] = OP_RM(BTC, EG, 0),
    [0xbe] = OP_RM(MOVSX, GE8, 0),
    [0xbf] = OP_RM(MOVSX, GE16, 0),
    BOTH_RM(0xc0, XADD, EG),
    [0xc3] = OP_RM(MOV, EG, OPF_MOVNTI), /* MOVNTI */
};

/* clang-format off */
const struct opcode_info opcode_groups[GROUP_COUNT][8] = {
    [GROUP_1] = {
        OP(ADD, EI, 0), OP(OR, EI, 0), OP(ADC, EI, 0), OP(SBB, EI, 0),
        OP(AND, EI, 0), OP(SUB, EI, 0), OP(XOR, EI, 0), OP(CMP, EI, 0),
    },
    [GROUP_1A] = {[0] = OP(POP, E, OPF_DEF64)},
    [GROUP_3] = {
        [0 ... 1] = OP(TEST, EI, OPF_IMMZ), /* /1 is an undocumented alias */
        [2] = OP(NOT, E, 0),
        [3] = OP(NEG, E, 0),
    },
    [GROUP_4] = {[0] = OP(INC, E, 0), [1] = OP(DEC, E, 0)},
    [GROUP_5] = {[0] = OP(INC, E, 0), [1] = OP(DEC, E, 0), [6] = OP(PUSH, E, OPF_DEF64)},
    [GROUP_8] = {
        [4] = OP(BT, EI, 0), [5] = OP(BTS, EI, 0), [6] = OP(BTR, EI, 0), [7] = OP(BTC, EI, 0),
    },
    [GROUP_11] = {[0] = OP(MOV, EI, 0)},
};
/* clang-format on */

const struct operand_form operand_forms[FORM_GROUP] = {
    [FORM_EG] = {PLACE_E, PLACE_G, 0},
    [FORM_GE] = {PLACE_G, PLACE_E, 0},
    [FORM_EI] = {PLACE_E, PLACE_IMM, 0},
    [FORM_AI] = {PLACE_A, PLACE_IMM, 0},
    [FORM_AO] = {PLACE_A, PLACE_MEM, 0},
    [FORM_OA] = {PLACE_MEM, PLACE_A, 0},
    [FORM_E] = {PLACE_E, PLACE_NONE, 0},
    [FORM_GE8] = {PLACE_G, PLACE_E, 1},
    [FORM_GE16] = {PLACE_G, PLACE_E, 2},
    [FORM_GE32] = {PLACE_G, PLACE_E, 4},
    [FORM_MOVS] = {PLACE_STR_DST, PLACE_STR_SRC, 0},
    [FORM_CMPS] = {PLACE_STR_SRC, PLACE_STR_DST, 0},
    [FORM_STOS] = {PLACE_STR_DST, PLACE_A, 0},
    [FORM_LODS] = {PLACE_A, PLACE_STR_SRC, 0},
    [FORM_SCAS] = {PLACE_A, PLACE_STR_DST, 0},
    [FORM_INS] = {PLACE_STR_DST, PLACE_NONE, 0},
    [FORM_OUTS] = {PLACE_NONE, PLACE_STR_SRC, 0},
};
