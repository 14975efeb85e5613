/* Lengths of intercepted instructions, for CPUs that do not save the next RIP. */

#include "lib/error.h"
#include "vmm/emulate/decode.h"

struct insn_match {
    /* The instruction's first bytes as it stands without prefixes. */
    uint32_t first, first_mask;
    int8_t length;
    /* And in any form, as the decoder reports it. */
    uint8_t map, opcode, modrm;
};

/* clang-format off */
#define ONE_BYTE(op)        {(op), 0xff, 1, MAP_ONE_BYTE, (op), 0}
#define TWO_BYTES(op)       {0x0f | (op) << 8, 0xffff, 2, MAP_0F, (op), 0}
#define GROUP7_FIXED(modrm) {0x010f | (modrm) << 16, 0xffffff, 3, MAP_0F, 0x01, (modrm)}

static const struct insn_match matches[INSN_ID_COUNT] = {
    [INSN_CPUID]   = TWO_BYTES(0xa2),
    [INSN_RDMSR]   = TWO_BYTES(0x32),
    [INSN_WRMSR]   = TWO_BYTES(0x30),
    [INSN_HLT]     = ONE_BYTE(0xf4),
    [INSN_VMMCALL] = GROUP7_FIXED(0xd9),
    [INSN_XSETBV]  = GROUP7_FIXED(0xd1),
    [INSN_INVD]    = TWO_BYTES(0x08),
    [INSN_WBINVD]  = TWO_BYTES(0x09),
};
/* clang-format on */

int insn_length_of(const uint8_t *bytes, size_t len, enum cpu_mode mode, enum insn_id expected)
{
    const struct insn_match *m = &matches[expected];
    struct insn insn;
    int err = insn_decode(&insn, bytes, len, mode);

    if (err)
        return err;
    return insn.map == m->map && insn.opcode == m->opcode && insn.modrm == m->modrm ? insn.length
                                                                                    : -BH_EINVAL;
}

int insn_plain_length(uint32_t first, enum insn_id expected)
{
    const struct insn_match *m = &matches[expected];

    return ((first ^ m->first) & m->first_mask) == 0 ? m->length : -BH_EINVAL;
}
