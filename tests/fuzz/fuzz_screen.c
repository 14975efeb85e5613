/* What a VM prints, on the text screen.
 *
 * Input: width and height in units of 8 and 16 pixels, pixel size, bytes between two steps of
 * drawing, then the text. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/screen.h"
#include "tests/fuzz/require.h"

#define HEAD_SIZE 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_edges(const uint8_t *memory, const struct boot_framebuffer *fb)
{
    for (uint32_t y = 0; y < fb->height; y++)
        REQUIRE(memory[(size_t)y * fb->pitch + fb->pitch - 1] == 0x5a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct boot_framebuffer fb = {.kind = BOOT_FB_LINEAR, .red_bits = 5, .green_bits = 6};

    if (size < HEAD_SIZE)
        return 0;
    fb.width = 8 * (80 + data[0] % 16);
    fb.height = 16 * (24 + data[1] % 8);
    fb.bits_per_pixel = (uint8_t)(16 + data[2] % 3 * 8);
    fb.pitch = fb.width * fb.bits_per_pixel / 8 + 1;
    fb.green_shift = 5;
    fb.blue_shift = 11;
    fb.blue_bits = 5;
    size_t step = 1 + data[3];
    uint8_t *memory = malloc(screen_bytes(&fb)); /* to the byte, for ASan */

    if (!memory)
        return 0;
    memset(memory, 0x5a, screen_bytes(&fb));
    REQUIRE(screen_init(&fb) == 0);
    screen_attach(memory);
    for (size_t at = HEAD_SIZE; at < size; at += step) {
        screen_write((const char *)data + at, step < size - at ? step : size - at);
        (void)screen_draw(data[3] / 4);
    }
    REQUIRE(!screen_draw(UINT32_MAX));
    check_edges(memory, &fb);
    free(memory);
    return 0;
}
