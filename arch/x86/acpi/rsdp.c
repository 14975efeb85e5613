/* The root system description pointer (ACPI 6.5, 5.2.5): finding and checking it. */

#include "arch/x86/acpi/acpi_internal.h"
#include "lib/checksum.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/string.h"

#define RSDP_SIGNATURE      "RSD PTR "
#define RSDP_SIGNATURE_SIZE 8
#define RSDP_REVISION       15
#define RSDP_RSDT           16
#define RSDP_LENGTH         20
#define RSDP_XSDT           24
#define RSDP_V1_SIZE        20
#define RSDP_V2_SIZE        36
#define RSDP_V2_REVISION    2
#define RSDP_STEP           16

static_assert(RSDP_V2_SIZE == ACPI_RSDP_MAX, "room for an RSDP");

/* Where a BIOS leaves it (ACPI 6.5, 5.2.5.1). */
#define BDA_EBDA_SEGMENT  0x40eu
#define EBDA_SEARCH_SIZE  1024u
#define EBDA_LOWEST       0x400u
#define EBDA_HIGHEST      (0xa0000u - EBDA_SEARCH_SIZE)
#define BIOS_SEARCH_START 0xe0000u
#define BIOS_SEARCH_SIZE  0x20000u

int INIT acpi_take_rsdp(struct acpi_info *info, const uint8_t *raw, size_t len,
                        struct acpi_roots *roots)
{
    *roots = (struct acpi_roots){0};
    if (len < RSDP_V1_SIZE) {
        log_warn("ACPI: RSDP has %zu bytes, expected at least %d", len, RSDP_V1_SIZE);
        return -BH_EINVAL;
    }
    if (memcmp(raw, RSDP_SIGNATURE, RSDP_SIGNATURE_SIZE) != 0) {
        log_warn("ACPI: RSDP has a wrong signature, expected \"" RSDP_SIGNATURE "\"");
        return -BH_EINVAL;
    }
    if (byte_sum(raw, RSDP_V1_SIZE) != 0) {
        log_warn("ACPI: RSDP: bytes sum up to 0x%02x, expected 0", byte_sum(raw, RSDP_V1_SIZE));
        return -BH_EINVAL;
    }

    roots->rsdt = acpi_get32(raw + RSDP_RSDT);
    info->rsdp_revision = raw[RSDP_REVISION];
    info->rsdp_length = RSDP_V1_SIZE;
    if (info->rsdp_revision >= RSDP_V2_REVISION) {
        uint32_t length = len < RSDP_V2_SIZE ? 0 : acpi_get32(raw + RSDP_LENGTH);

        /* No version of the specification has a longer one. */
        if (len < RSDP_V2_SIZE || length != RSDP_V2_SIZE) {
            log_warn("ACPI: RSDP revision %u has length %u (%zu bytes given), expected %d: "
                     "its XSDT is ignored",
                     info->rsdp_revision, length, len, RSDP_V2_SIZE);
        } else if (byte_sum(raw, RSDP_V2_SIZE) != 0) {
            log_warn("ACPI: RSDP: all bytes sum up to 0x%02x, expected 0: its XSDT is ignored",
                     byte_sum(raw, RSDP_V2_SIZE));
        } else {
            roots->xsdt = acpi_get64(raw + RSDP_XSDT);
            info->rsdp_length = RSDP_V2_SIZE;
        }
    }
    memcpy(info->rsdp, raw, info->rsdp_length);
    return 0;
}

/* Searches whole chunks; one that cannot be read is passed over. */
static int INIT search(const struct acpi_memory *mem, uint64_t start, uint64_t size, uint64_t *pa)
{
    uint8_t buf[ACPI_CHUNK];
    uint8_t raw[RSDP_V1_SIZE];

    for (uint64_t at = start; at < start + size; at += sizeof(buf)) {
        if (acpi_read(mem, at, buf, sizeof(buf)) != 0)
            continue;
        for (size_t i = 0; i < sizeof(buf); i += RSDP_STEP) {
            if (memcmp(buf + i, RSDP_SIGNATURE, RSDP_SIGNATURE_SIZE) != 0)
                continue;
            /* It may reach into the next chunk. */
            if (acpi_read(mem, at + i, raw, sizeof(raw)) != 0 || byte_sum(raw, sizeof(raw)) != 0)
                continue;
            *pa = at + i;
            return 0;
        }
    }
    return -BH_ENOENT;
}

int INIT acpi_search_rsdp(const struct acpi_memory *mem, uint64_t *pa)
{
    uint8_t segment[2];

    if (acpi_read(mem, BDA_EBDA_SEGMENT, segment, sizeof(segment)) == 0) {
        uint64_t ebda = (uint64_t)acpi_get16(segment) << 4;

        if (ebda >= EBDA_LOWEST && ebda <= EBDA_HIGHEST &&
            search(mem, ebda, EBDA_SEARCH_SIZE, pa) == 0)
            return 0;
    }
    return search(mem, BIOS_SEARCH_START, BIOS_SEARCH_SIZE, pa);
}
