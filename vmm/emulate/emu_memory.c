/* The emulator's way to memory: segmentation, paging, accesses. */

#include "lib/error.h"
#include "vmm/emulate/emu_internal.h"
#include "vmm/emulate/walk.h"

#define LINEAR_32 0xffffffffull

enum emu_result emu_raise(const struct emu_run *run, enum exception_vector vector)
{
    *run->fault = (struct emu_fault){.vector = (uint8_t)vector, .has_error = vector != EXC_UD};
    return EMU_FAULT;
}

static bool is_canonical(const struct emu_cpu *cpu, uint64_t linear)
{
    unsigned int shift = cpu->cr4 & CR4_LA57 ? 64 - 57 : 64 - 48;

    return (uint64_t)((int64_t)(linear << shift) >> shift) == linear;
}

static bool within_limit(const struct segment *seg, uint64_t first, uint64_t last, bool data)
{
    if (data && !(seg->attrib & SEG_ATTR_CODE) && (seg->attrib & SEG_ATTR_EXPDOWN))
        return first > seg->limit && last <= (seg->attrib & SEG_ATTR_DB ? 0xffffffffu : 0xffffu);
    return last <= seg->limit;
}

/* Checks outside 64-bit mode (SDM vol. 3, 5.3 and 5.4). */
static bool segment_allows(const struct emu_cpu *cpu, enum seg_index index, uint64_t offset,
                           unsigned int size, unsigned int access, enum exception_vector *vector)
{
    const struct segment *seg = &cpu->seg[index];
    bool protected = (cpu->cr0 & CR0_PE) && !(cpu->rflags & RFLAGS_VM);

    *vector = index == SEG_SS ? EXC_SS : EXC_GP;
    if (protected && !(access & WALK_FETCH)) {
        bool code = seg->attrib & SEG_ATTR_CODE;

        if (!(seg->attrib & SEG_ATTR_P))
            return false;
        /* The same bit of the type: readable code, writable data. */
        if ((access & WALK_WRITE) ? code || !(seg->attrib & SEG_ATTR_WRITE)
                                  : code && !(seg->attrib & SEG_ATTR_READ)) {
            *vector = EXC_GP;
            return false;
        }
    }
    /* CS keeps a data type through a switch to protected mode; only data accesses expand down. */
    return within_limit(seg, offset, offset + size - 1, protected && !(access & WALK_FETCH));
}

enum emu_result emu_linear(const struct emu_run *run, enum seg_index seg, uint64_t offset,
                           unsigned int size, unsigned int access, uint64_t *linear)
{
    const struct emu_cpu *cpu = run->cpu;
    enum exception_vector vector;

    if (emu_mode(cpu) == MODE_64) {
        *linear = offset + (seg == SEG_FS || seg == SEG_GS ? cpu->seg[seg].base : 0);
        if (!is_canonical(cpu, *linear) || !is_canonical(cpu, *linear + size - 1))
            return emu_raise(run, seg == SEG_SS ? EXC_SS : EXC_GP);
        return EMU_DONE;
    }
    if (!segment_allows(cpu, seg, offset, size, access, &vector))
        return emu_raise(run, vector);
    *linear = (cpu->seg[seg].base + offset) & LINEAR_32;
    return EMU_DONE;
}

enum emu_result emu_translate(const struct emu_run *run, uint64_t linear, unsigned int access,
                              uint64_t *gpa)
{
    const struct emu_cpu *cpu = run->cpu;
    const struct walk_state state = {
        .cr0 = cpu->cr0,
        .cr3 = cpu->cr3,
        .cr4 = cpu->cr4,
        .efer = cpu->efer,
        .rflags_ac = cpu->rflags & RFLAGS_AC,
        .cpl = cpu->cpl,
    };
    struct walk_result result;
    int err;

    if (cpu->cpl == 3)
        access |= WALK_USER;
    err = guest_walk(&state, linear, access, run->ops->read_pte, run->ctx, &result);
    if (err == -BH_EFAULT) {
        *run->fault = (struct emu_fault){
            .vector = EXC_PF, .has_error = true, .error_code = result.pf_error, .cr2 = linear};
        return EMU_FAULT;
    }
    *gpa = result.gpa;
    return err ? EMU_UNKNOWN : EMU_DONE;
}

/* The hint is for the instruction that exited. Should another vCPU have overwritten it since, a
 * read must not become a write to a page that the hardware has not found writable. */
static bool hint_fits(const struct emu_run *run, uint64_t linear, unsigned int access)
{
    const struct emu_hint *hint = &run->cpu->hint;

    return hint->valid && (hint->write || !(access & WALK_WRITE)) &&
           ((hint->gpa ^ linear) & (PAGE_SIZE_4K - 1)) == 0;
}

static enum emu_result translate_cached(struct emu_run *run, uint64_t linear, unsigned int access,
                                        struct emu_tlb *tlb, uint64_t *gpa)
{
    uint64_t offset = linear & (PAGE_SIZE_4K - 1);
    enum emu_result result;

    if (tlb->valid && tlb->linear_page == linear - offset) {
        *gpa = tlb->gpa_page + offset;
        return EMU_DONE;
    }
    result = emu_translate(run, linear, access, gpa);
    if (result == EMU_DONE)
        *tlb = (struct emu_tlb){linear - offset, *gpa - offset, true};
    return result;
}

enum emu_result emu_map(struct emu_run *run, enum seg_index seg, uint64_t offset, unsigned int size,
                        unsigned int access, struct emu_tlb *tlb, struct emu_span *span)
{
    struct emu_tlb none = {.valid = false};
    uint64_t linear = 0, room;
    enum emu_result result = emu_linear(run, seg, offset, size, access, &linear);

    if (result != EMU_DONE)
        return result;
    room = PAGE_SIZE_4K - (linear & (PAGE_SIZE_4K - 1));
    span->len[0] = (uint8_t)MIN(room, (uint64_t)size);
    span->len[1] = (uint8_t)(size - span->len[0]);
    result = translate_cached(run, linear, access, tlb ? tlb : &none, &span->gpa[0]);
    if (result != EMU_DONE || !span->len[1])
        return result;

    linear += room;
    if (run->insn->mode != MODE_64)
        linear &= LINEAR_32;
    return translate_cached(run, linear, access, tlb ? tlb : &none, &span->gpa[1]);
}

enum emu_result emu_map_operand(struct emu_run *run, unsigned int size, unsigned int access,
                                uint64_t distance, struct emu_span *span)
{
    const struct insn *insn = run->insn;
    uint64_t address = emu_effective_address(insn, run->cpu->gpr, run->cpu->rip) + distance;
    uint64_t offset = address & emu_mask(insn->addr_size);
    uint64_t linear = 0;
    enum emu_result result = emu_linear(run, insn->mem.seg, offset, size, access, &linear);
    bool crosses = (linear & (PAGE_SIZE_4K - 1)) + size > PAGE_SIZE_4K;

    if (result != EMU_DONE)
        return result;
    /* PUSH and POP have a second memory operand, to which the hint may belong. */
    if (!crosses && insn->op != OP_PUSH && insn->op != OP_POP && hint_fits(run, linear, access)) {
        *span = (struct emu_span){.gpa = {run->cpu->hint.gpa}, .len = {(uint8_t)size}};
        return EMU_DONE;
    }
    return emu_map(run, insn->mem.seg, offset, size, access, NULL, span);
}

uint64_t emu_load(const struct emu_run *run, const struct emu_span *span)
{
    uint64_t val = 0;

    run->ops->read(run->ctx, span->gpa[0], &val, span->len[0]);
    if (span->len[1])
        run->ops->read(run->ctx, span->gpa[1], (uint8_t *)&val + span->len[0], span->len[1]);
    return val;
}

void emu_store(const struct emu_run *run, const struct emu_span *span, uint64_t val)
{
    run->ops->write(run->ctx, span->gpa[0], &val, span->len[0]);
    if (span->len[1])
        run->ops->write(run->ctx, span->gpa[1], (uint8_t *)&val + span->len[0], span->len[1]);
}
