/* lib/format.c against the host's snprintf, and what is ours alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/format.h"
#include "lib/string.h"

#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
#pragma GCC diagnostic ignored "-Wformat-overflow"
#pragma GCC diagnostic ignored "-Wformat-truncation"

/* Same text, same length; and with every smaller buffer the same cut, with nothing written beyond
 * the buffer's end. */
#define CHECK_SAME(fmt, ...)                                                                 \
    do {                                                                                     \
        char theirs[512], ours[512];                                                         \
        int want = snprintf(theirs, sizeof(theirs), fmt, __VA_ARGS__);                       \
        int got = format(ours, sizeof(ours), fmt, __VA_ARGS__);                              \
        if (want != got || strcmp(theirs, ours) != 0) {                                      \
            fail_msg("\"%s\": want %d \"%s\", got %d \"%s\"", fmt, want, theirs, got, ours); \
        }                                                                                    \
        for (size_t size = 0; size < 8; size++) {                                            \
            memset(theirs, '~', sizeof(theirs));                                             \
            memset(ours, '~', sizeof(ours));                                                 \
            assert_int_equal(snprintf(theirs, size, fmt, __VA_ARGS__), want);                \
            assert_int_equal(format(ours, size, fmt, __VA_ARGS__), want);                    \
            assert_memory_equal(theirs, ours, 16);                                           \
        }                                                                                    \
    } while (0)

static const char *const flag_sets[] = {"", "-", "0", "-0", "0-"};
static const char *const widths[] = {"", "1", "5", "12", "23"};
static const char *const precisions[] = {"", ".", ".0", ".1", ".4", ".11", ".22"};

static void each_spec(void (*check)(const char *spec))
{
    char spec[64];

    for (size_t f = 0; f < ARRAY_SIZE(flag_sets); f++) {
        for (size_t w = 0; w < ARRAY_SIZE(widths); w++) {
            for (size_t p = 0; p < ARRAY_SIZE(precisions); p++) {
                snprintf(spec, sizeof(spec), "%%%s%s%s", flag_sets[f], widths[w], precisions[p]);
                check(spec);
            }
        }
    }
}

static const long long numbers[] = {
    0,       1,        -1,        7,         10,           -10,        127,          128,
    -128,    255,      256,       32767,     32768,        65535,      -32768,       INT_MAX,
    INT_MIN, UINT_MAX, LLONG_MAX, LLONG_MIN, 0xdeadbeefll, 1000000007, 0x1ffffffffll};

static void check_integers(const char *spec)
{
    static const char conversions[] = "dux";
    char fmt[96];

    for (const char *c = conversions; *c != '\0'; c++) {
        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
            long long n = numbers[i];

            snprintf(fmt, sizeof(fmt), "<%s%c>", spec, *c);
            CHECK_SAME(fmt, (int)n);
            snprintf(fmt, sizeof(fmt), "<%sl%c>", spec, *c);
            CHECK_SAME(fmt, (long)n);
            snprintf(fmt, sizeof(fmt), "<%sll%c>", spec, *c);
            CHECK_SAME(fmt, n);
            snprintf(fmt, sizeof(fmt), "<%sz%c>", spec, *c);
            CHECK_SAME(fmt, (size_t)n);
        }
    }
}

static void test_integers(void **state)
{
    (void)state;
    each_spec(check_integers);
}

static void check_strings(const char *spec)
{
    static const char *const strings[] = {"", "a", "hello", "a longer text of 28 letters."};
    char fmt[96];

    for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
        snprintf(fmt, sizeof(fmt), "[%ss]%s", spec, "tail");
        CHECK_SAME(fmt, strings[i]);
    }
}

static void test_strings(void **state)
{
    char unterminated[4] = {'a', 'b', 'c', 'd'};

    (void)state;
    each_spec(check_strings);
    /* A precision bounds what is read: no terminator needed (ASan watches). */
    char *heap = malloc(sizeof(unterminated));
    char out[16];
    memcpy(heap, unterminated, sizeof(unterminated));
    assert_int_equal(format(out, sizeof(out), "%.4s", heap), 4);
    assert_string_equal(out, "abcd");
    assert_int_equal(format(out, sizeof(out), "%.*s|", 2, heap), 3);
    assert_string_equal(out, "ab|");
    free(heap);
}

static void test_stars(void **state)
{
    static const int stars[] = {-23, -7, -1, 0, 1, 7, 23};

    (void)state;
    for (size_t w = 0; w < ARRAY_SIZE(stars); w++) {
        for (size_t p = 0; p < ARRAY_SIZE(stars); p++) {
            CHECK_SAME("%*.*d", stars[w], stars[p], 12345);
            CHECK_SAME("%-*.*llx", stars[w], stars[p], 0x12345ll);
            CHECK_SAME("%*.*s", stars[w], stars[p], "hello world");
        }
        CHECK_SAME("%0*d", stars[w], -42);
        CHECK_SAME("%*c", stars[w], 'x');
    }
}

static void test_mixed(void **state)
{
    (void)state;
    CHECK_SAME("%c%c%c", 'a', '\t', 'z');
    CHECK_SAME("%5c|%-5c|", 'a', 'b');
    CHECK_SAME("100%% of %s: %d%c", "it", 7, '.');
    CHECK_SAME("%p", (void *)(uintptr_t)0xfee00000);
    CHECK_SAME("%20p|%-20p|", (void *)(uintptr_t)0x1234, (void *)(uintptr_t)0xffffffff80000000);
    CHECK_SAME("%s", "");
    CHECK_SAME("%d %s %x %lld %zu %c", 1, "two", 3u, 4ll, (size_t)5, '6');
    /* More arguments than registers. */
    CHECK_SAME("%d %d %d %d %d %d %d %d %d %lld", 1, 2, 3, 4, 5, 6, 7, 8, 9, 1ll << 40);
}

/* What the C library leaves open, or does otherwise. */
static void test_ours(void **state)
{
    char out[64];

    (void)state;
    assert_int_equal(format(out, sizeof(out), "%s", (char *)NULL), 6);
    assert_string_equal(out, "(null)");
    assert_int_equal(format(out, sizeof(out), "%p", NULL), 3);
    assert_string_equal(out, "0x0");
    /* Unknown conversions show as they stand, and a text may end inside one. */
    assert_int_equal(format(out, sizeof(out), "a%qb"), 4);
    assert_string_equal(out, "a%qb");
    assert_int_equal(format(out, sizeof(out), "a%-08l"), 6);
    assert_string_equal(out, "a%-08l");
    assert_int_equal(format(out, sizeof(out), "%"), 1);
    assert_string_equal(out, "%");
    /* A wild width is bounded. */
    assert_int_equal(format(out, sizeof(out), "%99999999999999999999d", 1), 4096);
    assert_int_equal(format(out, sizeof(out), "%*d", INT_MIN, 1), 4096);
    assert_int_equal(format(NULL, 0, "%d", 12345), 5);
}

static void test_random(void **state)
{
    (void)state;
    srand(1);
    for (int i = 0; i < 20000; i++) {
        char fmt[64];
        uint64_t n = ((uint64_t)rand() << 42) ^ ((uint64_t)rand() << 21) ^ (uint64_t)rand();

        n >>= rand() % 64;
        snprintf(fmt, sizeof(fmt), "%%%s%d%s%d%s%c",
                 rand() % 2   ? "-"
                 : rand() % 2 ? "0"
                              : "",
                 1 + rand() % 30, rand() % 2 ? "." : "", rand() % 20, "ll", "dux"[rand() % 3]);
        CHECK_SAME(fmt, n);
    }
}

static void test_safe_copy(void **state)
{
    char buf[6] = "~~~~~";

    (void)state;
    assert_false(safe_copy(buf, 0, "x"));
    assert_string_equal(buf, "~~~~~");
    assert_true(safe_copy(buf, 4, "abc"));
    assert_string_equal(buf, "abc");
    assert_int_equal(buf[4], '~');
    assert_false(safe_copy(buf, 4, "defg"));
    assert_string_equal(buf, "def");
    assert_int_equal(buf[4], '~');
    assert_false(safe_copy(buf, 1, "x"));
    assert_string_equal(buf, "");
    assert_true(safe_copy(buf, 1, ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers),  cmocka_unit_test(test_strings),
        cmocka_unit_test(test_stars),     cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_ours),      cmocka_unit_test(test_random),
        cmocka_unit_test(test_safe_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
