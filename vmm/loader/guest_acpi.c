/* Puts the virtual PC's ACPI tables into its BIOS area. The tables themselves are compiled by
 * ACPICA's iasl from the .asl files beside this one, checksums included; the
 * MADT, which is that of a VM with one vCPU, gets the others here. */

#include "vmm/loader/guest_acpi.h"

#include "guest_tables.h"
#include "lib/string.h"
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

/* ACPI 6.5, 5.2.6, 5.2.12.2 and 5.2.12.3. madt.asl has a local APIC first, then the I/O APIC. */
#define TABLE_LENGTH   4
#define TABLE_CHECKSUM 9
#define MADT_CPU       44
#define MADT_CPU_SIZE  8
#define MADT_IOAPIC    (MADT_CPU + MADT_CPU_SIZE)
#define CPU_UID        2
#define CPU_APIC_ID    3
#define IOAPIC_ID      2
#define IOAPIC_ID_MAX  15 /* what its register takes (82093AA, 3.2.1) */
#define MADT_SIZE(n)   (sizeof(madt_aml) + ((n)-1) * MADT_CPU_SIZE)

static const struct {
    uint32_t gpa, size;
    const uint8_t *data;
} tables[] = {
    {RSDP_GPA, sizeof(rsdp_aml), rsdp_aml}, {FACS_GPA, sizeof(facs_aml), facs_aml},
    {XSDT_GPA, sizeof(xsdt_aml), xsdt_aml}, {FADT_GPA, sizeof(fadt_aml), fadt_aml},
    {DSDT_GPA, sizeof(dsdt_aml), dsdt_aml},
};

static_assert(RSDP_GPA + sizeof(rsdp_aml) <= FACS_GPA, "tables overlap");
static_assert(FACS_GPA + sizeof(facs_aml) <= XSDT_GPA, "tables overlap");
static_assert(XSDT_GPA + sizeof(xsdt_aml) <= FADT_GPA, "tables overlap");
static_assert(FADT_GPA + sizeof(fadt_aml) <= MADT_GPA, "tables overlap");
static_assert(MADT_GPA + MADT_SIZE(VM_MAX_VCPUS) <= DSDT_GPA, "tables overlap");
static_assert(DSDT_GPA + sizeof(dsdt_aml) <= GUEST_BIOS_END, "tables overlap");

/* The I/O APIC's id is the first behind those of the CPUs, or, if there is none, 0: without a
 * serial bus between them nothing depends on it. */
static int write_madt(struct vm *vm, unsigned int vcpus)
{
    uint8_t madt[MADT_SIZE(VM_MAX_VCPUS)], sum = 0;
    uint8_t *entry = madt + MADT_CPU;
    uint32_t size = (uint32_t)MADT_SIZE(vcpus);

    memcpy(madt, madt_aml, MADT_CPU);
    for (unsigned int i = 0; i < vcpus; i++, entry += MADT_CPU_SIZE) {
        memcpy(entry, madt_aml + MADT_CPU, MADT_CPU_SIZE);
        entry[CPU_UID] = (uint8_t)i;
        entry[CPU_APIC_ID] = (uint8_t)i;
    }
    memcpy(entry, madt_aml + MADT_IOAPIC, sizeof(madt_aml) - MADT_IOAPIC);
    entry[IOAPIC_ID] = (uint8_t)(vcpus <= IOAPIC_ID_MAX ? vcpus : 0);
    memcpy(madt + TABLE_LENGTH, &size, sizeof(size));
    madt[TABLE_CHECKSUM] = 0;
    for (uint32_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + madt[i]);
    madt[TABLE_CHECKSUM] = (uint8_t)-sum;
    return guest_write(vm, MADT_GPA, madt, size);
}

int guest_acpi_build(struct vm *vm, unsigned int vcpus, uint64_t *rsdp_gpa)
{
    int rc = write_madt(vm, vcpus);

    for (size_t i = 0; i < ARRAY_SIZE(tables) && rc == 0; i++)
        rc = guest_write(vm, tables[i].gpa, tables[i].data, tables[i].size);
    *rsdp_gpa = RSDP_GPA;
    return rc;
}
