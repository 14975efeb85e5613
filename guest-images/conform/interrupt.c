/* When interrupts come and when not: IF, shadows, gates (SDM vol. 3, 6.8; APM vol. 2, 8.5). */

#include "check.h"

#define VEC    0x61
#define EXT    1u
#define ERR(v) ((v)*8 + 2 + EXT)
#define GATE_P BIT64(47)

/* The IPI is sent by the code itself: RBX is the ICR's address, EAX the value. The reads make sure
 * that it has arrived. */
#define SEND "mov %eax, (%rbx); mov 0x20(%rbx), %ecx; mov 0x20(%rbx), %ecx\n"
SNIPPET(i_sti_shadow, SEND "sti; nop\ni_sti_shadow_at: nop; cli");
SNIPPET(i_sti_cli, SEND "sti; cli; nop");
SNIPPET(i_sti_exit, SEND "sti; in $0x61, %al\ni_sti_exit_at: nop; cli");
SNIPPET(i_sti_cpuid, SEND "mov %rbx, %rsi; sti; cpuid\ni_sti_cpuid_at: nop; cli; mov %rsi, %rbx");
SNIPPET(i_popf, SEND "pushfq; orl $0x200, (%rsp); popfq\ni_popf_at: nop; nop; cli");
SNIPPET(i_sti_hlt, SEND "sti; hlt\ni_sti_hlt_at: cli");
SNIPPET(i_sti_sti, SEND "sti; sti\ni_sti_sti_at: nop; cli");
SNIPPET(i_iret, SEND "mov %rsp, %rdx; mov %ss, %ecx; push %rcx; push %rdx; pushfq;"
                     "orl $0x200, (%rsp); mov %cs, %ecx; push %rcx; lea i_iret_at(%rip), %rcx;"
                     "push %rcx; iretq\ni_iret_at: nop; cli");
SNIPPET(i_user, "nop; nop");
SNIPPET(i_gate, SEND "sti; nop\ni_gate_at: nop; cli");
SNIPPET(i_nothing, "sti; nop; nop; nop; cli");
SNIPPET(i_int, "int $0x61");
extern const uint8_t i_sti_shadow_at[], i_sti_exit_at[], i_sti_cpuid_at[], i_popf_at[],
    i_sti_hlt_at[], i_sti_sti_at[], i_iret_at[], i_gate_at[];

#define ICR_AT (GUEST_LAPIC + LAPIC_REG_ICR)
static struct guest_regs send_regs(void)
{
    return (struct guest_regs){.rax = VEC | LAPIC_TO_SELF, .rbx = ICR_AT};
}

static void check_when(void)
{
    static const struct {
        const char *name;
        const uint8_t *code, *at; /* NULL: does not come */
    } rows[] = {
        {"after-sti-one-instruction", i_sti_shadow, i_sti_shadow_at},
        {"sti-cli-lets-none-in", i_sti_cli, NULL},
        {"sti-in-the-shadow", i_sti_exit, i_sti_exit_at},
        {"sti-cpuid-in-the-shadow", i_sti_cpuid, i_sti_cpuid_at},
        {"popf-at-once", i_popf, i_popf_at},
        {"sti-hlt", i_sti_hlt, i_sti_hlt_at},
        {"sti-twice", i_sti_sti, i_sti_sti_at},
        {"iret-at-once", i_iret, i_iret_at},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct guest_regs r = send_regs();

        guest_irq_clear();
        guest_exec(rows[i].code, &r);
        if (rows[i].at) {
            check_eq(rows[i].name, guest_irq_count == 1 ? guest_irq_log[0].rip : guest_irq_count,
                     (uintptr_t)rows[i].at);
        } else {
            uint64_t where = guest_irq_count ? guest_irq_log[0].rip - (uintptr_t)rows[i].code : 0;

            check_eq(rows[i].name, where, 0);
            guest_exec(i_nothing, &r); /* takes it now */
            check_eq("sti-cli-keeps-it", guest_irq_count, 1);
        }
    }
}

/* A hardware interrupt whose gate is bad: the error code has EXT, and the interrupt is lost. */
static void check_bad_gates(void)
{
    struct trap_row row = {
        "gate-absent", i_gate, EXC_NP, ERR(VEC), (uint16_t)(i_gate_at - i_gate), 0, send_regs()};

    guest_gate(VEC)[0] &= ~GATE_P;
    check_trap(&row);
    lapic_eoi();
    guest_reset_gate(VEC);
    guest_gate(VEC)[0] &= ~(0xfull << 40);
    row.name = "gate-type";
    row.vector = EXC_GP;
    check_trap(&row);
    lapic_eoi();
    guest_reset_gate(VEC);
    guest_gate(VEC)[0] &= ~(0xffffull << 16);
    row.name = "gate-null-cs";
    row.error = EXT;
    check_trap(&row);
    lapic_eoi();
    guest_reset_gate(VEC);
    guest_gate(VEC)[0] &= 0x0000ffffffff0000ull;
    guest_gate(VEC)[0] |= (GUEST_UNMAPPED >> 16 & 0xffff) << 48;
    struct guest_regs r = send_regs();
    check_eq("handler-not-mapped", (uint64_t)guest_exec(i_gate, &r), EXC_PF);
    check_eq("handler-not-mapped-rip", guest_trap.rip, GUEST_UNMAPPED);
    lapic_eoi();
    guest_reset_gate(VEC);
}

static uint64_t flags_inside;

static void note_flags(struct guest_frame *f)
{
    __asm__ volatile("pushfq; pop %0" : "=r"(flags_inside));
    guest_interrupts[f->vector]++;
    if (f->vector == VEC && f->rip != (uintptr_t)i_int_end - 1)
        lapic_eoi();
}

static void check_software(void)
{
    struct guest_regs r = {.rflags = RFLAGS_CF};
    uint64_t gate = guest_gate(VEC)[0];

    guest_irq_clear();
    guest_on(VEC, note_flags);
    check_eq("int-n", (uint64_t)guest_exec(i_int, &r), (uint64_t)GUEST_RETURNED);
    check_eq("int-n-count", guest_interrupts[VEC], 1);
    check_eq("int-n-flags-restored", r.rflags, RFLAGS_FIXED | RFLAGS_CF);
    r.rflags = RFLAGS_IF;
    guest_exec(i_int, &r);
    check_eq("interrupt-gate-clears-if", flags_inside & RFLAGS_IF, 0);
    guest_gate(VEC)[0] = gate | BIT64(40); /* trap gate */
    r.rflags = RFLAGS_IF;
    guest_exec(i_int, &r);
    check_eq("trap-gate-keeps-if", flags_inside & RFLAGS_IF, RFLAGS_IF);
    guest_reset_gate(VEC);
    guest_on(VEC, NULL);
}

/* Comes before the first instruction of ring 3, which is entered with IF set. */
static void check_user(void)
{
    struct guest_regs r = {.rflags = RFLAGS_IF};

    guest_irq_clear();
    lapic_send_self(VEC);
    check_eq("ring-3-runs", (uint64_t)guest_exec_in(SEL_USER_CODE64, i_user, &r),
             (uint64_t)GUEST_RETURNED);
    check_eq("ring-3-rip", guest_irq_count == 1 ? guest_irq_log[0].rip : guest_irq_count,
             guest_user(i_user));
}

void group_interrupt(void)
{
    check_when();
    check_bad_gates();
    check_software();
    check_user();
}
