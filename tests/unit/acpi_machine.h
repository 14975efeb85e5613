#ifndef BULKHEAD_TESTS_UNIT_ACPI_MACHINE_H
#define BULKHEAD_TESTS_UNIT_ACPI_MACHINE_H

/* A machine's firmware memory with sound ACPI tables, for tests that break them. Include cmocka.h
 * and string.h before. */

#include "arch/x86/acpi/acpi.h"
#include "lib/error.h"
#include "tests/unit/host_log.h"

/* Physical memory: 4 MiB, but for the hole. The same bytes stand above 4 GiB once more, at an
 * address of which the lower half leads nowhere. */
#define RAM_HIGH 0x1200800000ull
static uint8_t ram[4 * MIB];
static uint64_t hole, hole_size;
static struct acpi_info info;

static inline int ram_read(void *ctx, uint64_t pa, void *buf, size_t len)
{
    (void)ctx;
    if (pa >= RAM_HIGH)
        pa -= RAM_HIGH;
    if (pa > sizeof(ram) || len > sizeof(ram) - pa)
        return -BH_EFAULT;
    if (hole_size && pa < hole + hole_size && hole < pa + len)
        return -BH_EFAULT;
    memcpy(buf, ram + pa, len);
    return 0;
}

static const struct acpi_memory memory = {.read = ram_read};

enum {
    RSDP = 0xe1230,
    XSDT = 0x100000,
    RSDT = 0x100200,
    FADT = 0x100400,
    MADT = 0x101000,
    HPET = 0x102000,
    DSDT = 0x110000,
    EXTRA = 0x300000
};

static inline void put(uint64_t pa, uint64_t value, unsigned int size)
{
    for (unsigned int i = 0; i < size; i++)
        ram[pa + i] = (uint8_t)(value >> 8 * i);
}

static inline void seal(uint64_t pa, uint64_t length, unsigned int checksum)
{
    uint8_t sum = 0;

    ram[pa + checksum] = 0;
    for (uint64_t i = 0; i < length; i++)
        sum = (uint8_t)(sum + ram[pa + i]);
    ram[pa + checksum] = (uint8_t)-sum;
}

/* Puts length and checksum into a table whose body is already there. */
static inline void table(uint64_t pa, const char *signature, uint32_t length, uint8_t revision)
{
    memcpy(ram + pa, signature, 4);
    put(pa + 4, length, 4);
    ram[pa + 8] = revision;
    seal(pa, length, 9);
}

static inline void rsdp_at(uint64_t pa, uint8_t revision, uint64_t rsdt, uint64_t xsdt)
{
    memset(ram + pa, 0, 36);
    memcpy(ram + pa, "RSD PTR ", 8);
    ram[pa + 15] = revision;
    put(pa + 16, rsdt, 4);
    seal(pa, 20, 8);
    if (revision >= 2) {
        put(pa + 20, 36, 4);
        put(pa + 24, xsdt, 8);
        seal(pa, 36, 32);
    }
}

static uint32_t madt_end;

static inline void madt_add(const uint8_t *entry, size_t len)
{
    memcpy(ram + MADT + madt_end, entry, len);
    madt_end += (uint32_t)len;
}
#define MADT_ADD(...)                                \
    do {                                             \
        const uint8_t entry_bytes[] = {__VA_ARGS__}; \
        madt_add(entry_bytes, sizeof(entry_bytes));  \
    } while (0)

static inline void madt_start(void)
{
    memset(ram + MADT, 0, 0x1000);
    put(MADT + 36, 0xfee00000, 4);
    put(MADT + 40, 1, 4);
    madt_end = 44;
}

static inline void gas(uint64_t pa, uint8_t space, uint8_t width, uint64_t address)
{
    ram[pa] = space;
    ram[pa + 1] = width;
    put(pa + 4, address, 8);
}

static inline void fadt(void)
{
    memset(ram + FADT, 0, 276);
    put(FADT + 40, DSDT, 4);
    put(FADT + 46, 9, 2);
    put(FADT + 48, 0xb2, 4);
    ram[FADT + 52] = 0xf1;
    put(FADT + 56, 0x600, 4);
    put(FADT + 64, 0x604, 4);
    put(FADT + 76, 0x608, 4);
    ram[FADT + 88] = 4;
    ram[FADT + 89] = 2;
    ram[FADT + 91] = 4;
    ram[FADT + 108] = 0x32;
    put(FADT + 109, 0x03, 2);
    put(FADT + 112, BIT(8) | BIT(10), 4);
    gas(FADT + 116, 1, 8, 0xcf9);
    ram[FADT + 128] = 6;
    put(FADT + 140, DSDT, 8);
    gas(FADT + 148, 1, 32, 0x600);
    gas(FADT + 172, 1, 16, 0x604);
    gas(FADT + 208, 1, 32, 0x608);
}

static const uint8_t s5_aml[] = {0x08, '_',  'S',  '5',  '_',  0x12, 0x08,
                                 0x04, 0x0a, 0x05, 0x0a, 0x06, 0x00, 0x00};

static inline void dsdt(uint32_t length, uint32_t s5_offset)
{
    memset(ram + DSDT, 0xa5, length);
    memcpy(ram + DSDT + s5_offset, s5_aml, MIN(sizeof(s5_aml), (size_t)(length - s5_offset)));
    table(DSDT, "DSDT", length, 2);
}

/* A sound machine with two CPUs. */
static inline int machine(void **state)
{
    (void)state;
    memset(ram, 0, sizeof(ram));
    hole_size = 0;
    host_log_clear();
    rsdp_at(RSDP, 2, RSDT, XSDT);
    fadt();
    table(FADT, "FACP", 276, 6);
    madt_start();
    MADT_ADD(0, 8, 0, 0, 1, 0, 0, 0);
    MADT_ADD(0, 8, 1, 2, 1, 0, 0, 0);
    MADT_ADD(0, 8, 2, 4, 0, 0, 0, 0);    /* disabled */
    MADT_ADD(0, 8, 3, 0xff, 1, 0, 0, 0); /* absent */
    MADT_ADD(1, 12, 7, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0);
    MADT_ADD(1, 12, 8, 0, 0, 0x10, 0xc0, 0xfe, 24, 0, 0, 0);
    MADT_ADD(2, 10, 0, 0, 2, 0, 0, 0, 0, 0);
    MADT_ADD(2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0);
    MADT_ADD(4, 6, 0xff, 5, 0, 1);
    table(MADT, "APIC", madt_end, 4);
    put(HPET + 36, 0x8086a201, 4);
    gas(HPET + 40, 0, 64, 0xfed00000);
    put(HPET + 53, 0x80, 2);
    table(HPET, "HPET", 56, 1);
    dsdt(100, 50);
    put(XSDT + 36, FADT, 8);
    put(XSDT + 44, 0, 8);
    put(XSDT + 52, MADT, 8);
    put(XSDT + 60, HPET, 8);
    table(XSDT, "XSDT", 68, 1);
    put(RSDT + 36, FADT, 4);
    put(RSDT + 40, MADT, 4);
    table(RSDT, "RSDT", 44, 1);
    return 0;
}

static inline int parse(void)
{
    host_log_clear();
    return acpi_parse(&info, &memory, 0);
}

static inline void assert_logged(const char *text)
{
    if (!strstr(host_log_text, text))
        fail_msg("log lacks \"%s\":\n%s", text, host_log_text);
}

#endif
