/* The core's log, for host builds: kept in a buffer that a test may read. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/format.h"
#include "lib/log.h"
#include "tests/unit/host_log.h"

char host_log_text[HOST_LOG_SIZE];

void host_log_clear(void)
{
    host_log_text[0] = '\0';
}

void log_write(enum log_level level, const char *fmt, ...)
{
    static const char *const names[LOG_LEVELS] = {"error", "warn", "info", "debug"};
    char line[512];
    va_list ap;

    va_start(ap, fmt);
    format_v(line, sizeof(line), fmt, ap);
    va_end(ap);

    size_t used = strlen(host_log_text);
    snprintf(host_log_text + used, sizeof(host_log_text) - used, "%s: %s\n", names[level], line);
}
