/* String instructions, with or without REP: MOVS, CMPS, STOS, LODS, SCAS, INS, OUTS. */

#include "vmm/emulate/emu_internal.h"
#include "vmm/emulate/walk.h"

struct string_op {
    bool source;      /* has the operand at seg:rSI */
    bool destination; /* has the operand at ES:rDI */
    bool writes;      /* writes the latter */
    bool compares;    /* F2 and F3 stop on ZF */
};

static const struct string_op string_ops[OP_COUNT] = {
    [OP_MOVS] = {.source = true, .destination = true, .writes = true},
    [OP_CMPS] = {.source = true, .destination = true, .compares = true},
    [OP_STOS] = {.destination = true, .writes = true},
    [OP_LODS] = {.source = true},
    [OP_SCAS] = {.destination = true, .compares = true},
    [OP_INS] = {.destination = true, .writes = true},
    [OP_OUTS] = {.source = true},
};

struct string_run {
    struct emu_run *run;
    const struct string_op *op;
    struct emu_tlb src_tlb;
    struct emu_tlb dst_tlb;
};

static uint64_t index_register(const struct emu_run *run, enum gpr_index reg)
{
    return run->cpu->gpr[reg] & emu_mask(run->insn->addr_size);
}

static void advance(struct emu_run *run, enum gpr_index reg, unsigned int count)
{
    uint64_t step = (uint64_t)run->insn->op_size * count;

    if (run->cpu->rflags & RFLAGS_DF)
        step = -step;
    emu_write_gpr(run->cpu->gpr, reg, run->insn->addr_size, run->cpu->gpr[reg] + step);
}

/* The accesses of one iteration; nothing can fail any more. Returns false when the device is not
 * ready. */
static bool transfer(struct emu_run *run, const struct emu_span *src, const struct emu_span *dst)
{
    struct emu_cpu *cpu = run->cpu;
    unsigned int size = run->insn->op_size;
    uint16_t port = (uint16_t)cpu->gpr[GPR_RDX];
    uint64_t a = cpu->gpr[GPR_RAX] & emu_mask(size);
    uint32_t in = 0;

    if (string_ops[run->insn->op].source)
        a = emu_load(run, src);
    switch (run->insn->op) {
    case OP_MOVS:
    case OP_STOS: emu_store(run, dst, a); break;
    case OP_LODS: emu_write_gpr(cpu->gpr, GPR_RAX, size, a); break;
    case OP_CMPS:
    case OP_SCAS: emu_alu(OP_CMP, size, a, emu_load(run, dst), &cpu->rflags); break;
    case OP_INS:
        run->ops->io_in(run->ctx, port, size, &in, 1);
        emu_store(run, dst, in);
        break;
    default: return run->ops->io_out(run->ctx, port, size, &a, 1) == 1;
    }
    return true;
}

/* The next elements of an INS or OUTS that lie in one page, up to `max`; 0 where one at a time is
 * due. */
static unsigned int count_batch(const struct emu_run *run, enum seg_index seg, uint64_t offset,
                                unsigned int access, unsigned int max)
{
    unsigned int size = run->insn->op_size;
    uint64_t linear = 0, room, count;
    uint64_t behind = (emu_mask(run->insn->addr_size) - offset) / size; /* before it wraps around */

    if ((run->cpu->rflags & (RFLAGS_DF | RFLAGS_TF)) ||
        emu_linear(run, seg, offset, size, access, &linear) != EMU_DONE)
        return 0;
    room = MIN(PAGE_SIZE_4K - (linear & (PAGE_SIZE_4K - 1)), (uint64_t)EMU_STRING_BYTES);
    count = MIN(room / size, index_register(run, GPR_RCX));
    count = MIN(count, (uint64_t)max);
    return (unsigned int)(count > behind ? behind + 1 : count);
}

/* Several elements of an INS or OUTS at once, from or to RAM. Returns their number; 0: the next one
 * goes alone, which may raise a fault, or have to wait. */
static unsigned int batch(struct string_run *s, unsigned int max)
{
    struct emu_run *run = s->run;
    const struct emu_ops *ops = run->ops;
    bool in = run->insn->op == OP_INS;
    enum gpr_index reg = in ? GPR_RDI : GPR_RSI;
    enum seg_index seg = in ? SEG_ES : run->insn->mem.seg;
    unsigned int size = run->insn->op_size, access = in ? WALK_WRITE : 0;
    uint64_t offset = index_register(run, reg);
    unsigned int count = count_batch(run, seg, offset, access, max), bytes = count * size;
    uint16_t port = (uint16_t)run->cpu->gpr[GPR_RDX];
    uint8_t data[EMU_STRING_BYTES];
    struct emu_span span;

    if (count < 2 ||
        emu_map(run, seg, offset, bytes, access, in ? &s->dst_tlb : &s->src_tlb, &span) !=
            EMU_DONE ||
        ops->read_ram(run->ctx, span.gpa[0], data, bytes) != 0)
        return 0;
    if (in) {
        ops->io_in(run->ctx, port, size, data, count);
        ops->write(run->ctx, span.gpa[0], data, bytes);
    } else {
        count = ops->io_out(run->ctx, port, size, data, count);
    }
    advance(run, reg, count);
    return count;
}

static enum emu_result iterate(struct string_run *s)
{
    struct emu_run *run = s->run;
    unsigned int size = run->insn->op_size;
    struct emu_span src = {.len = {0}}, dst = {.len = {0}};
    enum emu_result result = EMU_DONE;

    if (s->op->source)
        result = emu_map(run, run->insn->mem.seg, index_register(run, GPR_RSI), size, 0,
                         &s->src_tlb, &src);
    if (result == EMU_DONE && s->op->destination)
        result = emu_map(run, SEG_ES, index_register(run, GPR_RDI), size,
                         s->op->writes ? WALK_WRITE : 0, &s->dst_tlb, &dst);
    if (result != EMU_DONE)
        return result;
    if (!transfer(run, &src, &dst))
        return EMU_WAIT;
    if (s->op->source)
        advance(run, GPR_RSI, 1);
    if (s->op->destination)
        advance(run, GPR_RDI, 1);
    return EMU_DONE;
}

/* So many iterations are made before the time is looked at again. */
#define STRETCH 128u

static unsigned int time_for(const struct emu_run *run, unsigned int count)
{
    count = MIN(count, STRETCH);
    return run->ops->time_for ? run->ops->time_for(run->ctx, count) : count;
}

enum emu_result emu_string(struct emu_run *run)
{
    const struct insn *insn = run->insn;
    struct string_run s = {.run = run, .op = &string_ops[insn->op]};
    bool repeat = insn->prefixes & (PREFIX_REP | PREFIX_REPNE);
    /* With TF set the guest gets a #DB after each iteration (SDM vol. 3, 17.3.1.2). */
    unsigned int limit = run->cpu->rflags & RFLAGS_TF ? 1 : EMU_MAX_ITERATIONS;
    bool batches = insn->op >= OP_INS;
    unsigned int first;

    if (repeat && !index_register(run, GPR_RCX))
        return EMU_DONE;
    first = repeat ? MAX(time_for(run, limit), 1u) : 1;
    for (unsigned int i = 0, allowed = first, done; i < limit; i += done) {
        enum emu_result result = EMU_DONE;

        if (repeat && i > 0 && (i == allowed || batches)) {
            allowed = i + time_for(run, limit - i);
            if (allowed == i)
                return EMU_RETRY;
        }
        done = repeat && batches ? batch(&s, allowed - i) : 0;
        if (done == 0) {
            result = iterate(&s);
            done = 1;
        }
        bool equal = run->cpu->rflags & RFLAGS_ZF;

        if (result != EMU_DONE || !repeat)
            return result;
        emu_write_gpr(run->cpu->gpr, GPR_RCX, insn->addr_size, run->cpu->gpr[GPR_RCX] - done);
        if (!index_register(run, GPR_RCX))
            return EMU_DONE;
        if (s.op->compares && equal != !!(insn->prefixes & PREFIX_REP))
            return EMU_DONE;
    }
    return EMU_RETRY;
}
