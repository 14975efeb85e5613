#include "vmm/emulate/code_cache.h"

#include "arch/x86/regs.h"
#include "lib/error.h"
#include "vmm/emulate/emulate.h"
#include "vmm/emulate/walk.h"

#define NO_PAGE        1u /* is not the number of any */
#define NO_MODE        0xffu
#define CANONICAL_BITS 48

void code_cache_reset(struct code_cache *cache)
{
    for (unsigned int i = 0; i < CODE_WALKS; i++)
        cache->walks[i].rip_page = NO_PAGE;
    for (unsigned int i = 0; i < CODE_INSNS; i++)
        cache->insns[i].insn.mode = NO_MODE;
}

void code_cache_unmap(struct code_cache *cache)
{
    for (unsigned int i = 0; i < CODE_WALKS; i++)
        window_path_unmap(&cache->walks[i].path);
}

/* Notes the entries that a walk reads. */
struct recorder {
    struct window_path *path;
    code_physical *physical;
    void *ctx;
};

/* Entries of 4 bytes are noted with their neighbour, whose change does no harm. */
static int read_and_note(void *ctx, uint64_t gpa, unsigned int size, uint64_t *pte)
{
    struct recorder *r = ctx;
    uint64_t pa, value;

    if (r->physical(r->ctx, ALIGN_DOWN(gpa, 8ull), &pa) != 0)
        return -BH_EFAULT;
    value = window_path_add(r->path, pa);
    *pte = size == sizeof(value) ? value : (uint32_t)(value >> 8 * (gpa & 4));
    return 0;
}

/* The linear address of the page that has `rip_page`. False: none has it alone and all of it. */
static bool linear_page(const struct code_mode *mode, uint64_t rip_page, uint64_t *linear)
{
    unsigned int shift = 64 - CANONICAL_BITS;

    *linear = rip_page;
    if (mode->cpu_mode == MODE_64)
        return (int64_t)(rip_page << shift) >> shift == (int64_t)rip_page;
    *linear = (uint32_t)(mode->cs.base + rip_page);
    return IS_ALIGNED(mode->cs.base, PAGE_SIZE_4K) && rip_page <= mode->cs.limit &&
           mode->cs.limit - rip_page >= PAGE_SIZE_4K - 1;
}

bool code_cache_fill(struct code_walk *walk, const struct code_mode *mode, uint64_t rip,
                     code_physical *physical, void *ctx)
{
    const struct walk_state state = {
        .cr0 = mode->cr0, .cr3 = mode->cr3, .cr4 = mode->cr4, .efer = mode->efer, .cpl = mode->cpl};
    unsigned int access = WALK_FETCH | (mode->cpl == 3 ? WALK_USER : 0);
    struct recorder recorder = {&walk->path, physical, ctx};
    uint64_t page = ALIGN_DOWN(rip, PAGE_SIZE_4K), linear, pa;
    struct walk_result result;

    walk->rip_page = NO_PAGE;
    window_path_start(&walk->path, (unsigned int)(rip / PAGE_SIZE_4K % CODE_WALKS));
    if (!linear_page(mode, page, &linear) ||
        guest_walk(&state, linear, access, read_and_note, &recorder, &result) != 0 ||
        physical(ctx, result.gpa, &pa) != 0)
        return false;
    window_path_end(&walk->path, pa);
    walk->mode = *mode;
    walk->rip_page = page;
    return true;
}

const struct code_insn *code_cache_decode_anew(struct code_insn *entry, enum cpu_mode mode,
                                               uint64_t low, uint64_t high)
{
    const uint64_t bytes[2] = {low, high};
    unsigned int bits;

    if (insn_decode(&entry->insn, (const uint8_t *)bytes, INSN_MAX_LENGTH, mode) != 0) {
        entry->insn.mode = NO_MODE;
        return NULL;
    }
    bits = 8u * entry->insn.length;
    entry->bytes[0] = low;
    entry->bytes[1] = high;
    entry->mask[0] = bits < 64 ? BIT64(bits) - 1 : UINT64_MAX;
    entry->mask[1] = bits > 64 ? BIT64(bits - 64) - 1 : 0;
    emu_mov_of(&entry->insn, &entry->mov);
    return entry;
}
