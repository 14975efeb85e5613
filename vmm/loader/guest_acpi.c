/* Puts the virtual PC's ACPI tables into its BIOS area. The tables themselves are compiled by
 * ACPICA's iasl from the .asl files beside this one, checksums included; only the MADT depends on
 * the VM. */

#include "vmm/loader/guest_acpi.h"

#include "guest_tables.h"
#include "lib/checksum.h"
#include "lib/error.h"
#include "lib/string.h"
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
    {DSDT_GPA, sizeof(dsdt_aml), dsdt_aml},
};

/* The MADT (5.2.12) comes with one CPU; a local APIC structure for each of the others goes to its
 * end. */
enum madt_offset { MADT_LENGTH = 4, MADT_CHECKSUM = 9, MADT_IOAPIC_ID = 54 };

struct madt_lapic {
    uint8_t type, length, uid, apic_id;
    uint32_t flags;
} PACKED;
static_assert(sizeof(struct madt_lapic) == 8, "5.2.12.2");
#define MADT_LAPIC_ENABLED BIT(0)

#define MADT_SIZE(vcpus) (sizeof(madt_aml) + ((vcpus)-1) * sizeof(struct madt_lapic))

static_assert(RSDP_GPA + sizeof(rsdp_aml) <= FACS_GPA, "tables overlap");
static_assert(FACS_GPA + sizeof(facs_aml) <= XSDT_GPA, "tables overlap");
static_assert(XSDT_GPA + sizeof(xsdt_aml) <= FADT_GPA, "tables overlap");
static_assert(FADT_GPA + sizeof(fadt_aml) <= MADT_GPA, "tables overlap");
static_assert(MADT_GPA + MADT_SIZE(GUEST_ACPI_MAX_VCPUS) <= DSDT_GPA, "tables overlap");
static_assert(DSDT_GPA + sizeof(dsdt_aml) <= GUEST_BIOS_END, "tables overlap");

/* The checksum is complete when the head, which holds it, is written last. */
static int write_madt(struct vm *vm, unsigned int vcpus)
{
    uint8_t head[sizeof(madt_aml)];
    const uint32_t length = (uint32_t)MADT_SIZE(vcpus);
    uint8_t sum = 0;
    int rc = 0;

    for (unsigned int i = 1; i < vcpus && rc == 0; i++) {
        const struct madt_lapic lapic = {.length = sizeof(lapic),
                                         .uid = (uint8_t)i,
                                         .apic_id = (uint8_t)i,
                                         .flags = MADT_LAPIC_ENABLED};

        sum = (uint8_t)(sum + byte_sum(&lapic, sizeof(lapic)));
        rc = guest_write(vm, MADT_GPA + MADT_SIZE(i), &lapic, sizeof(lapic));
    }
    memcpy(head, madt_aml, sizeof(head));
    memcpy(head + MADT_LENGTH, &length, sizeof(length));
    head[MADT_IOAPIC_ID] = (uint8_t)vcpus; /* the first ID that no CPU has */
    sum = (uint8_t)(sum + byte_sum(head, sizeof(head)));
    head[MADT_CHECKSUM] = (uint8_t)(head[MADT_CHECKSUM] - sum);
    return rc != 0 ? rc : guest_write(vm, MADT_GPA, head, sizeof(head));
}

int guest_acpi_build(struct vm *vm, unsigned int vcpus, uint64_t *rsdp_gpa)
{
    int rc = 0;

    if (vcpus == 0 || vcpus > GUEST_ACPI_MAX_VCPUS)
        return -BH_EINVAL;
    for (size_t i = 0; i < ARRAY_SIZE(tables) && rc == 0; i++)
        rc = guest_write(vm, tables[i].gpa, tables[i].data, tables[i].size);
    *rsdp_gpa = RSDP_GPA;
    return rc != 0 ? rc : write_madt(vm, vcpus);
}
