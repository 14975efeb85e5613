/* Lengths of intercepted instructions, for CPUs that do not save the next RIP. */

#include "lib/error.h"
#include "vmm/emulate/decode.h"

/* Masks for `match.modrm`. */
#define ANY_MODRM 0x00
#define REG_FIELD 0x38
#define ALL_BITS  0xff

struct insn_match {
    /* The instruction's first four bytes as it stands without prefixes. Where these do not tell the
     * length, they are four zero bytes, which is ADD and so none of these instructions: the answer
     * to them is an error. */
    uint32_t first;
    uint32_t first_mask;
    int8_t length;
    /* And in any form, as the decoder reports it. */
    uint8_t map;
    uint8_t opcode;
    uint8_t opcode_mask; /* bits of the opcode that must match */
    uint8_t modrm;
    uint8_t modrm_mask; /* 0: there is none, or any */
    uint8_t prefix;     /* a mandatory one */
};

/* clang-format off */
#define BYTES_1(op)           (op), 0xff
#define BYTES_2(op)           0x0f | (op) << 8, 0xffff
#define BYTES_3(op, modrm)    0x0f | (op) << 8 | (modrm) << 16, 0xffffff
#define NO_BYTES              0, 0xffffffff, -BH_EINVAL

#define ONE_BYTE(op)          {BYTES_1(op), 1, MAP_ONE_BYTE, op, ALL_BITS, 0, ANY_MODRM, 0}
#define TWO_BYTES(op)         {BYTES_2(op), 2, MAP_0F, op, ALL_BITS, 0, ANY_MODRM, 0}
#define GROUP7_FIXED(modrm)   {BYTES_3(0x01, modrm), 3, MAP_0F, 0x01, ALL_BITS, modrm, ALL_BITS, 0}
#define MOV_CR_DR(op)         {BYTES_2(op), 3, MAP_0F, op, ALL_BITS, 0, ANY_MODRM, 0}
#define GROUP(op, reg)        {NO_BYTES, MAP_0F, op, ALL_BITS, (reg) << 3, REG_FIELD, 0}
#define STRING_IO(op)         {NO_BYTES, MAP_ONE_BYTE, op, 0xfe, 0, ANY_MODRM, 0}

static const struct insn_match matches[INSN_ID_COUNT] = {
    [INSN_CPUID]       = TWO_BYTES(0xa2),
    [INSN_RDMSR]       = TWO_BYTES(0x32),
    [INSN_WRMSR]       = TWO_BYTES(0x30),
    [INSN_HLT]         = ONE_BYTE(0xf4),
    [INSN_VMMCALL]     = GROUP7_FIXED(0xd9),
    [INSN_VMCALL]      = GROUP7_FIXED(0xc1),
    [INSN_PAUSE]       = {0x90f3, 0xffff, 2, MAP_ONE_BYTE, 0x90, ALL_BITS, 0, ANY_MODRM, PREFIX_REP},
    [INSN_RDTSC]       = TWO_BYTES(0x31),
    [INSN_RDTSCP]      = GROUP7_FIXED(0xf9),
    [INSN_RDPMC]       = TWO_BYTES(0x33),
    [INSN_XSETBV]      = GROUP7_FIXED(0xd1),
    [INSN_INVD]        = TWO_BYTES(0x08),
    [INSN_WBINVD]      = TWO_BYTES(0x09),
    [INSN_CLTS]        = TWO_BYTES(0x06),
    [INSN_VMRUN]       = GROUP7_FIXED(0xd8),
    [INSN_VMLOAD]      = GROUP7_FIXED(0xda),
    [INSN_VMSAVE]      = GROUP7_FIXED(0xdb),
    [INSN_STGI]        = GROUP7_FIXED(0xdc),
    [INSN_CLGI]        = GROUP7_FIXED(0xdd),
    [INSN_SKINIT]      = GROUP7_FIXED(0xde),
    [INSN_INVLPGA]     = GROUP7_FIXED(0xdf),
    [INSN_MONITOR]     = GROUP7_FIXED(0xc8),
    [INSN_MWAIT]       = GROUP7_FIXED(0xc9),
    [INSN_RDPRU]       = GROUP7_FIXED(0xfd),
    [INSN_RSM]         = TWO_BYTES(0xaa),
    [INSN_MOV_FROM_CR] = MOV_CR_DR(0x20),
    [INSN_MOV_TO_CR]   = MOV_CR_DR(0x22),
    [INSN_MOV_FROM_DR] = MOV_CR_DR(0x21),
    [INSN_MOV_TO_DR]   = MOV_CR_DR(0x23),
    [INSN_INVLPG]      = GROUP(0x01, 7),
    [INSN_LMSW]        = GROUP(0x01, 6),
    [INSN_SMSW]        = GROUP(0x01, 4),
    [INSN_SGDT]        = GROUP(0x01, 0),
    [INSN_SIDT]        = GROUP(0x01, 1),
    [INSN_LGDT]        = GROUP(0x01, 2),
    [INSN_LIDT]        = GROUP(0x01, 3),
    [INSN_SLDT]        = GROUP(0x00, 0),
    [INSN_STR]         = GROUP(0x00, 1),
    [INSN_LLDT]        = GROUP(0x00, 2),
    [INSN_LTR]         = GROUP(0x00, 3),
    [INSN_INVPCID]     = {NO_BYTES, MAP_0F38, 0x82, ALL_BITS, 0, ANY_MODRM, PREFIX_OPSIZE},
    [INSN_IRET]        = ONE_BYTE(0xcf),
    [INSN_PUSHF]       = ONE_BYTE(0x9c),
    [INSN_POPF]        = ONE_BYTE(0x9d),
    [INSN_INT_N]       = {BYTES_1(0xcd), 2, MAP_ONE_BYTE, 0xcd, ALL_BITS, 0, ANY_MODRM, 0},
    [INSN_INT3]        = ONE_BYTE(0xcc),
    [INSN_INTO]        = {NO_BYTES, MAP_ONE_BYTE, 0xce, ALL_BITS, 0, ANY_MODRM, 0}, /* not in 64-bit mode */
    [INSN_ICEBP]       = ONE_BYTE(0xf1),
    [INSN_INS]         = STRING_IO(0x6c),
    [INSN_OUTS]        = STRING_IO(0x6e),
};
/* clang-format on */

/* In these of the groups 6 and 7 a register operand makes another instruction (VMCALL and its
 * like, SWAPGS). */
static bool is_memory_only(enum insn_id id)
{
    return id == INSN_INVLPG || (id >= INSN_SGDT && id <= INSN_LIDT);
}

static bool is_match(const struct insn *insn, enum insn_id id)
{
    const struct insn_match *m = &matches[id];
    bool is_register = insn->has_modrm && insn->modrm >> 6 == 3;

    return insn->map == m->map && (insn->opcode & m->opcode_mask) == m->opcode &&
           (insn->modrm & m->modrm_mask) == m->modrm && (insn->prefixes & m->prefix) == m->prefix &&
           !(is_memory_only(id) && is_register);
}

int insn_length_of(const uint8_t *bytes, size_t len, enum cpu_mode mode, enum insn_id expected)
{
    struct insn insn;
    int err = insn_decode(&insn, bytes, len, mode);

    if (err)
        return err;
    return is_match(&insn, expected) ? insn.length : -BH_EINVAL;
}

int insn_plain_length(uint32_t first, enum insn_id expected)
{
    const struct insn_match *m = &matches[expected];

    return ((first ^ m->first) & m->first_mask) == 0 ? m->length : -BH_EINVAL;
}
