#ifndef BULKHEAD_VMM_EMULATE_DECODE_H
#define BULKHEAD_VMM_EMULATE_DECODE_H

/* Table-driven decoder of x86 instructions (SDM vol. 2, chapter 2 and appendix A; APM vol. 3,
 * appendix A): of those that the emulator executes, with their operands, and of the few others that
 * exit and that the CPU may describe too little. */

#include <stddef.h>
#include <stdint.h>

#include "lib/macros.h"

/* The default operand and address size of the code segment. Real and virtual-8086 mode: MODE_16. */
enum cpu_mode { MODE_16, MODE_32, MODE_64 };

#define INSN_MAX_LENGTH 15

enum insn_map { MAP_ONE_BYTE, MAP_0F };

/* insn.prefixes */
#define PREFIX_OPSIZE   BIT(0) /* 66 */
#define PREFIX_ADDRSIZE BIT(1) /* 67 */
#define PREFIX_LOCK     BIT(2) /* F0 */
#define PREFIX_REPNE    BIT(3) /* F2; of F2 and F3 only the last one is kept */
#define PREFIX_REP      BIT(4) /* F3 */
#define PREFIX_SEGMENT  BIT(5) /* an override that has an effect in this mode */

#define REX_B BIT(0)
#define REX_X BIT(1)
#define REX_R BIT(2)
#define REX_W BIT(3)

/* What an instruction does, for those that the emulator executes; OP_OTHER: only its length and
 * raw fields are known. The order ADD..CMP is that of the opcode maps and groups, and so is
 * BT..BTC. */
/* clang-format off */
enum insn_op {
    OP_OTHER,
    OP_ADD, OP_OR, OP_ADC, OP_SBB, OP_AND, OP_SUB, OP_XOR, OP_CMP,
    OP_TEST, OP_NOT, OP_NEG, OP_INC, OP_DEC,
    OP_MOV, OP_MOVZX, OP_MOVSX, OP_XCHG, OP_CMPXCHG, OP_XADD,
    OP_BT, OP_BTS, OP_BTR, OP_BTC,
    OP_PUSH, OP_POP,
    OP_MOVS, OP_CMPS, OP_STOS, OP_LODS, OP_SCAS, OP_INS, OP_OUTS,
    OP_COUNT
};
/* clang-format on */

enum operand_kind {
    OPERAND_NONE,
    OPERAND_REG,
    OPERAND_MEM,     /* insn.mem */
    OPERAND_IMM,     /* insn.imm, already extended to 64 bits */
    OPERAND_STR_SRC, /* insn.mem.seg:rSI */
    OPERAND_STR_DST, /* ES:rDI */
};

struct insn_operand {
    uint8_t kind; /* enum operand_kind */
    uint8_t size; /* bytes: 1, 2, 4 or 8 */
    uint8_t reg;  /* OPERAND_REG: GPR_*; with high_byte set bits 8..15 of GPR_RAX..GPR_RBX */
    bool high_byte;
};

#define INSN_NO_REG  0xff
#define INSN_REG_RIP 0x10 /* mem.base only: the address of the next instruction */

struct insn_mem {
    uint8_t base;  /* GPR_*, INSN_REG_RIP or INSN_NO_REG */
    uint8_t index; /* GPR_* or INSN_NO_REG */
    uint8_t scale; /* 1, 2, 4 or 8 */
    uint8_t seg;   /* SEG_*: the default one or the override */
    int64_t disp;  /* sign-extended; a moffs is zero-extended, and has no base */
};

struct insn {
    uint8_t length;
    uint8_t mode;        /* enum cpu_mode */
    uint8_t op;          /* enum insn_op */
    uint8_t map;         /* enum insn_map */
    uint8_t opcode;      /* the byte within that map */
    uint8_t prefixes;    /* PREFIX_* */
    uint8_t rex;         /* the REX byte, 0: none */
    uint8_t op_size;     /* effective operand size in bytes, 1 for byte forms: 1, 2, 4 or 8 */
    uint8_t addr_size;   /* effective address size in bytes: 2, 4 or 8 */
    uint8_t modrm;       /* 0: perhaps there is none */
    uint64_t imm;        /* sign-extended to 64 bits */
    struct insn_mem mem; /* valid when the instruction has a memory operand */
    struct insn_operand dst;
    struct insn_operand src;
};

/* Decodes the instruction at the start of `bytes`; reads at most MIN(len, 15) bytes. Returns 0;
 * -BH_ERANGE: it goes on beyond `len` (< 15) bytes; -BH_EINVAL: undefined, none of those, or longer
 * than 15 bytes. `out` is valid only when 0 was returned. */
MUST_CHECK int insn_decode(struct insn *out, const uint8_t *bytes, size_t len, enum cpu_mode mode);

/* Instructions of which a CPU without next-RIP save reports only that they were intercepted, and
 * whose length matters. */
/* clang-format off */
enum insn_id {
    INSN_CPUID, INSN_RDMSR, INSN_WRMSR, INSN_HLT, INSN_VMMCALL, INSN_XSETBV, INSN_INVD, INSN_WBINVD,
    INSN_ID_COUNT
};
/* clang-format on */

/* The length of the instruction at `bytes`, which must be `expected`: the exit code says so.
 * Returns the length (> 0); -BH_ERANGE: it goes on beyond `len` bytes; -BH_EINVAL: some other
 * instruction stands there (another vCPU may have overwritten it). */
MUST_CHECK int insn_length_of(const uint8_t *bytes, size_t len, enum cpu_mode mode,
                              enum insn_id expected);

/* The same in a few machine instructions, when its first four bytes (of which only its own matter)
 * show it without prefixes and tell the length; negative when they do not. */
MUST_CHECK int insn_plain_length(uint32_t first, enum insn_id expected);

#endif
