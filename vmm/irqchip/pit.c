#include "vmm/irqchip/pit.h"

/* Quoted names in comments are sections of Intel's 8254 data sheet (231164). */

#define NEVER       INT64_MAX
#define BCD_MODULUS 10000

/* The shortest interval between two timer events for the host: 20 us. */
#define MIN_EVENT_TICKS 24

/* Control word ("Control Word Format"). */
#define CONTROL_BCD           BIT(0)
#define CONTROL_MODE_SHIFT    1
#define CONTROL_MODE          7u
#define CONTROL_ACCESS_SHIFT  4
#define CONTROL_ACCESS        3u
#define CONTROL_CHANNEL_SHIFT 6
#define CONTROL_READ_BACK     3u

/* 0 is the counter latch command. */
#define ACCESS_LOW  1
#define ACCESS_HIGH 2
#define ACCESS_BOTH 3

/* "Read-Back Command"; the two latch bits are active low. */
#define READ_BACK_NO_STATUS BIT(4)
#define READ_BACK_NO_COUNT  BIT(5)
#define READ_BACK_CHANNEL0  BIT(1)

#define STATUS_NULL_COUNT BIT(6)
#define STATUS_OUT        BIT(7)

/* Port 61h (82371SB, "NMI status and control"). */
#define SPEAKER_GATE2    BIT(0)
#define SPEAKER_WRITABLE 0x0Fu
#define SPEAKER_REFRESH  BIT(4)
#define SPEAKER_OUT2     BIT(5)
#define REFRESH_TICKS    18 /* the refresh bit toggles every 15 us */

enum pit_mode {
    MODE_TERMINAL_COUNT = 0,
    MODE_ONE_SHOT = 1,
    MODE_RATE = 2,
    MODE_SQUARE = 3,
    MODE_SOFT_STROBE = 4,
    MODE_HARD_STROBE = 5,
};

static bool mode_is_periodic(uint8_t mode)
{
    return mode == MODE_RATE || mode == MODE_SQUARE;
}

static bool mode_is_triggered(uint8_t mode)
{
    return mode == MODE_ONE_SHOT || mode == MODE_HARD_STROBE;
}

/* Ticks of a square wave's high half; the low one is the rest. */
static int64_t high_half(uint32_t count)
{
    return (count + 1) / 2;
}

/* Clock pulses since the count was loaded; negative before. */
static int64_t elapsed(const struct pit_channel *ch, int64_t tick)
{
    return ch->gate || mode_is_triggered(ch->mode) ? tick - ch->start : ch->paused_at;
}

/* "Mode Definitions" for all of what follows. */
static bool channel_out(const struct pit_channel *ch, int64_t tick)
{
    int64_t d = elapsed(ch, tick);

    if (!ch->running)
        return ch->mode != MODE_TERMINAL_COUNT;
    switch (ch->mode) {
    case MODE_TERMINAL_COUNT: return d >= ch->count;
    case MODE_ONE_SHOT: return d < 0 || d >= ch->count;
    case MODE_RATE: return !ch->gate || d < 0 || d % ch->count != ch->count - 1;
    case MODE_SQUARE: return !ch->gate || d < 0 || d % ch->count < high_half(ch->count);
    default: return d != ch->count; /* the strobes */
    }
}

static uint16_t to_bcd(uint32_t v)
{
    return (uint16_t)(v / 1000 % 10 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10);
}

/* What `d` >= 0 clock pulses have left of the count; beyond 0 it goes on. */
static int64_t count_down(const struct pit_channel *ch, int64_t d)
{
    if (!mode_is_periodic(ch->mode))
        return ch->count - d;
    d = (int64_t)((uint64_t)d % ch->count);
    if (ch->mode == MODE_RATE)
        return ch->count - d;
    /* A square wave's goes down by two, twice per period, and odd counts begin one lower. */
    if (d >= high_half(ch->count))
        d -= high_half(ch->count);
    return (ch->count & ~1u) - 2 * d;
}

static int64_t counter_value(const struct pit_channel *ch, int64_t tick)
{
    int64_t d;

    if (!ch->running)
        return ch->count;
    d = elapsed(ch, tick);
    return d < 0 ? ch->count : count_down(ch, d);
}

/* As it is read. */
static uint16_t channel_counter(const struct pit_channel *ch, int64_t tick)
{
    int64_t value = counter_value(ch, tick);

    if (likely(!ch->bcd))
        return (uint16_t)value;
    value %= BCD_MODULUS;
    return to_bcd((uint32_t)(value < 0 ? value + BCD_MODULUS : value));
}

static uint32_t from_bcd(uint32_t v)
{
    return (v >> 12) * 1000 + (v >> 8 & 0xF) * 100 + (v >> 4 & 0xF) * 10 + (v & 0xF);
}

/* The count that the guest wrote: 0 is the largest one. 1 is illegal in mode 2 and 3. */
static uint32_t effective_count(const struct pit_channel *ch, uint32_t raw)
{
    uint32_t count = ch->bcd ? from_bcd(raw) : raw;

    if (count == 0)
        return ch->bcd ? BCD_MODULUS : 0x10000;
    return count == 1 && mode_is_periodic(ch->mode) ? 2 : count;
}

static void take_reload(struct pit_channel *ch)
{
    /* A square wave can be reloaded in its middle: then its high half lies in the past. */
    bool middle = ch->mode == MODE_SQUARE && channel_out(ch, ch->reload_at - 1);

    ch->start = ch->reload_at - (middle ? high_half(ch->next_count) : 0);
    ch->count = ch->next_count;
    ch->reload_at = NEVER;
}

static void channel_sync(struct pit_channel *ch, int64_t tick)
{
    if (ch->reload_at <= tick)
        take_reload(ch);
}

/* Rising edges in (from, to] of a channel whose gate is open and that reloads at no time
 * before `to`. */
static uint64_t rising_edges(const struct pit_channel *ch, int64_t from, int64_t to)
{
    int64_t a = from - ch->start, b = to - ch->start, at;

    if (!ch->running || b < 0)
        return 0;
    if (mode_is_periodic(ch->mode))
        return (uint64_t)(b / ch->count - (a < 0 ? 0 : a / ch->count));
    at = ch->count + (ch->mode == MODE_SOFT_STROBE);
    return a < at && at <= b;
}

/* First rising edge after `from` under the same conditions. */
static int64_t next_edge(const struct pit_channel *ch, int64_t from)
{
    int64_t a = from - ch->start, at;

    if (!ch->running)
        return NEVER;
    if (mode_is_periodic(ch->mode))
        return ch->start + (a < 0 ? 1 : a / ch->count + 1) * ch->count;
    at = ch->count + (ch->mode == MODE_SOFT_STROBE);
    return a < at ? ch->start + at : NEVER;
}

static void add_edges(struct pit *pit, uint64_t n)
{
    pit->edges = n > UINT32_MAX - pit->edges ? UINT32_MAX : pit->edges + (unsigned int)n;
}

/* Counts channel 0's edges up to `tick` and lets waiting counts in. */
static void sync(struct pit *pit, int64_t tick)
{
    struct pit_channel *ch = &pit->channel[0];

    if (tick > pit->polled) {
        if (ch->reload_at <= tick) {
            add_edges(pit, rising_edges(ch, pit->polled, ch->reload_at));
            pit->polled = ch->reload_at;
            take_reload(ch);
        }
        add_edges(pit, rising_edges(ch, pit->polled, tick));
        pit->polled = tick;
    }
    channel_sync(&pit->channel[1], tick);
    channel_sync(&pit->channel[2], tick);
}

/* Lets the channel's count in, if one waits. Channel 0's edges are counted when somebody asks for
 * them. */
static void let_in(struct pit *pit, const struct pit_channel *ch, int64_t tick)
{
    if (unlikely(ch->reload_at <= tick))
        sync(pit, tick);
}

void pit_reset(struct pit *pit, uint64_t now)
{
    *pit = (struct pit){.polled = (int64_t)now};
    for (unsigned int i = 0; i < PIT_CHANNELS; i++) {
        struct pit_channel *ch = &pit->channel[i];

        ch->gate = i != 2; /* only channel 2's gate is not tied high */
        ch->access = ACCESS_BOTH;
        ch->read_toggle = 8;
        ch->mode = MODE_SQUARE; /* OUT is high, as firmware would leave it */
        ch->count = ch->next_count = 0x10000;
        ch->reload_at = NEVER;
    }
}

static void load_now(struct pit_channel *ch, int64_t tick)
{
    ch->count = ch->next_count;
    ch->start = tick + 1; /* "Write Operations": loaded on the next clock pulse */
    ch->reload_at = NEVER;
    ch->paused_at = -1;
    ch->running = true;
}

static void write_count(struct pit_channel *ch, uint32_t raw, int64_t tick)
{
    bool first = !ch->written;

    ch->next_count = effective_count(ch, raw);
    ch->written = true;
    if (mode_is_triggered(ch->mode))
        return; /* the next trigger brings it in */
    if (!mode_is_periodic(ch->mode) || first || !ch->gate || tick < ch->start) {
        load_now(ch, tick);
        return;
    }
    /* The present period (mode 2) or half (mode 3) ends first. */
    int64_t d = tick - ch->start, phase = d % ch->count;

    if (ch->mode == MODE_SQUARE && phase < high_half(ch->count))
        ch->reload_at = tick - phase + high_half(ch->count);
    else
        ch->reload_at = tick - phase + ch->count;
}

static void write_channel(struct pit_channel *ch, uint8_t value, int64_t tick)
{
    switch (ch->access) {
    case ACCESS_LOW: write_count(ch, value, tick); return;
    case ACCESS_HIGH: write_count(ch, (uint32_t)value << 8, tick); return;
    default: break;
    }
    if (ch->high_next_write) {
        write_count(ch, (uint32_t)value << 8 | ch->low_byte, tick);
    } else {
        ch->low_byte = value;
        if (ch->mode == MODE_TERMINAL_COUNT)
            ch->running = false; /* "Mode 0": the first byte stops the count and lowers OUT */
    }
    ch->high_next_write = !ch->high_next_write;
}

static void latch_count(struct pit_channel *ch, int64_t tick)
{
    if (ch->latched_bytes != 0)
        return; /* "Counter Latch Command": ignored until the first one was read */
    ch->latched = channel_counter(ch, tick);
    ch->latched_bytes = ch->read_toggle ? 2 : 1;
}

static void latch_status(struct pit_channel *ch, int64_t tick)
{
    bool null_count = !ch->running || ch->reload_at != NEVER || ch->count != ch->next_count ||
                      elapsed(ch, tick) < 0;

    if (ch->status_latched)
        return;
    ch->status =
        (uint8_t)((channel_out(ch, tick) ? STATUS_OUT : 0) | (null_count ? STATUS_NULL_COUNT : 0) |
                  ch->access << CONTROL_ACCESS_SHIFT | ch->mode << CONTROL_MODE_SHIFT |
                  (ch->bcd ? CONTROL_BCD : 0));
    ch->status_latched = true;
}

static void read_back(struct pit *pit, uint8_t value, int64_t tick)
{
    for (unsigned int i = 0; i < PIT_CHANNELS; i++) {
        if (!(value & READ_BACK_CHANNEL0 << i))
            continue;
        if (!(value & READ_BACK_NO_COUNT))
            latch_count(&pit->channel[i], tick);
        if (!(value & READ_BACK_NO_STATUS))
            latch_status(&pit->channel[i], tick);
    }
}

/* A control word for one channel, which begins anew. */
static void write_control(struct pit *pit, uint8_t value, int64_t tick)
{
    unsigned int which = value >> CONTROL_CHANNEL_SHIFT;
    uint8_t access = value >> CONTROL_ACCESS_SHIFT & CONTROL_ACCESS;
    uint8_t mode = value >> CONTROL_MODE_SHIFT & CONTROL_MODE;
    struct pit_channel *ch = &pit->channel[which];
    bool was_high = channel_out(ch, tick), gate = ch->gate;

    *ch = (struct pit_channel){
        .gate = gate,
        .access = access,
        .read_toggle = access == ACCESS_BOTH ? 8 : 0,
        .read_shift = access == ACCESS_HIGH ? 8 : 0,
        .mode = mode > 5 ? mode & 3 : mode, /* 6 and 7 are 2 and 3 */
        .bcd = (value & CONTROL_BCD) != 0,
        .count = ch->count,
        .next_count = ch->next_count,
        .reload_at = NEVER,
    };
    if (which == 0 && !was_high && channel_out(ch, tick))
        add_edges(pit, 1);
}

/* The byte of a count that is due. */
static inline uint32_t next_byte(struct pit_channel *ch, uint32_t value)
{
    value >>= ch->read_shift;
    ch->read_shift ^= ch->read_toggle;
    return value & 0xff;
}

/* "Gate Pin Operations Summary". */
static void set_gate(struct pit_channel *ch, bool gate, int64_t tick)
{
    if (gate == ch->gate)
        return;
    if (mode_is_triggered(ch->mode)) {
        if (gate && ch->written)
            load_now(ch, tick);
    } else if (!gate) {
        ch->paused_at = tick - ch->start;
    } else if (mode_is_periodic(ch->mode)) {
        if (ch->written)
            load_now(ch, tick);
    } else {
        ch->start = tick - ch->paused_at;
    }
    ch->gate = gate;
}

static uint32_t read_speaker(struct pit *pit, int64_t tick)
{
    let_in(pit, &pit->channel[2], tick);
    return pit->speaker | (tick / REFRESH_TICKS & 1 ? SPEAKER_REFRESH : 0) |
           (channel_out(&pit->channel[2], tick) ? SPEAKER_OUT2 : 0);
}

static NOINLINE uint32_t read_slowly(struct pit *pit, unsigned int port, uint64_t now)
{
    unsigned int which = port - PIT_PORT_CHANNEL0;
    struct pit_channel *ch;

    if (port == PIT_PORT_SPEAKER)
        return read_speaker(pit, (int64_t)now);
    if (which >= PIT_CHANNELS)
        return 0xFF; /* the control word cannot be read */
    ch = &pit->channel[which];
    let_in(pit, ch, (int64_t)now);
    if (ch->status_latched) {
        ch->status_latched = false;
        return ch->status;
    }
    if (ch->latched_bytes == 0)
        return next_byte(ch, channel_counter(ch, (int64_t)now));
    ch->latched_bytes--;
    return next_byte(ch, ch->latched);
}

uint32_t pit_read(struct pit *pit, unsigned int port, uint64_t now)
{
    unsigned int which = port - PIT_PORT_CHANNEL0;

    if (likely(which < PIT_CHANNELS)) {
        struct pit_channel *ch = &pit->channel[which];

        __asm__("" : "+r"(ch)); /* not computed again */
        if (likely(ch->reload_at > (int64_t)now && ch->unusual == 0))
            return next_byte(ch, (uint32_t)counter_value(ch, (int64_t)now));
    }
    return read_slowly(pit, port, now);
}

static NOINLINE void latch_slowly(struct pit *pit, uint8_t command, int64_t tick)
{
    unsigned int which = command >> CONTROL_CHANNEL_SHIFT;

    sync(pit, tick);
    if (which == CONTROL_READ_BACK)
        read_back(pit, command, tick);
    else
        latch_count(&pit->channel[which], tick);
}

void pit_latch(struct pit *pit, uint8_t command, uint64_t now)
{
    unsigned int which = command >> CONTROL_CHANNEL_SHIFT;

    if (likely(which < PIT_CHANNELS)) {
        struct pit_channel *ch = &pit->channel[which];

        if (ch->latched_bytes != 0)
            return; /* as in latch_count() */
        if (likely(ch->reload_at > (int64_t)now && !ch->bcd)) {
            ch->latched = (uint16_t)counter_value(ch, (int64_t)now);
            ch->latched_bytes = ch->read_toggle ? 2 : 1;
            return;
        }
    }
    latch_slowly(pit, command, (int64_t)now);
}

bool pit_write(struct pit *pit, unsigned int port, uint8_t value, uint64_t now)
{
    int64_t tick = (int64_t)now;

    if (port == PIT_PORT_COMMAND && pit_is_latch(value)) {
        pit_latch(pit, value, now);
        return false;
    }
    sync(pit, tick);
    switch (port) {
    case PIT_PORT_CHANNEL0:
    case PIT_PORT_CHANNEL1:
    case PIT_PORT_CHANNEL2:
        write_channel(&pit->channel[port - PIT_PORT_CHANNEL0], value, tick);
        return port == PIT_PORT_CHANNEL0;
    case PIT_PORT_COMMAND: write_control(pit, value, tick); return true;
    case PIT_PORT_SPEAKER:
        pit->speaker = value & SPEAKER_WRITABLE;
        set_gate(&pit->channel[2], (value & SPEAKER_GATE2) != 0, tick);
        return false;
    default: return false;
    }
}

uint64_t pit_next_irq(const struct pit *pit, uint64_t now)
{
    struct pit_channel ch = pit->channel[0];
    int64_t edge;

    if (pit->edges != 0)
        return now;
    edge = next_edge(&ch, pit->polled);
    if (ch.reload_at < edge) {
        int64_t from = ch.reload_at;

        take_reload(&ch);
        edge = next_edge(&ch, from);
    }
    if (edge == NEVER)
        return UINT64_MAX;
    if (mode_is_periodic(ch.mode) && ch.count < MIN_EVENT_TICKS)
        edge = MAX(edge, pit->polled + MIN_EVENT_TICKS);
    return (uint64_t)MAX(edge, (int64_t)0);
}

unsigned int pit_poll_irq(struct pit *pit, uint64_t now)
{
    unsigned int edges;

    sync(pit, (int64_t)now);
    edges = pit->edges;
    pit->edges = 0;
    return edges;
}
