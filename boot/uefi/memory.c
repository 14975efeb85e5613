/* The memory map, and the end of boot services: UEFI 2.10, 7.2 (GetMemoryMap) and 7.4
 * (ExitBootServices). */

#include "boot/uefi/efi_map.h"
#include "boot/uefi/loader.h"

static_assert(
    offsetof(struct efi_descriptor, start) == offsetof(EFI_MEMORY_DESCRIPTOR, PhysicalStart) &&
        offsetof(struct efi_descriptor, pages) == offsetof(EFI_MEMORY_DESCRIPTOR, NumberOfPages) &&
        offsetof(struct efi_descriptor, attribute) == offsetof(EFI_MEMORY_DESCRIPTOR, Attribute),
    "boot/uefi/efi_map.h");

/* The map changes while firmware ends its services; every try takes a fresh one. */
#define EXIT_TRIES 8

/* Room for descriptors that come up between asking for the map's size and taking it. */
#define SPARE_DESCRIPTORS 32

struct efi_map {
    void *at;
    UINTN room, size, key, stride;
};

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

EFI_STATUS memory_look(struct memory_map *map)
{
    struct efi_map firmware = {.room = 0};
    EFI_STATUS status = prepare_map(&firmware);

    if (EFI_ERROR(status))
        return status;
    status = take_map(&firmware);
    if (!EFI_ERROR(status) &&
        efi_map_convert(firmware.at, firmware.size, firmware.stride, map) != 0)
        status = EFI_BUFFER_TOO_SMALL;
    FreePool(firmware.at);
    return status;
}

EFI_STATUS memory_leave_firmware(EFI_HANDLE image, struct memory_map *map)
{
    struct efi_map firmware = {.room = 0};
    EFI_STATUS status = prepare_map(&firmware);

    if (EFI_ERROR(status))
        return refuse(status, L"the memory map: found \"%r\", expected it from firmware", status);
    status = take_map(&firmware);
    if (!EFI_ERROR(status) &&
        efi_map_convert(firmware.at, firmware.size, firmware.stride, map) != 0)
        return refuse(EFI_BUFFER_TOO_SMALL,
                      L"the memory map: found more than %d ranges, expected at most that many",
                      MEMORY_MAP_MAX);
    for (int i = 0; i < EXIT_TRIES && !EFI_ERROR(status); i++) {
        if (!EFI_ERROR(BS->ExitBootServices(image, firmware.key)))
            return EFI_SUCCESS;
        status = take_map(&firmware);
        if (!EFI_ERROR(status) &&
            efi_map_convert(firmware.at, firmware.size, firmware.stride, map) != 0)
            status = EFI_BUFFER_TOO_SMALL;
    }
    /* Firmware has stopped its timer and perhaps more: no key comes, and nothing can go back to it
     * (UEFI 2.10, 7.4.6). */
    (void)refuse(status,
                 L"leaving firmware: found \"%r\", expected it to end its boot services; switch "
                 L"the machine off",
                 EFI_ERROR(status) ? status : EFI_INVALID_PARAMETER);
    for (;;)
        __asm__ volatile("cli; hlt");
}
