/* Starting the other CPUs: which ones, and what two of their clocks prove. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "arch/x86/acpi/acpi.h"
#include "arch/x86/smp.h"
#include "tests/unit/host_log.h"

static struct acpi_info acpi;
static uint32_t ids[MAX_PCPUS + 1];

static int setup(void **state)
{
    (void)state;
    memset(&acpi, 0, sizeof(acpi));
    memset(ids, 0xee, sizeof(ids));
    host_log_clear();
    return 0;
}

static void list(const uint32_t *apic_ids, unsigned int count)
{
    acpi.cpu_count = count;
    for (unsigned int i = 0; i < count; i++) {
        acpi.cpus[i].apic_id = apic_ids[i];
    }
}

static void test_boot_cpu_is_first(void **state)
{
    static const uint32_t listed[] = {0, 2, 4, 6};
    static const uint32_t want[] = {4, 0, 2, 6};

    (void)state;
    list(listed, 4);
    assert_int_equal(smp_list_cpus(&acpi, 4, 254, ids), 4);
    assert_memory_equal(ids, want, sizeof(want));
    assert_string_equal(host_log_text, "");
}

/* Without a MADT, or in one that does not list it, the boot CPU is there all the same. */
static void test_boot_cpu_is_not_listed(void **state)
{
    static const uint32_t listed[] = {1};

    (void)state;
    assert_int_equal(smp_list_cpus(&acpi, 9, 254, ids), 1);
    assert_int_equal(ids[0], 9);
    list(listed, 1);
    assert_int_equal(smp_list_cpus(&acpi, 9, 254, ids), 2);
    assert_int_equal(ids[0], 9);
    assert_int_equal(ids[1], 1);
}

static void test_limit(void **state)
{
    uint32_t listed[ACPI_MAX_CPUS];

    (void)state;
    for (unsigned int i = 0; i < ACPI_MAX_CPUS; i++) {
        listed[i] = i + 1;
    }
    list(listed, ACPI_MAX_CPUS);
    assert_int_equal(smp_list_cpus(&acpi, 1, 254, ids), MAX_PCPUS);
    assert_string_equal(host_log_text, "");
    /* The boot CPU is a further one: the last makes room. */
    assert_int_equal(smp_list_cpus(&acpi, 200, 254, ids), MAX_PCPUS);
    assert_int_equal(ids[0], 200);
    assert_int_equal(ids[MAX_PCPUS - 1], MAX_PCPUS - 1);
    assert_int_equal(ids[MAX_PCPUS], 0xeeeeeeee);
    assert_non_null(strstr(host_log_text, "APIC id 64 is left out: 64 CPUs are the limit"));
}

static void test_wide_ids(void **state)
{
    static const uint32_t listed[] = {0, 254, 255, 256, 0x10002};

    (void)state;
    list(listed, 2);
    assert_false(smp_needs_x2apic(&acpi));
    list(listed, 5);
    assert_true(smp_needs_x2apic(&acpi));
    assert_int_equal(smp_list_cpus(&acpi, 0, UINT32_MAX - 1, ids), 5);
    assert_string_equal(host_log_text, "");
    /* Cut to eight bits, the last ones would be other CPUs. */
    assert_int_equal(smp_list_cpus(&acpi, 0, 254, ids), 2);
    assert_non_null(strstr(host_log_text, "APIC id 255 is left out"));
    assert_non_null(strstr(host_log_text, "APIC id 65538 is left out"));
}

static void test_tsc_that_nobody_can_tell_apart(void **state)
{
    struct tsc_offset offset = TSC_OFFSET_UNKNOWN;

    (void)state;
    assert_int_equal(tsc_offset_least(&offset), 0);
    tsc_offset_narrow(&offset, 1000, 1050, 1100);
    assert_int_equal(tsc_offset_least(&offset), 0);
    tsc_offset_narrow(&offset, 2000, 2000, 2400);
    tsc_offset_narrow(&offset, 3000, 3400, 3400);
    assert_int_equal(offset.low, 0);
    assert_int_equal(offset.high, 0);
    assert_int_equal(tsc_offset_least(&offset), 0);
}

static void test_tsc_ahead_and_behind(void **state)
{
    struct tsc_offset ahead = TSC_OFFSET_UNKNOWN, behind = TSC_OFFSET_UNKNOWN;

    (void)state;
    /* 500 ahead, asked slowly, then quickly: the quick round says more. */
    tsc_offset_narrow(&ahead, 1000, 1700, 1600);
    assert_int_equal(tsc_offset_least(&ahead), 100);
    tsc_offset_narrow(&ahead, 2000, 2510, 2020);
    assert_int_equal(tsc_offset_least(&ahead), 490);
    tsc_offset_narrow(&ahead, 3000, 3900, 3800);
    assert_int_equal(tsc_offset_least(&ahead), 490);

    tsc_offset_narrow(&behind, 1000, 510, 1020);
    assert_int_equal(tsc_offset_least(&behind), -490);
}

/* One that was reset by the start: far behind, and its readings wrap around 0. */
static void test_tsc_far_apart(void **state)
{
    struct tsc_offset offset = TSC_OFFSET_UNKNOWN;
    uint64_t now = UINT64_C(1) << 62;

    (void)state;
    tsc_offset_narrow(&offset, now, 5, now + 10);
    assert_int_equal(tsc_offset_least(&offset), -(int64_t)now + 5);
    offset = TSC_OFFSET_UNKNOWN;
    tsc_offset_narrow(&offset, UINT64_MAX - 5, 100, 3);
    assert_int_equal(tsc_offset_least(&offset), 97);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_boot_cpu_is_first, setup),
        cmocka_unit_test_setup(test_boot_cpu_is_not_listed, setup),
        cmocka_unit_test_setup(test_limit, setup),
        cmocka_unit_test_setup(test_wide_ids, setup),
        cmocka_unit_test_setup(test_tsc_that_nobody_can_tell_apart, setup),
        cmocka_unit_test_setup(test_tsc_ahead_and_behind, setup),
        cmocka_unit_test_setup(test_tsc_far_apart, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
