#include "drivers/ps2_keys.h"

/* Bytes that are no keys, or announce one. */
#define CODE_EXTENDED  0xe0u
#define CODE_PAUSE     0xe1u /* two more bytes follow; the key's release is a second such group */
#define CODE_ERROR     0x00u /* the keyboard's or the controller's buffer has overflowed, */
#define CODE_ERROR_TOO 0xffu /* in set 1 and in set 2 */
#define CODE_RELEASED  BIT(7)

#define CODE_CTRL       0x1du
#define CODE_SHIFT_L    0x2au
#define CODE_SHIFT_R    0x36u
#define CODE_ALT        0x38u
#define CODE_CAPS       0x3au
#define CODE_NUM        0x45u
#define CODE_KEYPAD     0x47u /* its 7: three rows of three and an operator, 0, point */
#define CODE_KEYPAD_END 0x53u
#define CODE_102ND      0x56u
#define CODE_ENTER      0x1cu
#define CODE_SLASH      0x35u

#define SHIFT_L BIT(0)
#define SHIFT_R BIT(1)
#define CTRL_L  BIT(2)
#define CTRL_R  BIT(3)
#define ALT_L   BIT(4)
#define ALT_R   BIT(5)
#define CAPS    BIT(6)
#define NUM     BIT(7)

#define ESC 0x1b
#define DEL 0x7f /* what terminals send for Backspace */

/* From scan code 0 on. 0: no character. */
static const char plain[] =
    "\0\0331234567890-=\177\tqwertyuiop[]\r\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
static const char shifted[] =
    "\0\033!@#$%^&*()_+\177\tQWERTYUIOP{}\r\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";
static_assert(sizeof(plain) == sizeof(shifted) && sizeof(plain) == CODE_CAPS + 1, "US layout");

/* From CODE_KEYPAD on: digits, and what the same keys are without Num Lock, and behind E0: a final
 * byte (ECMA-48, 5.4), or the number in front of a tilde, as DEC's terminals have it. */
static const char keypad_digits[] = "789-456+1230.";
static const char keypad_moves[] = "HA5\0D\0C\0FB623";
static_assert(sizeof(keypad_digits) == CODE_KEYPAD_END - CODE_KEYPAD + 2 &&
                  sizeof(keypad_moves) == sizeof(keypad_digits),
              "keypad");

static unsigned int modifier_of(uint8_t key, bool is_extended)
{
    switch (key) {
    case CODE_CTRL: return is_extended ? CTRL_R : CTRL_L;
    case CODE_ALT: return is_extended ? ALT_R : ALT_L;
    /* Behind E0 they are made up by the keyboard, around the keys that stand on the keypad, too. */
    case CODE_SHIFT_L: return is_extended ? 0 : SHIFT_L;
    case CODE_SHIFT_R: return is_extended ? 0 : SHIFT_R;
    case CODE_CAPS: return is_extended ? 0 : CAPS;
    case CODE_NUM: return is_extended ? 0 : NUM;
    default: return 0;
    }
}

static void press_modifier(struct ps2_keys *keys, unsigned int modifier, bool is_released)
{
    if (is_released) {
        keys->held &= (uint8_t)~modifier;
        return;
    }
    if (!(keys->held & modifier)) /* a key that is held repeats */
        keys->locks ^= (uint8_t)(modifier & (CAPS | NUM));
    keys->held |= (uint8_t)modifier;
}

/* Control characters: ECMA-35's columns 4 to 7, less what tells them apart. */
static uint8_t with_ctrl(uint8_t c)
{
    if (c >= '@' && c < DEL)
        return c & 0x1f;
    return c == ' ' ? 0 : c == '?' ? DEL : c;
}

static uint8_t character_of(const struct ps2_keys *keys, uint8_t key)
{
    bool is_shifted = keys->held & (SHIFT_L | SHIFT_R);
    uint8_t c;

    if (key == CODE_102ND)
        return is_shifted ? '|' : '\\';
    if (key >= CODE_CAPS)
        return 0;
    c = (uint8_t)plain[key];
    if (c >= 'a' && c <= 'z' && (keys->locks & CAPS))
        is_shifted = !is_shifted;
    return is_shifted ? (uint8_t)shifted[key] : c;
}

static unsigned int put_character(const struct ps2_keys *keys, uint8_t c, uint8_t *out)
{
    unsigned int n = 0;

    if (c == 0)
        return 0;
    if (keys->held & (ALT_L | ALT_R))
        out[n++] = ESC;
    out[n++] = keys->held & (CTRL_L | CTRL_R) ? with_ctrl(c) : c;
    return n;
}

static unsigned int put_move(char final, uint8_t *out)
{
    unsigned int n = 0;

    if (final == '\0')
        return 0;
    out[n++] = ESC;
    out[n++] = '[';
    out[n++] = (uint8_t) final;
    if (final <= '9')
        out[n++] = '~';
    return n;
}

static unsigned int press(const struct ps2_keys *keys, uint8_t key, bool is_extended, uint8_t *out)
{
    if (key >= CODE_KEYPAD && key <= CODE_KEYPAD_END) {
        unsigned int at = key - CODE_KEYPAD;
        bool moves = is_extended || (keys->locks & NUM);
        if (moves && (is_extended || keypad_moves[at] != '\0'))
            return put_move(keypad_moves[at], out);
        return put_character(keys, (uint8_t)keypad_digits[at], out);
    }
    if (is_extended && key != CODE_ENTER && key != CODE_SLASH)
        return 0;
    return put_character(keys, is_extended && key == CODE_SLASH ? '/' : character_of(keys, key),
                         out);
}

unsigned int ps2_keys_decode(struct ps2_keys *keys, uint8_t code, uint8_t out[PS2_KEYS_MAX])
{
    uint8_t key = code & (uint8_t)~CODE_RELEASED;
    bool is_extended = keys->is_extended;

    keys->is_extended = false;
    if (code == CODE_ERROR || code == CODE_ERROR_TOO) { /* a release may be among what is lost */
        *keys = (struct ps2_keys){.locks = keys->locks};
        return 0;
    }
    if (keys->skip > 0) {
        keys->skip--;
        return 0;
    }
    if (code == CODE_PAUSE) {
        keys->skip = 2;
        return 0;
    }
    if (code == CODE_EXTENDED) {
        keys->is_extended = true;
        return 0;
    }
    unsigned int modifier = modifier_of(key, is_extended);
    if (modifier != 0) {
        press_modifier(keys, modifier, code & CODE_RELEASED);
        return 0;
    }
    return code & CODE_RELEASED ? 0 : press(keys, key, is_extended, out);
}
