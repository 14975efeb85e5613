#include "arch/x86/mm/window.h"

#include "arch/x86/asm.h"
#include "arch/x86/mm/address_space.h"
#include "arch/x86/percpu.h"
#include "lib/string.h"

static_assert(WINDOW_FIRMWARE < WINDOW_SLOTS, "a page-table entry for each slot");
static_assert(WINDOW_2M_SOURCE < WINDOW_SLOTS_2M, "a page-directory entry for each slot");

void *window_map(enum window_slot slot, uint64_t pa)
{
    char *va = (char *)CPU_WINDOW_VA + slot * PAGE_SIZE_4K;

    this_cpu->window_ptes[slot] = ALIGN_DOWN(pa, PAGE_SIZE_4K) | PTE_WINDOW;
    return va + (pa & (PAGE_SIZE_4K - 1));
}

void window_unmap(enum window_slot slot)
{
    this_cpu->window_ptes[slot] = 0;
    invlpg((char *)CPU_WINDOW_VA + slot * PAGE_SIZE_4K);
}

void window_path_start(struct window_path *path)
{
    path->end = path->words;
}

uint64_t window_path_add(struct window_path *path, uint64_t pa)
{
    struct window_word *word = &path->words[path->end - path->words];

    word->va = window_map(WINDOW_PTE, pa);
    word->pte = this_cpu->window_ptes[WINDOW_PTE];
    word->value = *word->va;
    window_unmap(WINDOW_PTE);
    path->end++;
    return word->value;
}

void window_path_end(struct window_path *path, uint64_t page_pa)
{
    path->page_pte = page_pa | PTE_WINDOW;
}

void *window_map_2m(enum window_slot_2m slot, uint64_t pa)
{
    char *va = (char *)CPU_WINDOW2M_VA + slot * PAGE_SIZE_2M;

    this_cpu->window_2m_pdes[slot] = ALIGN_DOWN(pa, PAGE_SIZE_2M) | PTE_WINDOW | PTE_LARGE;
    return va + (pa & (PAGE_SIZE_2M - 1));
}

void window_unmap_2m(enum window_slot_2m slot)
{
    this_cpu->window_2m_pdes[slot] = 0;
    invlpg((char *)CPU_WINDOW2M_VA + slot * PAGE_SIZE_2M);
}

void window_read_physical(uint64_t pa, void *dst, size_t len)
{
    char *out = dst;

    while (len > 0) {
        size_t n = MIN(len, (size_t)(PAGE_SIZE_4K - (pa & (PAGE_SIZE_4K - 1))));
        memcpy(out, window_map(WINDOW_FIRMWARE, pa), n);
        window_unmap(WINDOW_FIRMWARE);
        out += n;
        pa += n;
        len -= n;
    }
}
