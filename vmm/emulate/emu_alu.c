/* Arithmetic and registers of the emulator. Flags as in SDM vol. 1, 3.4.3.1 and appendix A; where
 * the manuals call one undefined, the comments say what is done. */

#include "vmm/emulate/emu_internal.h"

#define STATUS_FLAGS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

/* Bit n: the number n has an odd number of ones. */
#define ODD_NIBBLES 0x6996u

static bool top_bit(uint64_t val, unsigned int size)
{
    return val >> (8 * size - 1) & 1;
}

static uint64_t result_flags(uint64_t val, unsigned int size)
{
    unsigned int nibble = (val ^ val >> 4) & 0xf;
    uint64_t flags = ODD_NIBBLES >> nibble & 1 ? 0 : RFLAGS_PF;

    if (!(val & emu_mask(size)))
        flags |= RFLAGS_ZF;
    if (top_bit(val, size))
        flags |= RFLAGS_SF;
    return flags;
}

static uint64_t add(unsigned int size, uint64_t a, uint64_t b, bool carry, uint64_t *flags)
{
    uint64_t sum = a + b + carry;
    uint64_t carries = (a & b) | ((a | b) & ~sum); /* out of each bit */

    *flags = result_flags(sum, size);
    if (top_bit(carries, size))
        *flags |= RFLAGS_CF;
    if (top_bit((a ^ sum) & (b ^ sum), size))
        *flags |= RFLAGS_OF;
    *flags |= (a ^ b ^ sum) & RFLAGS_AF; /* the carry into bit 4 */
    return sum;
}

static uint64_t subtract(unsigned int size, uint64_t a, uint64_t b, bool borrow, uint64_t *flags)
{
    uint64_t diff = a - b - borrow;
    uint64_t borrows = (~a & b) | ((~a | b) & diff);

    *flags = result_flags(diff, size);
    if (top_bit(borrows, size))
        *flags |= RFLAGS_CF;
    if (top_bit((a ^ b) & (a ^ diff), size))
        *flags |= RFLAGS_OF;
    *flags |= (a ^ b ^ diff) & RFLAGS_AF;
    return diff;
}
static_assert(RFLAGS_AF == 1u << 4, "AF has the place of the carry that it reports");

/* AF is undefined after these; CPUs clear it. */
static uint64_t logical(unsigned int size, uint64_t val, uint64_t *flags)
{
    *flags = result_flags(val, size);
    return val;
}

uint64_t emu_alu(enum insn_op op, unsigned int size, uint64_t a, uint64_t b, uint64_t *rflags)
{
    bool carry = *rflags & RFLAGS_CF;
    uint64_t affected = STATUS_FLAGS, flags = 0, val;

    switch (op) {
    case OP_ADD:
    case OP_XADD: val = add(size, a, b, false, &flags); break;
    case OP_ADC: val = add(size, a, b, carry, &flags); break;
    case OP_SUB:
    case OP_CMP:
    case OP_CMPXCHG: val = subtract(size, a, b, false, &flags); break;
    case OP_SBB: val = subtract(size, a, b, carry, &flags); break;
    case OP_AND:
    case OP_TEST: val = logical(size, a & b, &flags); break;
    case OP_OR: val = logical(size, a | b, &flags); break;
    case OP_XOR: val = logical(size, a ^ b, &flags); break;
    case OP_NEG: val = subtract(size, 0, a, false, &flags); break;
    case OP_INC:
        affected &= ~RFLAGS_CF;
        val = add(size, a, 1, false, &flags);
        break;
    case OP_DEC:
        affected &= ~RFLAGS_CF;
        val = subtract(size, a, 1, false, &flags);
        break;
    default: return ~a; /* NOT changes no flag */
    }
    *rflags = (*rflags & ~affected) | (flags & affected);
    return val & emu_mask(size);
}

uint64_t emu_bit_op(enum insn_op op, uint64_t val, unsigned int bit, uint64_t *rflags)
{
    uint64_t mask = BIT64(bit);

    /* OF, SF, AF and PF are undefined; they are left alone, as ZF must be. */
    *rflags = (*rflags & ~RFLAGS_CF) | (val & mask ? RFLAGS_CF : 0);
    switch (op) {
    case OP_BTS: return val | mask;
    case OP_BTR: return val & ~mask;
    case OP_BTC: return val ^ mask;
    default: return val;
    }
}

uint64_t emu_get_reg(const struct emu_cpu *cpu, const struct insn_operand *operand)
{
    uint64_t val = cpu->gpr[operand->reg];

    if (operand->high_byte)
        val >>= 8;
    return val & emu_mask(operand->size);
}

void emu_set_reg(struct emu_cpu *cpu, const struct insn_operand *operand, uint64_t val)
{
    if (operand->high_byte)
        cpu->gpr[operand->reg] = (cpu->gpr[operand->reg] & ~0xff00ull) | (val & 0xff) << 8;
    else
        emu_write_gpr(cpu->gpr, operand->reg, operand->size, val);
}
