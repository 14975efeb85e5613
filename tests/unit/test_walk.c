/* The guest page walker: every paging mode, all rights, reserved bits, error codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/regs.h"
#include "lib/error.h"
#include "vmm/emulate/walk.h"

#define P  1ull
#define RW 2ull
#define US 4ull
#define PS 0x80ull
#define NX BIT64(63)

#define ALL (P | RW | US)

/* Tables stand at fixed places of a small physical memory, one a level. */
#define TABLE(level) (0x1000ull * (level))
#define MEMORY_SIZE  0x7000

static uint8_t memory[MEMORY_SIZE];
static unsigned int reads;

static int read_pte(void *ctx, uint64_t gpa, unsigned int size, uint64_t *pte)
{
    (void)ctx;
    reads++;
    assert_true(size == 4 || size == 8);
    assert_int_equal(gpa % size, 0);
    if (gpa + size > MEMORY_SIZE)
        return -BH_EFAULT;
    *pte = 0;
    memcpy(pte, memory + gpa, size);
    return 0;
}

static void set64(unsigned int level, unsigned int index, uint64_t entry)
{
    memcpy(memory + TABLE(level) + 8 * index, &entry, 8);
}

static void set32(unsigned int level, unsigned int index, uint32_t entry)
{
    memcpy(memory + TABLE(level) + 4 * index, &entry, 4);
}

static int setup(void **state)
{
    (void)state;
    memset(memory, 0, sizeof(memory));
    reads = 0;
    return 0;
}

static struct walk_state long_mode(void)
{
    return (struct walk_state){.cr0 = CR0_PE | CR0_PG | CR0_WP,
                               .cr3 = TABLE(4),
                               .cr4 = CR4_PAE,
                               .efer = EFER_LME | EFER_LMA | EFER_NXE};
}

/* The linear address with these table indexes. */
static uint64_t linear_of(unsigned int i4, unsigned int i3, unsigned int i2, unsigned int i1)
{
    return (uint64_t)i4 << 39 | (uint64_t)i3 << 30 | (uint64_t)i2 << 21 | (uint64_t)i1 << 12;
}

/* Maps linear_of(1, 2, 3, 4) to a 4 KiB page with `rights` in the last entry. */
static void map_long(uint64_t rights)
{
    set64(4, 1, TABLE(3) | ALL);
    set64(3, 2, TABLE(2) | ALL);
    set64(2, 3, TABLE(1) | ALL);
    set64(1, 4, 0xabcde000 | rights);
}

static void expect_gpa(const struct walk_state *s, uint64_t linear, uint64_t gpa)
{
    struct walk_result r;

    assert_int_equal(guest_walk(s, linear, 0, read_pte, NULL, &r), 0);
    assert_true(r.gpa == gpa);
}

static void expect_fault(const struct walk_state *s, uint64_t linear, unsigned int access,
                         uint32_t error)
{
    struct walk_result r;

    assert_int_equal(guest_walk(s, linear, access, read_pte, NULL, &r), -BH_EFAULT);
    assert_int_equal(r.pf_error, error);
}

static void test_no_paging(void **state)
{
    struct walk_state s = {.cr0 = CR0_PE, .cr3 = 0x1000};

    (void)state;
    expect_gpa(&s, 0xdeadbeef, 0xdeadbeef);
    assert_int_equal(reads, 0);
}

static void test_32bit(void **state)
{
    /* The low bits of CR3 are no part of the address; NXE has no effect without PAE. */
    struct walk_state s = {.cr0 = CR0_PE | CR0_PG, .cr3 = TABLE(2) | 0x18, .efer = EFER_NXE};

    (void)state;
    set32(2, 0x3ff, TABLE(1) | ALL);
    set32(1, 0x3fe, 0xfedcb000 | ALL);
    expect_gpa(&s, 0xffffe123, 0xfedcb123);
    assert_int_equal(reads, 2);
    expect_fault(&s, 0xffffd000, WALK_WRITE | WALK_USER, PF_WRITE | PF_USER);
    expect_fault(&s, 0x00000000, WALK_FETCH, 0);
}

static void test_32bit_large(void **state)
{
    struct walk_state s = {.cr0 = CR0_PE | CR0_PG, .cr3 = TABLE(2), .cr4 = CR4_PSE};

    (void)state;
    /* Bits 13..20 are address bits 32..39. */
    set32(2, 1, 0x12400000 | PS | ALL | 0xabu << 13 | 1u << 12);
    expect_gpa(&s, 0x7fffff, 0xab127fffff);
    set32(2, 1, 0x12400000 | PS | ALL | 1u << 21);
    expect_fault(&s, 0x400000, 0, PF_PRESENT | PF_RSVD);
    /* Without CR4.PSE the entry names a table, whatever its bit 7 says. */
    s.cr4 = 0;
    set32(2, 1, TABLE(1) | PS | ALL);
    set32(1, 0, 0x5000 | PS | ALL);
    expect_gpa(&s, 0x400010, 0x5010);
}

static void test_pae(void **state)
{
    struct walk_state s = {
        .cr0 = CR0_PE | CR0_PG, .cr3 = TABLE(3) | 0x20, .cr4 = CR4_PAE, .efer = EFER_NXE};

    (void)state;
    /* The pointer table is aligned to 32 bytes: entries 4 to 7 of the page here. */
    set64(3, 4 + 3, TABLE(2) | P);
    set64(2, 1, TABLE(1) | ALL);
    set64(1, 2, 0xf12345000 | ALL);
    set64(2, 2, 0x7fff00200000 | PS | ALL | NX);
    expect_gpa(&s, 0xc0202fff, 0xf12345fff);
    assert_int_equal(reads, 3);
    expect_gpa(&s, 0xc0412345, 0x7fff00212345);
    expect_fault(&s, 0xc0400000, WALK_FETCH, PF_PRESENT | PF_FETCH);
    expect_fault(&s, 0x80000000, WALK_WRITE, PF_WRITE);
    /* A pointer-table entry has no rights; those bits are reserved in it. */
    set64(3, 4 + 3, TABLE(2) | P | RW);
    expect_fault(&s, 0xc0202000, 0, PF_PRESENT | PF_RSVD);
    set64(3, 4 + 3, TABLE(2) | P);
    /* QEMU's TCG sets bit 5 while it walks. */
    set64(3, 4 + 3, TABLE(2) | P | BIT64(5));
    expect_gpa(&s, 0xc0202fff, 0xf12345fff);
    /* So are bits 52 to 62 of all entries, unlike in long mode. */
    set64(1, 2, 0xf12345000 | ALL | BIT64(55));
    expect_fault(&s, 0xc0202000, 0, PF_PRESENT | PF_RSVD);
}

static void test_4level(void **state)
{
    struct walk_state s = long_mode();

    (void)state;
    map_long(ALL);
    set64(2, 5, 0x40200000 | PS | ALL | BIT64(12));
    set64(3, 6, 0x1c0000000 | PS | ALL);
    expect_gpa(&s, linear_of(1, 2, 3, 4) + 0x777, 0xabcde777);
    assert_int_equal(reads, 4);
    expect_gpa(&s, linear_of(1, 2, 5, 1), 0x40201000);
    expect_gpa(&s, linear_of(1, 6, 511, 511), 0x1fffff000);
    /* The upper half of the canonical addresses. */
    set64(4, 511, TABLE(3) | ALL);
    expect_gpa(&s, 0xffff800000000000 | linear_of(511, 2, 3, 4), 0xabcde000);
    /* Ignored bits, and CR3's PCID. */
    set64(1, 4, 0xabcde000 | ALL | 0xf80ull << 49 | 0xe00);
    s.cr3 |= 0xfff;
    expect_gpa(&s, linear_of(1, 2, 3, 4), 0xabcde000);
}

static void test_5level(void **state)
{
    struct walk_state s = long_mode();

    (void)state;
    s.cr4 |= CR4_LA57;
    s.cr3 = TABLE(5);
    map_long(ALL);
    set64(5, 0x55, TABLE(4) | ALL);
    expect_gpa(&s, 0x55ull << 48 | linear_of(1, 2, 3, 4), 0xabcde000);
    assert_int_equal(reads, 5);
    set64(5, 0x55, TABLE(4) | ALL | PS);
    expect_fault(&s, 0x55ull << 48, 0, PF_PRESENT | PF_RSVD);
}

/* Not present at each level in turn: the error code has no P, whatever the entry holds else. */
static void test_not_present(void **state)
{
    struct walk_state s = long_mode();
    static const unsigned int index[5] = {0, 4, 3, 2, 1};

    (void)state;
    for (unsigned int level = 1; level <= 4; level++) {
        map_long(ALL);
        set64(level, index[level], ~P);
        expect_fault(&s, linear_of(1, 2, 3, 4), WALK_WRITE | WALK_USER, PF_WRITE | PF_USER);
        expect_fault(&s, linear_of(1, 2, 3, 4), WALK_FETCH, PF_FETCH);
    }
}

static void test_reserved(void **state)
{
    struct walk_state s = long_mode();
    uint64_t linear = linear_of(1, 2, 3, 4);

    (void)state;
    map_long(ALL | BIT64(40));
    expect_gpa(&s, linear, 0xabcde000 | BIT64(40));

    map_long(ALL | NX);
    s.efer &= ~EFER_NXE;
    expect_fault(&s, linear, 0, PF_PRESENT | PF_RSVD);

    s = long_mode();
    map_long(ALL);
    set64(4, 1, TABLE(3) | ALL | PS);
    expect_fault(&s, linear, 0, PF_PRESENT | PF_RSVD);
    map_long(ALL);
    set64(2, 3, 0x40200000 | PS | ALL | BIT64(13));
    expect_fault(&s, linear, 0, PF_PRESENT | PF_RSVD);
    set64(3, 2, 0x40000000 | PS | ALL | BIT64(29));
    expect_fault(&s, linear, WALK_WRITE, PF_PRESENT | PF_RSVD | PF_WRITE);
}

/* Rights are the and over all levels. */
static void test_rights_combine(void **state)
{
    struct walk_state s = long_mode();
    uint64_t linear = linear_of(1, 2, 3, 4);
    static const unsigned int index[5] = {0, 4, 3, 2, 1};

    (void)state;
    for (unsigned int level = 1; level <= 4; level++) {
        uint64_t next = level == 1 ? 0xabcde000 : TABLE(level - 1);

        map_long(ALL);
        set64(level, index[level], next | P | US);
        expect_fault(&s, linear, WALK_WRITE, PF_PRESENT | PF_WRITE);
        set64(level, index[level], next | P | RW);
        expect_fault(&s, linear, WALK_USER, PF_PRESENT | PF_USER);
        set64(level, index[level], next | ALL | NX);
        expect_fault(&s, linear, WALK_FETCH, PF_PRESENT | PF_FETCH);
        set64(level, index[level], next | ALL);
        expect_gpa(&s, linear, 0xabcde000);
    }
}

struct rights_case {
    const char *what;
    uint64_t page; /* rights of the page */
    unsigned int access;
    uint64_t cr0, cr4; /* WP; SMEP, SMAP */
    bool ac;
    uint8_t cpl;
    uint32_t error; /* 0: allowed */
};

#define U WALK_USER
#define W WALK_WRITE
#define F WALK_FETCH

static const struct rights_case rights_cases[] = {
    {"supervisor reads supervisor page", P, 0, 0, 0, false, 0, 0},
    {"user reads supervisor page", P | RW, U, 0, 0, false, 3, PF_PRESENT | PF_USER},
    {"user writes supervisor page", P | RW, U | W, 0, 0, false, 3, PF_PRESENT | PF_USER | PF_WRITE},
    {"user fetches supervisor page", P, U | F, 0, 0, false, 3, PF_PRESENT | PF_USER | PF_FETCH},
    {"user reads user page", P | US, U, 0, 0, false, 3, 0},
    {"user writes read-only page", P | US, U | W, 0, 0, false, 3, PF_PRESENT | PF_USER | PF_WRITE},
    {"user writes user page", ALL, U | W, CR0_WP, 0, false, 3, 0},
    {"supervisor writes read-only page without WP", P, W, 0, 0, false, 0, 0},
    {"supervisor writes read-only page with WP", P, W, CR0_WP, 0, false, 0, PF_PRESENT | PF_WRITE},
    {"supervisor writes read-only user page, no WP", P | US, W, 0, 0, false, 0, 0},
    {"supervisor fetches user page", P | US, F, 0, 0, false, 0, 0},
    {"the same with SMEP", P | US, F, 0, CR4_SMEP, false, 0, PF_PRESENT | PF_FETCH},
    {"SMEP does not concern user fetches", P | US, U | F, 0, CR4_SMEP, false, 3, 0},
    {"SMEP does not concern data", P | US, 0, 0, CR4_SMEP, false, 0, 0},
    {"SMEP does not concern supervisor pages", P, F, 0, CR4_SMEP, false, 0, 0},
    {"fetch from NX page", P | US | NX, U | F, 0, 0, false, 3, PF_PRESENT | PF_USER | PF_FETCH},
    {"supervisor fetch from NX page", P | NX, F, 0, 0, false, 0, PF_PRESENT | PF_FETCH},
    {"NX does not concern data", ALL | NX, U | W, 0, 0, false, 3, 0},
    {"SMAP, AC clear", ALL, 0, 0, CR4_SMAP, false, 0, PF_PRESENT},
    {"SMAP, AC clear, write", ALL, W, 0, CR4_SMAP, false, 0, PF_PRESENT | PF_WRITE},
    {"SMAP, AC set", ALL, W, CR0_WP, CR4_SMAP, true, 0, 0},
    {"SMAP, AC set, read-only, WP", P | US, W, CR0_WP, CR4_SMAP, true, 0, PF_PRESENT | PF_WRITE},
    {"SMAP, implicit access at CPL 3", ALL, 0, 0, CR4_SMAP, true, 3, PF_PRESENT},
    {"SMAP does not concern user accesses", ALL, U, 0, CR4_SMAP, false, 3, 0},
    {"SMAP does not concern fetches", ALL, F, 0, CR4_SMAP, false, 0, 0},
    {"SMAP does not concern supervisor pages", P | RW, W, 0, CR4_SMAP, false, 0, 0},
};

static void test_rights(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rights_cases); i++) {
        const struct rights_case *c = &rights_cases[i];
        struct walk_state s = long_mode();
        struct walk_result r;
        int err;

        s.cr0 = CR0_PE | CR0_PG | c->cr0;
        s.cr4 |= c->cr4;
        s.rflags_ac = c->ac;
        s.cpl = c->cpl;
        map_long(c->page);
        err = guest_walk(&s, linear_of(1, 2, 3, 4), c->access, read_pte, NULL, &r);
        if (err != (c->error ? -BH_EFAULT : 0) || r.pf_error != c->error)
            fail_msg("%s: %d, error code %x", c->what, err, r.pf_error);
    }
}

/* The fetch bit of the error code appears only where fetches can be forbidden. */
static void test_fetch_bit(void **state)
{
    struct walk_state s = long_mode();

    (void)state;
    expect_fault(&s, 0, WALK_FETCH, PF_FETCH);
    s.efer &= ~EFER_NXE;
    expect_fault(&s, 0, WALK_FETCH, 0);
    s.cr4 |= CR4_SMEP;
    expect_fault(&s, 0, WALK_FETCH, PF_FETCH);
}

static void test_table_not_in_memory(void **state)
{
    struct walk_state s = long_mode();
    struct walk_result r;

    (void)state;
    s.cr3 = 0x123456789000;
    assert_int_equal(guest_walk(&s, 0, 0, read_pte, NULL, &r), -BH_EIO);
    s = long_mode();
    set64(4, 0, 0x9000 | ALL);
    assert_int_equal(guest_walk(&s, 0, 0, read_pte, NULL, &r), -BH_EIO);
    /* A table that points at itself: the walk ends after its levels all the same. */
    set64(4, 0, TABLE(4) | ALL);
    reads = 0;
    assert_int_equal(guest_walk(&s, 0, 0, read_pte, NULL, &r), 0);
    assert_int_equal(reads, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_no_paging, setup),
        cmocka_unit_test_setup(test_32bit, setup),
        cmocka_unit_test_setup(test_32bit_large, setup),
        cmocka_unit_test_setup(test_pae, setup),
        cmocka_unit_test_setup(test_4level, setup),
        cmocka_unit_test_setup(test_5level, setup),
        cmocka_unit_test_setup(test_not_present, setup),
        cmocka_unit_test_setup(test_reserved, setup),
        cmocka_unit_test_setup(test_rights_combine, setup),
        cmocka_unit_test_setup(test_rights, setup),
        cmocka_unit_test_setup(test_fetch_bit, setup),
        cmocka_unit_test_setup(test_table_not_in_memory, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
