/* A terminal's lines in memory, and how they become pixels. */

#include "drivers/screen.h"

#include "lib/error.h"
#include "lib/string.h"

#define GLYPH_WIDTH  8u
#define GLYPH_HEIGHT 16u
#define GLYPH_FIRST  ' '
#define GLYPH_LAST   '~'
#define SIZE_MAX_PX  16384u
#define SCALE_STEP   2048u /* pixels of width: on screens of more of them, all is drawn larger */
#define SCALE_MAX    (SIZE_MAX_PX / SCALE_STEP)
#define PIXEL_MAX    4u        /* bytes */
#define INK          0xaau     /* of 255, red, green and blue */
#define TEXT_INK     (7 << 8)  /* VGA's text mode: light grey on black, */
#define TEXT_CURSOR  (7 << 12) /* and the other way round */
#define CURSOR_LINES 2u        /* at a glyph's end, which the font leaves empty */
#define CURSOR       0x80u     /* with a character: the cursor is there */
#define TAB          8u
#define PARAM_MAX    9999u
#define ESC          0x1b

static const uint8_t font[GLYPH_LAST - GLYPH_FIRST + 1][GLYPH_HEIGHT] = {
#include "font.h"
};

enum escape_state { ESCAPE_NONE, ESCAPE_START, ESCAPE_SEQUENCE };

/* What it should look like: rows in a ring, so that scrolling moves nothing. Below GLYPH_FIRST:
 * SCREEN_UPPER, SCREEN_LOWER. */
static char cells[SCREEN_ROWS_MAX][SCREEN_COLUMNS_MAX];
static bool dirty[SCREEN_ROWS_MAX]; /* rows of the screen that may differ from `drawn` */
/* What it looks like, with CURSOR; 0: unknown. */
static uint8_t drawn[SCREEN_ROWS_MAX][SCREEN_COLUMNS_MAX];

static struct {
    struct boot_framebuffer fb;
    volatile uint8_t *pixels; /* NULL: nothing is drawn */
    unsigned int columns, rows, scale, pixel_bytes;
    uint32_t ink;
    unsigned int top;         /* row of `cells` that is the first of the screen */
    unsigned int row, column; /* cursor; column == columns: the next character wraps */
    unsigned int next_row;    /* where drawing goes on */
    unsigned int cursor_row;  /* where drawing has put the cursor, or is about to */
    unsigned int cursor_column;
    enum escape_state escape;
    unsigned int params[2], param; /* of the sequence; which one is being read */
    bool is_private;               /* it begins as ECMA-48 leaves to the makers of terminals */
} s;

static char *cells_of(unsigned int row)
{
    unsigned int at = s.top + row;

    return cells[at < s.rows ? at : at - s.rows];
}

static void erase(unsigned int row, unsigned int from, unsigned int to)
{
    if (from < to)
        memset(cells_of(row) + from, ' ', to - from);
    dirty[row] = true;
}

static void line_feed(void)
{
    if (s.row + 1 < s.rows) {
        s.row++;
        return;
    }
    s.top = s.top + 1 < s.rows ? s.top + 1 : 0;
    erase(s.row, 0, s.columns);
    memset(dirty, true, s.rows);
}

static void put_char(char c)
{
    if (s.column >= s.columns) {
        s.column = 0;
        line_feed();
    }
    cells_of(s.row)[s.column++] = c;
    dirty[s.row] = true;
}

/* ECMA-48, 8.3.39 and 8.3.41: 0 behind the cursor and under it, 1 up to it, 2 all. */
static void erase_line(unsigned int what)
{
    erase(s.row, what == 0 ? s.column : 0, what == 1 ? MIN(s.column + 1, s.columns) : s.columns);
}

static void erase_screen(unsigned int what)
{
    unsigned int from = what == 0 ? s.row + 1 : 0, to = what == 1 ? s.row : s.rows;

    erase_line(what);
    for (unsigned int row = from; row < to; row++)
        erase(row, 0, s.columns);
}

static void end_sequence(uint8_t final)
{
    unsigned int n = MAX(s.params[0], 1u), last = s.columns - 1;

    if (s.is_private)
        return;
    if (final <= 'D') /* moving away ends the wait for a wrap */
        s.column = MIN(s.column, last);
    switch (final) {
    case 'A': s.row -= MIN(n, s.row); break;
    case 'B': s.row = MIN(s.row + n, s.rows - 1); break;
    case 'C': s.column = MIN(s.column + n, last); break;
    case 'D': s.column -= MIN(n, s.column); break;
    case 'G': s.column = MIN(n - 1, last); break;
    case 'H':
    case 'f':
        s.row = MIN(n, s.rows) - 1;
        s.column = MIN(MAX(s.params[1], 1u) - 1, last);
        break;
    case 'J': erase_screen(s.params[0]); break;
    case 'K': erase_line(s.params[0]); break;
    default: break;
    }
}

/* Behind ESC [ (ECMA-48, 5.4): parameters, and a final byte from @ to ~. */
static void in_sequence(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        if (s.param < ARRAY_SIZE(s.params))
            s.params[s.param] = MIN(s.params[s.param] * 10 + (c - '0'), PARAM_MAX);
    } else if (c == ';') {
        s.param = MIN(s.param + 1, (unsigned int)ARRAY_SIZE(s.params));
    } else if (c >= '<' && c <= '?') {
        s.is_private = true;
    } else if (c >= '@') {
        s.escape = ESCAPE_NONE;
        end_sequence(c);
    }
}

static void begin_escape(uint8_t c)
{
    s.escape = c == '[' ? ESCAPE_SEQUENCE : ESCAPE_NONE;
    s.params[0] = s.params[1] = s.param = 0;
    s.is_private = false;
}

static void put_control(uint8_t c)
{
    s.escape = c == ESC ? ESCAPE_START : ESCAPE_NONE;
    switch (c) {
    case '\r': s.column = 0; break;
    case '\n': line_feed(); break;
    case '\b': s.column -= s.column > 0; break;
    case '\t': s.column = MIN((s.column / TAB + 1) * TAB, s.columns - 1); break;
    default: break;
    }
}

void screen_write(const char *text, size_t len)
{
    if (s.columns == 0)
        return;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c < ' ')
            put_control(c);
        else if (s.escape == ESCAPE_SEQUENCE)
            in_sequence(c);
        else if (s.escape == ESCAPE_START)
            begin_escape(c);
        else if (c <= GLYPH_LAST)
            put_char((char)c);
        else if (c >= 0xc0) /* UTF-8: the first byte stands for all */
            put_char('?');
    }
}

struct unaligned32 {
    uint32_t v;
} PACKED;
struct unaligned64 {
    uint64_t v;
} PACKED;

/* One line of a glyph as it stands in the framebuffer. Returns its length, a multiple of 8. Each
 * pixel is stored as 4 bytes, of which the next one overwrites what it has too many. */
static unsigned int spread(uint8_t bits, uint8_t *line)
{
    unsigned int n = 0;

    for (unsigned int x = 0; x < GLYPH_WIDTH; x++, bits = (uint8_t)(bits << 1)) {
        uint32_t value = bits & 0x80 ? s.ink : 0;
        for (unsigned int i = 0; i < s.scale; i++, n += s.pixel_bytes)
            ((struct unaligned32 *)(line + n))->v = value;
    }
    return n;
}

static uint8_t glyph_line(uint8_t c, unsigned int y)
{
    if ((c & CURSOR) && y >= GLYPH_HEIGHT - CURSOR_LINES)
        return 0xff;
    c &= (uint8_t)~CURSOR;
    if (c < GLYPH_FIRST)
        return c & (y < GLYPH_HEIGHT / 2 ? SCREEN_UPPER : SCREEN_LOWER) ? 0xff : 0;
    return font[c - GLYPH_FIRST][y];
}

static void draw_glyph(unsigned int row, unsigned int column, uint8_t c)
{
    uint8_t line[GLYPH_WIDTH * SCALE_MAX * PIXEL_MAX + PIXEL_MAX];
    uint64_t width = GLYPH_WIDTH * s.scale * s.pixel_bytes;
    volatile uint8_t *at =
        s.pixels + (uint64_t)row * GLYPH_HEIGHT * s.scale * s.fb.pitch + column * width;

    for (unsigned int y = 0; y < GLYPH_HEIGHT; y++) {
        unsigned int len = spread(glyph_line(c, y), line);
        for (unsigned int i = 0; i < s.scale; i++, at += s.fb.pitch)
            for (unsigned int n = 0; n < len; n += sizeof(uint64_t))
                ((volatile struct unaligned64 *)(at + n))->v =
                    ((struct unaligned64 *)(line + n))->v;
    }
}

static void draw_cell(unsigned int row, unsigned int column, uint8_t c)
{
    if (s.fb.kind == BOOT_FB_LINEAR) {
        draw_glyph(row, column, c);
    } else {
        volatile uint8_t *at = s.pixels + (uint64_t)row * s.fb.pitch + column * sizeof(uint16_t);
        *(volatile uint16_t *)at =
            (uint16_t)(c & CURSOR ? TEXT_CURSOR | (c ^ CURSOR) : TEXT_INK | c);
    }
}

/* False when the limit was reached before the row's end. */
static bool draw_row(unsigned int row, unsigned int *limit)
{
    const char *cell = cells_of(row);

    for (unsigned int i = 0; i < s.columns; i++) {
        uint8_t want = (uint8_t)cell[i];
        if (row == s.cursor_row && i == s.cursor_column)
            want |= CURSOR;
        if (drawn[row][i] == want)
            continue;
        if (*limit == 0)
            return false;
        --*limit;
        draw_cell(row, i, want);
        drawn[row][i] = want;
    }
    return true;
}

static void move_cursor(void)
{
    dirty[s.cursor_row] = dirty[s.row] = true;
    s.cursor_row = s.row;
    s.cursor_column = MIN(s.column, s.columns - 1);
}

/* In turns, so that no row waits for ever while others scroll. */
bool screen_draw(unsigned int limit)
{
    if (!s.pixels)
        return false;
    if (s.row != s.cursor_row || s.column != s.cursor_column)
        move_cursor();
    for (unsigned int i = 0; i < s.rows; i++) {
        if (dirty[s.next_row]) {
            if (!draw_row(s.next_row, &limit))
                return true;
            dirty[s.next_row] = false;
        }
        s.next_row = s.next_row + 1 < s.rows ? s.next_row + 1 : 0;
    }
    return false;
}

/* The ink's part in one colour; false when the loader's mask makes no sense. */
static bool add_ink(unsigned int depth, unsigned int shift, unsigned int bits)
{
    if (bits == 0 || bits > 16 || shift + bits > depth)
        return false;
    s.ink |= (bits <= 8 ? INK >> (8 - bits) : INK << (bits - 8)) << shift;
    return true;
}

static bool init_linear(const struct boot_framebuffer *fb)
{
    s.pixel_bytes = (fb->bits_per_pixel + 7u) / 8;
    s.scale = (fb->width + SCALE_STEP - 1) / SCALE_STEP;
    if (s.pixel_bytes < 2 || s.pixel_bytes > PIXEL_MAX || fb->width == 0 ||
        fb->width > SIZE_MAX_PX || fb->height > SIZE_MAX_PX ||
        fb->pitch < fb->width * s.pixel_bytes)
        return false;
    s.columns = fb->width / (GLYPH_WIDTH * s.scale);
    s.rows = fb->height / (GLYPH_HEIGHT * s.scale);
    return add_ink(fb->bits_per_pixel, fb->red_shift, fb->red_bits) &&
           add_ink(fb->bits_per_pixel, fb->green_shift, fb->green_bits) &&
           add_ink(fb->bits_per_pixel, fb->blue_shift, fb->blue_bits);
}

static bool init_text(const struct boot_framebuffer *fb)
{
    s.columns = fb->width;
    s.rows = fb->height;
    return fb->width <= SIZE_MAX_PX && fb->height <= SIZE_MAX_PX &&
           fb->pitch >= fb->width * sizeof(uint16_t) && fb->pitch % sizeof(uint16_t) == 0;
}

uint64_t screen_bytes(const struct boot_framebuffer *fb)
{
    return (uint64_t)fb->pitch * fb->height;
}

int screen_init(const struct boot_framebuffer *fb)
{
    memset(&s, 0, sizeof(s));
    if (!(fb->kind == BOOT_FB_LINEAR ? init_linear(fb)
                                     : fb->kind == BOOT_FB_TEXT && init_text(fb)) ||
        s.columns < SCREEN_COLUMNS_MIN || s.rows < SCREEN_ROWS_MIN ||
        fb->base + screen_bytes(fb) < fb->base) {
        s.columns = 0;
        return -BH_ENOTSUP;
    }
    s.fb = *fb;
    s.columns = MIN(s.columns, SCREEN_COLUMNS_MAX);
    s.rows = MIN(s.rows, SCREEN_ROWS_MAX);
    memset(drawn, 0, sizeof(drawn));
    screen_clear();
    return 0;
}

void screen_clear(void)
{
    s.top = s.row = s.column = 0;
    s.escape = ESCAPE_NONE;
    memset(cells, ' ', sizeof(cells));
    memset(dirty, true, sizeof(dirty));
}

void screen_put_blocks(unsigned int row, unsigned int column, unsigned int halves)
{
    if (s.fb.kind != BOOT_FB_LINEAR || row >= s.rows || column >= s.columns)
        return;
    cells_of(row)[column] = (char)(halves ? halves : ' ');
    dirty[row] = true;
}

/* Black. Much faster than as many blanks. A character's width in bytes is a multiple of 8. */
static void blank_pixels(void)
{
    unsigned int lines = s.rows * GLYPH_HEIGHT * s.scale;
    uint64_t len = s.columns * GLYPH_WIDTH * s.scale * s.pixel_bytes;

    for (unsigned int y = 0; y < lines; y++) {
        volatile uint8_t *at = s.pixels + (uint64_t)y * s.fb.pitch, *end = at + len;
        for (; at < end; at += sizeof(uint64_t))
            ((volatile struct unaligned64 *)at)->v = 0;
    }
    memset(drawn, ' ', sizeof(drawn));
}

void screen_attach(volatile void *pixels)
{
    s.pixels = pixels;
    if (pixels && s.fb.kind == BOOT_FB_LINEAR)
        blank_pixels();
}

unsigned int screen_columns(void)
{
    return s.columns;
}

unsigned int screen_rows(void)
{
    return s.rows;
}

unsigned int screen_rows_left(void)
{
    return s.columns == 0 ? 0 : s.rows - 1 - s.row;
}
