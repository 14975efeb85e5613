/* x87, SSE and AVX state over exits, and XCR0's rules (SDM vol. 1, chapter 13). */

#include "check.h"

#define VEC   0x73
#define REGS  16
#define XMM   16
#define YMM   32
#define MXCSR 0x7f80u /* round to zero, all masked */
#define FCW   0x0c7fu

/* RBX: where to load from; RCX: the exit's leaf. */
#define LOAD_XMM                                                                              \
    "movups (%rbx), %xmm0; movups 16(%rbx), %xmm1; movups 32(%rbx), %xmm2; movups 48(%rbx), " \
    "%xmm3; movups 64(%rbx), %xmm4; movups 80(%rbx), %xmm5; movups 96(%rbx), %xmm6; movups "  \
    "112(%rbx), %xmm7; movups 128(%rbx), %xmm8; movups 144(%rbx), %xmm9; movups 160(%rbx), "  \
    "%xmm10; movups 176(%rbx), %xmm11; movups 192(%rbx), %xmm12; movups 208(%rbx), %xmm13; "  \
    "movups 224(%rbx), %xmm14; movups 240(%rbx), %xmm15\n"
#define STORE_XMM                                                                               \
    "movups %xmm0, (%rbx); movups %xmm1, 16(%rbx); movups %xmm2, 32(%rbx); movups %xmm3, "      \
    "48(%rbx); movups %xmm4, 64(%rbx); movups %xmm5, 80(%rbx); movups %xmm6, 96(%rbx); movups " \
    "%xmm7, 112(%rbx); movups %xmm8, 128(%rbx); movups %xmm9, 144(%rbx); movups %xmm10, "       \
    "160(%rbx); movups %xmm11, 176(%rbx); movups %xmm12, 192(%rbx); movups %xmm13, 208(%rbx); " \
    "movups %xmm14, 224(%rbx); movups %xmm15, 240(%rbx)\n"
#define LOAD_YMM                                                                                 \
    "vmovups (%rbx), %ymm0; vmovups 32(%rbx), %ymm1; vmovups 64(%rbx), %ymm2; vmovups 96(%rbx)," \
    "%ymm3; vmovups 128(%rbx), %ymm4; vmovups 160(%rbx), %ymm5; vmovups 192(%rbx), %ymm6; "      \
    "vmovups 224(%rbx), %ymm7; vmovups 256(%rbx), %ymm8; vmovups 480(%rbx), %ymm15\n"
#define STORE_YMM                                                                              \
    "vmovups %ymm0, (%rbx); vmovups %ymm1, 32(%rbx); vmovups %ymm2, 64(%rbx); vmovups %ymm3,"  \
    "96(%rbx); vmovups %ymm4, 128(%rbx); vmovups %ymm5, 160(%rbx); vmovups %ymm6, 192(%rbx); " \
    "vmovups %ymm7, 224(%rbx); vmovups %ymm8, 256(%rbx); vmovups %ymm15, 480(%rbx)\n"

SNIPPET(f_load_xmm, LOAD_XMM);
SNIPPET(f_store_xmm, STORE_XMM);
SNIPPET(f_load_ymm, LOAD_YMM);
SNIPPET(f_store_ymm, STORE_YMM);
SNIPPET(f_load_x87, "fninit; fldcw (%rbx); fld1; fldpi; fldl2e; ldmxcsr 4(%rbx)");
SNIPPET(f_store_x87, "fnsave (%rbx); fninit; stmxcsr 112(%rbx); push $0x1f80; ldmxcsr (%rsp);"
                     "pop %rax");
SNIPPET(f_xgetbv, "xgetbv");
SNIPPET(f_vxorps, "vxorps %ymm0, %ymm0, %ymm0");
SNIPPET(f_halt, "sti; hlt; cli");
SNIPPET(f_xsave, "xsave (%rbx)");

static uint8_t pattern[512] ALIGNED(64), got[512] ALIGNED(64);
static uint8_t area[2048] ALIGNED(64);

static void exit_cpuid(void)
{
    cpuid(1, 0);
}
static void exit_port(void)
{
    inb(0x61);
    outb(0x80, 0);
}
static void exit_mmio(void)
{
    (void)lapic_read(LAPIC_REG_VERSION);
    lapic_write(LAPIC_REG_TPR, 0);
}
static void exit_msr(void)
{
    (void)rdmsr(MSR_APIC_BASE);
}
static void exit_cr(void)
{
    uint64_t cr0 = read_cr0();

    write_cr0(cr0 | CR0_AM);
    write_cr0(cr0);
}
static void exit_halt(void)
{
    struct guest_regs r = {0};

    lapic_write(LAPIC_REG_TIMER_DIV, 0xb);
    lapic_write(LAPIC_REG_LVT_TIMER, VEC);
    lapic_write(LAPIC_REG_TIMER_INIT, 10000);
    guest_exec(f_halt, &r);
    lapic_write(LAPIC_REG_LVT_TIMER, 0x10000);
}
static void exit_fault(void)
{
    struct guest_regs r = {.rcx = 0xdeadbeef};
    static const uint8_t rdmsr_code[] = {0x0f, 0x32, 0xc3};

    guest_exec(rdmsr_code, &r);
}

static const struct {
    const char *xmm, *ymm, *x87;
    void (*exit)(void);
} exits[] = {
    {"xmm-over-cpuid", "ymm-over-cpuid", "x87-over-cpuid", exit_cpuid},
    {"xmm-over-port", "ymm-over-port", "x87-over-port", exit_port},
    {"xmm-over-mmio", "ymm-over-mmio", "x87-over-mmio", exit_mmio},
    {"xmm-over-msr", "ymm-over-msr", "x87-over-msr", exit_msr},
    {"xmm-over-cr0", "ymm-over-cr0", "x87-over-cr0", exit_cr},
    {"xmm-over-halt", "ymm-over-halt", "x87-over-halt", exit_halt},
    {"xmm-over-fault", "ymm-over-fault", "x87-over-fault", exit_fault},
};

static void run(const uint8_t *code, void *where)
{
    struct guest_regs r = {.rbx = (uintptr_t)where};

    guest_exec(code, &r);
}

static void check_xmm(size_t i)
{
    run(f_load_xmm, pattern);
    exits[i].exit();
    memset(got, 0, sizeof(got));
    run(f_store_xmm, got);
    check_eq(exits[i].xmm, (uint64_t)(memcmp(got, pattern, REGS * XMM) == 0), 1);
}

static void check_ymm(size_t i)
{
    run(f_load_ymm, pattern);
    exits[i].exit();
    memset(got, 0, sizeof(got));
    run(f_store_ymm, got);
    check_that(exits[i].ymm,
               memcmp(got, pattern, 9 * YMM) == 0 &&
                   memcmp(got + 15 * YMM, pattern + 15 * YMM, YMM) == 0,
               0, "the same contents");
}

static void check_x87(size_t i)
{
    static const uint32_t control[2] = {FCW, MXCSR};
    static uint8_t before[128], after[128];

    run(f_load_x87, (void *)control);
    run(f_store_x87, before);
    run(f_load_x87, (void *)control);
    exits[i].exit();
    run(f_store_x87, after);
    /* Control, status and tag word; the registers; MXCSR. The instruction pointers differ. */
    check_that(exits[i].x87,
               memcmp(before, after, 10) == 0 && memcmp(before + 28, after + 28, 80) == 0 &&
                   *(uint32_t *)(after + 112) == MXCSR && *(uint16_t *)after == (FCW | 0x40),
               *(uint32_t *)after, "the same contents");
}

static void check_xcr0(void)
{
    uint64_t cr4 = read_cr4();
    struct guest_regs r = {0};
    static const struct trap_row off = {"xgetbv-disabled", f_xgetbv, EXC_UD, 0, 0, 0, {0}};

    if (!has.xsave) {
        check_skip("xcr0", "no XSAVE");
        return;
    }
    write_cr4(cr4 & ~CR4_OSXSAVE);
    check_trap(&off);
    check_eq("xsetbv-disabled", (uint64_t)try_xsetbv(0, 1), EXC_UD);
    write_cr4(cr4 | CR4_OSXSAVE);
    check_eq("xsetbv-x87-sse", (uint64_t)try_xsetbv(0, 3), (uint64_t)GUEST_RETURNED);
    check_eq("xcr0", xgetbv(0), 3);
    check_eq("xsetbv-without-x87", (uint64_t)try_xsetbv(0, 2), EXC_GP);
    check_eq("xsetbv-nothing", (uint64_t)try_xsetbv(0, 0), EXC_GP);
    check_eq("xsetbv-avx-without-sse", (uint64_t)try_xsetbv(0, 5), EXC_GP);
    check_eq("xsetbv-unknown", (uint64_t)try_xsetbv(0, 3 | BIT64(62)), EXC_GP);
    check_eq("xsetbv-xcr1", (uint64_t)try_xsetbv(1, 3), EXC_GP);
    check_eq("xcr0-kept", xgetbv(0), 3);
    r.rcx = 0x10;
    check_eq("xgetbv-unknown", (uint64_t)guest_exec(f_xgetbv, &r), EXC_GP);
    r = (struct guest_regs){.rax = 3};
    static const uint8_t xsetbv_code[] = {0x0f, 0x01, 0xd1, 0xc3};
    check_eq("xsetbv-ring-3", (uint64_t)guest_exec_in(SEL_USER_CODE64, xsetbv_code, &r), EXC_GP);
    r = (struct guest_regs){0};
    guest_exec_in(SEL_USER_CODE64, f_xgetbv, &r);
    check_eq("xgetbv-ring-3", r.rax, 3);
    if (has.avx) {
        static const struct trap_row ud = {"avx-disabled", f_vxorps, EXC_UD, 0, 0, 0, {0}};

        check_trap(&ud);
        check_eq("xsetbv-avx", (uint64_t)try_xsetbv(0, 7), (uint64_t)GUEST_RETURNED);
        check_eq("avx-enabled", (uint64_t)guest_exec(f_vxorps, &r), (uint64_t)GUEST_RETURNED);
    }
    r = (struct guest_regs){.rax = ~0ull, .rdx = ~0ull, .rbx = (uintptr_t)area};
    check_eq("xsave-runs", (uint64_t)guest_exec(f_xsave, &r), (uint64_t)GUEST_RETURNED);
    check_eq("xsave-header", *(uint64_t *)(area + 512) & ~7ull, 0);
}

void group_fpu(void)
{
    uint64_t cr4 = read_cr4();

    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (uint8_t)(i * 7 + 13);
    for (size_t i = 0; i < ARRAY_SIZE(exits); i++) {
        check_xmm(i);
        check_x87(i);
    }
    check_xcr0();
    for (size_t i = 0; has.xsave && has.avx && i < ARRAY_SIZE(exits); i++)
        check_ymm(i);
    write_cr4(cr4);
}
