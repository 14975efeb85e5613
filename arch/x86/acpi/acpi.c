/* Walks the machine's ACPI tables from the RSDP on. */

#include "arch/x86/acpi/acpi.h"

#include "arch/x86/acpi/acpi_internal.h"
#include "lib/checksum.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/string.h"

#define XSDT_ENTRY_SIZE 8
#define RSDT_ENTRY_SIZE 4

uint16_t INIT acpi_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

uint32_t INIT acpi_get32(const uint8_t *p)
{
    return acpi_get16(p) | (uint32_t)acpi_get16(p + 2) << 16;
}

uint64_t INIT acpi_get64(const uint8_t *p)
{
    return acpi_get32(p) | (uint64_t)acpi_get32(p + 4) << 32;
}

int INIT acpi_read(const struct acpi_memory *mem, uint64_t pa, void *buf, size_t len)
{
    if (pa + len < pa)
        return -BH_ERANGE;
    return mem->read(mem->ctx, pa, buf, len);
}

static void INIT copy_signature(char out[5], const uint8_t *raw)
{
    for (unsigned int i = 0; i < 4; i++)
        out[i] = raw[i] > ' ' && raw[i] <= '~' ? (char)raw[i] : '?';
    out[4] = '\0';
}

static int INIT checksum(const struct acpi_memory *mem, const struct acpi_table *table,
                         uint8_t *sum)
{
    uint8_t buf[ACPI_CHUNK];

    *sum = 0;
    for (uint32_t at = 0; at < table->length;) {
        size_t len = MIN(sizeof(buf), (size_t)(table->length - at));
        int rc = acpi_read(mem, table->address + at, buf, len);

        if (rc != 0)
            return rc;
        *sum = (uint8_t)(*sum + byte_sum(buf, len));
        at += (uint32_t)len;
    }
    return 0;
}

int INIT acpi_check_table(const struct acpi_memory *mem, uint64_t pa, const char *expected,
                          struct acpi_table *out)
{
    uint8_t header[ACPI_HEADER_SIZE];
    const char *name = expected ? expected : "?";
    uint8_t sum;
    int rc = acpi_read(mem, pa, header, sizeof(header));

    if (rc != 0) {
        log_warn("ACPI: table %s at 0x%llx: its header cannot be read; ignored", name, LLU(pa));
        return rc;
    }
    copy_signature(out->signature, header);
    out->length = acpi_get32(header + ACPI_HEADER_LENGTH);
    out->address = pa;
    if (expected && strcmp(out->signature, expected) != 0) {
        log_warn("ACPI: table at 0x%llx: signature %s, expected %s; ignored", LLU(pa),
                 out->signature, expected);
        return -BH_EINVAL;
    }
    if (out->length < ACPI_HEADER_SIZE || out->length > ACPI_TABLE_SIZE_MAX ||
        pa + out->length < pa) {
        log_warn("ACPI: table %s at 0x%llx: length %u, expected %d to %llu; ignored",
                 out->signature, LLU(pa), out->length, ACPI_HEADER_SIZE, ACPI_TABLE_SIZE_MAX);
        return -BH_EINVAL;
    }
    rc = checksum(mem, out, &sum);
    if (rc != 0) {
        log_warn("ACPI: table %s at 0x%llx: its %u bytes cannot be read; ignored", out->signature,
                 LLU(pa), out->length);
        return rc;
    }
    if (sum != 0) {
        log_warn("ACPI: table %s at 0x%llx: bytes sum up to 0x%02x, expected 0; ignored",
                 out->signature, LLU(pa), sum);
        return -BH_EINVAL;
    }
    return 0;
}

static void INIT add_table(struct acpi_info *info, const struct acpi_memory *mem, uint64_t pa,
                           const char *expected)
{
    for (unsigned int i = 0; i < info->table_count; i++)
        if (info->tables[i].address == pa)
            return;
    if (info->table_count == ACPI_MAX_TABLES) {
        log_warn("ACPI: table at 0x%llx: there are more than %d tables; ignored", LLU(pa),
                 ACPI_MAX_TABLES);
        return;
    }
    if (acpi_check_table(mem, pa, expected, &info->tables[info->table_count]) == 0)
        info->table_count++;
}

static int INIT walk_root(struct acpi_info *info, const struct acpi_memory *mem, uint64_t pa,
                          const char *name, unsigned int entry_size)
{
    struct acpi_table root;
    int rc = acpi_check_table(mem, pa, name, &root);

    if (rc != 0)
        return rc;

    uint32_t bytes = root.length - ACPI_HEADER_SIZE;
    uint32_t count = bytes / entry_size;

    if (bytes % entry_size != 0)
        log_warn("ACPI: %s has %u bytes of entries, not a multiple of %u", name, bytes, entry_size);
    if (count > ACPI_MAX_TABLES) {
        log_warn("ACPI: %s has %u entries, the limit is %d; the rest is ignored", name, count,
                 ACPI_MAX_TABLES);
        count = ACPI_MAX_TABLES;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint8_t raw[XSDT_ENTRY_SIZE] = {0};

        if (acpi_read(mem, pa + ACPI_HEADER_SIZE + i * entry_size, raw, entry_size) != 0)
            continue;
        /* Firmware leaves unused entries 0. */
        if (acpi_get64(raw) != 0)
            add_table(info, mem, acpi_get64(raw), NULL);
    }
    return 0;
}

const struct acpi_table *acpi_find_table(const struct acpi_info *info, const char *signature,
                                         unsigned int nth)
{
    for (unsigned int i = 0; i < info->table_count; i++)
        if (strcmp(info->tables[i].signature, signature) == 0 && nth-- == 0)
            return &info->tables[i];
    return NULL;
}

/* SSDTs may define \_S5, too; firmware mostly has it in the DSDT, so that comes first. */
static void INIT find_s5(struct acpi_info *info, const struct acpi_memory *mem)
{
    static const char *const aml_tables[] = {"DSDT", "SSDT"};

    for (unsigned int k = 0; k < ARRAY_SIZE(aml_tables); k++) {
        for (unsigned int i = 0; i < info->table_count && !info->has_s5; i++)
            if (strcmp(info->tables[i].signature, aml_tables[k]) == 0)
                acpi_scan_s5(info, mem, &info->tables[i]);
    }
    if (info->has_fadt && !info->has_s5)
        log_warn("ACPI: no usable \\_S5 object: the machine cannot be switched off");
}

/* Fills the list of tables. The XSDT counts (ACPI 6.5, 5.2.5.3); but there are such as are empty or
 * lead nowhere, so that the RSDT is asked, too, when no machine could do with what there is. */
static int INIT list_tables(struct acpi_info *info, const struct acpi_memory *mem,
                            const struct acpi_roots *roots)
{
    int rc = -BH_EINVAL;

    if (roots->xsdt != 0)
        rc = walk_root(info, mem, roots->xsdt, "XSDT", XSDT_ENTRY_SIZE);
    if (rc == 0 && acpi_find_table(info, "FACP", 0) && acpi_find_table(info, "APIC", 0))
        return 0;
    if (roots->rsdt == 0)
        return rc;
    if (rc == 0)
        log_warn("ACPI: the XSDT names no sound FADT or MADT: those of the RSDT are added");
    return walk_root(info, mem, roots->rsdt, "RSDT", RSDT_ENTRY_SIZE) == 0 ? 0 : rc;
}

/* Has the first table of a kind parsed that is of use; `found` says whether it was. */
static void INIT parse_first(struct acpi_info *info, const struct acpi_memory *mem,
                             const char *signature, const bool *found,
                             void (*parse)(struct acpi_info *info, const struct acpi_memory *mem,
                                           const struct acpi_table *table))
{
    const struct acpi_table *table;
    unsigned int nth = 0;

    while (!*found && (table = acpi_find_table(info, signature, nth++)) != NULL)
        parse(info, mem, table);
    if (acpi_find_table(info, signature, nth))
        log_info("ACPI: more than one table %s: the first that is of use counts", signature);
}

static int INIT parse_tables(struct acpi_info *info, const struct acpi_memory *mem,
                             const struct acpi_roots *roots)
{
    if (list_tables(info, mem, roots) != 0) {
        log_error("ACPI: neither XSDT (0x%llx) nor RSDT (0x%llx) is usable", LLU(roots->xsdt),
                  LLU(roots->rsdt));
        return -BH_EINVAL;
    }
    parse_first(info, mem, "FACP", &info->has_fadt, acpi_parse_fadt);
    parse_first(info, mem, "APIC", &info->has_madt, acpi_parse_madt);
    parse_first(info, mem, "HPET", &info->has_hpet, acpi_parse_hpet);
    if (info->dsdt_address != 0)
        add_table(info, mem, info->dsdt_address, "DSDT");
    if (info->dsdt_address_old != 0 && !acpi_find_table(info, "DSDT", 0))
        add_table(info, mem, info->dsdt_address_old, "DSDT");
    find_s5(info, mem);
    return 0;
}

int INIT acpi_parse_rsdp_copy(struct acpi_info *out, const struct acpi_memory *mem,
                              const void *rsdp, size_t len)
{
    struct acpi_roots roots;

    memset(out, 0, sizeof(*out));
    int rc = acpi_take_rsdp(out, rsdp, len, &roots);

    return rc != 0 ? rc : parse_tables(out, mem, &roots);
}

/* Reads as much of an RSDP as there is: a version 1 one may stand at the end of readable memory. */
static int INIT read_rsdp(struct acpi_info *info, const struct acpi_memory *mem, uint64_t pa,
                          struct acpi_roots *roots)
{
    static const size_t sizes[] = {ACPI_RSDP_MAX, 20};
    uint8_t raw[ACPI_RSDP_MAX];

    for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
        if (acpi_read(mem, pa, raw, sizes[i]) == 0) {
            info->rsdp_address = pa;
            return acpi_take_rsdp(info, raw, sizes[i], roots);
        }
    }
    log_warn("ACPI: RSDP at 0x%llx cannot be read", LLU(pa));
    return -BH_EINVAL;
}

int INIT acpi_parse(struct acpi_info *out, const struct acpi_memory *mem, uint64_t rsdp_hint)
{
    struct acpi_roots roots;
    uint64_t pa;

    memset(out, 0, sizeof(*out));
    if (rsdp_hint != 0) {
        if (read_rsdp(out, mem, rsdp_hint, &roots) == 0)
            return parse_tables(out, mem, &roots);
        log_warn("ACPI: the boot loader's RSDP address 0x%llx is wrong; searching", LLU(rsdp_hint));
    }
    if (acpi_search_rsdp(mem, &pa) != 0 || read_rsdp(out, mem, pa, &roots) != 0) {
        out->rsdp_address = 0;
        log_error("ACPI: no RSDP found");
        return -BH_ENOENT;
    }
    return parse_tables(out, mem, &roots);
}

int acpi_irq_to_gsi(const struct acpi_info *info, unsigned int isa_irq, uint32_t *gsi, bool *level,
                    bool *active_low)
{
    bool is_sci = info->has_fadt && isa_irq == info->sci_int;
    uint16_t flags = 0;

    if (isa_irq >= ACPI_ISA_IRQS && !is_sci)
        return -BH_EINVAL;
    *gsi = isa_irq;
    for (unsigned int i = 0; i < info->override_count; i++) {
        if (info->overrides[i].irq == isa_irq) {
            *gsi = info->overrides[i].gsi;
            flags = info->overrides[i].flags;
        }
    }
    /* The SCI is shareable: active low and level unless the MADT says otherwise (ACPI 6.5,
     * 5.2.9, SCI_INT). */
    *level = is_sci;
    *active_low = is_sci;
    if ((flags & ACPI_INTI_TRIGGER_MASK) != 0)
        *level = (flags & ACPI_INTI_TRIGGER_MASK) == ACPI_INTI_LEVEL;
    if ((flags & ACPI_INTI_POLARITY_MASK) != 0)
        *active_low = (flags & ACPI_INTI_POLARITY_MASK) == ACPI_INTI_ACTIVE_LOW;
    return 0;
}
