/* The text screen, on a framebuffer in memory. The pixels are read back by the font's own drawing
 * where a test is about text, and by hand where it is about pixels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/screen.h"
#include "lib/error.h"

#define UNTOUCHED 0x5a
#define ALL       UINT32_MAX

static const uint8_t font[95][16] = {
#include "font.h"
};

static struct boot_framebuffer fb;
static uint8_t *memory;
static uint64_t size;
static unsigned int cursor_row,
    cursor_column; /* where a test expects the cursor, and row_text() finds it */

static void open_screen(struct boot_framebuffer description)
{
    free(memory);
    fb = description;
    size = screen_bytes(&fb);
    memory = malloc(size); /* of its exact size, for ASan */
    memset(memory, UNTOUCHED, size);
    assert_int_equal(screen_init(&fb), 0);
    screen_attach(memory);
    cursor_row = cursor_column = UINT32_MAX;
}

static struct boot_framebuffer rgb(uint32_t width, uint32_t height, uint32_t pitch, uint8_t bits)
{
    struct boot_framebuffer f = {
        .base = 0xfd000000, .pitch = pitch, .width = width, .height = height};

    f.kind = BOOT_FB_LINEAR;
    f.bits_per_pixel = bits;
    f.red_bits = f.blue_bits = bits == 16 ? 5 : 8;
    f.green_bits = bits == 16 ? 6 : 8;
    f.green_shift = f.blue_bits;
    f.red_shift = (uint8_t)(f.green_shift + f.green_bits);
    return f;
}

static void open_vga(void)
{
    open_screen((struct boot_framebuffer){
        .base = 0xb8000, .pitch = 160, .width = 80, .height = 25, .kind = BOOT_FB_TEXT});
}

static void print(const char *text)
{
    screen_write(text, strlen(text));
}

static uint32_t pixel(unsigned int x, unsigned int y)
{
    unsigned int bytes = fb.bits_per_pixel / 8;
    uint32_t value = 0;

    memcpy(&value, memory + (size_t)y * fb.pitch + x * bytes, bytes);
    return value;
}

/* The row of VGA's text mode, without the blanks at its end. */
static const char *row_text(unsigned int row)
{
    static char text[81];
    unsigned int len = 0;

    for (unsigned int i = 0; i < 80; i++) {
        text[i] = (char)memory[row * 160 + i * 2];
        if (memory[row * 160 + i * 2 + 1] == 0x70) {
            cursor_row = row;
            cursor_column = i;
        } else {
            assert_int_equal(memory[row * 160 + i * 2 + 1], 0x07);
        }
        if (text[i] != ' ')
            len = i + 1;
    }
    text[len] = '\0';
    return text;
}

#define expect_row(row, text)                     \
    do {                                          \
        assert_false(screen_draw(ALL));           \
        assert_string_equal(row_text(row), text); \
    } while (0)

/* The glyph of `c` in a cell, each of its pixels `scale` squared. */
static void expect_glyph(unsigned int row, unsigned int column, char c, uint32_t ink,
                         unsigned int scale)
{
    for (unsigned int y = 0; y < 16 * scale; y++)
        for (unsigned int x = 0; x < 8 * scale; x++) {
            bool on = font[c - ' '][y / scale] & 0x80 >> x / scale;
            if (row == cursor_row && column == cursor_column && y / scale >= 14)
                on = true;
            assert_int_equal(pixel(column * 8 * scale + x, row * 16 * scale + y), on ? ink : 0);
        }
}

static void test_font(void **state)
{
    /* A glyph as it was drawn, so that the way from the drawing to the table is checked, too. */
    static const uint8_t l[16] = {0,    0,    0x30, 0x10, 0x10, 0x10, 0x10, 0x10,
                                  0x10, 0x10, 0x38, 0,    0,    0,    0,    0};

    (void)state;
    assert_memory_equal(font['l' - ' '], l, 16);
    for (unsigned int a = 0; a < 95; a++)
        for (unsigned int b = 0; b < a; b++)
            assert_memory_not_equal(font[a], font[b], 16);
}

static void test_pixels(void **state)
{
    static const struct {
        uint8_t bits;
        uint32_t ink;
    } depths[] = {{16, 0xad55}, {24, 0xaaaaaa}, {32, 0xaaaaaa}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(depths); i++) {
        open_screen(rgb(640, 480, 640 * depths[i].bits / 8, depths[i].bits));
        assert_int_equal(screen_columns(), 80);
        assert_int_equal(screen_rows(), 30);
        print("Ag\r\n~");
        assert_false(screen_draw(ALL));
        expect_glyph(0, 0, 'A', depths[i].ink, 1);
        expect_glyph(0, 1, 'g', depths[i].ink, 1);
        expect_glyph(1, 0, '~', depths[i].ink, 1);
        expect_glyph(29, 79, ' ', depths[i].ink, 1);
    }
}

static void test_masks(void **state)
{
    struct boot_framebuffer f = rgb(640, 480, 2560, 32);

    (void)state;
    f.red_shift = 0; /* blue is the highest, and 10 bits each */
    f.green_shift = 10;
    f.blue_shift = 20;
    f.red_bits = f.green_bits = f.blue_bits = 10;
    open_screen(f);
    print("W");
    assert_false(screen_draw(ALL));
    expect_glyph(0, 0, 'W', 0x2a8u | 0x2a8u << 10 | 0x2a8u << 20, 1);
}

/* Lines that are not a multiple of anything, and a part of a character at the edges. */
static void test_odd_pitch(void **state)
{
    (void)state;
    open_screen(rgb(647, 399, 647 * 3 + 8, 24));
    assert_int_equal(screen_columns(), 80);
    assert_int_equal(screen_rows(), 24);
    for (unsigned int i = 0; i < 24 * 80; i++)
        print("#");
    assert_false(screen_draw(ALL));
    cursor_row = 23;
    cursor_column = 79;
    expect_glyph(23, 79, '#', 0xaaaaaa, 1);
    for (unsigned int y = 0; y < fb.height; y++)
        for (unsigned int x = y < 384 ? 640 * 3 : 0; x < fb.pitch; x++)
            assert_int_equal(memory[y * fb.pitch + x], UNTOUCHED);
}

static void test_large_screen(void **state)
{
    (void)state;
    open_screen(rgb(3840, 2160, 3840 * 4, 32));
    assert_int_equal(screen_columns(), 240);
    assert_int_equal(screen_rows(), 67);
    print("\033[67;240HR");
    assert_false(screen_draw(ALL));
    cursor_row = 66;
    cursor_column = 239;
    expect_glyph(66, 239, 'R', 0xaaaaaa, 2);
    open_screen(rgb(2048, 2400, 2048 * 2, 16));
    assert_int_equal(screen_columns(), SCREEN_COLUMNS_MAX);
    assert_int_equal(screen_rows(), SCREEN_ROWS_MAX);
}

static void test_refused(void **state)
{
    struct boot_framebuffer bad[] = {
        {0},
        rgb(639, 480, 4096, 32), /* 79 columns */
        rgb(640, 383, 4096, 32), /* 23 rows */
        rgb(640, 480, 2559, 32), /* lines overlap */
        rgb(640, 480, 640, 8),   /* indexed */
        rgb(640, 480, 6400, 64), /* more than 4 bytes */
        rgb(0, 480, 4096, 32),   /* nothing */
        rgb(16385, 480, 70000, 32),
        rgb(0xfffffff8, 480, 70000, 32),
        rgb(640, 0x10000, 4096, 32),
        rgb(640, 480, 2560, 32),
        rgb(640, 480, 2560, 32),
        rgb(640, 480, 2560, 32),
        {.pitch = 158, .width = 80, .height = 25, .kind = BOOT_FB_TEXT},
        {.pitch = 161, .width = 80, .height = 25, .kind = BOOT_FB_TEXT},
        {.pitch = 80, .width = 40, .height = 25, .kind = BOOT_FB_TEXT},
        {.pitch = 160, .width = 80, .height = 25, .kind = 77},
    };

    (void)state;
    bad[10].red_shift = 25; /* beyond the pixel */
    bad[11].green_bits = 0;
    bad[12].base = UINT64_MAX - 2560 * 480 + 2; /* ends behind the end of all addresses */
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(screen_init(&bad[i]), -BH_ENOTSUP);
        assert_int_equal(screen_columns(), 0);
        print("\r\n\b\033[Kx"); /* goes nowhere */
        assert_false(screen_draw(ALL));
    }
}

static void test_controls(void **state)
{
    (void)state;
    open_vga();
    print("abc\rX\r\n12\b3\n4\ta\x07\x01Z\xc3\xa4\x7f\r\n\b\b<");
    expect_row(0, "Xbc");
    expect_row(1, "13");
    expect_row(2, "  4     aZ?");
    expect_row(3, "<");
}

static void test_wrap(void **state)
{
    (void)state;
    open_vga();
    for (unsigned int i = 0; i < 80; i++)
        print("x");
    print("\r\nnext"); /* a line that fills its row leaves no empty one behind it */
    assert_false(screen_draw(ALL));
    assert_int_equal(strlen(row_text(0)), 80);
    expect_row(1, "next");
    for (unsigned int i = 0; i < 77; i++)
        print("y");
    expect_row(2, "y");
}

/* What vmm/console.c does to show another line in the place of an unfinished one. */
static void test_erase_line(void **state)
{
    (void)state;
    open_vga();
    print("vm| unfinished\r\033[Kanother\r\nvm| unfinished");
    expect_row(0, "another");
    expect_row(1, "vm| unfinished");
    print("\r12345\033[2D\033[1K");
    expect_row(1, "    5nfinished");
    print("\033[2K");
    expect_row(1, "");
}

static void test_sequences(void **state)
{
    (void)state;
    open_vga();
    print("\033[5;10Hat\033[A1\033[2Bdown\033[1Gleft\033[99D<\033[999C>\033[999B_\033[H\033[1mtop");
    expect_row(0, "top");
    expect_row(3, "           1");
    expect_row(4, "         at");
    expect_row(5, "<eft        down"
                  "                                                               >");
    print("\033[?25l\033[6;3H\033[1J"); /* private ones mean nothing here */
    expect_row(4, "");
    expect_row(5, "   t        down"
                  "                                                               >");
    print("\033[6;5H\033[J");
    expect_row(5, "   t");
    expect_row(24, "");
    print("\033[2J\033[Ha\033[");
    print("12;3"); /* in pieces */
    print("4;5;6;7Hb\033(\033[4294967296;99999999999Hc\033[\r\nd");
    expect_row(0, "");
    expect_row(10, "                                 b");
    expect_row(23,
               "                                                                               c");
    expect_row(24, "d");
}

static void test_scroll(void **state)
{
    char line[16];

    (void)state;
    open_vga();
    for (unsigned int i = 0; i < 100; i++) {
        snprintf(line, sizeof(line), "%sline %u", i ? "\r\n" : "", i);
        print(line);
    }
    expect_row(0, "line 75");
    expect_row(24, "line 99");
    print("\033[1;1Hfirst\033[25;1H\r\n");
    expect_row(0, "line 76");
    expect_row(24, "");
}

static unsigned int touched(void)
{
    unsigned int count = 0;

    for (unsigned int i = 0; i < 25 * 80; i++)
        count += memory[i * 2] != UNTOUCHED;
    return count;
}

static void test_only_changes_are_drawn(void **state)
{
    (void)state;
    open_vga();
    print("one\r\nones\r\none two");
    assert_false(screen_draw(ALL));
    memset(memory, UNTOUCHED, size);
    print("\rone 2wo"); /* one character is another one */
    assert_false(screen_draw(ALL));
    assert_int_equal(touched(), 1);
    assert_int_equal(memory[2 * 160 + 4 * 2], '2');
    memset(memory, UNTOUCHED, size);
    print("\033[25;1H\r\n"); /* lines move up: "ones", "one 2wo", "" */
    assert_false(screen_draw(ALL));
    assert_int_equal(touched(), 1 + 4 + 6 + 2); /* and where the cursor was and is */
    memset(memory, UNTOUCHED, size);
    assert_false(screen_draw(ALL));
    print("\r\033[K\r");
    assert_false(screen_draw(ALL));
    assert_int_equal(touched(), 0);
}

static void test_drawn_in_steps(void **state)
{
    unsigned int steps = 1;

    (void)state;
    open_vga();
    assert_true(screen_draw(0));
    assert_int_equal(touched(), 0);
    assert_true(screen_draw(7));
    assert_int_equal(touched(), 7);
    while (screen_draw(100))
        steps++;
    assert_int_equal(steps, 20);
    /* Each line moves before all is drawn, and the last one gets its turn nevertheless. */
    memset(memory, UNTOUCHED, size);
    for (unsigned int i = 0; i < 40; i++) {
        print("\r\n----------------------------------------");
        (void)screen_draw(41);
    }
    assert_int_equal(memory[24 * 160], '-');
}

static void expect_cursor(unsigned int row, unsigned int column)
{
    unsigned int found = 0;

    assert_false(screen_draw(ALL));
    for (unsigned int i = 0; i < 25 * 80; i++)
        found += memory[i * 2 + 1] == 0x70;
    assert_int_equal(found, 1);
    (void)row_text(row);
    assert_int_equal(cursor_row, row);
    assert_int_equal(cursor_column, column);
}

static void test_cursor(void **state)
{
    (void)state;
    open_vga();
    expect_cursor(0, 0);
    print("abc");
    expect_cursor(0, 3);
    print("\b\b");
    expect_cursor(0, 1);
    expect_row(0, "abc");
    print("\033[25;80Hx"); /* the next character wraps */
    expect_cursor(24, 79);
    print("y");
    expect_cursor(24, 1);
    expect_row(23,
               "                                                                               x");
    memset(memory, UNTOUCHED, size);
    print("\033[H");
    assert_false(screen_draw(ALL));
    assert_int_equal(touched(), 2);
    open_screen(rgb(640, 480, 2560, 32));
    print("gg");
    assert_false(screen_draw(ALL));
    expect_glyph(0, 1, 'g', 0xaaaaaa, 1);
    cursor_row = 0;
    cursor_column = 2;
    expect_glyph(0, 2, ' ', 0xaaaaaa, 1);
    /* The font leaves the cursor's lines empty. */
    for (unsigned int i = 0; i < 95; i++)
        assert_int_equal(font[i][14] | font[i][15], 0);
}

static void test_blocks(void **state)
{
    (void)state;
    open_screen(rgb(640, 480, 2560, 32));
    for (unsigned int halves = 0; halves < 4; halves++)
        screen_put_blocks(3, 10 + halves, halves);
    screen_put_blocks(30, 0, 3); /* there are 30 rows of 80 */
    screen_put_blocks(0, 80, 3);
    assert_false(screen_draw(ALL));
    for (unsigned int y = 0; y < 16; y++)
        for (unsigned int x = 0; x < 32; x++) {
            bool on = x / 8 & (y < 8 ? SCREEN_UPPER : SCREEN_LOWER);
            assert_int_equal(pixel(80 + x, 48 + y), on ? 0xaaaaaa : 0);
        }
    print("\033[4;12H\033[K"); /* and are erased as text is */
    assert_false(screen_draw(ALL));
    cursor_row = 3;
    cursor_column = 11;
    expect_glyph(3, 11, ' ', 0xaaaaaa, 1);
    expect_glyph(3, 12, ' ', 0xaaaaaa, 1);
    open_vga();
    screen_put_blocks(0, 1, 3);
    expect_row(0, "");
}

/* The page of a crash, which may come in the middle of anything. */
static void test_clear(void **state)
{
    (void)state;
    open_vga();
    for (unsigned int i = 0; i < 30; i++)
        print("line\r\n");
    print("\033[1");
    assert_int_equal(screen_rows_left(), 0);
    screen_clear();
    assert_int_equal(screen_rows_left(), 24);
    print("24Hpage\r\n");
    expect_row(0, "24Hpage");
    for (unsigned int row = 1; row < 25; row++)
        expect_row(row, "");
    assert_int_equal(screen_rows_left(), 23);
    expect_cursor(1, 0);
    assert_int_equal(screen_init(&(struct boot_framebuffer){0}), -BH_ENOTSUP);
    screen_clear();
    assert_int_equal(screen_rows_left(), 0);
}

static void test_not_drawn_before_it_is_mapped(void **state)
{
    (void)state;
    open_vga();
    assert_int_equal(screen_init(&fb), 0);
    print("early");
    assert_false(screen_draw(ALL));
    assert_int_equal(touched(), 0);
    screen_attach(memory);
    expect_row(0, "early");
    assert_int_equal(touched(), 25 * 80);
}

static int end(void **state)
{
    (void)state;
    free(memory);
    memory = NULL;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_font),
        cmocka_unit_test(test_pixels),
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_odd_pitch),
        cmocka_unit_test(test_large_screen),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_controls),
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_erase_line),
        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_scroll),
        cmocka_unit_test(test_only_changes_are_drawn),
        cmocka_unit_test(test_cursor),
        cmocka_unit_test(test_clear),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_drawn_in_steps),
        cmocka_unit_test(test_not_drawn_before_it_is_mapped),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
