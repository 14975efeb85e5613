/* Debug registers, breakpoints, ICEBP (SDM vol. 3, 17.2 and 17.3). */

#include "check.h"

#define DR6_FIXED 0xffff0ff0ull
#define DR6_B0    BIT64(0)
#define DR6_B1    BIT64(1)
#define DR6_BD    BIT64(13)
#define DR7_FIXED 0x400ull
#define DR7_L0    BIT64(0)
#define DR7_L1    BIT64(2)
#define DR7_GD    BIT64(13)
#define RW0_WRITE (1ull << 16)
#define RW0_ANY   (3ull << 16)
#define RW1_WRITE (1ull << 20)
#define LEN0_4    (3ull << 18)
#define LEN0_8    (2ull << 18)

SNIPPET(d_code, "nop\nd_code_at: nop; nop");
SNIPPET(d_write, "movl $1, (%rbx)\nd_write_at: nop");
SNIPPET(d_read, "mov (%rbx), %eax\nd_read_at: nop");
SNIPPET(d_icebp, ".byte 0xf1; nop");
SNIPPET(d_cpuid_bp, "cpuid\nd_cpuid_bp_at: cpuid; nop");
SNIPPET(d_set_dr7, "mov %rax, %dr7");
SNIPPET(d_set_dr6, "mov %rax, %dr6");
SNIPPET(d_read_dr0, "mov %dr0, %rax");
SNIPPET(d_read_dr4, "mov %dr4, %rax");
SNIPPET(d_set_dr5, "mov %rax, %dr5");

extern const uint8_t d_code_at[], d_write_at[], d_read_at[], d_cpuid_bp_at[];

static uint64_t cell[2] ALIGNED(16);

static void check_registers(void)
{
    struct guest_regs r;

    write_dr0(0x1111);
    write_dr1(0x2222);
    write_dr2(0xffff800000003333ull);
    write_dr3(0x4444);
    cpuid(0, 0);
    inb(0x61);
    check_eq("dr0", read_dr0(), 0x1111);
    check_eq("dr1", read_dr1(), 0x2222);
    check_eq("dr2", read_dr2(), 0xffff800000003333ull);
    check_eq("dr3", read_dr3(), 0x4444);
    check_eq("dr7-at-first", read_dr7(), DR7_FIXED);
    write_dr6(0);
    check_eq("dr6-fixed-bits", read_dr6() & ~BIT64(16) & ~BIT64(11),
             DR6_FIXED & ~BIT64(16) & ~BIT64(11));
    write_dr6(DR6_FIXED | 0xe00f);
    check_eq("dr6-set", read_dr6() & 0xe00f, 0xe00f);
    write_dr6(0);
    r = (struct guest_regs){.rax = BIT64(32)};
    check_eq("dr7-upper-half", (uint64_t)guest_exec(d_set_dr7, &r), EXC_GP);
    check_eq("dr6-upper-half", (uint64_t)guest_exec(d_set_dr6, &r), EXC_GP);
    uint64_t cr4 = read_cr4();
    check_eq("dr4-is-dr6", (uint64_t)guest_exec(d_read_dr4, &r), (uint64_t)GUEST_RETURNED);
    check_eq("dr4-value", r.rax, read_dr6());
    r.rax = DR7_FIXED;
    check_eq("dr5-is-dr7", (uint64_t)guest_exec(d_set_dr5, &r), (uint64_t)GUEST_RETURNED);
    write_cr4(cr4 | CR4_DE);
    check_eq("dr4-with-de", (uint64_t)guest_exec(d_read_dr4, &r), EXC_UD);
    check_eq("dr5-with-de", (uint64_t)guest_exec(d_set_dr5, &r), EXC_UD);
    write_cr4(cr4);
}

static void check_hit(const char *name, const uint8_t *code, struct guest_regs regs,
                      const uint8_t *rip, uint64_t dr6)
{
    write_dr6(0);
    int vector = guest_exec(code, &regs);
    if (vector != EXC_DB)
        check_eq(name, (uint64_t)vector, EXC_DB);
    else if (guest_trap.rip != (uintptr_t)rip)
        check_eq(name, guest_trap.rip, (uintptr_t)rip);
    else
        check_eq(name, guest_trap.dr6 & 0xe00f, dr6);
}

static void check_none(const char *name, const uint8_t *code, struct guest_regs regs)
{
    check_eq(name, (uint64_t)guest_exec(code, &regs), (uint64_t)GUEST_RETURNED);
}

static void check_breakpoints(void)
{
    const struct guest_regs at_cell = {.rbx = (uintptr_t)cell}, none = {0};

    write_dr0((uintptr_t)d_code_at);
    write_dr7(DR7_FIXED | DR7_L0);
    check_hit("execute", d_code, none, d_code_at, DR6_B0);
    write_dr7(DR7_FIXED);
    check_none("execute-off", d_code, none);
    write_dr0((uintptr_t)d_cpuid_bp_at);
    write_dr7(DR7_FIXED | DR7_L0);
    check_hit("execute-after-an-exit", d_cpuid_bp, none, d_cpuid_bp_at, DR6_B0);
    write_dr7(DR7_FIXED);
    write_dr0((uintptr_t)cell);
    write_dr7(DR7_FIXED | DR7_L0 | RW0_WRITE | LEN0_4);
    check_hit("write", d_write, at_cell, d_write_at, DR6_B0);
    check_none("write-not-read", d_read, at_cell);
    write_dr7(DR7_FIXED | DR7_L0 | RW0_ANY | LEN0_8);
    check_hit("read", d_read, at_cell, d_read_at, DR6_B0);
    write_dr1((uintptr_t)cell);
    write_dr7(DR7_FIXED | DR7_L0 | RW0_WRITE | DR7_L1 | RW1_WRITE);
    check_hit("two-at-once", d_write, at_cell, d_write_at, DR6_B0 | DR6_B1);
    write_dr7(DR7_FIXED);
    check_eq("dr7-kept", read_dr7(), DR7_FIXED);
}

static void skip_it(struct guest_frame *f)
{
    guest_interrupts[EXC_DB]++;
    f->rflags |= RFLAGS_RF;
}

static void check_resume(void)
{
    struct guest_regs r = {0};

    /* RF in the frame lets the instruction with the breakpoint run. */
    guest_irq_clear();
    guest_on(EXC_DB, skip_it);
    write_dr0((uintptr_t)d_cpuid_bp_at);
    write_dr7(DR7_FIXED | DR7_L0);
    guest_exec(d_cpuid_bp, &r);
    write_dr7(DR7_FIXED);
    check_eq("resume-flag-over-an-exit", guest_interrupts[EXC_DB], 1);
    guest_on(EXC_DB, NULL);
}

static void check_general_detect(void)
{
    struct guest_regs r = {0};

    write_dr6(0);
    write_dr7(DR7_FIXED | DR7_GD);
    int vector = guest_exec(d_read_dr0, &r);
    uint64_t dr6 = guest_trap.dr6;
    write_dr7(DR7_FIXED);
    check_eq("general-detect", (uint64_t)vector, EXC_DB);
    check_eq("general-detect-dr6", dr6 & DR6_BD, DR6_BD);
    check_eq("general-detect-rip", guest_trap.rip, (uintptr_t)d_read_dr0);
    check_eq("general-detect-cleared", read_dr7() & DR7_GD, 0);
    write_dr6(0);
}

void group_debug(void)
{
    static const struct trap_row icebp = {"icebp", d_icebp, EXC_DB, 0, 1, 0, {0}};

    check_registers();
    check_breakpoints();
    check_resume();
    check_general_detect();
    write_dr6(0);
    check_trap(&icebp);
    check_eq("icebp-dr6", guest_trap.dr6 & 0xe00f, 0);
    write_dr7(DR7_FIXED);
    write_dr6(0);
}
