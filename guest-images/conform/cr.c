/* Control registers: what reads back, what is refused, what the bits do (SDM vol. 2, MOV to control
 * registers; vol. 3, 2.5). */

#include "check.h"

SNIPPET(c_fnop, "fnop");
SNIPPET(c_fwait, "fwait");
SNIPPET(c_sse, "xorps %xmm0, %xmm0");
SNIPPET(c_clts, "clts");
SNIPPET(c_smsw32, "mov $-1, %rax; smsw %eax");
SNIPPET(c_smsw16, "mov $-1, %rax; smsw %ax");
SNIPPET(c_smsw64, "xor %eax, %eax; smsw %rax");
SNIPPET(c_smsw_mem, "smsw (%rbx)");
SNIPPET(c_lmsw, "lmsw %ax");
SNIPPET(c_lmsw_mem, "lmsw (%rbx)");
SNIPPET(c_rdtsc, "rdtsc");
SNIPPET(c_rdtscp, "rdtscp");
SNIPPET(c_sgdt, "sgdt (%rbx)");
SNIPPET(c_sidt, "sidt (%rbx)");
SNIPPET(c_sldt, "sldt %eax");
SNIPPET(c_str, "str %eax");
SNIPPET(c_smsw, "smsw %eax");
SNIPPET(c_rdfsbase, "rdfsbase %rax");
SNIPPET(c_wrfsbase, "wrfsbase %rax");
SNIPPET(c_read, "mov (%rbx), %al");
SNIPPET(c_write, "mov %al, (%rbx)");
SNIPPET(c_stac_read, "stac; mov (%rbx), %al; clac");
SNIPPET(c_jump, "jmp *%rbx");
SNIPPET(c_ret, "nop");
SNIPPET(c_set_cr2, "mov %rax, %cr2");
SNIPPET(c_read_cr1, ".byte 0x0f, 0x20, 0xc8");
SNIPPET(c_read_cr5, ".byte 0x0f, 0x20, 0xe8");
SNIPPET(c_read_r15, "mov %cr0, %r15");
SNIPPET(c_set_r15, "mov %r15, %cr0");

static uint8_t page[PAGE_SIZE_4K] ALIGNED(4096);

static void check_cr0(void)
{
    uint64_t cr0 = read_cr0();
    struct guest_regs r;
    static const struct {
        const char *name;
        uint64_t clear, set;
    } bad[] = {
        {"cr0-pg-without-pe", CR0_PE, 0},
        {"cr0-nw-without-cd", CR0_CD, CR0_NW},
        {"cr0-upper-half", 0, BIT64(32)},
        {"cr0-no-paging-in-64-bit-mode", CR0_PG, 0},
    };
    static const struct {
        const char *name;
        uint64_t bits;
    } good[] = {
        {"cr0-cd", CR0_CD}, {"cr0-cd-nw", CR0_CD | CR0_NW}, {"cr0-am", CR0_AM}, {"cr0-ts", CR0_TS},
        {"cr0-em", CR0_EM},
    };

    /* QEMU's TCG does all of it, and is lost. */
    for (size_t i = 0; !has.tcg && i < ARRAY_SIZE(bad); i++) {
        int vector = try_write_cr0((cr0 & ~bad[i].clear) | bad[i].set);
        check_eq(bad[i].name, (uint64_t)vector, EXC_GP);
        check_eq("cr0-kept", read_cr0(), cr0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        try_write_cr0(cr0 | good[i].bits);
        cpuid(0, 0);
        uint64_t got = read_cr0();
        try_write_cr0(cr0);
        check_eq(good[i].name, got, cr0 | good[i].bits);
    }
    check_eq("cr0-back", read_cr0(), cr0);
    try_write_cr0(cr0 & ~(CR0_NE | CR0_WP));
    check_eq("cr0-ne-wp-clear", read_cr0(), cr0 & ~(CR0_NE | CR0_WP));
    try_write_cr0(cr0 & ~CR0_ET);
    check_eq("cr0-et-is-fixed", read_cr0(), cr0);
    r = (struct guest_regs){0};
    guest_exec(c_read_r15, &r);
    check_eq("cr0-to-r15", r.r15, cr0);
    r.r15 = cr0 | CR0_TS;
    guest_exec(c_set_r15, &r);
    check_eq("cr0-from-r15", read_cr0(), cr0 | CR0_TS);
    write_cr0(cr0);
}

static void check_status_word(void)
{
    uint64_t cr0 = read_cr0();
    static uint64_t cell;
    struct guest_regs r = {.rbx = (uintptr_t)&cell};

    guest_exec(c_smsw64, &r);
    check_eq("smsw-64", r.rax, cr0);
    guest_exec(c_smsw32, &r);
    check_eq("smsw-32", r.rax, (uint32_t)cr0);
    guest_exec(c_smsw16, &r);
    check_eq("smsw-16", r.rax, ~0xffffull | (cr0 & 0xffff));
    cell = ~0ull;
    check_eq("smsw-memory-runs", (uint64_t)guest_exec(c_smsw_mem, &r), (uint64_t)GUEST_RETURNED);
    check_eq("smsw-memory", cell, ~0xffffull | (cr0 & 0xffff));
    r.rax = (cr0 | CR0_TS) & 0xffff;
    guest_exec(c_lmsw, &r);
    check_eq("lmsw-sets-ts", read_cr0(), cr0 | CR0_TS);
    r.rax = 0;
    guest_exec(c_lmsw, &r);
    check_eq("lmsw-keeps-pe", read_cr0(), cr0 & ~(CR0_MP | CR0_EM | CR0_TS));
    cell = 0x3;
    check_eq("lmsw-memory-runs", (uint64_t)guest_exec(c_lmsw_mem, &r), (uint64_t)GUEST_RETURNED);
    check_eq("lmsw-memory", read_cr0() & 0xf, 3);
    write_cr0(cr0 | CR0_TS);
    guest_exec(c_clts, &r);
    check_eq("clts", read_cr0(), cr0 & ~CR0_TS);
    write_cr0(cr0);
}

static void check_fpu_traps(void)
{
    uint64_t cr0 = read_cr0() & ~(CR0_TS | CR0_EM);
    static const struct trap_row fnop = {"nm-ts", c_fnop, EXC_NM, 0, 0, 0, {0}};
    static const struct trap_row sse = {"nm-ts-sse", c_sse, EXC_NM, 0, 0, 0, {0}};
    static const struct trap_row user = {"nm-ts-ring-3",  c_fnop, EXC_NM, 0, 0,
                                         SEL_USER_CODE64, {0}};
    static const struct trap_row fwait = {"nm-ts-mp-fwait", c_fwait, EXC_NM, 0, 0, 0, {0}};
    static const struct trap_row free = {"fwait-without-mp", c_fwait, GUEST_RETURNED, 0, 0, 0, {0}};
    static const struct trap_row em = {"nm-em", c_fnop, EXC_NM, 0, 0, 0, {0}};
    static const struct trap_row em_sse = {"ud-em-sse", c_sse, EXC_UD, 0, 0, 0, {0}};
    static const struct trap_row osfxsr = {"ud-no-osfxsr", c_sse, EXC_UD, 0, 0, 0, {0}};
    uint64_t cr4 = read_cr4();

    write_cr0(cr0 | CR0_TS | CR0_MP);
    check_trap(&fnop);
    check_trap(&sse);
    check_trap(&user);
    check_trap(&fwait);
    write_cr0((cr0 & ~CR0_MP) | CR0_TS);
    check_trap(&free);
    write_cr0(cr0 | CR0_EM);
    check_trap(&em);
    check_trap(&em_sse);
    write_cr0(cr0);
    write_cr4(cr4 & ~BIT64(9));
    check_trap(&osfxsr);
    write_cr4(cr4);
    write_cr0(cr0 | CR0_MP);
}

static void check_cr4(void)
{
    uint64_t cr4 = read_cr4();
    static const struct trap_row cr1 = {"cr1", c_read_cr1, EXC_UD, 0, 0, 0, {0}};
    static const struct trap_row cr5 = {"cr5", c_read_cr5, EXC_UD, 0, 0, 0, {0}};
    struct guest_regs r = {.rax = 0xffff800012345678ull};

    for (unsigned int bit = 0; bit <= 8; bit++) {
        static const char *const names[] = {"cr4-vme", "cr4-pvi", "cr4-tsd", "cr4-de", "cr4-pse",
                                            NULL,      "cr4-mce", "cr4-pge", "cr4-pce"};
        if (names[bit]) {
            try_write_cr4(cr4 | BIT64(bit));
            cpuid(0, 0);
            check_eq(names[bit], read_cr4(), cr4 | BIT64(bit));
            try_write_cr4(cr4);
        }
    }
    check_eq("cr4-back", read_cr4(), cr4);
    if (!has.tcg) {
        check_eq("cr4-no-pae-in-long-mode", (uint64_t)try_write_cr4(cr4 & ~CR4_PAE), EXC_GP);
        check_eq("cr4-reserved", (uint64_t)try_write_cr4(cr4 | BIT64(15)), EXC_GP);
        check_eq("cr4-reserved-high", (uint64_t)try_write_cr4(cr4 | BIT64(63)), EXC_GP);
    }
    check_eq("cr4-kept", read_cr4(), cr4);
    if (!has.native) {
        check_eq("cr4-vmxe-refused", (uint64_t)try_write_cr4(cr4 | CR4_VMXE), EXC_GP);
        check_eq("cr4-vmxe-hidden", read_cr4() & CR4_VMXE, 0);
    }
    check_trap(&cr1);
    check_trap(&cr5);
    guest_exec(c_set_cr2, &r);
    cpuid(0, 0);
    check_eq("cr2", read_cr2(), 0xffff800012345678ull);
    uint64_t cr3 = read_cr3();
    if (has.tcg || guest_has_word("tcg"))
        check_skip("cr3-reserved", "TCG takes it, and the next VMRUN fails");
    else
        check_eq("cr3-reserved", (uint64_t)try_write_cr3(cr3 | BIT64(62)), EXC_GP);
    check_eq("cr3-pwt-pcd", (uint64_t)try_write_cr3(cr3 | 0x18), (uint64_t)GUEST_RETURNED);
    check_eq("cr3-pwt-pcd-read", read_cr3(), cr3 | 0x18);
    write_cr3(cr3);
}

static void check_time_stamp_disable(void)
{
    uint64_t cr4 = read_cr4();
    static const struct trap_row user = {"tsd-ring-3", c_rdtsc, EXC_GP, 0, 0, SEL_USER_CODE64, {0}};
    static const struct trap_row user_p = {"tsd-rdtscp-ring-3", c_rdtscp, EXC_GP, 0, 0,
                                           SEL_USER_CODE64,     {0}};
    static const struct trap_row kernel = {"tsd-ring-0", c_rdtsc, GUEST_RETURNED, 0, 0, 0, {0}};
    static const struct trap_row off = {"rdtsc-ring-3",  c_rdtsc, GUEST_RETURNED, 0, 0,
                                        SEL_USER_CODE64, {0}};

    check_trap(&off);
    write_cr4(cr4 | CR4_TSD);
    check_trap(&user);
    check_trap(&kernel);
    if (has.rdtscp)
        check_trap(&user_p);
    write_cr4(cr4);
}

static void check_umip(void)
{
    static const struct trap_row rows[] = {
        {"umip-sgdt", c_sgdt, EXC_GP, 0, 0, SEL_USER_CODE64, {0}},
        {"umip-sidt", c_sidt, EXC_GP, 0, 0, SEL_USER_CODE64, {0}},
        {"umip-sldt", c_sldt, EXC_GP, 0, 0, SEL_USER_CODE64, {0}},
        {"umip-str", c_str, EXC_GP, 0, 0, SEL_USER_CODE64, {0}},
        {"umip-smsw", c_smsw, EXC_GP, 0, 0, SEL_USER_CODE64, {0}},
    };
    uint64_t cr4 = read_cr4();

    if (!has.umip) {
        check_skip("umip", "no UMIP");
        if (!has.tcg)
            check_eq("cr4-umip-reserved", (uint64_t)try_write_cr4(cr4 | CR4_UMIP), EXC_GP);
        return;
    }
    write_cr4(cr4 | CR4_UMIP);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct trap_row row = rows[i];
        row.regs.rbx = guest_user(page);
        check_trap(&row);
    }
    write_cr4(cr4);
}

static void check_smep_smap(void)
{
    uint64_t cr4 = read_cr4();
    struct guest_regs r;

    if (!has.smep) {
        check_skip("smep", "no SMEP");
    } else {
        r = (struct guest_regs){.rbx = guest_user(c_ret)};
        check_eq("smep-off", (uint64_t)guest_exec(c_jump, &r), (uint64_t)GUEST_RETURNED);
        write_cr4(cr4 | CR4_SMEP);
        check_eq("smep", (uint64_t)guest_exec(c_jump, &r), EXC_PF);
        check_eq("smep-error", guest_trap.error, PF_P | PF_I);
        write_cr4(cr4);
    }
    if (!has.smap) {
        check_skip("smap", "no SMAP");
        return;
    }
    r = (struct guest_regs){.rbx = guest_user(page)};
    write_cr4(cr4 | CR4_SMAP);
    check_eq("smap-read", (uint64_t)guest_exec(c_read, &r), EXC_PF);
    check_eq("smap-read-error", guest_trap.error, PF_P);
    check_eq("smap-write", (uint64_t)guest_exec(c_write, &r), EXC_PF);
    check_eq("smap-write-error", guest_trap.error, PF_P | PF_W);
    check_eq("smap-with-ac", (uint64_t)guest_exec(c_stac_read, &r), (uint64_t)GUEST_RETURNED);
    write_cr4(cr4);
}

static void check_fsgsbase(void)
{
    uint64_t cr4 = read_cr4();
    struct guest_regs r = {.rax = 0x12345678};
    static const struct trap_row off = {"rdfsbase-disabled", c_rdfsbase, EXC_UD, 0, 0, 0, {0}};

    check_trap(&off);
    if (!has.fsgsbase) {
        check_skip("fsgsbase", "no FSGSBASE");
        check_eq("cr4-fsgsbase-reserved", (uint64_t)try_write_cr4(cr4 | CR4_FSGSBASE), EXC_GP);
        return;
    }
    write_cr4(cr4 | CR4_FSGSBASE);
    guest_exec(c_wrfsbase, &r);
    check_eq("wrfsbase", rdmsr(MSR_FS_BASE), 0x12345678);
    guest_exec(c_rdfsbase, &r);
    check_eq("rdfsbase", r.rax, 0x12345678);
    r.rax = NONCANONICAL;
    check_eq("wrfsbase-noncanonical", (uint64_t)guest_exec(c_wrfsbase, &r), EXC_GP);
    wrmsr(MSR_FS_BASE, 0);
    write_cr4(cr4);
}

void group_cr(void)
{
    check_cr0();
    check_status_word();
    check_fpu_traps();
    check_cr4();
    check_time_stamp_disable();
    check_umip();
    check_smep_smap();
    check_fsgsbase();
}
