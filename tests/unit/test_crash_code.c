/* The short code of a crash. tests/data/crash_codes has codes and what they mean, which
 * tools/crash_code.py is held against, too (tests/system/test_crash_code.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "lib/crash_code.h"

#define VECTORS "tests/data/crash_codes"

static void test_vectors(void **state)
{
    FILE *file = fopen(VECTORS, "r");
    char line[200];
    unsigned int count = 0;

    (void)state;
    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        unsigned int modified, checks, commit, vector, error, frames[CRASH_FRAMES];
        char wanted[CRASH_CODE_SIZE], code[CRASH_CODE_SIZE];
        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%29s %x %u %u %u %u %x %x %x", wanted, &commit, &modified,
                                &checks, &vector, &error, &frames[0], &frames[1], &frames[2]),
                         9);
        struct crash_facts facts = {
            .commit = commit,
            .is_modified = modified,
            .has_checks = checks,
            .vector = (uint8_t)vector,
            .error = (uint8_t)error,
            .frames = {frames[0], frames[1], frames[2]},
        };
        crash_code(&facts, code);
        assert_string_equal(code, wanted);
        count++;
    }
    fclose(file);
    assert_true(count >= 5);
}

/* What does not fit into its field must not spill into the next one. */
static void test_fields_are_cut(void **state)
{
    struct crash_facts facts = {.vector = 0xff, .error = 0xff, .frames = {~0u, 0, ~0u}};
    const struct crash_facts cut = {
        .vector = 63, .error = 7, .frames = {CRASH_NO_FRAME, 0, CRASH_NO_FRAME}};
    char a[CRASH_CODE_SIZE], b[CRASH_CODE_SIZE];

    (void)state;
    crash_code(&facts, a);
    crash_code(&cut, b);
    assert_string_equal(a, b);
    facts.frames[1] = 1;
    crash_code(&facts, a);
    assert_string_not_equal(a, b);
    assert_memory_equal(a, b, 10); /* the first fields are as they were */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_fields_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
