/* The exit statistics: buckets, and what is printed of them. */

#include "vmm/stats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char output[2000];

static void collect(const char *text, size_t len)
{
    snprintf(output + strlen(output), sizeof(output) - strlen(output), "%.*s\n", (int)len, text);
}

static int clear(void **state)
{
    output[0] = '\0';
    return 0;
}

static void test_buckets(void **state)
{
    static const struct {
        uint32_t cycles;
        unsigned int bucket;
    } cases[] = {{0, 0}, {1, 0},           {2, 1},           {3, 1},
                 {4, 2}, {0x7fffffff, 30}, {0x80000000, 31}, {UINT32_MAX, 31}};
    struct exit_stats stats = {0};
    uint64_t sum = 0;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t before = stats.kind[EXIT_KIND_MSR].count[cases[i].bucket];

        stat_exit(&stats, STAT_OFFSET(EXIT_KIND_MSR), cases[i].cycles);
        sum += cases[i].cycles;
        assert_int_equal(stats.kind[EXIT_KIND_MSR].count[cases[i].bucket], before + 1);
        assert_int_equal(stats.kind[EXIT_KIND_MSR].cycles, sum);
    }
    assert_int_equal(stats.kind[EXIT_KIND_IO].cycles, 0);
}

static void test_print(void **state)
{
    struct exit_stats stats = {0};
    unsigned int count, mean, half, most, all;

    for (unsigned int i = 0; i < 98; i++)
        stat_exit(&stats, STAT_OFFSET(EXIT_KIND_HLT), 100);
    stat_exit(&stats, STAT_OFFSET(EXIT_KIND_HLT), 1000);
    stat_exit(&stats, STAT_OFFSET(EXIT_KIND_HLT), 100000);
    stat_print(&stats, collect);
    assert_int_equal(
        sscanf(strstr(output, "hlt"), "hlt %u %u %u %u %u", &count, &mean, &half, &most, &all), 5);
    assert_int_equal(count, 100);
    assert_int_equal(mean, (98 * 100 + 1000 + 100000) / 100);
    assert_int_equal(half, 128);
    assert_int_equal(most, 1024);
    assert_int_equal(all, 131072);
}

/* The largest value has a bound, too, and what has not happened has no line. */
static void test_print_extremes(void **state)
{
    struct exit_stats stats = {0};

    stat_print(&stats, collect);
    assert_null(strchr(strchr(output, '\n') + 1, '\n'));
    stat_exit(&stats, STAT_OFFSET(EXIT_KIND_OTHER), UINT32_MAX);
    stat_print(&stats, collect);
    assert_non_null(strstr(output, "other"));
    assert_non_null(strstr(output, "4294967296"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_buckets, clear),
        cmocka_unit_test_setup(test_print, clear),
        cmocka_unit_test_setup(test_print_extremes, clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
