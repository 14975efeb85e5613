#include "vmm/devices/rtc.h"

#include "lib/ticks.h"

/* Quoted names in comments are sections of Motorola's MC146818 data sheet. */

#define HALF_S_NS  500000000u
#define PHASE_HZ   32768ull
#define S_PER_DAY  86400
#define S_PER_HOUR 3600
#define NEVER      INT64_MAX

enum rtc_register {
    REG_SECOND,
    REG_SECOND_ALARM,
    REG_MINUTE,
    REG_MINUTE_ALARM,
    REG_HOUR,
    REG_HOUR_ALARM,
    REG_WEEKDAY,
    REG_DAY,
    REG_MONTH,
    REG_YEAR,
    REG_A,
    REG_B,
    REG_C,
    REG_D,
};

/* "Register A". */
#define A_RATE          0x0Fu
#define A_DIVIDER       0x70u
#define A_DIVIDER_RUN   0x20u /* the time base is 32,768 Hz */
#define A_DIVIDER_RESET 0x60u /* 6 and 7 hold the divider in reset */
#define A_UIP           BIT(7)

/* "Register B"; the interrupt enables stand where C has the flags. */
#define B_24H    BIT(1)
#define B_BINARY BIT(2)
#define B_SET    BIT(7)

#define FLAG_UPDATE     BIT(4)
#define FLAG_ALARM      BIT(5)
#define FLAG_PERIODIC   BIT(6)
#define FLAG_IRQ        BIT(7)
#define FLAG_INTERRUPTS (FLAG_UPDATE | FLAG_ALARM | FLAG_PERIODIC)

#define D_VALID BIT(7)
#define HOUR_PM BIT(7)

/* "Update Cycle", for a 32,768 Hz time base: UIP is set 244 us before the update, which takes
 * 1984 us. The new time shows when both are over. */
#define UIP_NS ((244u + 1984u) * 1000u)

/* "Alarm": bytes from C0h up match everything. */
#define ALARM_ANY 0xC0u

struct date {
    unsigned int year, month, day;
};

/* The wall clock's finer time: whole seconds and the nanoseconds into them. */
static int64_t whole_seconds(const struct rtc *rtc, uint64_t now)
{
    return (int64_t)((now + rtc->phase) / NS_PER_S);
}

static uint32_t fraction(const struct rtc *rtc, uint64_t now)
{
    return (uint32_t)((now + rtc->phase) % NS_PER_S);
}

static bool divider_runs(const struct rtc *rtc)
{
    return (rtc->cmos[REG_A] & A_DIVIDER) == A_DIVIDER_RUN;
}

/* Whether the time stands still in the CMOS bytes, for the guest to set it. */
static bool stopped(const struct rtc *rtc)
{
    return (rtc->cmos[REG_B] & B_SET) || !divider_runs(rtc);
}

/* Days since 1970-01-01 in the Gregorian calendar, and back. Years are counted from March on, so
 * that the leap day is a year's last one; 400 years have 146,097 days. */
static int64_t days_of(struct date date)
{
    int64_t year = (int64_t)date.year - (date.month <= 2);
    int64_t month = (date.month + 9) % 12;

    return year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + date.day - 1 -
           719468;
}

static struct date date_of(int64_t days)
{
    int64_t d = days + 719468, era = d / 146097, in_era = d % 146097;
    int64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int64_t in_year = in_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * in_year + 2) / 153; /* March = 0 */

    return (struct date){
        .year = (unsigned int)(year + era * 400 + (month >= 10)),
        .month = (unsigned int)(month + (month < 10 ? 3 : -9)),
        .day = (unsigned int)(in_year - (153 * month + 2) / 5 + 1),
    };
}

static uint8_t encode(const struct rtc *rtc, unsigned int v)
{
    return (uint8_t)(rtc->cmos[REG_B] & B_BINARY ? v : v / 10 << 4 | v % 10);
}

static unsigned int decode(const struct rtc *rtc, uint8_t v)
{
    return rtc->cmos[REG_B] & B_BINARY ? v : (v >> 4) * 10u + (v & 0xF);
}

static uint8_t encode_hour(const struct rtc *rtc, unsigned int hour)
{
    if (rtc->cmos[REG_B] & B_24H)
        return encode(rtc, hour);
    return encode(rtc, (hour + 11) % 12 + 1) | (hour >= 12 ? HOUR_PM : 0);
}

static unsigned int decode_hour(const struct rtc *rtc, uint8_t v)
{
    if (rtc->cmos[REG_B] & B_24H)
        return decode(rtc, v);
    return decode(rtc, v & (uint8_t)~HOUR_PM) % 12 + (v & HOUR_PM ? 12 : 0);
}

/* Writes the time bytes for `second` since 1970. */
static void store_time(struct rtc *rtc, int64_t second)
{
    unsigned int in_day = (unsigned int)(second % S_PER_DAY);
    int64_t days = second / S_PER_DAY;
    struct date date = date_of(days);

    rtc->cmos[REG_SECOND] = encode(rtc, in_day % 60);
    rtc->cmos[REG_MINUTE] = encode(rtc, in_day / 60 % 60);
    rtc->cmos[REG_HOUR] = encode_hour(rtc, in_day / S_PER_HOUR);
    rtc->cmos[REG_WEEKDAY] = encode(rtc, (unsigned int)((days + 4) % 7) + 1); /* Sunday = 1 */
    rtc->cmos[REG_DAY] = encode(rtc, date.day);
    rtc->cmos[REG_MONTH] = encode(rtc, date.month);
    rtc->cmos[REG_YEAR] = encode(rtc, date.year % 100);
    rtc->cmos[RTC_CENTURY] = encode(rtc, date.year / 100 % 100);
}

/* Seconds since 1970 that the time bytes show. Nonsense in them gives some time not before 1970,
 * whatever it may be. */
static int64_t load_time(const struct rtc *rtc)
{
    unsigned int month = decode(rtc, rtc->cmos[REG_MONTH]);
    struct date date = {
        .year = decode(rtc, rtc->cmos[RTC_CENTURY]) * 100 + decode(rtc, rtc->cmos[REG_YEAR]),
        .month = MIN(MAX(month, 1u), 12u),
        .day = MAX(decode(rtc, rtc->cmos[REG_DAY]), 1u),
    };

    date.year = MAX(date.year, 1970u);
    return days_of(date) * S_PER_DAY + (int64_t)decode_hour(rtc, rtc->cmos[REG_HOUR]) * S_PER_HOUR +
           (int64_t)decode(rtc, rtc->cmos[REG_MINUTE]) * 60 + decode(rtc, rtc->cmos[REG_SECOND]);
}

/* The first second after `after` that the alarm bytes match, NEVER when there is none. */
static int64_t next_alarm(const struct rtc *rtc, int64_t after)
{
    uint8_t raw_h = rtc->cmos[REG_HOUR_ALARM], raw_m = rtc->cmos[REG_MINUTE_ALARM];
    uint8_t raw_s = rtc->cmos[REG_SECOND_ALARM];
    bool any_h = raw_h >= ALARM_ANY, any_m = raw_m >= ALARM_ANY, any_s = raw_s >= ALARM_ANY;
    unsigned int h = decode_hour(rtc, raw_h), m = decode(rtc, raw_m), s = decode(rtc, raw_s);
    int64_t first = after + 1, day = first / S_PER_DAY * S_PER_DAY;
    unsigned int now_h = (unsigned int)(first % S_PER_DAY / S_PER_HOUR);
    unsigned int now_m = (unsigned int)(first / 60 % 60), now_s = (unsigned int)(first % 60);

    if ((!any_h && h > 23) || (!any_m && m > 59) || (!any_s && s > 59))
        return NEVER;
    /* Today from now on, then all of tomorrow: at most 48 hours of 60 minutes. */
    for (unsigned int hour = now_h; hour < 48; hour++) {
        bool this_hour = hour == now_h;

        if (!any_h && hour % 24 != h)
            continue;
        for (unsigned int minute = this_hour ? now_m : 0; minute < 60; minute++) {
            unsigned int earliest = this_hour && minute == now_m ? now_s : 0;

            if ((!any_m && minute != m) || (!any_s && s < earliest))
                continue;
            return day + (int64_t)hour * S_PER_HOUR + minute * 60 + (any_s ? earliest : s);
        }
    }
    return NEVER; /* not reached: a valid alarm matches once a day */
}

/* "Periodic interrupt selection": ticks of the 32,768 Hz time base between interrupts, 0 = off. */
static uint64_t periodic_ticks(const struct rtc *rtc)
{
    unsigned int rate = rtc->cmos[REG_A] & A_RATE;

    if (rate == 0 || !divider_runs(rtc))
        return 0;
    return 1ull << ((rate <= 2 ? rate + 7 : rate) - 1);
}

static void raise_flags(struct rtc *rtc, uint8_t flags)
{
    rtc->cmos[REG_C] |= flags;
    if (rtc->cmos[REG_C] & rtc->cmos[REG_B] & FLAG_INTERRUPTS)
        rtc->cmos[REG_C] |= FLAG_IRQ;
    else
        rtc->cmos[REG_C] &= (uint8_t)~FLAG_IRQ;
}

/* Sets the flags for all that happened since the last sync. */
static void sync(struct rtc *rtc, uint64_t now)
{
    uint64_t period = periodic_ticks(rtc);
    uint8_t flags = 0;

    if (now <= rtc->synced)
        return;
    if (period != 0 && ns_to_ticks(rtc->synced + rtc->phase, PHASE_HZ) / period !=
                           ns_to_ticks(now + rtc->phase, PHASE_HZ) / period)
        flags |= FLAG_PERIODIC;
    if (!stopped(rtc)) {
        int64_t second = whole_seconds(rtc, now) + rtc->offset;

        if (second != rtc->synced_second) {
            flags |= FLAG_UPDATE;
            if (next_alarm(rtc, rtc->synced_second) <= second)
                flags |= FLAG_ALARM;
        }
        rtc->synced_second = second;
    }
    rtc->synced = now;
    raise_flags(rtc, flags);
}

/* Makes the clock go on from what the time bytes show. */
static void start(struct rtc *rtc, uint64_t now)
{
    rtc->synced_second = load_time(rtc);
    rtc->offset = rtc->synced_second - whole_seconds(rtc, now);
}

void rtc_reset(struct rtc *rtc, uint64_t epoch_seconds, uint64_t now)
{
    *rtc = (struct rtc){.synced = now};
    rtc->cmos[REG_A] = A_DIVIDER_RUN | 6; /* 1024 Hz, as firmware leaves it */
    rtc->cmos[REG_B] = B_24H;
    rtc->cmos[REG_D] = D_VALID;
    rtc->phase = (uint32_t)((NS_PER_S - now % NS_PER_S) % NS_PER_S);
    /* Four digits for the year: no clock shows more. */
    rtc->synced_second = (int64_t)MIN(epoch_seconds, 253402300799ull);
    rtc->offset = rtc->synced_second - whole_seconds(rtc, now);
}

static bool is_time(uint8_t index)
{
    return index == REG_SECOND || index == REG_MINUTE || index == REG_HOUR ||
           (index >= REG_WEEKDAY && index <= REG_YEAR) || index == RTC_CENTURY;
}

static void show_time(struct rtc *rtc, uint64_t now)
{
    if (now < rtc->shown_until || stopped(rtc))
        return;
    store_time(rtc, whole_seconds(rtc, now) + rtc->offset);
    rtc->shown_until = now + NS_PER_S - fraction(rtc, now);
}

static NOINLINE uint32_t read_slowly(struct rtc *rtc, uint16_t port, uint64_t now)
{
    uint8_t value;

    if (port != RTC_PORT_DATA)
        return 0xFF; /* the index cannot be read */
    if (rtc->index == REG_C) {
        sync(rtc, now);
        value = rtc->cmos[REG_C];
        rtc->cmos[REG_C] = 0; /* "Register C": a read clears all flags */
        return value;
    }
    if (is_time(rtc->index))
        show_time(rtc, now);
    value = rtc->cmos[rtc->index];
    if (rtc->index == REG_A && !stopped(rtc) && fraction(rtc, now) >= NS_PER_S - UIP_NS)
        value |= A_UIP;
    return value;
}

uint32_t rtc_read(struct rtc *rtc, uint16_t port, uint64_t now)
{
    uint8_t index = rtc->index;

    if (likely(port == RTC_PORT_DATA && now < rtc->shown_until && index != REG_A && index != REG_C))
        return rtc->cmos[index];
    return read_slowly(rtc, port, now);
}

static void write_a(struct rtc *rtc, uint8_t value, uint64_t now)
{
    bool was_stopped = stopped(rtc);
    bool was_reset = (rtc->cmos[REG_A] & A_DIVIDER_RESET) == A_DIVIDER_RESET;

    show_time(rtc, now);
    rtc->cmos[REG_A] = value & (uint8_t)~A_UIP;
    /* "Divider Control": the first update comes half a second after the reset ends. */
    if (was_reset && divider_runs(rtc)) {
        rtc->phase = (uint32_t)((NS_PER_S + HALF_S_NS - now % NS_PER_S) % NS_PER_S);
        was_stopped = true;
    }
    if (was_stopped && !stopped(rtc))
        start(rtc, now);
}

static void write_b(struct rtc *rtc, uint8_t value, uint64_t now)
{
    bool was_stopped = stopped(rtc);

    show_time(rtc, now);
    /* "Register B": SET clears the update interrupt's enable. */
    if (value & B_SET)
        value &= (uint8_t)~FLAG_UPDATE;
    rtc->cmos[REG_B] = value;
    if (was_stopped && !stopped(rtc))
        start(rtc, now);
    raise_flags(rtc, 0);
}

static void write_data(struct rtc *rtc, uint8_t value, uint64_t now)
{
    switch (rtc->index) {
    case REG_A: write_a(rtc, value, now); return;
    case REG_B: write_b(rtc, value, now); return;
    case REG_C:
    case REG_D: return; /* read-only */
    default: break;
    }
    if (!is_time(rtc->index)) {
        rtc->cmos[rtc->index] = value;
        return;
    }
    show_time(rtc, now);
    rtc->cmos[rtc->index] = value;
    if (!stopped(rtc))
        start(rtc, now);
}

void rtc_write(struct rtc *rtc, uint16_t port, uint8_t value, uint64_t now)
{
    if (port == RTC_PORT_INDEX) {
        rtc->index = value & 0x7F; /* bit 7 would mask NMIs */
    } else if (port == RTC_PORT_DATA) {
        sync(rtc, now);
        write_data(rtc, value, now);
        rtc->shown_until = 0;
    }
}

uint64_t rtc_next_event(const struct rtc *rtc, uint64_t now)
{
    uint8_t enabled = rtc->cmos[REG_B];
    uint64_t period = periodic_ticks(rtc), next = UINT64_MAX;
    int64_t second = NEVER;

    /* The line stays up until the guest reads register C. */
    if (rtc->cmos[REG_C] & FLAG_IRQ)
        return UINT64_MAX;
    if ((enabled & FLAG_PERIODIC) && period != 0) {
        uint64_t tick = (ns_to_ticks(rtc->synced + rtc->phase, PHASE_HZ) / period + 1) * period;

        next = ticks_to_ns(tick, PHASE_HZ) - rtc->phase;
    }
    if (!stopped(rtc)) {
        if (enabled & FLAG_UPDATE)
            second = rtc->synced_second + 1;
        else if (enabled & FLAG_ALARM)
            second = next_alarm(rtc, rtc->synced_second);
    }
    if (second != NEVER) {
        uint64_t at = (uint64_t)(second - rtc->offset) * NS_PER_S - rtc->phase;

        next = MIN(next, at);
    }
    return next == UINT64_MAX ? next : MAX(next, now);
}

bool rtc_poll(struct rtc *rtc, uint64_t now)
{
    sync(rtc, now);
    return (rtc->cmos[REG_C] & FLAG_IRQ) != 0;
}
