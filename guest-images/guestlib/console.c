/* COM1, 115200 8N1, polled. */

#include <stdarg.h>

#include "guestlib.h"
#include "lib/format.h"

#define COM1      0x3f8
#define UART_DATA (COM1 + 0)
#define UART_IER  (COM1 + 1)
#define UART_FCR  (COM1 + 2)
#define UART_LCR  (COM1 + 3)
#define UART_MCR  (COM1 + 4)
#define UART_LSR  (COM1 + 5)
#define LCR_DLAB  0x80
#define LCR_8N1   0x03
#define FCR_CLEAR 0x07
#define MCR_READY 0x03
#define LSR_THRE  0x20

#define LINE_MAX 256
/* A transmitter that never gets ready must not hang the guest. */
#define WAIT_MAX 100000

void guest_console_init(void)
{
    outb(UART_IER, 0);
    outb(UART_LCR, LCR_DLAB);
    outb(UART_DATA, 1);
    outb(UART_IER, 0);
    outb(UART_LCR, LCR_8N1);
    outb(UART_FCR, FCR_CLEAR);
    outb(UART_MCR, MCR_READY);
}

void guest_putc(char c)
{
    for (unsigned int i = 0; i < WAIT_MAX && !(inb(UART_LSR) & LSR_THRE); i++) {
    }
    outb(UART_DATA, (uint8_t)c);
}

void print(const char *fmt, ...)
{
    char line[LINE_MAX];
    va_list ap;

    va_start(ap, fmt);
    format_v(line, sizeof(line), fmt, ap);
    va_end(ap);
    for (const char *p = line; *p; p++) {
        if (*p == '\n')
            guest_putc('\r');
        guest_putc(*p);
    }
}
