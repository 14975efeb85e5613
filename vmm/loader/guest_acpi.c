/* Puts the virtual PC's ACPI tables into its BIOS area. The tables themselves are compiled by
 * ACPICA's iasl from the .asl files beside this one, checksums included. The MADT is that of a VM
 * with one CPU. */

#include "vmm/loader/guest_acpi.h"

#include "guest_tables.h"
#include "vmm/config.h"
#include "vmm/guest_memory.h"
#include "vmm/loader/e820.h"

/* Where they stand; XSDT, FADT and RSDP name these addresses. RSDP: 16-byte boundary; FACS: 64-byte
 * boundary (ACPI 6.5, 5.2.5.1 and 5.2.10). */
#define RSDP_GPA (GUEST_BIOS_BASE + 0)
#define FACS_GPA (GUEST_BIOS_BASE + 0x40)
#define XSDT_GPA (GUEST_BIOS_BASE + 0x80)
#define FADT_GPA (GUEST_BIOS_BASE + 0x100)
#define MADT_GPA (GUEST_BIOS_BASE + 0x240)
#define DSDT_GPA (GUEST_BIOS_BASE + 0x1000)
static_assert(GUEST_BIOS_BASE == 0xf0000, "the .asl files have these addresses");

static const struct {
    uint32_t gpa, size;
    const uint8_t *data;
} tables[] = {
    {RSDP_GPA, sizeof(rsdp_aml), rsdp_aml}, {FACS_GPA, sizeof(facs_aml), facs_aml},
    {XSDT_GPA, sizeof(xsdt_aml), xsdt_aml}, {FADT_GPA, sizeof(fadt_aml), fadt_aml},
    {MADT_GPA, sizeof(madt_aml), madt_aml}, {DSDT_GPA, sizeof(dsdt_aml), dsdt_aml},
};

static_assert(RSDP_GPA + sizeof(rsdp_aml) <= FACS_GPA, "tables overlap");
static_assert(FACS_GPA + sizeof(facs_aml) <= XSDT_GPA, "tables overlap");
static_assert(XSDT_GPA + sizeof(xsdt_aml) <= FADT_GPA, "tables overlap");
static_assert(FADT_GPA + sizeof(fadt_aml) <= MADT_GPA, "tables overlap");
static_assert(MADT_GPA + sizeof(madt_aml) <= DSDT_GPA, "tables overlap");
static_assert(DSDT_GPA + sizeof(dsdt_aml) <= GUEST_BIOS_END, "tables overlap");

int guest_acpi_build(struct vm *vm, uint64_t *rsdp_gpa)
{
    int rc = 0;

    for (size_t i = 0; i < ARRAY_SIZE(tables) && rc == 0; i++)
        rc = guest_write(vm, tables[i].gpa, tables[i].data, tables[i].size);
    *rsdp_gpa = RSDP_GPA;
    return rc;
}
