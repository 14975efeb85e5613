/* What the tables of real machines have that the specification does not: odd places, tables twice,
 * root tables that disagree, processors in great numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/acpi_machine.h"

static void xsdt(const uint64_t *entries, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++)
        put(XSDT + 36 + i * 8, entries[i], 8);
    table(XSDT, "XSDT", 36 + count * 8, 1);
}

#define XSDT_OF(...)                              \
    do {                                          \
        const uint64_t entries[] = {__VA_ARGS__}; \
        xsdt(entries, ARRAY_SIZE(entries));       \
    } while (0)

static void assert_two_cpus(void)
{
    assert_int_equal(parse(), 0);
    assert_true(info.has_fadt && info.has_madt);
    assert_int_equal(info.cpu_count, 2);
    assert_int_equal(info.ioapic_count, 2);
}

/* Tables at every alignment; the header, the entries, all of it is read byte by byte. */
static void test_unaligned(void **state)
{
    (void)state;
    for (unsigned int shift = 1; shift < 16; shift++) {
        uint64_t base = EXTRA + shift;

        memcpy(ram + base, ram + MADT, madt_end);
        memcpy(ram + base + 0x1000, ram + FADT, 276);
        put(base + 0x2000 + 36, base, 8);
        put(base + 0x2000 + 44, base + 0x1000, 8);
        table(base + 0x2000, "XSDT", 52, 1);
        rsdp_at(RSDP, 2, 0, base + 0x2000);
        assert_two_cpus();
        assert_int_equal(info.pm_timer.address, 0x608);
        assert_string_equal(host_log_text, "");
    }
}

static void test_beyond_4g(void **state)
{
    (void)state;
    put(FADT + 140, RAM_HIGH + DSDT, 8);
    put(FADT + 40, 0, 4);
    table(FADT, "FACP", 276, 6);
    XSDT_OF(RAM_HIGH + FADT, RAM_HIGH + MADT, RAM_HIGH + HPET);
    rsdp_at(RSDP, 2, 0, RAM_HIGH + XSDT);
    assert_two_cpus();
    assert_string_equal(host_log_text, "");
    assert_true(info.has_hpet && info.has_s5);
    assert_int_equal(acpi_find_table(&info, "APIC", 0)->address, RAM_HIGH + MADT);
    assert_int_equal(info.dsdt_address, RAM_HIGH + DSDT);
}

static void test_zero_length(void **state)
{
    (void)state;
    memcpy(ram + EXTRA, "SSDT", 4);     /* length 0 */
    memset(ram + EXTRA + 0x100, 0, 64); /* nothing at all */
    XSDT_OF(EXTRA, EXTRA + 0x100, FADT, MADT);
    assert_two_cpus();
    assert_int_equal(info.table_count, 3);
    assert_logged("table SSDT at 0x300000: length 0, expected");
    assert_logged("table ???? at 0x300100: length 0, expected");
}

/* The first MADT that is of use counts, and nothing of the others. */
static void test_madt_twice(void **state)
{
    (void)state;
    memcpy(ram + EXTRA, ram + MADT, madt_end);
    ram[EXTRA + 44 + 3] = 200; /* another APIC id */
    table(EXTRA, "APIC", madt_end, 4);
    XSDT_OF(FADT, MADT, EXTRA);
    assert_two_cpus();
    assert_int_equal(info.cpus[0].apic_id, 0);
    assert_logged("more than one table APIC");
    XSDT_OF(FADT, EXTRA, MADT);
    assert_two_cpus();
    assert_int_equal(info.cpus[0].apic_id, 200);
    ram[EXTRA + 9] ^= 1; /* bad checksum */
    assert_two_cpus();
    assert_int_equal(info.cpus[0].apic_id, 0);
    table(EXTRA, "APIC", 40, 4); /* sound, but too short */
    assert_two_cpus();
    assert_logged("MADT has length 40");
}

static void test_fadt_twice(void **state)
{
    (void)state;
    memcpy(ram + EXTRA, ram + FADT, 276);
    table(EXTRA, "FACP", 100, 1);
    XSDT_OF(EXTRA, FADT, MADT);
    assert_two_cpus();
    assert_int_equal(info.fadt_revision, 6);
    assert_logged("FADT has length 100");
}

static void test_xsdt_of_no_use(void **state)
{
    (void)state;
    rsdp_at(RSDP, 2, RSDT, 0);
    assert_two_cpus();
    assert_false(info.has_hpet); /* the RSDT names none */
    assert_string_equal(host_log_text, "");

    rsdp_at(RSDP, 2, RSDT, XSDT);
    XSDT_OF(0, 0, 0, 0);
    assert_two_cpus();
    assert_logged("the XSDT names no sound FADT or MADT");
    xsdt(NULL, 0);
    assert_two_cpus();
    /* Rubbish in the upper halves. */
    XSDT_OF(FADT | 0xffffffff00000000, MADT | 0xdeadbeef00000000, HPET);
    assert_two_cpus();
    assert_true(info.has_hpet);

    rsdp_at(RSDP, 2, 0, XSDT);
    XSDT_OF(0, 0);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.table_count, 0);
    rsdp_at(RSDP, 2, RSDT, XSDT);
    ram[RSDT + 9] ^= 1; /* the RSDT is broken, but an XSDT there is */
    assert_int_equal(parse(), 0);
    assert_int_equal(info.table_count, 0);
}

/* Where both name a sound table, the XSDT's counts; the RSDT only completes it. */
static void test_roots_disagree(void **state)
{
    (void)state;
    memcpy(ram + EXTRA, ram + MADT, madt_end);
    ram[EXTRA + 44 + 3] = 200;
    table(EXTRA, "APIC", madt_end, 4);
    XSDT_OF(EXTRA, FADT);
    assert_two_cpus();
    assert_int_equal(info.cpus[0].apic_id, 200);
    assert_string_equal(host_log_text, "");
    assert_null(acpi_find_table(&info, "APIC", 1));

    XSDT_OF(EXTRA); /* no FADT: the RSDT has one, and the other MADT */
    assert_two_cpus();
    assert_int_equal(info.cpus[0].apic_id, 200);
    assert_logged("more than one table APIC");
}

static void test_dsdt_addresses_disagree(void **state)
{
    (void)state;
    put(FADT + 140, 0x7700000000, 8); /* leads nowhere */
    table(FADT, "FACP", 276, 6);
    assert_int_equal(parse(), 0);
    assert_true(info.has_s5);
    assert_int_equal(acpi_find_table(&info, "DSDT", 0)->address, DSDT);
    /* Both sound: the newer field's. */
    memcpy(ram + EXTRA, ram + DSDT, 100);
    put(FADT + 140, EXTRA, 8);
    table(FADT, "FACP", 276, 6);
    assert_int_equal(parse(), 0);
    assert_int_equal(acpi_find_table(&info, "DSDT", 0)->address, EXTRA);
    assert_null(acpi_find_table(&info, "DSDT", 1));
}

/* A table that ends within a field, X_DSDT here: half of an address is none. */
static void test_fadt_cut(void **state)
{
    (void)state;
    put(FADT + 140, 0x4433221100, 8);
    for (uint32_t length = 116; length < 276; length++) {
        table(FADT, "FACP", length, 3);
        assert_int_equal(parse(), 0);
        assert_true(info.has_fadt);
        assert_int_equal(info.dsdt_address, length < 244 ? DSDT : 0x4433221100);
        assert_true(info.reset.address == (length < 129 ? 0 : 0xcf9));
        assert_int_equal(info.pm_timer.address, 0x608);
        assert_true(info.has_s5); /* X_DSDT leads nowhere, DSDT does not */
    }
}

/* ACPI 1.0: RSDP revision 0, RSDT, FADT of 116 bytes and revision 1. */
static void test_acpi_1(void **state)
{
    (void)state;
    rsdp_at(RSDP, 0, RSDT, 0);
    memset(ram + RSDP + 20, 0xff, 16); /* not part of it */
    table(FADT, "FACP", 116, 1);
    assert_two_cpus();
    assert_int_equal(info.rsdp_revision, 0);
    assert_int_equal(info.rsdp_length, 20);
    assert_true(info.has_s5);
    assert_string_equal(host_log_text, "");
    rsdp_at(RSDP, 1, RSDT, 0);
    assert_two_cpus();
}

/* As servers have it: all as x2APIC, the ones below 255 also as local APIC, absent ones in between,
 * and more than the core takes. */
static void test_many_cpus(void **state)
{
    (void)state;
    madt_start();
    for (unsigned int i = 0; i < 300; i++)
        MADT_ADD(9, 16, 0, 0, (uint8_t)(i * 2), (uint8_t)(i >> 7), 0, 0, 1, 0, 0, 0, (uint8_t)i,
                 (uint8_t)(i >> 8), 0, 0);
    for (unsigned int i = 0; i < 127; i++)
        MADT_ADD(0, 8, (uint8_t)i, (uint8_t)(i * 2), 1, 0, 0, 0);
    for (unsigned int i = 0; i < 20; i++) /* slots for plugging in */
        MADT_ADD(9, 16, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 8, 0, 0);
    MADT_ADD(1, 12, 7, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0);
    table(MADT, "APIC", madt_end, 5);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.cpu_count, ACPI_MAX_CPUS);
    for (unsigned int i = 0; i < info.cpu_count; i++) {
        assert_int_equal(info.cpus[i].apic_id, i * 2);
        assert_int_equal(info.cpus[i].uid, i);
    }
    assert_int_equal(info.ioapic_count, 1);
    assert_logged("CPUs more than the limit of 64 are ignored");
}

/* 4,096 entries, as a machine with 8 sockets may have: CPUs that are there, that could be plugged
 * in (ACPI 6.5, table 5.22: bit 1, online capable), that are off; each as local APIC too where its
 * id fits, ids above 255 mostly. */
static void test_thousands_of_cpus(void **state)
{
    uint32_t end = 44, enabled = 0;

    (void)state;
    memset(ram + EXTRA, 0, 44);
    put(EXTRA + 36, 0xfee00000, 4);
    for (uint32_t i = 0; i < 3840; i++, end += 16) {
        uint32_t id = i % 2 ? i : 0x10000 + i;
        uint32_t flags = i < 512 ? 2u : i % 64 == 63 ? 0u : i % 3 == 0 ? 3u : 1u;

        put(EXTRA + end, 0x1009, 4);
        put(EXTRA + end + 4, id, 4);
        put(EXTRA + end + 8, flags, 4);
        put(EXTRA + end + 12, i, 4);
        enabled += flags & 1;
    }
    for (uint32_t i = 0; i < 255; i++, end += 8) {
        put(EXTRA + end, 0x0800 | i << 16 | i << 24, 4);
        put(EXTRA + end + 4, 2, 4);
    }
    put(EXTRA + end, 0x0800 | 0xffu << 24, 8);
    table(EXTRA, "APIC", end + 8, 5);
    put(XSDT + 52, EXTRA, 8);
    table(XSDT, "XSDT", 68, 1);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.cpu_count, ACPI_MAX_CPUS);
    for (unsigned int i = 0; i < info.cpu_count; i++) {
        unsigned int uid = 512 + i + (i == 63);

        assert_int_equal(info.cpus[i].uid, uid);
        assert_int_equal(info.cpus[i].apic_id, uid % 2 ? uid : 0x10000 + uid);
    }
    char line[80];
    snprintf(line, sizeof(line), "%u CPUs more than the limit of 64 are ignored",
             enabled - ACPI_MAX_CPUS);
    assert_logged(line);
    unsigned int lines = 0;
    for (const char *at = host_log_text; (at = strstr(at, "left out")); at++)
        lines++;
    assert_true(lines >= 1 && lines <= 8);
}

/* Local APIC and x2APIC entries in any order, the same CPU in both, one of the two disabled. */
static void test_mixed_cpus(void **state)
{
    (void)state;
    madt_start();
    MADT_ADD(9, 16, 0, 0, 0x01, 0x01, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0); /* 257 */
    MADT_ADD(0, 8, 0, 0, 1, 0, 0, 0);
    MADT_ADD(9, 16, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0);    /* 0 again */
    MADT_ADD(9, 16, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0);    /* 2, disabled */
    MADT_ADD(0, 8, 1, 2, 1, 0, 0, 0);                             /* 2, enabled */
    MADT_ADD(9, 16, 0, 0, 0xff, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0); /* 255 is an x2APIC id */
    table(MADT, "APIC", madt_end, 4);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.cpu_count, 4);
    assert_int_equal(info.cpus[0].apic_id, 257);
    assert_int_equal(info.cpus[1].apic_id, 0);
    assert_int_equal(info.cpus[2].apic_id, 2);
    assert_int_equal(info.cpus[3].apic_id, 255);
}

/* Entries of length 0, and such as end behind the table, end the search and spoil nothing. */
static void test_madt_ends_badly(void **state)
{
    (void)state;
    for (unsigned int length = 0; length < 256; length++) {
        machine(NULL);
        MADT_ADD(9, (uint8_t)length, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0);
        table(MADT, "APIC", madt_end, 4);
        assert_int_equal(parse(), 0);
        /* Below 16 bytes it is none; the rest may look like something. */
        assert_int_equal(info.cpu_count, length == 16 ? 3 : 2);
        assert_int_equal(info.ioapic_count, 2);
    }
}

/* Supermicro X11DAi-N: a DSDT of 19C643h bytes. */
static void test_long_dsdt(void **state)
{
    (void)state;
    dsdt(0x19c643, 0x19c643 - sizeof(s5_aml));
    assert_int_equal(parse(), 0);
    assert_true(info.has_s5);
    assert_string_equal(host_log_text, "");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, machine)
    const struct CMUnitTest tests[] = {
        TEST(test_unaligned),         TEST(test_beyond_4g),
        TEST(test_zero_length),       TEST(test_madt_twice),
        TEST(test_fadt_twice),        TEST(test_xsdt_of_no_use),
        TEST(test_roots_disagree),    TEST(test_dsdt_addresses_disagree),
        TEST(test_fadt_cut),          TEST(test_acpi_1),
        TEST(test_many_cpus),         TEST(test_mixed_cpus),
        TEST(test_madt_ends_badly),   TEST(test_long_dsdt),
        TEST(test_thousands_of_cpus),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
