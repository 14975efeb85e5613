/* BOOTX64.EFI: loads the core, bulkhead.conf and what that names from the partition that the loader
 * came from, and goes to the core (boot/core_header.h). */

#include "boot/uefi/loader.h"

#include "boot/core_header.h"
#include "boot/uefi/elf.h"
#include "boot/uefi/names.h"
#include "boot/uefi/options.h"
#include "lib/string.h"

#define CORE_FILE "bulkhead.elf"

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

EFI_STATUS refuse(EFI_STATUS status, const CHAR16 *format, ...)
{
    va_list args;

    va_start(args, format);
    Print(L"bulkhead: refused: ");
    VPrint(format, args);
    Print(L"\n");
    va_end(args);
    return status;
}

void acpi_find_rsdp(struct boot_info *info)
{
    static const EFI_GUID acpi_2 = ACPI_20_TABLE_GUID, acpi_1 = ACPI_TABLE_GUID;
    const unsigned int size_1 = 20; /* ACPI 6.5, 5.2.5.3: the fields of version 1.0 */

    for (UINTN i = 0; i < ST->NumberOfTableEntries; i++) {
        const EFI_CONFIGURATION_TABLE *table = &ST->ConfigurationTable[i];

        if (memcmp(&table->VendorGuid, &acpi_2, sizeof(acpi_2)) == 0)
            info->rsdp_size = BOOT_RSDP_SIZE;
        else if (info->rsdp_size == 0 && memcmp(&table->VendorGuid, &acpi_1, sizeof(acpi_1)) == 0)
            info->rsdp_size = size_1;
        else
            continue;
        memcpy(info->rsdp, table->VendorTable, info->rsdp_size);
        if (info->rsdp_size == BOOT_RSDP_SIZE)
            return;
    }
}

/* Puts the core where there is room for it. Returns how far that is from where it is linked. */
static EFI_STATUS place_core(const struct file *file, struct core_image *core, uint64_t *delta)
{
    struct core_problem problem;

    if (core_elf_read(file->at, file->size, core, &problem) != 0)
        return refuse(EFI_LOAD_ERROR, L"%a: %a: found %ld (0x%lx), expected %a%a%ld (0x%lx)",
                      CORE_FILE, problem.what, problem.found, problem.found, problem.relation,
                      problem.relation[0] != '\0' ? " " : "", problem.expected, problem.expected);
    uint64_t size = core->end - core->base;
    /* Code: firmware that enforces W^X makes all other memory no-execute. */
    void *room = pages_allocate(size + CORE_ALIGN, LOADER_MAX_BELOW_4G, EfiLoaderCode);

    if (room == NULL)
        return refuse(EFI_OUT_OF_RESOURCES,
                      L"%a: found no memory for it in one piece below 4 GiB, expected %ld bytes",
                      CORE_FILE, size + CORE_ALIGN);
    *delta = ALIGN_UP((uint64_t)room - core->base, CORE_ALIGN);
    core_elf_place(file->at, core, (void *)(core->base + *delta));
    return EFI_SUCCESS;
}

/* bulkhead.conf, which the core reads first, and the files that it names. */
static EFI_STATUS load_modules(EFI_FILE_HANDLE root, struct boot_info *info)
{
    static struct file_names names;
    struct file file;
    EFI_STATUS status = file_load(root, CONFIG_FILE, LOADER_MAX_BELOW_4G, &file);

    if (EFI_ERROR(status))
        return status;
    names_find(&names, file.at, file.size);
    if (names.too_many)
        return refuse(EFI_BUFFER_TOO_SMALL,
                      L"%a: found more than %d files in it, expected at most that many",
                      CONFIG_FILE, BOOT_MODULES_MAX - 1);
    for (unsigned int i = 0; i < names.count; i++) {
        struct boot_module *module = &info->modules[i];

        if (i > 0) /* 0 is bulkhead.conf */
            status = file_load(root, names.name[i], ~0ull, &file);
        if (EFI_ERROR(status))
            return status;
        module->base = (uint64_t)file.at;
        module->size = file.size;
        memcpy(module->name, names.name[i], sizeof(module->name));
    }
    info->module_count = names.count;
    return EFI_SUCCESS;
}

/* Returns only when something is wrong. */
static EFI_STATUS boot(EFI_HANDLE image)
{
    EFI_LOADED_IMAGE *self;
    EFI_FILE_HANDLE root;
    struct file core_file;
    struct core_image core;
    uint64_t delta = 0;
    bool by_firmware;
    EFI_STATUS status = BS->HandleProtocol(image, &gEfiLoadedImageProtocolGuid, (void **)&self);

    if (EFI_ERROR(status))
        return refuse(status, L"found \"%r\", expected firmware to say where the loader came from",
                      status);
    struct boot_info *info = pages_allocate(sizeof(*info), LOADER_MAX_BELOW_4G, EfiLoaderData);

    if (info == NULL)
        return refuse(EFI_OUT_OF_RESOURCES, L"found no memory below 4 GiB, expected %ld bytes",
                      (uint64_t)sizeof(*info));
    memset(info, 0, sizeof(*info));
    measure_init();
    status = verify_init(&info->secure);
    if (!EFI_ERROR(status))
        status = files_open_root(self, &root);
    if (!EFI_ERROR(status))
        status = cmdline_find(self, root, info->cmdline, &by_firmware);
    if (!EFI_ERROR(status))
        status = menu_run(image, self, root, !by_firmware, info->cmdline, sizeof(info->cmdline));
    bool check = !EFI_ERROR(status) && options_have(info->cmdline, BOOT_CHECK_WORD);

    if (!EFI_ERROR(status) && !check)
        status = load_modules(root, info);
    if (!EFI_ERROR(status))
        status = file_load(root, CORE_FILE, ~0ull, &core_file);
    if (!EFI_ERROR(status))
        status = place_core(&core_file, &core, &delta);
    if (EFI_ERROR(status))
        return status;
    measure_words(info->cmdline);
    measure_end(&info->measurements);
    video_find(&info->framebuffer);
    acpi_find_rsdp(info);
    if (check)
        report_save(root, info);
    pci_find_bus_masters();
    Print(L"bulkhead: starting the core at 0x%lx\n", core.base + delta);
    status = memory_leave_firmware(image, &info->map);
    if (EFI_ERROR(status))
        return status;
    __asm__ volatile("cli");
    pci_stop_bus_masters();
    measure_after_firmware(&info->measurements);
    __asm__ volatile("jmp *%[entry]"
                     :
                     : "D"(BOOT_MAGIC_INFO), "S"(info), [entry] "a"(core.entry + delta)
                     : "memory");
    __builtin_unreachable();
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    EFI_INPUT_KEY key;
    UINTN index;

    InitializeLib(image, system);
    /* Firmware resets a machine whose loader takes more than five minutes. */
    (void)BS->SetWatchdogTimer(0, 0, 0, NULL);
    EFI_STATUS status = boot(image);

    Print(L"Press a key to return to the firmware\n");
    (void)ST->ConIn->Reset(ST->ConIn, FALSE);
    while (ST->ConIn->ReadKeyStroke(ST->ConIn, &key) == EFI_NOT_READY)
        (void)BS->WaitForEvent(1, &ST->ConIn->WaitForKey, &index);
    return status;
}
