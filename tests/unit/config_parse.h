#ifndef BULKHEAD_TESTS_CONFIG_PARSE_H
#define BULKHEAD_TESTS_CONFIG_PARSE_H

/* Parses a text as bulkhead.conf, for the tests of the parser. cmocka comes before it. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "vmm/config.h"

#define VM "[vm a]\nkernel = k\nmemory = 2M\n" /* three lines */

static struct config config;
static char reported[32768]; /* "LINE: TEXT\n" of each error */

static void collect(void *ctx, unsigned int line, const char *text)
{
    size_t used = strlen(reported);

    assert_ptr_equal(ctx, &config);
    assert_true(strlen(text) < CONFIG_TEXT_MAX);
    snprintf(reported + used, sizeof(reported) - used, "%u: %s\n", line, text);
}

static const struct config_sink sink = {collect, &config};

/* From garbage, and to the byte, so that ASan sees a read beyond the end. */
static int parse_bytes(const void *bytes, size_t len)
{
    char *text = malloc(len); /* to the byte, not terminated */

    memcpy(text, bytes, len);
    reported[0] = '\0';
    memset(&config, 0xa5, sizeof(config));
    int err = config_parse(&config, text, len, &sink);
    free(text);
    return err;
}

/* A text without errors. */
static inline void good(const char *text)
{
    int err = parse_bytes(text, strlen(text));

    assert_string_equal(reported, "");
    assert_int_equal(err, 0);
}

/* A text with these errors, as in `reported`. */
static inline void bad_bytes(const void *bytes, size_t len, const char *want)
{
    assert_int_equal(parse_bytes(bytes, len), -BH_EINVAL);
    assert_string_equal(reported, want);
    assert_int_equal(config.vm_count, 0);
    assert_int_equal(config.memory, CONFIG_POOL_DEFAULT);
}

static inline void bad(const char *text, const char *want)
{
    bad_bytes(text, strlen(text), want);
}

#endif
