#include "boot/event_log.h"

#include "lib/error.h"
#include "lib/string.h"

#define ALG_SHA256   0x000bu /* TPM 2.0 Library, part 2, 6.3 */
#define SHA1_SIZE    20
#define DIGEST_MAX   64 /* SHA-512's */
#define EV_NO_ACTION 3u
#define SIGNATURE    "Spec ID Event03"
#define UINTN_FIELDS 8 /* of the header event: class, version and sizes */

struct event_start {
    uint32_t pcr, type;
};
static_assert(sizeof(struct event_start) == 8, "PFP 10.2.1");

/* Returns -BH_EINVAL when it is not inside. */
static int take(struct event_log *log, void *buf, size_t len)
{
    if (len > log->size - log->at)
        return -BH_EINVAL;
    log->read(log->ctx, log->at, buf, len);
    log->at += len;
    return 0;
}

static int skip(struct event_log *log, uint64_t len)
{
    if (len > log->size - log->at)
        return -BH_EINVAL;
    log->at += len;
    return 0;
}

/* PFP 10.2.1: a digest of SHA-1, in logs of that format and in the first event of all. */
static int take_sha1(struct event_log *log)
{
    return skip(log, SHA1_SIZE);
}

/* PFP 10.2.2: each algorithm's, which are those of the header. */
static int take_digests(struct event_log *log, struct event *event)
{
    uint32_t count;
    uint16_t id;
    int err = take(log, &count, sizeof(count));

    if (!err && count > log->algorithm_count)
        return -BH_EINVAL;
    for (uint32_t i = 0; i < count && !err; i++) {
        unsigned int known = 0;

        err = take(log, &id, sizeof(id));
        while (!err && known < log->algorithm_count && log->algorithms[known].id != id)
            known++;
        if (err || known == log->algorithm_count)
            return -BH_EINVAL;
        if (id == ALG_SHA256) {
            err = take(log, event->sha256, SHA256_SIZE);
            event->has_sha256 = true;
        } else {
            err = skip(log, log->algorithms[known].size);
        }
    }
    return err;
}

static int take_event(struct event_log *log, struct event *event, bool agile)
{
    struct event_start start;
    int err = take(log, &start, sizeof(start));

    memset(event, 0, sizeof(*event));
    if (!err)
        err = agile ? take_digests(log, event) : take_sha1(log);
    if (!err)
        err = take(log, &event->data_size, sizeof(event->data_size));
    if (err)
        return err;
    event->pcr = start.pcr;
    event->type = start.type;
    event->data = log->at;
    return skip(log, event->data_size);
}

/* PFP 10.4.5.1: which digests the events have. */
static int read_algorithms(struct event_log *log)
{
    char signature[sizeof(SIGNATURE)];
    uint32_t count;
    int err = take(log, signature, sizeof(signature));

    if (!err)
        err = skip(log, UINTN_FIELDS);
    if (!err)
        err = take(log, &count, sizeof(count));
    if (err || memcmp(signature, SIGNATURE, sizeof(signature)) != 0 || count == 0 ||
        count > EVENT_LOG_ALGORITHMS_MAX)
        return -BH_EINVAL;
    for (uint32_t i = 0; i < count; i++) {
        struct event_algorithm *a = &log->algorithms[i];

        if (take(log, a, sizeof(*a)) != 0 || a->size == 0 || a->size > DIGEST_MAX ||
            (a->id == ALG_SHA256 && a->size != SHA256_SIZE))
            return -BH_EINVAL;
    }
    log->algorithm_count = count;
    return 0;
}

int event_log_open(struct event_log *log)
{
    struct event header;

    log->at = 0;
    log->algorithm_count = 0;
    if (log->size > EVENT_LOG_MAX ||
        (log->format != EVENT_LOG_SHA1 && log->format != EVENT_LOG_AGILE))
        return -BH_EINVAL;
    if (log->format == EVENT_LOG_SHA1)
        return 0;
    if (take_event(log, &header, false) != 0 || header.type != EV_NO_ACTION)
        return -BH_EINVAL;
    uint64_t end = log->at;

    log->at = header.data;
    if (read_algorithms(log) != 0 || log->at > end)
        return -BH_EINVAL;
    log->at = end;
    return 0;
}

int event_log_next(struct event_log *log, struct event *event)
{
    uint64_t start = log->at;

    if (start == log->size)
        return -BH_ENOENT;
    int err = take_event(log, event, log->format == EVENT_LOG_AGILE);

    if (err)
        log->at = start;
    return err;
}

bool event_text(const struct event_log *log, const struct event *event, char *text, size_t size)
{
    size_t n = MIN(size - 1, (size_t)event->data_size), len = 0;

    log->read(log->ctx, event->data, text, n);
    text[n] = '\0';
    while (text[len] >= ' ' && text[len] <= '~')
        len++;
    bool is_text = text[len] == '\0';

    if (!is_text)
        text[0] = '\0';
    return is_text && len > 0;
}
