/* The page of the word `check`, saved beside bulkhead.conf: when the core prints it, nobody is left
 * who writes files. */

#include "boot/uefi/loader.h"

#include "arch/x86/asm.h"
#include "arch/x86/interrupt.h"
#include "boot/machine_report.h"
#include "boot/uefi/names.h"
#include "boot/uefi/smbios.h"
#include "lib/emit.h"
#include "lib/format.h"
#include "lib/log.h"
#include "lib/string.h"
#include "lib/version.h"

#define REPORT_FILE "bulkhead-check.txt"
#define LINE_END    "\r\n" /* for every system's editor */
#define PAGE_MAX    (8 * KIB)
#define STALL_US    50000u
#define TSC_TRIES   3

#define FIRMWARE_MAX 40
#define MACHINE_MAX  80
#define WHY_MAX      100
#define STATUS_MAX   64 /* characters of gnu-efi's longest name of a status */

static char page[PAGE_MAX];
static size_t page_used;
static CHAR16 report_name[] = L"\\" REPORT_FILE;
static struct memory_map map; /* firmware's, in short */

static void add_line(const char *text, size_t len)
{
    if (page_used + len + strlen(LINE_END) > sizeof(page))
        return;
    memcpy(page + page_used, text, len);
    memcpy(page + page_used + len, LINE_END, strlen(LINE_END));
    page_used += len + strlen(LINE_END);
}

/* For the parser of ACPI tables: what is wrong with them is worth knowing. */
void log_write(enum log_level level, const char *fmt, ...)
{
    char line[EMIT_LINE_MAX];
    va_list args;

    if (level > LOG_WARN)
        return;
    va_start(args, fmt);
    int n = format_v(line, sizeof(line), fmt, args);

    va_end(args);
    add_line(line, MIN((size_t)n, sizeof(line) - 1));
}

/* Nobody catches the fault of one that is not there: asked only for those that CPUID promises. */
bool rdmsr_safe(uint32_t msr, uint64_t *value)
{
    *value = rdmsr(msr);
    return true;
}

/* Firmware's strings are UTF-16. */
static void narrow(char *to, size_t size, const CHAR16 *from)
{
    size_t n = 0;

    for (; n + 1 < size && from != NULL && from[n] != L'\0'; n++)
        to[n] = from[n] >= L' ' && from[n] <= L'~' ? (char)from[n] : '?';
    to[n] = '\0';
}

/* Only what the memory map knows of is sure to be mapped. */
static bool is_memory(uint64_t pa, size_t len)
{
    for (unsigned int i = 0; i < map.count; i++)
        if (pa >= map.r[i].base && pa - map.r[i].base < map.r[i].size &&
            len <= map.r[i].size - (pa - map.r[i].base))
            return true;
    return false;
}

static int read_memory(void *ctx, uint64_t pa, void *buf, size_t len)
{
    if (!is_memory(pa, len))
        return -1;
    memcpy(buf, (const void *)pa, len);
    return 0;
}

static const struct acpi_memory memory = {.read = read_memory};

static void find_machine(char *name, size_t size)
{
    static const EFI_GUID smbios_3 = SMBIOS3_TABLE_GUID, smbios_2 = SMBIOS_TABLE_GUID;
    const uint8_t *entry = NULL;
    uint64_t table;
    uint32_t table_size;

    name[0] = '\0';
    for (UINTN i = 0; i < ST->NumberOfTableEntries; i++) {
        const EFI_CONFIGURATION_TABLE *t = &ST->ConfigurationTable[i];

        if (memcmp(&t->VendorGuid, &smbios_3, sizeof(smbios_3)) == 0 ||
            (entry == NULL && memcmp(&t->VendorGuid, &smbios_2, sizeof(smbios_2)) == 0))
            entry = t->VendorTable;
    }
    if (entry != NULL && is_memory((uint64_t)entry, SMBIOS_ENTRY_MAX) &&
        smbios_find_table(entry, &table, &table_size) && is_memory(table, table_size))
        smbios_machine_name((const uint8_t *)table, table_size, name, size);
}

/* The least of several: what comes in between only makes one longer. */
static uint64_t measure_tsc_khz(void)
{
    uint64_t least = UINT64_MAX;

    for (int i = 0; i < TSC_TRIES; i++) {
        uint64_t start = rdtsc_ordered();

        (void)BS->Stall(STALL_US);
        least = MIN(least, rdtsc_ordered() - start);
    }
    return least * 1000 / STALL_US;
}

static void write_head(void)
{
    char firmware[FIRMWARE_MAX], machine[MACHINE_MAX];
    EFI_TIME t;

    emit_line(add_line, "What this machine has, as Bulkhead %s's loader for UEFI sees it",
              bulkhead_version);
    if (!EFI_ERROR(RT->GetTime(&t, NULL)))
        emit_line(add_line, "time: %04u-%02u-%02u %02u:%02u:%02u by the machine's clock", t.Year,
                  t.Month, t.Day, t.Hour, t.Minute, t.Second);
    find_machine(machine, sizeof(machine));
    emit_line(add_line, "machine: %s", machine[0] != '\0' ? machine : "of no name");
    narrow(firmware, sizeof(firmware), ST->FirmwareVendor);
    emit_line(add_line, "firmware: %s, revision 0x%x, UEFI %u.%u", firmware, ST->FirmwareRevision,
              ST->Hdr.Revision >> 16, (ST->Hdr.Revision & 0xffff) / 10);
}

static void write_page(const struct boot_info *info)
{
    static struct acpi_info acpi;
    const struct machine_facts facts = {.acpi = &acpi,
                                        .memory = &memory,
                                        .map = &map,
                                        .screen = &info->framebuffer,
                                        .uart_answers = uart_is_at,
                                        .tsc_khz = measure_tsc_khz()};

    if (EFI_ERROR(memory_look(&map)))
        map.count = 0;
    write_head();
    if (acpi_parse_rsdp_copy(&acpi, &memory, info->rsdp, info->rsdp_size) != 0)
        emit_line(add_line, "ACPI: no usable tables");
    /* Firmware's timers use PCI's ports and its console's UART, of which this takes the address
     * away for a moment. Interrupts are off on this level (UEFI 2.10, 7.1). */
    EFI_TPL level = BS->RaiseTPL(TPL_HIGH_LEVEL);

    machine_report(&facts, add_line);
    BS->RestoreTPL(level);
}

/* Gets a new, empty file in the place of an older report, which may not be taken for this one. */
static EFI_STATUS open_file(EFI_FILE_HANDLE root, EFI_FILE_HANDLE *handle, bool *is_folder)
{
    const UINT64 mode = EFI_FILE_MODE_READ | EFI_FILE_MODE_WRITE;
    EFI_STATUS status = root->Open(root, handle, report_name, mode, 0);

    *is_folder = false;
    if (!EFI_ERROR(status)) {
        EFI_FILE_INFO *info = LibFileInfo(*handle);

        *is_folder = info != NULL && (info->Attribute & EFI_FILE_DIRECTORY);
        if (info != NULL)
            FreePool(info);
        status = *is_folder ? (*handle)->Close(*handle) : (*handle)->Delete(*handle);
        if (*is_folder || status != EFI_SUCCESS)
            return EFI_ACCESS_DENIED;
    } else if (status != EFI_NOT_FOUND) {
        return status;
    }
    return root->Open(root, handle, report_name, mode | EFI_FILE_MODE_CREATE, 0);
}

/* Returns whether it worked. Else `why` says what was found; a part of the page is deleted. */
static bool write_file(EFI_FILE_HANDLE root, char *why, size_t size)
{
    CHAR16 wide[STATUS_MAX];
    char name[STATUS_MAX];
    EFI_FILE_HANDLE handle;
    bool is_folder, is_left = false;
    UINTN written = 0;
    EFI_STATUS status = open_file(root, &handle, &is_folder);

    if (is_folder) {
        format(why, size, "a folder of that name");
        return false;
    }
    if (!EFI_ERROR(status)) {
        written = page_used;
        status = handle->Write(handle, &written, page);
        if (!EFI_ERROR(status) && written < page_used)
            status = EFI_VOLUME_FULL;
        if (!EFI_ERROR(status))
            status = handle->Flush(handle);
        if (EFI_ERROR(status))
            is_left = handle->Delete(handle) != EFI_SUCCESS;
        else
            status = handle->Close(handle);
    }
    StatusToString(wide, status);
    narrow(name, sizeof(name), wide);
    format(why, size, "\"%s\" after %u bytes%s", name, (unsigned int)written,
           is_left ? ", which may still be there" : "");
    return !EFI_ERROR(status);
}

void report_save(EFI_FILE_HANDLE root, struct boot_info *info)
{
    char why[WHY_MAX];

    write_page(info);
    if (write_file(root, why, sizeof(why)))
        format(info->report, sizeof(info->report),
               "saved as " REPORT_FILE " beside " CONFIG_FILE ", %u bytes",
               (unsigned int)page_used);
    else
        format(info->report, sizeof(info->report),
               REPORT_FILE ": found %s, expected to write %u: not saved", why,
               (unsigned int)page_used);
    Print(L"bulkhead: %a\n", info->report);
}
