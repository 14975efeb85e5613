#ifndef BULKHEAD_TESTS_UNIT_EMULATE_MACHINE_H
#define BULKHEAD_TESTS_UNIT_EMULATE_MACHINE_H

/* The small machine on which the emulator's tests run: RAM, one device, ports. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/regs.h"
#include "lib/error.h"
#include "vmm/emulate/emulate.h"

#define RAM_SIZE    0x20000
#define DEVICE      0xd0000000ull
#define DEVICE_SIZE 0x2000
#define CODE        0x8000u
#define MAX_LOG     1024

struct access {
    char kind; /* 'r', 'w', 'i', 'o' */
    uint64_t where;
    unsigned int len;
    uint64_t val;
};

/* A machine: RAM, one device of two pages, ports; and what was done to the latter two. */
static uint8_t ram[RAM_SIZE];
static uint8_t device[DEVICE_SIZE];
static struct access made[MAX_LOG];
static unsigned int count; /* accesses in `made` */
static unsigned int pte_reads;
static unsigned int batches;   /* calls for ports */
static unsigned int time_left; /* REP iterations until somebody else's turn */
static uint32_t port_value;
static unsigned int port_takes; /* of what is sent to ports */

static uint64_t gpr[GPR_COUNT];
static struct emu_cpu cpu;
static struct emu_fault fault;

static inline void note(char kind, uint64_t where, unsigned int len, uint64_t val)
{
    assert_true(count < MAX_LOG);
    made[count++] = (struct access){kind, where, len, val};
}

static inline uint8_t *backing(uint64_t gpa, unsigned int len)
{
    assert_true(len >= 1 && len <= EMU_STRING_BYTES);
    assert_true((gpa & 0xfff) + len <= 0x1000);
    if (gpa + len <= RAM_SIZE)
        return ram + gpa;
    if (gpa >= DEVICE && gpa + len <= DEVICE + DEVICE_SIZE)
        return device + (gpa - DEVICE);
    return NULL;
}

static inline void op_read(void *ctx, uint64_t gpa, void *buf, unsigned int len)
{
    uint8_t *p = backing(gpa, len);
    uint64_t val = 0;

    (void)ctx;
    assert_true(len <= 8);
    assert_non_null(p);
    memcpy(buf, p, len);
    memcpy(&val, p, len);
    if (gpa >= DEVICE)
        note('r', gpa, len, val);
}

static inline void op_write(void *ctx, uint64_t gpa, const void *buf, unsigned int len)
{
    uint8_t *p = backing(gpa, len);
    uint64_t val = 0;

    (void)ctx;
    assert_true(len <= 8 || gpa < DEVICE);
    assert_non_null(p);
    memcpy(p, buf, len);
    memcpy(&val, p, len <= 8 ? len : 8);
    if (gpa >= DEVICE)
        note('w', gpa, len, val);
}

static inline int op_read_ram(void *ctx, uint64_t gpa, void *buf, unsigned int len)
{
    uint8_t *p = backing(gpa, len);

    (void)ctx;
    if (!p || gpa >= DEVICE)
        return -BH_EFAULT;
    memcpy(buf, p, len);
    return 0;
}

static inline int op_read_pte(void *ctx, uint64_t gpa, unsigned int size, uint64_t *pte)
{
    (void)ctx;
    pte_reads++;
    if (gpa + size > RAM_SIZE)
        return -BH_EFAULT;
    *pte = 0;
    memcpy(pte, ram + gpa, size);
    return 0;
}

static inline void op_io_in(void *ctx, uint16_t port, unsigned int size, void *data,
                            unsigned int elements)
{
    (void)ctx;
    assert_true(elements >= 1 && elements * size <= EMU_STRING_BYTES);
    batches++;
    for (unsigned int i = 0; i < elements; i++) {
        memcpy((uint8_t *)data + i * size, &port_value, size);
        note('i', port, size, port_value++);
    }
}

static inline unsigned int op_io_out(void *ctx, uint16_t port, unsigned int size, const void *data,
                                     unsigned int elements)
{
    (void)ctx;
    assert_true(elements >= 1 && elements * size <= EMU_STRING_BYTES);
    batches++;
    elements = MIN(elements, port_takes);
    port_takes -= elements;
    for (unsigned int i = 0; i < elements; i++) {
        uint32_t val = 0;

        memcpy(&val, (const uint8_t *)data + i * size, size);
        note('o', port, size, val);
    }
    return elements;
}

static inline unsigned int op_time_for(void *ctx, unsigned int iterations)
{
    (void)ctx;
    iterations = MIN(iterations, time_left);
    time_left -= iterations;
    return iterations;
}

static const struct emu_ops ops = {
    .read = op_read,
    .write = op_write,
    .read_ram = op_read_ram,
    .read_pte = op_read_pte,
    .io_in = op_io_in,
    .io_out = op_io_out,
    .time_for = op_time_for,
};

static inline void flat_segments(uint16_t code_attributes)
{
    for (unsigned int i = 0; i < SEG_COUNT; i++)
        cpu.seg[i] = (struct segment){
            .limit = 0xffffffff, .attrib = SEG_ATTR_P | SEG_ATTR_S | SEG_ATTR_DB | SEG_ATTR_WRITE};
    cpu.seg[SEG_CS].attrib =
        SEG_ATTR_P | SEG_ATTR_S | SEG_ATTR_CODE | SEG_ATTR_READ | code_attributes;
}

/* 32-bit protected mode without paging. */
static inline int setup(void **state)
{
    (void)state;
    memset(ram, 0, sizeof(ram));
    memset(device, 0, sizeof(device));
    memset(gpr, 0, sizeof(gpr));
    count = pte_reads = batches = 0;
    time_left = UINT32_MAX;
    port_takes = UINT32_MAX;
    cpu = (struct emu_cpu){.gpr = gpr, .rip = CODE, .rflags = RFLAGS_ONE, .cr0 = CR0_PE};
    flat_segments(SEG_ATTR_DB);
    fault = (struct emu_fault){0};
    return 0;
}

static inline void real_mode(void)
{
    cpu.cr0 = 0;
    flat_segments(0);
    for (unsigned int i = 0; i < SEG_COUNT; i++)
        cpu.seg[i].limit = 0xffff;
    cpu.seg[SEG_SS].attrib &= ~SEG_ATTR_DB;
}

#define PML4 0x1000
#define PDPT 0x2000
#define PD   0x3000
#define PT   0x4000
#define P    1ull
#define RW   2ull
#define US   4ull

static inline void set_pte(uint64_t table, unsigned int index, uint64_t entry)
{
    memcpy(ram + table + 8 * index, &entry, 8);
}

/* 4-level paging: the first 2 MiB map to themselves by 4 KiB pages, of which 0x10000 is the
 * device's first page, 0x11000 its second, 0x12000 read-only and 0x13000 missing. */
static inline void long_mode(void)
{
    cpu.cr0 = CR0_PE | CR0_PG | CR0_WP;
    cpu.cr3 = PML4;
    cpu.cr4 = CR4_PAE;
    cpu.efer = EFER_LME | EFER_LMA | EFER_NXE;
    flat_segments(SEG_ATTR_L);
    set_pte(PML4, 0, PDPT | P | RW | US);
    set_pte(PML4, 256, PDPT | P | RW | US);
    set_pte(PDPT, 0, PD | P | RW | US);
    set_pte(PD, 0, PT | P | RW | US);
    for (unsigned int i = 0; i < 512; i++)
        set_pte(PT, i, (uint64_t)i << 12 | P | RW | US);
    set_pte(PT, 0x10, DEVICE | P | RW | US);
    set_pte(PT, 0x11, (DEVICE + 0x1000) | P | RW | US);
    set_pte(PT, 0x12, 0x12000 | P | US);
    set_pte(PT, 0x13, 0);
}

static inline size_t put_code(uint64_t at, const char *text)
{
    size_t n = 0;

    for (; *text; n++) {
        char *end;
        ram[at + n] = (uint8_t)strtoul(text, &end, 16);
        text = end;
    }
    return n;
}

static inline enum emu_result step(const char *code)
{
    put_code(CODE, code);
    return emu_step(&cpu, &ops, NULL, NULL, 0, &fault);
}

#define DONE(code)                                          \
    do {                                                    \
        uint64_t done_rip = cpu.rip + put_code(CODE, code); \
        assert_int_equal(step(code), EMU_DONE);             \
        assert_true(cpu.rip == done_rip);                   \
        cpu.rip = CODE;                                     \
    } while (0)

#define FAULTS(code, exception)                                 \
    do {                                                        \
        uint64_t fault_gpr[GPR_COUNT];                          \
        memcpy(fault_gpr, gpr, sizeof(gpr));                    \
        assert_int_equal(step(code), EMU_FAULT);                \
        assert_int_equal(fault.vector, exception);              \
        assert_int_equal(fault.has_error, exception != EXC_UD); \
        assert_true(cpu.rip == CODE);                           \
        assert_memory_equal(fault_gpr, gpr, sizeof(gpr));       \
        assert_int_equal(count, 0);                             \
    } while (0)

static inline void expect_access(unsigned int i, char kind, uint64_t where, unsigned int len,
                                 uint64_t val)
{
    assert_true(i < count);
    assert_int_equal(made[i].kind, kind);
    assert_true(made[i].where == where);
    assert_int_equal(made[i].len, len);
    assert_true(made[i].val == val);
}

#endif
