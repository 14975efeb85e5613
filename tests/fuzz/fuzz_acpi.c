/* The parser of the machine's ACPI tables, on an arbitrary physical memory.
 *
 * Input: a byte of flags, then the memory image. It stands at E0000h, where the RSDP is searched,
 * and again at 0; everything else cannot be read. Checksums are hard to guess, so that with
 * FIX_SUMS the reader mends them: a read of 36 bytes that starts a table returns one whose checksum
 * is right for what the image holds. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/acpi/spcr.h"
#include "lib/error.h"
#include "tests/fuzz/require.h"
#include "tests/unit/host_log.h"

#define IMAGE_BASE 0xe0000u
#define IMAGE_MAX  0x20000u
#define FIX_SUMS   0x01
#define AS_COPY    0x02
#define USE_HINT   0x04

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t image[IMAGE_MAX];
static size_t image_size;
static uint64_t reads;

static int image_read(void *ctx, uint64_t pa, void *buf, size_t len)
{
    (void)ctx;
    /* Bounded work: 64 tables by each of two root tables, of up to IMAGE_MAX, read in pieces of 512
     * bytes; MADT entries of two reads each in any of them. */
    REQUIRE(++reads <= 130 * (IMAGE_MAX / 512 + 1) * 4 + 64 * IMAGE_MAX);
    if (pa >= IMAGE_BASE)
        pa -= IMAGE_BASE;
    if (pa > image_size || len > image_size - pa)
        return -BH_EFAULT;
    memcpy(buf, image + pa, len);
    return 0;
}

static void fix(size_t at, size_t len, size_t checksum)
{
    uint8_t sum = 0;

    if (at + len > image_size || checksum >= len)
        return;
    image[at + checksum] = 0;
    for (size_t i = 0; i < len; i++)
        sum = (uint8_t)(sum + image[at + i]);
    image[at + checksum] = (uint8_t)-sum;
}

static uint32_t get32(size_t at)
{
    uint32_t v;

    memcpy(&v, image + at, 4);
    return v;
}

/* Mends whatever looks like a table, from the end to the front: later ones lie in earlier ones. */
static void fix_sums(void)
{
    static const char names[][5] = {"XSDT", "RSDT", "FACP", "APIC", "HPET",
                                    "DSDT", "SSDT", "SPCR", "DBG2"};

    for (size_t at = image_size; at-- > 0;) {
        if (at + 36 > image_size)
            continue;
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            if (memcmp(image + at, names[i], 4) == 0 && get32(at + 4) >= 36 &&
                get32(at + 4) <= image_size - at)
                fix(at, get32(at + 4), 9);
        if (memcmp(image + at, "RSD PTR ", 8) == 0) {
            fix(at, 20, 8);
            fix(at, 36, 32);
        }
    }
}

static void check_register(const struct acpi_register *r, uint8_t max_space)
{
    REQUIRE(r->space <= max_space);
    REQUIRE(r->space != ACPI_SPACE_IO || r->address <= 0xffff);
}

static void check_info(const struct acpi_info *info)
{
    REQUIRE(info->table_count <= ACPI_MAX_TABLES && info->cpu_count <= ACPI_MAX_CPUS);
    REQUIRE(info->ioapic_count <= ACPI_MAX_IOAPICS && info->nmi_count <= ACPI_MAX_NMIS);
    REQUIRE(info->override_count <= ACPI_MAX_OVERRIDES);
    for (unsigned int i = 0; i < info->table_count; i++) {
        const struct acpi_table *t = &info->tables[i];

        REQUIRE(strlen(t->signature) == 4);
        REQUIRE(t->length >= 36 && t->length <= IMAGE_MAX && t->address + t->length > t->address);
    }
    for (unsigned int i = 0; i < info->cpu_count; i++)
        for (unsigned int k = 0; k < i; k++)
            REQUIRE(info->cpus[i].apic_id != info->cpus[k].apic_id);
    for (unsigned int i = 0; i < info->ioapic_count; i++)
        REQUIRE(info->ioapics[i].address != 0);
    REQUIRE(!info->has_madt || (info->lapic_address && info->lapic_address % 4096 == 0));
    REQUIRE(!info->has_s5 || (info->s5_slp_typ_a <= 7 && info->s5_slp_typ_b <= 7));
    REQUIRE(!info->has_hpet || info->hpet_address != 0);
    check_register(&info->pm1a_event, ACPI_SPACE_IO);
    check_register(&info->pm1a_control, ACPI_SPACE_IO);
    check_register(&info->pm_timer, ACPI_SPACE_IO);
    check_register(&info->reset, ACPI_SPACE_PCI);
    for (unsigned int irq = 0; irq < 20; irq++) {
        uint32_t gsi;
        bool level, low;
        int rc = acpi_irq_to_gsi(info, irq, &gsi, &level, &low);

        REQUIRE(rc == 0 || irq >= ACPI_ISA_IRQS);
    }
}

static void check_serial(const struct acpi_info *info, const struct acpi_memory *mem)
{
    enum { MAX_PORTS = 4 };
    struct acpi_serial ports[MAX_PORTS];
    unsigned int count = acpi_find_serial(info, mem, ports, MAX_PORTS);

    REQUIRE(count <= MAX_PORTS);
    for (unsigned int i = 0; i < count; i++) {
        const struct acpi_serial *p = &ports[i];

        REQUIRE(p->space <= ACPI_SPACE_IO && p->address != 0);
        REQUIRE(p->stride == 1 ||
                (p->space == ACPI_SPACE_MEMORY && (p->stride & (p->stride - 1)) == 0));
        REQUIRE(p->stride >= 1 && p->stride <= 4 && p->address <= BIT64(52) - 8u * p->stride);
        REQUIRE(p->space != ACPI_SPACE_IO || p->address <= 0xfff8);
        REQUIRE(!p->is_console || i == 0);
        REQUIRE(!p->is_pci || p->pci_vendor != 0);
        for (unsigned int k = 0; k < i; k++)
            REQUIRE(p->space != ports[k].space || p->address != ports[k].address);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct acpi_memory memory = {.read = image_read};
    static struct acpi_info info;
    int rc;

    if (size < 1 || size - 1 > IMAGE_MAX)
        return 0;
    image_size = size - 1;
    memcpy(image, data + 1, image_size);
    if (data[0] & FIX_SUMS)
        fix_sums();
    host_log_clear();
    reads = 0;
    if (data[0] & AS_COPY) {
        /* On the heap, so that reading too far is noticed. */
        size_t len = image_size < 36 ? image_size : 36;
        uint8_t *copy = malloc(len ? len : 1);

        memcpy(copy, image, len);
        rc = acpi_parse_rsdp_copy(&info, &memory, copy, len);
        free(copy);
    } else {
        rc = acpi_parse(&info, &memory, data[0] & USE_HINT ? IMAGE_BASE : 0);
    }
    if (rc == 0) {
        check_info(&info);
        check_serial(&info, &memory);
    }
    return 0;
}
