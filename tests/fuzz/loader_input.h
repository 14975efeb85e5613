#ifndef BULKHEAD_TESTS_FUZZ_LOADER_INPUT_H
#define BULKHEAD_TESTS_FUZZ_LOADER_INPUT_H

/* What the fuzzers of the kernel loaders have in common. */

#include <stdint.h>
#include <string.h>

#include "lib/macros.h"
#include "tests/fuzz/require.h"
#include "vmm/loader/e820.h"

/* A file of which the input has the first bytes; the rest is zeros. */
struct file {
    const uint8_t *head;
    size_t head_size;
    uint64_t size;
};

/* A guest's memory with holes, and with RAM on both sides of 4 GiB. */
static const struct guest_e820_entry memory_with_holes[] = {
    {0x10000, 0x8f000, GUEST_E820_RAM}, {2 * MIB, 30 * MIB, GUEST_E820_RAM},
    {32 * MIB, MIB, GUEST_E820_ACPI},   {64 * MIB + 4096, 128 * MIB, GUEST_E820_RAM},
    {3 * GIB, 2 * GIB, GUEST_E820_RAM},
};

static int file_read(void *ctx, uint64_t offset, void *buf, size_t len)
{
    const struct file *f = ctx;

    REQUIRE(offset <= f->size && len <= f->size - offset);
    memset(buf, 0, len);
    if (offset < f->head_size)
        memcpy(buf, f->head + offset, MIN(len, f->head_size - (size_t)offset));
    return 0;
}

#endif
