#include "lib/qr.h"

#include "lib/error.h"
#include "lib/string.h"

#define DATA_BYTES  28u
#define CHECK_BYTES 16u
#define ALL_BYTES   (DATA_BYTES + CHECK_BYTES)
#define FIELD       0x11du /* the polynomial of GF(256) */

#define MODE_ALPHANUMERIC 2u
#define MODE_BITS         4u
#define COUNT_BITS        9u
#define PAIR_BITS         11u
#define SINGLE_BITS       6u

#define FINDER     3u /* distance of a finder's centre from the edges */
#define CORNER     9u /* a finder, what separates it, and the format */
#define ALIGNMENT  18u
#define TIMING     6u
#define FORMAT     0x5412u /* error correction M, mask 0, with its own check bits (table C.1) */
#define FORMAT_ROW 8u

struct bits {
    uint8_t bytes[ALL_BYTES];
    unsigned int count;
};

static void add(struct bits *b, unsigned int value, unsigned int count)
{
    while (count-- > 0) {
        b->bytes[b->count / 8] |= (uint8_t)((value >> count & 1) << (7 - b->count % 8));
        b->count++;
    }
}

/* 7.4.4 to 7.4.10 */
static int add_text(struct bits *b, const char *text)
{
    static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";
    size_t len = strlen(text);
    unsigned int first = 0;

    if (len > QR_TEXT)
        return -BH_EINVAL;
    add(b, MODE_ALPHANUMERIC, MODE_BITS);
    add(b, (unsigned int)len, COUNT_BITS);
    for (size_t i = 0; i < len; i++) {
        const char *at = strchr(alphabet, text[i]);
        if (!at)
            return -BH_EINVAL;
        unsigned int value = (unsigned int)(at - alphabet);
        if (i % 2 == 0)
            first = value;
        if (i % 2 == 1)
            add(b, first * (sizeof(alphabet) - 1) + value, PAIR_BITS);
        else if (i + 1 == len)
            add(b, value, SINGLE_BITS);
    }
    add(b, 0, MIN(4u, DATA_BYTES * 8 - b->count));
    b->count = ALIGN_UP(b->count, 8u);
    for (unsigned int pad = 0xec; b->count < DATA_BYTES * 8; pad ^= 0xec ^ 0x11)
        add(b, pad, 8);
    return 0;
}

static uint8_t multiply(unsigned int a, unsigned int b)
{
    unsigned int product = 0;

    for (; b > 0; b >>= 1) {
        product ^= b & 1 ? a : 0;
        a = a << 1 ^ (a & 0x80 ? FIELD : 0);
    }
    return (uint8_t)product;
}

/* Reed-Solomon (7.5.2): the remainder by the polynomial whose roots are 2^0 to 2^15. */
static void add_check(struct bits *b)
{
    uint8_t generator[CHECK_BYTES + 1] = {1}, *rest = b->bytes + DATA_BYTES;
    uint8_t root = 1;

    for (unsigned int n = 1; n <= CHECK_BYTES; n++, root = multiply(root, 2))
        for (unsigned int i = n; i > 0; i--)
            generator[i] ^= multiply(generator[i - 1], root);
    for (unsigned int i = 0; i < DATA_BYTES; i++) {
        uint8_t factor = b->bytes[i] ^ rest[0];
        memmove(rest, rest + 1, CHECK_BYTES - 1);
        rest[CHECK_BYTES - 1] = 0;
        for (unsigned int n = 0; n < CHECK_BYTES; n++)
            rest[n] ^= multiply(generator[n + 1], factor);
    }
}

static unsigned int distance(unsigned int x, unsigned int y, unsigned int to_x, unsigned int to_y)
{
    return MAX(x > to_x ? x - to_x : to_x - x, y > to_y ? y - to_y : to_y - y);
}

static bool is_pattern(unsigned int x, unsigned int y)
{
    return (x < CORNER && (y < CORNER || y > QR_SIZE - CORNER)) ||
           (x > QR_SIZE - CORNER && y < CORNER) || x == TIMING || y == TIMING ||
           distance(x, y, ALIGNMENT, ALIGNMENT) <= 2;
}

/* 6.3: the same in each code. Light where the format will be. */
static bool is_dark_pattern(unsigned int x, unsigned int y)
{
    unsigned int far = QR_SIZE - 1 - FINDER;
    unsigned int to_x = x > QR_SIZE / 2 && y < QR_SIZE / 2 ? far : FINDER;
    unsigned int to_y = y > QR_SIZE / 2 ? far : FINDER;
    unsigned int d = distance(x, y, to_x, to_y);

    if (d <= 4)
        return d <= 3 && d != 2;
    if (distance(x, y, ALIGNMENT, ALIGNMENT) <= 2)
        return distance(x, y, ALIGNMENT, ALIGNMENT) != 1;
    return (x == TIMING && y % 2 == 0) || (y == TIMING && x % 2 == 0);
}

/* 7.9: twice, and a module that is always dark. */
static void put_format(uint32_t rows[QR_SIZE])
{
    for (unsigned int i = 0; i < 15; i++) {
        uint32_t bit = FORMAT >> i & 1;
        unsigned int beside = i < 6 ? i : i < 8 ? i + 1 : QR_SIZE - 15 + i; /* down column 8 */
        unsigned int below = i < 8 ? QR_SIZE - 1 - i : i == 8 ? 7 : 14 - i; /* along row 8 */
        rows[beside] |= bit << FORMAT_ROW;
        rows[FORMAT_ROW] |= bit << below;
    }
    rows[QR_SIZE - 8] |= BIT(FORMAT_ROW);
}

/* 7.7.3: up and down in columns of two, from the lower right, with mask 0 (7.8.2). */
static void put_data(uint32_t rows[QR_SIZE], const struct bits *b)
{
    unsigned int at = 0;

    for (unsigned int pair = 0; pair < QR_SIZE / 2; pair++) {
        unsigned int right = QR_SIZE - 1 - 2 * pair;
        right -= right <= TIMING;
        for (unsigned int i = 0; i < 2 * QR_SIZE; i++) {
            unsigned int x = right - i % 2, y = pair % 2 ? i / 2 : QR_SIZE - 1 - i / 2;
            if (is_pattern(x, y))
                continue;
            bool dark = at < ALL_BYTES * 8 && b->bytes[at / 8] >> (7 - at % 8) & 1;
            rows[y] |= (uint32_t)(dark != ((x + y) % 2 == 0)) << x;
            at++;
        }
    }
}

int qr_encode(const char *text, uint32_t rows[QR_SIZE])
{
    struct bits b = {.count = 0};

    if (add_text(&b, text) != 0)
        return -BH_EINVAL;
    add_check(&b);
    for (unsigned int y = 0; y < QR_SIZE; y++) {
        rows[y] = 0;
        for (unsigned int x = 0; x < QR_SIZE; x++)
            rows[y] |= (uint32_t)is_dark_pattern(x, y) << x;
    }
    put_format(rows);
    put_data(rows, &b);
    return 0;
}
