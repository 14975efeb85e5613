#ifndef BULKHEAD_DRIVERS_PS2_KEYS_H
#define BULKHEAD_DRIVERS_PS2_KEYS_H

/* What a PS/2 keyboard's bytes (scan code set 1, which the i8042 makes of set 2) mean on a US
 * layout: the bytes that a terminal sends for the same key. Pure. */

#include "lib/macros.h"

#define PS2_KEYS_MAX 4u /* bytes of a key: ESC [ 3 ~ */

/* All zero: nothing is held, the keypad has digits. */
struct ps2_keys {
    uint8_t held;     /* modifiers and locks that are down */
    uint8_t locks;    /* locks that are turned over */
    uint8_t skip;     /* bytes of a Pause that are still to come */
    bool is_extended; /* the byte before was E0 */
};

/* Takes one byte of the keyboard's. Returns how many bytes it puts into `out`: none for what is
 * not typed. */
unsigned int ps2_keys_decode(struct ps2_keys *keys, uint8_t code, uint8_t out[PS2_KEYS_MAX]);

#endif
