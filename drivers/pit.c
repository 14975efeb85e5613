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

#define TICKS      (PIT_HZ / 100) /* 10 ms */
#define READ_LIMIT 200000u        /* reads of about 1 us: 20 times as long */

INIT uint64_t pit_measure_tsc_khz(void)
{
    outb(PORT_GATE, (inb(PORT_GATE) & ~SPEAKER) | GATE2);
    outb(PORT_COMMAND, CH2_MODE0);
    outb(PORT_CHANNEL2, TICKS & 0xff);
    outb(PORT_CHANNEL2, TICKS >> 8);
    uint64_t start = rdtsc();
    for (unsigned int i = 0; i < READ_LIMIT; i++) {
        if (inb(PORT_GATE) & OUT2) {
            /* A port that nothing answers reads all ones at once. */
            return i < 10 ? 0 : (rdtsc() - start) * PIT_HZ / TICKS / 1000;
        }
    }
    return 0;
}
