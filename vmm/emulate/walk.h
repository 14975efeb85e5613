#ifndef BULKHEAD_VMM_EMULATE_WALK_H
#define BULKHEAD_VMM_EMULATE_WALK_H

/* Translation of a guest's linear addresses by the guest's own page tables (SDM vol. 3, chapter 4;
 * APM vol. 2, chapter 5): no paging, 32-bit, PAE, 4-level and 5-level.
 *
 * Accessed and dirty bits are not set: the guest's access that led here was walked by hardware
 * already, which has set them, in all but contrived cases. Protection keys are not applied: guests
 * are not offered CR4.PKE. Address bits above MAXPHYADDR are not taken as reserved. */

#include <stdint.h>

#include "lib/macros.h"

/* The kind of access, or'ed together. None of them: a supervisor data read. WALK_USER: made with
 * user rights, that is at CPL 3 and not an implicit access to a descriptor table or TSS. */
#define WALK_WRITE BIT(0)
#define WALK_USER  BIT(1)
#define WALK_FETCH BIT(2)

struct walk_state {
    uint64_t cr0;
    uint64_t cr3;
    uint64_t cr4;
    uint64_t efer;
    bool rflags_ac; /* RFLAGS.AC: lifts SMAP, except for implicit accesses made at CPL 3 */
    uint8_t cpl;    /* used only to tell implicit accesses from explicit ones */
};

struct walk_result {
    uint64_t gpa;
    uint32_t pf_error; /* PF_*, valid when guest_walk returned -BH_EFAULT */
};

/* Reads the naturally aligned page-table entry of `size` bytes (4 or 8) at `gpa`, zero-extended.
 * Returns 0, or negative when that is not the guest's RAM. */
typedef int walk_read_pte(void *ctx, uint64_t gpa, unsigned int size, uint64_t *pte);

/* Translates `linear`, which the caller has checked to be canonical (64-bit mode) or truncated to
 * 32 bits (all others). Returns 0 with gpa set; -BH_EFAULT: a page fault is due, with
 * pf_error as its error code; -BH_EIO: a table is not in RAM (read_pte failed). Reads at most five
 * entries. */
MUST_CHECK int guest_walk(const struct walk_state *state, uint64_t linear, unsigned int access,
                          walk_read_pte *read_pte, void *ctx, struct walk_result *result);

#endif
