#ifndef BULKHEAD_VMM_EMULATE_CODE_CACHE_H
#define BULKHEAD_VMM_EMULATE_CODE_CACHE_H

/* The fast way to the instruction that exited. Two results are kept, neither of which can be stale:
 * - The walk of the guest's page tables to a page of code, with every entry that it read. It holds
 *   only as long as the control registers and all these entries are what they were, which is
 *   compared at each use; the instruction's bytes themselves are read each time.
 * - What the decoder made of an instruction's bytes, which are compared at each use, too.
 * Rights need no comparison: the CPU itself has fetched the instruction a moment ago.
 * What is not done here (instructions across a page, faults) is for emu_fetch(). */

#include <stddef.h>
#include <stdint.h>

#include "arch/x86/mm/window.h"
#include "arch/x86/segment.h"
#include "vmm/emulate/decode.h"
#include "vmm/emulate/emu_mov.h"

#define CODE_WALKS 8
#define CODE_INSNS 16

#define CODE_NO_RIP BIT64(62)   /* not canonical */
#define CODE_HASH   0x9e3779b1u /* 2^32 by the golden ratio */

/* What decides where code is fetched and how it is decoded. Bits of the control registers that do
 * neither may be as the hardware has them. */
struct code_mode {
    uint64_t cr0, cr3, cr4, efer;
    struct segment cs; /* limit and base: any in 64-bit mode */
    uint64_t key;      /* the backend's own, to compare */
    uint8_t cpl;
    uint8_t cpu_mode; /* enum cpu_mode */
};

struct code_walk {
    uint64_t rip_page; /* first RIP in the page */
    struct code_mode mode;
    struct window_path path;
} ALIGNED(256); /* cheap to index */

struct code_insn {
    uint64_t rip;                 /* CODE_NO_RIP, or it is a MOV there, in 64-bit mode */
    const struct code_walk *walk; /* to this RIP; NULL: the CPU gave the bytes */
    uint64_t bytes[2];
    uint64_t mask[2]; /* of those that belong to the instruction */
    struct insn insn;
    struct emu_mov mov; /* size 0: it is none */
} ALIGNED(128);

struct code_cache {
    struct code_insn insns[CODE_INSNS];
    struct code_walk walks[CODE_WALKS];
};

/* Host-physical address of guest-physical memory: 0, or negative when it is not RAM. RAM comes in
 * whole pages, and does not move until the next code_cache_reset(). */
typedef int code_physical(void *ctx, uint64_t gpa, uint64_t *pa);

/* Forgets all. To be called before the first use. */
void code_cache_reset(struct code_cache *cache);

static inline struct code_walk *code_cache_walk(struct code_cache *cache, uint64_t rip)
{
    return &cache->walks[rip / PAGE_SIZE_4K % CODE_WALKS];
}

/* Walks to the code at RIP, and keeps that in RIP's walk. False: what stands there is not all in
 * one page of RAM that the guest may fetch from, or the segment's limit or base come in between. */
bool code_cache_fill(struct code_cache *cache, const struct code_mode *mode, uint64_t rip,
                     code_physical *physical, void *ctx);

/* Where the instruction at RIP is kept: it is that one when entry->rip is RIP, entry->walk's mode
 * is the vCPU's and its bytes are still code_insn_is(). */
static inline struct code_insn *code_cache_insn(struct code_cache *cache, uint64_t rip)
{
    struct code_insn *entry = &cache->insns[(uint32_t)(rip * CODE_HASH) / (BIT64(32) / CODE_INSNS)];

    __asm__("" : "+r"(entry)); /* once computed, kept: indexing the table anew costs more */
    return entry;
}

static inline bool code_insn_is(const struct code_insn *entry, struct window_bytes bytes)
{
    return ((bytes.low ^ entry->bytes[0]) & entry->mask[0]) == 0 &&
           (likely(entry->insn.length <= sizeof(bytes.low)) ||
            ((bytes.high ^ entry->bytes[1]) & entry->mask[1]) == 0);
}

/* The decoded instruction at the start of `bytes`, which stand at `rip` and were reached by `walk`,
 * NULL: the CPU gave them; valid until the next call. NULL: it is undefined. */
const struct code_insn *code_cache_decode(struct code_cache *cache, enum cpu_mode mode,
                                          uint64_t rip, const struct code_walk *walk,
                                          struct window_bytes bytes);

#endif
