/* The core's command line. */

#include "boot/uefi/loader.h"

#include "boot/uefi/names.h"
#include "lib/string.h"

#define CMDLINE_FILE "bulkhead.cmdline"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The first line that is not empty. What is no ASCII is refused: half a line would mean something
 * else. */
static EFI_STATUS set_line(char *line, const char *text, size_t size, const char *where)
{
    size_t n = 0;

    if (size >= strlen(UTF8_BOM) && memcmp(text, UTF8_BOM, strlen(UTF8_BOM)) == 0) {
        text += strlen(UTF8_BOM);
        size -= strlen(UTF8_BOM);
    }
    for (; size > 0 && is_blank(*text); size--)
        text++;
    while (n < size && (text[n] == '\t' || (text[n] >= ' ' && text[n] <= '~')))
        n++;
    if (n < size && !is_blank(text[n]))
        return refuse(
            EFI_INVALID_PARAMETER,
            L"%a: found the byte 0x%02x, expected words in ASCII, or UTF-8 without others", where,
            (uint32_t)(uint8_t)text[n]);
    if (n >= BOOT_CMDLINE_MAX)
        return refuse(EFI_BUFFER_TOO_SMALL,
                      L"%a: found %ld characters, expected at most %ld for the core", where,
                      (uint64_t)n, (uint64_t)BOOT_CMDLINE_MAX - 1);
    for (size_t i = 0; i < n; i++)
        line[i] = text[i] == '\t' ? ' ' : text[i]; /* what the core splits at */
    line[n] = '\0';
    return EFI_SUCCESS;
}

/* A shell passes the loader's own name as the first word, a boot entry does not. */
static size_t skip_own_name(const char *text, size_t n)
{
    size_t i = 0;

    while (i < n && text[i] != ' ')
        i++;
    if (i < 4 || text[i - 4] != '.' || (text[i - 3] | 0x20) != 'e' || (text[i - 2] | 0x20) != 'f' ||
        (text[i - 1] | 0x20) != 'i')
        return 0;
    return i < n ? i + 1 : i;
}

/* From the loader's own options, or else from a file. Options that are no text, as some firmware
 * passes, are none. */
EFI_STATUS cmdline_find(EFI_LOADED_IMAGE *self, EFI_FILE_HANDLE root, char *line, bool *by_firmware)
{
    static char text[2 * BOOT_CMDLINE_MAX];
    const uint8_t *options = self->LoadOptions;
    size_t n = 0, count = options != NULL ? self->LoadOptionsSize / sizeof(CHAR16) : 0;

    for (; n < count && n < sizeof(text); n++) {
        CHAR16 c = (CHAR16)(options[2 * n] | options[2 * n + 1] << 8);

        if (c == L'\0')
            break;
        if (c < L' ' || c > L'~') {
            n = 0;
            break;
        }
        text[n] = (char)c;
    }
    size_t skip = skip_own_name(text, n);

    *by_firmware = n > skip && !verify_has_list();
    if (*by_firmware)
        return set_line(line, text + skip, n - skip, "the loader's options");
    if (n > skip)
        Print(L"bulkhead: ignored: the loader's options, which are not in its signed list\n");
    if (!file_exists(root, CMDLINE_FILE))
        return verify_absent(CMDLINE_FILE);
    struct file file;
    EFI_STATUS status = file_load(root, CMDLINE_FILE, LOADER_MAX_BELOW_4G, &file);

    return EFI_ERROR(status) ? status : set_line(line, file.at, file.size, CMDLINE_FILE);
}
