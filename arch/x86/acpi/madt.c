/* The multiple APIC description table (ACPI 6.5, 5.2.12). */

#include "arch/x86/acpi/acpi_internal.h"
#include "lib/log.h"
#include "lib/string.h"

#define MADT_LAPIC_ADDRESS 36
#define MADT_FLAGS         40
#define MADT_ENTRIES       44
#define MADT_PCAT_COMPAT   BIT(0)
#define MADT_ENTRY_HEADER  2
#define MADT_ENTRY_MAX     16 /* the longest entry that is looked into */
#define MADT_COMPLAINTS    8  /* messages about broken entries; the table may be 1 MiB of them */

#define MADT_CPU_ENABLED BIT(0) /* clear: none, or one that may be plugged in later */

#define LAPIC_DEFAULT_ADDRESS 0xfee00000ull
#define XAPIC_ID_INVALID      0xff /* xAPIC broadcast: firmware marks absent CPUs with it */
#define XAPIC_UID_ALL         0xff
#define X2APIC_ID_INVALID     0xffffffffu
#define LAPIC_LINTS           2

/* What the table lists, as far as there is room for it. */
enum madt_list { LIST_CPUS, LIST_IOAPICS, LIST_OVERRIDES, LIST_NMIS, LIST_COUNT };

static const struct {
    const char *name;
    unsigned int max;
} lists[LIST_COUNT] = {
    [LIST_CPUS] = {"CPUs", ACPI_MAX_CPUS},
    [LIST_IOAPICS] = {"I/O APICs", ACPI_MAX_IOAPICS},
    [LIST_OVERRIDES] = {"overrides", ACPI_MAX_OVERRIDES},
    [LIST_NMIS] = {"NMIs", ACPI_MAX_NMIS},
};

struct madt_parser {
    struct acpi_info *info;
    unsigned int complaints;
    unsigned int extra[LIST_COUNT]; /* entries that there was no room for */
};

/* Whether a list with `count` entries can take one more. */
static bool INIT has_room(struct madt_parser *p, enum madt_list list, unsigned int count)
{
    p->extra[list] += count == lists[list].max;
    return count < lists[list].max;
}

static bool INIT may_complain(struct madt_parser *p)
{
    return p->complaints++ < MADT_COMPLAINTS;
}

static void INIT add_cpu(struct madt_parser *p, uint32_t apic_id, uint32_t uid, uint32_t flags)
{
    struct acpi_info *info = p->info;

    if ((flags & MADT_CPU_ENABLED) == 0)
        return;
    /* Firmware lists one CPU as local APIC and as x2APIC. */
    for (unsigned int i = 0; i < info->cpu_count; i++)
        if (info->cpus[i].apic_id == apic_id)
            return;
    if (!has_room(p, LIST_CPUS, info->cpu_count)) {
        if (p->extra[LIST_CPUS] <= MADT_COMPLAINTS)
            log_warn(
                "ACPI: MADT: the CPU with APIC id %u is one more than the limit of %d: left out",
                apic_id, ACPI_MAX_CPUS);
        return;
    }
    info->cpus[info->cpu_count++] = (struct acpi_cpu){.apic_id = apic_id, .uid = uid};
}

static void INIT add_nmi(struct madt_parser *p, uint32_t uid, uint16_t flags, uint8_t lint)
{
    struct acpi_info *info = p->info;

    if (lint >= LAPIC_LINTS) {
        if (may_complain(p))
            log_warn("ACPI: MADT: NMI at local APIC input %u, expected 0 or 1; ignored", lint);
        return;
    }
    if (has_room(p, LIST_NMIS, info->nmi_count))
        info->nmis[info->nmi_count++] = (struct acpi_nmi){.uid = uid, .flags = flags, .lint = lint};
}

static void INIT local_apic(struct madt_parser *p, const uint8_t *e)
{
    if (e[3] != XAPIC_ID_INVALID)
        add_cpu(p, e[3], e[2], acpi_get32(e + 4));
}

static void INIT local_x2apic(struct madt_parser *p, const uint8_t *e)
{
    if (acpi_get32(e + 4) != X2APIC_ID_INVALID)
        add_cpu(p, acpi_get32(e + 4), acpi_get32(e + 12), acpi_get32(e + 8));
}

static void INIT ioapic(struct madt_parser *p, const uint8_t *e)
{
    struct acpi_info *info = p->info;
    struct acpi_ioapic found = {
        .id = e[2], .gsi_base = acpi_get32(e + 8), .address = acpi_get32(e + 4)};

    if (found.address == 0) {
        if (may_complain(p))
            log_warn("ACPI: MADT: I/O APIC %u has address 0; ignored", found.id);
        return;
    }
    for (unsigned int i = 0; i < info->ioapic_count; i++) {
        if (info->ioapics[i].address == found.address ||
            info->ioapics[i].gsi_base == found.gsi_base) {
            if (may_complain(p))
                log_warn("ACPI: MADT: I/O APIC %u has the address or the first GSI (%u) of I/O "
                         "APIC %u; ignored",
                         found.id, found.gsi_base, info->ioapics[i].id);
            return;
        }
    }
    if (has_room(p, LIST_IOAPICS, info->ioapic_count))
        info->ioapics[info->ioapic_count++] = found;
}

static void INIT source_override(struct madt_parser *p, const uint8_t *e)
{
    struct acpi_info *info = p->info;
    uint8_t bus = e[2], irq = e[3];

    if (bus != 0 || irq >= ACPI_ISA_IRQS) {
        if (may_complain(p))
            log_warn("ACPI: MADT: override of bus %u interrupt %u, expected bus 0 and 0 to %d; "
                     "ignored",
                     bus, irq, ACPI_ISA_IRQS - 1);
        return;
    }
    for (unsigned int i = 0; i < info->override_count; i++) {
        if (info->overrides[i].irq == irq) {
            if (may_complain(p))
                log_warn("ACPI: MADT: second override of interrupt %u; ignored", irq);
            return;
        }
    }
    if (!has_room(p, LIST_OVERRIDES, info->override_count))
        return;
    info->overrides[info->override_count++] =
        (struct acpi_override){.irq = irq, .flags = acpi_get16(e + 8), .gsi = acpi_get32(e + 4)};
}

static void INIT local_apic_nmi(struct madt_parser *p, const uint8_t *e)
{
    add_nmi(p, e[2] == XAPIC_UID_ALL ? ACPI_UID_ALL : e[2], acpi_get16(e + 3), e[5]);
}

static void INIT local_x2apic_nmi(struct madt_parser *p, const uint8_t *e)
{
    add_nmi(p, acpi_get32(e + 4), acpi_get16(e + 2), e[8]);
}

static void INIT address_override(struct madt_parser *p, const uint8_t *e)
{
    p->info->lapic_address = acpi_get64(e + 4);
}

/* ACPI 6.5, table 5.21. Types that are not here are of no interest. */
static const struct madt_type {
    uint8_t type, length;
    void (*take)(struct madt_parser *p, const uint8_t *entry);
    const char *name;
} madt_types[] = {
    {0, 8, local_apic, "local APIC"},
    {1, 12, ioapic, "I/O APIC"},
    {2, 10, source_override, "interrupt source override"},
    {4, 6, local_apic_nmi, "local APIC NMI"},
    {5, 12, address_override, "local APIC address override"},
    {9, 16, local_x2apic, "local x2APIC"},
    {10, 12, local_x2apic_nmi, "local x2APIC NMI"},
};

static void INIT take_entry(struct madt_parser *p, const struct acpi_memory *mem, uint64_t pa,
                            uint8_t type, uint8_t length)
{
    uint8_t entry[MADT_ENTRY_MAX];

    for (unsigned int i = 0; i < ARRAY_SIZE(madt_types); i++) {
        const struct madt_type *t = &madt_types[i];

        if (t->type != type)
            continue;
        if (length < t->length) {
            if (may_complain(p))
                log_warn("ACPI: MADT: %s entry has length %u, expected %u; ignored", t->name,
                         length, t->length);
            return;
        }
        if (acpi_read(mem, pa, entry, t->length) == 0)
            t->take(p, entry);
        return;
    }
}

static void INIT report_limits(const struct madt_parser *p)
{
    for (unsigned int i = 0; i < LIST_COUNT; i++) {
        if (p->extra[i])
            log_warn("ACPI: MADT: %u %s more than the limit of %u are ignored", p->extra[i],
                     lists[i].name, lists[i].max);
    }
    if (p->complaints > MADT_COMPLAINTS)
        log_warn("ACPI: MADT: %u more broken entries", p->complaints - MADT_COMPLAINTS);
}

void INIT acpi_parse_madt(struct acpi_info *info, const struct acpi_memory *mem,
                          const struct acpi_table *table)
{
    struct madt_parser p = {.info = info};
    uint8_t head[MADT_ENTRIES];
    uint32_t at = MADT_ENTRIES;

    if (table->length < MADT_ENTRIES) {
        log_warn("ACPI: MADT has length %u, expected at least %d; ignored", table->length,
                 MADT_ENTRIES);
        return;
    }
    if (acpi_read(mem, table->address, head, sizeof(head)) != 0)
        return;
    info->has_madt = true;
    info->lapic_address = acpi_get32(head + MADT_LAPIC_ADDRESS);
    info->has_8259 = (acpi_get32(head + MADT_FLAGS) & MADT_PCAT_COMPAT) != 0;

    while (table->length - at >= MADT_ENTRY_HEADER) {
        uint8_t entry[MADT_ENTRY_HEADER];

        if (acpi_read(mem, table->address + at, entry, sizeof(entry)) != 0)
            break;
        if (entry[1] < MADT_ENTRY_HEADER || entry[1] > table->length - at) {
            log_warn("ACPI: MADT: entry of type %u at offset %u has length %u, expected 2 to %u; "
                     "the rest of the table is ignored",
                     entry[0], at, entry[1], table->length - at);
            break;
        }
        take_entry(&p, mem, table->address + at, entry[0], entry[1]);
        at += entry[1];
    }
    report_limits(&p);
    if (info->lapic_address == 0 || !IS_ALIGNED(info->lapic_address, PAGE_SIZE_4K)) {
        log_warn("ACPI: MADT: local APIC address 0x%llx is not that of a page; 0x%llx is used",
                 LLU(info->lapic_address), LAPIC_DEFAULT_ADDRESS);
        info->lapic_address = LAPIC_DEFAULT_ADDRESS;
    }
}
