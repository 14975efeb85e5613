/* Single-stepping over instructions that a hypervisor executes for the guest: #DB comes right after
 * each of them, with DR6.BS (SDM vol. 3, 17.3.1.4). */

#include "check.h"

#define DR6_BS    BIT64(14)
#define MAX_STEPS 16

#define STEP(name, insn)                                                                       \
    SNIPPET(name, "pushfq; orl $0x100, (%rsp); popfq\n" insn "\n" #name "_after: nop; pushfq;" \
                  "andl $~0x100, (%rsp); popfq");                                              \
    extern const uint8_t name##_after[]

STEP(s_nop, "nop");
STEP(s_cpuid, "cpuid");
STEP(s_rdmsr, "rdmsr");
STEP(s_wrmsr, "wrmsr");
STEP(s_in, "in $0x61, %al");
STEP(s_out, "out %al, $0x80");
STEP(s_in_dx, "in %dx, %eax");
STEP(s_mmio_read, "mov (%rbx), %eax");
STEP(s_mmio_write, "mov %eax, (%rbx)");
STEP(s_mmio_rmw, "orl $0, (%rbx)");
STEP(s_read_cr0, "mov %cr0, %rax");
STEP(s_write_cr0, "mov %rsi, %cr0");
STEP(s_write_cr3, "mov %rsi, %cr3");
STEP(s_read_cr4, "mov %cr4, %rax");
STEP(s_write_cr4, "mov %rsi, %cr4");
STEP(s_write_cr8, "mov %rsi, %cr8");
STEP(s_clts, "clts");
STEP(s_smsw, "smsw %eax");
STEP(s_wbinvd, "wbinvd");
STEP(s_invlpg, "invlpg (%rbx)");
STEP(s_rdtsc, "rdtsc");
STEP(s_vmmcall, "vmmcall");
STEP(s_vmcall, "vmcall");
STEP(s_xsetbv, "xsetbv");
STEP(s_read_dr7, "mov %dr7, %rax");
STEP(s_pushf, "pushfq; pop %rax"); /* two instructions, two steps */
STEP(s_rep, "rep outsb");
STEP(s_mov_ss, "mov %ss, %eax; mov %eax, %ss; nop");
STEP(s_sti, "sti; cpuid; cli");
STEP(s_int, "int $0x63");
STEP(s_cpuid_twice, "cpuid; cpuid; in $0x61, %al");

static struct {
    uint64_t rip, dr6;
} steps[MAX_STEPS];
static unsigned int step_count;

static void on_step(struct guest_frame *f)
{
    if (step_count < MAX_STEPS) {
        steps[step_count].rip = f->rip;
        steps[step_count].dr6 = read_dr6();
    }
    step_count++;
    write_dr6(0);
}

static int step(const uint8_t *code, struct guest_regs regs)
{
    step_count = 0;
    write_dr6(0);
    guest_on(EXC_DB, on_step);
    int vector = guest_exec(code, &regs);
    guest_on(EXC_DB, NULL);
    return vector;
}

struct step_row {
    const char *name;
    const uint8_t *code, *after;
    struct guest_regs regs;
};

static void check_step(const struct step_row *row)
{
    int vector = step(row->code, row->regs);

    if (vector != GUEST_RETURNED) {
        check_eq(row->name, (uint64_t)vector, (uint64_t)GUEST_RETURNED);
    } else if (steps[0].rip != (uintptr_t)row->after) {
        check_eq(row->name, steps[0].rip, (uintptr_t)row->after);
    } else if (!(steps[0].dr6 & DR6_BS)) {
        check_eq(row->name, steps[0].dr6, DR6_BS);
    } else {
        /* The instruction behind it is the next one to be stepped, not the one after that. */
        check_eq(row->name, steps[1].rip, (uintptr_t)row->after + 1);
    }
}

#define ROW(name, label, ...)       \
    {                               \
        name, label, label##_after, \
        {                           \
            __VA_ARGS__             \
        }                           \
    }
static const struct step_row rows[] = {
    ROW("nop", s_nop, 0),
    ROW("cpuid", s_cpuid, 0),
    ROW("rdmsr", s_rdmsr, .rcx = MSR_EFER),
    ROW("rdmsr-exiting", s_rdmsr, .rcx = MSR_APIC_BASE),
    ROW("wrmsr", s_wrmsr, .rcx = MSR_KERNEL_GS_BASE),
    ROW("wrmsr-exiting", s_wrmsr, .rcx = MSR_PAT, .rax = 0x00070406, .rdx = 0x00070406),
    ROW("in", s_in, 0),
    ROW("out", s_out, 0),
    ROW("in-dx", s_in_dx, .rdx = 0xcf8),
    ROW("mmio-read", s_mmio_read, .rbx = GUEST_LAPIC + LAPIC_REG_VERSION),
    ROW("mmio-write", s_mmio_write, .rbx = GUEST_LAPIC + LAPIC_REG_TPR),
    ROW("mmio-rmw", s_mmio_rmw, .rbx = GUEST_LAPIC + LAPIC_REG_TPR),
    ROW("ioapic-read", s_mmio_read, .rbx = GUEST_IOAPIC),
    ROW("read-cr0", s_read_cr0, 0),
    ROW("read-cr4", s_read_cr4, 0),
    ROW("write-cr8", s_write_cr8, 0),
    ROW("clts", s_clts, 0),
    ROW("smsw", s_smsw, 0),
    ROW("wbinvd", s_wbinvd, 0),
    ROW("invlpg", s_invlpg, .rbx = 0x100000),
    ROW("rdtsc", s_rdtsc, 0),
    ROW("read-dr7", s_read_dr7, 0),
};

static void check_writes(void)
{
    const struct step_row cr[] = {
        ROW("write-cr0", s_write_cr0, .rsi = read_cr0()),
        ROW("write-cr0-ts", s_write_cr0, .rsi = read_cr0() | CR0_TS),
        ROW("write-cr0-back", s_write_cr0, .rsi = read_cr0() & ~CR0_TS),
        ROW("write-cr0-cd", s_write_cr0, .rsi = read_cr0() | CR0_CD),
        ROW("write-cr0-cd-back", s_write_cr0, .rsi = read_cr0() & ~CR0_CD),
        ROW("write-cr3", s_write_cr3, .rsi = read_cr3()),
        ROW("write-cr4", s_write_cr4, .rsi = read_cr4() ^ CR4_MCE),
        ROW("write-cr4-back", s_write_cr4, .rsi = read_cr4()),
    };

    for (size_t i = 0; i < ARRAY_SIZE(cr); i++)
        check_step(&cr[i]);
    if (has.xsave) {
        static const struct step_row xsetbv = ROW("xsetbv", s_xsetbv, .rax = 1);
        uint64_t cr4 = read_cr4();

        write_cr4(cr4 | CR4_OSXSAVE);
        uint64_t xcr0 = xgetbv(0);
        check_step(&xsetbv);
        check_eq("xsetbv-done", xgetbv(0), 1);
        write_cr4(cr4 | CR4_OSXSAVE);
        __asm__ volatile("xsetbv" ::"c"(0), "a"((uint32_t)xcr0), "d"(0));
        write_cr4(cr4);
    }
    if (!has.native) {
        static const struct step_row amd = ROW("vmmcall", s_vmmcall, 0);
        static const struct step_row intel = ROW("vmcall", s_vmcall, 0);

        check_step(has.amd ? &amd : &intel);
    }
}

static void check_sequences(void)
{
    step(s_cpuid_twice, (struct guest_regs){0});
    check_eq("cpuid-twice", steps[0].rip - (uintptr_t)s_cpuid_twice, 11);
    check_eq("cpuid-twice-second", steps[1].rip - (uintptr_t)s_cpuid_twice, 13);
    check_eq("cpuid-twice-in", steps[2].rip, (uintptr_t)s_cpuid_twice_after);
    step(s_pushf, (struct guest_regs){0});
    check_eq("pushf", steps[0].rip - (uintptr_t)s_pushf, 10);
    check_eq("pushf-pop", steps[1].rip, (uintptr_t)s_pushf_after);
    /* MOV SS holds #DB back for one instruction. */
    step(s_mov_ss, (struct guest_regs){0});
    check_eq("mov-ss-first", steps[0].rip - (uintptr_t)s_mov_ss, 11);
    check_eq("mov-ss-shadow", steps[1].rip, (uintptr_t)s_mov_ss_after);
    /* STI does not. */
    step(s_sti, (struct guest_regs){0});
    check_eq("sti", steps[0].rip - (uintptr_t)s_sti, 10);
    check_eq("sti-cpuid", steps[1].rip - (uintptr_t)s_sti, 12);
    check_eq("sti-cli", steps[2].rip, (uintptr_t)s_sti_after);
    /* Each iteration of a REP is a step; RIP stays until the last one is done. */
    step(s_rep, (struct guest_regs){.rcx = 3, .rdx = 0x80, .rsi = 0x100000});
    check_eq("rep-first", steps[0].rip - (uintptr_t)s_rep, 9);
    check_eq("rep-second", steps[1].rip - (uintptr_t)s_rep, 9);
    check_eq("rep-last", steps[2].rip, (uintptr_t)s_rep_after);
    /* TF is clear in the handler and comes back with IRET: INT n itself is no step before it. */
    step(s_int, (struct guest_regs){0});
    check_eq("int-n", steps[0].rip, (uintptr_t)s_int_after + 1);
}

void group_step(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_step(&rows[i]);
    check_writes();
    check_sequences();
    check_eq("dr6-in-the-end", read_dr6() & DR6_BS, 0);
}
