#ifndef BULKHEAD_VMM_DEVICES_RTC_H
#define BULKHEAD_VMM_DEVICES_RTC_H

/* MC146818 real-time clock with 128 bytes of CMOS RAM, ports 70h and 71h. Times are nanoseconds
 * since boot, monotonic; the clock shows UTC. The caller serializes. */

#include "lib/macros.h"

#define RTC_PORT_INDEX 0x70
#define RTC_PORT_DATA  0x71
#define RTC_IRQ        8
#define RTC_CENTURY    0x32 /* where the century is kept; the FADT names this byte */
#define RTC_FLAGS      0x0c /* register C: reading it lowers IRQ 8 */

struct rtc {
    uint8_t cmos[128];     /* time bytes (0, 2, 4, 6..9, century) only count while stopped */
    uint8_t index;         /* what port 70h selected */
    uint32_t phase;        /* ns: now + phase is a multiple of 1 s when a second begins */
    int64_t offset;        /* seconds since 1970 - whole seconds of (now + phase) */
    uint64_t synced;       /* time up to which register C is right */
    int64_t synced_second; /* the second shown at that time */
    uint64_t shown_until;  /* the time bytes are right until then, unless the guest writes */
};

/* Power-up with a battery: the time is `epoch_seconds` since 1970, CMOS RAM is 0. */
void rtc_reset(struct rtc *rtc, uint64_t epoch_seconds, uint64_t now);

/* Byte accesses to the two ports; others read FFh and ignore writes. */
uint32_t rtc_read(struct rtc *rtc, uint16_t port, uint64_t now);
void rtc_write(struct rtc *rtc, uint16_t port, uint8_t value, uint64_t now);

/* When rtc_poll() may next return another level: absolute ns, UINT64_MAX = not before the guest
 * touches the RTC. */
uint64_t rtc_next_event(const struct rtc *rtc, uint64_t now);

/* Brings the flags up to `now` and returns the level of IRQ 8. Call it after every write and every
 * read of register C, too. */
bool rtc_poll(struct rtc *rtc, uint64_t now);

#endif
