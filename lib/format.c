#include "lib/format.h"

#include "lib/string.h"

/* What one conversion specification asks for. */
struct spec {
    bool left; /* '-' */
    bool zero; /* '0' */
    bool has_precision;
    unsigned int width;
    unsigned int precision;
};

/* Where the text goes: `used` counts on when the buffer is full. */
struct sink {
    char *buf;
    size_t size;
    size_t used;
};

/* Widths and precisions beyond this are cut: no caller pads further, and a stray number that
 * arrives through '*' must not keep the core busy. */
#define NUMBER_MAX 4096u
/* 64 bits in octal would be 22 digits; the longest here is a decimal one of 20. */
#define DIGITS_MAX 24

static void put(struct sink *s, char c)
{
    if (s->used + 1 < s->size)
        s->buf[s->used] = c;
    s->used++;
}

static void put_repeated(struct sink *s, char c, unsigned int n)
{
    while (n-- > 0)
        put(s, c);
}

static void put_bytes(struct sink *s, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put(s, text[i]);
}

static void put_padded(struct sink *s, const struct spec *spec, const char *text, size_t n)
{
    unsigned int pad = n < spec->width ? spec->width - (unsigned int)n : 0;

    if (!spec->left)
        put_repeated(s, ' ', pad);
    put_bytes(s, text, n);
    if (spec->left)
        put_repeated(s, ' ', pad);
}

/* Writes the digits of `value` so that they end at `end`; returns how many. Zero has none, as C
 * wants it for a precision of 0. */
static unsigned int digits_before(char *end, uint64_t value, unsigned int base)
{
    unsigned int n = 0;

    for (; value != 0; value /= base)
        end[-(int)++n] = "0123456789abcdef"[value % base];
    return n;
}

static void put_number(struct sink *s, const struct spec *spec, uint64_t value, unsigned int base,
                       const char *prefix)
{
    char digits[DIGITS_MAX];
    char *const end = digits + sizeof(digits);
    unsigned int n = digits_before(end, value, base);
    unsigned int prefix_len = (unsigned int)strlen(prefix);
    unsigned int least = spec->has_precision ? spec->precision : 1;
    unsigned int zeros = n < least ? least - n : 0;
    unsigned int total = prefix_len + zeros + n;
    unsigned int pad = total < spec->width ? spec->width - total : 0;

    /* C11 7.21.6.1p6: '0' is ignored beside '-' and beside a precision. */
    if (spec->zero && !spec->left && !spec->has_precision) {
        zeros += pad;
        pad = 0;
    }
    if (!spec->left)
        put_repeated(s, ' ', pad);
    put_bytes(s, prefix, prefix_len);
    put_repeated(s, '0', zeros);
    put_bytes(s, end - n, n);
    if (spec->left)
        put_repeated(s, ' ', pad);
}

static void put_signed(struct sink *s, const struct spec *spec, int64_t value)
{
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    put_number(s, spec, magnitude, 10, value < 0 ? "-" : "");
}

static void put_string(struct sink *s, const struct spec *spec, const char *text)
{
    if (text == NULL)
        text = "(null)";
    put_padded(s, spec, text, spec->has_precision ? strnlen(text, spec->precision) : strlen(text));
}

static const char *parse_flags(const char *p, struct spec *spec)
{
    for (; *p == '-' || *p == '0'; p++) {
        spec->left = spec->left || *p == '-';
        spec->zero = spec->zero || *p == '0';
    }
    return p;
}

static const char *parse_number(const char *p, unsigned int *out)
{
    unsigned int n = 0;

    for (; *p >= '0' && *p <= '9'; p++)
        n = MIN(n * 10 + (unsigned int)(*p - '0'), NUMBER_MAX);
    *out = n;
    return p;
}

/* Takes a length modifier; `size` is that of the integer, in bytes. */
static const char *parse_length(const char *p, unsigned int *size)
{
    bool twice = *p != '\0' && p[1] == *p;

    switch (*p) {
    case 'z': *size = sizeof(size_t); return p + 1;
    case 'l': *size = twice ? sizeof(long long) : sizeof(long); return p + 1 + twice;
    default: *size = sizeof(int); return p;
    }
}

/* A va_list that is a parameter has decayed to a pointer on x86-64; inside a struct it can be
 * handed on without that trap. */
struct arguments {
    va_list ap;
};

static const char *parse_spec(const char *p, struct spec *spec, struct arguments *args)
{
    p = parse_flags(p, spec);
    if (*p == '*') {
        int width = va_arg(args->ap, int);

        spec->left = spec->left || width < 0;
        spec->width = MIN(width < 0 ? 0 - (unsigned int)width : (unsigned int)width, NUMBER_MAX);
        p++;
    } else {
        p = parse_number(p, &spec->width);
    }
    if (*p == '.') {
        p++;
        spec->has_precision = true;
        if (*p == '*') {
            int precision = va_arg(args->ap, int);

            /* C11 7.21.6.1p5: a negative one counts as none. */
            spec->has_precision = precision >= 0;
            spec->precision = precision >= 0 ? MIN((unsigned int)precision, NUMBER_MAX) : 0;
            p++;
        } else {
            p = parse_number(p, &spec->precision);
        }
    }
    return p;
}

/* An integer of `size` bytes, those of an int or 8, extended to 64 bits. */
static uint64_t next_integer(struct arguments *args, unsigned int size, bool is_signed)
{
    uint64_t value = size > sizeof(int) ? va_arg(args->ap, uint64_t) : va_arg(args->ap, unsigned);

    return is_signed && size == sizeof(int) ? (uint64_t)(int32_t)value : value;
}

/* `conversion` is the specification's text from its '%' on, for what is not known here. Returns
 * what follows it. */
static const char *convert(struct sink *s, const char *conversion, struct arguments *args)
{
    struct spec spec = {0};
    unsigned int size;
    const char *p = parse_length(parse_spec(conversion + 1, &spec, args), &size);
    char c;

    switch (*p) {
    case 'd': put_signed(s, &spec, (int64_t)next_integer(args, size, true)); break;
    case 'u': put_number(s, &spec, next_integer(args, size, false), 10, ""); break;
    case 'x': put_number(s, &spec, next_integer(args, size, false), 16, ""); break;
    case 'p': put_number(s, &spec, va_arg(args->ap, uintptr_t), 16, "0x"); break;
    case 'c':
        c = (char)va_arg(args->ap, int);
        put_padded(s, &spec, &c, 1);
        break;
    case 's': put_string(s, &spec, va_arg(args->ap, const char *)); break;
    case '%': put(s, '%'); break;
    case '\0': /* the text ends inside the specification */
        put_bytes(s, conversion, (size_t)(p - conversion));
        return p;
    default: /* shown as it stands; its argument, if any, is not consumed */
        put_bytes(s, conversion, (size_t)(p + 1 - conversion));
        break;
    }
    return p + 1;
}

int format_v(char *buf, size_t size, const char *fmt, va_list ap)
{
    struct sink s = {.buf = buf, .size = size};
    struct arguments args;

    va_copy(args.ap, ap);
    while (*fmt != '\0')
        if (*fmt == '%')
            fmt = convert(&s, fmt, &args);
        else
            put(&s, *fmt++);
    va_end(args.ap);
    if (size > 0)
        buf[MIN(s.used, size - 1)] = '\0';
    return (int)s.used;
}

int format(char *buf, size_t size, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = format_v(buf, size, fmt, ap);
    va_end(ap);
    return n;
}
