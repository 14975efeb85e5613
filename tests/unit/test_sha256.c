/* SHA-256: the standard's examples, the borders of its blocks, and a long input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "lib/sha256.h"

/* From memory of exactly that size. */
static void expect(const void *data, size_t size, const char *want)
{
    uint8_t sum[SHA256_SIZE + 1], *exact = malloc(size ? size : 1);
    char hex[SHA256_HEX_SIZE];

    assert_non_null(exact);
    memcpy(exact, data, size);
    sum[SHA256_SIZE] = 0xa5;
    sha256(exact, size, sum);
    free(exact);
    sha256_hex(sum, hex);
    assert_string_equal(hex, want);
    assert_int_equal(sum[SHA256_SIZE], 0xa5);
}

/* NIST's examples for FIPS 180-4. */
static void test_standard(void **state)
{
    static const char two[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    static char million[1000000];

    expect("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect(two, strlen(two), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    memset(million, 'a', sizeof(million));
    expect(million, sizeof(million),
           "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* Bytes 0, 1, 2 ...: what Python's hashlib says. */
static void test_borders(void **state)
{
    static const struct {
        unsigned int size;
        const char *sum;
    } cases[] = {
        {1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
        {55, "463eb28e72f82e0a96c0a4cc53690c571281131f672aa229e0d45ae59b598b59"},
        {56, "da2ae4d6b36748f2a318f23e7ab1dfdf45acdc9d049bd80e59de82a60895f562"},
        {57, "2fe741af801cc238602ac0ec6a7b0c3a8a87c7fc7d7f02a3fe03d1c12eac4d8f"},
        {63, "29af2686fd53374a36b0846694cc342177e428d1647515f078784d69cdb9e488"},
        {64, "fdeab9acf3710362bd2658cdc9a29e8f9c757fcf9811603a8c447cd1d9151108"},
        {65, "4bfd2c8b6f1eec7a2afeb48b934ee4b2694182027e6d0fc075074f2fabb31781"},
        {119, "da18797ed7c3a777f0847f429724a2d8cd5138e6ed2895c3fa1a6d39d18f7ec6"},
        {120, "f52b23db1fbb6ded89ef42a23ce0c8922c45f25c50b568a93bf1c075420bbb7c"},
        {127, "92ca0fa6651ee2f97b884b7246a562fa71250fedefe5ebf270d31c546bfea976"},
        {128, "471fb943aa23c511f6f72f8d1652d9c880cfa392ad80503120547703e56a2be5"},
        {129, "5099c6a56203f9687f7d33f4bfdf576d31dc91f6b695ecea38b2770c87631135"},
    };
    uint8_t data[256];

    for (unsigned int i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)i;
    for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++)
        expect(data, cases[i].size, cases[i].sum);
}

/* 3 MiB and a byte of a generator's output, for Python's hashlib as well. */
static void test_long(void **state)
{
    static uint8_t data[3 * MIB + 1];
    uint32_t x = 1;

    for (size_t i = 0; i < sizeof(data); i++) {
        x = x * 1664525u + 1013904223u;
        data[i] = (uint8_t)(x >> 24);
    }
    expect(data, sizeof(data), "352b7dabda5a20e4462c286bb66895702f791180b5631826baa60224cdb1f93c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_standard),
        cmocka_unit_test(test_borders),
        cmocka_unit_test(test_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
