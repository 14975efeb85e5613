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

#define NO_SEGMENT SEG_COUNT

struct decoder {
    struct insn *out;
    const uint8_t *bytes;
    size_t len;
    size_t pos;
    int err;     /* the first one; nothing is taken any more after it */
    uint8_t ext; /* REX.WRXB */
    uint8_t seg; /* segment override or NO_SEGMENT */
};

static void undefined(struct decoder *d)
{
    if (!d->err)
        d->err = -BH_EINVAL;
}

/* Takes an `n`-byte little-endian number, zero-extended; 0 after an error. */
static uint64_t take(struct decoder *d, unsigned int n)
{
    uint64_t val = 0;

    if (!d->err && d->pos + n > d->len)
        d->err = d->pos + n > INSN_MAX_LENGTH ? -BH_EINVAL : -BH_ERANGE;
    if (d->err)
        return 0;
    for (unsigned int i = 0; i < n; i++)
        val |= (uint64_t)d->bytes[d->pos + i] << (8 * i);
    d->pos += n;
    return val;
}

static uint8_t take_byte(struct decoder *d)
{
    return (uint8_t)take(d, 1);
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

/* Takes all prefixes and the first opcode byte, which it returns. */
static uint8_t take_prefixes(struct decoder *d)
{
    uint8_t byte;

    for (;;) {
        byte = take_byte(d);
        if (d->out->mode == MODE_64 && (byte & 0xf0) == 0x40)
            d->out->rex = byte;
        else if (legacy_prefix(d, byte))
            d->out->rex = 0; /* it counts only immediately before the opcode (SDM vol. 2, 2.2.1) */
        else
            break;
    }
    d->ext = d->out->rex & 0xf;
    d->out->addr_size = (uint8_t)(2u << d->out->mode);
    if (d->out->prefixes & PREFIX_ADDRSIZE)
        d->out->addr_size = d->out->mode == MODE_32 ? 2 : 4;
    return byte;
}

static struct opcode_info take_opcode(struct decoder *d, uint8_t byte)
{
    struct insn *out = d->out;

    out->opcode = byte;
    if (byte != 0x0f)
        return opcode_one_byte[byte];
    out->opcode = take_byte(d);
    out->map = MAP_0F;
    return opcode_0f[out->opcode];
}

/* Replaces a group's entry by that of its member, once modrm is known. */
static void resolve_group(struct decoder *d, struct opcode_info *info)
{
    const struct opcode_info *member = &opcode_groups[info->op][MODRM_REG(d->out->modrm)];

    if (!(member->flags & OPF_VALID))
        undefined(d);
    info->op = member->op;
    info->form = member->form;
    info->flags |= member->flags;
}

static uint8_t operand_size(const struct decoder *d, uint16_t flags)
{
    const struct insn *out = d->out;
    bool prefix = out->prefixes & PREFIX_OPSIZE;

    if (flags & OPF_BYTE)
        return 1;
    if (d->ext & REX_W)
        return 8;
    if (flags & OPF_MOVNTI)
        return 4;
    if ((flags & OPF_DEF64) && out->mode == MODE_64)
        return prefix ? 2 : 8;
    return (out->mode == MODE_16) != prefix ? 2 : 4;
}

/* A default segment of SS goes with the stack registers as base (SDM vol. 1, table 3-5). */
static uint8_t default_segment(uint8_t base)
{
    return base == GPR_RSP || base == GPR_RBP ? SEG_SS : SEG_DS;
}

static void take_disp(struct decoder *d, unsigned int size)
{
    d->out->mem.disp = size ? (int64_t)sign_extend(take(d, size), size) : 0;
}

static void take_address16(struct decoder *d)
{
    static const uint8_t bases[8] = {GPR_RBX, GPR_RBX, GPR_RBP, GPR_RBP,
                                     GPR_RSI, GPR_RDI, GPR_RBP, GPR_RBX};
    static const uint8_t indexes[4] = {GPR_RSI, GPR_RDI, GPR_RSI, GPR_RDI};
    struct insn_mem *mem = &d->out->mem;
    uint8_t mod = MODRM_MOD(d->out->modrm), rm = MODRM_RM(d->out->modrm);

    if (mod == 0 && rm == RM_DISP16) {
        take_disp(d, 2);
        return;
    }
    mem->base = bases[rm];
    if (rm < ARRAY_SIZE(indexes))
        mem->index = indexes[rm];
    mem->seg = default_segment(mem->base);
    take_disp(d, mod);
}

static void take_address(struct decoder *d)
{
    struct insn *out = d->out;
    struct insn_mem *mem = &out->mem;
    uint8_t mod = MODRM_MOD(out->modrm), base = MODRM_RM(out->modrm);
    bool has_base = mod != 0 || base != RM_DISP32;

    if (base == RM_SIB) {
        uint8_t sib = take_byte(d);
        uint8_t index = (uint8_t)(MODRM_REG(sib) | (d->ext & REX_X ? 8 : 0));

        base = MODRM_RM(sib);
        mem->scale = (uint8_t)(1u << MODRM_MOD(sib));
        if (index != SIB_NO_INDEX)
            mem->index = index;
        has_base = mod != 0 || base != SIB_NO_BASE;
    } else if (!has_base && out->mode == MODE_64) {
        mem->base = INSN_REG_RIP;
    }
    if (has_base) {
        mem->base = (uint8_t)(base | (d->ext & REX_B ? 8 : 0));
        mem->seg = default_segment(mem->base);
    }
    take_disp(d, mod == 2 || !has_base ? 4 : mod);
}

static void take_modrm(struct decoder *d, struct opcode_info *info)
{
    struct insn *out = d->out;

    out->modrm = take_byte(d);
    if (info->form == FORM_GROUP)
        resolve_group(d, info);
    if ((info->flags & OPF_REGONLY) || MODRM_MOD(out->modrm) == MOD_REGISTER)
        return;
    if (out->addr_size == 2)
        take_address16(d);
    else
        take_address(d);
}

static void take_immediate(struct decoder *d, uint16_t flags)
{
    struct insn *out = d->out;
    unsigned int size = flags & OPF_IMM8 ? 1 : MIN(out->op_size, 4u);

    if (flags & OPF_MOFFS)
        out->mem.disp = (int64_t)take(d, out->addr_size);
    else if (flags & (OPF_IMM8 | OPF_IMMZ))
        out->imm = sign_extend(take(d, size), size);
}

static void set_reg(const struct decoder *d, struct insn_operand *operand, uint8_t reg)
{
    bool high = operand->size == 1 && !d->out->rex && reg >= GPR_RSP && reg <= GPR_RDI;

    /* Without REX the byte registers 4 to 7 are AH, CH, DH, BH (SDM vol. 2, table 3-1). */
    operand->kind = OPERAND_REG;
    operand->high_byte = high;
    operand->reg = high ? reg - GPR_RSP : reg;
}

static void set_operand(const struct decoder *d, struct insn_operand *operand, enum place place)
{
    uint8_t modrm = d->out->modrm;

    switch (place) {
    case PLACE_E:
        if (MODRM_MOD(modrm) == MOD_REGISTER)
            set_reg(d, operand, MODRM_RM(modrm) | (d->ext & REX_B ? 8 : 0));
        else
            operand->kind = OPERAND_MEM;
        break;
    case PLACE_G: set_reg(d, operand, MODRM_REG(modrm) | (d->ext & REX_R ? 8 : 0)); break;
    case PLACE_A: set_reg(d, operand, GPR_RAX); break;
    default: operand->kind = (uint8_t)place; break;
    }
}

static void describe_operands(const struct decoder *d, enum opcode_form form)
{
    struct insn *out = d->out;
    const struct operand_form *f = &operand_forms[form];

    /* A 64-bit INS or OUTS does not exist: REX.W is ignored. */
    if ((form == FORM_INS || form == FORM_OUTS) && out->op_size == 8)
        out->op_size = 4;
    out->dst.size = out->op_size;
    out->src.size = f->src_max ? MIN(f->src_max, out->op_size) : out->op_size;
    set_operand(d, &out->dst, f->dst);
    set_operand(d, &out->src, f->src);
}

static void decode_body(struct decoder *d)
{
    struct insn *out = d->out;
    uint8_t byte = take_prefixes(d);
    struct opcode_info info = take_opcode(d, byte);

    if (!(info.flags & OPF_VALID) || (info.form == FORM_GE32 && out->mode != MODE_64))
        undefined(d);
    if (info.flags & OPF_MODRM)
        take_modrm(d, &info);
    if ((info.flags & OPF_MOVNTI) &&
        (MODRM_MOD(out->modrm) == MOD_REGISTER ||
         (out->prefixes & (PREFIX_OPSIZE | PREFIX_REP | PREFIX_REPNE))))
        undefined(d);
    if (d->err)
        return;
    out->op = info.op;
    out->op_size = operand_size(d, info.flags);
    take_immediate(d, info.flags);
    if (d->seg != NO_SEGMENT)
        out->mem.seg = d->seg;
    if (out->op != OP_OTHER)
        describe_operands(d, info.form);
}

int insn_decode(struct insn *out, const uint8_t *bytes, size_t len, enum cpu_mode mode)
{
    struct decoder d = {
        .out = out, .bytes = bytes, .len = MIN(len, (size_t)INSN_MAX_LENGTH), .seg = NO_SEGMENT};

    *out = (struct insn){
        .mode = (uint8_t)mode,
        .mem = {.base = INSN_NO_REG, .index = INSN_NO_REG, .scale = 1, .seg = SEG_DS},
    };
    decode_body(&d);
    out->length = (uint8_t)d.pos;
    return d.err;
}
