/* The emulator's REP batches and string port I/O. */
#include "tests/unit/emulate_machine.h"

static void test_rep_batches(void **state)
{
    enum emu_result result;
    unsigned int calls = 0;

    (void)state;
    gpr[GPR_RSI] = 0x9000;
    gpr[GPR_RDI] = 0xa000;
    gpr[GPR_RCX] = 2 * EMU_MAX_ITERATIONS + 7;
    memset(ram + 0x9000, 0x77, 0x1000);
    do {
        result = step("f3 a4");
        calls++;
        assert_true(result == EMU_DONE || cpu.rip == CODE);
    } while (result == EMU_RETRY);
    assert_int_equal(result, EMU_DONE);
    assert_int_equal(calls, 3);
    assert_int_equal(cpu.rip, CODE + 2);
    assert_int_equal(gpr[GPR_RCX], 0);
    assert_int_equal(gpr[GPR_RDI], 0xa000 + 2 * EMU_MAX_ITERATIONS + 7);
    assert_int_equal(ram[0xa000 + 2 * EMU_MAX_ITERATIONS + 6], 0x77);
    assert_int_equal(ram[0xa000 + 2 * EMU_MAX_ITERATIONS + 7], 0);

    /* Single-stepped, each iteration is a step. */
    cpu.rip = CODE;
    cpu.rflags |= RFLAGS_TF;
    gpr[GPR_RCX] = 2;
    assert_int_equal(step("f3 a4"), EMU_RETRY);
    assert_int_equal(gpr[GPR_RCX], 1);
    assert_int_equal(step("f3 a4"), EMU_DONE);
}

/* A fault in the middle: what was done stays done, and the registers say how far it went. */
static void test_rep_fault(void **state)
{
    (void)state;
    long_mode();
    gpr[GPR_RDI] = 0x11ff0;
    gpr[GPR_RAX] = 0x1122334455667788;
    gpr[GPR_RCX] = 10;
    assert_int_equal(step("f3 48 ab"), EMU_FAULT);
    assert_int_equal(fault.vector, EXC_PF);
    assert_int_equal(fault.cr2, 0x12000);
    assert_int_equal(gpr[GPR_RCX], 8);
    assert_int_equal(gpr[GPR_RDI], 0x12000);
    assert_int_equal(count, 2);
    assert_true(cpu.rip == CODE);
}

/* Address size rules over the counters; a count of zero accesses nothing. */
static void test_rep_counters(void **state)
{
    (void)state;
    long_mode();
    gpr[GPR_RCX] = 0xffffffff00000002;
    gpr[GPR_RDI] = 0xffffffff00010000;
    DONE("67 f3 aa");
    assert_true(gpr[GPR_RCX] == 0 && gpr[GPR_RDI] == 0x10002);
    assert_int_equal(count, 2);
    count = 0;
    setup(NULL);
    gpr[GPR_RCX] = 0xffff0000;
    DONE("67 f3 aa");
    assert_int_equal(count, 0);
    gpr[GPR_RCX] = 0xffff0001;
    gpr[GPR_RDI] = 0x1ffff;
    DONE("67 f3 aa"); /* DI wraps, EDI's upper half stays */
    assert_int_equal(gpr[GPR_RDI], 0x10000);
    assert_int_equal(gpr[GPR_RCX], 0xffff0000);
}

static void test_port_strings(void **state)
{
    (void)state;
    port_value = 0x80;
    cpu.seg[SEG_FS].base = 0x100;
    gpr[GPR_RDX] = 0xffff0cf8;
    gpr[GPR_RSI] = 0x9000;
    gpr[GPR_RDI] = 0xa000;
    memcpy(ram + 0x9100, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
    DONE("64 6f"); /* outs dx, dword fs:[esi] */
    expect_access(0, 'o', 0xcf8, 4, 0x04030201);
    assert_int_equal(gpr[GPR_RSI], 0x9004);
    gpr[GPR_RCX] = 3;
    DONE("f3 64 6c"); /* the override is not for ES */
    expect_access(3, 'i', 0xcf8, 1, 0x82);
    assert_memory_equal(ram + 0xa000, "\x80\x81\x82\0", 4);
    assert_int_equal(gpr[GPR_RCX], 0);
    count = 0;
    /* Nothing is taken from the port when the memory cannot be written. */
    cpu.seg[SEG_ES].attrib &= ~SEG_ATTR_WRITE;
    FAULTS("6d", EXC_GP);
}

/* Strings of bytes go out and in by the page, as the elements would one by one. */
static void test_port_batches(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < 0x1000; i++)
        ram[0x9000 + i] = (uint8_t)(i * 7);
    gpr[GPR_RDX] = 0x3f8;
    gpr[GPR_RSI] = 0x9fc0;
    gpr[GPR_RCX] = 300;
    DONE("f3 6e");
    assert_int_equal(count, 300);
    for (unsigned int i = 0; i < 300; i++)
        expect_access(i, 'o', 0x3f8, 1, ram[0x9fc0 + i]);
    assert_int_equal(batches, 3); /* 64 up to the page's end, 128, 108 */
    assert_true(gpr[GPR_RSI] == 0x9fc0 + 300 && gpr[GPR_RCX] == 0);

    setup(NULL);
    port_value = 0x01020304;
    gpr[GPR_RDI] = 0x9ffa; /* 4 bytes, 4 bytes in two pages, the rest */
    gpr[GPR_RCX] = 40;
    DONE("f3 6d");
    for (uint32_t i = 0; i < 40; i++)
        assert_memory_equal(ram + 0x9ffa + 4 * i, &(uint32_t){0x01020304 + i}, 4);
    assert_int_equal(ram[0x9ffa + 160], 0);
    assert_int_equal(batches, 4);
    assert_int_equal(gpr[GPR_RDI], 0x9ffa + 160);

    /* Long ones stop for interrupts, wherever the batches end. */
    setup(NULL);
    gpr[GPR_RSI] = 0x9001;
    gpr[GPR_RCX] = EMU_MAX_ITERATIONS + 3;
    assert_int_equal(step("f3 6e"), EMU_RETRY);
    assert_int_equal(count, EMU_MAX_ITERATIONS);
    assert_true(gpr[GPR_RCX] == 3 && gpr[GPR_RSI] == 0x9001 + EMU_MAX_ITERATIONS);
}

/* When the CPU is due to somebody else, after one iteration at least. */
static void test_no_time(void **state)
{
    static const char *const insns[] = {"f3 6e", "f3 a4"};

    (void)state;
    for (unsigned int i = 0; i < ARRAY_SIZE(insns); i++) {
        for (unsigned int left = 0; left < 300; left += 149) {
            setup(NULL);
            gpr[GPR_RSI] = 0x9000;
            gpr[GPR_RDI] = 0xb000;
            gpr[GPR_RCX] = 400;
            time_left = left;
            assert_int_equal(step(insns[i]), EMU_RETRY);
            assert_int_equal(gpr[GPR_RCX], 400 - (left ? left : 1));
            assert_int_equal(cpu.rip, CODE);
        }
    }
}

/* The device takes some, none, and then all. */
static void test_port_waits(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < 20; i++)
        ram[0x9000 + i] = (uint8_t)(i + 1);
    gpr[GPR_RSI] = 0x9000;
    gpr[GPR_RCX] = 20;
    port_takes = 7;
    assert_int_equal(step("f3 6e"), EMU_WAIT);
    assert_true(count == 7 && gpr[GPR_RCX] == 13 && gpr[GPR_RSI] == 0x9007);
    assert_int_equal(step("f3 6e"), EMU_WAIT);
    assert_true(count == 7 && gpr[GPR_RCX] == 13 && gpr[GPR_RSI] == 0x9007);
    port_takes = 100;
    assert_int_equal(step("f3 6e"), EMU_DONE);
    assert_true(count == 20 && gpr[GPR_RCX] == 0 && gpr[GPR_RSI] == 0x9014);
    for (uint32_t i = 0; i < 20; i++)
        expect_access(i, 'o', 0, 1, i + 1);

    setup(NULL);
    gpr[GPR_RSI] = 0x9000;
    port_takes = 0;
    assert_int_equal(step("6e"), EMU_WAIT);
    assert_true(count == 0 && gpr[GPR_RSI] == 0x9000);
    cpu.rflags |= RFLAGS_TF;
    gpr[GPR_RCX] = 2;
    assert_int_equal(step("f3 6e"), EMU_WAIT);
    assert_true(count == 0 && gpr[GPR_RCX] == 2);
}

/* Downwards, single-stepped, without a count, and without REP: one by one, or none. */
static void test_port_singles(void **state)
{
    (void)state;
    memcpy(ram + 0x9000, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
    cpu.rflags |= RFLAGS_DF;
    gpr[GPR_RSI] = 0x9004;
    gpr[GPR_RCX] = 3;
    DONE("f3 66 6f");
    expect_access(0, 'o', 0, 2, 0x0605);
    expect_access(1, 'o', 0, 2, 0x0403);
    expect_access(2, 'o', 0, 2, 0x0201);
    assert_true(gpr[GPR_RSI] == 0x8ffe && gpr[GPR_RCX] == 0);

    setup(NULL);
    cpu.rflags |= RFLAGS_TF;
    gpr[GPR_RSI] = 0x9000;
    gpr[GPR_RCX] = 2;
    assert_int_equal(step("f3 6e"), EMU_RETRY);
    assert_true(count == 1 && gpr[GPR_RCX] == 1 && gpr[GPR_RSI] == 0x9001);

    setup(NULL);
    gpr[GPR_RSI] = 0xffffffff00000000;
    DONE("f3 6e");
    assert_int_equal(count, 0);
    gpr[GPR_RCX] = 7;
    gpr[GPR_RSI] = 0x9000;
    DONE("6e");
    assert_true(count == 1 && gpr[GPR_RCX] == 7);
    /* A device's memory is read byte by byte. */
    gpr[GPR_RSI] = DEVICE;
    gpr[GPR_RCX] = 3;
    count = 0;
    DONE("f3 6e");
    expect_access(2, 'r', DEVICE + 1, 1, 0);
    assert_int_equal(count, 6);
}

/* A fault in the middle shows the element that failed, and what came before is done. */
static void test_port_batch_faults(void **state)
{
    (void)state;
    long_mode();
    gpr[GPR_RSI] = 0x12ff8; /* the page behind is missing */
    gpr[GPR_RCX] = 100;
    assert_int_equal(step("f3 6e"), EMU_FAULT);
    assert_int_equal(fault.vector, EXC_PF);
    assert_int_equal(fault.cr2, 0x13000);
    assert_int_equal(count, 8);
    assert_true(gpr[GPR_RCX] == 92 && gpr[GPR_RSI] == 0x13000 && cpu.rip == CODE);
    count = 0;
    gpr[GPR_RDI] = 0x12000; /* read-only: nothing is taken from the port */
    assert_int_equal(step("f3 6c"), EMU_FAULT);
    assert_int_equal(fault.error_code, PF_PRESENT | PF_WRITE);
    assert_true(count == 0 && gpr[GPR_RCX] == 92 && gpr[GPR_RDI] == 0x12000);
    /* From the last canonical byte on. */
    set_pte(PML4, 255, PDPT | P | RW | US);
    set_pte(PDPT, 511, PD | P | RW | US);
    set_pte(PD, 511, PT | P | RW | US);
    gpr[GPR_RSI] = 0x7ffffffffffe; /* 0x1ff000 of the tables above: no RAM */
    set_pte(PT, 511, 0x9000 | P | RW | US);
    assert_int_equal(step("f3 6e"), EMU_FAULT);
    assert_int_equal(fault.vector, EXC_GP);
    assert_true(count == 2 && gpr[GPR_RCX] == 90 && gpr[GPR_RSI] == 0x800000000000);

    /* The segment's limit. */
    setup(NULL);
    cpu.seg[SEG_DS].limit = 0x9009;
    gpr[GPR_RSI] = 0x9000;
    gpr[GPR_RCX] = 5;
    assert_int_equal(step("f3 6f"), EMU_FAULT);
    assert_int_equal(fault.vector, EXC_GP);
    assert_true(count == 2 && gpr[GPR_RCX] == 3 && gpr[GPR_RSI] == 0x9008);
}

/* 16-bit addresses: SI wraps within 64 KiB, and its upper half stays, as ECX's. */
static void test_port_batch_wraps(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < 16; i++)
        ram[i] = ram[0x10000 + i] = 0xee;
    ram[0] = 0x33;
    ram[1] = 0x44;
    ram[0xfffe] = 0x11;
    ram[0xffff] = 0x22;
    gpr[GPR_RSI] = 0x5fffe;
    gpr[GPR_RCX] = 0x70004;
    DONE("67 f3 6e");
    assert_int_equal(count, 4);
    for (unsigned int i = 0; i < 4; i++)
        expect_access(i, 'o', 0, 1, 0x11 * (i + 1));
    assert_true(gpr[GPR_RSI] == 0x50002 && gpr[GPR_RCX] == 0x70000);
    /* With a base in the middle of a page, the wrap is not at a page's end. */
    setup(NULL);
    cpu.seg[SEG_DS].base = 0x80;
    ram[0x1007f] = 0x55;
    ram[0x80] = 0x66;
    gpr[GPR_RSI] = 0xffff;
    gpr[GPR_RCX] = 2;
    DONE("67 f3 6e");
    expect_access(0, 'o', 0, 1, 0x55);
    expect_access(1, 'o', 0, 1, 0x66);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_rep_batches, setup),
        cmocka_unit_test_setup(test_rep_fault, setup),
        cmocka_unit_test_setup(test_rep_counters, setup),
        cmocka_unit_test_setup(test_port_strings, setup),
        cmocka_unit_test_setup(test_port_batches, setup),
        cmocka_unit_test_setup(test_no_time, setup),
        cmocka_unit_test_setup(test_port_singles, setup),
        cmocka_unit_test_setup(test_port_waits, setup),
        cmocka_unit_test_setup(test_port_batch_faults, setup),
        cmocka_unit_test_setup(test_port_batch_wraps, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
