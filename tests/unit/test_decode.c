/* The decoder against cases worked out by hand from the manuals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/regs.h"
#include "arch/x86/segment.h"
#include "lib/error.h"
#include "vmm/emulate/decode.h"

#define NONE INSN_NO_REG
#define RIP  INSN_REG_RIP

struct length_case {
    enum cpu_mode mode;
    const char *bytes; /* hexadecimal */
    int length;        /* or a negative error */
};

static size_t parse_hex(const char *text, uint8_t *bytes, size_t max)
{
    size_t n = 0;

    while (*text) {
        if (*text == ' ') {
            text++;
            continue;
        }
        char digits[3] = {text[0], text[1], 0};
        assert_true(n < max);
        bytes[n++] = (uint8_t)strtoul(digits, NULL, 16);
        text += 2;
    }
    return n;
}

/* Decodes from an allocation of exactly the right size, so that ASan sees any read beyond. */
static int decode_hex(struct insn *insn, const char *text, enum cpu_mode mode)
{
    uint8_t bytes[32];
    size_t len = parse_hex(text, bytes, sizeof(bytes));
    uint8_t *copy = malloc(len ? len : 1);
    int err;

    memcpy(copy, bytes, len);
    err = insn_decode(insn, copy, len, mode);
    free(copy);
    return err;
}

static const struct length_case length_cases[] = {
    /* immediates by operand size */
    {MODE_16, "05 34 12", 3},
    {MODE_16, "66 05 78 56 34 12", 6},
    {MODE_32, "05 78 56 34 12", 5},
    {MODE_32, "66 05 34 12", 4},
    {MODE_64, "48 05 78 56 34 12", 6},
    /* moffs by address size */
    {MODE_16, "a0 34 12", 3},
    {MODE_16, "67 a0 78 56 34 12", 6},
    {MODE_32, "a3 78 56 34 12", 5},
    {MODE_32, "67 a3 34 12", 4},
    {MODE_64, "a1 08 07 06 05 04 03 02 01", 9},
    {MODE_64, "67 48 a1 04 03 02 01", 7},
    /* modrm and SIB */
    {MODE_16, "8b 06 34 12", 4},
    {MODE_16, "8b 46 00", 3},
    {MODE_16, "8b 87 00 10", 4},
    {MODE_16, "67 8b 04 25 01 02 03 04", 8},
    {MODE_32, "8b 05 01 02 03 04", 6},
    {MODE_32, "8b 04 24", 3},
    {MODE_32, "8b 44 24 08", 4},
    {MODE_32, "8b 84 24 01 02 03 04", 7},
    {MODE_32, "67 8b 47 08", 4},
    {MODE_64, "41 8b 45 00", 4},
    {MODE_64, "43 8b 04 25 01 02 03 04", 8},
    /* groups whose length depends on the member */
    {MODE_32, "f6 00 01", 3},
    {MODE_32, "f6 08 01", 3},
    {MODE_32, "f6 10", 2},
    {MODE_32, "f7 00 01 02 03 04", 6},
    {MODE_32, "66 f7 00 01 02", 5},
    {MODE_64, "48 f7 00 01 02 03 04", 7},
    {MODE_32, "f7 20", -BH_EINVAL},
    {MODE_32, "c7 f8 01 02 03 04", -BH_EINVAL}, /* XBEGIN */
    {MODE_32, "c7 38 01 02 03 04", -BH_EINVAL},
    {MODE_32, "fe 10", -BH_EINVAL},
    {MODE_32, "ff 38", -BH_EINVAL},
    {MODE_32, "fe 30", -BH_EINVAL},
    {MODE_32, "0f ba 00 01", -BH_EINVAL},
    /* the 0F map */
    {MODE_64, "0f a2", 2},
    {MODE_64, "0f 01 d9", 3},
    {MODE_64, "0f 20 00", 3}, /* mod is ignored: no displacement */
    {MODE_64, "0f 22 85", 3},
    {MODE_64, "44 0f 22 c0", 4},
    {MODE_64, "0f 04", -BH_EINVAL},
    {MODE_64, "0f ff", -BH_EINVAL},
    /* what is not decoded */
    {MODE_64, "90", -BH_EINVAL},
    {MODE_64, "c5 f8 77", -BH_EINVAL},
    {MODE_64, "62 f1 7c 48 10 00", -BH_EINVAL},
    {MODE_64, "66 0f 3a 0f c1 08", -BH_EINVAL},
    {MODE_64, "8f 08", -BH_EINVAL}, /* XOP */
    /* MOVNTI takes no prefix that other instructions of its place have */
    {MODE_64, "66 0f c3 08", -BH_EINVAL},
    {MODE_64, "f3 0f c3 08", -BH_EINVAL},
    /* REX only counts immediately before the opcode */
    {MODE_64, "48 66 05 01 02", 5},
    {MODE_64, "48 40 05 01 02 03 04", 7},
    {MODE_64, "66 48 05 01 02 03 04", 7},
    /* at the limit of 15 bytes */
    {MODE_64, "66 66 66 66 66 66 66 66 66 66 66 66 66 66 a4", 15},
    {MODE_64, "66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 a4", -BH_EINVAL},
    {MODE_64, "66 66 66 66 66 66 66 66 66 66 66 66 66 05 01 02", -BH_EINVAL},
    {MODE_64, "66 66 66 66 66 66 66 66 66 66 66 66 05 01 02", 15},
    /* cut short */
    {MODE_64, "", -BH_ERANGE},
    {MODE_64, "66", -BH_ERANGE},
    {MODE_64, "48", -BH_ERANGE},
    {MODE_64, "0f", -BH_ERANGE},
    {MODE_64, "8b", -BH_ERANGE},
    {MODE_64, "8b 04", -BH_ERANGE},
    {MODE_64, "8b 04 25 01 02 03", -BH_ERANGE},
    {MODE_64, "05 01 02 03", -BH_ERANGE},
};

static void test_lengths(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(length_cases); i++) {
        const struct length_case *c = &length_cases[i];
        struct insn insn;
        int err = decode_hex(&insn, c->bytes, c->mode);
        int got = err ? err : insn.length;

        if (got != c->length)
            fail_msg("mode %d, %s: %d instead of %d", 16 << c->mode, c->bytes, got, c->length);
    }
}

struct mem_case {
    enum cpu_mode mode;
    const char *bytes;
    uint8_t base, index, scale, seg, addr_size;
    int64_t disp;
};

static const struct mem_case mem_cases[] = {
    {MODE_16, "8a 00", GPR_RBX, GPR_RSI, 1, SEG_DS, 2, 0},
    {MODE_16, "8a 42 fe", GPR_RBP, GPR_RSI, 1, SEG_SS, 2, -2},
    {MODE_16, "8a 43 01", GPR_RBP, GPR_RDI, 1, SEG_SS, 2, 1},
    {MODE_16, "8a 04", GPR_RSI, NONE, 1, SEG_DS, 2, 0},
    {MODE_16, "8a 06 00 80", NONE, NONE, 1, SEG_DS, 2, -0x8000},
    {MODE_16, "8a 86 00 10", GPR_RBP, NONE, 1, SEG_SS, 2, 0x1000},
    {MODE_16, "26 8a 46 00", GPR_RBP, NONE, 1, SEG_ES, 2, 0},
    {MODE_16, "67 8a 45 00", GPR_RBP, NONE, 1, SEG_SS, 4, 0},
    {MODE_32, "8a 00", GPR_RAX, NONE, 1, SEG_DS, 4, 0},
    {MODE_32, "8a 45 00", GPR_RBP, NONE, 1, SEG_SS, 4, 0},
    {MODE_32, "8a 04 24", GPR_RSP, NONE, 1, SEG_SS, 4, 0},
    {MODE_32, "8a 04 6d 00 00 00 00", NONE, GPR_RBP, 2, SEG_DS, 4, 0},
    {MODE_32, "8a 44 c8 ff", GPR_RAX, GPR_RCX, 8, SEG_DS, 4, -1},
    {MODE_32, "65 8a 04 24", GPR_RSP, NONE, 1, SEG_GS, 4, 0},
    {MODE_32, "26 64 8a 00", GPR_RAX, NONE, 1, SEG_FS, 4, 0},
    {MODE_64, "8a 05 f0 ff ff ff", RIP, NONE, 1, SEG_DS, 8, -16},
    {MODE_64, "67 8a 05 10 00 00 00", RIP, NONE, 1, SEG_DS, 4, 16},
    {MODE_64, "41 8a 04 24", GPR_R12, NONE, 1, SEG_DS, 8, 0},
    {MODE_64, "41 8a 45 08", GPR_R13, NONE, 1, SEG_DS, 8, 8},
    {MODE_64, "42 8a 04 20", GPR_RAX, GPR_R12, 1, SEG_DS, 8, 0},
    {MODE_64, "8a 04 20", GPR_RAX, NONE, 1, SEG_DS, 8, 0},
    {MODE_64, "41 8a 04 05 80 ff ff ff", NONE, GPR_RAX, 1, SEG_DS, 8, -128},
    {MODE_64, "2e 8a 00", GPR_RAX, NONE, 1, SEG_DS, 8, 0},
    {MODE_64, "64 3e 8a 00", GPR_RAX, NONE, 1, SEG_FS, 8, 0},
    {MODE_64, "a0 88 77 66 55 44 33 22 f1", NONE, NONE, 1, SEG_DS, 8, (int64_t)0xf122334455667788},
};

static void test_memory_operands(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(mem_cases); i++) {
        const struct mem_case *c = &mem_cases[i];
        struct insn insn;

        assert_int_equal(decode_hex(&insn, c->bytes, c->mode), 0);
        if (insn.mem.base != c->base || insn.mem.index != c->index || insn.mem.seg != c->seg ||
            insn.mem.scale != c->scale || insn.mem.disp != c->disp ||
            insn.addr_size != c->addr_size)
            fail_msg("mode %d, %s", 16 << c->mode, c->bytes);
        assert_int_equal(insn.op, OP_MOV);
        assert_int_equal(insn.src.kind, OPERAND_MEM);
    }
}

struct op_case {
    enum cpu_mode mode;
    const char *bytes;
    enum insn_op op;
    struct insn_operand dst, src; /* kind, size, register, high byte */
    uint64_t imm;
};

#define MEM(size)                   \
    {                               \
        OPERAND_MEM, size, 0, false \
    }
#define IMM(size)                   \
    {                               \
        OPERAND_IMM, size, 0, false \
    }
#define REG(size, r)                      \
    {                                     \
        OPERAND_REG, size, GPR_##r, false \
    }
#define HIGH(r)                       \
    {                                 \
        OPERAND_REG, 1, GPR_##r, true \
    }
#define NO(size)                     \
    {                                \
        OPERAND_NONE, size, 0, false \
    }

static const struct op_case op_cases[] = {
    {MODE_64, "88 20", OP_MOV, MEM(1), HIGH(RAX), 0},
    {MODE_64, "40 88 20", OP_MOV, MEM(1), REG(1, RSP), 0},
    {MODE_64, "44 88 38", OP_MOV, MEM(1), REG(1, R15), 0},
    {MODE_32, "88 38", OP_MOV, MEM(1), HIGH(RBX), 0},
    {MODE_64, "48 c7 00 fe ff ff ff", OP_MOV, MEM(8), IMM(8), (uint64_t)-2},
    {MODE_64, "66 c7 00 fe ff", OP_MOV, MEM(2), IMM(2), (uint64_t)-2},
    {MODE_64, "83 08 80", OP_OR, MEM(4), IMM(4), (uint64_t)-128},
    {MODE_64, "48 81 38 01 00 00 80", OP_CMP, MEM(8), IMM(8), 0xffffffff80000001},
    {MODE_64, "0f b6 00", OP_MOVZX, REG(4, RAX), MEM(1), 0},
    {MODE_64, "4c 0f b7 00", OP_MOVZX, REG(8, R8), MEM(2), 0},
    {MODE_64, "66 0f be 08", OP_MOVSX, REG(2, RCX), MEM(1), 0},
    {MODE_64, "48 63 08", OP_MOVSX, REG(8, RCX), MEM(4), 0},
    {MODE_64, "48 0f c3 08", OP_MOV, MEM(8), REG(8, RCX), 0},
    {MODE_16, "0f c3 08", OP_MOV, MEM(4), REG(4, RCX), 0},
    {MODE_64, "f6 18", OP_NEG, MEM(1), NO(1), 0},
    {MODE_64, "f7 10", OP_NOT, MEM(4), NO(4), 0},
    {MODE_64, "fe 08", OP_DEC, MEM(1), NO(1), 0},
    {MODE_64, "48 ff 00", OP_INC, MEM(8), NO(8), 0},
    {MODE_64, "ff 30", OP_PUSH, MEM(8), NO(8), 0},
    {MODE_64, "66 ff 30", OP_PUSH, MEM(2), NO(2), 0},
    {MODE_32, "8f 00", OP_POP, MEM(4), NO(4), 0},
    {MODE_64, "f0 0f b1 08", OP_CMPXCHG, MEM(4), REG(4, RCX), 0},
    {MODE_64, "f0 48 0f c1 08", OP_XADD, MEM(8), REG(8, RCX), 0},
    {MODE_64, "87 08", OP_XCHG, MEM(4), REG(4, RCX), 0},
    {MODE_64, "0f ab 08", OP_BTS, MEM(4), REG(4, RCX), 0},
    {MODE_64, "48 0f ba 38 3f", OP_BTC, MEM(8), IMM(8), 63},
    {MODE_64, "a9 01 00 00 80", OP_TEST, REG(4, RAX), IMM(4), 0xffffffff80000001},
    {MODE_64, "f3 48 ab", OP_STOS, {OPERAND_STR_DST, 8, 0, false}, REG(8, RAX), 0},
    {MODE_64, "a4", OP_MOVS, {OPERAND_STR_DST, 1, 0, false}, {OPERAND_STR_SRC, 1, 0, false}, 0},
    {MODE_64, "48 6d", OP_INS, {OPERAND_STR_DST, 4, 0, false}, NO(4), 0},
    {MODE_16, "6f", OP_OUTS, NO(2), {OPERAND_STR_SRC, 2, 0, false}, 0},
    {MODE_64, "0f a2", OP_OTHER, NO(0), NO(0), 0},
};

static bool same_operand(const struct insn_operand *a, const struct insn_operand *b)
{
    return a->kind == b->kind && a->size == b->size && a->reg == b->reg &&
           a->high_byte == b->high_byte;
}

static void test_operations(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(op_cases); i++) {
        const struct op_case *c = &op_cases[i];
        struct insn insn;

        assert_int_equal(decode_hex(&insn, c->bytes, c->mode), 0);
        if (insn.op != c->op || !same_operand(&insn.dst, &c->dst) ||
            !same_operand(&insn.src, &c->src))
            fail_msg("mode %d, %s", 16 << c->mode, c->bytes);
        if (c->src.kind == OPERAND_IMM)
            assert_true(insn.imm == c->imm);
    }
}

/* Of F2 and F3 the last one counts; both stay out of each other's way. */
static void test_rep_prefixes(void **state)
{
    struct insn insn;

    (void)state;
    assert_int_equal(decode_hex(&insn, "f2 f3 a6", MODE_32), 0);
    assert_int_equal(insn.prefixes, PREFIX_REP);
    assert_int_equal(decode_hex(&insn, "f3 f0 f2 66 a7", MODE_32), 0);
    assert_int_equal(insn.prefixes, PREFIX_REPNE | PREFIX_LOCK | PREFIX_OPSIZE);
}

struct id_case {
    enum cpu_mode mode;
    enum insn_id id;
    const char *bytes;
    int length;
};

static const struct id_case id_cases[] = {
    {MODE_64, INSN_CPUID, "0f a2", 2},
    {MODE_64, INSN_CPUID, "0f a2 90", 2},
    {MODE_64, INSN_CPUID, "66 48 0f a2", 4},
    {MODE_64, INSN_CPUID, "0f", -BH_ERANGE},
    {MODE_64, INSN_CPUID, "", -BH_ERANGE},
    {MODE_64, INSN_CPUID, "0f a3 00", -BH_EINVAL},
    {MODE_16, INSN_RDMSR, "0f 32", 2},
    {MODE_16, INSN_WRMSR, "0f 30", 2},
    {MODE_64, INSN_HLT, "f4", 1},
    {MODE_64, INSN_HLT, "2e f4", 2},
    {MODE_64, INSN_HLT, "90", -BH_EINVAL},
    {MODE_64, INSN_VMMCALL, "0f 01 d9", 3},
    {MODE_64, INSN_VMMCALL, "0f 01 c1", -BH_EINVAL},
    {MODE_32, INSN_VMMCALL, "66 0f 01 d9", 4},
    {MODE_64, INSN_VMMCALL, "0f 01", -BH_ERANGE},
    {MODE_64, INSN_XSETBV, "0f 01 d1", 3},
    {MODE_64, INSN_XSETBV, "0f 01 d0", -BH_EINVAL}, /* XGETBV */
    {MODE_16, INSN_INVD, "0f 08", 2},
    {MODE_64, INSN_INVD, "0f 09", -BH_EINVAL},
    {MODE_64, INSN_WBINVD, "48 0f 09", 3},
};

static void test_length_of(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(id_cases); i++) {
        const struct id_case *c = &id_cases[i];
        uint8_t bytes[16];
        size_t len = parse_hex(c->bytes, bytes, sizeof(bytes));
        uint8_t *copy = malloc(len ? len : 1);
        int got;

        memcpy(copy, bytes, len);
        got = insn_length_of(copy, len, c->mode, c->id);
        free(copy);
        if (got != c->length)
            fail_msg("mode %d, %s: %d instead of %d", 16 << c->mode, c->bytes, got, c->length);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),    cmocka_unit_test(test_memory_operands),
        cmocka_unit_test(test_operations), cmocka_unit_test(test_rep_prefixes),
        cmocka_unit_test(test_length_of),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
