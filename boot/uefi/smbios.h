#ifndef BULKHEAD_BOOT_UEFI_SMBIOS_H
#define BULKHEAD_BOOT_UEFI_SMBIOS_H

/* The machine's name in SMBIOS tables (SMBIOS 3.6). Trusts nothing in them; knows nothing of UEFI.
 */

#include "lib/macros.h"

#define SMBIOS_ENTRY_MAX 32 /* bytes of an entry point that are looked at */

/* Where an entry point of either kind says that its table is. Returns false when it is none. */
MUST_CHECK bool smbios_find_table(const uint8_t entry[SMBIOS_ENTRY_MAX], uint64_t *table,
                                  uint32_t *size);

/* Stores "MANUFACTURER PRODUCT", or an empty text. What is not printable becomes a '?'. */
void smbios_machine_name(const uint8_t *table, size_t table_size, char *name, size_t size);

#endif
