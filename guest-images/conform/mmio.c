/* Instructions whose operand is a device register: the LAPIC's TPR, which keeps eight bits, and the
 * I/O APIC's window. */

#include "check.h"

#define TPR       (GUEST_LAPIC + LAPIC_REG_TPR)
#define VERSION   (GUEST_LAPIC + LAPIC_REG_VERSION)
#define IOREGSEL  GUEST_IOAPIC
#define IOWIN     (GUEST_IOAPIC + 0x10)
#define REDIR_LOW 0x10
#define STATUS    (RFLAGS_CF | RFLAGS_PF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)
#define PAGE      0u

SNIPPET(m_read, "mov (%rbx), %eax");
SNIPPET(m_read_64, "mov (%rbx), %rax");
SNIPPET(m_disp8, "mov 0x20(%rbx), %eax");
SNIPPET(m_disp32, "mov 0x10000080(%rbx), %eax");
SNIPPET(m_sib, "mov 0x10(%rbx, %rcx, 8), %eax");
SNIPPET(m_sib_r, "mov (%r13, %r14, 4), %r15d");
SNIPPET(m_abs, "movabs 0xfee00030, %eax");
SNIPPET(m_addr32, "mov (%ebx), %eax");
SNIPPET(m_gs, "mov %gs:0x80, %eax");
SNIPPET(m_r8, "mov %r8d, (%rbx); mov (%rbx), %r9d");
SNIPPET(m_imm, "movl $0x40, (%rbx); mov (%rbx), %eax");
SNIPPET(m_stos, "stosl; mov -4(%rdi), %ecx");
SNIPPET(m_lods, "lodsl");
SNIPPET(m_movs_in, "movsl");
SNIPPET(m_movs_rep, "rep movsl");
SNIPPET(m_xchg, "xchg %eax, (%rbx); mov (%rbx), %ecx");
SNIPPET(m_or, "orl $0x30, (%rbx); mov (%rbx), %eax");
SNIPPET(m_and, "andl $0x50, (%rbx); mov (%rbx), %eax");
SNIPPET(m_add, "addl $0x10, (%rbx); mov (%rbx), %eax");
SNIPPET(m_sub, "subl $0x10, (%rbx); mov (%rbx), %eax");
SNIPPET(m_xor, "xorl %ecx, (%rbx); mov (%rbx), %eax");
SNIPPET(m_inc, "incl (%rbx); mov (%rbx), %eax");
SNIPPET(m_dec, "decl (%rbx); mov (%rbx), %eax");
SNIPPET(m_not, "notl (%rbx); mov (%rbx), %eax");
SNIPPET(m_bts, "btsl $5, (%rbx); mov (%rbx), %eax");
SNIPPET(m_btr, "lock btrl $6, (%rbx); mov (%rbx), %eax");
SNIPPET(m_cmp, "cmpl $0x60, (%rbx)");
SNIPPET(m_test, "testl $0x9f, (%rbx)");
SNIPPET(m_add_reg, "add (%rbx), %eax");
SNIPPET(m_and_reg, "and (%rbx), %eax");
SNIPPET(m_cmp_reg, "cmp (%rbx), %eax");
SNIPPET(m_movzx, "movzbl (%rbx), %eax");
SNIPPET(m_movsx, "movsbl (%rbx), %eax");
SNIPPET(m_movb, "mov (%rbx), %al");
SNIPPET(m_push, "push (%rbx); pop %rax");
SNIPPET(m_pop, "push %rax; pop (%rbx); mov (%rbx), %ecx");
SNIPPET(m_cmpxchg, "cmpxchg %ecx, (%rbx); mov (%rbx), %edx");
SNIPPET(m_xadd, "xadd %ecx, (%rbx); mov (%rbx), %edx");

static void tpr(uint32_t value)
{
    lapic_write(LAPIC_REG_TPR, value);
}

static struct guest_regs r;

static void run(const uint8_t *code, struct guest_regs regs)
{
    r = regs;
    if (guest_exec(code, &r) != GUEST_RETURNED) {
        r.rax = r.rcx = r.rdx = ~0ull;
        r.rflags = 0;
    }
}

static void check_addressing(void)
{
    uint32_t version = lapic_read(LAPIC_REG_VERSION);

    tpr(0x60);
    run(m_read, (struct guest_regs){.rbx = TPR, .rax = ~0ull});
    check_eq("mov", r.rax, 0x60);
    run(m_disp8, (struct guest_regs){.rbx = TPR - 0x20});
    check_eq("mov-disp8", r.rax, 0x60);
    run(m_disp32, (struct guest_regs){.rbx = GUEST_LAPIC - 0x10000000});
    check_eq("mov-disp32", r.rax, 0x60);
    run(m_sib, (struct guest_regs){.rbx = GUEST_LAPIC, .rcx = 0xe});
    check_eq("mov-sib", r.rax, 0x60);
    run(m_sib_r, (struct guest_regs){.r13 = GUEST_LAPIC, .r14 = 0x20, .r15 = ~0ull});
    check_eq("mov-sib-r13-r15", r.r15, 0x60);
    run(m_abs, (struct guest_regs){.rax = ~0ull});
    check_eq("mov-absolute", r.rax, version);
    run(m_addr32, (struct guest_regs){.rbx = 0x700000000ull | TPR});
    check_eq("mov-32-bit-address", r.rax, 0x60);
    wrmsr(MSR_GS_BASE, GUEST_LAPIC);
    run(m_gs, (struct guest_regs){.rax = 0});
    wrmsr(MSR_GS_BASE, 0);
    check_eq("mov-gs", r.rax, 0x60);
    run(m_r8, (struct guest_regs){.rbx = TPR, .r8 = 0x50});
    check_eq("mov-r8-r9", r.r9, 0x50);
    run(m_imm, (struct guest_regs){.rbx = TPR});
    check_eq("mov-immediate", r.rax, 0x40);
    r = (struct guest_regs){.rbx = TPR};
    guest_exec_in(SEL_CODE32, m_read, &r);
    check_eq("mov-compatibility-mode", r.rax, 0x40);
}

static void check_strings(void)
{
    static uint32_t data[2];

    run(m_stos, (struct guest_regs){.rax = 0x30, .rdi = TPR});
    check_eq("stos", r.rcx, 0x30);
    check_eq("stos-rdi", r.rdi, TPR + 4);
    run(m_lods, (struct guest_regs){.rsi = TPR});
    check_eq("lods", r.rax, 0x30);
    run(m_movs_in, (struct guest_regs){.rsi = TPR, .rdi = (uintptr_t)data});
    check_eq("movs-from-device", data[0], 0x30);
    data[0] = 0x20;
    run(m_movs_in, (struct guest_regs){.rsi = (uintptr_t)data, .rdi = TPR});
    check_eq("movs-to-device", lapic_read(LAPIC_REG_TPR), 0x20);
    run(m_movs_rep, (struct guest_regs){.rsi = TPR, .rdi = (uintptr_t)&data[1], .rcx = 1});
    check_eq("rep-movs", r.rcx << 32 | data[1], 0x20);
}

static void check_rmw(void)
{
    static const struct {
        const char *name;
        const uint8_t *code;
        uint32_t before, rcx, after;
    } rows[] = {
        {"or", m_or, 0x40, 0, 0x70},      {"and", m_and, 0x70, 0, 0x50},
        {"add", m_add, 0x40, 0, 0x50},    {"sub", m_sub, 0x40, 0, 0x30},
        {"xor", m_xor, 0x40, 0x60, 0x20}, {"inc", m_inc, 0x40, 0, 0x41},
        {"dec", m_dec, 0x41, 0, 0x40},    {"not", m_not, 0x0f, 0, 0xf0},
        {"bts", m_bts, 0x40, 0, 0x60},    {"lock-btr", m_btr, 0x60, 0, 0x20},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        tpr(rows[i].before);
        run(rows[i].code, (struct guest_regs){.rbx = TPR, .rcx = rows[i].rcx});
        check_eq(rows[i].name, r.rax, rows[i].after);
    }
    tpr(0x60);
    run(m_xchg, (struct guest_regs){.rbx = TPR, .rax = 0x50});
    check_eq("xchg", r.rax << 32 | r.rcx, 0x6000000050ull);
    tpr(0x60);
    run(m_cmpxchg, (struct guest_regs){.rbx = TPR, .rax = 0x60, .rcx = 0x10});
    check_eq("cmpxchg-equal", r.rdx, 0x10);
    run(m_cmpxchg, (struct guest_regs){.rbx = TPR, .rax = 0x60, .rcx = 0x20});
    check_eq("cmpxchg-different", r.rax << 32 | r.rdx, 0x1000000010ull);
    run(m_xadd, (struct guest_regs){.rbx = TPR, .rcx = 0x20});
    check_eq("xadd", r.rcx << 32 | r.rdx, 0x1000000030ull);
}

static void check_reads(void)
{
    uint32_t version = lapic_read(LAPIC_REG_VERSION);

    tpr(0x60);
    run(m_cmp, (struct guest_regs){.rbx = TPR});
    check_eq("cmp-flags", r.rflags & STATUS, RFLAGS_ZF | RFLAGS_PF);
    run(m_test, (struct guest_regs){.rbx = TPR, .rflags = RFLAGS_CF | RFLAGS_OF});
    check_eq("test-flags", r.rflags & STATUS, RFLAGS_ZF | RFLAGS_PF);
    run(m_cmp_reg, (struct guest_regs){.rbx = TPR, .rax = 0x50});
    check_eq("cmp-register-flags", r.rflags & STATUS, RFLAGS_CF | RFLAGS_SF | RFLAGS_PF);
    run(m_add_reg, (struct guest_regs){.rbx = TPR, .rax = 0xffffffff});
    check_eq("add-register", r.rax, 0x5f);
    check_eq("add-register-carry", r.rflags & RFLAGS_CF, RFLAGS_CF);
    run(m_and_reg, (struct guest_regs){.rbx = TPR, .rax = 0x20});
    check_eq("and-register", r.rax, 0x20);
    run(m_movzx, (struct guest_regs){.rbx = VERSION, .rax = ~0ull});
    check_eq("movzx", r.rax, version & 0xff);
    tpr(0x80);
    run(m_movsx, (struct guest_regs){.rbx = TPR});
    check_eq("movsx", r.rax, 0xffffff80);
    tpr(0x60);
    run(m_movb, (struct guest_regs){.rbx = TPR, .rax = 0x1122334455667788ull});
    check_eq("mov-byte", r.rax, 0x1122334455667760ull);
    tpr(0);
}

/* The I/O APIC's two registers, and translation of their page. */
static void check_ioapic(void)
{
    volatile uint32_t *window = guest_map(PAGE, GUEST_IOAPIC, PT_P | PT_W | PT_PCD);

    run(m_r8, (struct guest_regs){.rbx = IOREGSEL, .r8 = 0x01});
    check_eq("ioapic-select", r.r9, 1);
    window[0] = REDIR_LOW;
    window[4] = 0x10051;
    check_eq("ioapic-other-mapping", *(volatile uint32_t *)IOWIN & 0x100ff, 0x10051);
    run(m_or, (struct guest_regs){.rbx = IOWIN});
    check_eq("ioapic-or", r.rax & 0x100ff, 0x10071);
    window[4] = 0x10000;
    guest_map(PAGE, GUEST_IOAPIC, PT_P);
    run(m_read, (struct guest_regs){.rbx = GUEST_WINDOW});
    check_eq("ioapic-read-only-mapping-read", r.rax, REDIR_LOW);
    r = (struct guest_regs){.rbx = GUEST_WINDOW};
    check_eq("ioapic-read-only-mapping", (uint64_t)guest_exec(m_imm, &r), EXC_PF);
    check_eq("ioapic-read-only-mapping-error", guest_trap.error, PF_P | PF_W);
    guest_map(PAGE, 0, 0);
}

/* Addresses where nothing answers. */
static void check_nobody(void)
{
    run(m_read, (struct guest_regs){.rbx = 0xf0000000});
    check_eq("nobody-reads-ones", r.rax, 0xffffffff);
    run(m_read_64, (struct guest_regs){.rbx = 0xf0000000});
    check_eq("nobody-reads-ones-64", r.rax, ~0ull);
    run(m_movzx, (struct guest_regs){.rbx = 0xf0000001});
    check_eq("nobody-reads-ones-8", r.rax, 0xff);
    run(m_push, (struct guest_regs){.rbx = 0xf0000000});
    check_eq("push-from-nobody", r.rax, ~0ull);
    run(m_pop, (struct guest_regs){.rbx = 0xf0000000, .rax = 5});
    check_eq("pop-to-nobody", r.rcx, 0xffffffff);
    run(m_inc, (struct guest_regs){.rbx = 0xf0000000});
    check_eq("inc-nobody", r.rax, 0xffffffff);
}

void group_mmio(void)
{
    check_addressing();
    check_strings();
    check_rmw();
    check_reads();
    check_ioapic();
    check_nobody();
    tpr(0);
}
