/* The ACPI tables that the virtual PC's guests get, read back with the parser that reads the
 * machine's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "arch/x86/acpi/acpi.h"
#include "tests/unit/host_log.h"
#include "tests/unit/loader_fake.h"
#include "vmm/config.h"
#include "vmm/devices/acpi_pm.h"
#include "vmm/devices/rtc.h"
#include "vmm/loader/guest_acpi.h"

static struct vm vm;
static struct acpi_info info;

static int vm_read(void *ctx, uint64_t pa, void *buf, size_t len)
{
    return guest_read(ctx, pa, buf, len);
}

static const struct acpi_memory memory = {.read = vm_read, .ctx = &vm};

static void build(unsigned int vcpus)
{
    uint64_t rsdp = 0;

    fake_vm_open(&vm, 2 * MIB, 0);
    /* What was there before must not shine through. */
    memset(vm.low_mem, 0xee, 2 * MIB);
    host_log_clear();
    assert_int_equal(guest_acpi_build(&vm, vcpus, &rsdp), 0);
    assert_int_equal(rsdp, 0xf0000);
    /* By address, and as a guest without a hint finds it. */
    assert_int_equal(acpi_parse(&info, &memory, rsdp), 0);
    assert_int_equal(acpi_parse(&info, &memory, 0), 0);
    assert_int_equal(info.rsdp_address, rsdp);
    assert_string_equal(host_log_text, "");
}

static void test_tables(void **state)
{
    (void)state;
    build(1);
    assert_int_equal(info.rsdp_length, 36);
    assert_int_equal(info.table_count, 3);
    for (unsigned int i = 0; i < info.table_count; i++) {
        assert_true(info.tables[i].address >= GUEST_BIOS_BASE);
        assert_true(info.tables[i].address + info.tables[i].length <= GUEST_BIOS_END);
    }
    assert_int_equal(info.facs_address % 64, 0);
    assert_memory_equal(vm.low_mem + info.facs_address, "FACS\x40\0\0\0", 8);
    fake_vm_close(&vm);
}

static void test_fadt(void **state)
{
    (void)state;
    build(1);
    assert_true(info.has_fadt);
    assert_int_equal(info.fadt_revision, 6);
    assert_int_equal(info.sci_int, 9);
    assert_int_equal(info.sci_int, GUEST_PM_SCI_IRQ);
    assert_int_equal(info.smi_cmd, 0);
    assert_int_equal(info.pm1a_event.space, ACPI_SPACE_IO);
    assert_int_equal(info.pm1a_event.address, GUEST_PM_BASE);
    assert_int_equal(info.pm1a_event.length, 4);
    assert_int_equal(info.pm1a_control.address, 0x604);
    assert_int_equal(info.pm1a_control.length, 2);
    assert_int_equal(info.pm_timer.address, 0x608);
    assert_int_equal(info.pm_timer.address, GUEST_PM_TMR);
    assert_int_equal(info.pm_timer.length, GUEST_PM_TMR_LEN);
    assert_true(info.pm_timer_32bit);
    assert_int_equal(info.reset.address, 0xcf9);
    assert_int_equal(info.reset_value, 6);
    assert_int_equal(info.century, RTC_CENTURY);
    assert_int_equal(info.iapc_boot_arch, ACPI_BOOT_LEGACY_DEVICES | ACPI_BOOT_NO_VGA);
    assert_false(info.hw_reduced);
    assert_true(info.has_s5);
    assert_int_equal(info.s5_slp_typ_a, GUEST_PM_S5_SLP_TYP);

    /* Old and extended fields say the same. */
    const uint8_t *fadt = vm.low_mem + acpi_find_table(&info, "FACP", 0)->address;
    static const struct {
        unsigned int old, extended, length;
    } blocks[] = {{56, 148, 88}, {64, 172, 89}, {76, 208, 91}};

    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        assert_memory_equal(fadt + blocks[i].old, fadt + blocks[i].extended + 4, 4);
        assert_int_equal(fadt[blocks[i].extended + 1], fadt[blocks[i].length] * 8);
    }
    assert_memory_equal(fadt + 40, fadt + 140, 4);
    fake_vm_close(&vm);
}

/* What acpi_parse() accepts has good checksums; a warning would be in the log. */
static void check_madt(unsigned int vcpus, unsigned int ioapic_id)
{
    const struct acpi_table *madt;
    uint32_t gsi;
    bool level, low;

    build(vcpus);
    assert_true(info.has_madt && info.has_8259);
    madt = acpi_find_table(&info, "APIC", 0);
    assert_int_equal(madt->length, 44 + vcpus * 8 + 12 + 2 * 10 + 6);
    /* Nothing stands behind it that a shorter one does not leave there, too. */
    assert_int_equal(vm.low_mem[madt->address + madt->length], 0xee);
    assert_int_equal(info.cpu_count, vcpus);
    for (unsigned int i = 0; i < vcpus; i++) {
        assert_int_equal(info.cpus[i].apic_id, i);
        assert_int_equal(info.cpus[i].uid, i);
    }
    assert_int_equal(info.lapic_address, 0xfee00000);
    assert_int_equal(info.ioapic_count, 1);
    assert_int_equal(info.ioapics[0].id, ioapic_id);
    assert_int_equal(info.ioapics[0].address, 0xfec00000);
    assert_int_equal(info.ioapics[0].gsi_base, 0);
    assert_int_equal(acpi_irq_to_gsi(&info, 0, &gsi, &level, &low), 0);
    assert_true(gsi == 2 && !level && !low);
    assert_int_equal(acpi_irq_to_gsi(&info, 9, &gsi, &level, &low), 0);
    assert_true(gsi == 9 && level && !low);
    assert_int_equal(info.override_count, 2);
    assert_int_equal(info.overrides[1].flags, 0x0d);
    assert_int_equal(info.nmi_count, 1);
    assert_int_equal(info.nmis[0].lint, 1);
    assert_int_equal(info.nmis[0].uid, ACPI_UID_ALL);
    fake_vm_close(&vm);
}

static void test_madt(void **state)
{
    (void)state;
    check_madt(1, 1);
    check_madt(2, 2);
    check_madt(15, 15);
    check_madt(16, 0);
    check_madt(64, 0);
    static_assert(VM_MAX_VCPUS == 64, "the largest is checked");
}

/* A smaller VM's table over a larger one's, as when memory is used again. */
static void test_madt_again(void **state)
{
    uint64_t rsdp;

    (void)state;
    build(64);
    assert_int_equal(guest_acpi_build(&vm, 3, &rsdp), 0);
    assert_int_equal(acpi_parse(&info, &memory, rsdp), 0);
    assert_int_equal(info.cpu_count, 3);
    assert_int_equal(info.ioapics[0].id, 3);
    assert_string_equal(host_log_text, "");
    fake_vm_close(&vm);
}

static void test_errors(void **state)
{
    uint64_t rsdp;

    (void)state;
    /* Less than the BIOS area. */
    fake_vm_open(&vm, 0xf1000, 0);
    assert_int_equal(guest_acpi_build(&vm, 1, &rsdp), -BH_EFAULT);
    fake_vm_close(&vm);
}

static void save(const char *dir, const char *name, uint64_t gpa, uint32_t length)
{
    char path[200];

    snprintf(path, sizeof(path), "%s/%s.aml", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(vm.low_mem + gpa, 1, length, f), length);
    fclose(f);
}

/* ACPICA's own disassembler takes every table without a complaint. */
static void test_disassembler(void **state)
{
    char dir[] = "/tmp/guest-acpi-XXXXXX";
    char command[400];

    (void)state;
    if (system("command -v iasl >/dev/null 2>&1") != 0)
        skip();
    assert_non_null(mkdtemp(dir));
    build(64);
    for (unsigned int i = 0; i < info.table_count; i++)
        save(dir, info.tables[i].signature, info.tables[i].address, info.tables[i].length);
    save(dir, "XSDT", 0xf0080, 36 + 16);
    save(dir, "FACS", info.facs_address, 64);
    snprintf(command, sizeof(command),
             "cd %s && for t in *.aml; do iasl -vs -d $t >$t.log 2>&1 || exit 1; done && "
             "! grep -iE 'warning|error|invalid|unknown' *.log && "
             "! grep -iE '\\*\\*\\*|incorrect|invalid|unknown' *.dsl",
             dir);
    /* The directory is left for a look when something is wrong. */
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof(command), "rm -r %s", dir);
    assert_int_equal(system(command), 0);
    fake_vm_close(&vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables), cmocka_unit_test(test_fadt),
        cmocka_unit_test(test_madt),   cmocka_unit_test(test_madt_again),
        cmocka_unit_test(test_errors), cmocka_unit_test(test_disassembler),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
