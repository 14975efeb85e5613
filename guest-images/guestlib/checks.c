#include "checks.h"

static unsigned int passed, failed, skipped;
static const char *group;

void check_pass(const char *name)
{
    passed++;
    print("ok   %s.%s\n", group, name);
}

void check_fail(const char *name)
{
    failed++;
    print("FAIL %s.%s: ", group, name);
}

void check_eq(const char *name, uint64_t got, uint64_t expected)
{
    if (got == expected) {
        check_pass(name);
        return;
    }
    check_fail(name);
    print("got 0x%llx, expected 0x%llx\n", (unsigned long long)got, (unsigned long long)expected);
}

void check_that(const char *name, bool so, uint64_t got, const char *expected)
{
    if (so) {
        check_pass(name);
        return;
    }
    check_fail(name);
    print("got 0x%llx, expected %s\n", (unsigned long long)got, expected);
}

void check_range(const char *name, uint64_t got, uint64_t low, uint64_t high)
{
    if (got >= low && got <= high) {
        check_pass(name);
        return;
    }
    check_fail(name);
    print("got 0x%llx, expected 0x%llx to 0x%llx\n", (unsigned long long)got,
          (unsigned long long)low, (unsigned long long)high);
}

void check_skip(const char *name, const char *reason)
{
    skipped++;
    print("skip %s.%s: %s\n", group, name, reason);
}

void check_all(const struct check_group *groups, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = groups[i].name;
        if ((!guest_option("groups") || guest_option_lists("groups", name)) &&
            !guest_option_lists("skip", name)) {
            group = name;
            groups[i].run();
        }
    }
    print("%u skipped\n%u passed, %u failed\n", skipped, passed, failed);
}
