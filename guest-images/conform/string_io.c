/* INS and OUTS: registers, direction, address size, page boundaries, faults in the middle. */

#include "check.h"

#define PORT_OUT  0x80  /* POST codes: nobody listens */
#define PORT_CMOS 0x71  /* reads the CMOS byte that was chosen */
#define PORT_PCI  0xcf8 /* reads back what was written, 32 bits wide */
#define CMOS_BYTE 0x0f  /* shutdown status: plain memory */
#define PCI_VALUE 0x80000004u
#define PAGE      0u
#define NEXT      1u

SNIPPET(t_insb, "insb");
SNIPPET(t_outsb, "outsb");
SNIPPET(t_rep_insb, "rep insb");
SNIPPET(t_rep_insw, "rep insw");
SNIPPET(t_rep_insl, "rep insl");
SNIPPET(t_rep_outsb, "rep outsb");
SNIPPET(t_rep_outsw, "rep outsw");
SNIPPET(t_rep_outsl, "rep outsl");
SNIPPET(t_rep_insb_32, "rep insb (%dx), (%edi)");
SNIPPET(t_rep_outsb_32, "rep outsb (%esi), (%dx)");
SNIPPET(t_fs_outsl, "outsl %fs:(%rsi), (%dx)");
SNIPPET(t_repne_outsb, ".byte 0xf2; outsb");

static uint8_t page[2 * PAGE_SIZE_4K] ALIGNED(4096);

static void choose_cmos(uint8_t value)
{
    outb(0x70, CMOS_BYTE);
    outb(PORT_CMOS, value);
    outb(0x70, CMOS_BYTE);
}

/* At once: the end of rCX, rSI and rDI. */
static void check_run(const char *name, const uint8_t *code, struct guest_regs in, uint64_t rcx,
                      int64_t rsi, int64_t rdi)
{
    struct guest_regs r = in;
    int vector = guest_exec(code, &r);

    if (vector != GUEST_RETURNED)
        check_eq(name, (uint64_t)vector, (uint64_t)GUEST_RETURNED);
    else if (r.rcx != rcx)
        check_eq(name, r.rcx, rcx);
    else if (r.rsi - in.rsi != (uint64_t)rsi)
        check_eq(name, r.rsi - in.rsi, (uint64_t)rsi);
    else
        check_eq(name, r.rdi - in.rdi, (uint64_t)rdi);
}

#define IN_AT(port, count, to) ((struct guest_regs){.rdx = (port), .rcx = (count), .rdi = (to)})
#define OUT_AT(port, count, from) \
    ((struct guest_regs){.rdx = (port), .rcx = (count), .rsi = (from)})

static void check_registers(uint64_t va)
{
    struct guest_regs down;

    check_run("insb", t_insb, IN_AT(PORT_CMOS, 7, va), 7, 0, 1);
    check_run("outsb", t_outsb, OUT_AT(PORT_OUT, 7, va), 7, 1, 0);
    check_run("rep-insb", t_rep_insb, IN_AT(PORT_CMOS, 5, va), 0, 0, 5);
    check_run("rep-insw", t_rep_insw, IN_AT(PORT_PCI, 5, va), 0, 0, 10);
    check_run("rep-insl", t_rep_insl, IN_AT(PORT_PCI, 5, va), 0, 0, 20);
    check_run("rep-outsb", t_rep_outsb, OUT_AT(PORT_OUT, 5, va), 0, 5, 0);
    check_run("rep-outsw", t_rep_outsw, OUT_AT(PORT_OUT, 5, va), 0, 10, 0);
    check_run("rep-outsl", t_rep_outsl, OUT_AT(PORT_OUT, 5, va), 0, 20, 0);
    check_run("repne-outsb", t_repne_outsb, OUT_AT(PORT_OUT, 5, va), 0, 5, 0);
    check_run("rep-insb-count-0", t_rep_insb, IN_AT(PORT_CMOS, 0, NONCANONICAL), 0, 0, 0);
    check_run("rep-outsb-count-0", t_rep_outsb, OUT_AT(PORT_OUT, 0, NONCANONICAL), 0, 0, 0);
    check_run("rep-insb-32-bit-address", t_rep_insb_32, IN_AT(PORT_CMOS, 0x700000003ull, va), 0, 0,
              3);
    check_run("rep-outsb-32-bit-address", t_rep_outsb_32, OUT_AT(PORT_OUT, 0x700000003ull, va), 0,
              3, 0);
    down = IN_AT(PORT_PCI, 3, va + 100);
    down.rflags = RFLAGS_DF;
    check_run("rep-insl-down", t_rep_insl, down, 0, 0, -12);
    down = OUT_AT(PORT_OUT, 3, va + 100);
    down.rflags = RFLAGS_DF;
    check_run("rep-outsb-down", t_rep_outsb, down, 0, -3, 0);
    check_run("rep-insb-long", t_rep_insb, IN_AT(PORT_CMOS, 700, va), 0, 0, 700);
}

static void check_data(uint64_t va)
{
    static const uint32_t value = PCI_VALUE;
    const volatile uint32_t *words = (const volatile uint32_t *)va;
    struct guest_regs r;

    memset(page, 0, sizeof(page));
    choose_cmos(0x5c);
    r = IN_AT(PORT_CMOS, 1, va + 1);
    guest_exec(t_insb, &r);
    check_eq("insb-data", words[0], 0x5c00);
    r = OUT_AT(PORT_PCI, 1, (uintptr_t)&value);
    guest_exec(t_rep_outsl, &r);
    check_eq("outsl-data", inl(PORT_PCI), PCI_VALUE);
    r = IN_AT(PORT_PCI, 2, va);
    guest_exec(t_rep_insl, &r);
    check_eq("insl-data", words[0] == PCI_VALUE && words[1] == PCI_VALUE && words[2] == 0, 1);
    outl(PORT_PCI, 0);
    wrmsr(MSR_FS_BASE, (uintptr_t)&value);
    r = OUT_AT(PORT_PCI, 1, 0);
    guest_exec(t_fs_outsl, &r);
    wrmsr(MSR_FS_BASE, 0);
    check_eq("outsl-segment-override", inl(PORT_PCI), PCI_VALUE);
    /* An element that lies in two pages. */
    memset(page, 0, sizeof(page));
    r = IN_AT(PORT_PCI, 1, va + PAGE_SIZE_4K - 2);
    guest_exec(t_rep_insl, &r);
    check_eq("insl-over-a-page-end", *(volatile uint32_t *)(va + PAGE_SIZE_4K - 2), PCI_VALUE);
    r = IN_AT(PORT_PCI, 8, va + PAGE_SIZE_4K - 16);
    guest_exec(t_rep_insl, &r);
    check_eq("rep-insl-over-a-page-end", words[1024 + 3], PCI_VALUE);
    outl(PORT_PCI, 0);
}

/* The fault shows the element that failed; what came before is done. */
static void check_faults(uint64_t va)
{
    uint64_t next = va + PAGE_SIZE_4K;
    struct guest_regs r = IN_AT(PORT_CMOS, 10, next - 4);

    guest_map(NEXT, 0, 0);
    check_eq("insb-fault", (uint64_t)guest_exec(t_rep_insb, &r), EXC_PF);
    check_eq("insb-fault-error", guest_trap.error, PF_W);
    check_eq("insb-fault-cr2", guest_trap.cr2, next);
    check_eq("insb-fault-rcx", r.rcx, 6);
    check_eq("insb-fault-rdi", r.rdi, next);
    check_eq("insb-fault-rip", guest_trap.rip, (uintptr_t)t_rep_insb);
    r = OUT_AT(PORT_OUT, 10, next - 4);
    check_eq("outsb-fault", (uint64_t)guest_exec(t_rep_outsb, &r), EXC_PF);
    check_eq("outsb-fault-error", guest_trap.error, 0);
    check_eq("outsb-fault-rcx", r.rcx, 6);
    check_eq("outsb-fault-rsi", r.rsi, next);
    guest_map(PAGE, (uintptr_t)page, PT_P);
    r = IN_AT(PORT_CMOS, 1, va);
    check_eq("insb-read-only", (uint64_t)guest_exec(t_insb, &r), EXC_PF);
    check_eq("insb-read-only-error", guest_trap.error, PF_P | PF_W);
    r = IN_AT(PORT_CMOS, 1, NONCANONICAL);
    check_eq("insb-noncanonical", (uint64_t)guest_exec(t_insb, &r), EXC_GP);
    r = OUT_AT(PORT_OUT, 1, NONCANONICAL);
    check_eq("outsb-noncanonical", (uint64_t)guest_exec(t_outsb, &r), EXC_GP);
    r = (struct guest_regs){.rdx = PORT_CMOS, .rdi = guest_user(page) + 7, .rflags = RFLAGS_IOPL};
    check_eq("insb-ring-3", (uint64_t)guest_exec_in(SEL_USER_CODE64, t_insb, &r),
             (uint64_t)GUEST_RETURNED);
    r = (struct guest_regs){.rdx = PORT_CMOS, .rdi = (uintptr_t)page, .rflags = RFLAGS_IOPL};
    check_eq("insb-ring-3-supervisor-page", (uint64_t)guest_exec_in(SEL_USER_CODE64, t_insb, &r),
             EXC_PF);
    check_eq("insb-ring-3-error", guest_trap.error, PF_P | PF_W | PF_U);
}

void group_string(void)
{
    uint64_t va = (uintptr_t)guest_map(PAGE, (uintptr_t)page, PT_P | PT_W);

    guest_map(NEXT, (uintptr_t)page + PAGE_SIZE_4K, PT_P | PT_W);
    choose_cmos(0);
    check_registers(va);
    check_data(va);
    check_faults(va);
    guest_map(PAGE, 0, 0);
}
