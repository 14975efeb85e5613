/* MC146818A real-time clock. */

#include "drivers/cmos.h"

#include "arch/x86/asm.h"
#include "lib/string.h"

#define PORT_INDEX 0x70
#define PORT_DATA  0x71
#define REG_A      0x0a
#define REG_B      0x0b
#define A_UIP      BIT(7)
#define B_BINARY   BIT(2)
#define B_24H      BIT(1)
#define HOUR_PM    0x80
#define TRIES      1000000u

struct cmos_time {
    uint8_t second, minute, hour, day, month, year, century;
};

INIT static uint8_t read_reg(uint8_t reg)
{
    outb(PORT_INDEX, reg);
    return inb(PORT_DATA);
}

INIT static bool read_once(struct cmos_time *t, uint8_t century_reg)
{
    for (unsigned int i = 0; read_reg(REG_A) & A_UIP; i++)
        if (i == TRIES)
            return false;
    t->second = read_reg(0);
    t->minute = read_reg(2);
    t->hour = read_reg(4);
    t->day = read_reg(7);
    t->month = read_reg(8);
    t->year = read_reg(9);
    t->century = century_reg ? read_reg(century_reg) : 0;
    return true;
}

INIT static unsigned int number(uint8_t v, uint8_t reg_b)
{
    return reg_b & B_BINARY ? v : (v >> 4) * 10u + (v & 15);
}

/* Days from 1970-01-01; the year starts in March so that the leap day comes last. */
INIT static uint64_t days_since_1970(unsigned int year, unsigned int month, unsigned int day)
{
    unsigned int y = month <= 2 ? year - 1 : year;
    unsigned int m = month <= 2 ? month + 9 : month - 3;

    return 365ull * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

INIT uint64_t cmos_read_epoch(uint8_t century_reg)
{
    struct cmos_time a;
    struct cmos_time b;

    do {
        if (!read_once(&a, century_reg) || !read_once(&b, century_reg))
            return 0;
    } while (memcmp(&a, &b, sizeof(a)) != 0);
    uint8_t reg_b = read_reg(REG_B);
    unsigned int hour = number(a.hour & ~HOUR_PM, reg_b);
    if (!(reg_b & B_24H))
        hour = hour % 12 + (a.hour & HOUR_PM ? 12 : 0);
    unsigned int month = number(a.month, reg_b);
    unsigned int day = number(a.day, reg_b);
    unsigned int century = century_reg ? number(a.century, reg_b) : 20;
    unsigned int year =
        (century >= 19 && century <= 25 ? century : 20) * 100 + number(a.year, reg_b);
    if (month < 1 || month > 12 || day < 1 || day > 31 || year < 1970)
        return 0;
    return (days_since_1970(year, month, day) * 24 + hour) * 3600 +
           number(a.minute, reg_b) * 60ull + number(a.second, reg_b);
}
