/* A TPM's event log, as firmware leaves it, and damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "boot/event_log.h"
#include "lib/error.h"

#define SHA1   4
#define SHA256 0xb
#define EV_IPL 0xd

static uint8_t bytes[4096];
static size_t used;

static void put(const void *data, size_t n)
{
    assert_true(used + n <= sizeof(bytes));
    memcpy(bytes + used, data, n);
    used += n;
}

static void put32(uint32_t v)
{
    put(&v, sizeof(v));
}

static void put16(uint16_t v)
{
    put(&v, sizeof(v));
}

static void put_fill(uint8_t v, size_t n)
{
    while (n-- > 0)
        put(&v, 1);
}

/* The header event, with SHA-1 and SHA-256. */
static void put_header(void)
{
    used = 0;
    put32(0);
    put32(3);
    put_fill(0, 20);
    put32(16 + 8 + 4 + 8 + 1);
    put("Spec ID Event03", 16);
    put("\0\0\0\0\0\2\0\2", 8);
    put32(2);
    put16(SHA1), put16(20);
    put16(SHA256), put16(32);
    put_fill(0, 1);
}

static void put_event(uint32_t pcr, uint8_t fill, const char *data, uint32_t size)
{
    put32(pcr);
    put32(EV_IPL);
    put32(2);
    put16(SHA1);
    put_fill(0x11, 20);
    put16(SHA256);
    put_fill(fill, 32);
    put32(size);
    put(data, size);
}

static void read_bytes(const void *ctx, uint64_t at, void *buf, size_t len)
{
    memcpy(buf, (const uint8_t *)ctx + at, len);
}

/* On a copy of exactly that size; the caller frees it. */
static struct event_log exact(size_t size, uint8_t format)
{
    uint8_t *copy = malloc(size ? size : 1);

    assert_non_null(copy);
    memcpy(copy, bytes, size);
    return (struct event_log){.read = read_bytes, .ctx = copy, .size = size, .format = format};
}

/* Its events, or the error behind the last one as a negative number. */
static int walk(size_t size, uint8_t format)
{
    struct event_log log = exact(size, format);
    struct event event;
    char text[16];
    int n = 0, err = event_log_open(&log);

    while (!err) {
        err = event_log_next(&log, &event);
        if (!err) {
            assert_true(event.data + event.data_size <= size);
            event_text(&log, &event, text, sizeof(text));
            n++;
        }
    }
    free((void *)log.ctx);
    return err == -BH_ENOENT ? n : err;
}

static void test_events(void **state)
{
    struct event event;
    char text[8];
    uint8_t want[SHA256_SIZE];

    put_header();
    put_event(9, 0xaa, "kernel", 7);
    put_event(8, 0xbb, "log=debug", 9);
    put_event(7, 0xcc, "a\1b", 3);
    put_event(6, 0xdd, "", 0);
    struct event_log log = exact(used, EVENT_LOG_AGILE);

    assert_int_equal(event_log_open(&log), 0);
    assert_int_equal(event_log_next(&log, &event), 0);
    memset(want, 0xaa, sizeof(want));
    assert_int_equal(event.pcr, 9);
    assert_int_equal(event.type, EV_IPL);
    assert_int_equal(event.data_size, 7);
    assert_true(event.has_sha256);
    assert_memory_equal(event.sha256, want, sizeof(want));
    assert_true(event_text(&log, &event, text, sizeof(text)));
    assert_string_equal(text, "kernel");
    assert_int_equal(event_log_next(&log, &event), 0);
    assert_int_equal(event.pcr, 8);
    assert_true(event_text(&log, &event, text, sizeof(text)));
    assert_string_equal(text, "log=deb"); /* what there is room for */
    assert_int_equal(event_log_next(&log, &event), 0);
    assert_false(event_text(&log, &event, text, sizeof(text)));
    assert_string_equal(text, "");
    assert_int_equal(event_log_next(&log, &event), 0);
    assert_false(event_text(&log, &event, text, sizeof(text)));
    assert_int_equal(event_log_next(&log, &event), -BH_ENOENT);
    free((void *)log.ctx);
}

static void test_sha1_format(void **state)
{
    used = 0;
    for (int i = 0; i < 3; i++) {
        put32(9);
        put32(EV_IPL);
        put_fill(0x22, 20);
        put32(2);
        put("ab", 2);
    }
    assert_int_equal(walk(used, EVENT_LOG_SHA1), 3);
    assert_int_equal(walk(used - 1, EVENT_LOG_SHA1), -BH_EINVAL);
    assert_int_equal(walk(0, EVENT_LOG_SHA1), 0);
    assert_int_equal(walk(used, EVENT_LOG_AGILE), -BH_EINVAL);
    assert_int_equal(walk(used, EVENT_LOG_NONE), -BH_EINVAL);
    assert_int_equal(walk(used, 3), -BH_EINVAL);
}

/* An end inside of an event is an error, one between two is the end. */
static void test_cut_anywhere(void **state)
{
    size_t ends[3];

    put_header();
    ends[0] = used;
    put_event(9, 1, "one", 3);
    ends[1] = used;
    put_event(9, 2, "two", 3);
    ends[2] = used;
    for (size_t size = 0; size <= used; size++) {
        int want = -BH_EINVAL;
        for (int i = 0; i < 3; i++)
            if (size == ends[i])
                want = i;
        assert_int_equal(walk(size, EVENT_LOG_AGILE), want);
    }
}

static void damaged(size_t at, uint32_t value, size_t n)
{
    put_header();
    put_event(9, 1, "one", 3);
    memcpy(bytes + at, &value, n);
    assert_int_equal(walk(used, EVENT_LOG_AGILE), -BH_EINVAL);
}

static void test_damaged(void **state)
{
    const size_t header = 32 + 37; /* where the first event begins */

    damaged(4, EV_IPL, 4);      /* the header's type */
    damaged(28, 0, 4);          /* its data: none */
    damaged(28, 36 - 1, 4);     /* too little for its algorithms */
    damaged(28, UINT32_MAX, 4); /* beyond the end */
    damaged(32, 'X', 1);        /* its signature */
    damaged(56, 0, 4);          /* no algorithms */
    damaged(56, 9, 4);          /* more than there is room for */
    damaged(56, UINT32_MAX, 4);
    damaged(62, 0, 2);         /* a digest of no size */
    damaged(62, 65, 2);        /* longer than any */
    damaged(66, 31, 2);        /* not SHA-256's */
    damaged(header + 8, 3, 4); /* more digests than algorithms */
    damaged(header + 8, UINT32_MAX, 4);
    damaged(header + 12, 0x1234, 2); /* of no known algorithm */
    damaged(header + 68, 4, 4);      /* its data: beyond the end */
    damaged(header + 68, UINT32_MAX, 4);
}

static void test_too_long(void **state)
{
    struct event_log log = {
        .read = read_bytes, .ctx = bytes, .size = EVENT_LOG_MAX + 1, .format = EVENT_LOG_SHA1};

    assert_int_equal(event_log_open(&log), -BH_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),       cmocka_unit_test(test_sha1_format),
        cmocka_unit_test(test_cut_anywhere), cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_too_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
