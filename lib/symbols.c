/* Reads the table that the second link pass puts into the image (tools/build/symbols.awk). */

#include "lib/symbols.h"

#include "arch/x86/layout.h"

struct symbol {
    uint32_t offset; /* from KERNEL_VMA */
    uint32_t name;   /* from symbol_names */
};

/* Weak: the first link pass has no table yet. */
extern const uint32_t symbol_count __attribute__((weak));
extern const struct symbol symbol_offsets[] __attribute__((weak));
extern const char symbol_names[] __attribute__((weak));

const char *symbol_find(uint64_t addr, uint64_t *offset)
{
    /* Through a register: as a constant, the compiler would take the address as never NULL. */
    const uint32_t *count = &symbol_count;

    __asm__("" : "+r"(count));
    if (count == NULL || *count == 0 || addr < (uint64_t)text_start ||
        addr >= (uint64_t)init_text_end || addr - KERNEL_VMA < symbol_offsets[0].offset)
        return NULL;
    uint32_t wanted = (uint32_t)(addr - KERNEL_VMA);
    uint32_t low = 0;
    uint32_t high = *count;
    while (high - low > 1) {
        uint32_t mid = low + (high - low) / 2;
        if (symbol_offsets[mid].offset <= wanted)
            low = mid;
        else
            high = mid;
    }
    *offset = wanted - symbol_offsets[low].offset;
    return symbol_names + symbol_offsets[low].name;
}
