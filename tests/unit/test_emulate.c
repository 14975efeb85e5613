/* The emulator's faults, segments and paging. That its results and flags are right is
 * test_emulate_native's affair. */
#include "tests/unit/emulate_machine.h"

static void test_device_access(void **state)
{
    (void)state;
    gpr[GPR_RAX] = 0x11223344;
    gpr[GPR_RBX] = DEVICE + 0x10;
    DONE("89 43 04"); /* mov [ebx+4], eax */
    expect_access(0, 'w', DEVICE + 0x14, 4, 0x11223344);
    DONE("0f b6 53 06"); /* movzx edx, byte [ebx+6] */
    expect_access(1, 'r', DEVICE + 0x16, 1, 0x22);
    assert_int_equal(gpr[GPR_RDX], 0x22);
    DONE("80 4b 04 80"); /* or byte [ebx+4], 0x80 */
    expect_access(2, 'r', DEVICE + 0x14, 1, 0x44);
    expect_access(3, 'w', DEVICE + 0x14, 1, 0xc4);
    /* CMP and TEST do not write, MOV does not read, CMPXCHG always does both. */
    DONE("81 3b 00 00 00 00");
    expect_access(4, 'r', DEVICE + 0x10, 4, 0);
    DONE("c7 03 05 00 00 00");
    expect_access(5, 'w', DEVICE + 0x10, 4, 5);
    gpr[GPR_RAX] = 6;
    DONE("f0 0f b1 13");
    expect_access(6, 'r', DEVICE + 0x10, 4, 5);
    expect_access(7, 'w', DEVICE + 0x10, 4, 5);
    assert_int_equal(gpr[GPR_RAX], 5);
    assert_int_equal(count, 8);
}

static void test_rf_is_cleared(void **state)
{
    (void)state;
    cpu.rflags |= RFLAGS_RF | RFLAGS_TF;
    DONE("a3 00 00 00 d0");
    assert_int_equal(cpu.rflags, RFLAGS_ONE | RFLAGS_TF);
}

static void test_rip_relative(void **state)
{
    (void)state;
    long_mode();
    gpr[GPR_RAX] = 0x5566;
    /* CODE + 7 + 0x7ff9 = 0x10000; the immediate counts in the length */
    DONE("66 c7 05 f7 7f 00 00 34 12");
    expect_access(0, 'w', DEVICE, 2, 0x1234);
    /* The upper half's alias; with 67 the address is truncated and finds the lower one again. */
    cpu.rip = 0xffff800000000000 | CODE;
    assert_int_equal(step("89 05 fa 7f 00 00"), EMU_DONE);
    expect_access(1, 'w', DEVICE, 4, 0x5566);
    assert_true(cpu.rip == (0xffff800000000000 | (CODE + 6)));
    cpu.rip = 0xffff800000000000 | CODE;
    pte_reads = 0;
    set_pte(PML4, 256, PDPT | P | US); /* read-only */
    assert_int_equal(step("89 05 fa 7f 00 00"), EMU_FAULT);
    assert_int_equal(step("67 89 05 f9 7f 00 00"), EMU_DONE);
}

static void test_lock(void **state)
{
    (void)state;
    gpr[GPR_RBX] = DEVICE;
    FAULTS("f0 89 03", EXC_UD);    /* mov */
    FAULTS("f0 03 03", EXC_UD);    /* add eax, [ebx] */
    FAULTS("f0 39 03", EXC_UD);    /* cmp */
    FAULTS("f0 84 03", EXC_UD);    /* test */
    FAULTS("f0 0f a3 03", EXC_UD); /* bt */
    FAULTS("f0 01 c3", EXC_UD);    /* register destination */
    FAULTS("f0 ab", EXC_UD);       /* stos */
    FAULTS("f0 0f b6 03", EXC_UD); /* movzx */
    FAULTS("f0 ff 33", EXC_UD);    /* push */
    DONE("f0 01 03");
    DONE("f0 0f bb 03");
    DONE("f0 f6 1b");
    DONE("f0 86 03");
}

static void test_unknown(void **state)
{
    (void)state;
    assert_int_equal(step("0f a2"), EMU_UNKNOWN);
    assert_int_equal(step("0f 10 00"), EMU_UNKNOWN);
    assert_int_equal(step("0f ff"), EMU_UNKNOWN);
    assert_int_equal(step("66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 90"), EMU_UNKNOWN);
    assert_int_equal(step("ff f3"), EMU_UNKNOWN);       /* push ebx */
    assert_int_equal(step("0f 38 f0 03"), EMU_UNKNOWN); /* movbe eax, [ebx] */
    assert_int_equal(count, 0);
    /* Code that is not in RAM. */
    cpu.rip = 0xc0000000;
    assert_int_equal(emu_step(&cpu, &ops, NULL, NULL, 0, &fault), EMU_UNKNOWN);
    assert_true(cpu.rip == 0xc0000000);
}

static void test_segments(void **state)
{
    (void)state;
    gpr[GPR_RBX] = 0x100;
    cpu.seg[SEG_DS].base = DEVICE;
    cpu.seg[SEG_DS].limit = 0x103;
    DONE("89 03");
    expect_access(0, 'w', DEVICE + 0x100, 4, 0);
    count = 0;
    FAULTS("89 43 01", EXC_GP);
    assert_int_equal(fault.error_code, 0);
    DONE("88 43 03");
    count = 0;
    FAULTS("88 43 04", EXC_GP);
    /* EBP uses SS, whose faults have a vector of their own. */
    cpu.seg[SEG_SS].limit = 0xfff;
    gpr[GPR_RBP] = 0x1000;
    FAULTS("88 45 00", EXC_SS);
    gpr[GPR_RBX] = 0x1000;
    FAULTS("36 88 03", EXC_SS);
    gpr[GPR_RBX] = 0x100;
    /* Rights: a read-only data segment, code segments, an unusable one. */
    cpu.seg[SEG_DS].attrib &= ~SEG_ATTR_WRITE;
    FAULTS("89 03", EXC_GP);
    DONE("8b 03");
    count = 0;
    cpu.seg[SEG_CS].base = 0;
    FAULTS("2e 89 03", EXC_GP);
    DONE("2e 8b 03");
    cpu.seg[SEG_CS].attrib &= ~SEG_ATTR_READ;
    FAULTS("2e 8b 03", EXC_GP);
    cpu.seg[SEG_ES].attrib = 0;
    FAULTS("26 8b 03", EXC_GP);
    /* The limit of the code segment. */
    cpu.seg[SEG_CS].limit = CODE;
    FAULTS("8b 03", EXC_GP);
    cpu.seg[SEG_CS].limit = CODE - 1;
    FAULTS("90", EXC_GP);
    /* With a data type that expands down it ends the code all the same. */
    cpu.seg[SEG_CS].attrib = SEG_ATTR_P | SEG_ATTR_S | SEG_ATTR_EXPDOWN | SEG_ATTR_DB;
    FAULTS("90", EXC_GP);
}

static void test_expand_down(void **state)
{
    (void)state;
    cpu.seg[SEG_DS].limit = 0xfff;
    cpu.seg[SEG_DS].attrib |= SEG_ATTR_EXPDOWN;
    gpr[GPR_RBX] = 0xfff;
    FAULTS("88 03", EXC_GP);
    gpr[GPR_RBX] = 0x1000;
    DONE("89 03");
    gpr[GPR_RBX] = DEVICE;
    DONE("89 03");
    count = 0;
    /* Without B the upper end is at 64 KiB. */
    cpu.seg[SEG_DS].attrib &= ~SEG_ATTR_DB;
    FAULTS("89 03", EXC_GP);
    gpr[GPR_RBX] = 0xfffd;
    FAULTS("89 03", EXC_GP);
    gpr[GPR_RBX] = 0xfffc;
    DONE("89 03");
}

static void test_real_mode(void **state)
{
    (void)state;
    real_mode();
    cpu.seg[SEG_ES].base = DEVICE;
    gpr[GPR_RAX] = 0xaabbccdd;
    gpr[GPR_RBX] = 0xffff0ff0; /* only BX counts */
    DONE("26 88 67 02");       /* mov es:[bx+2], ah */
    expect_access(0, 'w', DEVICE + 0xff2, 1, 0xcc);
    DONE("26 66 a3 00 10"); /* mov es:[0x1000], eax */
    expect_access(1, 'w', DEVICE + 0x1000, 4, 0xaabbccdd);
    count = 0;
    /* Offsets wrap at 64 KiB, operands do not. */
    gpr[GPR_RBX] = 0xfff0;
    DONE("26 88 67 20");
    expect_access(0, 'w', DEVICE + 0x10, 1, 0xcc);
    count = 0;
    gpr[GPR_RBX] = 0xffff;
    FAULTS("26 89 07", EXC_GP);
    /* Code is writable, whatever the hidden attributes say. */
    gpr[GPR_RBX] = 0x9000;
    DONE("2e 89 07");
    cpu.cr0 = CR0_PE;
    cpu.rflags |= RFLAGS_VM;
    DONE("2e 89 07");
}

static void test_long_mode_segments(void **state)
{
    (void)state;
    long_mode();
    cpu.seg[SEG_DS].attrib = 0; /* null selectors do not matter */
    cpu.seg[SEG_DS].base = 0x123000;
    cpu.seg[SEG_GS].base = 0xffff800000010000;
    DONE("65 89 04 25 08 00 00 00");
    expect_access(0, 'w', DEVICE + 8, 4, 0);
    gpr[GPR_RBX] = 0x10010;
    DONE("89 03");
    expect_access(1, 'w', DEVICE + 0x10, 4, 0);
    DONE("3e 26 89 03");
    count = 0;
    /* Addresses that are not canonical, with their first or last byte. */
    gpr[GPR_RBX] = 0x800000000000;
    FAULTS("89 03", EXC_GP);
    gpr[GPR_RBX] = 0x7fffffffffff;
    FAULTS("89 03", EXC_GP);
    gpr[GPR_RSP] = 0x8000000000000000;
    FAULTS("89 04 24", EXC_SS);
    /* With LA57 there are nine bits more; the code comes with the exit. */
    cpu.cr4 |= CR4_LA57;
    gpr[GPR_RBX] = 0x100000000000000;
    assert_int_equal(emu_step(&cpu, &ops, NULL, (const uint8_t *)"\x89\x03", 2, &fault), EMU_FAULT);
    assert_int_equal(fault.vector, EXC_GP);
    gpr[GPR_RBX] = 0x800000000000;
    assert_int_equal(emu_step(&cpu, &ops, NULL, (const uint8_t *)"\x89\x03", 2, &fault), EMU_FAULT);
    assert_int_equal(fault.vector, EXC_PF);
}

static void test_page_faults(void **state)
{
    (void)state;
    long_mode();
    gpr[GPR_RBX] = 0x13008;
    FAULTS("8b 03", EXC_PF);
    assert_int_equal(fault.error_code, 0);
    assert_int_equal(fault.cr2, 0x13008);
    FAULTS("01 03", EXC_PF);
    assert_int_equal(fault.error_code, PF_WRITE);
    gpr[GPR_RBX] = 0x12000;
    FAULTS("89 03", EXC_PF);
    assert_int_equal(fault.error_code, PF_WRITE | PF_PRESENT);
    DONE("8b 03");
    cpu.cpl = 3;
    FAULTS("89 03", EXC_PF);
    assert_int_equal(fault.error_code, PF_WRITE | PF_PRESENT | PF_USER);
    /* SMAP, lifted by AC. */
    cpu.cpl = 0;
    cpu.cr4 |= CR4_SMAP;
    FAULTS("8b 03", EXC_PF);
    assert_int_equal(fault.error_code, PF_PRESENT);
    cpu.rflags |= RFLAGS_AC;
    DONE("8b 03");
}

/* Both pages are translated before anything is accessed. */
static void test_page_crossing(void **state)
{
    (void)state;
    long_mode();
    gpr[GPR_RAX] = 0x8877665544332211;
    gpr[GPR_RBX] = 0x10ffd;
    DONE("48 89 03");
    expect_access(0, 'w', DEVICE + 0xffd, 3, 0x332211);
    expect_access(1, 'w', DEVICE + 0x1000, 5, 0x8877665544);
    DONE("48 8b 13");
    assert_true(gpr[GPR_RDX] == gpr[GPR_RAX]);
    expect_access(2, 'r', DEVICE + 0xffd, 3, 0x332211);
    expect_access(3, 'r', DEVICE + 0x1000, 5, 0x8877665544);
    assert_int_equal(count, 4);
    count = 0;
    gpr[GPR_RBX] = 0x11ffe;
    FAULTS("89 03", EXC_PF);
    assert_int_equal(fault.cr2, 0x12000);
    assert_int_equal(fault.error_code, PF_WRITE | PF_PRESENT);
    assert_int_equal(device[0x1ffe], 0);
}

static void test_hint(void **state)
{
    (void)state;
    long_mode();
    gpr[GPR_RBX] = 0x10020;
    cpu.hint = (struct emu_hint){.gpa = DEVICE + 0x20, .valid = true};
    put_code(CODE, "8b 03");
    pte_reads = 0;
    assert_int_equal(emu_step(&cpu, &ops, NULL, ram + CODE, 2, &fault), EMU_DONE);
    assert_int_equal(pte_reads, 0);
    expect_access(0, 'r', DEVICE + 0x20, 4, 0);
    cpu.rip = CODE;
    /* A read's hint does not serve a write, nor another offset, nor an operand in two pages. */
    DONE("89 03");
    cpu.hint.write = true;
    gpr[GPR_RBX] = 0x11024;
    DONE("89 03");
    expect_access(2, 'w', DEVICE + 0x1024, 4, 0);
    gpr[GPR_RBX] = 0x10ffe;
    cpu.hint.gpa = DEVICE + 0x1ffe;
    DONE("89 03");
    expect_access(3, 'w', DEVICE + 0xffe, 2, 0);
    expect_access(4, 'w', DEVICE + 0x1000, 2, 0);
}

static void test_fetch(void **state)
{
    uint8_t buf[INSN_MAX_LENGTH];
    size_t len = 0;

    (void)state;
    long_mode();
    /* All there is before the missing page; the instruction may end there, but not go on. */
    cpu.rip = 0x12ffe;
    put_code(0x12ffe, "89 03");
    gpr[GPR_RBX] = 0x10000;
    assert_int_equal(emu_fetch(&cpu, &ops, NULL, buf, &len, &fault), EMU_DONE);
    assert_int_equal(len, 2);
    assert_int_equal(emu_step(&cpu, &ops, NULL, NULL, 0, &fault), EMU_DONE);
    assert_int_equal(cpu.rip, 0x13000);
    assert_int_equal(emu_fetch(&cpu, &ops, NULL, buf, &len, &fault), EMU_FAULT);
    assert_int_equal(fault.cr2, 0x13000);
    assert_int_equal(fault.error_code, PF_FETCH);
    cpu.rip = 0x12ffe;
    put_code(0x12ffe, "89 43");
    assert_int_equal(emu_step(&cpu, &ops, NULL, NULL, 0, &fault), EMU_FAULT);
    assert_int_equal(fault.cr2, 0x13000);
    /* Across two good pages, and with bytes from the hardware that end too early. */
    cpu.rip = 0x8fff;
    put_code(0x8fff, "89 43 04");
    assert_int_equal(emu_step(&cpu, &ops, NULL, ram + 0x8fff, 1, &fault), EMU_DONE);
    assert_int_equal(cpu.rip, 0x9002);
    /* Not executable; not canonical. */
    set_pte(PT, 9, 0x9000 | P | RW | BIT64(63));
    assert_int_equal(emu_step(&cpu, &ops, NULL, NULL, 0, &fault), EMU_FAULT);
    assert_int_equal(fault.error_code, PF_FETCH | PF_PRESENT);
    cpu.rip = 0x800000000000;
    assert_int_equal(emu_step(&cpu, &ops, NULL, NULL, 0, &fault), EMU_FAULT);
    assert_int_equal(fault.vector, EXC_GP);
}

/* A bit number in a register reaches both ways. */
static void test_bit_strings(void **state)
{
    (void)state;
    gpr[GPR_RBX] = DEVICE + 0x100;
    gpr[GPR_RAX] = 0xffffffff; /* -1 */
    DONE("0f ab 03");
    expect_access(1, 'w', DEVICE + 0xfc, 4, 0x80000000);
    DONE("66 0f a3 03");
    expect_access(2, 'r', DEVICE + 0xfe, 2, 0x8000);
    assert_true(cpu.rflags & RFLAGS_CF);
    gpr[GPR_RAX] = 65;
    DONE("0f ab 03");
    expect_access(4, 'w', DEVICE + 0x108, 4, 2);
    DONE("0f ba 2b 41"); /* an immediate is taken modulo the operand's size */
    expect_access(6, 'w', DEVICE + 0x100, 4, 2);
}

static void test_push_pop(void **state)
{
    (void)state;
    gpr[GPR_RBX] = DEVICE;
    gpr[GPR_RSP] = 0x9000;
    memcpy(device, "\x11\x22\x33\x44", 4);
    DONE("ff 33");
    assert_int_equal(gpr[GPR_RSP], 0x8ffc);
    assert_memory_equal(ram + 0x8ffc, device, 4);
    DONE("66 8f 43 08");
    assert_int_equal(gpr[GPR_RSP], 0x8ffe);
    expect_access(1, 'w', DEVICE + 8, 2, 0x2211);
    /* POP computes its address with ESP already incremented. */
    gpr[GPR_RSP] = 0x8ffc;
    DONE("8f 84 24 00 70 ff cf"); /* pop [esp+DEVICE-0x9000] */
    expect_access(2, 'w', DEVICE, 4, 0x44332211);
    /* A 16-bit stack wraps, and leaves the upper half of ESP alone. */
    cpu.seg[SEG_SS].attrib &= ~SEG_ATTR_DB;
    gpr[GPR_RSP] = 0x12340002;
    DONE("66 ff 33");
    assert_int_equal(gpr[GPR_RSP], 0x12340000);
    DONE("66 ff 33");
    assert_int_equal(gpr[GPR_RSP], 0x1234fffe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_device_access, setup),
        cmocka_unit_test_setup(test_rf_is_cleared, setup),
        cmocka_unit_test_setup(test_rip_relative, setup),
        cmocka_unit_test_setup(test_lock, setup),
        cmocka_unit_test_setup(test_unknown, setup),
        cmocka_unit_test_setup(test_segments, setup),
        cmocka_unit_test_setup(test_expand_down, setup),
        cmocka_unit_test_setup(test_real_mode, setup),
        cmocka_unit_test_setup(test_long_mode_segments, setup),
        cmocka_unit_test_setup(test_page_faults, setup),
        cmocka_unit_test_setup(test_page_crossing, setup),
        cmocka_unit_test_setup(test_hint, setup),
        cmocka_unit_test_setup(test_fetch, setup),
        cmocka_unit_test_setup(test_bit_strings, setup),
        cmocka_unit_test_setup(test_push_pop, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
