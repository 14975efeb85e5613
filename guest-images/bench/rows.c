/* The rows of one instruction each. */

#include "bench.h"

#define MSR_APIC_BASE    0x1bu
#define MSR_TSC_ADJUST   0x3bu
#define MSR_MTRR_DEF     0x2ffu
#define MSR_PAT          0x277u
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_EFER         0xc0000080u
#define MSR_FS_BASE      0xc0000100u
#define X2(reg)          (0x800u + (reg) / 16)
#define LVT_DEADLINE     0x40000u
#define ICR_SELF         (0x40000u | 0x4000u | BENCH_VECTOR) /* to itself, "assert" */
#define DIV_1            0xbu
#define FAR_COUNT        0x40000000u
#define FAR_DEADLINE     0x100000000ull /* ticks ahead */
#define CR0_TS           BIT64(3)
#define CR0_AM           BIT64(18)
#define CR4_PGE          BIT64(7)

#define PORT_PIC_MASK  0x21
#define PORT_PIT       0x40
#define PORT_PIT_MODE  0x43 /* written 0: latches channel 0 */
#define PORT_RTC       0x71
#define PORT_POST      0x80
#define PORT_PM_TIMER  0x608
#define PORT_UNCLAIMED 0x1240
#define UART           0x3f8
#define UART_FCR       (UART + 2)
#define UART_MCR       (UART + 4)
#define UART_LSR       (UART + 5)
#define UART_SCRATCH   (UART + 7)
#define FCR_ALL        0x07
#define MCR_LOOP       0x13
#define MCR_READY      0x03
#define ADDR_UNCLAIMED 0xd0000000ull

/* A line takes 7 ms at 115,200 baud. */
#define LINE_US    10000
#define LINE_COUNT 5

#define TOUCH_2M_FROM (16 * MIB)
#define TOUCH_4K_FROM (15 * MIB)
#define TOUCH_2M      6

STUB(s_cpuid, "cpuid");
STUB(s_vmmcall, "vmmcall");
STUB(s_vmcall, "vmcall");
STUB(s_rdmsr, "rdmsr");
STUB(s_wrmsr, "wrmsr");
STUB(s_load, "mov (%rbx), %eax");
STUB(s_store, "mov %eax, (%rbx)");
STUB(s_inb, "inb %dx, %al");
STUB(s_inl, "inl %dx, %eax");
STUB(s_outb, "outb %al, %dx");
STUB(s_outs, "rep outsb");
STUB(s_self_x2, "sti\nwrmsr\nnop\ncli");
STUB(s_self_x1, "sti\nmov %eax, (%rbx)\nnop\ncli");
STUB(s_open, "sti\nnop\ncli");
STUB(s_cr0_read, "mov %cr0, %rax");
STUB(s_cr0_write, "mov %rax, %cr0");
STUB(s_clts, "clts");
STUB(s_cr3_read, "mov %cr3, %rax");
STUB(s_cr3_write, "mov %rax, %cr3");
STUB(s_cr4_read, "mov %cr4, %rax");
STUB(s_cr4_write, "mov %rax, %cr4");
STUB(s_cr8_read, "mov %cr8, %rax");
STUB(s_cr8_write, "mov %rax, %cr8");
STUB(s_dr0_write, "mov %rax, %db0");
STUB(s_dr7_read, "mov %db7, %rax");
STUB(s_dr7_write, "mov %rax, %db7");
STUB(s_invlpg, "invlpg (%rbx)");
STUB(s_wbinvd, "wbinvd");
STUB(s_xsetbv, "xsetbv");
STUB(s_pause, "pause");

static char line[65] = "string OUT of 64 bytes, of which this is one line for the bench";

static void load_cr0(struct bench_regs *r)
{
    r->rax = read_cr0();
}

static void load_cr0_am(struct bench_regs *r)
{
    r->rax = read_cr0() ^ CR0_AM;
}

static void load_cr3(struct bench_regs *r)
{
    r->rax = read_cr3();
}

static void load_cr4(struct bench_regs *r)
{
    r->rax = read_cr4();
}

static void load_cr4_pge(struct bench_regs *r)
{
    r->rax = read_cr4() ^ CR4_PGE;
}

static void set_cr0_ts(struct bench_regs *r)
{
    write_cr0(read_cr0() | CR0_TS);
}

static void set_value(struct bench_regs *r, uint64_t value)
{
    r->rax = (uint32_t)value;
    r->rdx = value >> 32;
}

static void same_msr(struct bench_regs *r)
{
    set_value(r, rdmsr((uint32_t)r->rcx));
}

static void same_xcr0(struct bench_regs *r)
{
    set_value(r, xgetbv(0));
}

/* A timer in one-shot mode, started anew, whose interrupt never comes. */
static void one_shot_far(struct bench_regs *r)
{
    if (lapic_read(LAPIC_REG_LVT_TIMER) != BENCH_VECTOR) {
        lapic_write(LAPIC_REG_TIMER_DIV, DIV_1);
        lapic_write(LAPIC_REG_LVT_TIMER, BENCH_VECTOR);
    }
    r->rax = FAR_COUNT + r->rax % 2 + 1;
}

static void far_deadline(struct bench_regs *r)
{
    if (lapic_read(LAPIC_REG_LVT_TIMER) != (LVT_DEADLINE | BENCH_VECTOR))
        lapic_write(LAPIC_REG_LVT_TIMER, LVT_DEADLINE | BENCH_VECTOR);
    set_value(r, rdtsc() + FAR_DEADLINE);
}

static void send_self(struct bench_regs *r)
{
    lapic_send_self(BENCH_VECTOR);
}

static void loopback(struct bench_regs *r)
{
    outb(UART_MCR, MCR_LOOP);
    r->rsi = (uintptr_t)line;
}

static void no_loopback(void)
{
    outb(UART_FCR, FCR_ALL);
    (void)inb(UART_LSR);
    outb(UART_MCR, MCR_READY);
}

static void whole_line(struct bench_regs *r)
{
    line[63] = '\n';
    r->rsi = (uintptr_t)line;
}

static void let_line_out(void)
{
    guest_wait_us(LINE_US);
}

static void next_4k(struct bench_regs *r)
{
    static uint64_t at = TOUCH_4K_FROM;

    r->rbx = at += PAGE_SIZE_4K;
}

static void next_2m(struct bench_regs *r)
{
    static uint64_t at = TOUCH_2M_FROM;

    r->rbx = at += PAGE_SIZE_2M;
}

#define READ_MSR(row, msr)                                    \
    {                                                         \
        .name = row, .code = s_rdmsr, .regs = {.rcx = (msr) } \
    }
#define WRITE_SAME(row, msr)                                                     \
    {                                                                            \
        .name = row, .code = s_wrmsr, .regs = {.rcx = (msr)}, .before = same_msr \
    }
#define IN(row, port)                                        \
    {                                                        \
        .name = row, .code = s_inb, .regs = {.rdx = (port) } \
    }
#define OUT(row, port)                                        \
    {                                                         \
        .name = row, .code = s_outb, .regs = {.rdx = (port) } \
    }
#define XAPIC_READ(row, reg)                                                                   \
    {                                                                                          \
        .name = row, .code = s_load, .mode = MODE_XAPIC, .regs = {.rbx = GUEST_LAPIC + (reg) } \
    }
#define XAPIC_WRITE(row, reg, ...)                                                              \
    {                                                                                           \
        .name = row, .code = s_store, .mode = MODE_XAPIC, .regs = {.rbx = GUEST_LAPIC + (reg)}, \
        __VA_ARGS__                                                                             \
    }
#define X2_READ(row, reg)                                                            \
    {                                                                                \
        .name = row, .code = s_rdmsr, .mode = MODE_X2APIC, .regs = {.rcx = X2(reg) } \
    }
#define X2_WRITE(row, reg, ...)                                                        \
    {                                                                                  \
        .name = row, .code = s_wrmsr, .mode = MODE_X2APIC, .needs = &bench_has.x2apic, \
        .regs = {.rcx = X2(reg)}, __VA_ARGS__                                          \
    }

const struct bench_row bench_rows[] = {
    /* First of all: a debug register access may be the first one since the vCPU came on. */
    {.name = "dr7-first", .code = s_dr7_read, .samples = 1},
    {.name = "cpuid", .code = s_cpuid},
    {.name = "cpuid-7", .code = s_cpuid, .regs = {.rax = 7}},
    {.name = "cpuid-80000008", .code = s_cpuid, .regs = {.rax = 0x80000008}},
    /* 1: the hypercall that does nothing, to KVM (KVM_HC_VAPIC_POLL_IRQ). */
    {.name = "hypercall", .code = s_vmmcall, .code_intel = s_vmcall, .regs = {.rax = 1}},
    READ_MSR("rdmsr-apic-base", MSR_APIC_BASE),
    READ_MSR("rdmsr-mtrr", MSR_MTRR_DEF),
    WRITE_SAME("wrmsr-mtrr", MSR_MTRR_DEF),
    WRITE_SAME("wrmsr-tsc-adjust", MSR_TSC_ADJUST),
    READ_MSR("rdmsr-pat", MSR_PAT),
    READ_MSR("rdmsr-efer", MSR_EFER),
    WRITE_SAME("wrmsr-efer", MSR_EFER),
    READ_MSR("rdmsr-fs-base", MSR_FS_BASE),
    IN("in-pit", PORT_PIT),
    OUT("out-pit-latch", PORT_PIT_MODE),
    IN("in-pic", PORT_PIC_MASK),
    {.name = "out-pic", .code = s_outb, .regs = {.rdx = PORT_PIC_MASK, .rax = 0xff}, .toggle = 1},
    IN("in-rtc", PORT_RTC),
    {.name = "in-pm-timer", .code = s_inl, .regs = {.rdx = PORT_PM_TIMER}},
    IN("in-unclaimed", PORT_UNCLAIMED),
    OUT("out-unclaimed", PORT_UNCLAIMED),
    OUT("out-post", PORT_POST),
    IN("in-uart-lsr", UART_LSR),
    OUT("out-uart-scratch", UART_SCRATCH),
    {.name = "outs-uart-loop-64",
     .code = s_outs,
     .regs = {.rcx = 64, .rdx = UART},
     .before = loopback,
     .after = no_loopback},
    {.name = "mmio-read-unclaimed", .code = s_load, .regs = {.rbx = ADDR_UNCLAIMED}},
    {.name = "mmio-write-unclaimed", .code = s_store, .regs = {.rbx = ADDR_UNCLAIMED}},
    {.name = "mmio-read-ioapic", .code = s_load, .regs = {.rbx = GUEST_IOAPIC}},
    {.name = "touch-4k", .code = s_store, .before = next_4k},
    {.name = "touch-2m", .code = s_store, .samples = TOUCH_2M, .before = next_2m},
    {.name = "cr0-read", .code = s_cr0_read},
    {.name = "cr0-write-same", .code = s_cr0_write, .before = load_cr0},
    {.name = "cr0-write-am", .code = s_cr0_write, .before = load_cr0_am},
    {.name = "clts", .code = s_clts, .before = set_cr0_ts},
    {.name = "cr3-read", .code = s_cr3_read},
    {.name = "cr3-write", .code = s_cr3_write, .before = load_cr3},
    {.name = "cr4-read", .code = s_cr4_read},
    {.name = "cr4-write-same", .code = s_cr4_write, .before = load_cr4},
    {.name = "cr4-write-pge", .code = s_cr4_write, .before = load_cr4_pge},
    {.name = "cr8-read", .code = s_cr8_read},
    {.name = "cr8-write", .code = s_cr8_write, .toggle = 1},
    {.name = "dr0-write", .code = s_dr0_write},
    {.name = "dr7-read", .code = s_dr7_read},
    {.name = "dr7-write", .code = s_dr7_write, .regs = {.rax = 0x400}},
    {.name = "invlpg", .code = s_invlpg, .regs = {.rbx = GUEST_WINDOW}},
    {.name = "wbinvd", .code = s_wbinvd},
    {.name = "xsetbv", .code = s_xsetbv, .before = same_xcr0, .needs = &bench_has.osxsave},
    {.name = "pause", .code = s_pause},
    XAPIC_READ("xapic-tpr-read", LAPIC_REG_TPR),
    XAPIC_WRITE("xapic-tpr-write", LAPIC_REG_TPR, .toggle = 0x10),
    XAPIC_WRITE("xapic-eoi", LAPIC_REG_EOI, .toggle = 0),
    XAPIC_WRITE("xapic-icr-high", LAPIC_REG_ICR_HIGH, .toggle = 0x1000000),
    XAPIC_WRITE("xapic-timer-arm", LAPIC_REG_TIMER_INIT, .before = one_shot_far),
    XAPIC_READ("xapic-timer-read", LAPIC_REG_TIMER_CUR),
    {.name = "xapic-self-ipi",
     .code = s_self_x1,
     .mode = MODE_XAPIC,
     .regs = {.rax = ICR_SELF, .rbx = GUEST_LAPIC + LAPIC_REG_ICR}},
    {.name = "xapic-pending-sti", .code = s_open, .mode = MODE_XAPIC, .before = send_self},
    X2_READ("x2apic-tpr-read", LAPIC_REG_TPR),
    X2_WRITE("x2apic-tpr-write", LAPIC_REG_TPR, .toggle = 0x10),
    X2_WRITE("x2apic-eoi", LAPIC_REG_EOI, .toggle = 0),
    X2_WRITE("x2apic-timer-arm", LAPIC_REG_TIMER_INIT, .before = one_shot_far),
    {.name = "tsc-deadline-arm",
     .code = s_wrmsr,
     .mode = MODE_X2APIC,
     .needs = &bench_has.tsc_deadline,
     .regs = {.rcx = MSR_TSC_DEADLINE},
     .before = far_deadline},
    {.name = "x2apic-self-ipi",
     .code = s_self_x2,
     .mode = MODE_X2APIC,
     .regs = {.rax = BENCH_VECTOR, .rcx = X2(LAPIC_REG_SELF_IPI)}},
    {.name = "x2apic-self-ipi-icr",
     .code = s_self_x2,
     .mode = MODE_X2APIC,
     .regs = {.rax = ICR_SELF, .rcx = X2(LAPIC_REG_ICR)}},
    {.name = "x2apic-pending-sti", .code = s_open, .mode = MODE_X2APIC, .before = send_self},
    {.name = "outs-uart-64",
     .code = s_outs,
     .samples = LINE_COUNT,
     .regs = {.rcx = 64, .rdx = UART},
     .before = whole_line,
     .after = let_line_out},
};
const size_t bench_row_count = ARRAY_SIZE(bench_rows);
