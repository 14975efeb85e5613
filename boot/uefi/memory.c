/* The memory map, and the end of boot services: UEFI 2.10, 7.2 (GetMemoryMap) and 7.4
 * (ExitBootServices). */

#include "boot/uefi/loader.h"

/* What a descriptor's attributes say; the second and third have no name in gnu-efi. */
#define ATTRIBUTE_WB       BIT64(3)  /* can be cached */
#define ATTRIBUTE_NV       BIT64(15) /* persistent */
#define ATTRIBUTE_SPECIAL  BIT64(18) /* kept for some purpose, by the platform's wish */
#define ATTRIBUTE_RUNTIME  BIT64(63) /* firmware uses it after boot */
#define ATTRIBUTES_UNUSUAL (ATTRIBUTE_NV | ATTRIBUTE_SPECIAL | ATTRIBUTE_RUNTIME)

/* The map changes while firmware ends its services; every try takes a fresh one. */
#define EXIT_TRIES 8

/* Room for descriptors that come up between asking for the map's size and taking it. */
#define SPARE_DESCRIPTORS 32

struct efi_map {
    void *at;
    UINTN room, size, key, stride;
};

static uint32_t type_of(const EFI_MEMORY_DESCRIPTOR *d)
{
    switch (d->Type) {
    case EfiLoaderCode:
    case EfiLoaderData:
    case EfiBootServicesCode:
    case EfiBootServicesData:
    case EfiConventionalMemory:
        return (d->Attribute & (ATTRIBUTES_UNUSUAL | ATTRIBUTE_WB)) == ATTRIBUTE_WB ? MEM_USABLE
                                                                                    : MEM_RESERVED;
    case EfiACPIReclaimMemory: return MEM_ACPI;
    case EfiACPIMemoryNVS: return MEM_NVS;
    case EfiUnusableMemory: return MEM_BAD;
    default: return MEM_RESERVED; /* persistent memory and types of later versions, too */
    }
}

/* Firmware has hundreds of descriptors in ascending order; of one type and side by side, most are
 * one range. Returns false when they do not fit. */
static bool convert(const struct efi_map *from, struct memory_map *map)
{
    map->count = 0;
    for (UINTN at = 0; at + sizeof(EFI_MEMORY_DESCRIPTOR) <= from->size; at += from->stride) {
        const EFI_MEMORY_DESCRIPTOR *d = (const void *)((uint8_t *)from->at + at);
        struct memory_range *last = map->count > 0 ? &map->r[map->count - 1] : NULL;
        uint64_t size = d->NumberOfPages * PAGE_SIZE_4K;

        if (last != NULL && last->type == type_of(d) &&
            last->base + last->size == d->PhysicalStart) {
            last->size += size;
            continue;
        }
        if (map->count == MEMORY_MAP_MAX)
            return false;
        map->r[map->count++] = (struct memory_range){d->PhysicalStart, size, type_of(d)};
    }
    return true;
}

static EFI_STATUS take_map(struct efi_map *map)
{
    UINT32 version;

    map->size = map->room;
    return BS->GetMemoryMap(&map->size, map->at, &map->key, &map->stride, &version);
}

/* Once ExitBootServices was called, nothing can be allocated: here, with room to spare. */
static EFI_STATUS prepare_map(struct efi_map *map)
{
    EFI_STATUS status = take_map(map);

    if (status == EFI_BUFFER_TOO_SMALL) {
        map->room = map->size + SPARE_DESCRIPTORS * map->stride;
        status = BS->AllocatePool(EfiLoaderData, map->room, &map->at);
    }
    return status;
}

EFI_STATUS memory_leave_firmware(EFI_HANDLE image, struct memory_map *map)
{
    struct efi_map firmware = {.room = 0};
    EFI_STATUS status = prepare_map(&firmware);

    if (EFI_ERROR(status))
        return refuse(status, L"the memory map: found \"%r\", expected it from firmware", status);
    for (int i = 0; i < EXIT_TRIES; i++) {
        status = take_map(&firmware);
        if (EFI_ERROR(status))
            return refuse(status, L"the memory map: found \"%r\", expected it from firmware",
                          status);
        if (!convert(&firmware, map))
            return refuse(EFI_BUFFER_TOO_SMALL,
                          L"the memory map: found more than %d ranges, expected at most that many",
                          MEMORY_MAP_MAX);
        status = BS->ExitBootServices(image, firmware.key);
        if (!EFI_ERROR(status))
            return EFI_SUCCESS;
    }
    return refuse(status,
                  L"leaving firmware: found \"%r\" %d times, expected it to end its boot "
                  L"services",
                  status, EXIT_TRIES);
}
