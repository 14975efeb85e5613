#ifndef BULKHEAD_LIB_MACROS_H
#define BULKHEAD_LIB_MACROS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef BULKHEAD_HOST
#include <assert.h>
#else
#define static_assert _Static_assert
#endif

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n)        (1u << (n))
#define BIT64(n)      (1ull << (n))

#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a)-1))
#define ALIGN_UP(x, a)   ALIGN_DOWN((x) + ((a)-1), a)
#define IS_ALIGNED(x, a) (((x) & ((__typeof__(x))(a)-1)) == 0)

#define MIN(a, b)                      \
    ({                                 \
        __typeof__(a) min_a = (a);     \
        __typeof__(b) min_b = (b);     \
        min_a < min_b ? min_a : min_b; \
    })
#define MAX(a, b)                      \
    ({                                 \
        __typeof__(a) max_a = (a);     \
        __typeof__(b) max_b = (b);     \
        max_a > max_b ? max_a : max_b; \
    })

#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* For "%llx" and "%llu". */
#define LLU(x) ((unsigned long long)(x))

#define KIB (1024ull)
#define MIB (1024ull * KIB)
#define GIB (1024ull * MIB)

#define PAGE_SIZE_4K (4 * KIB)
#define PAGE_SIZE_2M (2 * MIB)
#define PAGE_SIZE_1G (1 * GIB)

#define PACKED       __attribute__((packed))
#define NORETURN     __attribute__((noreturn))
#define NOINLINE     __attribute__((noinline)) /* keeps what is rare out of a hot function */
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define MUST_CHECK   __attribute__((warn_unused_result))
#define ALIGNED(n)   __attribute__((aligned(n)))
#define COLD         __attribute__((cold, noinline)) /* keeps the rare case out of a short function */
#define likely(x)    __builtin_expect(!!(x), 1)
#define unlikely(x)  __builtin_expect(!!(x), 0)

/* Code and data needed only until the first VM runs; their memory is given back after boot. Host
 * builds (unit tests, fuzzers) have no such section. */
#ifdef BULKHEAD_HOST
#define INIT
#define INIT_DATA
#else
#define INIT      __attribute__((section(".init.text"), cold))
#define INIT_DATA __attribute__((section(".init.data")))
#endif

#endif
