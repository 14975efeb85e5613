#ifndef BULKHEAD_BOOT_UEFI_SUMS_H
#define BULKHEAD_BOOT_UEFI_SUMS_H

/* The list of files inside a signed loader (docs/secure-boot.md), as sha256sum prints it: lines of
 * 64 hexadecimal digits, two blanks, and the file's name. Knows nothing of UEFI. */

#include "lib/macros.h"

/* The sum in the list's line for `name`: 64 lower-case digits, not terminated. Upper and lower case
 * of a name are the same, as on a FAT file system. NULL when there is no such line. What follows a
 * line of another form is not looked at. */
const char *sums_find(const char *list, size_t size, const char *name);

/* Lines in the list, up to one of another form. */
unsigned int sums_count(const char *list, size_t size);

#endif
