/* Translations: INVLPG, CR3, global pages, PCID, accessed and dirty bits (SDM vol. 3, 4.8 to 4.10).
 */

#include "check.h"

#define PAGE               0u
#define VALUE_A            0xaaaaaaaaull
#define VALUE_B            0xbbbbbbbbull
#define INVPCID_ADDRESS    0
#define INVPCID_CONTEXT    1
#define INVPCID_ALL        2
#define INVPCID_NON_GLOBAL 3
#define CR3_NO_FLUSH       BIT64(63)

SNIPPET(t_invpcid, "invpcid (%rbx), %rax");
SNIPPET(t_invlpg, "invlpg (%rbx)");
SNIPPET(t_read, "mov (%rbx), %rax");
SNIPPET(t_touch, "mov %rax, (%rbx)");

static uint64_t page_a[512] ALIGNED(4096), page_b[512] ALIGNED(4096);
static uint64_t other_pml4[512] ALIGNED(4096);

static volatile uint64_t *window(void)
{
    return (volatile uint64_t *)GUEST_WINDOW;
}

/* Changes the table and nothing else. */
static void set_page(uint64_t *page, uint64_t flags)
{
    *(volatile uint64_t *)&guest_window_pt[PAGE] = (uintptr_t)page | flags;
    __asm__ volatile("" ::: "memory");
}

/* Maps page A and reads it, so that it is cached, then changes the entry to page B. */
static void cache_a_map_b(uint64_t flags)
{
    guest_map(PAGE, (uintptr_t)page_a, flags);
    (void)*window();
    set_page(page_b, flags);
}

static void check_flushes(void)
{
    uint64_t cr3 = read_cr3(), cr4 = read_cr4(), cr0 = read_cr0();
    struct guest_regs r = {.rbx = GUEST_WINDOW + 0x800};

    cache_a_map_b(PT_P | PT_W);
    guest_exec(t_invlpg, &r);
    check_eq("invlpg", *window(), VALUE_B);
    cache_a_map_b(PT_P | PT_W);
    write_cr3(cr3);
    check_eq("cr3-reload", *window(), VALUE_B);
    cache_a_map_b(PT_P | PT_W);
    write_cr4(cr4 ^ CR4_PGE);
    write_cr4(cr4);
    check_eq("cr4-pge", *window(), VALUE_B);
    if (has.smep) {
        cache_a_map_b(PT_P | PT_W);
        write_cr4(cr4 | CR4_SMEP);
        write_cr4(cr4);
        check_eq("cr4-smep", *window(), VALUE_B);
    }
    write_cr4(cr4 | CR4_PGE);
    cache_a_map_b(PT_P | PT_W | PT_G);
    guest_exec(t_invlpg, &r);
    check_eq("invlpg-global", *window(), VALUE_B);
    cache_a_map_b(PT_P | PT_W | PT_G);
    write_cr4(cr4);
    check_eq("clear-pge-flushes-global", *window(), VALUE_B);
    /* From absent to present, no flush is needed: such entries are not cached. */
    guest_map(PAGE, 0, 0);
    r.rbx = GUEST_WINDOW;
    check_eq("absent", (uint64_t)guest_exec(t_read, &r), EXC_PF);
    set_page(page_a, PT_P);
    check_eq("absent-to-present", (uint64_t)guest_exec(t_read, &r), (uint64_t)GUEST_RETURNED);
    /* Fewer rights show after INVLPG; more at the latest after the fault. */
    guest_map(PAGE, (uintptr_t)page_a, PT_P | PT_W);
    *window() = VALUE_A;
    guest_map(PAGE, (uintptr_t)page_a, PT_P);
    check_eq("write-protected", (uint64_t)guest_exec(t_touch, &r), EXC_PF);
    write_cr0(cr0 & ~CR0_WP);
    r.rax = VALUE_A;
    check_eq("wp-clear", (uint64_t)guest_exec(t_touch, &r), (uint64_t)GUEST_RETURNED);
    write_cr0(cr0);
    check_eq("wp-set-again", (uint64_t)guest_exec(t_touch, &r), EXC_PF);
}

static void check_address_spaces(void)
{
    uint64_t cr3 = read_cr3();

    memcpy(other_pml4, guest_pml4, sizeof(other_pml4));
    guest_map(PAGE, (uintptr_t)page_a, PT_P | PT_W);
    write_cr3((uintptr_t)other_pml4);
    check_eq("other-cr3", read_cr3(), (uintptr_t)other_pml4);
    check_eq("other-cr3-same-page", *window(), VALUE_A);
    check_eq("other-cr3-accessed", other_pml4[0] & PT_A, PT_A);
    write_cr3(cr3);
}

static void check_accessed_dirty(void)
{
    volatile uint64_t *pte = &guest_window_pt[PAGE];

    guest_map(PAGE, (uintptr_t)page_a, PT_P | PT_W);
    check_eq("a-d-clear", *pte & (PT_A | PT_D), 0);
    (void)*window();
    check_eq("accessed-by-read", *pte & (PT_A | PT_D), PT_A);
    *window() = VALUE_A;
    check_eq("dirty-by-write", *pte & (PT_A | PT_D), PT_A | PT_D);
    guest_map(PAGE, (uintptr_t)page_a, PT_P);
    struct guest_regs r = {.rbx = GUEST_WINDOW};
    guest_exec(t_touch, &r);
    check_eq("not-dirty-by-fault", *pte & PT_D, 0);
    check_that("a-in-upper-levels", (guest_pml4[0] & PT_A) && (guest_pdpt[1] & PT_A), guest_pdpt[1],
               "accessed");
}

static uint64_t invpcid(uint64_t type, uint64_t pcid, uint64_t address)
{
    uint64_t descriptor[2] = {pcid, address};
    struct guest_regs r = {.rax = type, .rbx = (uintptr_t)descriptor};

    return (uint64_t)guest_exec(t_invpcid, &r);
}

static void check_pcid(void)
{
    uint64_t cr3 = read_cr3(), cr4 = read_cr4();

    if (!has.pcid) {
        check_skip("pcid", "no PCID");
        check_eq("cr4-pcide-reserved", (uint64_t)try_write_cr4(cr4 | CR4_PCIDE), EXC_GP);
        return;
    }
    write_cr3(cr3 | 0x18);
    check_eq("pcide-with-cr3-bits", (uint64_t)try_write_cr4(cr4 | CR4_PCIDE), EXC_GP);
    write_cr3(cr3);
    check_eq("pcide", (uint64_t)try_write_cr4(cr4 | CR4_PCIDE), (uint64_t)GUEST_RETURNED);
    check_eq("pcide-read", read_cr4(), cr4 | CR4_PCIDE);
    check_eq("cr3-with-pcid", (uint64_t)try_write_cr3(cr3 | 5), (uint64_t)GUEST_RETURNED);
    check_eq("cr3-pcid-read", read_cr3(), cr3 | 5);
    cache_a_map_b(PT_P | PT_W);
    write_cr3(cr3 | 5);
    check_eq("cr3-reload-with-pcid", *window(), VALUE_B);
    check_eq("cr3-no-flush", (uint64_t)try_write_cr3(cr3 | 6 | CR3_NO_FLUSH),
             (uint64_t)GUEST_RETURNED);
    check_eq("cr3-no-flush-reads-0", read_cr3(), cr3 | 6);
    write_cr3(cr3);
    write_cr4(cr4);
}

static void check_invpcid(void)
{
    static const struct trap_row gone = {"invpcid-absent",          t_invpcid, EXC_UD, 0, 0, 0,
                                         {.rbx = (uintptr_t)page_a}};

    if (!has.invpcid) {
        check_trap(&gone);
        check_skip("invpcid", "no INVPCID");
        return;
    }
    cache_a_map_b(PT_P | PT_W);
    check_eq("invpcid-address", invpcid(INVPCID_ADDRESS, 0, GUEST_WINDOW),
             (uint64_t)GUEST_RETURNED);
    check_eq("invpcid-address-flushes", *window(), VALUE_B);
    cache_a_map_b(PT_P | PT_W);
    invpcid(INVPCID_CONTEXT, 0, 0);
    check_eq("invpcid-context-flushes", *window(), VALUE_B);
    cache_a_map_b(PT_P | PT_W);
    invpcid(INVPCID_ALL, 0, 0);
    check_eq("invpcid-all-flushes", *window(), VALUE_B);
    cache_a_map_b(PT_P | PT_W);
    invpcid(INVPCID_NON_GLOBAL, 0, 0);
    check_eq("invpcid-non-global-flushes", *window(), VALUE_B);
    check_eq("invpcid-type-4", invpcid(4, 0, 0), EXC_GP);
    check_eq("invpcid-reserved", invpcid(INVPCID_CONTEXT, BIT64(12), 0), EXC_GP);
    check_eq("invpcid-noncanonical", invpcid(INVPCID_ADDRESS, 0, NONCANONICAL), EXC_GP);
}

void group_tlb(void)
{
    page_a[0] = VALUE_A;
    page_b[0] = VALUE_B;
    check_flushes();
    check_address_spaces();
    check_accessed_dirty();
    page_a[0] = VALUE_A;
    check_pcid();
    check_invpcid();
    guest_map(PAGE, 0, 0);
}
