/* Multiboot 0.6.96 and Multiboot2 2.0 boot information. Everything in it is checked against the
 * view's limit: a loader's mistake must end in a message, not in a fault. */

#include "boot/multiboot.h"

#include "lib/error.h"
#include "lib/log.h"
#include "lib/string.h"

/* Multiboot 2, section 3.6. */
enum mb2_tag_type {
    MB2_TAG_END = 0,
    MB2_TAG_CMDLINE = 1,
    MB2_TAG_MODULE = 3,
    MB2_TAG_MMAP = 6,
    MB2_TAG_SCREEN = 8,
    MB2_TAG_RSDP_V1 = 14,
    MB2_TAG_RSDP_V2 = 15,
};

struct mb2_header {
    uint32_t total_size;
    uint32_t reserved;
} PACKED;

struct mb2_tag {
    uint32_t type;
    uint32_t size;
} PACKED;

struct mb2_module {
    uint32_t start;
    uint32_t end;
} PACKED;

struct mb2_mmap {
    uint32_t entry_size;
    uint32_t entry_version;
} PACKED;

struct mb2_mmap_entry {
    uint64_t base;
    uint64_t length;
    uint32_t type;
    uint32_t reserved;
} PACKED;

#define MB1_SCREEN_SIZE (sizeof(struct mb_screen) + sizeof(struct mb_screen_colours))
#define MB2_COLOURS_AT  (sizeof(struct mb_screen) + sizeof(uint16_t))

/* What cannot be used is passed over: it boots without a screen. */
static void add_screen(struct boot_info *info, uint64_t at, uint64_t size, uint64_t colours_at,
                       const struct phys_view *view)
{
    struct boot_framebuffer *fb = &info->framebuffer;
    struct mb_screen_colours colours = {0};
    struct mb_screen screen;

    if (size < sizeof(screen) || !phys_view_read(view, at, &screen, sizeof(screen)))
        return;
    if (screen.type == MB_SCREEN_RGB) {
        if (size < colours_at + sizeof(colours) ||
            !phys_view_read(view, at + colours_at, &colours, sizeof(colours)))
            return;
        fb->kind = BOOT_FB_LINEAR;
    } else if (screen.type == MB_SCREEN_TEXT) {
        fb->kind = BOOT_FB_TEXT;
    } else {
        return;
    }
    fb->base = screen.base;
    fb->pitch = screen.pitch;
    fb->width = screen.width;
    fb->height = screen.height;
    fb->bits_per_pixel = screen.bits_per_pixel;
    fb->red_shift = colours.red_shift;
    fb->red_bits = colours.red_bits;
    fb->green_shift = colours.green_shift;
    fb->green_bits = colours.green_bits;
    fb->blue_shift = colours.blue_shift;
    fb->blue_bits = colours.blue_bits;
}

static int mb1_modules(struct boot_info *info, const struct mb1_info *mb,
                       const struct phys_view *view)
{
    char string[256];
    struct mb1_module mod;
    uint32_t count = MIN(mb->mods_count, (uint32_t)BOOT_MODULES_MAX);

    for (uint32_t i = 0; i < count; i++) {
        if (!phys_view_read(view, mb->mods_addr + (uint64_t)i * sizeof(mod), &mod, sizeof(mod))) {
            log_error("boot: multiboot module %u of %u lies outside memory", i, mb->mods_count);
            return -BH_EINVAL;
        }
        phys_view_string(view, mod.string, sizeof(string), string, sizeof(string));
        int err = boot_add_module(info, mod.start, mod.end, string);
        if (err)
            return err;
    }
    info->modules_dropped = mb->mods_count - count;
    return 0;
}

static int mb1_memory(struct boot_info *info, const struct mb1_info *mb,
                      const struct phys_view *view)
{
    struct mb1_mmap_entry entry;
    uint64_t at = mb->mmap_addr;
    uint64_t end = at + mb->mmap_length;

    if (!(mb->flags & MB1_FLAG_MMAP)) {
        log_error("boot: the multiboot loader gave no memory map (flags 0x%x)", mb->flags);
        return -BH_EINVAL;
    }
    while (at < end) {
        if (end - at < sizeof(entry) || !phys_view_read(view, at, &entry, sizeof(entry)) ||
            entry.size < sizeof(entry) - sizeof(entry.size)) {
            log_error("boot: malformed memory map entry at 0x%llx", LLU(at));
            return -BH_EINVAL;
        }
        int err = boot_add_range(info, entry.base, entry.length, entry.type);
        if (err)
            return err;
        at += (uint64_t)entry.size + sizeof(entry.size);
    }
    return 0;
}

static int parse_mb1(struct boot_info *info, uint64_t addr, const struct phys_view *view)
{
    struct mb1_info mb;

    info->protocol = "multiboot 1";
    if (!phys_view_read(view, addr, &mb, sizeof(mb))) {
        log_error("boot: multiboot information at 0x%llx lies outside memory", LLU(addr));
        return -BH_EINVAL;
    }
    if (mb.flags & MB1_FLAG_SCREEN)
        add_screen(info, addr + MB1_SCREEN_AT, MB1_SCREEN_SIZE, sizeof(struct mb_screen), view);
    if (mb.flags & MB1_FLAG_CMDLINE)
        phys_view_string(view, mb.cmdline, sizeof(info->cmdline), info->cmdline,
                         sizeof(info->cmdline));
    int err = mb1_memory(info, &mb, view);
    if (!err && (mb.flags & MB1_FLAG_MODULES))
        err = mb1_modules(info, &mb, view);
    return err;
}

static int mb2_memory(struct boot_info *info, uint64_t at, uint64_t end,
                      const struct phys_view *view)
{
    struct mb2_mmap mmap;
    struct mb2_mmap_entry entry;

    if (at + sizeof(mmap) > end || !phys_view_read(view, at, &mmap, sizeof(mmap)) ||
        mmap.entry_size < sizeof(entry)) {
        log_error("boot: malformed multiboot2 memory map tag");
        return -BH_EINVAL;
    }
    for (at += sizeof(mmap); at + sizeof(entry) <= end; at += mmap.entry_size) {
        if (!phys_view_read(view, at, &entry, sizeof(entry)))
            return -BH_EINVAL;
        int err = boot_add_range(info, entry.base, entry.length, entry.type);
        if (err)
            return err;
    }
    return 0;
}

static int mb2_tag(struct boot_info *info, const struct mb2_tag *tag, uint64_t at,
                   const struct phys_view *view)
{
    uint64_t body = at + sizeof(*tag);
    uint64_t size = tag->size - sizeof(*tag);
    struct mb2_module mod;
    char string[256];

    switch (tag->type) {
    case MB2_TAG_CMDLINE:
        phys_view_string(view, body, size, info->cmdline, sizeof(info->cmdline));
        return 0;
    case MB2_TAG_MODULE:
        if (size < sizeof(mod) || !phys_view_read(view, body, &mod, sizeof(mod))) {
            log_error("boot: malformed multiboot2 module tag");
            return -BH_EINVAL;
        }
        phys_view_string(view, body + sizeof(mod), size - sizeof(mod), string, sizeof(string));
        return boot_add_module(info, mod.start, mod.end, string);
    case MB2_TAG_MMAP: return mb2_memory(info, body, at + tag->size, view);
    case MB2_TAG_SCREEN: add_screen(info, body, size, MB2_COLOURS_AT, view); return 0;
    case MB2_TAG_RSDP_V1:
    case MB2_TAG_RSDP_V2:
        /* Version 2 comes with the XSDT and so wins, whatever the order of the tags. */
        if (tag->type == MB2_TAG_RSDP_V2 || info->rsdp_size < BOOT_RSDP_SIZE) {
            unsigned int n = (unsigned int)MIN(size, (uint64_t)BOOT_RSDP_SIZE);
            if (phys_view_read(view, body, info->rsdp, n))
                info->rsdp_size = n;
        }
        return 0;
    default: return 0;
    }
}

static int parse_mb2(struct boot_info *info, uint64_t addr, const struct phys_view *view)
{
    struct mb2_header header;
    struct mb2_tag tag;

    info->protocol = "multiboot 2";
    if (!phys_view_read(view, addr, &header, sizeof(header)) ||
        header.total_size > view->limit - addr || header.total_size < sizeof(header)) {
        log_error("boot: malformed multiboot2 information at 0x%llx", LLU(addr));
        return -BH_EINVAL;
    }
    uint64_t end = addr + header.total_size;
    for (uint64_t at = addr + sizeof(header); at + sizeof(tag) <= end;
         at += ALIGN_UP((uint64_t)tag.size, 8)) {
        if (!phys_view_read(view, at, &tag, sizeof(tag)) || tag.size < sizeof(tag) ||
            tag.size > end - at) {
            log_error("boot: malformed multiboot2 tag at offset %llu", LLU(at - addr));
            return -BH_EINVAL;
        }
        if (tag.type == MB2_TAG_END)
            break;
        int err = mb2_tag(info, &tag, at, view);
        if (err)
            return err;
    }
    return 0;
}

int multiboot_parse(struct boot_info *info, uint32_t magic, uint64_t addr,
                    const struct phys_view *view)
{
    memset(info, 0, sizeof(*info));
    if (magic == MULTIBOOT1_MAGIC)
        return parse_mb1(info, addr, view);
    if (magic == MULTIBOOT2_MAGIC)
        return parse_mb2(info, addr, view);
    log_error("boot: unknown loader: magic 0x%08x, expected multiboot 1 (0x%08x) or 2 (0x%08x)",
              magic, MULTIBOOT1_MAGIC, MULTIBOOT2_MAGIC);
    return -BH_ENOTSUP;
}
