#include "boot/boot_screen.h"

#include "arch/x86/mm/address_space.h"
#include "boot/boot_info.h"
#include "drivers/screen.h"
#include "lib/log_ring.h"
#include "vmm/console_screen.h"

#define ADDRESS_LIMIT BIT64(52)

static bool mapped INIT_DATA;

INIT static void show_line(const char *text, size_t len)
{
    screen_write(text, len);
    screen_write("\r\n", 2);
}

INIT void boot_screen_find(void)
{
    const struct boot_framebuffer *fb = &boot_info.framebuffer;

    if (fb->kind == BOOT_FB_NONE)
        return;
    /* What is drawn must not hit the core, a module or a guest, should the loader be wrong. */
    if (screen_init(fb) != 0 || fb->base + screen_bytes(fb) > ADDRESS_LIMIT ||
        memory_map_has(&boot_info.map, fb->base, screen_bytes(fb), BIT(MEM_USABLE))) {
        log_warn("screen: %u x %u, %u bits, %u bytes a line at 0x%llx cannot be used", fb->width,
                 fb->height, fb->bits_per_pixel, fb->pitch, LLU(fb->base));
        return;
    }
    console_has_screen = true;
    log_replay(LOG_ALL_LINES, show_line); /* what the loader's information gave rise to */
}

INIT void boot_screen_map(void)
{
    const struct boot_framebuffer *fb = &boot_info.framebuffer;

    if (!console_has_screen)
        return;
    mapped = true;
    volatile void *pixels = device_map_combined(fb->base, screen_bytes(fb));
    if (!pixels) {
        console_has_screen = false;
        return;
    }
    screen_attach(pixels);
    log_info("screen: %u x %u characters on %u x %u%s", screen_columns(), screen_rows(), fb->width,
             fb->height, fb->kind == BOOT_FB_TEXT ? " of VGA's text mode" : " pixels");
}

INIT void boot_screen_refuse(volatile void *(*map)(uint64_t pa, uint64_t size))
{
    const struct boot_framebuffer *fb = &boot_info.framebuffer;

    if (console_has_screen && !mapped)
        screen_attach(map(fb->base, screen_bytes(fb)));
}
