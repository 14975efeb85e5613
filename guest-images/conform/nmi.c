/* NMIs: delivery, blocking until IRET, one latched (SDM vol. 3, 6.7; APM vol. 2, 8.2.3). */

#include "check.h"

#define VEC 0x62

SNIPPET(n_self, "mov %eax, (%rbx); mov 0x20(%rbx), %ecx; mov 0x20(%rbx), %ecx\nnop; nop;"
                "nop");
SNIPPET(n_int, "int $0x62");

static unsigned int depth, deepest, total;
static void (*inside)(void);
static uint64_t saved_flags;

static void on_nmi(struct guest_frame *f)
{
    total++;
    depth++;
    deepest = MAX(deepest, depth);
    saved_flags = f->rflags;
    if (inside && total == 1)
        inside();
    depth--;
}

static void send(void)
{
    lapic_send_self(LAPIC_NMI);
    (void)lapic_read(LAPIC_REG_ID);
    (void)lapic_read(LAPIC_REG_ID);
}

static void send_three(void)
{
    send();
    send();
    send();
}

/* The IRET of an interrupt inside the NMI handler ends the blocking early. */
static void send_and_int(void)
{
    struct guest_regs r = {0};

    send();
    guest_exec(n_int, &r);
}

static void send_and_cpuid(void)
{
    send();
    cpuid(0, 0);
    inb(0x61);
}

static void run(void (*fn)(void))
{
    inside = fn;
    depth = deepest = total = 0;
    send();
    __asm__ volatile("nop; nop; nop" ::: "memory");
}

static void on_int(struct guest_frame *f)
{
}

void group_nmi(void)
{
    struct guest_regs r = {.rax = LAPIC_NMI | BIT(14), .rbx = GUEST_LAPIC + LAPIC_REG_ICR};

    guest_on(EXC_NMI, on_nmi);
    guest_set_ist(EXC_NMI, 0);
    guest_on(VEC, on_int);
    run(NULL);
    check_eq("delivered", total, 1);
    check_eq("with-if-clear", saved_flags & RFLAGS_IF, 0);
    run(send_three);
    check_eq("blocked-in-handler", deepest, 1);
    check_eq("one-latched", total, 2);
    run(send_and_cpuid);
    check_eq("blocked-over-exits", deepest, 1);
    check_eq("latched-over-exits", total, 2);
    run(send_and_int);
    check_eq("iret-ends-blocking", deepest, 2);
    check_eq("iret-ends-blocking-total", total, 2);
    run(NULL);
    check_eq("again", total, 1);
    guest_set_ist(EXC_NMI, GUEST_IST_NMI);
    run(NULL);
    check_eq("with-ist", total, 1);
    guest_on(EXC_NMI, NULL);
    guest_irq_clear();
    guest_exec(n_self, &r);
    check_eq("after-the-icr-write", guest_interrupts[EXC_NMI], 1);
    guest_reset_gate(EXC_NMI);
    guest_on(VEC, NULL);
}
