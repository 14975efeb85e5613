/* The key `console`: a list of serial ports, each perhaps with its baud rate behind it, and
 * `screen`. */

#include "drivers/uart.h"
#include "vmm/config_internal.h"

#define BAUD_EXPECTED "a baud rate that divides 115200, 50 at least"
#define PCI_EXPECTED                                                            \
    "pci:BB:DD.F with bus 00 to ff, device 00 to 1f, function 0 to 7, such as " \
    "pci:00:03.0, and /2 to /8 behind it for a further port of that card"
#define MMIO_EXPECTED                                                        \
    "mmio:0xADDRESS/STRIDE with a stride of 1, 2 or 4 bytes and an address " \
    "from 0x100000 on that is a multiple of it"
#define AT_MOST      "at most 4 serial ports"
#define ONCE         "each port once"
#define SCREEN_ONCE  "screen once"
#define REGISTERS    8u
#define PCI_BUS_MAX  0xff
#define PCI_SLOT_MAX 0x1f
#define PCI_FUNC_MAX 7
#define MMIO_MIN     MIB
#define MMIO_END     BIT64(52)

static_assert(CONFIG_BAUD_MIN == 50 && CONFIG_BAUD_MAX == 115200 && CONFIG_SERIAL_MAX == 4 &&
                  CONFIG_CARD_PORTS_MAX == 8,
              "the texts name these limits");

static const struct config_word com_ports[] = {
    {"com1", COM1}, {"com2", COM2}, {"com3", COM3}, {"com4", COM4}, {NULL, 0}};

/* The divisor of a 16550 divides 115200 Hz. */
INIT static bool is_baud_rate(uint64_t baud)
{
    return baud >= CONFIG_BAUD_MIN && baud <= CONFIG_BAUD_MAX && CONFIG_BAUD_MAX % baud == 0;
}

/* Takes up to two hexadecimal digits and `end` (0: nothing) off. */
INIT static bool take_hex(struct text_span *s, char end, unsigned int max, unsigned int *value)
{
    size_t n = 0;

    for (*value = 0; n < s->len && n < 2; n++) {
        char c = s->at[n] | 0x20; /* digits have that bit; letters become lower case */
        if (c >= '0' && c <= '9')
            *value = *value << 4 | (unsigned int)(c - '0');
        else if (c >= 'a' && c <= 'f')
            *value = *value << 4 | (unsigned int)(c - 'a' + 10);
        else
            break;
    }
    bool good = n > 0 && *value <= max && (end ? n < s->len && s->at[n] == end : n == s->len);

    if (good) {
        n += end != 0;
        s->at += n;
        s->len -= n;
    }
    return good;
}

/* What stands behind "pci:". */
INIT static bool take_pci(struct text_span s, struct config_serial *port)
{
    struct text_span where, number;
    unsigned int bus, slot, function;
    uint64_t n = 1;

    if (text_split(s, '/', &where, &number) &&
        (!text_decimal(number, &n) || n == 0 || n > CONFIG_CARD_PORTS_MAX))
        return false;
    if (!take_hex(&where, ':', PCI_BUS_MAX, &bus) || !take_hex(&where, '.', PCI_SLOT_MAX, &slot) ||
        !take_hex(&where, 0, PCI_FUNC_MAX, &function))
        return false;
    port->kind = CONFIG_SERIAL_PCI;
    port->address = bus << 8 | slot << 3 | function;
    port->part = (uint8_t)n;
    port->baud = CONFIG_BAUD_MAX;
    return true;
}

/* What stands behind "mmio:". */
INIT static bool take_mmio(struct text_span s, struct config_serial *port)
{
    struct text_span where, stride;
    uint64_t n;

    if (!text_split(s, '/', &where, &stride) || !text_decimal(stride, &n) ||
        (n != 1 && n != 2 && n != 4) || !text_hex(where, &port->address) ||
        port->address < MMIO_MIN || port->address > MMIO_END - REGISTERS * n ||
        port->address % n != 0)
        return false;
    port->kind = CONFIG_SERIAL_MEMORY;
    port->part = (uint8_t)n;
    return true;
}

INIT static bool take_io(struct text_span s, struct config_serial *port)
{
    const struct config_word *com = com_ports;

    while (com->text != NULL && !text_equals(s, com->text))
        com++;
    port->kind = CONFIG_SERIAL_IO;
    port->address = com->value;
    port->baud = CONFIG_BAUD_MAX;
    return com->text != NULL ||
           (text_hex(s, &port->address) && port->address >= CONFIG_UART_PORT_MIN &&
            port->address <= CONFIG_UART_PORT_MAX);
}

INIT static struct text_span behind(struct text_span s, char c)
{
    struct text_span before, after;

    (void)text_split(s, c, &before, &after);
    return after;
}

/* Returns NULL, or what was expected instead. */
INIT static const char *take_port(struct config_parser *p, struct text_span item,
                                  struct config_serial *port)
{
    *port = (struct config_serial){.kind = CONFIG_SERIAL_AUTO};
    if (text_starts_with(item, "pci:"))
        return take_pci(behind(item, ':'), port) ? NULL : PCI_EXPECTED;
    if (text_starts_with(item, "mmio:"))
        return take_mmio(behind(item, ':'), port) ? NULL : MMIO_EXPECTED;
    return text_equals(item, "serial") || take_io(item, port) ? NULL : p->key->expected;
}

/* Bytes, or whatever the address counts, that a port has there. */
INIT static uint64_t span_of(const struct config_serial *port)
{
    return port->kind == CONFIG_SERIAL_MEMORY ? REGISTERS * port->part
           : port->kind == CONFIG_SERIAL_IO   ? REGISTERS
                                              : 1;
}

INIT static bool are_same(const struct config_serial *a, const struct config_serial *b)
{
    if (a->kind != b->kind || (a->kind == CONFIG_SERIAL_PCI && a->part != b->part))
        return false;
    return a->address < b->address + span_of(b) && b->address < a->address + span_of(a);
}

/* Returns NULL, or what was expected instead. */
INIT static const char *add_port(struct config_parser *p, struct config_serial *list,
                                 unsigned int *count, struct text_span item)
{
    struct config_serial port;
    const char *expected = take_port(p, item, &port);

    if (expected != NULL)
        return expected;
    for (unsigned int i = 0; i < *count; i++)
        if (are_same(&list[i], &port))
            return ONCE;
    if (*count == CONFIG_SERIAL_MAX)
        return AT_MOST;
    list[(*count)++] = port;
    return NULL;
}

/* A number, or nothing at all, behind a port. */
INIT static bool looks_like_rate(struct text_span item)
{
    return item.len == 0 || (!text_starts_with(item, "0x") && item.at[0] <= '9');
}

INIT void config_set_console(struct config_parser *p, struct text_span value)
{
    struct config_serial list[CONFIG_SERIAL_MAX];
    struct text_span rest = value, item;
    unsigned int count = 0;
    bool screen = false, rate_may_follow = false, more = !text_equals(value, "none");
    const char *expected = NULL;

    while (more && expected == NULL) {
        more = text_split(rest, ',', &item, &rest);
        if (rate_may_follow && looks_like_rate(item)) {
            uint64_t baud;
            expected = text_decimal(item, &baud) && is_baud_rate(baud) ? NULL : BAUD_EXPECTED;
            list[count - 1].baud = (uint32_t)baud;
            rate_may_follow = false;
        } else if (text_equals(item, "screen")) {
            expected = screen ? SCREEN_ONCE : NULL;
            screen = true;
            rate_may_follow = false;
        } else {
            expected = add_port(p, list, &count, item);
            rate_may_follow = true;
        }
    }
    if (expected != NULL) {
        config_bad_value_expected(p, value, expected);
        return;
    }
    p->out->screen = screen ? CONFIG_SCREEN_YES : CONFIG_SCREEN_NO;
    p->out->serial_count = count;
    for (unsigned int i = 0; i < count; i++)
        p->out->serial[i] = list[i];
}
