#include "vmm/emulate/decode.h"

#include "arch/x86/regs.h"
#include "arch/x86/segment.h"
#include "lib/error.h"
#include "lib/string.h"
#include "vmm/emulate/decode_tables.h"

#define MODRM_MOD(b) ((b) >> 6)
#define MODRM_REG(b) (((b) >> 3) & 7)
#define MODRM_RM(b)  ((b)&7)

#define MOD_REGISTER 3
#define RM_SIB       4 /* with 32- and 64-bit addresses */
#define RM_DISP32    5 /* with mod 0; RIP-relative in 64-bit mode */
#define RM_DISP16    6 /* with mod 0 and 16-bit addresses */
#define SIB_NO_INDEX 4
#define SIB_NO_BASE  5 /* with mod 0 */
#define XBEGIN_MODRM 0xf8

#define NO_SEGMENT SEG_COUNT

struct decoder {
    struct insn *out;
    const uint8_t *bytes;
    size_t len;
    size_t pos;
    uint8_t ext; /* REX.WRXB, or the same from a VEX prefix */
    uint8_t seg; /* segment override or NO_SEGMENT */
};

/* Takes an `n`-byte little-endian number, zero-extended. */
static int take(struct decoder *d, unsigned int n, uint64_t *val)
{
    if (d->pos + n > INSN_MAX_LENGTH)
        return -BH_EINVAL;
    if (d->pos + n > d->len)
        return -BH_ERANGE;
    *val = 0;
    for (unsigned int i = 0; i < n; i++)
        *val |= (uint64_t)d->bytes[d->pos + i] << (8 * i);
    d->pos += n;
    return 0;
}

static int take_byte(struct decoder *d, uint8_t *val)
{
    uint64_t v = 0;
    int err = take(d, 1, &v);

    *val = (uint8_t)v;
    return err;
}

static uint64_t sign_extend(uint64_t val, unsigned int bytes)
{
    unsigned int shift = 64 - 8 * bytes;

    return (uint64_t)((int64_t)(val << shift) >> shift);
}

static void take_override(struct decoder *d, enum seg_index seg)
{
    /* In 64-bit mode the other four are ignored, and do not undo an earlier FS or GS. */
    if (d->out->mode == MODE_64 && seg != SEG_FS && seg != SEG_GS)
        return;
    d->seg = seg;
    d->out->prefixes |= PREFIX_SEGMENT;
}

/* Applies `byte` when it is a legacy prefix. */
static bool legacy_prefix(struct decoder *d, uint8_t byte)
{
    struct insn *out = d->out;

    switch (byte) {
    case 0x26: take_override(d, SEG_ES); break;
    case 0x2e: take_override(d, SEG_CS); break;
    case 0x36: take_override(d, SEG_SS); break;
    case 0x3e: take_override(d, SEG_DS); break;
    case 0x64: take_override(d, SEG_FS); break;
    case 0x65: take_override(d, SEG_GS); break;
    case 0x66: out->prefixes |= PREFIX_OPSIZE; break;
    case 0x67: out->prefixes |= PREFIX_ADDRSIZE; break;
    case 0xf0: out->prefixes |= PREFIX_LOCK; break;
    case 0xf2: out->prefixes = (out->prefixes & ~PREFIX_REP) | PREFIX_REPNE; break;
    case 0xf3: out->prefixes = (out->prefixes & ~PREFIX_REPNE) | PREFIX_REP; break;
    default: return false;
    }
    return true;
}

/* Takes all prefixes and leaves the first opcode byte in *byte. */
static int take_prefixes(struct decoder *d, uint8_t *byte)
{
    for (;;) {
        int err = take_byte(d, byte);

        if (err)
            return err;
        if (d->out->mode == MODE_64 && (*byte & 0xf0) == 0x40) {
            d->out->rex = *byte;
        } else if (legacy_prefix(d, *byte)) {
            /* A REX prefix counts only immediately before the opcode (SDM vol. 2, 2.2.1). */
            d->out->rex = 0;
        } else {
            break;
        }
    }
    d->ext = d->out->rex & 0xf;
    d->out->addr_size = (uint8_t)(2u << d->out->mode);
    if (d->out->prefixes & PREFIX_ADDRSIZE)
        d->out->addr_size = d->out->mode == MODE_32 ? 2 : 4;
    return 0;
}

static bool is_vex(const struct decoder *d, uint8_t byte)
{
    if (byte != 0xc4 && byte != 0xc5)
        return false;
    /* Elsewhere mod 3 tells it from LDS and LES, which take memory operands only. */
    return d->out->mode == MODE_64 ||
           (d->pos < d->len && MODRM_MOD(d->bytes[d->pos]) == MOD_REGISTER);
}

/* VEX (SDM vol. 2, 2.3.5 to 2.3.7): the length only, without a check whether the opcode exists. */
static int take_vex(struct decoder *d, uint8_t first, struct opcode_info *info)
{
    struct insn *out = d->out;
    uint8_t vex = 0, map = 1;
    int err = take_byte(d, &vex);

    if (err)
        return err;
    if (out->rex || (out->prefixes & ~(PREFIX_SEGMENT | PREFIX_ADDRSIZE)))
        return -BH_EINVAL;
    d->ext = vex & 0x80 ? 0 : REX_R;
    if (first == 0xc4) {
        map = vex & 0x1f;
        d->ext |= (vex & 0x40 ? 0 : REX_X) | (vex & 0x20 ? 0 : REX_B);
        err = take_byte(d, &vex);
        if (err)
            return err;
    }
    if (out->mode != MODE_64)
        d->ext = 0;
    out->map = MAP_VEX;
    err = take_byte(d, &out->opcode);
    if (err)
        return err;
    if (map < 1 || map > 3)
        return -BH_EINVAL;

    *info = (struct opcode_info){OP_OTHER, FORM_NONE, OPF_VALID | OPF_MODRM};
    if (map == 3)
        info->flags |= OPF_IMM8;
    else if (map == 1)
        info->flags = opcode_0f[out->opcode].flags & (OPF_VALID | OPF_MODRM | OPF_IMM8);
    return 0;
}

static int take_opcode(struct decoder *d, uint8_t byte, struct opcode_info *info)
{
    struct insn *out = d->out;
    int err;

    out->opcode = byte;
    *info = opcode_one_byte[byte];
    if (is_vex(d, byte))
        return take_vex(d, byte, info);
    if (byte != 0x0f)
        return 0;

    err = take_byte(d, &out->opcode);
    if (err)
        return err;
    out->map = MAP_0F;
    *info = opcode_0f[out->opcode];
    if (out->opcode != 0x38 && out->opcode != 0x3a)
        return 0;

    /* Everything in these two maps has a modrm byte, and in the second one an immediate, too. */
    *info = (struct opcode_info){OP_OTHER, FORM_NONE, OPF_VALID | OPF_MODRM};
    out->map = out->opcode == 0x38 ? MAP_0F38 : MAP_0F3A;
    if (out->map == MAP_0F3A)
        info->flags |= OPF_IMM8;
    err = take_byte(d, &out->opcode);
    /* With an F2 prefix F0 and F1 are CRC32. */
    if (out->map == MAP_0F38 && (out->opcode & 0xfe) == 0xf0 && !(out->prefixes & PREFIX_REPNE)) {
        info->op = OP_MOVBE;
        info->form = out->opcode & 1 ? FORM_EG : FORM_GE;
        info->flags |= OPF_MEMONLY;
    }
    return err;
}

/* Replaces a group's entry by that of its member, once modrm is known. */
static int resolve_group(const struct insn *out, struct opcode_info *info)
{
    const struct opcode_info *member;

    if (info->form != FORM_GROUP)
        return 0;
    member = &opcode_groups[info->op][MODRM_REG(out->modrm)];
    if (info->op == GROUP_11 && member->op == OP_OTHER && out->modrm != XBEGIN_MODRM)
        return -BH_EINVAL;
    if (!(member->flags & OPF_VALID))
        return -BH_EINVAL;
    info->op = member->op;
    info->form = member->form;
    info->flags |= member->flags;
    return 0;
}

static uint8_t operand_size(const struct decoder *d, uint16_t flags)
{
    const struct insn *out = d->out;
    bool prefix = out->prefixes & PREFIX_OPSIZE;

    if (flags & OPF_BYTE)
        return 1;
    if (flags & OPF_MOVNTI)
        return d->ext & REX_W ? 8 : 4;
    if (out->mode == MODE_64) {
        if (d->ext & REX_W)
            return 8;
        /* A near branch with 66: Intel ignores the prefix, AMD truncates RIP to 16 bits (APM
         * vol. 3, 1.2.3). No compiler emits it; the length is decoded as on Intel. */
        if (flags & OPF_REL)
            return 8;
        if (flags & OPF_DEF64)
            return prefix ? 2 : 8;
    }
    return (out->mode == MODE_16) != prefix ? 2 : 4;
}

/* A default segment of SS goes with the stack registers as base (SDM vol. 1, table 3-5). */
static uint8_t default_segment(uint8_t base)
{
    return base == GPR_RSP || base == GPR_RBP ? SEG_SS : SEG_DS;
}

static int take_disp(struct decoder *d, unsigned int size)
{
    uint64_t disp = 0;
    int err = take(d, size, &disp);

    d->out->disp_size = (uint8_t)size;
    d->out->mem.disp = size ? (int64_t)sign_extend(disp, size) : 0;
    return err;
}

static int take_address16(struct decoder *d)
{
    static const uint8_t bases[8] = {GPR_RBX, GPR_RBX, GPR_RBP, GPR_RBP,
                                     GPR_RSI, GPR_RDI, GPR_RBP, GPR_RBX};
    static const uint8_t indexes[4] = {GPR_RSI, GPR_RDI, GPR_RSI, GPR_RDI};
    struct insn_mem *mem = &d->out->mem;
    uint8_t mod = MODRM_MOD(d->out->modrm), rm = MODRM_RM(d->out->modrm);

    if (mod == 0 && rm == RM_DISP16)
        return take_disp(d, 2);
    mem->base = bases[rm];
    if (rm < ARRAY_SIZE(indexes))
        mem->index = indexes[rm];
    mem->seg = default_segment(mem->base);
    return take_disp(d, mod);
}

static int take_address(struct decoder *d)
{
    struct insn *out = d->out;
    struct insn_mem *mem = &out->mem;
    uint8_t mod = MODRM_MOD(out->modrm), base = MODRM_RM(out->modrm);

    if (base == RM_SIB) {
        int err = take_byte(d, &out->sib);
        uint8_t index = (uint8_t)(MODRM_REG(out->sib) | (d->ext & REX_X ? 8 : 0));

        if (err)
            return err;
        base = MODRM_RM(out->sib);
        mem->scale = (uint8_t)(1u << MODRM_MOD(out->sib));
        if (index != SIB_NO_INDEX)
            mem->index = index;
        if (mod == 0 && base == SIB_NO_BASE)
            return take_disp(d, 4);
    } else if (mod == 0 && base == RM_DISP32) {
        if (out->mode == MODE_64)
            mem->base = INSN_REG_RIP;
        return take_disp(d, 4);
    }
    mem->base = (uint8_t)(base | (d->ext & REX_B ? 8 : 0));
    mem->seg = default_segment(mem->base);
    return take_disp(d, mod == 2 ? 4 : mod);
}

static int take_modrm(struct decoder *d, struct opcode_info *info)
{
    struct insn *out = d->out;
    int err;

    if (!(info->flags & OPF_MODRM))
        return 0;
    err = take_byte(d, &out->modrm);
    if (err)
        return err;
    out->has_modrm = true;
    err = resolve_group(out, info);
    if (err)
        return err;
    if (info->flags & OPF_REGONLY)
        return 0;
    if (MODRM_MOD(out->modrm) == MOD_REGISTER)
        return info->flags & OPF_MEMONLY ? -BH_EINVAL : 0;
    return out->addr_size == 2 ? take_address16(d) : take_address(d);
}

static unsigned int immediate_size(const struct insn *out, uint16_t flags)
{
    unsigned int z = out->op_size == 8 ? 4 : out->op_size;

    if (flags & OPF_IMM8)
        return 1;
    if (flags & OPF_IMM16)
        return 2;
    if (flags & (OPF_IMMZ | OPF_REL))
        return z;
    return flags & OPF_IMMV ? out->op_size : 0;
}

static int take_immediates(struct decoder *d, uint16_t flags)
{
    struct insn *out = d->out;
    unsigned int size2 = flags & OPF_FAR ? 2 : (flags & OPF_ENTER ? 1 : 0);
    uint64_t imm2 = 0;
    int err;

    /* SSE4A's EXTRQ and INSERTQ (APM vol. 4) have two immediate bytes; AMD's only use of 0F 78. */
    if (out->map == MAP_0F && out->opcode == 0x78 &&
        (out->prefixes & (PREFIX_OPSIZE | PREFIX_REPNE))) {
        flags |= OPF_IMM8;
        size2 = 1;
    }
    if (flags & OPF_MOFFS) {
        uint64_t moffs = 0;

        out->disp_size = out->addr_size;
        err = take(d, out->addr_size, &moffs);
        out->mem.disp = (int64_t)moffs;
        return err;
    }
    out->imm_size = (uint8_t)immediate_size(out, flags);
    if (!out->imm_size)
        return 0;
    err = take(d, out->imm_size, &out->imm);
    if (err)
        return err;
    if (out->op != OP_OTHER)
        out->imm = sign_extend(out->imm, out->imm_size);
    err = take(d, size2, &imm2);
    out->imm2 = (uint16_t)imm2;
    return err;
}

static void set_reg(const struct decoder *d, struct insn_operand *operand, uint8_t reg)
{
    bool high = operand->size == 1 && !d->out->rex && reg >= GPR_RSP && reg <= GPR_RDI;

    /* Without REX the byte registers 4 to 7 are AH, CH, DH, BH (SDM vol. 2, table 3-1). */
    operand->kind = OPERAND_REG;
    operand->high_byte = high;
    operand->reg = high ? reg - GPR_RSP : reg;
}

static void set_g(const struct decoder *d, struct insn_operand *operand)
{
    set_reg(d, operand, (uint8_t)(MODRM_REG(d->out->modrm) | (d->ext & REX_R ? 8 : 0)));
}

static void set_e(const struct decoder *d, struct insn_operand *operand)
{
    if (MODRM_MOD(d->out->modrm) == MOD_REGISTER)
        set_reg(d, operand, (uint8_t)(MODRM_RM(d->out->modrm) | (d->ext & REX_B ? 8 : 0)));
    else
        operand->kind = OPERAND_MEM;
}

static void describe_string(const struct decoder *d, enum opcode_form form)
{
    struct insn_operand *dst = &d->out->dst, *src = &d->out->src;

    switch (form) {
    case FORM_MOVS:
        dst->kind = OPERAND_STR_DST;
        src->kind = OPERAND_STR_SRC;
        break;
    case FORM_CMPS:
        dst->kind = OPERAND_STR_SRC;
        src->kind = OPERAND_STR_DST;
        break;
    case FORM_STOS:
        dst->kind = OPERAND_STR_DST;
        set_reg(d, src, GPR_RAX);
        break;
    case FORM_LODS:
        set_reg(d, dst, GPR_RAX);
        src->kind = OPERAND_STR_SRC;
        break;
    case FORM_SCAS:
        set_reg(d, dst, GPR_RAX);
        src->kind = OPERAND_STR_DST;
        break;
    case FORM_INS: dst->kind = OPERAND_STR_DST; break;
    case FORM_OUTS: src->kind = OPERAND_STR_SRC; break;
    default: break;
    }
}

static void describe_operands(const struct decoder *d, enum opcode_form form)
{
    struct insn *out = d->out;
    struct insn_operand *dst = &out->dst, *src = &out->src;

    /* A 64-bit INS or OUTS does not exist: REX.W is ignored. */
    if ((form == FORM_INS || form == FORM_OUTS) && out->op_size == 8)
        out->op_size = 4;
    dst->size = src->size = out->op_size;
    switch (form) {
    case FORM_EG:
        set_e(d, dst);
        set_g(d, src);
        break;
    case FORM_GE8:
        src->size = 1;
        set_g(d, dst);
        set_e(d, src);
        break;
    case FORM_GE16:
        src->size = 2;
        set_g(d, dst);
        set_e(d, src);
        break;
    case FORM_GE32:
        src->size = MIN(out->op_size, 4);
        set_g(d, dst);
        set_e(d, src);
        break;
    case FORM_GE:
        set_g(d, dst);
        set_e(d, src);
        break;
    case FORM_EI:
        set_e(d, dst);
        src->kind = OPERAND_IMM;
        break;
    case FORM_AI:
        set_reg(d, dst, GPR_RAX);
        src->kind = OPERAND_IMM;
        break;
    case FORM_ZI:
        set_reg(d, dst, (uint8_t)((out->opcode & 7) | (d->ext & REX_B ? 8 : 0)));
        src->kind = OPERAND_IMM;
        break;
    case FORM_AO:
        set_reg(d, dst, GPR_RAX);
        src->kind = OPERAND_MEM;
        break;
    case FORM_OA:
        dst->kind = OPERAND_MEM;
        set_reg(d, src, GPR_RAX);
        break;
    case FORM_E: set_e(d, dst); break;
    case FORM_E_SRC: set_e(d, src); break;
    default: describe_string(d, form); break;
    }
}

static int decode_body(struct decoder *d)
{
    struct insn *out = d->out;
    struct opcode_info info;
    uint8_t byte = 0;
    int err = take_prefixes(d, &byte);

    if (err)
        return err;
    err = take_opcode(d, byte, &info);
    if (err)
        return err;
    if (!(info.flags & OPF_VALID) || ((info.flags & OPF_NOT64) && out->mode == MODE_64))
        return -BH_EINVAL;
    if ((info.flags & OPF_MOVNTI) && (out->prefixes & (PREFIX_OPSIZE | PREFIX_REP | PREFIX_REPNE)))
        return -BH_EINVAL;
    /* Opcode 63 is ARPL outside 64-bit mode. */
    if (info.form == FORM_GE32 && out->mode != MODE_64)
        info = (struct opcode_info){OP_OTHER, FORM_NONE, OPF_VALID | OPF_MODRM};
    err = take_modrm(d, &info);
    if (err)
        return err;
    out->op = info.op;
    out->op_size = operand_size(d, info.flags);
    err = take_immediates(d, info.flags);
    if (err)
        return err;
    if (d->seg != NO_SEGMENT)
        out->mem.seg = d->seg;
    if (out->op != OP_OTHER)
        describe_operands(d, info.form);
    return 0;
}

int insn_decode(struct insn *out, const uint8_t *bytes, size_t len, enum cpu_mode mode)
{
    struct decoder d = {
        .out = out, .bytes = bytes, .len = MIN(len, (size_t)INSN_MAX_LENGTH), .seg = NO_SEGMENT};
    int err;

    *out = (struct insn){
        .mode = (uint8_t)mode,
        .mem = {.base = INSN_NO_REG, .index = INSN_NO_REG, .scale = 1, .seg = SEG_DS},
    };
    err = decode_body(&d);
    out->length = (uint8_t)d.pos;
    return err;
}
