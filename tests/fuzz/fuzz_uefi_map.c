/* UEFI's memory map.
 *
 * Input: a byte with the distance of two descriptors, then the descriptors. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "boot/uefi/efi_map.h"
#include "lib/error.h"
#include "tests/fuzz/require.h"
#include "tests/unit/host_log.h"
#include "tests/unit/memory_usable.h"

#define WB BIT64(3)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whether a descriptor calls this byte free. */
static bool is_free(const uint8_t *at, size_t size, size_t stride, uint64_t byte)
{
    struct efi_descriptor d;

    for (size_t i = 0; i + sizeof(d) <= size; i += stride) {
        memcpy(&d, at + i, sizeof(d));
        bool kind = (d.type >= 1 && d.type <= 4) || d.type == 7;
        if (kind && (d.attribute & WB) && byte >= d.start &&
            (byte - d.start) / PAGE_SIZE_4K < d.pages)
            return true;
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct memory_map map, taken;

    if (size < 1)
        return 0;
    size_t stride = data[0], len = size - 1;
    uint8_t *exact = malloc(len ? len : 1); /* to the byte, for ASan */

    if (!exact)
        return 0;
    memcpy(exact, data + 1, len);
    int err = efi_map_convert(exact, len, stride, &map);
    REQUIRE((stride < sizeof(struct efi_descriptor)) == (err == -BH_EINVAL));
    memset(&taken, 0, sizeof(taken));
    for (unsigned int i = 0; !err && i < map.count; i++)
        err = memory_map_add(&taken, map.r[i].base, map.r[i].size, map.r[i].type);
    if (!err && memory_map_normalise(&taken) == 0) {
        for (unsigned int i = 0; i < taken.count; i++) {
            const struct memory_range *r = &taken.r[i];
            if (r->type == MEM_USABLE)
                REQUIRE(is_free(exact, len, stride, r->base) &&
                        is_free(exact, len, stride, r->base + r->size - 1));
        }
    }
    free(exact);
    return 0;
}
