#ifndef BULKHEAD_LIB_EMIT_H
#define BULKHEAD_LIB_EMIT_H

#include "lib/macros.h"

#define EMIT_LINE_MAX 160 /* longer lines are cut */

/* Takes one line of output, without newline: the log, the monitor or a crash report. */
typedef void emit_fn(const char *text, size_t len);

/* Formats a line and hands it to `emit`. */
void emit_line(emit_fn *emit, const char *fmt, ...) PRINTF(2, 3);

#endif
