#include "lib/string.h"

bool safe_copy(char *dst, size_t size, const char *src)
{
    size_t n = strnlen(src, size);
    bool whole = n < size;

    if (size == 0)
        return false;
    if (!whole)
        n = size - 1;
    memcpy(dst, src, n);
    dst[n] = '\0';
    return whole;
}
