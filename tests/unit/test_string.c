/* lib/string.c, the core's own, under other names beside the host's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#define memcpy  core_memcpy
#define memmove core_memmove
#define memset  core_memset
#define memcmp  core_memcmp
#define strlen  core_strlen
#define strnlen core_strnlen
#define strcmp  core_strcmp
#define strncmp core_strncmp
#define strchr  core_strchr
#undef BULKHEAD_HOST
#include "lib/string.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef strlen
#undef strnlen
#undef strcmp
#undef strncmp
#undef strchr

static int sign(int n)
{
    return (n > 0) - (n < 0);
}

static void test_memory(void **state)
{
    uint8_t ours[96], theirs[96], from[96];

    (void)state;
    srand(11);
    for (int round = 0; round < 20000; round++) {
        size_t dst = (size_t)rand() % 32, src = (size_t)rand() % 32, n = (size_t)rand() % 65;

        for (size_t i = 0; i < sizeof(from); i++) {
            ours[i] = theirs[i] = (uint8_t)rand();
            from[i] = (uint8_t)rand();
        }
        assert_ptr_equal(core_memcpy(ours + dst, from + src, n), ours + dst);
        memcpy(theirs + dst, from + src, n);
        assert_memory_equal(ours, theirs, sizeof(ours));
        assert_ptr_equal(core_memmove(ours + dst, ours + src, n), ours + dst);
        memmove(theirs + dst, theirs + src, n);
        assert_memory_equal(ours, theirs, sizeof(ours));
        assert_ptr_equal(core_memset(ours + src, round | 0x100, n), ours + src);
        memset(theirs + src, round & 0xff, n);
        assert_memory_equal(ours, theirs, sizeof(ours));
    }
}

static void test_compare(void **state)
{
    static const char *const s[] = {"", "a", "ab", "abc", "abd", "b", "\x80", "a\xff", "abcabc"};

    (void)state;
    for (size_t i = 0; i < sizeof(s) / sizeof(s[0]); i++) {
        assert_int_equal(core_strlen(s[i]), strlen(s[i]));
        for (size_t n = 0; n < 8; n++)
            assert_int_equal(core_strnlen(s[i], n), strnlen(s[i], n));
        for (int c = 0; c < 256; c++)
            assert_ptr_equal(core_strchr(s[i], c), strchr(s[i], c));
        for (size_t j = 0; j < sizeof(s) / sizeof(s[0]); j++) {
            size_t both = strlen(s[i]) < strlen(s[j]) ? strlen(s[i]) : strlen(s[j]);

            assert_int_equal(sign(core_strcmp(s[i], s[j])), sign(strcmp(s[i], s[j])));
            assert_int_equal(sign(core_memcmp(s[i], s[j], both)), sign(memcmp(s[i], s[j], both)));
            for (size_t n = 0; n < 8; n++)
                assert_int_equal(sign(core_strncmp(s[i], s[j], n)), sign(strncmp(s[i], s[j], n)));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
