#ifndef BULKHEAD_GUESTLIB_CHECKS_H
#define BULKHEAD_GUESTLIB_CHECKS_H

/* Checks of a guest, a line each, in groups, which the command line chooses: groups=A,B only these,
 * skip=A,B all but these. */

#include "guestlib.h"

struct check_group {
    const char *name;
    void (*run)(void);
};

/* Runs the chosen ones, and prints how many checks have passed. */
void check_all(const struct check_group *groups, size_t count);

void check_eq(const char *name, uint64_t got, uint64_t expected);
/* `got` is shown when it is not so. */
void check_that(const char *name, bool so, uint64_t got, const char *expected);
void check_range(const char *name, uint64_t got, uint64_t low, uint64_t high);
void check_skip(const char *name, const char *reason);

/* Counts one; after check_fail() the rest of the line is the caller's to print. */
void check_pass(const char *name);
void check_fail(const char *name);

#endif
