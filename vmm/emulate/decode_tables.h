#ifndef BULKHEAD_VMM_EMULATE_DECODE_TABLES_H
#define BULKHEAD_VMM_EMULATE_DECODE_TABLES_H

/* The opcode maps, internal to the decoder. */

#include <stdint.h>

#include "lib/macros.h"
#include "vmm/emulate/decode.h"

/* What follows an opcode, and what its operands are. An entry without OPF_VALID is undefined. */
#define OPF_VALID   BIT(0)
#define OPF_MODRM   BIT(1)
#define OPF_BYTE    BIT(2) /* byte operands, whatever the prefixes say */
#define OPF_IMM8    BIT(3)
#define OPF_IMMZ    BIT(4) /* by operand size: 1 (with OPF_BYTE), 2 or 4 bytes */
#define OPF_MOFFS   BIT(5) /* a plain address of address size */
#define OPF_REGONLY BIT(6) /* modrm.mod is ignored and taken as 3: MOV to and from CR */
#define OPF_DEF64   BIT(7) /* operand size is 8 in 64-bit mode without REX.W, too */
#define OPF_MOVNTI  BIT(8) /* 32 or 64 bits, memory only, and no 66, F2 or F3 */

/* Where an operand is: as in enum operand_kind, or what a register's number comes from: E is
 * modrm.rm (which may also be memory), G modrm.reg, A the accumulator. */
enum place {
    PLACE_NONE = OPERAND_NONE,
    PLACE_MEM = OPERAND_MEM,
    PLACE_IMM = OPERAND_IMM,
    PLACE_STR_SRC = OPERAND_STR_SRC,
    PLACE_STR_DST = OPERAND_STR_DST,
    PLACE_E,
    PLACE_G,
    PLACE_A,
};

/* Pairs of these places, the destination first; O is a moffs, I an immediate. */
/* clang-format off */
enum opcode_form {
    FORM_NONE,
    FORM_EG, FORM_GE, FORM_EI, FORM_AI, FORM_AO, FORM_OA, FORM_E,
    FORM_GE8, FORM_GE16, FORM_GE32, /* the source has a size of its own */
    FORM_MOVS, FORM_CMPS, FORM_STOS, FORM_LODS, FORM_SCAS, FORM_INS, FORM_OUTS,
    FORM_GROUP, /* op is an index into opcode_groups */
};
/* clang-format on */

struct operand_form {
    uint8_t dst, src; /* enum place */
    uint8_t src_max;  /* bytes of the source where it is smaller than the destination */
};

extern const struct operand_form operand_forms[FORM_GROUP];

enum opcode_group { GROUP_1, GROUP_1A, GROUP_3, GROUP_4, GROUP_5, GROUP_8, GROUP_11, GROUP_COUNT };

struct opcode_info {
    uint8_t op;     /* enum insn_op, or enum opcode_group */
    uint8_t form;   /* enum opcode_form */
    uint16_t flags; /* OPF_* */
};

extern const struct opcode_info opcode_one_byte[256];
extern const struct opcode_info opcode_0f[256];

/* Indexed by modrm.reg; the flags are added to those of the opcode. */
extern const struct opcode_info opcode_groups[GROUP_COUNT][8];

#endif
