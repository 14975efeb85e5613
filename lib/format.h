#ifndef BULKHEAD_LIB_FORMAT_H
#define BULKHEAD_LIB_FORMAT_H

/* printf-style formatting without libc.
 *
 * Conversions: %d %u %x %c %s %p %%; length modifiers l ll z; flags '-' '0'; width and precision as
 * numbers or '*'.
 * The names differ from libc's so that host builds use these, too. */

#include <stdarg.h>
#include <stddef.h>

#include "lib/macros.h"

/* Formats into `buf` of `size` bytes, always terminated when size > 0. Returns the length that the
 * whole text has, which is >= size when it was cut. */
int format_v(char *buf, size_t size, const char *fmt, va_list ap) PRINTF(3, 0);
int format(char *buf, size_t size, const char *fmt, ...) PRINTF(3, 4);

#endif
