/* #PF: the error code's bits P, W, U, RSVD and I, and CR2 (SDM vol. 3, 4.7). */

#include "check.h"

#define PAGE    0u /* pages of the window that this file uses */
#define NEXT    1u
#define PT_RSVD BIT64(51) /* above every physical address width but the largest */
#define WIDEST  52

SNIPPET(p_read, "mov (%rbx), %al");
SNIPPET(p_write, "mov %al, (%rbx)");
SNIPPET(p_rmw, "incl (%rbx)");
SNIPPET(p_read8, "mov (%rbx), %rax");
SNIPPET(p_jmp, "jmp *%rbx");
SNIPPET(p_push, "mov %rsp, %rcx; mov %rbx, %rsp\np_push_at: push %rax; mov %rcx, %rsp");
SNIPPET(p_movs, "movsb");
SNIPPET(p_xchg, "xchg %al, (%rbx)");
SNIPPET(p_cmpxchg, "lock cmpxchg %ecx, (%rbx)");

struct pf_row {
    const char *name;
    const uint8_t *code;
    uint64_t flags; /* of the page; 0: not present */
    uint16_t cs;    /* 0: SEL_CODE64 */
    int error;      /* -1: no fault */
};

static uint8_t page[PAGE_SIZE_4K] ALIGNED(4096);

static const struct pf_row rows[] = {
    {"read-absent", p_read, 0, 0, 0},
    {"write-absent", p_write, 0, 0, PF_W},
    {"rmw-absent", p_rmw, 0, 0, PF_W},
    {"xchg-absent", p_xchg, 0, 0, PF_W},
    {"cmpxchg-absent", p_cmpxchg, 0, 0, PF_W},
    {"read-absent-ring-3", p_read, 0, SEL_USER_CODE64, PF_U},
    {"write-absent-ring-3", p_write, 0, SEL_USER_CODE64, PF_U | PF_W},
    {"read-read-only", p_read, PT_P, 0, -1},
    {"write-read-only", p_write, PT_P, 0, PF_P | PF_W},
    {"write-writable", p_write, PT_P | PT_W, 0, -1},
    {"read-supervisor-ring-3", p_read, PT_P | PT_W, SEL_USER_CODE64, PF_P | PF_U},
    {"write-supervisor-ring-3", p_write, PT_P | PT_W, SEL_USER_CODE64, PF_P | PF_U | PF_W},
    {"write-read-only-ring-3", p_write, PT_P | PT_U, SEL_USER_CODE64, PF_P | PF_U | PF_W},
    {"write-writable-ring-3", p_write, PT_P | PT_U | PT_W, SEL_USER_CODE64, -1},
    {"read-compatibility-ring-3", p_read, 0, SEL_USER_CODE32, PF_U},
    {"write-compatibility", p_write, PT_P, SEL_CODE32, PF_P | PF_W},
};

static const struct pf_row nx_rows[] = {
    {"fetch-absent", p_jmp, 0, 0, PF_I},
    {"fetch-absent-ring-3", p_jmp, 0, SEL_USER_CODE64, PF_U | PF_I},
    {"fetch-nx", p_jmp, PT_P | PT_W | PT_NX, 0, PF_P | PF_I},
    {"fetch-nx-ring-3", p_jmp, PT_P | PT_U | PT_NX, SEL_USER_CODE64, PF_P | PF_U | PF_I},
    {"fetch-supervisor-ring-3", p_jmp, PT_P, SEL_USER_CODE64, PF_P | PF_U | PF_I},
    {"fetch-allowed", p_jmp, PT_P, 0, -1},
    {"fetch-allowed-ring-3", p_jmp, PT_P | PT_U, SEL_USER_CODE64, -1},
    {"read-nx", p_read, PT_P | PT_NX, 0, -1},
};

static const struct pf_row rsvd_rows[] = {
    {"reserved-read", p_read, PT_P | PT_W | PT_RSVD, 0, PF_P | PF_RSVD},
    {"reserved-write", p_write, PT_P | PT_W | PT_RSVD, 0, PF_P | PF_RSVD | PF_W},
    {"reserved-read-ring-3", p_read, PT_P | PT_U | PT_RSVD, SEL_USER_CODE64, PF_P | PF_RSVD | PF_U},
    {"reserved-not-present", p_read, PT_W | PT_RSVD, 0, 0},
};

static void check_row(const struct pf_row *row)
{
    uint64_t va = (uintptr_t)guest_map(PAGE, (uintptr_t)page, row->flags);
    struct guest_regs r = {.rbx = va};
    int vector;

    page[0] = 0xc3; /* RET */
    vector = row->cs ? guest_exec_in(row->cs, row->code, &r) : guest_exec(row->code, &r);
    uint64_t alias = row->cs & 3 ? GUEST_USER : 0;
    bool fetch = row->error >= 0 && (row->error & PF_I);
    uint64_t rip = fetch ? va : (uintptr_t)row->code + alias;

    if (row->error < 0) {
        check_eq(row->name, (uint64_t)vector, (uint64_t)GUEST_RETURNED);
    } else if (vector != EXC_PF || guest_trap.error != (uint64_t)row->error) {
        check_eq(row->name, (uint64_t)vector << 32 | guest_trap.error,
                 (uint64_t)EXC_PF << 32 | (uint64_t)row->error);
    } else if (guest_trap.cr2 != va) {
        check_eq(row->name, guest_trap.cr2, va);
    } else {
        check_eq(row->name, guest_trap.rip, rip);
    }
}

static void check_crossing(void)
{
    uint64_t va = (uintptr_t)guest_map(PAGE, (uintptr_t)page, PT_P | PT_W | PT_U);
    uint64_t next = (uintptr_t)guest_map(NEXT, 0, 0);
    struct guest_regs r = {.rbx = next - 3};

    check_eq("crossing-vector", (uint64_t)guest_exec(p_read8, &r), EXC_PF);
    check_eq("crossing-cr2", guest_trap.cr2, next);
    /* An instruction that begins in the page and ends in the absent one. */
    page[PAGE_SIZE_4K - 1] = 0x0f;
    r = (struct guest_regs){.rbx = next - 1};
    check_eq("crossing-fetch", (uint64_t)guest_exec(p_jmp, &r), EXC_PF);
    check_eq("crossing-fetch-cr2", guest_trap.cr2, next);
    check_eq("crossing-fetch-rip", guest_trap.rip, next - 1);
    r = (struct guest_regs){.rbx = next + 2048};
    check_eq("push", (uint64_t)guest_exec(p_push, &r), EXC_DF);
    guest_set_ist(EXC_PF, GUEST_IST_SPARE);
    r = (struct guest_regs){.rbx = next + 8};
    check_eq("push-with-ist", (uint64_t)guest_exec(p_push, &r), EXC_PF);
    check_eq("push-cr2", guest_trap.cr2, next);
    check_eq("push-rsp", guest_trap.rsp, next + 8);
    guest_set_ist(EXC_PF, 0);
    r = (struct guest_regs){.rsi = va, .rdi = next};
    check_eq("movs-destination", (uint64_t)guest_exec(p_movs, &r), EXC_PF);
    check_eq("movs-destination-error", guest_trap.error, PF_W);
    check_eq("movs-registers-kept", r.rsi == va && r.rdi == next, 1);
}

void group_pagefault(void)
{
    uint64_t cr0 = read_cr0();
    static const struct pf_row no_wp = {"write-read-only-wp-clear", p_write, PT_P, 0, -1};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_row(&rows[i]);
    write_cr0(cr0 & ~CR0_WP);
    check_row(&no_wp);
    write_cr0(cr0);
    for (size_t i = 0; has.nx && i < ARRAY_SIZE(nx_rows); i++)
        check_row(&nx_rows[i]);
    if ((cpuid(0x80000008, 0).eax & 0xff) == WIDEST)
        check_skip("reserved-read", "52 physical address bits: none is reserved");
    else
        for (size_t i = 0; i < ARRAY_SIZE(rsvd_rows); i++)
            check_row(&rsvd_rows[i]);
    if (has.nx) {
        static const struct pf_row nxe = {"nx-bit-reserved-without-nxe", p_read, PT_P | PT_NX, 0,
                                          PF_P | PF_RSVD};
        uint64_t efer = rdmsr(MSR_EFER);

        wrmsr(MSR_EFER, efer & ~EFER_NXE);
        check_row(&nxe);
        wrmsr(MSR_EFER, efer);
    }
    check_crossing();
    guest_map(PAGE, 0, 0);
}
