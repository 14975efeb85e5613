/* The words of the command line choose what it does:
 *   check (at first)     checks, one line each; groups=A,B only these
 *   storm=ipi|init       seconds=N
 *   work=share|counter   counts, and prints how far it got, each second
 *   work=watch           all but one read memory, and how many find none is printed when it changes
 *   work=ping            two CPUs each send one another IPIs; seconds=N (0: for ever)
 *   idle                 all halted
 *   measure              rows for tests/bench; share: all vCPUs on one pCPU
 *   cpus=N               so many are expected
 *   patience=MS          how long something may take until it counts as lost (2000)
 *   native               not in Bulkhead: less what only Bulkhead promises */

#include "smp.h"

bool smp_native;
static unsigned int passed, failed, skipped;
static const char *group;

static const struct {
    const char *name;
    void (*run)(void);
} groups[] = {
    {"topology", group_topology}, {"start", group_start},   {"ioapic", group_ioapic},
    {"time", group_time},         {"memory", group_memory}, {"delivery", group_delivery},
};

void check_group(const char *name)
{
    group = name;
}

void check_eq(const char *name, uint64_t got, uint64_t expected)
{
    if (got == expected) {
        passed++;
        print("ok   %s.%s\n", group, name);
        return;
    }
    failed++;
    print("FAIL %s.%s: got 0x%llx, expected 0x%llx\n", group, name, LLU(got), LLU(expected));
}

void check_that(const char *name, bool so, uint64_t got, const char *expected)
{
    if (so) {
        passed++;
        print("ok   %s.%s\n", group, name);
        return;
    }
    failed++;
    print("FAIL %s.%s: got 0x%llx, expected %s\n", group, name, LLU(got), expected);
}

void check_skip(const char *name, const char *reason)
{
    skipped++;
    print("skip %s.%s: %s\n", group, name, reason);
}

/* Whether a list such as "a,b" of the command line has this name. */
static bool is_listed(const char *list, const char *name)
{
    size_t len = strlen(name);

    while (*list && *list != ' ') {
        if (strncmp(list, name, len) == 0 &&
            (list[len] == ',' || list[len] == ' ' || list[len] == '\0'))
            return true;
        while (*list && *list != ' ' && *list != ',')
            list++;
        if (*list == ',')
            list++;
    }
    return false;
}

static bool option_is(const char *option, const char *value)
{
    const char *text = guest_option(option);

    return text && is_listed(text, value);
}

static void run_checks(void)
{
    const char *only = guest_option("groups");

    for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
        if (!only || is_listed(only, groups[i].name)) {
            check_group(groups[i].name);
            groups[i].run();
        }
    }
    print("%u skipped\n%u passed, %u failed\n", skipped, passed, failed);
}

void guest_main(void)
{
    uint64_t seconds = guest_number("seconds", 10);

    smp_native = guest_has_word("native");
    if (!smp_find())
        return;
    interrupts_on();
    smp_start_all();
    print("READY\nsmp: %u CPUs, %llu ticks a ms\n", smp_count, LLU(smp_tsc_ms));
    if (guest_has_word("x2apic") && !smp_set_mode(true))
        print("LOST smp: no x2APIC mode\n");
    if (option_is("storm", "ipi"))
        storm_ipi(seconds);
    else if (option_is("storm", "init"))
        storm_init(seconds);
    else if (option_is("work", "share"))
        work_share();
    else if (option_is("work", "counter"))
        work_counter();
    else if (option_is("work", "watch"))
        work_watch();
    else if (option_is("work", "ping"))
        work_ping(seconds);
    else if (guest_has_word("idle"))
        work_idle();
    else if (guest_has_word("measure"))
        measure_rows();
    else
        run_checks();
}
