/* Every exception with its error code and the RIP that it shows (SDM vol. 3, 6.15). */

#include "check.h"

#define INT_SEL(n)   ((n)*8 + 2) /* error code with the IDT bit */
#define EXT          1u
#define SEL_ABSENT   SEL_FREE       /* data, not present */
#define SEL_ABSENT_C (SEL_FREE + 8) /* 64-bit code, not present */
#define DESC_DATA_NP 0x00cf13000000ffffull
#define DESC_CODE_NP 0x00af1b000000ffffull
#define GATE_P       BIT64(47)
#define VEC          0x61 /* a vector of ours */

SNIPPET(x_div, "xor %edx, %edx; xor %ecx, %ecx\nx_div_at: div %ecx");
SNIPPET(x_idiv, "movabs $0x8000000000000000, %rax; cqo; mov $-1, %rcx\nx_idiv_at: idiv %rcx");
SNIPPET(x_int3, "int3");
SNIPPET(x_int3_long, ".byte 0xcd, 3");
SNIPPET(x_into, ".byte 0xce");        /* INTO in 32-bit code */
SNIPPET(x_bound, ".byte 0x62, 0x03"); /* BOUND eax, [ebx] */
SNIPPET(x_ud2, "ud2");
SNIPPET(x_lock_nop, ".byte 0xf0, 0x90");
SNIPPET(x_lock_mov, ".byte 0xf0; mov %eax, %ecx");
SNIPPET(x_into64, ".byte 0xce");
SNIPPET(x_mov_cs, ".byte 0x8e, 0xc8");
SNIPPET(x_too_long, ".fill 15, 1, 0x66; nop");
SNIPPET(x_mov_ds, "mov %eax, %ds");
SNIPPET(x_mov_ss, "mov %eax, %ss");
SNIPPET(x_lretq, "push %rax; push %rbx\nx_lretq_at: lretq");
SNIPPET(x_load, "mov (%rbx), %rax");
SNIPPET(x_load_rbp, "mov (%rbp), %rax");
SNIPPET(x_push, "mov %rsp, %rcx; mov %rbx, %rsp\nx_push_at: push %rax; mov %rcx, %rsp");
SNIPPET(x_int_vec, "int $0x61");
SNIPPET(x_int_user, "int $0x61");
SNIPPET(x_ltr, "ltr %ax");
SNIPPET(x_lldt, "lldt %ax");
SNIPPET(x_iret_nt, "pushfq; orl $0x4000, (%rsp); popfq\nx_iret_nt_at: iretq");
SNIPPET(x_mf, "fninit; push $0x37b; fldcw (%rsp); pop %rax; fld1; fldz; fdivrp\nx_mf_at: fwait");
SNIPPET(x_fninit, "fninit");
SNIPPET(x_xm, "push $0x1d80; ldmxcsr (%rsp); pop %rax; pxor %xmm0, %xmm0; mov $0x3f800000, %eax;"
              "movd %eax, %xmm1\nx_xm_at: divss %xmm0, %xmm1");
SNIPPET(x_mxcsr_reset, "push $0x1f80; ldmxcsr (%rsp); pop %rax");
SNIPPET(x_mxcsr_bad, "push $0x11f80\nx_mxcsr_bad_at: ldmxcsr (%rsp); pop %rax");
SNIPPET(x_movaps, "movaps (%rbx), %xmm0");
SNIPPET(x_unaligned, "mov 1(%rbx), %eax");
SNIPPET(x_syscall, "syscall");

static void check_simple(void)
{
    static const struct trap_row rows[] = {
        {"de-div-by-0", x_div, EXC_DE, 0, 4, 0, {0}},
        {"de-idiv-overflow", x_idiv, EXC_DE, 0, 19, 0, {0}},
        {"bp", x_int3, EXC_BP, 0, 1, 0, {0}},
        {"bp-int-3", x_int3_long, EXC_BP, 0, 2, 0, {0}},
        {"bp-ring-3", x_int3, EXC_BP, 0, 1, SEL_USER_CODE64, {0}},
        {"of", x_into, EXC_OF, 0, 1, SEL_CODE32, {.rflags = RFLAGS_OF}},
        {"of-ring-3", x_into, EXC_OF, 0, 1, SEL_USER_CODE32, {.rflags = RFLAGS_OF}},
        {"of-not-set", x_into, GUEST_RETURNED, 0, 0, SEL_CODE32, {0}},
        {"ud2", x_ud2, EXC_UD, 0, 0, 0, {0}},
        {"ud2-ring-3", x_ud2, EXC_UD, 0, 0, SEL_USER_CODE64, {0}},
        {"ud2-compatibility-ring-3", x_ud2, EXC_UD, 0, 0, SEL_USER_CODE32, {0}},
        {"ud-lock-nop", x_lock_nop, EXC_UD, 0, 0, 0, {0}},
        {"ud-lock-register", x_lock_mov, EXC_UD, 0, 0, 0, {0}},
        {"ud-into-64-bit", x_into64, EXC_UD, 0, 0, 0, {0}},
        {"ud-mov-cs", x_mov_cs, EXC_UD, 0, 0, 0, {.rax = SEL_CODE64}},
        {"gp-16-bytes", x_too_long, EXC_GP, 0, 0, 0, {0}},
        {"gp-noncanonical", x_load, EXC_GP, 0, 0, 0, {.rbx = NONCANONICAL}},
        {"gp-noncanonical-ring-3", x_load, EXC_GP, 0, 0, SEL_USER_CODE64, {.rbx = NONCANONICAL}},
        {"ss-noncanonical-rbp", x_load_rbp, EXC_SS, 0, 0, 0, {.rbp = NONCANONICAL}},
        {"gp-misaligned-sse", x_movaps, EXC_GP, 0, 0, 0, {.rbx = 0x100004}},
        {"iret-nt-in-long-mode", x_iret_nt, EXC_GP, 0, 9, 0, {0}},
        {"mxcsr-reserved", x_mxcsr_bad, EXC_GP, 0, 5, 0, {0}},
    };

    check_traps(rows, ARRAY_SIZE(rows));
    /* At CPL 3, with IST, where RSP is non-canonical: delivery needs another stack. */
    guest_set_ist(EXC_SS, GUEST_IST_SPARE);
    static const struct trap_row push = {"ss-noncanonical-push", x_push, EXC_SS, 0, 6, 0,
                                         {.rbx = NONCANONICAL}};
    check_trap(&push);
    guest_set_ist(EXC_SS, 0);
}

static void check_bound(void)
{
    static const int32_t bounds[2] = {1, 5};
    struct trap_row row = {
        "br", x_bound, EXC_BR, 0, 0, SEL_CODE32, {.rax = 7, .rbx = (uintptr_t)bounds}};

    check_trap(&row);
    row = (struct trap_row){"br-within",
                            x_bound,
                            GUEST_RETURNED,
                            0,
                            0,
                            SEL_CODE32,
                            {.rax = 5, .rbx = (uintptr_t)bounds}};
    check_trap(&row);
}

static void check_segments(void)
{
    static const struct trap_row rows[] = {
        {"gp-selector-beyond-gdt", x_mov_ds, EXC_GP, 0xfff8, 0, 0, {.rax = 0xfffb}},
        {"gp-selector-in-no-ldt", x_mov_ds, EXC_GP, 0xc, 0, 0, {.rax = 0xc}},
        {"gp-tss-as-data", x_mov_ds, EXC_GP, SEL_TSS, 0, 0, {.rax = SEL_TSS}},
        {"gp-code-as-stack", x_mov_ss, EXC_GP, SEL_CODE64, 0, 0, {.rax = SEL_CODE64}},
        {"np-data", x_mov_ds, EXC_NP, SEL_ABSENT, 0, 0, {.rax = SEL_ABSENT}},
        {"ss-absent", x_mov_ss, EXC_SS, SEL_ABSENT, 0, 0, {.rax = SEL_ABSENT}},
        {"np-code", x_lretq, EXC_NP, SEL_ABSENT_C, 2, 0, {.rax = SEL_ABSENT_C}},
        {"gp-ret-to-data", x_lretq, EXC_GP, SEL_DATA, 2, 0, {.rax = SEL_DATA}},
        {"gp-ret-to-null", x_lretq, EXC_GP, 0, 2, 0, {0}},
        {"gp-ltr-busy", x_ltr, EXC_GP, SEL_TSS, 0, 0, {.rax = SEL_TSS}},
        {"gp-ltr-data", x_ltr, EXC_GP, SEL_DATA, 0, 0, {.rax = SEL_DATA}},
        {"gp-lldt-data", x_lldt, EXC_GP, SEL_DATA, 0, 0, {.rax = SEL_DATA}},
        {"gp-user-loads-kernel-data",
         x_mov_ds,
         EXC_GP,
         SEL_DATA,
         0,
         SEL_USER_CODE64,
         {.rax = SEL_DATA}},
    };

    guest_gdt[SEL_ABSENT / 8] = DESC_DATA_NP;
    guest_gdt[SEL_ABSENT_C / 8] = DESC_CODE_NP;
    check_traps(rows, ARRAY_SIZE(rows));
}

static void check_gates(void)
{
    struct PACKED {
        uint16_t limit;
        uint64_t base;
    } idtr, cut;
    struct trap_row row = {"gate-dpl", x_int_user, EXC_GP, INT_SEL(VEC), 0, SEL_USER_CODE64, {0}};

    check_trap(&row);
    guest_gate(VEC)[0] &= ~GATE_P;
    row = (struct trap_row){"gate-absent", x_int_vec, EXC_NP, INT_SEL(VEC), 0, 0, {0}};
    check_trap(&row);
    guest_reset_gate(VEC);
    guest_gate(VEC)[0] &= ~(0xfull << 40);
    guest_gate(VEC)[0] |= 5ull << 40; /* a task gate: none in long mode */
    row = (struct trap_row){"gate-type", x_int_vec, EXC_GP, INT_SEL(VEC), 0, 0, {0}};
    check_trap(&row);
    guest_reset_gate(VEC);
    guest_gate(VEC)[0] &= ~(0xffffull << 16);
    row = (struct trap_row){"gate-null-cs", x_int_vec, EXC_GP, 0, 0, 0, {0}};
    check_trap(&row);
    guest_gate(VEC)[0] |= SEL_DATA << 16;
    row = (struct trap_row){"gate-data-cs", x_int_vec, EXC_GP, SEL_DATA, 0, 0, {0}};
    check_trap(&row);
    guest_reset_gate(VEC);
    guest_gate(VEC)[1] = NONCANONICAL >> 32;
    row = (struct trap_row){"gate-noncanonical", x_int_vec, EXC_GP, 0, 0, 0, {0}};
    int vector = guest_exec(x_int_vec, &row.regs);
    check_eq("gate-noncanonical-handler", (uint64_t)vector, EXC_GP);
    guest_reset_gate(VEC);

    __asm__ volatile("sidt %0" : "=m"(idtr));
    cut = idtr;
    cut.limit = VEC * 16 - 1;
    __asm__ volatile("lidt %0" ::"m"(cut));
    row = (struct trap_row){"gate-beyond-limit", x_int_vec, EXC_GP, INT_SEL(VEC), 0, 0, {0}};
    check_trap(&row);
    __asm__ volatile("lidt %0" ::"m"(idtr));
    check_eq("sidt-limit", idtr.limit, 256 * 16 - 1);
}

/* What an exception meets on its way to its handler (SDM vol. 3, 6.15, "Interrupt 8"). */
static void check_nested(void)
{
    struct guest_regs r = {0};
    struct trap_row row;

    guest_gate(EXC_GP)[0] &= ~GATE_P;
    guest_gate(EXC_NP)[0] &= ~GATE_P;
    row = (struct trap_row){"df-gp-then-np", x_load, EXC_DF, 0, 0, 0, {.rbx = NONCANONICAL}};
    check_trap(&row);
    guest_reset_gate(EXC_NP);
    /* #GP and then #NP for its gate, EXT set: two contributory ones, too. */
    row =
        (struct trap_row){"df-contributory-twice", x_load, EXC_DF, 0, 0, 0, {.rbx = NONCANONICAL}};
    check_trap(&row);
    guest_reset_gate(EXC_GP);
    guest_gate(EXC_PF)[0] &= ~GATE_P;
    row = (struct trap_row){"df-pf-then-np", x_load, EXC_DF, 0, 0, 0, {.rbx = GUEST_UNMAPPED}};
    check_trap(&row);
    guest_reset_gate(EXC_PF);
    guest_gate(EXC_UD)[0] &= ~GATE_P;
    row = (struct trap_row){"np-after-ud", x_ud2, EXC_NP, INT_SEL(EXC_UD) | EXT, 0, 0, {0}};
    check_trap(&row);
    guest_reset_gate(EXC_UD);

    guest_gate(VEC)[0] &= 0x0000ffffffff0000ull;
    guest_gate(VEC)[0] |= (GUEST_UNMAPPED >> 16 & 0xffff) << 48;
    int vector = guest_exec(x_int_vec, &r);
    check_eq("handler-not-mapped", (uint64_t)vector, EXC_PF);
    check_eq("handler-not-mapped-rip", guest_trap.rip, GUEST_UNMAPPED);
    check_eq("handler-not-mapped-cr2", guest_trap.cr2, GUEST_UNMAPPED);
    guest_reset_gate(VEC);
}

static uint64_t handler_rsp;

static void note_rsp(struct guest_frame *f)
{
    handler_rsp = (uintptr_t)f;
    f->rip += 2;
}

static void check_stacks(void)
{
    struct guest_regs r = {0};
    uint8_t here;

    guest_on(EXC_UD, note_rsp);
    guest_exec(x_ud2, &r);
    check_range("no-ist-same-stack", handler_rsp, (uintptr_t)&here - 8192, (uintptr_t)&here + 8192);
    guest_set_ist(EXC_UD, GUEST_IST_SPARE);
    guest_exec(x_ud2, &r);
    check_that("ist-other-stack",
               handler_rsp + 8192 < (uintptr_t)&here || handler_rsp > (uintptr_t)&here + 8192,
               handler_rsp, "the stack of the IST");
    guest_set_ist(EXC_UD, 0);
    guest_on(EXC_UD, NULL);
    check_eq("frame-aligned", (handler_rsp + sizeof(struct guest_frame)) & 15, 0);
}

static void check_float(void)
{
    struct guest_regs r = {0};
    struct trap_row row = {"mf", x_mf, EXC_MF, 0, (uint16_t)(x_mf_end - x_mf - 2), 0, {0}};

    check_trap(&row);
    guest_exec(x_fninit, &r);
    row = (struct trap_row){"xm", x_xm, EXC_XM, 0, (uint16_t)(x_xm_end - x_xm - 5), 0, {0}};
    check_trap(&row);
    guest_exec(x_mxcsr_reset, &r);
}

/* #AC needs CR0.AM, RFLAGS.AC and CPL 3. */
static void check_alignment(void)
{
    static uint64_t data[2];
    uint64_t cr0 = read_cr0();
    struct trap_row row = {"ac-off",
                           x_unaligned,
                           GUEST_RETURNED,
                           0,
                           0,
                           SEL_USER_CODE64,
                           {.rbx = guest_user(data), .rflags = RFLAGS_AC}};

    check_trap(&row);
    write_cr0(cr0 | CR0_AM);
    row.name = "ac";
    row.vector = EXC_AC;
    check_trap(&row);
    row.name = "ac-flag-clear";
    row.vector = GUEST_RETURNED;
    row.regs.rflags = 0;
    check_trap(&row);
    row = (struct trap_row){"ac-ring-0",
                            x_unaligned,
                            GUEST_RETURNED,
                            0,
                            0,
                            0,
                            {.rbx = (uintptr_t)data, .rflags = RFLAGS_AC}};
    check_trap(&row);
    write_cr0(cr0);
}

static struct guest_frame syscall_frame;

static void note_syscall(struct guest_frame *f)
{
    syscall_frame = *f;
    /* Ends as if the code had reached its end. */
    f->rip = f->rcx;
    f->cs = SEL_USER_CODE64;
    f->ss = SEL_USER_DATA;
}

__asm__(".pushsection .snippets, \"ax\", @progbits\nsyscall_entry: ud2\n.popsection");
extern const uint8_t syscall_entry[];

static void check_syscall(void)
{
    uint64_t efer = rdmsr(MSR_EFER);
    struct guest_regs r = {.rflags = RFLAGS_CF};
    struct trap_row row = {"syscall-disabled", x_syscall, EXC_UD, 0, 0, SEL_USER_CODE64, {0}};

    wrmsr(MSR_EFER, efer & ~EFER_SCE);
    check_trap(&row);
    wrmsr(MSR_EFER, efer | EFER_SCE);
    wrmsr(MSR_STAR, 0x0018ull << 48 | (uint64_t)SEL_CODE64 << 32);
    wrmsr(MSR_LSTAR, (uintptr_t)syscall_entry);
    wrmsr(MSR_SFMASK, RFLAGS_CF);
    /* The entry faults in ring 0: the handler sees what SYSCALL did. */
    guest_on(EXC_UD, note_syscall);
    guest_set_ist(EXC_UD, GUEST_IST_SPARE);
    guest_exec_in(SEL_USER_CODE64, x_syscall, &r);
    guest_set_ist(EXC_UD, 0);
    guest_on(EXC_UD, NULL);
    check_eq("syscall-rip", syscall_frame.rip, (uintptr_t)syscall_entry);
    check_eq("syscall-cs", syscall_frame.cs, SEL_CODE64);
    check_eq("syscall-ss", syscall_frame.ss, SEL_DATA);
    check_eq("syscall-rcx", syscall_frame.rcx, guest_user(x_syscall) + 2);
    check_eq("syscall-r11", syscall_frame.r11 & RFLAGS_CF, RFLAGS_CF);
    check_eq("syscall-flags-masked", syscall_frame.rflags & RFLAGS_CF, 0);
    wrmsr(MSR_EFER, efer);
}

void group_exception(void)
{
    check_simple();
    check_bound();
    check_segments();
    check_gates();
    check_nested();
    check_stacks();
    check_float();
    check_alignment();
    check_syscall();
}
