/* The parser of the machine's ACPI tables: sound tables, and each way in which they can be broken.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/error.h"
#include "tests/unit/acpi_machine.h"

static void test_good(void **state)
{
    (void)state;
    assert_int_equal(parse(), 0);
    assert_string_equal(host_log_text, "");
    assert_int_equal(info.rsdp_address, RSDP);
    assert_int_equal(info.rsdp_length, 36);
    assert_int_equal(info.table_count, 4);
    assert_non_null(acpi_find_table(&info, "DSDT", 0));
    assert_null(acpi_find_table(&info, "APIC", 1));
    assert_int_equal(acpi_find_table(&info, "APIC", 0)->address, MADT);

    assert_int_equal(info.cpu_count, 2);
    assert_int_equal(info.cpus[1].apic_id, 2);
    assert_int_equal(info.cpus[1].uid, 1);
    assert_int_equal(info.lapic_address, 0xfee00000);
    assert_true(info.has_8259);
    assert_int_equal(info.ioapic_count, 2);
    assert_int_equal(info.ioapics[1].address, 0xfec01000);
    assert_int_equal(info.ioapics[1].gsi_base, 24);
    assert_int_equal(info.override_count, 2);
    assert_int_equal(info.nmi_count, 1);
    assert_int_equal(info.nmis[0].uid, ACPI_UID_ALL);
    assert_int_equal(info.nmis[0].flags, 5);
    assert_int_equal(info.nmis[0].lint, 1);

    assert_true(info.has_hpet);
    assert_int_equal(info.hpet_address, 0xfed00000);
    assert_int_equal(info.hpet_min_tick, 0x80);
}

static void test_fadt(void **state)
{
    (void)state;
    assert_int_equal(parse(), 0);
    assert_int_equal(info.sci_int, 9);
    assert_int_equal(info.smi_cmd, 0xb2);
    assert_int_equal(info.acpi_enable, 0xf1);
    assert_int_equal(info.pm1a_event.address, 0x600);
    assert_int_equal(info.pm1a_event.length, 4);
    assert_int_equal(info.pm1a_control.address, 0x604);
    assert_int_equal(info.pm1a_control.length, 2);
    assert_int_equal(info.pm1b_control.address, 0);
    assert_int_equal(info.pm_timer.address, 0x608);
    assert_true(info.pm_timer_32bit);
    assert_int_equal(info.reset.space, ACPI_SPACE_IO);
    assert_int_equal(info.reset.address, 0xcf9);
    assert_int_equal(info.reset_value, 6);
    assert_int_equal(info.century, 0x32);
    assert_int_equal(info.iapc_boot_arch, 3);
    assert_true(info.has_s5);
    assert_int_equal(info.s5_slp_typ_a, 5);
    assert_int_equal(info.s5_slp_typ_b, 6);

    /* The X_ fields count; memory space is possible there. */
    gas(FADT + 208, 0, 32, 0xfed80808);
    gas(FADT + 172, 1, 16, 0x10000); /* no such port: the old field is left */
    gas(FADT + 148, 3, 32, 0x600);   /* nor can the core use an embedded controller */
    put(FADT + 112, 0, 4);
    table(FADT, "FACP", 276, 6);
    assert_int_equal(parse(), 0);
    assert_logged("PM1a control block in address space 1 at 0x10000");
    assert_int_equal(info.pm_timer.space, ACPI_SPACE_MEMORY);
    assert_int_equal(info.pm_timer.address, 0xfed80808);
    assert_false(info.pm_timer_32bit);
    assert_int_equal(info.pm1a_control.address, 0x604);
    assert_int_equal(info.pm1a_event.address, 0x600);
    assert_int_equal(info.reset.address, 0); /* not announced by a flag */

    /* No PM timer: its length is 0. */
    ram[FADT + 91] = 0;
    table(FADT, "FACP", 276, 6);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.pm_timer.address, 0);
}

static void test_fadt_revisions(void **state)
{
    (void)state;
    /* A revision 1 table ends before the reset register. */
    table(FADT, "FACP", 116, 1);
    assert_int_equal(parse(), 0);
    assert_true(info.has_fadt);
    assert_int_equal(info.reset.address, 0);
    assert_int_equal(info.pm1a_event.address, 0x600);
    assert_int_equal(info.iapc_boot_arch, ACPI_BOOT_LEGACY_DEVICES | ACPI_BOOT_8042);
    assert_true(info.has_s5);

    table(FADT, "FACP", 115, 1);
    assert_int_equal(parse(), 0);
    assert_false(info.has_fadt);
    assert_false(info.has_s5);
    assert_logged("FADT has length 115, expected at least 116");

    put(FADT + 112, BIT(20), 4);
    gas(FADT + 244, 0, 8, 0xfed81000);
    table(FADT, "FACP", 276, 6);
    assert_int_equal(parse(), 0);
    assert_true(info.hw_reduced);
    assert_int_equal(info.pm1a_event.address, 0);
    assert_int_equal(info.pm_timer.address, 0);
    assert_int_equal(info.sleep_control.address, 0xfed81000);
}

static void test_irq_to_gsi(void **state)
{
    uint32_t gsi;
    bool level, low;

    (void)state;
    MADT_ADD(2, 10, 0, 5, 21, 0, 0, 0, 0x0f, 0);
    table(MADT, "APIC", madt_end, 4);
    assert_int_equal(parse(), 0);
    assert_int_equal(acpi_irq_to_gsi(&info, 0, &gsi, &level, &low), 0);
    assert_true(gsi == 2 && !level && !low);
    assert_int_equal(acpi_irq_to_gsi(&info, 4, &gsi, &level, &low), 0);
    assert_true(gsi == 4 && !level && !low);
    assert_int_equal(acpi_irq_to_gsi(&info, 5, &gsi, &level, &low), 0);
    assert_true(gsi == 21 && level && low);
    assert_int_equal(acpi_irq_to_gsi(&info, 9, &gsi, &level, &low), 0);
    assert_true(gsi == 9 && level && !low);
    assert_int_equal(acpi_irq_to_gsi(&info, 16, &gsi, &level, &low), -BH_EINVAL);

    /* An SCI that nothing overrides, and one above the ISA interrupts. */
    put(FADT + 46, 20, 2);
    table(FADT, "FACP", 276, 6);
    assert_int_equal(parse(), 0);
    assert_int_equal(acpi_irq_to_gsi(&info, 20, &gsi, &level, &low), 0);
    assert_true(gsi == 20 && level && low);
}

static void test_rsdp_search(void **state)
{
    (void)state;
    /* The EBDA comes first; only its first KiB counts. */
    memset(ram + RSDP, 0, 36);
    put(0x40e, 0x9fc0, 2);
    rsdp_at(0x9fc00 + 1008 - 32, 2, 0, XSDT);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.rsdp_address, 0x9fc00 + 1008 - 32);
    memset(ram + 0x9fc00, 0, 0x400);
    assert_int_equal(parse(), -BH_ENOENT);
    assert_logged("no RSDP found");

    /* Not on a 16-byte boundary. */
    rsdp_at(0xe0008, 2, 0, XSDT);
    assert_int_equal(parse(), -BH_ENOENT);
    /* The very last one; revision 0 there has just room for its 20 bytes and no more. */
    rsdp_at(0xfffe0, 0, RSDT, 0);
    hole = 0xfffe0 + 20;
    hole_size = 12;
    assert_int_equal(acpi_parse(&info, &memory, 0xfffe0), 0);
    assert_int_equal(info.rsdp_length, 20);
    hole_size = 0;
    assert_int_equal(parse(), 0);
    assert_int_equal(info.rsdp_address, 0xfffe0);

    /* One with a wrong checksum is passed over. */
    rsdp_at(0xe0010, 2, RSDT, XSDT);
    ram[0xe0010 + 8] ^= 1;
    assert_int_equal(parse(), 0);
    assert_int_equal(info.rsdp_address, 0xfffe0);
    /* A part of the area that cannot be read does not end the search. */
    hole = 0xe0000;
    hole_size = 0x1000;
    assert_int_equal(parse(), 0);
}

static void test_rsdp_hint_and_copy(void **state)
{
    uint8_t copy[36];

    (void)state;
    memcpy(copy, ram + RSDP, 36);
    memset(ram + RSDP, 0, 36);
    assert_int_equal(acpi_parse_rsdp_copy(&info, &memory, copy, 36), 0);
    assert_int_equal(info.rsdp_address, 0);
    assert_int_equal(info.cpu_count, 2);
    assert_memory_equal(info.rsdp, copy, 36);
    /* Too short for its revision: only the RSDT, which names no HPET. */
    assert_int_equal(acpi_parse_rsdp_copy(&info, &memory, copy, 20), 0);
    assert_true(info.has_madt);
    assert_false(info.has_hpet);
    assert_int_equal(acpi_parse_rsdp_copy(&info, &memory, copy, 19), -BH_EINVAL);
    copy[0] = 'X';
    assert_int_equal(acpi_parse_rsdp_copy(&info, &memory, copy, 36), -BH_EINVAL);
    assert_logged("signature");

    rsdp_at(0x200001, 2, 0, XSDT);
    assert_int_equal(acpi_parse(&info, &memory, 0x200001), 0);
    assert_int_equal(info.rsdp_address, 0x200001);
    rsdp_at(RSDP, 2, 0, XSDT);
    assert_int_equal(acpi_parse(&info, &memory, UINT64_MAX - 3), 0);
    assert_int_equal(info.rsdp_address, RSDP);
    assert_logged("searching");
}

static void test_rsdp_broken(void **state)
{
    (void)state;
    ram[RSDP + 32] ^= 1; /* the extended checksum */
    assert_int_equal(parse(), 0);
    assert_logged("XSDT is ignored");
    assert_false(info.has_hpet);
    assert_int_equal(info.rsdp_length, 20);

    rsdp_at(RSDP, 2, RSDT, XSDT);
    put(RSDP + 20, 35, 4);
    seal(RSDP, 35, 32);
    assert_int_equal(parse(), 0);
    assert_logged("length 35");
    put(RSDP + 20, 0xffffffff, 4);
    assert_int_equal(parse(), 0);
    assert_false(info.has_hpet);

    rsdp_at(RSDP, 2, 0, 0);
    assert_int_equal(parse(), -BH_EINVAL);
    assert_logged("neither XSDT");
}

static void test_root_broken(void **state)
{
    (void)state;
    ram[XSDT + 9] ^= 1;
    assert_int_equal(parse(), 0);
    assert_logged("table XSDT at 0x100000: bytes sum up to 0x");
    assert_false(info.has_hpet);
    assert_true(info.has_madt);
    memcpy(ram + RSDT, "RSDX", 4);
    assert_int_equal(parse(), -BH_EINVAL);
    assert_logged("signature RSDX, expected RSDT");
}

static void test_table_broken(void **state)
{
    static const uint32_t lengths[] = {0, 35, 8 * MIB + 1, 0xffffffff};

    (void)state;
    ram[MADT + 50] ^= 0x10;
    assert_int_equal(parse(), 0);
    assert_false(info.has_madt);
    assert_int_equal(info.cpu_count, 0);
    assert_true(info.has_fadt && info.has_hpet);
    assert_logged("table APIC at 0x101000: bytes sum up to 0x");

    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        put(MADT + 4, lengths[i], 4);
        assert_int_equal(parse(), 0);
        assert_false(info.has_madt);
        assert_logged("expected 36 to 8388608");
    }
    memcpy(ram + MADT, "\x01\x80 %", 4);
    assert_int_equal(parse(), 0);
    assert_logged("table ???%");

    /* Ends behind readable memory; begins there; wraps. */
    put(XSDT + 44, sizeof(ram) - 40, 8);
    memcpy(ram + sizeof(ram) - 40, "SSDT\x29\0\0", 8);
    put(XSDT + 52, 0x7000000000, 8);
    put(XSDT + 60, UINT64_MAX - 8, 8);
    table(XSDT, "XSDT", 68, 1);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.table_count, 2);
    assert_logged("table SSDT at 0x3fffd8: its 41 bytes cannot be read");
    assert_logged("at 0x7000000000: its header cannot be read");
    assert_logged("at 0xfffffffffffffff7: its header cannot be read");
}

static void test_table_limits(void **state)
{
    (void)state;
    /* The same table again and again counts once; 65 different ones are one too many. */
    for (unsigned int i = 0; i < 80; i++)
        put(XSDT + 36 + i * 8, FADT, 8);
    memset(ram + RSDT, 0, 0x100);
    fadt();
    table(FADT + 0x200, "FACP", 276, 6);
    for (unsigned int i = 0; i < 65; i++) {
        put(EXTRA + i * 64, 0, 8);
        table(EXTRA + i * 64, "SSDT", 36, 1);
        put(0x200000 + 36 + i * 8, EXTRA + i * 64, 8);
    }
    table(0x200000, "XSDT", 36 + 65 * 8, 1);
    rsdp_at(RSDP, 2, 0, 0x200000);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.table_count, 64);
    assert_logged("XSDT has 65 entries, the limit is 64");

    for (unsigned int i = 0; i < 64; i++)
        put(0x200000 + 36 + i * 8, EXTRA, 8);
    table(0x200000, "XSDT", 36 + 64 * 8 + 3, 1);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.table_count, 1);
    assert_logged("515 bytes of entries, not a multiple of 8");
    assert_non_null(acpi_find_table(&info, "SSDT", 0));
}

static void test_madt_entries(void **state)
{
    (void)state;
    madt_start();
    put(MADT + 40, 0, 4);
    MADT_ADD(5, 12, 0, 0, 0, 0, 0xe1, 0xfe, 0, 0, 0, 0);
    MADT_ADD(9, 16, 0, 0, 0x00, 0x01, 0, 0, 1, 0, 0, 0, 0x34, 0x12, 0, 0);
    MADT_ADD(9, 16, 0, 0, 0x00, 0x01, 0, 0, 1, 0, 0, 0, 0x34, 0x12, 0, 0); /* the same again */
    MADT_ADD(0, 8, 9, 3, 2, 0, 0, 0);                                      /* online capable */
    MADT_ADD(0, 8, 10, 4, 0, 0, 0, 0);                                     /* disabled */
    MADT_ADD(9, 16, 0, 0, 10, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0); /* as x2APIC it is enabled */
    MADT_ADD(0, 8, 4, 10, 1, 0, 0, 0);                          /* and again */
    MADT_ADD(0, 8, 5, 255, 1, 0, 0, 0);                         /* no APIC id */
    MADT_ADD(10, 12, 0, 0, 0x34, 0x12, 0, 0, 0, 0, 0, 0);
    MADT_ADD(0x7f, 4, 1, 2);                  /* unknown */
    MADT_ADD(2, 10, 1, 3, 3, 0, 0, 0, 0, 0);  /* not ISA */
    MADT_ADD(2, 10, 0, 16, 3, 0, 0, 0, 0, 0); /* no such interrupt */
    MADT_ADD(2, 10, 0, 7, 30, 0, 0, 0, 0, 0);
    MADT_ADD(2, 10, 0, 7, 31, 0, 0, 0, 0, 0);      /* twice */
    MADT_ADD(4, 6, 0xff, 0, 0, 2);                 /* LINT2 */
    MADT_ADD(1, 12, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0); /* address 0 */
    MADT_ADD(0, 6, 5, 5, 1, 0);                    /* short */
    table(MADT, "APIC", madt_end, 4);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.lapic_address, 0xfee10000);
    assert_false(info.has_8259);
    assert_int_equal(info.cpu_count, 2);
    assert_int_equal(info.cpus[0].apic_id, 0x100);
    assert_int_equal(info.cpus[0].uid, 0x1234);
    assert_int_equal(info.cpus[1].apic_id, 10);
    assert_int_equal(info.cpus[1].uid, 4);
    assert_int_equal(info.nmi_count, 1);
    assert_int_equal(info.nmis[0].uid, 0x1234);
    assert_int_equal(info.override_count, 1);
    assert_int_equal(info.overrides[0].gsi, 30);
    assert_int_equal(info.ioapic_count, 0);
    assert_logged("override of bus 1 interrupt 3");
    assert_logged("second override of interrupt 7");
    assert_logged("input 2, expected 0 or 1");
    assert_logged("I/O APIC 1 has address 0");
    assert_logged("local APIC entry has length 6, expected 8");
}

static void test_madt_broken(void **state)
{
    static const uint8_t last_lengths[] = {0, 1, 9};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(last_lengths); i++) {
        madt_start();
        MADT_ADD(0, 8, 0, 0, 1, 0, 0, 0);
        MADT_ADD(0, last_lengths[i], 1, 1, 1, 0, 0, 0);
        table(MADT, "APIC", madt_end, 4);
        assert_int_equal(parse(), 0);
        assert_int_equal(info.cpu_count, 1);
        assert_logged("type 0 at offset 52 has length");
    }
    /* A single byte at the end is no entry. */
    table(MADT, "APIC", 53, 4);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.cpu_count, 1);

    table(MADT, "APIC", 43, 4);
    assert_int_equal(parse(), 0);
    assert_false(info.has_madt);
    assert_logged("MADT has length 43");

    madt_start();
    put(MADT + 36, 0xfee00001, 4);
    table(MADT, "APIC", 44, 4);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.lapic_address, 0xfee00000);
}

static void test_madt_limits(void **state)
{
    (void)state;
    madt_start();
    for (uint8_t i = 0; i < 70; i++)
        MADT_ADD(0, 8, i, i, 1, 0, 0, 0);
    for (uint8_t i = 0; i < 17; i++)
        MADT_ADD(1, 12, i, 0, 0, i, 0xc0, 0xfe, i, 0, 0, 0);
    for (uint8_t i = 0; i < 18; i++)
        MADT_ADD(4, 6, i, 0, 0, 1);
    for (uint8_t i = 0; i < 20; i++)
        MADT_ADD(0, 2);
    table(MADT, "APIC", madt_end, 4);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.cpu_count, 64);
    assert_int_equal(info.ioapic_count, 16);
    assert_int_equal(info.nmi_count, 16);
    assert_logged("6 CPUs more than the limit of 64");
    assert_logged("the CPU with APIC id 64 is one more than the limit of 64");
    assert_logged("the CPU with APIC id 69 is one more than the limit of 64");
    assert_logged("1 I/O APICs more than the limit of 16");
    assert_logged("2 NMIs more than the limit of 16");
    assert_logged("12 more broken entries");
}

static void test_hpet_broken(void **state)
{
    (void)state;
    gas(HPET + 40, 1, 64, 0x400);
    table(HPET, "HPET", 56, 1);
    assert_int_equal(parse(), 0);
    assert_false(info.has_hpet);
    assert_logged("HPET in address space 1");
    gas(HPET + 40, 0, 64, 0xfed00008);
    table(HPET, "HPET", 56, 1);
    assert_int_equal(parse(), 0);
    assert_false(info.has_hpet);
    table(HPET, "HPET", 55, 1);
    assert_int_equal(parse(), 0);
    assert_logged("length 55");
}

/* Found wherever it stands with respect to the chunks that are read, up to the last byte. */
static void test_s5_positions(void **state)
{
    (void)state;
    for (uint32_t at = 500; at < 600; at++) {
        dsdt(1600, at);
        assert_int_equal(parse(), 0);
        assert_true(info.has_s5);
        assert_int_equal(info.s5_slp_typ_b, 6);
    }
    dsdt(MIB, MIB - sizeof(s5_aml));
    assert_int_equal(parse(), 0);
    assert_true(info.has_s5);
    /* Cut off inside the second value. */
    dsdt(1000, 1000 - 3);
    assert_int_equal(parse(), 0);
    assert_false(info.has_s5);
    for (uint32_t cut = 1; cut < 12; cut++) {
        dsdt(1000, 1000 - cut);
        assert_int_equal(parse(), 0);
        assert_false(info.has_s5);
        assert_logged("no usable \\_S5");
    }
}

static void s5_bytes(const uint8_t *aml, size_t len)
{
    memset(ram + DSDT + 40, 0xa5, 100);
    memcpy(ram + DSDT + 40, aml, len);
    table(DSDT, "DSDT", 140, 2);
    assert_int_equal(parse(), 0);
}
#define S5(...)                              \
    do {                                     \
        const uint8_t aml[] = {__VA_ARGS__}; \
        s5_bytes(aml, sizeof(aml));          \
    } while (0)

static void test_s5_encodings(void **state)
{
    (void)state;
    /* With the root prefix, two-byte package length, ZeroOp and OneOp. */
    S5(0x08, 0x5c, '_', 'S', '5', '_', 0x12, 0x47, 0x00, 0x04, 0x01, 0x00, 0x00, 0x00);
    assert_true(info.has_s5);
    assert_int_equal(info.s5_slp_typ_a, 1);
    assert_int_equal(info.s5_slp_typ_b, 0);
    /* One value serves both; a word constant. */
    S5(0x08, '_', 'S', '5', '_', 0x12, 0x05, 0x01, 0x0b, 0x07, 0x00);
    assert_true(info.has_s5);
    assert_int_equal(info.s5_slp_typ_b, 7);
    /* A reference by name is not one; nor a package, a value over 7, or an empty package. */
    S5(0x10, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x0a, 0x05, 0x0a, 0x05);
    assert_false(info.has_s5);
    S5(0x08, '_', 'S', '5', '_', 0x11, 0x06, 0x04, 0x0a, 0x05, 0x0a, 0x05);
    assert_false(info.has_s5);
    S5(0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x0a, 0x08, 0x0a, 0x05);
    assert_false(info.has_s5);
    assert_logged("values 8 and 5");
    S5(0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x02, 0xff, 0xff);
    assert_false(info.has_s5);
    S5(0x08, '_', 'S', '5', '_', 0x12, 0x02, 0x00, 0x00, 0x00);
    assert_false(info.has_s5);
    S5(0x08, '_', 'S', '5', '_', 0x12, 0x02, 0x04, '_', 'X', 'Y', 'Z');
    assert_false(info.has_s5);

    /* Only an SSDT has it. */
    memcpy(ram + EXTRA + 36, s5_aml, sizeof(s5_aml));
    table(EXTRA, "SSDT", 36 + sizeof(s5_aml), 2);
    put(XSDT + 44, EXTRA, 8);
    table(XSDT, "XSDT", 68, 1);
    assert_int_equal(parse(), 0);
    assert_true(info.has_s5);
}

static void test_dsdt_broken(void **state)
{
    (void)state;
    memcpy(ram + DSDT, "DSDX", 4);
    assert_int_equal(parse(), 0);
    assert_false(info.has_s5);
    assert_logged("signature DSDX, expected DSDT");
    dsdt(100, 50);
    ram[DSDT + 99] ^= 1;
    assert_int_equal(parse(), 0);
    assert_false(info.has_s5);
    assert_logged("table DSDT at 0x110000: bytes sum up to");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, machine)
    const struct CMUnitTest tests[] = {
        TEST(test_good),         TEST(test_fadt),         TEST(test_fadt_revisions),
        TEST(test_irq_to_gsi),   TEST(test_rsdp_search),  TEST(test_rsdp_hint_and_copy),
        TEST(test_rsdp_broken),  TEST(test_root_broken),  TEST(test_table_broken),
        TEST(test_table_limits), TEST(test_madt_entries), TEST(test_madt_broken),
        TEST(test_madt_limits),  TEST(test_hpet_broken),  TEST(test_s5_positions),
        TEST(test_s5_encodings), TEST(test_dsdt_broken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
