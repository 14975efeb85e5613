#ifndef BULKHEAD_LIB_QR_H
#define BULKHEAD_LIB_QR_H

/* A QR code (ISO/IEC 18004:2015) of one size: version 2, error correction M, alphanumeric. */

#include "lib/macros.h"

#define QR_SIZE  25u
#define QR_QUIET 4u  /* light modules that must be around it */
#define QR_TEXT  38u /* characters at most */

/* Encodes digits, capitals and " $%*+-./:". Bit x of `rows[y]` is a dark module, from the upper
 * left. Returns 0, or -BH_EINVAL for other or too many characters. */
MUST_CHECK int qr_encode(const char *text, uint32_t rows[QR_SIZE]);

#endif
