/* A word of the core's command line, which is read like a line of [core] in bulkhead.conf. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "vmm/config.h"

static struct config config;
static char reported[1024];

static void collect(void *ctx, unsigned int line, const char *text)
{
    size_t used = strlen(reported);

    assert_ptr_equal(ctx, &config);
    snprintf(reported + used, sizeof(reported) - used, "%u: %s\n", line, text);
}

static const struct config_sink sink = {collect, &config};

static int parse(const char *word)
{
    size_t len = strlen(word);
    char *text = malloc(len + 1); /* the terminator is not the parser's to read */

    memcpy(text, word, len);
    text[len] = 'x';
    reported[0] = '\0';
    memset(&config, 0xa5, sizeof(config));
    int err = config_parse_core_key(&config, text, len, &sink);
    free(text);
    return err;
}

static void test_good(void **state)
{
    (void)state;
    assert_int_equal(parse("console=com2,9600"), 0);
    assert_int_equal(config.serial_count, 1);
    assert_int_equal(config.serial[0].address, 0x2f8);
    assert_int_equal(config.serial[0].baud, 9600);
    assert_int_equal(config.log, LOG_INFO); /* the default */
    assert_int_equal(config.vm_count, 0);
    assert_int_equal(parse("log=debug"), 0);
    assert_int_equal(config.log, LOG_DEBUG);
    assert_int_equal(config.serial_count, 1);
    assert_int_equal(config.serial[0].kind, CONFIG_SERIAL_AUTO);
    assert_string_equal(reported, "");
}

static void test_bad(void **state)
{
    static const struct {
        const char *word, *want;
    } wrong[] = {
        {"log=loud", "1: log: found \"loud\", expected error, warn, info or debug\n"},
        {"log=", "1: log: found nothing, expected error, warn, info or debug\n"},
        {"log", "1: line: found \"log\", expected KEY = VALUE or [SECTION]\n"},
        {"log=\"info", "1: log: found an opening quote without a closing one, expected both or "
                       "none\n"},
        {"log=a\nb", "1: line: found byte 0x0a, expected printable text\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        assert_int_equal(parse(wrong[i].word), -BH_EINVAL);
        assert_string_equal(reported, wrong[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
