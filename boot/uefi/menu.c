/* The boot menu: the entries and keys of GRUB's menu (tools/make_image.py). Keys come from whatever
 * firmware has as its console, a serial line as well. */

#include "boot/uefi/loader.h"

#include "arch/x86/asm.h"
#include "boot/uefi/options.h"
#include "drivers/uart.h"
#include "lib/string.h"

#define SECONDS_USUAL  3u
#define TIMER_SECOND   10000000ull /* UEFI 2.10, 7.1 (SetTimer): units of 100 ns */
#define HINT           L"A key of the list, or Enter for the first\n"
#define BAD_WORD_SHOWN 40
#define MEMTEST_FILE   "EFI\\BOOT\\memtest.efi"

static const struct entry {
    char key;
    const char *title;
    const char *words;   /* for the core */
    const char *program; /* started in the core's place, when it is there */
} entries[] = {
    {'b', "Bulkhead", "", NULL},
    {'v', "Bulkhead, verbose", "log=debug", NULL},
    {'s', "Bulkhead, safe mode without optional processor features", "log=debug off=all", NULL},
    {'h', "What hardware this machine has, without starting a VM", "check", NULL},
    {'m', "Memory check, memtest86+", "", MEMTEST_FILE},
};

static bool is_offered(EFI_FILE_HANDLE root, const struct entry *entry)
{
    return entry->program == NULL || file_exists(root, entry->program);
}

static void show(EFI_FILE_HANDLE root)
{
    Print(L"\nbulkhead: what to start?\n");
    for (unsigned int i = 0; i < ARRAY_SIZE(entries); i++) {
        const struct entry *e = &entries[i];

        if (is_offered(root, e))
            Print(L"  %c  %a%a%a\n", (CHAR16)e->key, e->title, e->words[0] != '\0' ? ": " : "",
                  e->words);
    }
}

/* The entry of that key; NULL when it has none. Enter is for the first one. */
static const struct entry *entry_of(EFI_FILE_HANDLE root, CHAR16 key)
{
    if (key == CHAR_CARRIAGE_RETURN)
        return &entries[0];
    for (unsigned int i = 0; i < ARRAY_SIZE(entries); i++)
        if (entries[i].key == (key | 0x20) && is_offered(root, &entries[i]))
            return &entries[i];
    return NULL;
}

/* A key, or the end of the time, 0: none. Any key that is no entry's stops the clock. */
static const struct entry *wait(EFI_FILE_HANDLE root, EFI_EVENT timer, unsigned int seconds)
{
    EFI_EVENT events[] = {timer, ST->ConIn->WaitForKey};
    const struct entry *chosen = NULL;
    bool counting = seconds > 0;

    if (!counting)
        Print(HINT);
    while (chosen == NULL) {
        EFI_INPUT_KEY key;
        UINTN index;

        if (counting)
            Print(L"\rA key of the list, or Enter for the first; in %d s it starts by itself ",
                  seconds);
        if (EFI_ERROR(BS->WaitForEvent(ARRAY_SIZE(events), events, &index)))
            return &entries[0];
        if (index == 0) {
            if (counting && --seconds == 0)
                return &entries[0];
        } else if (!EFI_ERROR(ST->ConIn->ReadKeyStroke(ST->ConIn, &key))) {
            chosen = entry_of(root, key.UnicodeChar);
            if (chosen == NULL && counting)
                Print(L"\n" HINT);
            counting &= chosen != NULL;
        }
    }
    return chosen;
}

static const struct entry *choose(EFI_FILE_HANDLE root, unsigned int seconds)
{
    const struct entry *chosen = &entries[0];
    EFI_EVENT timer;

    if (EFI_ERROR(BS->CreateEvent(EVT_TIMER, 0, NULL, NULL, &timer)))
        return chosen;
    show(root);
    if (!EFI_ERROR(BS->SetTimer(timer, TimerPeriodic, TIMER_SECOND)))
        chosen = wait(root, timer, seconds);
    (void)BS->CloseEvent(timer);
    Print(L"\nbulkhead: %a\n", chosen->title);
    return chosen;
}

bool uart_is_at(uint16_t port)
{
    return inb(port + UART_REG_LSR) != UART_NOTHING_THERE;
}

/* As GRUB's menu does: what it shows goes to COM1, too, where there is one. */
static void set_options(EFI_HANDLE program)
{
    static CHAR16 options[] = L"memtest.efi console=ttyS0,115200";
    EFI_LOADED_IMAGE *loaded;

    if (!uart_is_at(COM1) ||
        EFI_ERROR(BS->HandleProtocol(program, &gEfiLoadedImageProtocolGuid, (void **)&loaded)))
        return;
    loaded->LoadOptions = options;
    loaded->LoadOptionsSize = sizeof(options);
}

/* Returns when the program does, or cannot be started: with Secure Boot, firmware wants its
 * signature. */
static void start_program(EFI_HANDLE image, EFI_HANDLE device)
{
    static CHAR16 name[] = L"\\" MEMTEST_FILE;
    EFI_DEVICE_PATH *path = FileDevicePath(device, name);
    EFI_HANDLE program = NULL;
    EFI_STATUS status;

    if (path == NULL)
        return;
    status = BS->LoadImage(FALSE, image, path, NULL, 0, &program);
    FreePool(path);
    if (!EFI_ERROR(status)) {
        set_options(program);
        status = BS->StartImage(program, NULL, NULL);
    } else if (program != NULL) {
        (void)BS->UnloadImage(program); /* loaded, but its signature is not right */
    }
    if (EFI_ERROR(status))
        (void)refuse(status, L"%a: found \"%r\", expected a program that firmware starts",
                     MEMTEST_FILE, status);
}

EFI_STATUS menu_run(EFI_HANDLE image, EFI_LOADED_IMAGE *self, EFI_FILE_HANDLE root, bool wanted,
                    char *cmdline, size_t size)
{
    unsigned int seconds = wanted ? SECONDS_USUAL : 0;
    const struct entry *chosen;
    struct text_span bad;
    char word[BAD_WORD_SHOWN + 1] = "";

    if (options_take_menu(cmdline, &seconds, &bad) != 0) {
        memcpy(word, bad.at, MIN(bad.len, sizeof(word) - 1));
        return refuse(EFI_INVALID_PARAMETER,
                      L"command line: found \"%a\", expected menu=SECONDS, 0 to %d", word,
                      MENU_SECONDS_MAX);
    }
    if (seconds == 0)
        return EFI_SUCCESS;
    for (chosen = choose(root, seconds); chosen->program != NULL; chosen = choose(root, 0))
        start_program(image, self->DeviceHandle);
    if (!options_append(cmdline, size, chosen->words))
        return refuse(EFI_BUFFER_TOO_SMALL,
                      L"command line: found %ld characters, expected room for \"%a\" behind them",
                      (uint64_t)strlena((const CHAR8 *)cmdline), chosen->words);
    return EFI_SUCCESS;
}
