#ifndef BULKHEAD_BOOT_UEFI_NAMES_H
#define BULKHEAD_BOOT_UEFI_NAMES_H

/* The files that bulkhead.conf names. Only that: the core reads the whole of it later and says what
 * is wrong with it. Knows nothing of UEFI. */

#include "boot/boot_info.h"

#define CONFIG_FILE "bulkhead.conf"
#define UTF8_BOM    "\xef\xbb\xbf" /* what some editors begin a file with */

struct file_names {
    unsigned int count;
    bool too_many; /* there are more */
    char name[BOOT_MODULES_MAX][BOOT_MODULE_NAME_MAX];
};

/* bulkhead.conf itself, then what kernel, initrd and module name in its [vm] sections, each once,
 * in the file's order. What cannot be a module's name is passed over. */
void names_find(struct file_names *names, const char *text, size_t size);

#endif
