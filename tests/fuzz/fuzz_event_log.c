/* A TPM's event log. Input: a byte with the format, then the log. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "boot/event_log.h"
#include "lib/error.h"
#include "tests/fuzz/require.h"

#define EVENT_MIN 16 /* the start, no digests, no data */

struct memory {
    const uint8_t *at;
    size_t size;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_memory(const void *ctx, uint64_t at, void *buf, size_t len)
{
    const struct memory *memory = ctx;

    REQUIRE(at <= memory->size && len <= memory->size - at);
    memcpy(buf, memory->at + at, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const struct memory memory = {data + 1, size - 1};
    struct event_log log = {
        .read = read_memory, .ctx = &memory, .size = size - 1, .format = data[0]};
    struct event event;
    char text[24];
    int err = event_log_open(&log);

    while (!err) {
        uint64_t before = log.at;

        err = event_log_next(&log, &event);
        if (err)
            break;
        REQUIRE(log.at >= before + EVENT_MIN && log.at <= log.size);
        REQUIRE(event.data + event.data_size == log.at);
        bool is_text = event_text(&log, &event, text, sizeof(text));

        REQUIRE(strnlen(text, sizeof(text)) < sizeof(text));
        REQUIRE(is_text == (text[0] != '\0'));
    }
    REQUIRE(err == -BH_EINVAL || (err == -BH_ENOENT && log.at == log.size));
    return 0;
}
