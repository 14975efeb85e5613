#ifndef BULKHEAD_BOOT_UEFI_LOADER_H
#define BULKHEAD_BOOT_UEFI_LOADER_H

/* The UEFI loader's parts (UEFI 2.10). All run on firmware's boot services, on one CPU; a function
 * that returns an error has said why on the console. */

#include <efi.h>
#include <efilib.h>

#include "boot/boot_info.h"

#define LOADER_MAX_BELOW_4G (4 * GIB - 1) /* the last address that the core's entry reaches */

#define LONG_FILE (64 * MIB) /* from here on, how far it has come is shown */

struct file {
    void *at; /* page-aligned; the last page's rest is undefined */
    uint64_t size;
};

/* Says "bulkhead: refused: ..." and returns `status`. */
EFI_STATUS refuse(EFI_STATUS status, const CHAR16 *format, ...);

/* `size` bytes of pages up to the address `max`. NULL when there is no such piece; silent. */
void *pages_allocate(uint64_t size, EFI_PHYSICAL_ADDRESS max, EFI_MEMORY_TYPE type);

/* The root folder of the partition that the loader came from. */
MUST_CHECK EFI_STATUS files_open_root(EFI_LOADED_IMAGE *self, EFI_FILE_HANDLE *root);

/* Reads a whole file into pages up to the address `max`, says so, checks it (verify_file) and
 * measures it (measure_file). */
MUST_CHECK EFI_STATUS file_load(EFI_FILE_HANDLE root, const char *name, EFI_PHYSICAL_ADDRESS max,
                                struct file *file);

/* Reads whether Secure Boot is on, and the list of files inside this loader; stores an enum
 * boot_secure. Refuses when it is on and there is no list: such a loader would start anything. */
MUST_CHECK EFI_STATUS verify_init(uint8_t *state);

/* Whether there is a list. Then only what it has is read: also no command line from firmware. */
bool verify_has_list(void);

/* Refuses a file that is not what the list says, or is not in it; one that is in it and is absent.
 * Without a list, they refuse nothing. */
MUST_CHECK EFI_STATUS verify_file(const char *name, const struct file *file);
MUST_CHECK EFI_STATUS verify_absent(const char *name);

/* Looks for a TPM. The others do nothing without one, and only say it when one fails. */
void measure_init(void);

/* Measures what is in memory: a file, the core's command line. */
void measure_file(const char *name, const struct file *file);
void measure_words(const char *words);

/* After the last of these: reads back what the TPM made of it, and keeps a copy of the event log.
 */
void measure_end(struct boot_measurements *out);

/* When firmware has ended: adds what that has measured. */
void measure_after_firmware(struct boot_measurements *out);

/* Whether there is such a file. */
bool file_exists(EFI_FILE_HANDLE root, const char *name);

/* Shows the boot menu when it is `wanted` or the command line has `menu=SECONDS`, which is taken
 * off it, and appends the chosen entry's words, up to `size` bytes in all. */
MUST_CHECK EFI_STATUS menu_run(EFI_HANDLE image, EFI_LOADED_IMAGE *self, EFI_FILE_HANDLE root,
                               bool wanted, char *cmdline, size_t size);

/* Stores the core's command line, BOOT_CMDLINE_MAX characters: the loader's own options
 * (`by_firmware`), or else a file's first line. */
MUST_CHECK EFI_STATUS cmdline_find(EFI_LOADED_IMAGE *self, EFI_FILE_HANDLE root, char *line,
                                   bool *by_firmware);

/* Whether something is at that I/O port that may be a UART: firmware may be using it. */
bool uart_is_at(uint16_t port);

/* Describes the first screen with a linear framebuffer of 32 bits a pixel, changing its mode when
 * it must; without one, leaves `framebuffer` at BOOT_FB_NONE. */
void video_find(struct boot_framebuffer *framebuffer);

/* Stores a copy of the ACPI tables' root pointer, when firmware has one. */
void acpi_find_rsdp(struct boot_info *info);

/* The page of the word `check`: writes it into a file and says so, also in info->report. When it
 * cannot, only that. For a filled-in `info` but for its memory map. */
void report_save(EFI_FILE_HANDLE root, struct boot_info *info);

/* Remembers the PCI devices that may read and write memory on their own, but for screens and
 * bridges; and, when firmware has ended, keeps them from that. */
void pci_find_bus_masters(void);
void pci_stop_bus_masters(void);

/* Stores the memory map as it is now. Silent. */
MUST_CHECK EFI_STATUS memory_look(struct memory_map *map);

/* Ends boot services and stores the memory map. Firmware's memory for boot services is usable then,
 * and no firmware function may be called. Returns an error when firmware refuses, or when the map
 * does not fit. */
MUST_CHECK EFI_STATUS memory_leave_firmware(EFI_HANDLE image, struct memory_map *map);

#endif
