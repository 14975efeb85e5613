#include "vmm/emulate/emulate.h"

#include "lib/error.h"
#include "vmm/emulate/emu_internal.h"
#include "vmm/emulate/walk.h"

/* How an operation uses its destination. */
#define USE_READ  BIT(0)
#define USE_WRITE BIT(1)
#define USE_LOCK  BIT(2) /* LOCK is allowed when it is in memory (SDM vol. 2, LOCK) */
#define USE_RMW   (USE_READ | USE_WRITE | USE_LOCK)

static const uint8_t op_use[OP_COUNT] = {
    [OP_ADD] = USE_RMW,   [OP_OR] = USE_RMW,      [OP_ADC] = USE_RMW,     [OP_SBB] = USE_RMW,
    [OP_AND] = USE_RMW,   [OP_SUB] = USE_RMW,     [OP_XOR] = USE_RMW,     [OP_CMP] = USE_READ,
    [OP_TEST] = USE_READ, [OP_NOT] = USE_RMW,     [OP_NEG] = USE_RMW,     [OP_INC] = USE_RMW,
    [OP_DEC] = USE_RMW,   [OP_MOV] = USE_WRITE,   [OP_MOVZX] = USE_WRITE, [OP_MOVSX] = USE_WRITE,
    [OP_XCHG] = USE_RMW,  [OP_CMPXCHG] = USE_RMW, [OP_XADD] = USE_RMW,    [OP_BT] = USE_READ,
    [OP_BTS] = USE_RMW,   [OP_BTR] = USE_RMW,     [OP_BTC] = USE_RMW,
};

static bool is_bit_op(enum insn_op op)
{
    return op >= OP_BT && op <= OP_BTC;
}

/* With its bit number in a register, a bit instruction reaches memory on either side of the
 * operand: the number is signed, and its part above the operand size selects another operand-sized
 * unit (SDM vol. 2, BT; figure 3-2). Returns the distance in bytes. */
static uint64_t bit_string_offset(const struct emu_run *run)
{
    const struct insn_operand *src = &run->insn->src;
    unsigned int size = run->insn->op_size;
    int64_t bit;

    if (!is_bit_op(run->insn->op) || src->kind != OPERAND_REG)
        return 0;
    bit = (int64_t)emu_sign_extend(emu_get_reg(run->cpu, src), size);
    return (uint64_t)((bit >> 3) & -(int64_t)size);
}

/* The destination's new value. */
static uint64_t compute(const struct emu_run *run, uint64_t dst, uint64_t src, uint64_t *rflags)
{
    const struct insn *insn = run->insn;
    unsigned int size = insn->op_size;
    uint64_t acc;

    switch (insn->op) {
    case OP_MOV:
    case OP_MOVZX:
    case OP_XCHG: return src;
    case OP_MOVSX: return emu_sign_extend(src, insn->src.size);
    case OP_CMPXCHG:
        acc = run->cpu->gpr[GPR_RAX] & emu_mask(size);
        /* The destination is written in either case (SDM vol. 2, CMPXCHG). */
        return emu_alu(OP_CMPXCHG, size, acc, dst, rflags) ? dst : src;
    case OP_BT:
    case OP_BTS:
    case OP_BTR:
    case OP_BTC: return emu_bit_op(insn->op, dst, src & (8 * size - 1), rflags);
    default: return emu_alu(insn->op, size, dst, src, rflags);
    }
}

/* What else is written: XCHG's and XADD's source, CMPXCHG's accumulator. */
static void write_second(struct emu_run *run, uint64_t old, uint64_t rflags)
{
    const struct insn *insn = run->insn;

    if (insn->op == OP_XCHG || insn->op == OP_XADD)
        emu_set_reg(run->cpu, &insn->src, old);
    else if (insn->op == OP_CMPXCHG && !(rflags & RFLAGS_ZF))
        emu_write_gpr(run->cpu->gpr, GPR_RAX, insn->op_size, old);
}

/* Everything with at most one operand in memory. */
static enum emu_result execute_simple(struct emu_run *run)
{
    const struct insn *insn = run->insn;
    const struct insn_operand *dst = &insn->dst, *src = &insn->src;
    uint8_t use = op_use[insn->op];
    uint64_t a = 0, b = insn->imm, val, rflags = run->cpu->rflags;
    struct emu_span span = {.len = {0}};
    enum emu_result result = EMU_DONE;

    if (dst->kind == OPERAND_MEM)
        result = emu_map_operand(run, dst->size, use & USE_WRITE ? WALK_WRITE : 0,
                                 bit_string_offset(run), &span);
    else if (src->kind == OPERAND_MEM)
        result = emu_map_operand(run, src->size, 0, 0, &span);
    if (result != EMU_DONE)
        return result;
    if (src->kind == OPERAND_MEM)
        b = emu_load(run, &span);
    else if (src->kind == OPERAND_REG)
        b = emu_get_reg(run->cpu, src);
    if (dst->kind == OPERAND_REG)
        a = emu_get_reg(run->cpu, dst);
    else if (dst->kind == OPERAND_MEM && (use & USE_READ))
        a = emu_load(run, &span);

    val = compute(run, a, b, &rflags);
    if ((use & USE_WRITE) && dst->kind == OPERAND_MEM)
        emu_store(run, &span, val);
    write_second(run, a, rflags);
    if ((use & USE_WRITE) && dst->kind == OPERAND_REG)
        emu_set_reg(run->cpu, dst, val);
    run->cpu->rflags = rflags;
    return EMU_DONE;
}

/* PUSH and POP of an operand in memory. */
static enum emu_result execute_stack(struct emu_run *run)
{
    const struct insn *insn = run->insn;
    bool push = insn->op == OP_PUSH;
    unsigned int size = insn->op_size, width = run->cpu->seg[SEG_SS].attrib & SEG_ATTR_DB ? 4 : 2;
    uint64_t *gpr = run->cpu->gpr, rsp = gpr[GPR_RSP] - (push ? size : 0);
    /* POP computes an address that uses RSP with RSP already incremented. */
    uint64_t distance = !push && insn->mem.base == GPR_RSP ? size : 0;
    struct emu_span stack, span;
    enum emu_result result;

    if (insn->dst.kind != OPERAND_MEM)
        return EMU_UNKNOWN;
    if (insn->mode == MODE_64)
        width = 8;
    result = emu_map_operand(run, size, push ? 0 : WALK_WRITE, distance, &span);
    if (result == EMU_DONE)
        result =
            emu_map(run, SEG_SS, rsp & emu_mask(width), size, push ? WALK_WRITE : 0, NULL, &stack);
    if (result != EMU_DONE)
        return result;
    emu_store(run, push ? &stack : &span, emu_load(run, push ? &span : &stack));
    emu_write_gpr(gpr, GPR_RSP, width, push ? rsp : rsp + size);
    return EMU_DONE;
}

enum emu_result emu_execute(struct emu_cpu *cpu, const struct insn *insn, const struct emu_ops *ops,
                            void *ctx, struct emu_fault *fault)
{
    struct emu_run run = {.cpu = cpu, .insn = insn, .ops = ops, .ctx = ctx, .fault = fault};
    enum emu_result result;

    if (insn->op == OP_OTHER || insn->op >= OP_COUNT)
        return EMU_UNKNOWN;
    if ((insn->prefixes & PREFIX_LOCK) &&
        (!(op_use[insn->op] & USE_LOCK) || insn->dst.kind != OPERAND_MEM))
        return emu_raise(&run, EXC_UD);

    if (insn->op >= OP_MOVS)
        result = emu_string(&run);
    else
        result = insn->op >= OP_PUSH ? execute_stack(&run) : execute_simple(&run);
    if (result != EMU_DONE)
        return result;

    cpu->rip += insn->length;
    if (insn->mode != MODE_64)
        cpu->rip &= 0xffffffffu;
    cpu->rflags &= ~RFLAGS_RF;
    return EMU_DONE;
}
static_assert(OP_MOVS == OP_POP + 1 && OP_OUTS == OP_COUNT - 1, "string instructions come last");

/* Fetches at CS:`rip`, up to `max` bytes but not beyond the page. */
static enum emu_result fetch_page(const struct emu_run *run, uint64_t rip, size_t max, uint8_t *buf,
                                  size_t *len)
{
    const struct emu_cpu *cpu = run->cpu;
    uint64_t linear = 0, gpa = 0;
    enum emu_result result = emu_linear(run, SEG_CS, rip, 1, WALK_FETCH, &linear);
    size_t count = (size_t)(PAGE_SIZE_4K - (linear & (PAGE_SIZE_4K - 1)));

    if (result == EMU_DONE)
        result = emu_translate(run, linear, WALK_FETCH, &gpa);
    if (result != EMU_DONE)
        return result;
    count = MIN(count, max);
    /* A limit cuts what follows; the first byte was checked. */
    if (emu_mode(cpu) != MODE_64)
        count = (size_t)MIN((uint64_t)count, cpu->seg[SEG_CS].limit - rip + 1);
    if (run->ops->read_ram(run->ctx, gpa, buf, (unsigned int)count))
        return EMU_UNKNOWN;
    *len = count;
    return EMU_DONE;
}

enum emu_result emu_fetch(struct emu_cpu *cpu, const struct emu_ops *ops, void *ctx,
                          uint8_t buf[INSN_MAX_LENGTH], size_t *len, struct emu_fault *fault)
{
    struct emu_fault ignored;
    struct emu_run run = {.cpu = cpu, .ops = ops, .ctx = ctx, .fault = fault};
    size_t more = 0;
    enum emu_result result = fetch_page(&run, cpu->rip, INSN_MAX_LENGTH, buf, len);

    if (result != EMU_DONE || *len == INSN_MAX_LENGTH)
        return result;
    run.fault = &ignored;
    if (fetch_page(&run, cpu->rip + *len, INSN_MAX_LENGTH - *len, buf + *len, &more) == EMU_DONE)
        *len += more;
    return EMU_DONE;
}

enum emu_result emu_step(struct emu_cpu *cpu, const struct emu_ops *ops, void *ctx,
                         const uint8_t *bytes, size_t len, struct emu_fault *fault)
{
    const struct emu_run run = {.cpu = cpu, .ops = ops, .ctx = ctx, .fault = fault};
    uint8_t buf[INSN_MAX_LENGTH];
    enum cpu_mode mode = emu_mode(cpu);
    struct insn insn;
    int err = len ? insn_decode(&insn, bytes, len, mode) : -BH_ERANGE;

    if (err == -BH_ERANGE) {
        size_t got = 0;
        enum emu_result result = emu_fetch(cpu, ops, ctx, buf, &got, fault);

        if (result != EMU_DONE)
            return result;
        err = insn_decode(&insn, buf, got, mode);
        if (err == -BH_ERANGE) {
            /* The rest is on a page, or behind a limit, that cannot be fetched: its fault is due.
             * Should it have become accessible since, the guest tries again. */
            result = fetch_page(&run, cpu->rip + got, 1, buf, &got);
            return result == EMU_DONE ? EMU_RETRY : result;
        }
    }
    return err ? EMU_UNKNOWN : emu_execute(cpu, &insn, ops, ctx, fault);
}
