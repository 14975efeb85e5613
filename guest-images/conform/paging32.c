/* 32-bit and PAE paging (SDM vol. 3, 4.3 and 4.4). */

#include "low.h"

#define VA       0x50000000u
#define VA_PDE   (VA >> 22)
#define VA_PD    (VA >> 21 & 511)
#define TARGET   0x6000u
#define VALUE    0x5eed1234u
#define PSE_RSVD BIT(21)
#define PG_WP    (uint32_t)(CR0_PG | CR0_WP)

SNIPPET32(q_read, "mov (%ebx), %eax");
SNIPPET32(q_write, "mov %eax, (%ebx)");
SNIPPET32(q_jump, "jmp *%ebx");
SNIPPET32(q_toggle, "mov $3, %ecx\n1: mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0;"
                    "or $0x80000000, %eax; mov %eax, %cr0; mov (%ebx), %edx; dec %ecx; jnz 1b");
SNIPPET32(q_remap, "mov (%ebx), %eax; mov %edx, (%esi); invlpg (%ebx); mov (%ebx), %ecx");
SNIPPET32(q_reload, "mov (%ebx), %eax; mov %edx, (%esi); mov %cr3, %ecx; mov %ecx, %cr3;"
                    "mov (%ebx), %ecx");
SNIPPET32(q_set_cr3, "mov %eax, %cr3");
SNIPPET32(q_to_pae, "mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0; mov %cr4, %ecx;"
                    "or $0x20, %ecx; mov %ecx, %cr4; mov %esi, %cr3; or $0x80000000, %eax;"
                    "mov %eax, %cr0; mov (%ebx), %edx");
SNIPPET32(q_pae_to_32,
          "mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0; mov %cr4, %ecx;"
          "and $0xffffffdf, %ecx; mov %ecx, %cr4; mov %esi, %cr3; or $0x80000000, %eax;"
          "mov %eax, %cr0; mov (%ebx), %edx");
SNIPPET32(q_lapic, "mov 0xfee00030, %eax");

static struct low_box box;

static void run(uint32_t cr4, const uint8_t *code, const uint8_t *end, struct low_box in)
{
    box = in;
    box.mode = LOW_PM32;
    box.cr0_set = PG_WP;
    box.cr4 = cr4;
    box.cr3 = box.cr3 ? box.cr3 : cr4 & CR4_PAE ? (uintptr_t)low_pdpt : (uintptr_t)low_pd32;
    low_run(&box, code, end);
}
#define RUN(cr4, code, ...) run(cr4, code, code##_end, (struct low_box){__VA_ARGS__})

static void expect_fault(const char *name, uint32_t error)
{
    if (box.vector != EXC_PF)
        check_eq(name, box.vector, EXC_PF);
    else if (read_cr2() != VA)
        check_eq(name, read_cr2(), VA);
    else
        check_eq(name, box.error, error);
}

static void map32(uint32_t pde, uint32_t pte)
{
    low_pd32[VA_PDE] = pde;
    low_pt32[VA >> 12 & 1023] = pte;
}

static void check_32(void)
{
    uint32_t table = (uint32_t)((uintptr_t)low_pt32 | PT_P | PT_W | PT_U);

    map32(table, TARGET | (uint32_t)(PT_P | PT_W));
    RUN(CR4_PSE, q_read, .ebx = VA);
    check_eq("4k-page", box.eax, VALUE);
    map32((uint32_t)(PT_P | PT_W | PT_LARGE), 0);
    RUN(CR4_PSE, q_read, .ebx = VA + TARGET);
    check_eq("4m-page", box.eax, VALUE);
    map32(table, 0);
    RUN(CR4_PSE, q_read, .ebx = VA);
    expect_fault("pf-absent", 0);
    RUN(CR4_PSE, q_write, .ebx = VA);
    expect_fault("pf-absent-write", PF_W);
    RUN(CR4_PSE, q_jump, .ebx = VA);
    expect_fault("pf-fetch-shows-no-i", 0);
    map32(table, TARGET | (uint32_t)PT_P);
    RUN(CR4_PSE, q_write, .ebx = VA);
    expect_fault("pf-read-only", PF_P | PF_W);
    map32(PSE_RSVD | (uint32_t)(PT_P | PT_W | PT_LARGE), 0);
    RUN(CR4_PSE, q_read, .ebx = VA);
    expect_fault("pf-reserved-in-4m-page", PF_P | PF_RSVD);
    map32(table, TARGET | (uint32_t)(PT_P | PT_W));
    RUN(CR4_PSE, q_toggle, .ebx = VA);
    check_eq("paging-off-and-on", box.vector == LOW_RETURNED ? box.edx : box.vector, VALUE);
    RUN(CR4_PSE, q_remap, .ebx = VA, .esi = (uintptr_t)&low_pt32[VA >> 12 & 1023],
        .edx = (TARGET + 0x1000) | 3);
    check_eq("invlpg", box.ecx, ~VALUE);
    map32(table, TARGET | (uint32_t)(PT_P | PT_W));
    RUN(CR4_PSE, q_reload, .ebx = VA, .esi = (uintptr_t)&low_pt32[VA >> 12 & 1023],
        .edx = (TARGET + 0x1000) | 3);
    check_eq("cr3-reload", box.ecx, ~VALUE);
    map32(table, TARGET | (uint32_t)(PT_P | PT_W));
    RUN(CR4_PSE, q_read, .ebx = VA);
    check_eq("accessed", low_pt32[VA >> 12 & 1023] & (PT_A | PT_D), PT_A);
    RUN(CR4_PSE, q_write, .ebx = VA, .eax = VALUE);
    check_eq("dirty", low_pt32[VA >> 12 & 1023] & PT_D, PT_D);
}

static uint64_t pae_table[512] ALIGNED(4096), pae_pd[512] ALIGNED(4096);
static uint64_t bad_pdpt[512] ALIGNED(4096);

static void map_pae(uint64_t pte)
{
    low_pdpt[VA >> 30] = (uintptr_t)pae_pd | PT_P;
    pae_pd[VA_PD] = (uintptr_t)pae_table | PT_P | PT_W | PT_U;
    pae_table[VA >> 12 & 511] = pte;
}

static void check_pae(void)
{
    map_pae(TARGET | PT_P | PT_W);
    RUN(CR4_PAE, q_read, .ebx = VA);
    check_eq("pae-4k-page", box.eax, VALUE);
    check_eq("pae-efer-lma", box.out_efer & EFER_LMA, 0);
    map_pae(0);
    RUN(CR4_PAE, q_read, .ebx = VA);
    expect_fault("pae-pf-absent", 0);
    if (has.nx) {
        map_pae(TARGET | PT_P | PT_W | PT_NX);
        RUN(CR4_PAE, q_jump, .ebx = VA);
        expect_fault("pae-pf-nx", PF_P | PF_I);
    }
    map_pae(TARGET | PT_P | BIT64(55));
    RUN(CR4_PAE, q_read, .ebx = VA);
    expect_fault("pae-pf-reserved", PF_P | PF_RSVD);
    map_pae(TARGET | PT_P | PT_W);
    RUN(CR4_PAE, q_toggle, .ebx = VA);
    check_eq("pae-off-and-on", box.vector == LOW_RETURNED ? box.edx : box.vector, VALUE);
    /* A new pointer-table entry counts at the latest from the next MOV to CR3 on. */
    low_pdpt[VA >> 30] = 0;
    RUN(CR4_PAE, q_reload, .ebx = 0x100000, .esi = (uintptr_t)&low_pdpt[VA >> 30],
        .edx = (uint32_t)((uintptr_t)pae_pd | PT_P));
    RUN(CR4_PAE, q_read, .ebx = VA);
    check_eq("pae-new-pdpte", box.eax, VALUE);
    RUN(CR4_PAE, q_remap, .ebx = VA, .esi = (uintptr_t)&pae_table[VA >> 12 & 511],
        .edx = (TARGET + 0x1000) | 3);
    check_eq("pae-invlpg", box.ecx, ~VALUE);
    map_pae(TARGET | PT_P | PT_W);
    memcpy(bad_pdpt, low_pdpt, sizeof(bad_pdpt));
    bad_pdpt[2] = (uintptr_t)pae_pd | PT_P | PT_W; /* has no such bit */
    RUN(CR4_PAE, q_set_cr3, .eax = (uintptr_t)bad_pdpt);
    check_eq("pae-reserved-in-pdpte", box.vector, EXC_GP);
    map32((uint32_t)((uintptr_t)low_pt32 | 7), TARGET | 3);
    RUN(CR4_PSE, q_to_pae, .ebx = VA, .esi = (uintptr_t)low_pdpt);
    check_eq("32-bit-to-pae", box.vector == LOW_RETURNED ? box.edx : box.vector, VALUE);
    RUN(CR4_PAE | CR4_PSE, q_pae_to_32, .ebx = VA, .esi = (uintptr_t)low_pd32);
    check_eq("pae-to-32-bit", box.vector == LOW_RETURNED ? box.edx : box.vector, VALUE);
    RUN(CR4_PAE, q_lapic, .eax = 0);
    check_eq("pae-lapic", box.eax, lapic_read(LAPIC_REG_VERSION));
}

void group_paging32(void)
{
    volatile uint32_t *target = (volatile uint32_t *)(uintptr_t)TARGET;

    __asm__("" : "+r"(target));
    low_make_tables();
    target[0] = VALUE;
    target[1024] = ~VALUE;
    check_32();
    check_pae();
}
