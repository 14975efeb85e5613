#include "vmm/emulate/walk.h"

#include "arch/x86/mm/pte.h"
#include "arch/x86/regs.h"
#include "lib/error.h"

/* Entries: SDM vol. 3, tables 4-4 to 4-20. */
#define CR3_PAE_BASE  0xffffffe0ull
#define CR3_32BIT     0xfffff000ull
#define PAE_HIGH_RSVD 0x7ff0000000000000ull /* bits 52..62 of PAE entries */

/* A PAE page-directory-pointer entry has no rights; these bits are reserved in it. So is bit 5, but
 * QEMU's TCG marks the entry as accessed there. */
#define PDPTE_PAE_RSVD (PTE_W | PTE_U | 0x1c0ull | PTE_NX)

/* A 4 MiB page's entry holds address bits 32..39 in bits 13..20 (PSE-36); bit 21 is reserved. */
#define PSE36_SHIFT    13
#define PSE36_MASK     0xffull
#define PSE_RSVD       BIT64(21)
#define PSE_PAGE_SHIFT 22

struct walk_format {
    uint8_t levels;
    uint8_t entry_size;
    uint8_t index_bits;
    bool no_execute; /* bit 63 is NX, not reserved */
    bool large;      /* PS has a meaning in page-directory entries */
    bool pae;
    uint64_t root;
    uint64_t reserved; /* bits that no entry may have set */
};

/* Rights are the and of those at all levels, NX the or. */
struct walk_rights {
    bool write;
    bool user;
    bool no_execute;
};

static struct walk_format walk_format_of(const struct walk_state *s)
{
    struct walk_format f = {.entry_size = 8, .index_bits = 9, .large = true};

    if (!(s->cr4 & CR4_PAE)) {
        /* EFER.NXE has no effect: there is no bit for NX. */
        return (struct walk_format){.levels = 2,
                                    .entry_size = 4,
                                    .index_bits = 10,
                                    .large = s->cr4 & CR4_PSE,
                                    .root = s->cr3 & CR3_32BIT};
    }
    f.no_execute = s->efer & EFER_NXE;
    if (s->efer & EFER_LMA) {
        f.levels = s->cr4 & CR4_LA57 ? 5 : 4;
        f.root = s->cr3 & PTE_ADDR;
    } else {
        f.levels = 3;
        f.pae = true;
        f.root = s->cr3 & CR3_PAE_BASE;
        f.reserved |= PAE_HIGH_RSVD;
    }
    if (!f.no_execute)
        f.reserved |= PTE_NX;
    return f;
}

static unsigned int shift_of(const struct walk_format *f, unsigned int level)
{
    return 12 + f->index_bits * (level - 1);
}

/* Whether an entry at `level` (1: page table) maps a page. */
static bool is_leaf(const struct walk_format *f, unsigned int level, uint64_t entry)
{
    if (level == 1)
        return true;
    if (!(entry & PTE_LARGE) || !f->large)
        return false;
    return level == 2 || (level == 3 && !f->pae);
}

static bool has_reserved_bits(const struct walk_format *f, unsigned int level, uint64_t entry)
{
    uint64_t reserved = f->reserved;

    if (f->entry_size == 4)
        return is_leaf(f, level, entry) && level == 2 && (entry & PSE_RSVD);
    if (f->pae && level == 3)
        reserved |= PDPTE_PAE_RSVD;
    else if (level >= 4)
        reserved |= PTE_LARGE;
    /* In a large page's entry the address bits below the page size are reserved, except PAT. */
    if (level > 1 && is_leaf(f, level, entry))
        reserved |= (BIT64(shift_of(f, level)) - 1) & ~(BIT64(13) - 1);
    return entry & reserved;
}

static void add_rights(const struct walk_format *f, unsigned int level, uint64_t entry,
                       struct walk_rights *rights)
{
    if (f->pae && level == 3)
        return;
    rights->write = rights->write && (entry & PTE_W);
    rights->user = rights->user && (entry & PTE_U);
    rights->no_execute = rights->no_execute || (f->no_execute && (entry & PTE_NX));
}

/* SDM vol. 3, 4.6.1: whether a page with these rights may be accessed so. */
static bool is_allowed(const struct walk_state *s, const struct walk_rights *r, unsigned int access)
{
    if (access & WALK_FETCH) {
        bool smep = r->user && (s->cr4 & CR4_SMEP);

        return !r->no_execute && (access & WALK_USER ? r->user : !smep);
    }
    if (access & WALK_USER)
        return r->user && (r->write || !(access & WALK_WRITE));
    if (r->user && (s->cr4 & CR4_SMAP)) {
        bool implicit = s->cpl == 3;

        if (implicit || !s->rflags_ac)
            return false;
    }
    return r->write || !(access & WALK_WRITE) || !(s->cr0 & CR0_WP);
}

static uint32_t error_code(const struct walk_state *s, unsigned int access, uint32_t cause)
{
    uint32_t error = cause;

    if (access & WALK_WRITE)
        error |= PF_WRITE;
    if (access & WALK_USER)
        error |= PF_USER;
    /* The fetch bit is reported only where fetches can be forbidden (SDM vol. 3, 4.7). */
    if ((access & WALK_FETCH) &&
        ((s->cr4 & CR4_SMEP) || ((s->cr4 & CR4_PAE) && (s->efer & EFER_NXE))))
        error |= PF_FETCH;
    return error;
}

static uint64_t address_in(const struct walk_format *f, unsigned int level, uint64_t entry,
                           uint64_t linear)
{
    unsigned int shift = shift_of(f, level);
    uint64_t offset_mask = BIT64(shift) - 1;
    uint64_t base = entry & PTE_ADDR & ~offset_mask;

    if (f->entry_size == 4 && shift == PSE_PAGE_SHIFT)
        base |= (entry >> PSE36_SHIFT & PSE36_MASK) << 32;
    return base | (linear & offset_mask);
}

int guest_walk(const struct walk_state *state, uint64_t linear, unsigned int access,
               walk_read_pte *read_pte, void *ctx, struct walk_result *result)
{
    struct walk_rights rights = {.write = true, .user = true};
    struct walk_format f;
    uint64_t table, entry = 0;
    unsigned int level;

    *result = (struct walk_result){.gpa = linear};
    if (!(state->cr0 & CR0_PG))
        return 0;

    f = walk_format_of(state);
    table = f.root;
    for (level = f.levels;; level--) {
        uint64_t index = linear >> shift_of(&f, level) & (BIT64(f.index_bits) - 1);

        if (read_pte(ctx, table + index * f.entry_size, f.entry_size, &entry))
            return -BH_EIO;
        if (!(entry & PTE_P)) {
            result->pf_error = error_code(state, access, 0);
            return -BH_EFAULT;
        }
        if (has_reserved_bits(&f, level, entry)) {
            result->pf_error = error_code(state, access, PF_PRESENT | PF_RSVD);
            return -BH_EFAULT;
        }
        add_rights(&f, level, entry, &rights);
        if (is_leaf(&f, level, entry))
            break;
        table = entry & PTE_ADDR;
    }
    if (!is_allowed(state, &rights, access)) {
        result->pf_error = error_code(state, access, PF_PRESENT);
        return -BH_EFAULT;
    }
    result->gpa = address_in(&f, level, entry, linear);
    return 0;
}
