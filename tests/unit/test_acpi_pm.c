/* ACPI fixed hardware and the reset ports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vmm/devices/acpi_pm.h"
#include "vmm/devices/reset.h"

#define STS    GUEST_PM_BASE
#define EN     (GUEST_PM_BASE + 2)
#define CNT    (GUEST_PM_BASE + 4)
#define PWRBTN 0x100
#define S      GUEST_PM_TMR_HZ /* times are ticks */

static struct acpi_pm pm;

static int setup(void **state)
{
    (void)state;
    acpi_pm_reset(&pm, 0);
    return 0;
}

static void test_reset_state(void **state)
{
    (void)state;
    assert_int_equal(acpi_pm_read(&pm, STS, 4, 0), 0);
    assert_int_equal(acpi_pm_read(&pm, CNT, 2, 0), 1); /* SCI_EN: always in ACPI mode */
    assert_false(acpi_pm_sci(&pm));
    acpi_pm_write(&pm, CNT, 2, 0, 0);
    assert_int_equal(acpi_pm_read(&pm, CNT, 2, 0), 1);
}

static void test_power_button(void **state)
{
    (void)state;
    acpi_pm_power_button(&pm);
    assert_false(acpi_pm_sci(&pm)); /* not enabled */
    acpi_pm_write(&pm, EN, 2, PWRBTN, 0);
    assert_true(acpi_pm_sci(&pm));
    assert_int_equal(acpi_pm_read(&pm, STS, 2, 0), PWRBTN);
    acpi_pm_write(&pm, STS, 2, ~PWRBTN & 0xFFFF, 0);
    assert_true(acpi_pm_sci(&pm));
    acpi_pm_write(&pm, STS + 1, 1, PWRBTN >> 8, 0); /* a byte clears it, too */
    assert_false(acpi_pm_sci(&pm));
    acpi_pm_write(&pm, EN, 2, 0xFFFF, 0);
    assert_int_equal(acpi_pm_read(&pm, EN, 2, 0), 0x0721);
    acpi_pm_write(&pm, EN, 1, 0, 0);
    assert_int_equal(acpi_pm_read(&pm, EN, 2, 0), 0x0700);
}

static void test_power_off(void **state)
{
    (void)state;
    /* As ACPICA does it: SLP_TYP first, then with SLP_EN. */
    assert_int_equal(acpi_pm_write(&pm, CNT, 2, 0x1401, 0), PM_NONE);
    assert_int_equal(acpi_pm_read(&pm, CNT, 2, 0), 0x1401);
    assert_int_equal(acpi_pm_write(&pm, CNT, 2, 0x3401, 0), PM_POWER_OFF);
    assert_int_equal(acpi_pm_read(&pm, CNT, 2, 0), 0x1401);           /* SLP_EN reads 0 */
    assert_int_equal(acpi_pm_write(&pm, CNT, 2, 0x2001, 0), PM_NONE); /* S0 */
    assert_int_equal(acpi_pm_write(&pm, CNT, 2, 0x3001, 0), PM_NONE); /* no such state */
    assert_int_equal(acpi_pm_write(&pm, CNT + 1, 1, 0x34, 0), PM_POWER_OFF);
    assert_int_equal(acpi_pm_write(&pm, CNT, 4, 0x3401, 0), PM_POWER_OFF);
}

static void test_timer(void **state)
{
    (void)state;
    assert_int_equal(acpi_pm_read(&pm, GUEST_PM_TMR, 4, 0), 0);
    assert_int_equal(acpi_pm_read(&pm, GUEST_PM_TMR, 4, S), 3579545);
    assert_int_equal(acpi_pm_read(&pm, GUEST_PM_TMR, 4, 86400ull * 400 * S),
                     (uint32_t)(3579545ull * 86400 * 400));
    assert_int_equal(acpi_pm_read(&pm, GUEST_PM_TMR, 2, S), 3579545 & 0xFFFF);
    assert_int_equal(acpi_pm_read(&pm, GUEST_PM_TMR + 1, 1, S), 3579545 >> 8 & 0xFF);
    acpi_pm_read(&pm, GUEST_PM_TMR, 4, UINT64_MAX);
    acpi_pm_write(&pm, GUEST_PM_TMR, 4, 0, 0);
    assert_int_equal(acpi_pm_read(&pm, GUEST_PM_TMR, 4, S), 3579545);
}

static void test_timer_event(void **state)
{
    uint64_t toggle = 1ull << 31;

    (void)state;
    assert_true(acpi_pm_next_event(&pm, 0) == UINT64_MAX);
    acpi_pm_write(&pm, EN, 2, 1, 0);
    assert_true(acpi_pm_next_event(&pm, 5) == toggle);
    assert_true(acpi_pm_next_event(&pm, toggle + 9) == toggle + 9); /* overdue */
    acpi_pm_poll(&pm, toggle - 1);
    assert_false(acpi_pm_sci(&pm));
    acpi_pm_poll(&pm, toggle);
    assert_true(acpi_pm_sci(&pm));
    assert_true(acpi_pm_next_event(&pm, toggle) == UINT64_MAX); /* not until it is cleared */
    acpi_pm_write(&pm, STS, 2, 1, toggle);
    assert_false(acpi_pm_sci(&pm));
    assert_int_equal(acpi_pm_read(&pm, STS, 2, toggle * 3), 1);
}

static void test_odd_accesses(void **state)
{
    (void)state;
    assert_int_equal(acpi_pm_read(&pm, CNT, 4, 0), 0xFFFF0001);
    assert_int_equal(acpi_pm_read(&pm, GUEST_PM_TMR + 3, 2, 0), 0xFF00);
    assert_int_equal(acpi_pm_read(&pm, GUEST_PM_BASE - 1, 2, 0), 0x00FF);
    assert_int_equal(acpi_pm_read(&pm, 0, 4, 0), 0xFFFFFFFF);
    assert_int_equal(acpi_pm_read(&pm, 0xFFFF, 4, 0), 0xFFFFFFFF);
    assert_int_equal(acpi_pm_read(&pm, STS, 0, 0), 0);
    acpi_pm_read(&pm, STS, 100, 0);
    assert_int_equal(acpi_pm_write(&pm, 0xFFFF, 100, 0xFFFFFFFF, 0), PM_NONE);
    assert_int_equal(acpi_pm_write(&pm, CNT + 2, 2, 0xFFFF, 0), PM_NONE);
}

static void test_reset_ports(void **state)
{
    struct reset_control rc;

    (void)state;
    reset_control_reset(&rc);
    assert_int_equal(reset_control_read(&rc, 0x60), 0xFF);
    assert_int_equal(reset_control_read(&rc, 0x64), 0xFF);
    assert_int_equal(reset_control_read(&rc, 0x61), 0xFF);
    assert_int_equal(reset_control_read(&rc, 0x92), 0x02);
    assert_int_equal(reset_control_read(&rc, 0xCF9), 0);

    assert_int_equal(reset_control_write(&rc, 0x60, 0xFE), PM_NONE);
    assert_int_equal(reset_control_write(&rc, 0x64, 0xAD), PM_NONE);
    assert_int_equal(reset_control_write(&rc, 0x64, 0xFF), PM_NONE); /* pulses nothing */
    assert_int_equal(reset_control_write(&rc, 0x64, 0xFE), PM_RESET);

    assert_int_equal(reset_control_write(&rc, 0x92, 0x00), PM_NONE);
    assert_int_equal(reset_control_read(&rc, 0x92), 0x02);
    assert_int_equal(reset_control_write(&rc, 0x92, 0x01), PM_RESET);
    assert_int_equal(reset_control_write(&rc, 0x92, 0x01), PM_NONE);

    assert_int_equal(reset_control_write(&rc, 0xCF9, 0x02), PM_NONE);
    assert_int_equal(reset_control_write(&rc, 0xCF9, 0x06), PM_RESET);
    assert_int_equal(reset_control_write(&rc, 0xCF9, 0x06), PM_NONE); /* no rising edge */
    assert_int_equal(reset_control_read(&rc, 0xCF9), 0x06);
    reset_control_reset(&rc);
    assert_int_equal(reset_control_write(&rc, RESET_PORT_CONTROL, 6), PM_RESET);
    assert_int_equal(reset_control_write(&rc, 0x70, 0xFE), PM_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_reset_state, setup),
        cmocka_unit_test_setup(test_power_button, setup),
        cmocka_unit_test_setup(test_power_off, setup),
        cmocka_unit_test_setup(test_timer, setup),
        cmocka_unit_test_setup(test_timer_event, setup),
        cmocka_unit_test_setup(test_odd_accesses, setup),
        cmocka_unit_test(test_reset_ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
