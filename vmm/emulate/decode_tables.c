/* The opcode maps (SDM vol. 2, appendix A.3 and A.4; APM vol. 3, appendix A.1 and A.2). */

#include "vmm/emulate/decode_tables.h"

/* clang-format off */
/* Only length and validity are known of these. */
#define PLAIN(flags)           {OP_OTHER, FORM_NONE, OPF_VALID | (flags)}
#define NO_OPERANDS            PLAIN(0)
#define MODRM                  PLAIN(OPF_MODRM)
#define MODRM_IMM8             PLAIN(OPF_MODRM | OPF_IMM8)

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
    /* PUSH and POP of ES, CS, SS, DS; BCD adjustments. 0F and 26, 2E, 36, 3E are no opcodes. */
    [0x06 ... 0x07] = PLAIN(OPF_NOT64),
    [0x0e] = PLAIN(OPF_NOT64),
    [0x16 ... 0x17] = PLAIN(OPF_NOT64),
    [0x1e ... 0x1f] = PLAIN(OPF_NOT64),
    [0x27] = PLAIN(OPF_NOT64),
    [0x2f] = PLAIN(OPF_NOT64),
    [0x37] = PLAIN(OPF_NOT64),
    [0x3f] = PLAIN(OPF_NOT64),
    [0x40 ... 0x4f] = PLAIN(OPF_NOT64),                  /* INC, DEC; REX prefixes in 64-bit mode */
    [0x50 ... 0x5f] = PLAIN(OPF_DEF64),                  /* PUSH, POP */
    [0x60 ... 0x61] = PLAIN(OPF_NOT64),                  /* PUSHA, POPA */
    [0x62] = PLAIN(OPF_MODRM | OPF_NOT64 | OPF_MEMONLY), /* BOUND; otherwise an EVEX prefix */
    [0x63] = OP_RM(MOVSX, GE32, 0),                      /* MOVSXD; ARPL outside 64-bit mode */
    [0x68] = PLAIN(OPF_IMMZ | OPF_DEF64),                /* PUSH */
    [0x69] = PLAIN(OPF_MODRM | OPF_IMMZ),                /* IMUL */
    [0x6a] = PLAIN(OPF_IMM8 | OPF_DEF64),                /* PUSH */
    [0x6b] = MODRM_IMM8,                                 /* IMUL */
    BOTH(0x6c, INS, INS, 0),
    BOTH(0x6e, OUTS, OUTS, 0),
    [0x70 ... 0x7f] = PLAIN(OPF_IMM8 | OPF_DEF64), /* Jcc */
    [0x80] = GROUP(1, OPF_BYTE | OPF_IMM8),
    [0x81] = GROUP(1, OPF_IMMZ),
    [0x82] = GROUP(1, OPF_BYTE | OPF_IMM8 | OPF_NOT64),
    [0x83] = GROUP(1, OPF_IMM8),
    BOTH_RM(0x84, TEST, EG),
    BOTH_RM(0x86, XCHG, EG),
    BOTH_RM(0x88, MOV, EG),
    BOTH_RM(0x8a, MOV, GE),
    [0x8c] = MODRM,                          /* MOV from a segment register */
    [0x8d] = PLAIN(OPF_MODRM | OPF_MEMONLY), /* LEA */
    [0x8e] = MODRM,                          /* MOV to a segment register */
    [0x8f] = GROUP(1A, OPF_DEF64),
    [0x90 ... 0x99] = NO_OPERANDS,                  /* NOP, XCHG, CBW, CWD */
    [0x9a] = PLAIN(OPF_IMMZ | OPF_FAR | OPF_NOT64), /* CALL far */
    [0x9b] = NO_OPERANDS,                           /* FWAIT */
    [0x9c ... 0x9d] = PLAIN(OPF_DEF64),             /* PUSHF, POPF */
    [0x9e ... 0x9f] = NO_OPERANDS,                  /* SAHF, LAHF */
    BOTH(0xa0, MOV, AO, OPF_MOFFS),
    BOTH(0xa2, MOV, OA, OPF_MOFFS),
    BOTH(0xa4, MOVS, MOVS, 0),
    BOTH(0xa6, CMPS, CMPS, 0),
    [0xa8] = OP(TEST, AI, OPF_BYTE | OPF_IMM8),
    [0xa9] = OP(TEST, AI, OPF_IMMZ),
    BOTH(0xaa, STOS, STOS, 0),
    BOTH(0xac, LODS, LODS, 0),
    BOTH(0xae, SCAS, SCAS, 0),
    [0xb0 ... 0xb7] = OP(MOV, ZI, OPF_BYTE | OPF_IMM8),
    [0xb8 ... 0xbf] = OP(MOV, ZI, OPF_IMMV),
    [0xc0 ... 0xc1] = MODRM_IMM8,          /* shifts and rotates */
    [0xc2] = PLAIN(OPF_IMM16 | OPF_DEF64), /* RET */
    [0xc3] = PLAIN(OPF_DEF64),
    [0xc4 ... 0xc5] = PLAIN(OPF_MODRM | OPF_NOT64 | OPF_MEMONLY), /* LES, LDS; otherwise VEX */
    [0xc6] = GROUP(11, OPF_BYTE | OPF_IMM8),
    [0xc7] = GROUP(11, OPF_IMMZ),
    [0xc8] = PLAIN(OPF_IMM16 | OPF_ENTER | OPF_DEF64),
    [0xc9] = PLAIN(OPF_DEF64),                      /* LEAVE */
    [0xca] = PLAIN(OPF_IMM16),                      /* RETF */
    [0xcb ... 0xcc] = NO_OPERANDS,                  /* RETF, INT3 */
    [0xcd] = PLAIN(OPF_IMM8),                       /* INT */
    [0xce] = PLAIN(OPF_NOT64),                      /* INTO */
    [0xcf] = NO_OPERANDS,                           /* IRET */
    [0xd0 ... 0xd3] = MODRM,                        /* shifts and rotates */
    [0xd4 ... 0xd5] = PLAIN(OPF_IMM8 | OPF_NOT64),  /* AAM, AAD */
    [0xd6] = PLAIN(OPF_NOT64),                      /* SALC */
    [0xd7] = NO_OPERANDS,                           /* XLAT */
    [0xd8 ... 0xdf] = MODRM,                        /* x87 */
    [0xe0 ... 0xe3] = PLAIN(OPF_IMM8 | OPF_DEF64),  /* LOOP, JCXZ */
    [0xe4 ... 0xe7] = PLAIN(OPF_IMM8),              /* IN, OUT */
    [0xe8 ... 0xe9] = PLAIN(OPF_REL | OPF_DEF64),   /* CALL, JMP */
    [0xea] = PLAIN(OPF_IMMZ | OPF_FAR | OPF_NOT64), /* JMP far */
    [0xeb] = PLAIN(OPF_IMM8 | OPF_DEF64),           /* JMP short */
    [0xec ... 0xef] = NO_OPERANDS,                  /* IN, OUT */
    [0xf1] = NO_OPERANDS,                           /* ICEBP */
    [0xf4 ... 0xf5] = NO_OPERANDS,                  /* HLT, CMC */
    [0xf6] = GROUP(3, OPF_BYTE),
    [0xf7] = GROUP(3, 0),
    [0xf8 ... 0xfd] = NO_OPERANDS, /* CLC to STD */
    [0xfe] = GROUP(4, OPF_BYTE),
    [0xff] = GROUP(5, 0),
};

const struct opcode_info opcode_0f[256] = {
    [0x00 ... 0x03] = MODRM,       /* groups 6 and 7, LAR, LSL */
    [0x05 ... 0x09] = NO_OPERANDS, /* SYSCALL, CLTS, SYSRET, INVD, WBINVD */
    [0x0b] = NO_OPERANDS,          /* UD2 */
    [0x0d] = MODRM,                /* PREFETCH */
    [0x0e] = NO_OPERANDS,          /* FEMMS */
    [0x0f] = MODRM_IMM8,           /* 3DNow! with its opcode where an immediate would be */
    [0x10 ... 0x1f] = MODRM,       /* SSE moves, hints */
    [0x20 ... 0x23] = PLAIN(OPF_MODRM | OPF_REGONLY | OPF_DEF64),
    [0x28 ... 0x2f] = MODRM,
    [0x30 ... 0x35] = NO_OPERANDS, /* WRMSR, RDTSC, RDMSR, RDPMC, SYSENTER, SYSEXIT */
    [0x37] = NO_OPERANDS,          /* GETSEC */
    [0x40 ... 0x6f] = MODRM,       /* CMOVcc, SSE, MMX */
    [0x70 ... 0x73] = MODRM_IMM8,
    [0x74 ... 0x76] = MODRM,
    [0x77] = NO_OPERANDS,    /* EMMS */
    [0x78 ... 0x79] = MODRM, /* VMREAD, VMWRITE; the decoder knows SSE4A's immediates */
    [0x7c ... 0x7f] = MODRM,
    [0x80 ... 0x8f] = PLAIN(OPF_REL | OPF_DEF64), /* Jcc */
    [0x90 ... 0x9f] = MODRM,                      /* SETcc */
    [0xa0 ... 0xa1] = PLAIN(OPF_DEF64),           /* PUSH, POP FS */
    [0xa2] = NO_OPERANDS,                         /* CPUID */
    [0xa3] = OP_RM(BT, EG, 0),
    [0xa4] = MODRM_IMM8, /* SHLD */
    [0xa5] = MODRM,
    [0xa8 ... 0xa9] = PLAIN(OPF_DEF64), /* PUSH, POP GS */
    [0xaa] = NO_OPERANDS,               /* RSM */
    [0xab] = OP_RM(BTS, EG, 0),
    [0xac] = MODRM_IMM8,     /* SHRD */
    [0xad ... 0xaf] = MODRM, /* SHRD, group 15, IMUL */
    BOTH_RM(0xb0, CMPXCHG, EG),
    [0xb2] = PLAIN(OPF_MODRM | OPF_MEMONLY), /* LSS */
    [0xb3] = OP_RM(BTR, EG, 0),
    [0xb4 ... 0xb5] = PLAIN(OPF_MODRM | OPF_MEMONLY), /* LFS, LGS */
    [0xb6] = OP_RM(MOVZX, GE8, 0),
    [0xb7] = OP_RM(MOVZX, GE16, 0),
    [0xb8 ... 0xb9] = MODRM, /* POPCNT, UD1 */
    [0xba] = GROUP(8, OPF_IMM8),
    [0xbb] = OP_RM(BTC, EG, 0),
    [0xbc ... 0xbd] = MODRM, /* BSF, BSR, TZCNT, LZCNT */
    [0xbe] = OP_RM(MOVSX, GE8, 0),
    [0xbf] = OP_RM(MOVSX, GE16, 0),
    BOTH_RM(0xc0, XADD, EG),
    [0xc2] = MODRM_IMM8,                               /* CMPPS */
    [0xc3] = OP_RM(MOV, EG, OPF_MEMONLY | OPF_MOVNTI), /* MOVNTI */
    [0xc4 ... 0xc6] = MODRM_IMM8,
    [0xc7] = MODRM,                /* group 9 */
    [0xc8 ... 0xcf] = NO_OPERANDS, /* BSWAP */
    [0xd0 ... 0xfe] = MODRM,
    /* 0F FF, UD0, has a modrm byte on some CPUs and none on others: left undefined. */
};

/* clang-format off */
const struct opcode_info opcode_groups[GROUP_COUNT][8] = {
    [GROUP_1] = {
        OP(ADD, EI, 0), OP(OR, EI, 0), OP(ADC, EI, 0), OP(SBB, EI, 0),
        OP(AND, EI, 0), OP(SUB, EI, 0), OP(XOR, EI, 0), OP(CMP, EI, 0),
    },
    [GROUP_1A] = {[0] = OP(POP, E, 0)}, /* the others are XOP prefixes */
    [GROUP_3] = {
        [0 ... 1] = OP(TEST, EI, OPF_IMMZ), /* /1 is an undocumented alias */
        [2] = OP(NOT, E, 0),
        [3] = OP(NEG, E, 0),
        [4 ... 7] = NO_OPERANDS, /* MUL, IMUL, DIV, IDIV */
    },
    [GROUP_4] = {[0] = OP(INC, E, 0), [1] = OP(DEC, E, 0)},
    [GROUP_5] = {
        [0] = OP(INC, E, 0),
        [1] = OP(DEC, E, 0),
        [2] = PLAIN(OPF_DEF64),   /* CALL */
        [3] = PLAIN(OPF_MEMONLY), /* CALL far */
        [4] = PLAIN(OPF_DEF64),   /* JMP */
        [5] = PLAIN(OPF_MEMONLY), /* JMP far */
        [6] = OP(PUSH, E_SRC, OPF_DEF64),
    },
    [GROUP_8] = {
        [4] = OP(BT, EI, 0), [5] = OP(BTS, EI, 0), [6] = OP(BTR, EI, 0), [7] = OP(BTC, EI, 0),
    },
    /* /7 is XABORT and XBEGIN, with modrm F8 only, which the decoder checks. */
    [GROUP_11] = {[0] = OP(MOV, EI, 0), [7] = NO_OPERANDS},
};
/* clang-format on */

const struct operand_form operand_forms[FORM_GROUP] = {
    [FORM_EG] = {PLACE_E, PLACE_G, 0},
    [FORM_GE] = {PLACE_G, PLACE_E, 0},
    [FORM_EI] = {PLACE_E, PLACE_IMM, 0},
    [FORM_AI] = {PLACE_A, PLACE_IMM, 0},
    [FORM_AO] = {PLACE_A, PLACE_MEM, 0},
    [FORM_OA] = {PLACE_MEM, PLACE_A, 0},
    [FORM_ZI] = {PLACE_Z, PLACE_IMM, 0},
    [FORM_E] = {PLACE_E, PLACE_NONE, 0},
    [FORM_E_SRC] = {PLACE_NONE, PLACE_E, 0},
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
