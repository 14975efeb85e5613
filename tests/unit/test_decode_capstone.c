/* Compares the decoder with capstone: all opcodes with a spread of prefixes, modrm and SIB bytes,
 * and pseudo-random bytes, in the three modes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <capstone/capstone.h>

#include "arch/x86/regs.h"
#include "arch/x86/segment.h"
#include "lib/error.h"
#include "vmm/emulate/decode.h"

#define MIN_COMPARED    100000
#define RANDOM_PER_MODE 60000
#define MAX_REPORTS     40

static csh handles[3];
static cs_insn *cs;
static unsigned long compared, described, both_reject, length_only, excepted, mismatches;
static uint64_t seed = 0x9e3779b97f4a7c15ull;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static const uint16_t regs64[16] = {X86_REG_RAX, X86_REG_RCX, X86_REG_RDX, X86_REG_RBX,
                                    X86_REG_RSP, X86_REG_RBP, X86_REG_RSI, X86_REG_RDI,
                                    X86_REG_R8,  X86_REG_R9,  X86_REG_R10, X86_REG_R11,
                                    X86_REG_R12, X86_REG_R13, X86_REG_R14, X86_REG_R15};
static const uint16_t regs32[16] = {X86_REG_EAX,  X86_REG_ECX,  X86_REG_EDX,  X86_REG_EBX,
                                    X86_REG_ESP,  X86_REG_EBP,  X86_REG_ESI,  X86_REG_EDI,
                                    X86_REG_R8D,  X86_REG_R9D,  X86_REG_R10D, X86_REG_R11D,
                                    X86_REG_R12D, X86_REG_R13D, X86_REG_R14D, X86_REG_R15D};
static const uint16_t regs16[16] = {X86_REG_AX,   X86_REG_CX,   X86_REG_DX,   X86_REG_BX,
                                    X86_REG_SP,   X86_REG_BP,   X86_REG_SI,   X86_REG_DI,
                                    X86_REG_R8W,  X86_REG_R9W,  X86_REG_R10W, X86_REG_R11W,
                                    X86_REG_R12W, X86_REG_R13W, X86_REG_R14W, X86_REG_R15W};
static const uint16_t regs8[16] = {X86_REG_AL,   X86_REG_CL,   X86_REG_DL,   X86_REG_BL,
                                   X86_REG_SPL,  X86_REG_BPL,  X86_REG_SIL,  X86_REG_DIL,
                                   X86_REG_R8B,  X86_REG_R9B,  X86_REG_R10B, X86_REG_R11B,
                                   X86_REG_R12B, X86_REG_R13B, X86_REG_R14B, X86_REG_R15B};
static const uint16_t regs_high[4] = {X86_REG_AH, X86_REG_CH, X86_REG_DH, X86_REG_BH};
static const uint16_t segs[SEG_COUNT] = {X86_REG_ES, X86_REG_CS, X86_REG_SS,
                                         X86_REG_DS, X86_REG_FS, X86_REG_GS};

static unsigned int reg_of(unsigned int size, unsigned int index)
{
    switch (size) {
    case 1: return regs8[index];
    case 2: return regs16[index];
    case 4: return regs32[index];
    default: return regs64[index];
    }
}

static void report(const uint8_t *bytes, enum cpu_mode mode, const struct insn *insn, int err,
                   bool cs_ok, const char *what)
{
    if (mismatches++ >= MAX_REPORTS)
        return;
    printf("mode %d:", 16 << mode);
    for (int i = 0; i < 15; i++)
        printf(" %02x", bytes[i]);
    printf("  %s: ours %d len %d op %d size %d; capstone ", what, err, insn->length, insn->op,
           insn->op_size);
    if (cs_ok)
        printf("len %d %s %s\n", cs->size, cs->mnemonic, cs->op_str);
    else
        printf("rejects\n");
}
static const cs_x86_op *find_operand(x86_op_type type)
{
    const cs_x86 *x86 = &cs->detail->x86;

    for (int i = 0; i < x86->op_count; i++)
        if (x86->operands[i].type == type)
            return &x86->operands[i];
    return NULL;
}

/* In 64-bit mode capstone names the overrides that have no effect there, and so may name one where
 * an earlier FS or GS is in force (APM vol. 3, 1.2.4). */
static bool is_null_segment(const struct insn *insn, unsigned int seg)
{
    return insn->mode == MODE_64 &&
           (seg == X86_REG_ES || seg == X86_REG_CS || seg == X86_REG_SS || seg == X86_REG_DS);
}

/* capstone 4 takes the operand size wrongly:
 * - with 66 together with F2 or F3 it forgets 66;
 * - with 66 together with REX.W, which wins (SDM vol. 2, 2.2.1.2), for PUSH, POP, INS and OUTS;
 * - for MOVSXD without REX.W it names a 64-bit register. */
static bool is_size_exception(const struct insn *insn)
{
    bool opsize = insn->prefixes & PREFIX_OPSIZE, wide = (insn->rex & REX_W) && opsize;

    return (opsize && (insn->prefixes & (PREFIX_REP | PREFIX_REPNE))) ||
           (wide && (insn->op == OP_PUSH || insn->op == OP_POP || insn->op == OP_INS ||
                     insn->op == OP_OUTS)) ||
           (insn->map == MAP_ONE_BYTE && insn->opcode == 0x63 && !(insn->rex & REX_W));
}

/* What the decoder must know: each of these with an operand in memory. `insn` holds what was
 * decoded up to an error. */
static bool is_wanted(const struct insn *insn)
{
    if (!find_operand(X86_OP_MEM))
        return false;
    switch (cs->id) {
    /* With a 66, F2 or F3 prefix it is undefined (SDM vol. 2, 3.1.1.1 "NP"). */
    case X86_INS_MOVNTI: return !(insn->prefixes & (PREFIX_OPSIZE | PREFIX_REP | PREFIX_REPNE));
    case X86_INS_MOV: return insn->opcode != 0x8c && insn->opcode != 0x8e; /* segment registers */
    case X86_INS_MOVZX:
    case X86_INS_MOVSX:
    case X86_INS_MOVSXD:
    case X86_INS_ADD:
    case X86_INS_OR:
    case X86_INS_ADC:
    case X86_INS_SBB:
    case X86_INS_AND:
    case X86_INS_SUB:
    case X86_INS_XOR:
    case X86_INS_CMP: return insn->opcode != 0x82; /* an alias of 80 that nothing uses */
    case X86_INS_TEST:
    case X86_INS_NOT:
    case X86_INS_NEG:
    case X86_INS_INC:
    case X86_INS_DEC:
    case X86_INS_XCHG:
    case X86_INS_CMPXCHG:
    case X86_INS_XADD:
    case X86_INS_BT:
    case X86_INS_BTS:
    case X86_INS_BTR:
    case X86_INS_BTC:
    case X86_INS_PUSH:
    case X86_INS_POP:
    case X86_INS_MOVSB:
    case X86_INS_MOVSW:
    case X86_INS_STOSB:
    case X86_INS_STOSW:
    case X86_INS_STOSD:
    case X86_INS_STOSQ:
    case X86_INS_LODSB:
    case X86_INS_LODSW:
    case X86_INS_LODSD:
    case X86_INS_LODSQ:
    case X86_INS_SCASB:
    case X86_INS_SCASW:
    case X86_INS_SCASD:
    case X86_INS_SCASQ:
    case X86_INS_CMPSB:
    case X86_INS_CMPSW:
    case X86_INS_INSB:
    case X86_INS_INSW:
    case X86_INS_INSD:
    case X86_INS_OUTSB:
    case X86_INS_OUTSW:
    case X86_INS_OUTSD: return true;
    default: return false;
    }
}

static const char *compare_memory(const struct insn *insn, unsigned int size)
{
    const cs_x86_op *op = find_operand(X86_OP_MEM);
    const struct insn_mem *mem = &insn->mem;
    unsigned int base = 0, index = 0, seg = 0;
    uint64_t mask = insn->addr_size == 8 ? ~0ull : (1ull << (8 * insn->addr_size)) - 1;

    if (!op)
        return "no memory operand";
    if (mem->base == INSN_REG_RIP)
        base = insn->addr_size == 4 ? X86_REG_EIP : X86_REG_RIP;
    else if (mem->base != INSN_NO_REG)
        base = reg_of(insn->addr_size, mem->base);
    if (mem->index != INSN_NO_REG)
        index = reg_of(insn->addr_size, mem->index);
    if (insn->prefixes & PREFIX_SEGMENT)
        seg = segs[mem->seg];
    if (op->size != size)
        return "memory operand size";
    if (op->mem.base != base)
        return "base";
    /* RIZ and EIZ stand for no index. */
    if (op->mem.index != index &&
        (index || (op->mem.index != X86_REG_RIZ && op->mem.index != X86_REG_EIZ)))
        return "index";
    if (index && op->mem.scale != mem->scale)
        return "scale";
    if (((uint64_t)op->mem.disp ^ (uint64_t)mem->disp) & mask)
        return "displacement";
    return op->mem.segment == seg || is_null_segment(insn, op->mem.segment) ? NULL : "segment";
}

static const char *compare_operand(const struct insn *insn, const struct insn_operand *operand)
{
    const cs_x86 *x86 = &cs->detail->x86;
    const cs_x86_op *op;
    unsigned int reg, size;

    switch (operand->kind) {
    case OPERAND_MEM: return compare_memory(insn, operand->size);
    case OPERAND_IMM:
        op = find_operand(X86_OP_IMM);
        if (!op)
            return "no immediate";
        /* capstone does not extend the bit number of BT to BTC. */
        size = insn->op >= OP_BT && insn->op <= OP_BTC ? 1 : insn->op_size;
        return ((uint64_t)op->imm ^ insn->imm) << (64 - 8 * size) ? "immediate" : NULL;
    case OPERAND_REG:
        reg = operand->high_byte ? regs_high[operand->reg] : reg_of(operand->size, operand->reg);
        for (int i = 0; i < x86->op_count; i++)
            if (x86->operands[i].type == X86_OP_REG && x86->operands[i].reg == reg)
                return NULL;
        return "register";
    case OPERAND_STR_SRC:
    case OPERAND_STR_DST:
        reg = reg_of(insn->addr_size, operand->kind == OPERAND_STR_SRC ? GPR_RSI : GPR_RDI);
        for (int i = 0; i < x86->op_count; i++)
            if (x86->operands[i].type == X86_OP_MEM && x86->operands[i].mem.base == reg)
                return x86->operands[i].size == operand->size ? NULL : "string operand size";
        return "string operand";
    default: return NULL;
    }
}

static void compare(const uint8_t *bytes, enum cpu_mode mode)
{
    const uint8_t *code = bytes;
    size_t size = INSN_MAX_LENGTH;
    uint64_t address = 0;
    struct insn insn;
    int err = insn_decode(&insn, bytes, INSN_MAX_LENGTH, mode);
    bool cs_ok = cs_disasm_iter(handles[mode], &code, &size, &address, cs);
    const char *diff = NULL;

    if (err && !cs_ok) {
        both_reject++;
        return;
    }
    if (err && !is_wanted(&insn)) {
        excepted++;
        return;
    }
    /* The decoder need not know which members of a group or of the SSE maps exist as long as the
     * emulator does not execute them, and illegal LOCKs are found by the emulator. */
    if (!err && !cs_ok && (insn.op == OP_OTHER || (insn.prefixes & PREFIX_LOCK))) {
        length_only++;
        return;
    }
    compared++;
    if (!cs_ok) {
        diff = "only ours accepts";
    } else if (err) {
        diff = "only capstone accepts";
    } else if (insn.length != cs->size) {
        diff = "length";
    } else if (insn.op != OP_OTHER && !is_size_exception(&insn)) {
        described++;
        diff = compare_operand(&insn, &insn.dst);
        if (!diff)
            diff = compare_operand(&insn, &insn.src);
    }
    if (diff)
        report(bytes, mode, &insn, err, cs_ok, diff);
}

static void fill(uint8_t *bytes, size_t from)
{
    for (size_t i = from; i < INSN_MAX_LENGTH; i++)
        bytes[i] = (uint8_t)(next_random() >> 24);
}

static void compare_opcode(enum cpu_mode mode, const uint8_t *prefix, size_t plen, unsigned int map,
                           unsigned int opcode)
{
    static const uint8_t escapes[4][3] = {{0}, {1, 0x0f}, {2, 0x0f, 0x38}, {2, 0x0f, 0x3a}};
    static const uint8_t modrms[] = {0x00, 0x04, 0x05, 0x0e, 0x13, 0x1c, 0x26, 0x2d,
                                     0x33, 0x44, 0x4d, 0x56, 0x5f, 0x65, 0x6b, 0x7c,
                                     0x84, 0x8c, 0x95, 0x9e, 0xa7, 0xab, 0xb4, 0xbd,
                                     0xc1, 0xca, 0xd4, 0xdd, 0xe6, 0xef, 0xf0, 0xf8};
    uint8_t bytes[INSN_MAX_LENGTH];

    for (size_t i = 0; i < ARRAY_SIZE(modrms); i++) {
        size_t n = 0;

        for (; n < plen; n++)
            bytes[n] = prefix[n];
        for (size_t e = 1; e <= escapes[map][0]; e++)
            bytes[n++] = escapes[map][e];
        bytes[n++] = (uint8_t)opcode;
        bytes[n++] = modrms[i];
        fill(bytes, n);
        compare(bytes, mode);
    }
}

/* A count and the prefixes; those with REX, for 64-bit mode only, come last. */
static const uint8_t prefixes[][3] = {
    {0},       {1, 0x66},       {1, 0x67},       {1, 0xf2},       {1, 0xf3}, {1, 0xf0},
    {1, 0x64}, {1, 0x2e},       {2, 0x66, 0x67}, {2, 0x65, 0x66}, {1, 0x48}, {1, 0x45},
    {1, 0x4f}, {2, 0x66, 0x4a}, {2, 0x48, 0x66}, {2, 0x67, 0x43},
};
#define REX_COMBINATIONS 6

static void test_systematic(void **state)
{
    (void)state;
    for (unsigned int mode = MODE_16; mode <= MODE_64; mode++) {
        size_t count = ARRAY_SIZE(prefixes) - (mode == MODE_64 ? 0 : REX_COMBINATIONS);

        for (size_t p = 0; p < count; p++)
            for (unsigned int map = 0; map < 4; map++)
                for (unsigned int opcode = 0; opcode < 256; opcode++)
                    compare_opcode(mode, prefixes[p] + 1, prefixes[p][0], map, opcode);
    }
    assert_int_equal(mismatches, 0);
}

static void test_random(void **state)
{
    uint8_t bytes[INSN_MAX_LENGTH];

    (void)state;
    for (unsigned int mode = MODE_16; mode <= MODE_64; mode++) {
        for (unsigned int i = 0; i < RANDOM_PER_MODE; i++) {
            fill(bytes, 0);
            compare(bytes, mode);
        }
    }
    assert_int_equal(mismatches, 0);
}

/* Guards against a broken setup in which nothing is compared. */
static void test_count(void **state)
{
    (void)state;
    assert_true(compared >= MIN_COMPARED);
    assert_true(described >= MIN_COMPARED);
}

static int setup(void **state)
{
    static const cs_mode modes[3] = {CS_MODE_16, CS_MODE_32, CS_MODE_64};

    (void)state;
    for (int i = 0; i < 3; i++) {
        if (cs_open(CS_ARCH_X86, modes[i], &handles[i]) != CS_ERR_OK)
            return -1;
        cs_option(handles[i], CS_OPT_DETAIL, CS_OPT_ON);
    }
    cs = cs_malloc(handles[0]);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cs_free(cs, 1);
    for (int i = 0; i < 3; i++)
        cs_close(&handles[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_systematic),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_count),
    };
    int failed = cmocka_run_group_tests(tests, setup, teardown);

    printf("capstone: %lu encodings compared, %lu of them with operands, %lu mismatches; "
           "rejected by both %lu, undefined to capstone only %lu, exceptions %lu\n",
           compared, described, mismatches, both_reject, length_only, excepted);
    return failed;
}
