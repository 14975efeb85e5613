/* The emulator on any code, registers, segments, page tables and memory. It must end, within its
 * bound of accesses, touch nothing but what the ops give it, and change no register unless it says
 * so. Input: struct input, then up to 15 bytes of code; missing bytes are zero. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/require.h"
#include "vmm/emulate/emulate.h"

#define MEMORY 4096 /* repeats through the whole physical address space */

#define FLAG_PAGING   0x01 /* else CR0.PG is off */
#define FLAG_PRESENT  0x02 /* page-table entries get their P, R/W and U/S bits set */
#define FLAG_HARDWARE 0x04 /* the code comes with the exit */
#define FLAG_MODE     0x60 /* as given, 16, 32 or 64 bits */

struct input {
    uint8_t flags;
    uint8_t cpl;
    uint8_t hint;
    uint8_t salt;
    uint32_t cr0;
    uint32_t cr4;
    uint32_t efer;
    uint64_t rip;
    uint64_t rflags;
    uint64_t cr3;
    uint64_t gpr[GPR_COUNT];
    struct segment seg[SEG_COUNT];
};

struct machine {
    struct input in;
    uint8_t memory[MEMORY];
    unsigned int accesses;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Up to four in each iteration. */
static void count_access(struct machine *m)
{
    REQUIRE(++m->accesses <= EMU_MAX_ITERATIONS * 4);
}

static void copy_out(const struct machine *m, uint64_t gpa, uint8_t *buf, unsigned int len)
{
    for (unsigned int i = 0; i < len; i++)
        buf[i] = m->memory[(gpa + i) % MEMORY];
}

static void op_read(void *ctx, uint64_t gpa, void *buf, unsigned int len)
{
    REQUIRE(len >= 1 && len <= 8 && gpa % PAGE_SIZE_4K + len <= PAGE_SIZE_4K);
    copy_out(ctx, gpa, buf, len);
    count_access(ctx);
}

static void op_write(void *ctx, uint64_t gpa, const void *buf, unsigned int len)
{
    struct machine *m = ctx;

    REQUIRE(len >= 1 && len <= EMU_STRING_BYTES && gpa % PAGE_SIZE_4K + len <= PAGE_SIZE_4K);
    for (unsigned int i = 0; i < len; i++)
        m->memory[(gpa + i) % MEMORY] = ((const uint8_t *)buf)[i];
    count_access(m);
}

static int op_read_ram(void *ctx, uint64_t gpa, void *buf, unsigned int len)
{
    REQUIRE(len >= 1 && len <= EMU_STRING_BYTES && gpa % PAGE_SIZE_4K + len <= PAGE_SIZE_4K);
    copy_out(ctx, gpa, buf, len);
    return 0;
}

static int op_read_pte(void *ctx, uint64_t gpa, unsigned int size, uint64_t *pte)
{
    struct machine *m = ctx;

    REQUIRE((size == 4 || size == 8) && gpa % size == 0);
    *pte = 0;
    copy_out(m, gpa, (uint8_t *)pte, size);
    if (m->in.flags & FLAG_PRESENT)
        *pte |= 7;
    return 0;
}

static void check_string(unsigned int size, unsigned int count)
{
    REQUIRE(size == 1 || size == 2 || size == 4);
    REQUIRE(count >= 1 && count <= EMU_STRING_BYTES / size);
}

static void op_io_in(void *ctx, uint16_t port, unsigned int size, void *data, unsigned int count)
{
    check_string(size, count);
    memset(data, (uint8_t)port, size * count);
    count_access(ctx);
}

static unsigned int op_io_out(void *ctx, uint16_t port, unsigned int size, const void *data,
                              unsigned int count)
{
    uint8_t copy[EMU_STRING_BYTES];

    check_string(size, count);
    memcpy(copy, data, size * count); /* all of it is there */
    count_access(ctx);
    return port % 4 == 3 ? count / 2 : count; /* some devices are slow */
}

static void fill_cpu(struct emu_cpu *cpu, const struct input *in)
{
    *cpu = (struct emu_cpu){
        .rip = in->rip,
        .rflags = in->rflags,
        .cr0 = in->cr0 & ~CR0_PG,
        .cr3 = in->cr3,
        .cr4 = in->cr4,
        .efer = in->efer,
        .cpl = in->cpl & 3,
        .hint = {.gpa = in->cr3, .valid = in->hint & 1, .write = in->hint & 2},
    };
    memcpy(cpu->seg, in->seg, sizeof(cpu->seg));
    if (in->flags & FLAG_PAGING)
        cpu->cr0 |= CR0_PG;
    switch (in->flags & FLAG_MODE) {
    case 0x20: cpu->cr0 &= ~CR0_PE; break;
    case 0x40:
        cpu->cr0 |= CR0_PE;
        cpu->rflags &= ~RFLAGS_VM;
        cpu->efer = EFER_NXE;
        cpu->seg[SEG_CS].attrib |= SEG_ATTR_DB;
        break;
    case 0x60:
        cpu->cr0 |= CR0_PE;
        cpu->cr4 |= CR4_PAE;
        cpu->rflags &= ~RFLAGS_VM;
        cpu->efer |= EFER_LMA;
        cpu->seg[SEG_CS].attrib |= SEG_ATTR_L;
        break;
    default: break;
    }
}

static bool is_rep_string(const uint8_t *code, size_t len, enum cpu_mode mode)
{
    struct insn insn;

    return !insn_decode(&insn, code, len, mode) && insn.op >= OP_MOVS &&
           (insn.prefixes & (PREFIX_REP | PREFIX_REPNE));
}

static void run(struct machine *m, const uint8_t *code, size_t len)
{
    static const struct emu_ops ops = {.read = op_read,
                                       .write = op_write,
                                       .read_ram = op_read_ram,
                                       .read_pte = op_read_pte,
                                       .io_in = op_io_in,
                                       .io_out = op_io_out};
    uint64_t gpr[GPR_COUNT];
    struct emu_cpu cpu;
    struct emu_fault fault = {.vector = 0xff};
    enum emu_result result;
    uint8_t *hardware = malloc(len ? len : 1);
    bool rep;

    fill_cpu(&cpu, &m->in);
    memcpy(gpr, m->in.gpr, sizeof(gpr));
    cpu.gpr = gpr;
    memcpy(hardware, code, len);
    /* Fetched code may differ from that in the input: anything may have been a REP then. */
    rep = !(m->in.flags & FLAG_HARDWARE) || is_rep_string(code, len, emu_mode(&cpu));
    result = emu_step(&cpu, &ops, m, hardware, m->in.flags & FLAG_HARDWARE ? len : 0, &fault);
    free(hardware);

    REQUIRE(result <= EMU_WAIT);
    if (result != EMU_DONE)
        REQUIRE(cpu.rip == m->in.rip);
    if (result != EMU_DONE && !rep)
        REQUIRE(!memcmp(gpr, m->in.gpr, sizeof(gpr)));
    if (result == EMU_FAULT)
        REQUIRE(fault.vector == EXC_PF || fault.vector == EXC_UD || fault.vector == EXC_GP ||
                fault.vector == EXC_SS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct machine m;
    uint8_t code[INSN_MAX_LENGTH] = {0};
    size_t len = 0;

    memset(&m, 0, sizeof(m));
    memcpy(&m.in, data, size < sizeof(m.in) ? size : sizeof(m.in));
    if (size > sizeof(m.in))
        len = size - sizeof(m.in);
    if (len > sizeof(code))
        len = sizeof(code);
    if (len)
        memcpy(code, data + sizeof(m.in), len);
    for (unsigned int i = 0; i < MEMORY; i++)
        m.memory[i] = (uint8_t)(size ? data[(i * 7u + m.in.salt) % size] : i);
    for (unsigned int i = 0; i < len; i++)
        m.memory[(m.in.rip + i) % MEMORY] = code[i];
    run(&m, code, sizeof(code));
    return 0;
}
