#ifndef BULKHEAD_LIB_CHECKSUM_H
#define BULKHEAD_LIB_CHECKSUM_H

#include "lib/macros.h"

/* The sum of all bytes, modulo 256. */
static inline uint8_t byte_sum(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint8_t sum = 0;

    for (size_t i = 0; i < len; i++)
        sum = (uint8_t)(sum + p[i]);
    return sum;
}

#endif
