/* The machine's 8254 (Intel 8254 data sheet), only as a clock to measure the TSC with. */

#include "drivers/pit.h"

#include "arch/x86/asm.h"

#define PIT_HZ        1193182u
#define PORT_CHANNEL0 0x40
#define PORT_CHANNEL2 0x42
#define PORT_COMMAND  0x43
#define CH0_MODE0     0x30 /* low then high byte, mode 0: OUT rises at 0 */
#define CH2_MODE0     0xb0
#define CH0_STATUS    0xe2 /* read-back of channel 0's status, not its count */
#define STATUS_OUT    BIT(7)
/* Channel 2's gate and OUT, beside the 8254. Some virtual machines have none. */
#define PORT_GATE 0x61
#define GATE2     BIT(0)
#define SPEAKER   BIT(1)
#define OUT2      BIT(5)

#define TICKS       (PIT_HZ / 100) /* 10 ms */
#define GIVE_UP_TSC 1000000000ull  /* 10 ms at 100 GHz, or 1 s at 1 GHz */

#define TRIES      3
#define GOOD_PARTS 1000u /* an uncertainty of a thousandth of the span is good enough */

struct channel {
    uint16_t port;
    uint8_t mode0;
    bool (*is_out)(void);
};

INIT static bool is_out2(void)
{
    return inb(PORT_GATE) & OUT2;
}

INIT static bool is_out0(void)
{
    outb(PORT_COMMAND, CH0_STATUS);
    return inb(PORT_CHANNEL0) & STATUS_OUT;
}

/* Channel 0 is the second choice: it needs three accesses for a look at OUT. */
static const struct channel channels[] INIT_DATA = {{PORT_CHANNEL2, CH2_MODE0, is_out2},
                                                    {PORT_CHANNEL0, CH0_MODE0, is_out0}};

/* TSC ticks of one countdown, 0 when the PIT does not count. `*unsure` is how far off it may be:
 * where a port access is an exit to a hypervisor below, it may take long, and longer at times. */
INIT static uint64_t count_down(const struct channel *c, uint64_t *unsure)
{
    outb(PORT_GATE, (inb(PORT_GATE) & ~SPEAKER) | GATE2);
    outb(PORT_COMMAND, c->mode0);
    outb(c->port, TICKS & 0xff);
    uint64_t before = rdtsc();
    outb(c->port, TICKS >> 8);
    uint64_t start = rdtsc();
    /* A port that nothing answers reads all ones at once. */
    if (c->is_out())
        return 0;
    uint64_t low = rdtsc();
    while (low - start < GIVE_UP_TSC) {
        bool out = c->is_out();
        uint64_t now = rdtsc();
        if (out) {
            *unsure = (start - before) + (now - low);
            return low + (now - low) / 2 - (before + (start - before) / 2);
        }
        low = now;
    }
    return 0;
}

INIT static uint64_t measure(const struct channel *c)
{
    uint64_t best = UINT64_MAX, ticks = 0;

    for (unsigned int i = 0; i < TRIES && best > ticks / GOOD_PARTS; i++) {
        uint64_t unsure = UINT64_MAX;
        uint64_t counted = count_down(c, &unsure);
        if (counted == 0)
            break;
        if (unsure < best) {
            best = unsure;
            ticks = counted;
        }
    }
    return ticks * PIT_HZ / TICKS / 1000;
}

INIT uint64_t pit_measure_tsc_khz(void)
{
    uint64_t khz = 0;

    for (unsigned int i = 0; i < ARRAY_SIZE(channels) && khz == 0; i++)
        khz = measure(&channels[i]);
    return khz;
}
