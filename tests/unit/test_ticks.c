/* From one clock to another: exact, and back never too early. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/ticks.h"
#include "vmm/devices/acpi_pm.h"
#include "vmm/irqchip/pit.h"

static const uint64_t fast_hz[] = {50000000, 1000000000, 2995200000, 6000000000};
static const uint64_t slow_hz[] = {PIT_HZ, GUEST_PM_TMR_HZ};

static void test_no_drift(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < ARRAY_SIZE(fast_hz); i++) {
        for (unsigned int j = 0; j < ARRAY_SIZE(slow_hz); j++) {
            uint64_t ratio = ticks_ratio(slow_hz[j], fast_hz[i]), years10 = 315576000;

            assert_true(ticks_at(0, ratio) == 0);
            assert_true(ticks_at(years10 * fast_hz[i] - 1, ratio) == years10 * slow_hz[j] - 1);
            assert_in_range(ticks_at(years10 * fast_hz[i] + 1, ratio), years10 * slow_hz[j] - 1,
                            years10 * slow_hz[j]);
        }
    }
}

/* The first time, not the one before and not the one after. */
static void test_when(void **state)
{
    uint64_t ticks = 1;

    (void)state;
    for (unsigned int i = 0; i < 2000; i++) {
        uint64_t ratio = ticks_ratio(slow_hz[i % 2], fast_hz[i / 2 % ARRAY_SIZE(fast_hz)]);
        uint64_t when = ticks_when(ticks, ratio);

        assert_true(ticks_at(when, ratio) == ticks);
        assert_true(ticks_at(when - 1, ratio) == ticks - 1);
        ticks = ticks * 6364136223846793005u + 1442695040888963407u;
        ticks >>= 16 + i % 32;
        ticks += ticks == 0;
    }
    assert_true(ticks_when(0, ticks_ratio(PIT_HZ, 1000000000)) == 0);
}

static void test_limits(void **state)
{
    uint64_t ratio = ticks_ratio(PIT_HZ, 1000000000);

    (void)state;
    assert_true(ticks_when(UINT64_MAX, ratio) == UINT64_MAX);
    assert_true(ticks_when(ratio, ratio) == UINT64_MAX);
    assert_true(ticks_when(ratio - 1, ratio) < UINT64_MAX);
    /* A clock that is not slower: taken as nearly as fast. */
    assert_true(ticks_ratio(2, 2) == UINT64_MAX);
    assert_true(ticks_ratio(1, 0) == UINT64_MAX);
    assert_true(ticks_at(1000, UINT64_MAX) == 999);
    assert_true(ticks_when(UINT64_MAX, UINT64_MAX) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_drift),
        cmocka_unit_test(test_when),
        cmocka_unit_test(test_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
