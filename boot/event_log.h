#ifndef BULKHEAD_BOOT_EVENT_LOG_H
#define BULKHEAD_BOOT_EVENT_LOG_H

/* Walks a TPM's event log: what firmware and the loader have measured. Trusts nothing in it; knows
 * nothing of the machine. TCG PC Client Platform Firmware Profile 1.05, 10 ("PFP" below). */

#include "lib/sha256.h"

#define EVENT_LOG_MAX            MIB /* a longer one is none of ours */
#define EVENT_LOG_ALGORITHMS_MAX 8

/* The numbers are those of EFI_TCG2_PROTOCOL.GetEventLog(). */
enum event_log_format { EVENT_LOG_NONE = 0, EVENT_LOG_SHA1 = 1, EVENT_LOG_AGILE = 2 };

struct event_log {
    /* Copies [at, at + len), which is inside of `size`. */
    void (*read)(const void *ctx, uint64_t at, void *buf, size_t len);
    const void *ctx;
    uint64_t size; /* bytes */
    uint8_t format;
    /* The walker's own. */
    uint64_t at; /* of the next event */
    unsigned int algorithm_count;
    struct event_algorithm {
        uint16_t id, size; /* TPM_ALG_ID; bytes of a digest */
    } algorithms[EVENT_LOG_ALGORITHMS_MAX];
};

struct event {
    uint32_t pcr, type;
    bool has_sha256;
    uint8_t sha256[SHA256_SIZE];
    uint64_t data; /* where in the log its data is, and how much, all of it inside */
    uint32_t data_size;
};

/* Begins at the start; what stands before "the walker's own" is filled in. Returns 0, or -BH_EINVAL
 * when that is no event log. */
MUST_CHECK int event_log_open(struct event_log *log);

/* The next event. Returns 0, -BH_ENOENT at the end, or -BH_EINVAL when what follows is none. */
MUST_CHECK int event_log_next(struct event_log *log, struct event *event);

/* Writes the start of its data, terminated, when that is text up to a zero or the end, and returns
 * true; else an empty text, and false. */
bool event_text(const struct event_log *log, const struct event *event, char *text, size_t size);

#endif
