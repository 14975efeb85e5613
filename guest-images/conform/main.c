/* Chooses the groups of checks and counts. */

#include "check.h"

#define SIGNATURE_AMD 0x68747541 /* "Auth" */
#define SIGNATURE_TCG 0x54474354 /* "TCGT" */

struct features has;

static const struct check_group groups[] = {
    {"boot", group_boot},
    {"cpuid", group_cpuid},
    {"msr", group_msr},
    {"exception", group_exception},
    {"pagefault", group_pagefault},
    {"privilege", group_privilege},
    {"interrupt", group_interrupt},
    {"nmi", group_nmi},
    {"lapic", group_lapic},
    {"timer", group_timer},
    {"pv-eoi", group_pv_eoi},
    {"paravirtual", group_paravirtual},
    {"pic", group_pic},
    {"modes", group_modes},
    {"paging32", group_paging32},
    {"v86", group_v86},
    {"task", group_task},
    {"step", group_step},
    {"debug", group_debug},
    {"string", group_string},
    {"mmio", group_mmio},
    {"cr", group_cr},
    {"tlb", group_tlb},
    {"code", group_code},
    {"tsc", group_tsc},
    {"fpu", group_fpu},
    /* The last one: on Bochs itself there is no way back. */
    {"x2apic", group_x2apic},
};

static void print_trap(int vector, uint64_t error, int64_t at)
{
    if (vector == GUEST_RETURNED)
        print("no exception");
    else
        print("exception %d(0x%llx) at +%lld", vector, (unsigned long long)error, (long long)at);
}

void check_trap(const struct trap_row *row)
{
    struct guest_regs regs = row->regs;
    uint16_t cs = row->cs ? row->cs : SEL_CODE64;
    int vector =
        cs == SEL_CODE64 ? guest_exec(row->code, &regs) : guest_exec_in(cs, row->code, &regs);
    int64_t at = (int64_t)(guest_trap.rip - (uintptr_t)row->code - (cs & 3 ? GUEST_USER : 0));

    if (vector == row->vector &&
        (vector == GUEST_RETURNED || (guest_trap.error == row->error && at == row->at))) {
        check_pass(row->name);
        return;
    }
    check_fail(row->name);
    print("got ");
    print_trap(vector, guest_trap.error, at);
    print(", expected ");
    print_trap(row->vector, row->error, row->at);
    print("\n");
}

void check_traps(const struct trap_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check_trap(&rows[i]);
}

SNIPPET(code_rdmsr, "rdmsr");
SNIPPET(code_wrmsr, "wrmsr");
SNIPPET(code_set_cr0, "mov %rax, %cr0");
SNIPPET(code_set_cr3, "mov %rax, %cr3");
SNIPPET(code_set_cr4, "mov %rax, %cr4");
SNIPPET(code_xsetbv, "xsetbv");

int try_rdmsr(uint32_t msr, uint64_t *value)
{
    struct guest_regs r = {.rcx = msr};
    int vector = guest_exec(code_rdmsr, &r);

    *value = r.rdx << 32 | (uint32_t)r.rax;
    return vector;
}

int try_wrmsr(uint32_t msr, uint64_t value)
{
    struct guest_regs r = {.rcx = msr, .rax = (uint32_t)value, .rdx = value >> 32};

    return guest_exec(code_wrmsr, &r);
}

int try_xsetbv(uint32_t reg, uint64_t value)
{
    struct guest_regs r = {.rcx = reg, .rax = (uint32_t)value, .rdx = value >> 32};

    return guest_exec(code_xsetbv, &r);
}

static int try_with_rax(const uint8_t *code, uint64_t value)
{
    struct guest_regs r = {.rax = value};

    return guest_exec(code, &r);
}

int try_write_cr0(uint64_t value)
{
    return try_with_rax(code_set_cr0, value);
}

int try_write_cr3(uint64_t value)
{
    return try_with_rax(code_set_cr3, value);
}

int try_write_cr4(uint64_t value)
{
    return try_with_rax(code_set_cr4, value);
}

/* SDM vol. 2, CPUID; APM vol. 3, appendix E. */
static void find_features(void)
{
    struct cpuid_regs r = cpuid(0, 0);
    uint32_t max = r.eax;

    has.native = guest_has_word("native");
    has.amd = r.ebx == SIGNATURE_AMD;
    r = cpuid(1, 0);
    has.sse3 = r.ecx & BIT(0);
    has.pcid = r.ecx & BIT(17);
    has.x2apic = r.ecx & BIT(21);
    has.tsc_deadline = r.ecx & BIT(24);
    has.xsave = r.ecx & BIT(26);
    has.avx = r.ecx & BIT(28);
    has.pge = r.edx & BIT(13);
    if (max >= 7) {
        r = cpuid(7, 0);
        has.fsgsbase = r.ebx & BIT(0);
        has.tsc_adjust = r.ebx & BIT(1);
        has.smep = r.ebx & BIT(7);
        has.invpcid = r.ebx & BIT(10);
        has.smap = r.ebx & BIT(20);
        has.umip = r.ecx & BIT(2);
    }
    r = cpuid(0x40000000, 0);
    has.tcg = has.native && r.ebx == SIGNATURE_TCG;
    r = cpuid(0x80000001, 0);
    has.svm = r.ecx & BIT(2);
    has.nx = r.edx & BIT(20);
    has.rdtscp = r.edx & BIT(27);
}

void guest_main(void)
{
    find_features();
    print("READY\nconform: %s, %s\n", has.amd ? "AMD" : "Intel",
          guest_on_bulkhead() ? "Bulkhead" : "native");
    check_all(groups, ARRAY_SIZE(groups));
}
