/* The machine's 8254 (Intel 8254 data sheet), only as a clock to measure the TSC with. */

#include "drivers/pit.h"

#include "arch/x86/asm.h"

#define PIT_HZ        1193182u
#define PORT_CHANNEL2 0x42
#define PORT_COMMAND  0x43
#define PORT_GATE     0x61
#define GATE2         BIT(0)
#define SPEAKER       BIT(1)
#define OUT2          BIT(5)
#define CH2_MODE0     0xb0 /* channel 2, low then high byte, mode 0: OUT rises at 0 */

#define TICKS       (PIT_HZ / 100) /* 10 ms */
#define GIVE_UP_TSC 1000000000ull  /* 10 ms at 100 GHz, or 1 s at 1 GHz */

INIT uint64_t pit_measure_tsc_khz(void)
{
    outb(PORT_GATE, (inb(PORT_GATE) & ~SPEAKER) | GATE2);
    outb(PORT_COMMAND, CH2_MODE0);
    outb(PORT_CHANNEL2, TICKS & 0xff);
    outb(PORT_CHANNEL2, TICKS >> 8);
    uint64_t start = rdtsc();
    /* A port that nothing answers reads all ones at once. */
    if (inb(PORT_GATE) & OUT2) {
        return 0;
    }
    while (rdtsc() - start < GIVE_UP_TSC) {
        if (inb(PORT_GATE) & OUT2) {
            return (rdtsc() - start) * PIT_HZ / TICKS / 1000;
        }
    }
    return 0;
}
