/* What a PS/2 keyboard, or one that is broken, sends. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "drivers/ps2_keys.h"
#include "tests/fuzz/require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned int send(struct ps2_keys *keys, uint8_t code, uint8_t out[PS2_KEYS_MAX])
{
    struct {
        uint8_t bytes[PS2_KEYS_MAX];
        uint8_t guard;
    } typed = {.guard = 0x5a};
    unsigned int n = ps2_keys_decode(keys, code, typed.bytes);

    REQUIRE(n <= PS2_KEYS_MAX && typed.guard == 0x5a);
    REQUIRE(keys->skip <= 2 && !(keys->skip > 0 && keys->is_extended));
    for (unsigned int i = 0; i < n; i++)
        REQUIRE(typed.bytes[i] < 0x80);
    memcpy(out, typed.bytes, sizeof(typed.bytes));
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t releases[] = {0x9d, 0x9d, 0xe0, 0x9d, 0xaa, 0xb6, 0xb8, 0xe0, 0xb8};
    struct ps2_keys keys = {0};
    uint8_t out[PS2_KEYS_MAX];

    for (size_t i = 0; i < size; i++)
        (void)send(&keys, data[i], out);
    /* Whatever came before: when two bytes of a Pause have been lost and all is released, keys
     * type. */
    for (unsigned int i = 0; i < sizeof(releases); i++)
        REQUIRE(send(&keys, releases[i], out) == 0);
    (void)send(&keys, releases[0], out);
    REQUIRE(send(&keys, 0x02, out) == 1 && out[0] == '1');
    return 0;
}
