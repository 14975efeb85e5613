/* Instructions that the hypervisor has to read: the guest rewrites them, and the page tables that
 * lead to them, between two runs at the same address. The old and the new one differ in length and
 * in what they do, so that neither is taken for the other unnoticed. */

#include "low.h"

#include "lib/format.h"

#define PAGE   0u
#define OFFSET 0x100u
#define OLD    0xau /* what the code leaves in ESI */
#define NEW    0xbu
#define ADDR   0x000ffffffffff000ull

static uint8_t page_old[4096] ALIGNED(4096), page_new[4096] ALIGNED(4096);
static uint64_t other_pml4[512] ALIGNED(4096), other_pdpt[512] ALIGNED(4096);
static uint64_t other_pd[512] ALIGNED(4096), other_pt[512] ALIGNED(4096);

struct pair {
    const char *name;
    uint8_t old_code[9], new_code[10];
};

/* Each ends in MOV ESI, OLD or NEW, and RET. The first lengths differ by one. */
static const struct pair pairs[] = {
    {"cpuid", {0x0f, 0xa2, 0xbe, OLD, 0, 0, 0, 0xc3}, {0x3e, 0x0f, 0xa2, 0xbe, NEW, 0, 0, 0, 0xc3}},
    /* MOV EAX, [RDI], and MOV R8D, [RDI] */
    {"mmio", {0x8b, 0x07, 0xbe, OLD, 0, 0, 0, 0xc3}, {0x44, 0x8b, 0x07, 0xbe, NEW, 0, 0, 0, 0xc3}},
    {"mmio-write",
     {0x89, 0x07, 0xbe, OLD, 0, 0, 0, 0xc3},
     {0x67, 0x89, 0x07, 0xbe, NEW, 0, 0, 0, 0xc3}},
};

static const struct pair *pair;

/* Runs the code in the window twice; the way and the code must be as they were at the first. */
static bool runs(uint32_t expected)
{
    for (unsigned int i = 0; i < 2; i++) {
        struct guest_regs r = {.rax = 0x50, .rdi = GUEST_LAPIC + LAPIC_REG_TPR};
        if (guest_exec((void *)(GUEST_WINDOW + OFFSET), &r) != GUEST_RETURNED || r.rsi != expected)
            return false;
    }
    return true;
}

static void check_step(const char *how, bool good)
{
    char name[40];

    format(name, sizeof(name), "%s-%s", pair->name, how);
    check_that(name, good, 0, "the instruction that stands there");
}

static uint64_t *table_of(uint64_t entry)
{
    return (uint64_t *)(uintptr_t)(entry & ADDR);
}

static void set_entry(uint64_t *entry, uint64_t value)
{
    *(volatile uint64_t *)entry = value;
    __asm__ volatile("" ::: "memory");
}

static void flush(bool by_cr3)
{
    if (by_cr3)
        write_cr3(read_cr3());
    else
        invlpg((void *)(GUEST_WINDOW + OFFSET));
}

/* One entry points elsewhere, and back. */
static void check_entry(const char *how, uint64_t *entry, uint64_t other, bool by_cr3)
{
    uint64_t before = *entry;
    bool good = runs(OLD);

    for (unsigned int i = 0; i < 2; i++) {
        set_entry(entry, other);
        flush(by_cr3);
        good = good && runs(NEW);
        set_entry(entry, before);
        flush(by_cr3);
        good = good && runs(OLD);
    }
    check_step(how, good);
}

static void check_rewritten(void)
{
    bool good = runs(OLD);

    memcpy(page_old + OFFSET, pair->new_code, sizeof(pair->new_code));
    good = good && runs(NEW);
    memcpy(page_old + OFFSET, pair->old_code, sizeof(pair->old_code));
    check_step("rewritten", good && runs(OLD));
}

static void check_other_cr3(void)
{
    uint64_t cr3 = read_cr3();
    bool good = runs(OLD);

    write_cr3((uintptr_t)other_pml4);
    good = good && runs(NEW);
    write_cr3(cr3);
    check_step("other-cr3", good && runs(OLD));
}

/* Rights that change on the way do not. */
static void check_cr4(void)
{
    uint64_t cr4 = read_cr4();
    bool good = runs(OLD);

    set_entry(&guest_window_pt[PAGE], (uintptr_t)page_new | PT_P | PT_W);
    write_cr4(cr4 ^ CR4_PGE);
    write_cr4(cr4);
    good = good && runs(NEW);
    guest_map(PAGE, (uintptr_t)page_old, PT_P | PT_W);
    check_step("cr4", good && runs(OLD));
}

/* 64-bit mode: MOV EAX, [0xffffff80fee00080]. 32-bit mode: MOV EAX, [0xfee00080]; CMP BH, -1;
 * INC EBX. */
static const uint8_t moffs[] = {0xa1, 0x80, 0, 0xe0, 0xfe, 0x80, 0xff, 0xff, 0xff, 0xc3, 0xc3};
/* MOV EAX, [EDI]; in 16-bit modes AX, and in 32-bit mode MOV EAX, [BX]. */
static const uint8_t small_address[] = {0x67, 0x8b, 0x07, 0xc3};

#define TPR 0x60u

static bool runs_long(uint16_t cs, uint64_t rax, uint64_t rbx)
{
    struct guest_regs r = {.rax = ~0ull, .rdi = GUEST_LAPIC + LAPIC_REG_TPR};
    int vector = guest_exec_in(cs, (void *)(uintptr_t)LOW_CODE, &r);

    return vector == GUEST_RETURNED && (uint32_t)r.rax == rax && (uint32_t)r.rbx == rbx;
}

/* Leaves long mode and comes back; the code is put to LOW_CODE once more. */
static bool runs_low(struct low_box box, const uint8_t *code, size_t len, uint32_t eax,
                     uint32_t ebx)
{
    box.edi = GUEST_LAPIC + LAPIC_REG_TPR;
    box.eax = UINT32_MAX;
    low_run(&box, code, code + len);
    return box.vector == LOW_RETURNED && box.eax == eax && box.ebx == ebx;
}

/* The same bytes at the same RIP, in one mode after the other: with the long mode's CR3, with
 * paging and without. */
static void check_modes(void)
{
    const struct low_box flat = {.mode = LOW_PM32, .cr3 = (uint32_t)read_cr3()};
    const struct low_box paged = {
        .mode = LOW_PM32, .cr0_set = CR0_PG, .cr4 = CR4_PSE, .cr3 = (uintptr_t)low_pd32};
    const struct low_box real = {.mode = LOW_REAL, .cr3 = (uint32_t)read_cr3(), .big = 1};
    uint64_t before = guest_pml4[511];
    bool good = true;

    low_make_tables();
    set_entry(&guest_pml4[511], guest_pml4[0]);
    lapic_write(LAPIC_REG_TPR, TPR);
    for (unsigned int i = 0; i < 6; i++) {
        good = good && runs_low(i % 2 ? paged : flat, moffs, sizeof(moffs), TPR, 1);
        good = good && runs_long(SEL_CODE64, TPR, 0) && runs_long(SEL_CODE64, TPR, 0);
        good = good && runs_long(SEL_CODE32, TPR, 1) && runs_long(SEL_CODE64, TPR, 0);
    }
    check_that("mode-32-64", good, 0, "the instruction in this mode");
    for (unsigned int i = 0; i < 4; i++) {
        good = good && runs_low(real, small_address, sizeof(small_address), 0xffff0000u | TPR, 0);
        good = good && runs_long(SEL_CODE64, TPR, 0) && runs_long(SEL_CODE64, TPR, 0);
    }
    check_that("mode-16-64", good, 0, "the instruction in this mode");
    set_entry(&guest_pml4[511], before);
    flush(true);
}

void group_code(void)
{
    uint64_t *pd = table_of(guest_pdpt[1]);

    memcpy(other_pml4, guest_pml4, sizeof(other_pml4));
    memcpy(other_pdpt, guest_pdpt, sizeof(other_pdpt));
    other_pml4[0] = (uintptr_t)other_pdpt | PT_P | PT_W | PT_U;
    other_pdpt[1] = (uintptr_t)other_pd | PT_P | PT_W | PT_U;
    other_pd[0] = (uintptr_t)other_pt | PT_P | PT_W | PT_U;
    other_pt[PAGE] = (uintptr_t)page_new | PT_P | PT_W;
    for (unsigned int i = 0; i < ARRAY_SIZE(pairs); i++) {
        pair = &pairs[i];
        memcpy(page_old + OFFSET, pair->old_code, sizeof(pair->old_code));
        memcpy(page_new + OFFSET, pair->new_code, sizeof(pair->new_code));
        guest_map(PAGE, (uintptr_t)page_old, PT_P | PT_W);
        check_rewritten();
        for (unsigned int by_cr3 = 0; by_cr3 < 2; by_cr3++) {
            check_entry(by_cr3 ? "pte-cr3" : "pte-invlpg", &guest_window_pt[PAGE],
                        (uintptr_t)page_new | PT_P | PT_W, by_cr3);
            check_entry(by_cr3 ? "pde-cr3" : "pde-invlpg", &pd[0], other_pd[0], by_cr3);
            check_entry(by_cr3 ? "pdpte-cr3" : "pdpte-invlpg", &guest_pdpt[1], other_pdpt[1],
                        by_cr3);
        }
        check_entry("pml4e-cr3", &guest_pml4[0], other_pml4[0], true);
        check_other_cr3();
        check_cr4();
    }
    check_modes();
    lapic_write(LAPIC_REG_TPR, 0);
    guest_map(PAGE, 0, 0);
}
