/* Secure Boot: firmware checks this program's signature only. So a signed one carries the sums of
 * all files that it may read, and reads no others. A file is in memory when its sum is taken, and
 * is not read again. */

#include "boot/uefi/loader.h"
#include "boot/uefi/sums.h"
#include "lib/sha256.h"
#include "lib/string.h"

#define LIST_SIZE   (16 * KIB) /* tools/sign_loader.py fills it in */
#define SHOWN       16         /* digits of a sum, in messages */
#define LIST_SOURCE "the signed list of this loader"

static const char list_space[LIST_SIZE] __attribute__((section(".sums"), used)) = {0};
static const char *list;
static size_t list_size; /* 0: this loader has none */

/* One of firmware's variables of one byte (UEFI 2.10, 3.3); 0 when there is no such, `otherwise`
 * when it cannot be read. */
static uint8_t read_variable(const CHAR16 *name, uint8_t otherwise)
{
    EFI_GUID global = EFI_GLOBAL_VARIABLE;
    uint8_t value = 0;
    UINTN size = sizeof(value);
    EFI_STATUS status = RT->GetVariable((CHAR16 *)name, &global, NULL, &size, &value);

    if (status == EFI_NOT_FOUND)
        return 0;
    return EFI_ERROR(status) || size != sizeof(value) ? otherwise : value;
}

EFI_STATUS verify_init(uint8_t *state)
{
    bool is_on = read_variable(L"SecureBoot", 1) == 1 && read_variable(L"SetupMode", 0) == 0;

    /* What stands there is not known when this is compiled. */
    __asm__("" : "=r"(list) : "0"(list_space));
    while (list_size < LIST_SIZE && list[list_size] != '\0')
        list_size++;
    *state = is_on ? BOOT_SECURE_ON : list_size > 0 ? BOOT_SECURE_LIST : BOOT_SECURE_NONE;
    if (is_on && list_size == 0)
        return refuse(EFI_SECURITY_VIOLATION,
                      L"Secure Boot is on: found no list of files in this loader, expected one, "
                      L"signed with it (make image SIGN_KEY=... SIGN_CERT=...)");
    if (list_size > 0)
        Print(L"bulkhead: Secure Boot is %a; this loader's list has %d files\n",
              is_on ? "on" : "off", sums_count(list, list_size));
    return EFI_SUCCESS;
}

bool verify_has_list(void)
{
    return list_size > 0;
}

EFI_STATUS verify_absent(const char *name)
{
    if (sums_find(list, list_size, name) == NULL)
        return EFI_SUCCESS;
    return refuse(EFI_SECURITY_VIOLATION, L"%a: found no such file, expected it, as it is in %a",
                  name, LIST_SOURCE);
}

EFI_STATUS verify_file(const char *name, const struct file *file)
{
    uint8_t sum[SHA256_SIZE];
    char hex[SHA256_HEX_SIZE], wanted[SHOWN + 1] = "";

    if (list_size == 0)
        return EFI_SUCCESS;
    const char *line = sums_find(list, list_size, name);

    if (line == NULL)
        return refuse(EFI_SECURITY_VIOLATION,
                      L"%a: found it not in %a, expected only files that are", name, LIST_SOURCE);
    if (file->size >= LONG_FILE)
        Print(L"bulkhead: checking %a\n", name);
    sha256(file->at, file->size, sum);
    sha256_hex(sum, hex);
    if (memcmp(hex, line, sizeof(hex) - 1) == 0)
        return EFI_SUCCESS;
    memcpy(wanted, line, SHOWN);
    hex[SHOWN] = '\0';
    return refuse(
        EFI_SECURITY_VIOLATION,
        L"%a: found the SHA-256 sum %a..., expected %a... as in %a: it is another file, or "
        L"has been changed",
        name, hex, wanted, LIST_SOURCE);
}
