#ifndef BULKHEAD_LIB_LOG_RING_H
#define BULKHEAD_LIB_LOG_RING_H

#include "lib/emit.h"
#include "lib/log.h"

#define LOG_RING_SIZE (32 * 1024)

/* Messages up to `level` go to the console from now on; the ring keeps all. */
void log_set_level(enum log_level level);
bool log_is_shown(enum log_level level);

/* Hands the last `lines` lines of the ring (all, when there are fewer) to `emit`, oldest first,
 * without their newline. */
#define LOG_ALL_LINES UINT32_MAX
void log_replay(unsigned int lines, emit_fn *emit);

/* How many lines had to make room for later ones. */
unsigned int log_lines_lost(void);

#endif
