/* The table of what took longest. */

#include "vmm/worst.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/time.h"
#include "tests/unit/host_checks.h"

#define BOUND 1000

struct time_scale time_scale = {.ns_per_tsc = 1ull << 31}; /* 2 GHz */

static char output[2000];

static void collect(const char *text, size_t len)
{
    snprintf(output + strlen(output), sizeof(output) - strlen(output), "%.*s\n", (int)len, text);
}

static void test_note(void **state)
{
    struct worst w = {0};
    const struct worst slow = {.what = "io", .cycles = 3000, .vm = "a", .serial = 1, .rip = 0x10};

    assert_false(worst_note(&w, &(struct worst){.what = "io", .cycles = BOUND}, BOUND));
    assert_int_equal(w.cycles, BOUND);
    assert_true(worst_note(&w, &slow, BOUND));
    /* Told once; what is quicker changes nothing, what is slower does. */
    assert_false(worst_note(&w, &(struct worst){.what = "io", .cycles = 2000}, BOUND));
    assert_int_equal(w.cycles, 3000);
    assert_int_equal(w.rip, 0x10);
    assert_string_equal(w.vm, "a");
    assert_false(worst_note(&w, &(struct worst){.what = "io", .cycles = 4000, .vm = "b"}, BOUND));
    assert_int_equal(w.cycles, 4000);
    assert_string_equal(w.vm, "b");
}

/* What takes no time at all has happened, too. */
static void test_zero(void **state)
{
    struct worst w = {0};

    assert_false(worst_note(&w, &(struct worst){.what = "io"}, BOUND));
    assert_string_equal(w.what, "io");
}

static void test_steps(void **state)
{
    struct worst_table table = {0};
    static const char names[WORST_STEPS + 1][2];

    for (unsigned int i = 0; i < WORST_STEPS; i++) {
        struct worst *w = worst_step(&table, names[i]);

        assert_ptr_equal(w, &table.entries[EXIT_KINDS + i]);
        worst_note(w, &(struct worst){.what = names[i]}, BOUND);
    }
    assert_ptr_equal(worst_step(&table, names[3]), &table.entries[EXIT_KINDS + 3]);
    assert_null(worst_step(&table, names[WORST_STEPS]));
}

/* The longest first, equals once each, not more than six. */
static void test_print(void **state)
{
    static const uint64_t cycles[] = {5, 700, 20, 700, 3000, 1, 8, 9};
    struct worst_table table = {0};
    const char *line = output;

    for (unsigned int i = 0; i < ARRAY_SIZE(cycles); i++)
        worst_note(&table.entries[i],
                   &(struct worst){.what = stat_kind_name(i), .cycles = cycles[i], .vm = "vm"},
                   BOUND);
    worst_note(worst_step(&table, "scrub"), &(struct worst){.what = "scrub", .cycles = 5000},
               BOUND);
    worst_print(&table, 3, BOUND, collect);
    assert_true(strncmp(line, "CPU 3: step scrub", 17) == 0);
    assert_non_null(strstr(line, "5000 cycles       2500 ns TOO LONG\n"));
    assert_null(strstr(line, " 8 cycles"));
    for (const char *const *what =
             (const char *const[]){"scrub", "msr", "nmi", "cpuid", "window", "hlt", NULL};
         *what; what++) {
        const char *end = strchr(line, '\n');

        assert_non_null(end);
        assert_true(strstr(line, *what) && strstr(line, *what) < end);
        line = end + 1;
    }
    assert_string_equal(line, "");
}

static void test_exit_is_reported(void **state)
{
    struct exit_stats stats = {0};

    stat_exit(&stats, STAT_OFFSET(EXIT_KIND_DR), 77);
    assert_int_equal(host_exit_offset, STAT_OFFSET(EXIT_KIND_DR));
    assert_int_equal(host_exit_cycles, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_note),
        cmocka_unit_test(test_zero),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_exit_is_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
