/* What a loader of our own hands over is looked at like any other input. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "boot/boot_info.h"
#include "boot/event_log.h"
#include "lib/error.h"
#include "tests/unit/host_log.h"

static struct boot_info from, info;

static int setup(void **state)
{
    host_log_clear();
    memset(&from, 0, sizeof(from));
    memset(&info, 0xa5, sizeof(info));
    strcpy(from.cmdline, "log=debug");
    from.map.count = 2;
    from.map.r[0] = (struct memory_range){0x100000, 0x700000, MEM_USABLE};
    from.map.r[1] = (struct memory_range){BIT64(52) - 0x1000, 0x2000, MEM_RESERVED};
    from.module_count = 1;
    from.modules[0] = (struct boot_module){0x200000, 0x1000, "bulkhead.conf"};
    from.measurements =
        (struct boot_measurements){.base = BIT64(52) - EVENT_LOG_MAX, .size = EVENT_LOG_MAX};
    return 0;
}

static void test_taken(void **state)
{
    assert_int_equal(boot_info_take(&info, &from), 0);
    assert_string_equal(info.cmdline, "log=debug");
    assert_string_equal(info.modules[0].name, "bulkhead.conf");
    assert_non_null(info.protocol);
    assert_int_equal(info.map.count, 2);
    assert_int_equal(info.map.r[1].size, 0x1000); /* cut at 2^52 */
    assert_int_equal(info.map.cut, 1);
}

static void refused(void)
{
    assert_int_equal(boot_info_take(&info, &from), -BH_EINVAL);
    assert_true(host_log_text[0] != '\0');
}

static void test_refused(void **state)
{
    from.map.count = MEMORY_MAP_MAX + 1;
    refused();
    setup(state);
    from.module_count = BOOT_MODULES_MAX + 1;
    refused();
    setup(state);
    from.rsdp_size = BOOT_RSDP_SIZE + 1;
    refused();
    setup(state);
    memset(from.cmdline, 'x', sizeof(from.cmdline));
    refused();
    setup(state);
    memset(from.report, 'x', sizeof(from.report));
    refused();
    setup(state);
    memset(from.modules[0].name, 'x', sizeof(from.modules[0].name));
    refused();
    setup(state);
    from.modules[0].base = UINT64_MAX - 10;
    refused();
    setup(state);
    from.measurements.size = EVENT_LOG_MAX + 1;
    refused();
    setup(state);
    from.measurements = (struct boot_measurements){.base = BIT64(52) - 1, .size = 2};
    refused();
    setup(state);
    from.measurements = (struct boot_measurements){.base = UINT64_MAX, .size = 2};
    refused();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_taken, setup),
        cmocka_unit_test_setup(test_refused, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
