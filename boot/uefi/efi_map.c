#include "boot/uefi/efi_map.h"

#include "lib/error.h"
#include "lib/string.h"

/* Types of memory (UEFI 2.10, table 7.6); all others, also of later versions, are reserved. */
enum {
    LOADER_CODE = 1,
    LOADER_DATA = 2,
    BOOT_SERVICES_CODE = 3,
    BOOT_SERVICES_DATA = 4,
    CONVENTIONAL = 7,
    UNUSABLE = 8,
    ACPI_RECLAIM = 9,
    ACPI_NVS = 10,
};

#define ATTRIBUTE_WB       BIT64(3)  /* can be cached */
#define ATTRIBUTE_NV       BIT64(15) /* persistent */
#define ATTRIBUTE_SPECIAL  BIT64(18) /* kept for some purpose, by the platform's wish */
#define ATTRIBUTE_RUNTIME  BIT64(63) /* firmware uses it after boot */
#define ATTRIBUTES_UNUSUAL (ATTRIBUTE_NV | ATTRIBUTE_SPECIAL | ATTRIBUTE_RUNTIME)

static uint32_t type_of(const struct efi_descriptor *d)
{
    switch (d->type) {
    case LOADER_CODE:
    case LOADER_DATA:
    case BOOT_SERVICES_CODE:
    case BOOT_SERVICES_DATA:
    case CONVENTIONAL:
        return (d->attribute & (ATTRIBUTES_UNUSUAL | ATTRIBUTE_WB)) == ATTRIBUTE_WB ? MEM_USABLE
                                                                                    : MEM_RESERVED;
    case ACPI_RECLAIM: return MEM_ACPI;
    case ACPI_NVS: return MEM_NVS;
    case UNUSABLE: return MEM_BAD;
    default: return MEM_RESERVED;
    }
}

/* What reaches too far is for the core to refuse: it must not come round to low addresses here. */
static uint64_t size_of(const struct efi_descriptor *d)
{
    uint64_t room = UINT64_MAX - d->start;

    return d->pages > room / PAGE_SIZE_4K ? room : d->pages * PAGE_SIZE_4K;
}

int efi_map_convert(const void *at, uint64_t size, uint64_t stride, struct memory_map *map)
{
    struct efi_descriptor d;

    map->count = 0;
    if (stride < sizeof(d))
        return -BH_EINVAL;
    for (uint64_t left = size; left >= sizeof(d); left -= MIN(left, stride)) {
        memcpy(&d, (const uint8_t *)at + (size - left), sizeof(d));
        struct memory_range *last = map->count > 0 ? &map->r[map->count - 1] : NULL;

        if (last && last->type == type_of(&d) && last->base + last->size == d.start) {
            last->size += size_of(&d);
            continue;
        }
        if (map->count == MEMORY_MAP_MAX)
            return -BH_ENOMEM;
        map->r[map->count++] = (struct memory_range){d.start, size_of(&d), type_of(&d)};
    }
    return 0;
}
