#ifndef BULKHEAD_LIB_LOG_H
#define BULKHEAD_LIB_LOG_H

#include "lib/macros.h"

/* The order is that of severity: a message is shown when its level is <= the one configured. */
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_LEVELS };

/* Writes one line (no trailing newline in `fmt`) with a timestamp into the log ring and, when the
 * level allows it, to the console. Any CPU,
 * with any lock but the console's, not in handlers of NMIs. Waits for the UART when its queue is
 * full. */
void log_write(enum log_level level, const char *fmt, ...) PRINTF(2, 3);

/* A line that belongs to the error before it: indented. For what prints line by line. */
void log_error_detail(const char *text, size_t len);

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

#endif
