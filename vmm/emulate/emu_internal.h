#ifndef BULKHEAD_VMM_EMULATE_EMU_INTERNAL_H
#define BULKHEAD_VMM_EMULATE_EMU_INTERNAL_H

/* What the emulator's files share. The functions return EMU_DONE for "go on"; anything else is to
 * be handed up unchanged. */

#include "vmm/emulate/emu_mov.h"
#include "vmm/emulate/emulate.h"

struct emu_run {
    struct emu_cpu *cpu;
    const struct insn *insn;
    const struct emu_ops *ops;
    void *ctx;
    struct emu_fault *fault;
};

/* An operand in guest-physical memory: one part, or two when it crosses a page. */
struct emu_span {
    uint64_t gpa[2];
    uint8_t len[2];
};

/* The last translation of a string instruction's operand. It lives no longer than one emu_execute,
 * as a TLB entry might. */
struct emu_tlb {
    uint64_t linear_page;
    uint64_t gpa_page;
    bool valid;
};

static inline uint64_t emu_mask(unsigned int bytes)
{
    return bytes >= 8 ? ~0ull : BIT64(8 * bytes) - 1;
}

static inline uint64_t emu_sign_extend(uint64_t val, unsigned int bytes)
{
    unsigned int shift = 64 - 8 * bytes;

    return (uint64_t)((int64_t)(val << shift) >> shift);
}

/* Writes the low `size` bytes of a register; 4 bytes clear the upper half (SDM vol. 1, 3.4.1.1). */
static inline void emu_write_gpr(uint64_t *gpr, enum gpr_index reg, unsigned int size, uint64_t val)
{
    uint64_t mask = emu_mask(size);
    uint64_t kept = size == 4 ? 0 : gpr[reg] & ~mask;

    gpr[reg] = kept | (val & mask);
}

/* emu_memory.c */

/* Fills *fault and returns EMU_FAULT. For vectors with error code 0 (#GP, #SS) or without (#UD). */
enum emu_result emu_raise(const struct emu_run *run, enum exception_vector vector);

/* The linear address of `size` bytes at seg:offset, after the checks of segmentation or of
 * canonical form. `access` is of WALK_*; a fetch is checked against CS's limit only. */
enum emu_result emu_linear(const struct emu_run *run, enum seg_index seg, uint64_t offset,
                           unsigned int size, unsigned int access, uint64_t *linear);

/* Walks the guest's tables for one address. */
enum emu_result emu_translate(const struct emu_run *run, uint64_t linear, unsigned int access,
                              uint64_t *gpa);

/* Checks and translates an operand as a whole, before any of it is accessed. `access` is 0 or
 * WALK_WRITE. `tlb` may be NULL. */
enum emu_result emu_map(struct emu_run *run, enum seg_index seg, uint64_t offset, unsigned int size,
                        unsigned int access, struct emu_tlb *tlb, struct emu_span *span);

/* The same for insn.mem; `distance` is added to its address. */
enum emu_result emu_map_operand(struct emu_run *run, unsigned int size, unsigned int access,
                                uint64_t distance, struct emu_span *span);

uint64_t emu_load(const struct emu_run *run, const struct emu_span *span);
void emu_store(const struct emu_run *run, const struct emu_span *span, uint64_t val);

/* emu_alu.c */

/* Computes `op`, one of ADD..DEC and CMPXCHG and XADD's sum, on operands of `size` bytes and sets
 * the status flags in *rflags. CMP and TEST return what they computed, too. */
uint64_t emu_alu(enum insn_op op, unsigned int size, uint64_t a, uint64_t b, uint64_t *rflags);

/* BT to BTC on bit `bit` of `val`: returns the new value. */
uint64_t emu_bit_op(enum insn_op op, uint64_t val, unsigned int bit, uint64_t *rflags);

uint64_t emu_get_reg(const struct emu_cpu *cpu, const struct insn_operand *operand);
void emu_set_reg(struct emu_cpu *cpu, const struct insn_operand *operand, uint64_t val);

/* emu_string.c: a string instruction with its REP prefix; EMU_DONE when rip may advance. */
enum emu_result emu_string(struct emu_run *run);

#endif
