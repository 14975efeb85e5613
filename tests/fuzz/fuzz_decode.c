/* The instruction decoder. Input: a byte that selects the mode, then the bytes to decode. Copies of
 * exactly the length given let the sanitizer see any read beyond it. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/regs.h"
#include "arch/x86/segment.h"
#include "lib/error.h"
#include "tests/fuzz/require.h"
#include "vmm/emulate/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int decode_copy(struct insn *insn, const uint8_t *bytes, size_t len, enum cpu_mode mode)
{
    uint8_t *copy = malloc(len ? len : 1);
    int err;

    memcpy(copy, bytes, len);
    memset(insn, 0, sizeof(*insn));
    err = insn_decode(insn, copy, len, mode);
    free(copy);
    return err;
}

static void check_operand(const struct insn_operand *operand)
{
    bool power =
        operand->size == 1 || operand->size == 2 || operand->size == 4 || operand->size == 8;

    REQUIRE(operand->kind <= OPERAND_STR_DST && power);
    REQUIRE(operand->reg < GPR_COUNT && (!operand->high_byte || operand->reg <= GPR_RBX));
}

static void check_insn(const struct insn *insn, size_t len)
{
    REQUIRE(insn->length >= 1 && insn->length <= INSN_MAX_LENGTH && insn->length <= len);
    REQUIRE(insn->op < OP_COUNT && insn->mem.seg < SEG_COUNT);
    REQUIRE(insn->mem.base < GPR_COUNT || insn->mem.base == INSN_NO_REG ||
            (insn->mem.base == INSN_REG_RIP && insn->mode == MODE_64));
    REQUIRE(insn->mem.index < GPR_COUNT || insn->mem.index == INSN_NO_REG);
    REQUIRE(insn->addr_size == 2 || insn->addr_size == 4 || insn->addr_size == 8);
    REQUIRE(insn->mode == MODE_64 || (insn->op_size <= 4 && insn->addr_size <= 4 && !insn->rex));
    if (insn->op == OP_OTHER)
        return;
    check_operand(&insn->dst);
    check_operand(&insn->src);
    REQUIRE(!(insn->dst.kind == OPERAND_MEM && insn->src.kind == OPERAND_MEM));
}

static bool same(const struct insn *a, const struct insn *b)
{
    return a->length == b->length && a->op == b->op && a->map == b->map && a->opcode == b->opcode &&
           a->prefixes == b->prefixes && a->rex == b->rex && a->op_size == b->op_size &&
           a->imm == b->imm && a->modrm == b->modrm && a->mem.disp == b->mem.disp &&
           a->mem.base == b->mem.base && a->mem.index == b->mem.index && a->mem.seg == b->mem.seg;
}

/* The result must not depend on how many bytes follow the instruction, and any prefix of it must be
 * found incomplete. */
static void check_lengths(const struct insn *insn, const uint8_t *bytes, enum cpu_mode mode)
{
    uint8_t longer[2 * INSN_MAX_LENGTH];
    struct insn other;

    for (size_t len = 0; len < insn->length; len++)
        REQUIRE(decode_copy(&other, bytes, len, mode) == -BH_ERANGE);
    REQUIRE(decode_copy(&other, bytes, insn->length, mode) == 0 && same(insn, &other));
    memset(longer, 0xff, sizeof(longer));
    memcpy(longer, bytes, insn->length);
    REQUIRE(decode_copy(&other, longer, sizeof(longer), mode) == 0 && same(insn, &other));
}

static void check_length_of(const struct insn *insn, int err, const uint8_t *bytes, size_t len,
                            enum cpu_mode mode)
{
    uint8_t *copy = malloc(len ? len : 1);

    memcpy(copy, bytes, len);
    for (unsigned int id = 0; id < INSN_ID_COUNT; id++) {
        int got = insn_length_of(copy, len, mode, (enum insn_id)id);

        REQUIRE(got > 0 ? !err && got == insn->length : got == -BH_EINVAL || got == err);
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum cpu_mode mode;
    struct insn insn;
    int err;

    if (size < 1)
        return 0;
    mode = (enum cpu_mode)(data[0] % 3);
    data++;
    size--;
    err = decode_copy(&insn, data, size, mode);
    REQUIRE(err == 0 || err == -BH_EINVAL || (err == -BH_ERANGE && size < INSN_MAX_LENGTH));
    if (!err) {
        check_insn(&insn, size);
        check_lengths(&insn, data, mode);
    }
    check_length_of(&insn, err, data, size, mode);
    return 0;
}
