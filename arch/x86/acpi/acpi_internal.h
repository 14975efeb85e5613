#ifndef BULKHEAD_ARCH_X86_ACPI_ACPI_INTERNAL_H
#define BULKHEAD_ARCH_X86_ACPI_ACPI_INTERNAL_H

/* Shared by the files of the ACPI parser only. All of it is boot only and takes no lock. */

#include "arch/x86/acpi/acpi.h"

/* The header of every table but RSDP and FACS (ACPI 6.5, 5.2.6). */
#define ACPI_HEADER_LENGTH   4
#define ACPI_HEADER_REVISION 8
#define ACPI_HEADER_SIZE     36
#define ACPI_TABLE_SIZE_MAX  (8 * MIB) /* DSDTs of servers have some 2 MiB */
#define ACPI_CHUNK           512       /* tables are read in pieces of this size */

/* Little-endian fields at any alignment. */
uint16_t acpi_get16(const uint8_t *p);
uint32_t acpi_get32(const uint8_t *p);
uint64_t acpi_get64(const uint8_t *p);

/* Reads physical memory; -BH_ERANGE when the range wraps, else what the reader returns. */
MUST_CHECK int acpi_read(const struct acpi_memory *mem, uint64_t pa, void *buf, size_t len);

/* Reads the header at `pa`, checks signature (`expected` NULL: any), length and checksum. Fills
 * `out` and returns 0, or logs what is wrong and returns a negative BH_E*. */
MUST_CHECK int acpi_check_table(const struct acpi_memory *mem, uint64_t pa, const char *expected,
                                struct acpi_table *out);

/* Searches the BIOS areas for a sound RSDP. Returns 0 and its address, or -BH_ENOENT. */
MUST_CHECK int acpi_search_rsdp(const struct acpi_memory *mem, uint64_t *pa);

/* Takes over an RSDP of which `len` bytes are at `raw`; logs and returns -BH_EINVAL when it is
 * broken. Sets the root tables' addresses, 0 for one that there is not. */
struct acpi_roots {
    uint64_t xsdt, rsdt;
};
MUST_CHECK int acpi_take_rsdp(struct acpi_info *info, const uint8_t *raw, size_t len,
                              struct acpi_roots *roots);

/* One table each; it was checked by acpi_check_table. */
void acpi_parse_madt(struct acpi_info *info, const struct acpi_memory *mem,
                     const struct acpi_table *table);
void acpi_parse_fadt(struct acpi_info *info, const struct acpi_memory *mem,
                     const struct acpi_table *table);
void acpi_parse_hpet(struct acpi_info *info, const struct acpi_memory *mem,
                     const struct acpi_table *table);

/* Looks for \_S5 in one AML table; sets has_s5 when it is there. */
void acpi_scan_s5(struct acpi_info *info, const struct acpi_memory *mem,
                  const struct acpi_table *table);

#endif
