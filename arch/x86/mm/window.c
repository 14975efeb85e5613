#include "arch/x86/mm/window.h"

#include "arch/x86/asm.h"
#include "arch/x86/mm/address_space.h"
#include "arch/x86/percpu.h"
#include "lib/string.h"

#define PATH_SLOTS    (WINDOW_PATH_MAX + 1u)
#define PTE_READ_ONLY (PTE_WINDOW & ~(PTE_W | PTE_D))
static_assert(WINDOW_PATH + WINDOW_PATHS * PATH_SLOTS <= WINDOW_SLOTS, "an entry for each slot");
static_assert(WINDOW_2M_SOURCE < WINDOW_SLOTS_2M, "a page-directory entry for each slot");

static inline char *slot_va(unsigned int slot)
{
    return (char *)CPU_WINDOW_VA + slot * PAGE_SIZE_4K;
}

static void set_slot(unsigned int slot, uint64_t pte)
{
    this_cpu->window_ptes[slot] = pte;
    invlpg(slot_va(slot));
}

void *window_map(enum window_slot slot, uint64_t pa)
{
    this_cpu->window_ptes[slot] = ALIGN_DOWN(pa, PAGE_SIZE_4K) | PTE_WINDOW;
    return slot_va(slot) + pa % PAGE_SIZE_4K;
}

void window_unmap(enum window_slot slot)
{
    set_slot(slot, 0);
}

void window_path_start(struct window_path *path, unsigned int index)
{
    *path = (struct window_path){.mapped = path->mapped,
                                 .slot = (uint8_t)(WINDOW_PATH + index * PATH_SLOTS),
                                 .end = path->words};
}

uint64_t window_path_add(struct window_path *path, uint64_t pa)
{
    unsigned int index = (unsigned int)(path->end - path->words);
    struct window_word *word = &path->words[index];

    word->pte = ALIGN_DOWN(pa, PAGE_SIZE_4K) | PTE_READ_ONLY;
    word->va = (const volatile uint64_t *)(slot_va(path->slot + index) + pa % PAGE_SIZE_4K);
    word->value = *(const volatile uint64_t *)window_map(WINDOW_PTE, pa);
    window_unmap(WINDOW_PTE);
    path->end++;
    return word->value;
}

void window_path_end(struct window_path *path, uint64_t page_pa)
{
    path->page_pte = page_pa | PTE_READ_ONLY;
    path->page = slot_va(path->slot + WINDOW_PATH_MAX);
}

void window_path_unmap(struct window_path *path)
{
    for (unsigned int i = 0; path->mapped && i < PATH_SLOTS; i++) {
        set_slot(path->slot + i, 0);
    }
    path->mapped = path->current = false;
}

static inline void change_slot(unsigned int slot, uint64_t pte)
{
    if (this_cpu->window_ptes[slot] != pte) {
        set_slot(slot, pte);
    }
}

static NOINLINE void map_path(struct window_path *path)
{
    unsigned int slot = path->slot;

    for (const struct window_word *word = path->words; word != path->end; word++) {
        change_slot(slot++, word->pte);
    }
    change_slot(path->slot + WINDOW_PATH_MAX, path->page_pte);
    path->mapped = path->current = true;
}

struct window_bytes window_path_read(struct window_path *path, uint64_t offset)
{
    const struct window_word *word;
    struct window_bytes bytes;

    if (unlikely(!path->current)) {
        map_path(path);
    }
    for (word = path->words; word != path->end; word++) {
        if (unlikely(*word->va != word->value)) {
            return (struct window_bytes){0, 0};
        }
    }
    __builtin_memcpy(&bytes.low, path->page + offset, sizeof(bytes.low));
    __builtin_memcpy(&bytes.high, path->page + offset + sizeof(bytes.low), sizeof(bytes.high));
    return bytes;
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
