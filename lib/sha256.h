#ifndef BULKHEAD_LIB_SHA256_H
#define BULKHEAD_LIB_SHA256_H

/* SHA-256 (FIPS 180-4). */

#include "lib/macros.h"

#define SHA256_SIZE     32
#define SHA256_HEX_SIZE (2 * SHA256_SIZE + 1) /* with the terminator */

/* The sum of `size` bytes. */
void sha256(const void *data, uint64_t size, uint8_t sum[SHA256_SIZE]);

/* As sha256sum prints it, terminated. */
void sha256_hex(const uint8_t sum[SHA256_SIZE], char hex[SHA256_HEX_SIZE]);

#endif
