/* The core's log: formatted lines in a ring in memory, and on the console as far as the level
 * allows. */

#include "lib/log_ring.h"

#include "arch/x86/time.h"
#include "lib/format.h"
#include "lib/string.h"
#include "vmm/console.h"

#define LOG_LINE_MAX 640

/* The console's lock guards the ring as well: its lines are in the order of the console's. */
static char ring[LOG_RING_SIZE];
static uint64_t ring_written;                   /* bytes ever written */
static unsigned int lines_lost;                 /* that the ring holds no more, or not all of */
static bool starts_whole = true;                /* the oldest byte begins a line */
static enum log_level console_level = LOG_INFO; /* constant after boot */

static const char *const level_names[LOG_LEVELS] = {"error", "warn ", "info ", "debug"};

static void ring_put(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char *at = &ring[ring_written % LOG_RING_SIZE];
        if (ring_written++ >= LOG_RING_SIZE) {
            lines_lost += starts_whole;
            starts_whole = *at == '\n';
        }
        *at = text[i];
    }
}

void log_set_level(enum log_level level)
{
    console_level = level;
}

bool log_is_shown(enum log_level level)
{
    return level <= console_level;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    char line[LOG_LINE_MAX];
    va_list ap;
    int n;

    if (time_is_calibrated()) {
        uint64_t us = time_now_ns() / 1000;
        n = format(line, sizeof(line), "[%5llu.%06llu] %s ", LLU(us / 1000000), LLU(us % 1000000),
                   level_names[level]);
    } else {
        n = format(line, sizeof(line), "[    -.------] %s ", level_names[level]);
    }
    va_start(ap, fmt);
    n += format_v(line + n, sizeof(line) - (size_t)n, fmt, ap);
    va_end(ap);
    size_t len = MIN((size_t)n, sizeof(line) - 1);

    bool shown = log_is_shown(level);
    bool room = console_acquire(shown ? CONSOLE_ROOM_LINE : 0);
    ring_put(line, len);
    ring_put("\n", 1);
    if (shown && room)
        console_core_line(line, len);
    else if (shown)
        console_skip_line();
    console_release();
}

void log_error_detail(const char *text, size_t len)
{
    log_error("  %.*s", (int)len, text);
}

static uint64_t ring_oldest(void)
{
    return ring_written > LOG_RING_SIZE ? ring_written - LOG_RING_SIZE : 0;
}

/* Start of the last `lines` complete lines that the ring still holds. */
static uint64_t ring_start(unsigned int lines)
{
    uint64_t oldest = ring_oldest();
    uint64_t at = ring_written;

    while (at > oldest) {
        if (ring[(at - 1) % LOG_RING_SIZE] == '\n' && at != ring_written && --lines == 0)
            return at;
        at--;
    }
    if (!starts_whole) {
        while (at < ring_written && ring[at++ % LOG_RING_SIZE] != '\n') {
        }
    }
    return at;
}

/* Takes the line at `at`, or what is left of it. Returns its length. */
static size_t read_line(uint64_t *at, char line[LOG_LINE_MAX])
{
    size_t n = 0;

    (void)console_acquire(0);
    *at = MAX(*at, ring_oldest());
    while (*at < ring_written && n < LOG_LINE_MAX) {
        char c = ring[(*at)++ % LOG_RING_SIZE];
        if (c == '\n')
            break;
        line[n++] = c;
    }
    console_release();
    return n;
}

unsigned int log_lines_lost(void)
{
    (void)console_acquire(0);
    unsigned int lost = lines_lost;
    console_release();
    return lost;
}

void log_replay(unsigned int lines, emit_fn *emit)
{
    char line[LOG_LINE_MAX];

    if (lines == 0)
        return;
    (void)console_acquire(0);
    uint64_t at = ring_start(lines), end = ring_written;
    console_release();
    while (at < end) {
        size_t n = read_line(&at, line);
        emit(line, n);
    }
}
