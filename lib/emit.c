#include "lib/emit.h"

#include "lib/format.h"

void emit_line(emit_fn *emit, const char *fmt, ...)
{
    char line[EMIT_LINE_MAX];
    va_list ap;

    va_start(ap, fmt);
    int n = format_v(line, sizeof(line), fmt, ap);
    va_end(ap);
    emit(line, MIN((size_t)n, sizeof(line) - 1));
}
