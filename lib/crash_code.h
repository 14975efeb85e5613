#ifndef BULKHEAD_LIB_CRASH_CODE_H
#define BULKHEAD_LIB_CRASH_CODE_H

/* The short code of a crash: what a person copies from a screen, and tools/crash_code.py reads. */

#include "lib/macros.h"

#define CRASH_FRAMES    3
#define CRASH_NO_FRAME  0x3fffffu /* not in the core's code, or there is none */
#define CRASH_PANIC     63u       /* instead of a vector */
#define CRASH_CODE_SIZE 30u       /* six groups of four characters, and a zero byte */

struct crash_facts {
    uint32_t commit;  /* of the sources: the first eight digits; 0: unknown */
    bool is_modified; /* what was built differs from it */
    bool has_checks;
    uint8_t vector;                /* of the exception, up to 31, or CRASH_PANIC */
    uint8_t error;                 /* low three bits of the exception's error code */
    uint32_t frames[CRASH_FRAMES]; /* where, and who had called that: from the image's start */
};

/* In Crockford's base 32, with a checksum that finds each wrong character and each exchange of two
 * neighbours. */
void crash_code(const struct crash_facts *facts, char code[CRASH_CODE_SIZE]);

#endif
