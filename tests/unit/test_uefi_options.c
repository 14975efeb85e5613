/* Words of the command line that concern the UEFI loader. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "boot/uefi/options.h"
#include "lib/error.h"

#define UNCHANGED 77u

static void take(const char *from, const char *to, unsigned int expected)
{
    unsigned int seconds = UNCHANGED;
    struct text_span bad;
    char line[128];

    strcpy(line, from);
    assert_int_equal(options_take_menu(line, &seconds, &bad), 0);
    assert_string_equal(line, to);
    assert_int_equal(seconds, expected);
}

static void refused(const char *from, const char *word)
{
    unsigned int seconds = UNCHANGED;
    struct text_span bad;
    char line[128];

    strcpy(line, from);
    assert_int_equal(options_take_menu(line, &seconds, &bad), -BH_EINVAL);
    assert_true(text_equals(bad, word));
    assert_string_equal(line, from);
    assert_int_equal(seconds, UNCHANGED);
}

static void test_take(void **state)
{
    take("", "", UNCHANGED);
    take("   \t ", "", UNCHANGED);
    take("log=debug off=all", "log=debug off=all", UNCHANGED);
    take("menu=0", "", 0);
    take("menu=3600", "", MENU_SECONDS_MAX);
    take("menu=5 log=debug", "log=debug", 5);
    take("log=debug menu=5", "log=debug", 5);
    take(" a  menu=5\tb menu=10 c ", "a b c", 10);
    take("submenu=7 menus=1 menux", "submenu=7 menus=1 menux", UNCHANGED);
}

static void test_refused(void **state)
{
    refused("menu", "menu");
    refused("menu=", "menu=");
    refused("log=debug menu=abc check", "menu=abc");
    refused("menu=-1", "menu=-1");
    refused("menu=3s", "menu=3s");
    refused("menu=3601", "menu=3601");
    refused("menu=99999999999999999999999", "menu=99999999999999999999999");
    refused("menu=4294967296", "menu=4294967296");
    refused("menu=1 menu=x", "menu=x");
}

static void test_have(void **state)
{
    assert_true(options_have("check", "check"));
    assert_true(options_have("log=debug\tcheck", "check"));
    assert_true(options_have(" check off=all", "check"));
    assert_false(options_have("", "check"));
    assert_false(options_have("checks recheck check=1", "check"));
}

static void test_append(void **state)
{
    char line[16] = "";

    assert_true(options_append(line, sizeof(line), ""));
    assert_string_equal(line, "");
    assert_true(options_append(line, sizeof(line), "log=a"));
    assert_string_equal(line, "log=a");
    assert_true(options_append(line, sizeof(line), ""));
    assert_string_equal(line, "log=a");
    assert_false(options_append(line, sizeof(line), "0123456789"));
    assert_string_equal(line, "log=a");
    assert_true(options_append(line, sizeof(line), "123456789"));
    assert_string_equal(line, "log=a 123456789");
    assert_false(options_append(line, sizeof(line), "x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_have),
        cmocka_unit_test(test_append),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
