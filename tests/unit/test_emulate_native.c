/* Executes the same instructions, on the same random operands, with the emulator and on this
 * machine's own CPU, and compares registers, flags and memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <sys/mman.h>

#include "arch/x86/regs.h"
#include "lib/error.h"
#include "vmm/emulate/emulate.h"

#define ROUNDS    1500 /* of random operands and encodings for each form */
#define DATA_SIZE 1024
#define DATA_MID  (DATA_SIZE / 2)

#define STATUS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)
/* Undefined after logical operations, and after bit tests (SDM vol. 2). */
#define LOGIC_UNDEFINED RFLAGS_AF
#define BIT_UNDEFINED   (RFLAGS_OF | RFLAGS_SF | RFLAGS_AF | RFLAGS_PF)

/* Stands at an address below 2 GiB, so that code can name its members with 32 bits. */
struct native {
    uint8_t code[1024];
    uint64_t gpr[GPR_COUNT];
    uint64_t rflags;
    uint64_t host_rsp;
    uint8_t data[DATA_SIZE];
};

static struct native *native;
static uint8_t shadow[DATA_SIZE]; /* the emulator's copy of native->data */
static uint64_t seed = 0x2545f4914f6cdd1dull;
static unsigned long executed;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x9e3779b97f4a7c15ull;
}

/* Values at which carries, signs and parities change come often. */
static uint64_t interesting(void)
{
    static const uint64_t values[] = {0,          1,          0x7f,       0x80,
                                      0xff,       0x7fff,     0x8000,     0xffff,
                                      0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff,
                                      BIT64(63),  ~0ull};
    uint64_t r = next_random();

    return r & 3 ? r >> (r >> 4 & 31) : values[(r >> 8) % ARRAY_SIZE(values)];
}

static uint8_t *emit_bytes(uint8_t *p, const void *bytes, size_t n)
{
    memcpy(p, bytes, n);
    return p + n;
}

/* `opcode` with a register and an absolute 32-bit address as operands. */
static uint8_t *emit_abs(uint8_t *p, uint8_t rex, uint8_t opcode, unsigned int reg,
                         const void *target)
{
    uint8_t op[4] = {(uint8_t)(0x40 | rex | (reg >= 8 ? 4 : 0)), opcode,
                     (uint8_t)(0x04 | (reg & 7) << 3), 0x25};
    uint32_t address = (uint32_t)(uintptr_t)target;

    return emit_bytes(emit_bytes(p, op, sizeof(op)), &address, 4);
}

/* Builds a function around the instruction that loads all registers and flags from *native and
 * stores them there afterwards. Returns where the instruction stands. */
static const uint8_t *build(const uint8_t *insn, size_t len)
{
    static const uint8_t save[] = {0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57};
    static const uint8_t restore[] = {0xfc, 0x41, 0x5f, 0x41, 0x5e, 0x41,
                                      0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3};
    const uint8_t *at;
    uint8_t *p = emit_bytes(native->code, save, sizeof(save));

    p = emit_abs(p, 8, 0x89, GPR_RSP, &native->host_rsp);
    p = emit_abs(p, 0, 0xff, 6, &native->rflags); /* push */
    *p++ = 0x9d;
    for (unsigned int i = 0; i < GPR_COUNT; i++)
        p = emit_abs(p, 8, 0x8b, i, &native->gpr[i]);
    at = p;
    p = emit_bytes(p, insn, len);
    for (unsigned int i = 0; i < GPR_COUNT; i++)
        p = emit_abs(p, 8, 0x89, i, &native->gpr[i]);
    p = emit_abs(p, 8, 0x8b, GPR_RSP, &native->host_rsp);
    *p++ = 0x9c;
    p = emit_abs(p, 0, 0x8f, 0, &native->rflags); /* pop */
    emit_bytes(p, restore, sizeof(restore));
    return at;
}

static __attribute__((no_sanitize("undefined"))) void run_native(void)
{
    void (*function)(void);
    void *code = native->code;

    memcpy(&function, &code, sizeof(code));
    function();
}

static uint8_t *shadow_at(uint64_t gpa, unsigned int len)
{
    uint64_t offset = gpa - (uintptr_t)native->data;

    assert_true(offset < DATA_SIZE && offset + len <= DATA_SIZE);
    return shadow + offset;
}

static void op_read(void *ctx, uint64_t gpa, void *buf, unsigned int len)
{
    (void)ctx;
    memcpy(buf, shadow_at(gpa, len), len);
}

static void op_write(void *ctx, uint64_t gpa, const void *buf, unsigned int len)
{
    (void)ctx;
    memcpy(shadow_at(gpa, len), buf, len);
}

static const struct emu_ops ops = {.read = op_read, .write = op_write};

static void print_failure(const uint8_t *insn, size_t len, const uint64_t *gpr, uint64_t rflags)
{
    for (size_t i = 0; i < len; i++)
        print_error("%02x ", insn[i]);
    print_error("\nflags: CPU %lx, emulator %lx\n", native->rflags, rflags);
    for (unsigned int i = 0; i < GPR_COUNT; i++)
        if (gpr[i] != native->gpr[i])
            print_error("register %u: CPU %lx, emulator %lx\n", i, native->gpr[i], gpr[i]);
    if (memcmp(shadow, native->data, DATA_SIZE))
        print_error("memory differs\n");
}

/* Registers, flags and memory are prepared in *native. */
static void compare(const uint8_t *insn, size_t len, uint64_t undefined)
{
    uint64_t gpr[GPR_COUNT];
    struct emu_cpu cpu = {.gpr = gpr, .rflags = native->rflags, .cr0 = CR0_PE, .efer = EFER_LMA};
    struct emu_fault fault;
    enum emu_result result;
    uint64_t compared = (STATUS & ~undefined) | RFLAGS_DF;

    cpu.seg[SEG_CS].attrib = SEG_ATTR_L | SEG_ATTR_P | SEG_ATTR_CODE;
    memcpy(gpr, native->gpr, sizeof(gpr));
    memcpy(shadow, native->data, DATA_SIZE);
    cpu.rip = (uintptr_t)build(insn, len);
    result = emu_step(&cpu, &ops, NULL, insn, len, &fault);
    if (result != EMU_DONE) {
        print_failure(insn, len, gpr, cpu.rflags);
        fail_msg("result %d", result);
    }
    run_native();
    executed++;
    if (memcmp(gpr, native->gpr, sizeof(gpr)) || memcmp(shadow, native->data, DATA_SIZE) ||
        ((cpu.rflags ^ native->rflags) & compared)) {
        print_failure(insn, len, gpr, cpu.rflags);
        fail();
    }
}

static void randomize(void)
{
    for (unsigned int i = 0; i < GPR_COUNT; i++)
        native->gpr[i] = interesting();
    for (unsigned int i = 0; i < DATA_SIZE; i += 8) {
        uint64_t val = interesting();
        memcpy(native->data + i, &val, 8);
    }
    native->rflags = RFLAGS_ONE | RFLAGS_IF | (next_random() & STATUS);
}

enum immediate { NO_IMM, IMM8, IMMZ };

struct form {
    const char *name;
    uint8_t opcode[3];
    uint8_t opcode_len;
    uint8_t sizes; /* bit mask of operand sizes in bytes */
    int8_t reg;    /* modrm.reg when it extends the opcode, -1: any register */
    uint8_t imm;   /* enum immediate */
    bool lock;
    uint64_t undefined;
};

#define BYTE 1
#define WIDE (2 | 4 | 8)
#define L    LOGIC_UNDEFINED
#define B    BIT_UNDEFINED

#define ALU(name, base, undef, locks)                                      \
    {name " eb gb", {base}, 1, BYTE, -1, NO_IMM, locks, undef},            \
        {name " ev gv", {(base) + 1}, 1, WIDE, -1, NO_IMM, locks, undef},  \
        {name " gb eb", {(base) + 2}, 1, BYTE, -1, NO_IMM, false, undef},  \
        {name " gv ev", {(base) + 3}, 1, WIDE, -1, NO_IMM, false, undef},  \
        {name " eb ib", {0x80}, 1, BYTE, (base) >> 3, IMM8, locks, undef}, \
        {name " ev iz", {0x81}, 1, WIDE, (base) >> 3, IMMZ, locks, undef}, \
    {                                                                      \
        name " ev ib", {0x83}, 1, WIDE, (base) >> 3, IMM8, locks, undef    \
    }

#define BITOP(name, op, n, locks)                               \
    {name " ev gv", {0x0f, op}, 2, WIDE, -1, NO_IMM, locks, B}, \
    {                                                           \
        name " ev ib", {0x0f, 0xba}, 2, WIDE, n, IMM8, locks, B \
    }

static const struct form forms[] = {
    ALU("add", 0x00, 0, true),
    ALU("or", 0x08, L, true),
    ALU("adc", 0x10, 0, true),
    ALU("sbb", 0x18, 0, true),
    ALU("and", 0x20, L, true),
    ALU("sub", 0x28, 0, true),
    ALU("xor", 0x30, L, true),
    ALU("cmp", 0x38, 0, false),
    {"test eb gb", {0x84}, 1, BYTE, -1, NO_IMM, false, L},
    {"test ev gv", {0x85}, 1, WIDE, -1, NO_IMM, false, L},
    {"test eb ib", {0xf6}, 1, BYTE, 0, IMM8, false, L},
    {"test ev iz", {0xf7}, 1, WIDE, 1, IMMZ, false, L},
    {"not eb", {0xf6}, 1, BYTE, 2, NO_IMM, true, 0},
    {"not ev", {0xf7}, 1, WIDE, 2, NO_IMM, true, 0},
    {"neg eb", {0xf6}, 1, BYTE, 3, NO_IMM, true, 0},
    {"neg ev", {0xf7}, 1, WIDE, 3, NO_IMM, true, 0},
    {"inc eb", {0xfe}, 1, BYTE, 0, NO_IMM, true, 0},
    {"inc ev", {0xff}, 1, WIDE, 0, NO_IMM, true, 0},
    {"dec eb", {0xfe}, 1, BYTE, 1, NO_IMM, true, 0},
    {"dec ev", {0xff}, 1, WIDE, 1, NO_IMM, true, 0},
    {"mov eb gb", {0x88}, 1, BYTE, -1, NO_IMM, false, 0},
    {"mov ev gv", {0x89}, 1, WIDE, -1, NO_IMM, false, 0},
    {"mov gb eb", {0x8a}, 1, BYTE, -1, NO_IMM, false, 0},
    {"mov gv ev", {0x8b}, 1, WIDE, -1, NO_IMM, false, 0},
    {"mov eb ib", {0xc6}, 1, BYTE, 0, IMM8, false, 0},
    {"mov ev iz", {0xc7}, 1, WIDE, 0, IMMZ, false, 0},
    {"movnti", {0x0f, 0xc3}, 2, 4 | 8, -1, NO_IMM, false, 0},
    {"movzx gv eb", {0x0f, 0xb6}, 2, WIDE, -1, NO_IMM, false, 0},
    {"movzx gv ew", {0x0f, 0xb7}, 2, WIDE, -1, NO_IMM, false, 0},
    {"movsx gv eb", {0x0f, 0xbe}, 2, WIDE, -1, NO_IMM, false, 0},
    {"movsx gv ew", {0x0f, 0xbf}, 2, WIDE, -1, NO_IMM, false, 0},
    {"movsxd", {0x63}, 1, 4 | 8, -1, NO_IMM, false, 0},
    {"xchg eb gb", {0x86}, 1, BYTE, -1, NO_IMM, true, 0},
    {"xchg ev gv", {0x87}, 1, WIDE, -1, NO_IMM, true, 0},
    {"cmpxchg eb gb", {0x0f, 0xb0}, 2, BYTE, -1, NO_IMM, true, 0},
    {"cmpxchg ev gv", {0x0f, 0xb1}, 2, WIDE, -1, NO_IMM, true, 0},
    {"xadd eb gb", {0x0f, 0xc0}, 2, BYTE, -1, NO_IMM, true, 0},
    {"xadd ev gv", {0x0f, 0xc1}, 2, WIDE, -1, NO_IMM, true, 0},
    BITOP("bt", 0xa3, 4, false),
    BITOP("bts", 0xab, 5, true),
    BITOP("btr", 0xb3, 6, true),
    BITOP("btc", 0xbb, 7, true),
    {"push m", {0xff}, 1, 2 | 8, 6, NO_IMM, false, 0},
    {"pop m", {0x8f}, 1, 2 | 8, 0, NO_IMM, false, 0},
};

/* One encoding of `form` with [base + disp8], or base itself, as its operand, and registers to go
 * with it. */
static size_t encode(const struct form *form, unsigned int size, bool in_memory, uint8_t *out)
{
    uint64_t r = next_random();
    unsigned int base = r & 1 ? GPR_RBX : GPR_RSI, reg = (unsigned int)(r >> 8 & 15);
    bool default64 = form->opcode[0] == 0x8f || (form->opcode[0] == 0xff && form->reg == 6);
    uint8_t rex = size == 8 && !default64 ? 0x48 : 0;
    size_t n = 0;

    if (form->reg >= 0)
        reg = (unsigned int)form->reg;
    else if (reg == base)
        reg = GPR_RDX; /* a bit number must not be an address */
    if (form->reg < 0 && (reg >= 8 || (r & 0x10)))
        rex |= 0x40 | (reg >= 8 ? 4 : 0);
    if (form->lock && in_memory && (r & 0x20))
        out[n++] = 0xf0;
    if (size == 2)
        out[n++] = 0x66;
    if (rex)
        out[n++] = rex;
    memcpy(out + n, form->opcode, form->opcode_len);
    n += form->opcode_len;
    out[n++] = (uint8_t)((in_memory ? 0x40 : 0xc0) | (reg & 7) << 3 | base);
    if (in_memory)
        out[n++] = (uint8_t)(r >> 16);
    r = interesting();
    memcpy(out + n, &r, 8);
    if (form->imm == IMM8)
        n += 1;
    else if (form->imm == IMMZ)
        n += size == 2 ? 2 : 4;

    native->gpr[GPR_RSP] = (uintptr_t)native->data + DATA_MID + 256;
    if (form->undefined == B && form->reg < 0)
        native->gpr[reg] = (uint64_t)(int64_t)(next_random() % 1024) - 512;
    if (in_memory)
        native->gpr[base] = (uintptr_t)native->data + DATA_MID;
    return n;
}

/* Makes the accumulator equal the operand now and then. */
static void prepare_cmpxchg(const uint8_t *insn, size_t len)
{
    struct insn decoded;
    uint64_t address;

    assert_int_equal(insn_decode(&decoded, insn, len, MODE_64), 0);
    if (decoded.op != OP_CMPXCHG || (next_random() & 1))
        return;
    address = native->gpr[decoded.mem.base] + (uint64_t)decoded.mem.disp;
    memcpy(&native->gpr[GPR_RAX], native->data + (address - (uintptr_t)native->data), 8);
}

static void compare_forms(const struct form *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (unsigned int size = 1; size <= 8; size *= 2) {
            for (unsigned int round = 0; (list[i].sizes & size) && round < ROUNDS; round++) {
                uint8_t insn[24];
                size_t len;

                randomize();
                len = encode(&list[i], size, true, insn);
                prepare_cmpxchg(insn, len);
                compare(insn, len, list[i].undefined);
            }
        }
    }
}

static void test_forms(void **state)
{
    (void)state;
    compare_forms(forms, ARRAY_SIZE(forms));
}

/* With the accumulator and a moffs, or an immediate. */
static void test_moffs(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < ROUNDS; i++) {
        uint64_t address = (uintptr_t)native->data + next_random() % (DATA_SIZE - 8);
        uint8_t insn[12] = {0x48, (uint8_t)(0xa0 | (i & 3))};

        memcpy(insn + 2, &address, 8);
        randomize();
        compare(insn, 10, 0);
        randomize();
        compare(insn + 1, 9, 0);
    }
}

/* String instructions with every prefix, size and direction; counts are small, and sometimes 0. */
static void test_strings(void **state)
{
    static const uint8_t opcodes[] = {0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf};

    (void)state;
    for (unsigned int i = 0; i < 40 * ROUNDS; i++) {
        uint64_t r = next_random();
        uint8_t insn[4];
        size_t n = 0;

        randomize();
        if (r & 1)
            insn[n++] = r & 2 ? 0xf2 : 0xf3;
        if ((r & 0xc) == 4)
            insn[n++] = 0x66;
        if ((r & 0xc) == 8)
            insn[n++] = 0x48;
        insn[n++] = opcodes[(r >> 8) % ARRAY_SIZE(opcodes)];
        if (r & 0x10)
            native->rflags |= RFLAGS_DF;
        if (r & 0x20) /* make the comparisons meet equal data */
            memset(native->data, 0x5a, DATA_SIZE);
        if (r & 0x40)
            native->gpr[GPR_RAX] = 0x5a5a5a5a5a5a5a5a;
        native->gpr[GPR_RCX] = (r >> 16) % 16;
        native->gpr[GPR_RSI] = (uintptr_t)native->data + DATA_MID + (r >> 24) % 64;
        native->gpr[GPR_RDI] = (uintptr_t)native->data + DATA_MID + (r >> 32) % 64;
        compare(insn, n, 0);
    }
}

/* Register operands; they occur only when code is overwritten, but must be right all the same. */
static void test_registers(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < 40 * ROUNDS; i++) {
        const struct form *form = &forms[next_random() % ARRAY_SIZE(forms)];
        unsigned int size = 1u << (next_random() & 3);
        uint8_t insn[24];

        /* MOVNTI has no register form, and PUSH and POP are emulated with memory only. CPUs differ
         * in whether a failing CMPXCHG clears the upper half of a 32-bit destination. */
        if (!(form->sizes & size) || form->opcode[1] == 0xc3 || form->opcode[0] == 0x8f ||
            (form->opcode[0] == 0xff && form->reg == 6) || (form->opcode[1] == 0xb1 && size == 4))
            continue;
        randomize();
        compare(insn, encode(form, size, false, insn), form->undefined);
    }
}

static int setup(void **state)
{
    (void)state;
    native = mmap(NULL, sizeof(*native), PROT_READ | PROT_WRITE | PROT_EXEC,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    return native == MAP_FAILED ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_moffs),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_registers),
    };
    int failed = cmocka_run_group_tests(tests, setup, NULL);

    printf("emulator: %lu instructions compared with this CPU\n", executed);
    return failed;
}
