/* Files of the partition that the loader came from. */

#include "boot/uefi/loader.h"

#include "arch/x86/asm.h"
#include "lib/string.h"

/* Some firmware fails on reads that are much longer. */
#define READ_CHUNK (16 * MIB)

#define SECTOR 512 /* of most disks; no disk has smaller ones */

/* No file of ours is longer; a wrong size of a broken file system must not wrap. */
#define FILE_SIZE_MAX BIT64(52)

#define PATH_MAX (BOOT_MODULE_NAME_MAX + 1) /* with the backslash and the terminator */

void *pages_allocate(uint64_t size, EFI_PHYSICAL_ADDRESS max, EFI_MEMORY_TYPE type)
{
    EFI_PHYSICAL_ADDRESS at = max;
    UINTN pages = MAX(ALIGN_UP(size, PAGE_SIZE_4K) / PAGE_SIZE_4K, 1ull);
    EFI_STATUS status = BS->AllocatePages(AllocateMaxAddress, type, pages, &at);

    return EFI_ERROR(status) ? NULL : (void *)at;
}

EFI_STATUS files_open_root(EFI_LOADED_IMAGE *self, EFI_FILE_HANDLE *root)
{
    EFI_FILE_IO_INTERFACE *volume;
    EFI_STATUS status =
        BS->HandleProtocol(self->DeviceHandle, &gEfiSimpleFileSystemProtocolGuid, (void **)&volume);

    if (!EFI_ERROR(status))
        status = volume->OpenVolume(volume, root);
    if (EFI_ERROR(status))
        return refuse(status,
                      L"the partition that the loader came from cannot be opened: found "
                      L"\"%r\", expected a file system that firmware reads, such as FAT",
                      status);
    return EFI_SUCCESS;
}

static EFI_STATUS open_file(EFI_FILE_HANDLE root, const char *name, EFI_FILE_HANDLE *handle)
{
    CHAR16 path[PATH_MAX] = L"\\";

    for (unsigned int i = 0; name[i] != '\0' && i + 2 < PATH_MAX; i++) {
        path[i + 1] = (CHAR16)name[i];
        path[i + 2] = L'\0';
    }
    return root->Open(root, handle, path, EFI_FILE_MODE_READ, 0);
}

bool file_exists(EFI_FILE_HANDLE root, const char *name)
{
    EFI_FILE_HANDLE handle;

    if (EFI_ERROR(open_file(root, name, &handle)))
        return false;
    handle->Close(handle);
    return true;
}

static EFI_STATUS find_size(EFI_FILE_HANDLE handle, const char *name, uint64_t *size)
{
    EFI_FILE_INFO *info = LibFileInfo(handle);

    if (info == NULL)
        return refuse(EFI_DEVICE_ERROR, L"%a: found no size of it, expected one from firmware",
                      name);
    bool is_folder = info->Attribute & EFI_FILE_DIRECTORY;

    *size = info->FileSize;
    FreePool(info);
    if (is_folder)
        return refuse(EFI_INVALID_PARAMETER, L"%a: found a folder, expected a file", name);
    if (*size > FILE_SIZE_MAX)
        return refuse(EFI_VOLUME_CORRUPTED, L"%a: found 0x%lx bytes, expected at most 0x%lx", name,
                      *size, FILE_SIZE_MAX);
    return EFI_SUCCESS;
}

/* Some firmware calls it a success when it could not read, and leaves memory as it was (EDK II's
 * driver for AHCI, after five tries): a mark in each sector tells. */
static uint64_t put_marks(uint8_t *buf, UINTN size)
{
    uint64_t mark = rdtsc() * 0x9e3779b97f4a7c15ull | 1; /* no file has it but by a rare chance */

    for (UINTN at = 0; at + sizeof(mark) <= size; at += SECTOR)
        memcpy(buf + at, &mark, sizeof(mark));
    return mark;
}

/* Returns the offset of what was not read, or the size. */
static UINTN find_mark(const uint8_t *buf, UINTN size, uint64_t mark)
{
    for (UINTN at = 0; at + sizeof(mark) <= size; at += SECTOR)
        if (memcmp(buf + at, &mark, sizeof(mark)) == 0)
            return at;
    return size;
}

static EFI_STATUS refuse_read(EFI_STATUS status, const char *name, uint64_t at, uint64_t size)
{
    return refuse(status,
                  L"%a: found \"%r\" at byte %ld, expected %ld bytes; is the medium "
                  L"damaged, or was it taken out?",
                  name, status, at, size);
}

/* Through a piece of memory below 4 GiB: drivers of some firmware cannot reach higher. */
static EFI_STATUS read_chunk(EFI_FILE_HANDLE handle, const char *name, const struct file *file,
                             uint64_t at, UINTN *size)
{
    static uint8_t *low;

    if (low == NULL)
        low = pages_allocate(READ_CHUNK, LOADER_MAX_BELOW_4G, EfiLoaderData);
    if (low == NULL)
        return refuse(EFI_OUT_OF_RESOURCES,
                      L"%a: found no memory below 4 GiB to read it, expected %ld bytes", name,
                      READ_CHUNK);
    uint64_t mark = put_marks(low, *size);
    EFI_STATUS status = handle->Read(handle, size, low);

    if (EFI_ERROR(status))
        return refuse_read(status, name, at, file->size);
    if (*size == 0)
        return refuse(EFI_END_OF_FILE, L"%a: found its end at byte %ld, expected %ld bytes", name,
                      at, file->size);
    UINTN unread = find_mark(low, *size, mark);

    if (unread < *size)
        return refuse_read(EFI_DEVICE_ERROR, name, at + unread, file->size);
    memcpy((uint8_t *)file->at + at, low, *size);
    return EFI_SUCCESS;
}

static EFI_STATUS read_all(EFI_FILE_HANDLE handle, const char *name, const struct file *file)
{
    for (uint64_t at = 0; at < file->size;) {
        UINTN n = MIN(file->size - at, READ_CHUNK);
        EFI_STATUS status = read_chunk(handle, name, file, at, &n);

        if (EFI_ERROR(status))
            return status;
        at += n;
        if (file->size >= LONG_FILE)
            Print(L"bulkhead: %ld of %ld MiB\r", at / MIB, file->size / MIB);
    }
    return EFI_SUCCESS;
}

EFI_STATUS file_load(EFI_FILE_HANDLE root, const char *name, EFI_PHYSICAL_ADDRESS max,
                     struct file *file)
{
    EFI_FILE_HANDLE handle;
    EFI_STATUS status = open_file(root, name, &handle);

    if (EFI_ERROR(status))
        return refuse(status,
                      L"%a: found \"%r\", expected a file of that name in the top folder "
                      L"of the partition that the loader came from",
                      name, status);
    status = find_size(handle, name, &file->size);
    if (!EFI_ERROR(status)) {
        Print(L"bulkhead: loading %a, %ld bytes\n", name, file->size);
        file->at = pages_allocate(file->size, max, EfiLoaderData);
        if (file->at != NULL)
            status = read_all(handle, name, file);
        else
            status = refuse(EFI_OUT_OF_RESOURCES,
                            L"%a: found no memory for it in one piece%a, expected %ld bytes", name,
                            max <= LOADER_MAX_BELOW_4G ? " below 4 GiB" : "", file->size);
    }
    handle->Close(handle);
    if (!EFI_ERROR(status))
        status = verify_file(name, file);
    if (!EFI_ERROR(status))
        measure_file(name, file);
    return status;
}
