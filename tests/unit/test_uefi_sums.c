/* The list of files inside a signed UEFI loader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "boot/uefi/sums.h"

#define A "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define B "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"

/* The line's place in the list, -1: none. The list is read from memory of exactly its size. */
static long find_in(const char *list, size_t size, const char *name)
{
    char *exact = malloc(size ? size : 1);

    assert_non_null(exact);
    memcpy(exact, list, size);
    const char *sum = sums_find(exact, size, name);
    long place = sum ? sum - exact : -1;

    free(exact);
    return place;
}

static long find(const char *list, const char *name)
{
    return find_in(list, strlen(list), name);
}

static void test_found(void **state)
{
    static const char list[] = A "  bulkhead.conf\n" B "  Vmlinuz-6.1\n" A "  k\n";
    long second = (long)strlen(A "  bulkhead.conf\n");

    assert_int_equal(find(list, "bulkhead.conf"), 0);
    assert_int_equal(find(list, "BULKHEAD.CONF"), 0);
    assert_int_equal(find(list, "vmlinuz-6.1"), second);
    assert_int_equal(find(list, "k"), second + (long)strlen(B "  Vmlinuz-6.1\n"));
    assert_int_equal(sums_count(list, strlen(list)), 3);
}

/* Parts of names, and characters that differ by the bit of upper and lower case only. */
static void test_not_found(void **state)
{
    static const char list[] = A "  bulkhead.conf\n" B "  a@b\n" A "  k[1]\n";

    assert_int_equal(find(list, "bulkhead.con"), -1);
    assert_int_equal(find(list, "bulkhead.conf2"), -1);
    assert_int_equal(find(list, "ulkhead.conf"), -1);
    assert_int_equal(find(list, ""), -1);
    assert_int_equal(find(list, "a`b"), -1);
    assert_int_equal(find(list, "k{1}"), -1);
    assert_int_equal(find("", "k"), -1);
}

/* Nothing is found in, or behind, a line of another form. */
static void test_damaged(void **state)
{
    static const char *const lists[] = {
        A "  k",
        A " *k\n",
        A " k\n",
        A "  \n",
        A "  k k\n",
        "\n" A "  k\n",
        "0" A "  k\n",
        "  " A "  k\n",
        A "k\n",
        "g" A "  k\n",
        A "  k\r\n",
        A "  j\n\n" A "  k\n",
        "  k\n",
        B "  j\nx  k\n",
        A,
        A "  ",
        A "\n  k\n",
        "ABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCD  k\n",
    };

    for (unsigned int i = 0; i < ARRAY_SIZE(lists); i++)
        assert_int_equal(find(lists[i], "k"), -1);
    assert_int_equal(sums_count(A "  j\n\n" A "  k\n", 2 * strlen(A "  j\n") + 1), 1);
}

static void test_cut_anywhere(void **state)
{
    static const char list[] = A "  first\n" B "  second\n";
    size_t one = strlen(A "  first\n");

    for (size_t size = 0; size < sizeof(list) - 1; size++) {
        assert_int_equal(find_in(list, size, "first"), size >= one ? 0 : -1);
        assert_int_equal(find_in(list, size, "second"), -1);
    }
    /* As it stands in the loader: with zeros behind it. */
    assert_int_equal(find_in(list, sizeof(list), "second"), one);
    assert_int_equal(sums_count(list, sizeof(list)), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_not_found),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_cut_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
