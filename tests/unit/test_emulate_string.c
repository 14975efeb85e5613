/* The emulator's REP batches, string port I/O, and accesses that must be waited for. */
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
    assert_int_equal(retired, 2);
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

/* Device accesses that must be waited for: the instruction is repeated until all are answered, its
 * registers change once, and no access is made twice. */
static void test_blocking(void **state)
{
    (void)state;
    blocking = true;
    device[4] = 0x40;
    gpr[GPR_RBX] = DEVICE;
    cpu.rflags |= RFLAGS_CF;
    assert_int_equal(step("83 53 04 01"), EMU_BLOCKED); /* adc [ebx+4], 1: the read */
    assert_int_equal(step("83 53 04 01"), EMU_BLOCKED); /* the write */
    assert_true(cpu.rip == CODE && (cpu.rflags & RFLAGS_CF));
    assert_int_equal(device[4], 0x40);
    assert_int_equal(step("83 53 04 01"), EMU_DONE);
    assert_int_equal(device[4], 0x42);
    assert_int_equal(cpu.rip, CODE + 4);

    /* A REP: each iteration on its own; completed ones stay. */
    cpu.rip = CODE;
    retired = 0;
    gpr[GPR_RDI] = DEVICE;
    gpr[GPR_RCX] = 2;
    assert_int_equal(step("f3 aa"), EMU_BLOCKED);
    assert_int_equal(gpr[GPR_RCX], 2);
    assert_int_equal(step("f3 aa"), EMU_BLOCKED);
    assert_int_equal(gpr[GPR_RCX], 1);
    assert_int_equal(gpr[GPR_RDI], DEVICE + 1);
    assert_int_equal(step("f3 aa"), EMU_DONE);
    assert_int_equal(retired, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_rep_batches, setup),
        cmocka_unit_test_setup(test_rep_fault, setup),
        cmocka_unit_test_setup(test_rep_counters, setup),
        cmocka_unit_test_setup(test_port_strings, setup),
        cmocka_unit_test_setup(test_blocking, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
