#ifndef BULKHEAD_ARCH_X86_MM_WINDOW_PATH_H
#define BULKHEAD_ARCH_X86_MM_WINDOW_PATH_H

#include "arch/x86/asm.h"
#include "arch/x86/mm/address_space.h"
#include "arch/x86/mm/window.h"

/* The 16 bytes in the path's page that `*address`, of which only the low bits count, stands for; it
 * must have them all. Zeroes when an entry has changed. */
static inline struct window_bytes window_path_read(const struct window_path *path,
                                                   const uint64_t *address)
{
    const char *va = (const char *)CPU_WINDOW_VA + WINDOW_PTE * PAGE_SIZE_4K;
    uint64_t *pte = &this_cpu->window_ptes[WINDOW_PTE];
    const struct window_word *word;
    uint64_t low = 0, high = 0;

    __asm__("" : "+r"(va)); /* not loaded again and again */
    /* Each mapping takes the place of the one before. */
    for (word = path->words; word != path->end; word++) {
        *pte = word->pte;
        invlpg(va);
        if (unlikely(*word->va != word->value))
            break;
    }
    if (likely(word == path->end)) {
        const char *text = va + *address % PAGE_SIZE_4K;

        *pte = path->page_pte;
        invlpg(va);
        __builtin_memcpy(&low, text, sizeof(low));
        __builtin_memcpy(&high, text + sizeof(low), sizeof(high));
    }
    *pte = 0;
    invlpg(va);
    return (struct window_bytes){low, high};
}

#endif
