#ifndef BULKHEAD_LIB_STRING_H
#define BULKHEAD_LIB_STRING_H

/* The few string functions that the freestanding core has; on a host these are libc's own.
 * `safe_copy` is ours on both. */

#include <stdbool.h>
#include <stddef.h>

#ifdef BULKHEAD_HOST
#include <string.h>
#else
void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
#endif

/* Copies `src` into `dst` of `size` bytes, always terminated. Returns false when it was cut. */
bool safe_copy(char *dst, size_t size, const char *src);

#endif
