#include "boot/measurements.h"

#include "arch/x86/mm/window.h"
#include "boot/boot_info.h"
#include "boot/event_log.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/string.h"

#define TEXT_MAX 48 /* of an event's, in a line */

static void read_log(const void *ctx, uint64_t at, void *buf, size_t len)
{
    const struct boot_measurements *m = ctx;

    window_read_physical(m->base + at, buf, len);
}

static int open_log(struct event_log *log)
{
    const struct boot_measurements *m = &boot_info.measurements;

    *log = (struct event_log){.read = read_log, .ctx = m, .size = m->size, .format = m->format};
    return m->size > 0 ? event_log_open(log) : -BH_ENOENT;
}

INIT static void log_pcr(unsigned int pcr, const uint8_t value[SHA256_SIZE])
{
    char hex[SHA256_HEX_SIZE];

    sha256_hex(value, hex);
    log_info("tpm: PCR %u sha256 %s", pcr, hex);
}

INIT void measurements_log(void)
{
    const struct boot_measurements *m = &boot_info.measurements;
    struct event_log log;
    struct event event;
    unsigned int events = 0;
    int err = open_log(&log);

    for (; !err; events++)
        err = event_log_next(&log, &event);
    if (m->has_pcrs) {
        log_pcr(BOOT_PCR_WORDS, m->pcr_words);
        log_pcr(BOOT_PCR_FILES, m->pcr_files);
    }
    if (m->size == 0)
        return;
    if (err == -BH_ENOENT)
        log_info("tpm: event log of %llu bytes, %u events", LLU(m->size), events - 1);
    else
        log_warn("tpm: event log of %llu bytes: found no event at byte %llu, expected one",
                 LLU(m->size), LLU(log.at));
    log_debug("tpm: event log at 0x%llx, format %u", LLU(m->base), m->format);
}

static void print_event(emit_fn *emit, const struct event_log *log, const struct event *event)
{
    char hex[SHA256_HEX_SIZE] = "-", text[TEXT_MAX];

    if (event->has_sha256)
        sha256_hex(event->sha256, hex);
    if (event_text(log, event, text, sizeof(text)))
        emit_line(emit, "PCR %-2u type %08x %s %s", event->pcr, event->type, hex, text);
    else
        emit_line(emit, "PCR %-2u type %08x %s (%u bytes)", event->pcr, event->type, hex,
                  event->data_size);
}

void measurements_print(emit_fn *emit)
{
    struct event_log log;
    struct event event;
    int err = open_log(&log);

    if (boot_info.measurements.size == 0) {
        emit_line(emit, "none: no TPM, or not booted by the UEFI loader");
        return;
    }
    while (!err) {
        err = event_log_next(&log, &event);
        if (!err)
            print_event(emit, &log, &event);
    }
    if (err != -BH_ENOENT)
        emit_line(emit, "found no event at byte %llu, expected one", LLU(log.at));
}
