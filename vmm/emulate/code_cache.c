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
    for (unsigned int i = 0; i < CODE_INSNS; i++) {
        cache->insns[i].rip = CODE_NO_RIP;
        cache->insns[i].insn.mode = NO_MODE;
    }
}

/* Its page is about to be another one than that of the instructions that it led to. */
static void forget_insns(struct code_cache *cache, const struct code_walk *walk)
{
    for (unsigned int i = 0; i < CODE_INSNS; i++)
        if (cache->insns[i].walk == walk)
            cache->insns[i].rip = CODE_NO_RIP;
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

bool code_cache_fill(struct code_cache *cache, const struct code_mode *mode, uint64_t rip,
                     code_physical *physical, void *ctx)
{
    struct code_walk *walk = code_cache_walk(cache, rip);
    const struct walk_state state = {
        .cr0 = mode->cr0, .cr3 = mode->cr3, .cr4 = mode->cr4, .efer = mode->efer, .cpl = mode->cpl};
    unsigned int access = WALK_FETCH | (mode->cpl == 3 ? WALK_USER : 0);
    struct recorder recorder = {&walk->path, physical, ctx};
    uint64_t page = ALIGN_DOWN(rip, PAGE_SIZE_4K), linear, pa;
    struct walk_result result;

    if (walk->rip_page != page)
        forget_insns(cache, walk);
    walk->rip_page = NO_PAGE;
    walk->mode.cpu_mode = NO_MODE; /* nor is it to be used by an instruction */
    window_path_start(&walk->path);
    if (!linear_page(mode, page, &linear) ||
        guest_walk(&state, linear, access, read_and_note, &recorder, &result) != 0 ||
        physical(ctx, result.gpa, &pa) != 0)
        return false;
    window_path_end(&walk->path, pa);
    walk->mode = *mode;
    walk->rip_page = page;
    return true;
}

static bool decode(struct code_insn *entry, enum cpu_mode mode, struct window_bytes bytes)
{
    const uint8_t *text = (const uint8_t *)&bytes;
    unsigned int bits;

    if (insn_decode(&entry->insn, text, INSN_MAX_LENGTH, mode) != 0) {
        entry->insn.mode = NO_MODE;
        return false;
    }
    bits = 8u * entry->insn.length;
    entry->bytes[0] = bytes.low;
    entry->bytes[1] = bytes.high;
    entry->mask[0] = bits < 64 ? BIT64(bits) - 1 : UINT64_MAX;
    entry->mask[1] = bits > 64 ? BIT64(bits - 64) - 1 : 0;
    emu_mov_of(&entry->insn, &entry->mov);
    return true;
}

const struct code_insn *code_cache_decode(struct code_cache *cache, enum cpu_mode mode,
                                          uint64_t rip, const struct code_walk *walk,
                                          struct window_bytes bytes)
{
    struct code_insn *entry = code_cache_insn(cache, rip);

    entry->rip = CODE_NO_RIP;
    if ((entry->insn.mode != mode || !code_insn_is(entry, bytes)) && !decode(entry, mode, bytes))
        return NULL;
    if (mode == MODE_64 && entry->mov.size != 0)
        entry->rip = rip;
    entry->walk = walk;
    return entry;
}
