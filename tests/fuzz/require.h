#ifndef BULKHEAD_TESTS_FUZZ_REQUIRE_H
#define BULKHEAD_TESTS_FUZZ_REQUIRE_H

#include <stdlib.h>

/* An invariant: the fuzzer keeps the input that breaks it. */
#define REQUIRE(condition)  \
    do {                    \
        if (!(condition)) { \
            abort();        \
        }                   \
    } while (0)

#endif
