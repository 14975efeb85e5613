/* What is typed on a PS/2 keyboard, by the bytes that keyboards send (scan code set 1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "drivers/ps2_keys.h"

static struct ps2_keys keys;

static int begin(void **state)
{
    (void)state;
    memset(&keys, 0, sizeof(keys));
    return 0;
}

/* Sends bytes, and compares what they type. */
static void expect_bytes(const char *codes, size_t count, const char *typed, size_t len)
{
    char all[200];
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        uint8_t out[PS2_KEYS_MAX];
        unsigned int got = ps2_keys_decode(&keys, (uint8_t)codes[i], out);
        assert_true(got <= PS2_KEYS_MAX && n + got <= sizeof(all));
        memcpy(all + n, out, got);
        n += got;
    }
    assert_int_equal(n, len);
    assert_memory_equal(all, typed, len);
}

#define expect(codes, typed) expect_bytes(codes, sizeof(codes) - 1, typed, sizeof(typed) - 1)

static void test_characters(void **state)
{
    (void)state;
    /* h e l l o space 1 - Enter, each pressed and released */
    expect("\x23\xa3\x12\x92\x26\xa6\x26\xa6\x18\x98\x39\xb9\x02\x82\x0c\x8c\x1c\x9c",
           "hello 1-\r");
    /* a key that is held repeats; the next one is down before it is released */
    expect("\x1e\x1e\x1e\x30\x9e\xb0", "aaab");
    expect("\x0e\x8e\x0f\x8f\x01\x81", "\177\t\033");
    expect("\x56\xd6\x2b\xab\x29\xa9", "\\\\`");
    expect("\x3b\xbb\x44\xc4\x57\xd7\x58\xd8\x46\xc6", ""); /* F1, F10 to F12, Scroll Lock */
}

static void test_rows(void **state)
{
    static const char *const plain[] = {"1234567890-=", "qwertyuiop[]", "asdfghjkl;'`",
                                        "zxcvbnm,./"};
    static const char *const shifted[] = {"!@#$%^&*()_+", "QWERTYUIOP{}", "ASDFGHJKL:\"~",
                                          "ZXCVBNM<>?"};
    static const uint8_t first[] = {0x02, 0x10, 0x1e, 0x2c};
    uint8_t out[PS2_KEYS_MAX];

    (void)state;
    for (unsigned int row = 0; row < 4; row++) {
        for (unsigned int i = 0; plain[row][i] != '\0'; i++) {
            assert_int_equal(ps2_keys_decode(&keys, (uint8_t)(first[row] + i), out), 1);
            assert_int_equal(out[0], plain[row][i]);
        }
        (void)ps2_keys_decode(&keys, 0x36, out); /* the right Shift */
        for (unsigned int i = 0; shifted[row][i] != '\0'; i++) {
            assert_int_equal(ps2_keys_decode(&keys, (uint8_t)(first[row] + i), out), 1);
            assert_int_equal(out[0], shifted[row][i]);
        }
        (void)ps2_keys_decode(&keys, 0xb6, out);
    }
}

static void test_shift_and_caps(void **state)
{
    (void)state;
    expect("\x2a\x1e\x9e\x02\x82\xaa\x1e\x9e", "A!a");
    /* both Shifts: one is released */
    expect("\x2a\x36\xaa\x1e\x9e\xb6\x1e\x9e", "Aa");
    /* Caps Lock is held, repeats, is released: letters only, and Shift turns it over */
    expect("\x3a\x3a\x3a\xba\x1e\x9e\x02\x82\x2a\x1e\x9e\x02\x82\xaa", "A1a!");
    expect("\x3a\xba\x1e\x9e", "a");
}

static void test_ctrl_and_alt(void **state)
{
    (void)state;
    /* Ctrl-A 0; Ctrl-C; Ctrl-Shift-C */
    expect("\x1d\x1e\x9e\x9d\x0b\x8b", "\0010");
    expect("\x1d\x2e\xae\x2a\x2e\xae\xaa\x9d", "\003\003");
    /* right Ctrl with [ \ ] and space; with 1, which has no control character */
    expect("\xe0\x1d\x1a\x9a\x2b\xab\x1b\x9b\x39\xb9\x02\x82\xe0\x9d\x1a\x9a",
           "\033\034\035\0001[");
    expect("\x1d\x2a\x35\xb5\xaa\x9d", "\177"); /* Ctrl-? */
    expect("\x38\x30\xb0\xb8\x30\xb0", "\033bb");
    expect("\xe0\x38\x30\xb0\xe0\xb8\x30\xb0", "\033bb");
    expect("\x1d\xe0\x1d\xe0\x9d\x2e\x9d\x2e", "\003c"); /* both, one is released */
}

static void test_moves(void **state)
{
    (void)state;
    expect("\xe0\x48\xe0\xc8\xe0\x50\xe0\xd0\xe0\x4d\xe0\xcd\xe0\x4b\xe0\xcb",
           "\033[A\033[B\033[C\033[D");
    expect("\xe0\x47\xe0\xc7\xe0\x4f\xe0\xcf\xe0\x49\xe0\xc9\xe0\x51\xe0\xd1",
           "\033[H\033[F\033[5~\033[6~");
    expect("\xe0\x52\xe0\xd2\xe0\x53\xe0\xd3", "\033[2~\033[3~");
    /* with Num Lock, and with Shift, keyboards put made-up Shifts around them */
    expect("\xe0\x2a\xe0\x53\xe0\xd3\xe0\xaa\x1e\x9e", "\033[3~a");
    expect("\x2a\xe0\xaa\xe0\x48\xe0\xc8\xe0\x2a\x1e\x9e\xaa", "\033[AA");
    expect("\xe0\x5b\xe0\xdb\xe0\x5d\xe0\xdd\xe0\x5e\xe0\xde\xe0\x4a\xe0\x01",
           ""); /* Windows, ... */
}

static void test_keypad(void **state)
{
    (void)state;
    expect(
        "\x47\xc7\x4c\xcc\x52\xd2\x53\xd3\x4a\xca\x4e\xce\x37\xb7\xe0\x35\xe0\xb5\xe0\x1c\xe0\x9c",
        "750.-+*/\r");
    expect("\x45\x45\xc5\x48\xc8\x4a\xca\x4c\xcc\x53\xd3", "\033[A-5\033[3~");
    expect("\x45\xc5\x48\xc8", "8");
}

static void test_pause_and_print_screen(void **state)
{
    (void)state;
    expect("\xe1\x1d\x45\xe1\x9d\xc5\x48\xc8\x2e\xae", "8c"); /* neither Ctrl nor Num Lock */
    expect("\xe0\x2a\xe0\x37\xe0\xb7\xe0\xaa\x1e\x9e", "a");
    expect("\xe0\x46\xe0\xc6\x54\xd4\x1e\x9e", "a"); /* Ctrl-Pause, Alt-Print */
}

static void test_answers_and_errors(void **state)
{
    (void)state;
    expect("\xfa\xfe\xaa\xee\xfc\xfd", ""); /* of the keyboard, and a self-test's result */
    /* the release of Shift and Ctrl is lost */
    expect("\x2a\x1e\x9e\x1d\xff\x1e\x9e", "Aa");
    expect("\x3a\xba\x2a\xe0\x00\x48\xc8\x1e\x9e\x3a\xba", "8A"); /* Caps Lock stays */
    expect("\xe1\x00\x1e\x9e", "a");
    expect("\xe0\xe0\x48", "\033[A");
    expect("\xe0\x1e\x9e\x1e\x9e", "a"); /* a byte behind E0 was lost */
    expect("\xe1\x1d\x1e\x9e\x1e\x9e", "a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_characters, begin),
        cmocka_unit_test_setup(test_rows, begin),
        cmocka_unit_test_setup(test_shift_and_caps, begin),
        cmocka_unit_test_setup(test_ctrl_and_alt, begin),
        cmocka_unit_test_setup(test_moves, begin),
        cmocka_unit_test_setup(test_keypad, begin),
        cmocka_unit_test_setup(test_pause_and_print_screen, begin),
        cmocka_unit_test_setup(test_answers_and_errors, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
