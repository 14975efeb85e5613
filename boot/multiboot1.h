#ifndef BULKHEAD_BOOT_MULTIBOOT1_H
#define BULKHEAD_BOOT_MULTIBOOT1_H

/* What a multiboot 1 loader and its kernel tell each other (Multiboot 0.6.96): the core reads it
 * from the loader that started it, and writes it for its own multiboot guests. */

#include "lib/macros.h"

#define MULTIBOOT1_MAGIC 0x2badb002u /* in EAX at the kernel's entry */

/* Section 3.3. */
#define MB1_FLAG_MEMORY  BIT(0)
#define MB1_FLAG_CMDLINE BIT(2)
#define MB1_FLAG_MODULES BIT(3)
#define MB1_FLAG_MMAP    BIT(6)
#define MB1_FLAG_LOADER  BIT(9)
#define MB1_FLAG_SCREEN  BIT(12)

/* Up to the last field that the core reads; what follows is up to the flags. */
struct mb1_info {
    uint32_t flags;
    uint32_t mem_lower; /* KiB from 0 */
    uint32_t mem_upper; /* KiB from 1 MiB */
    uint32_t boot_device;
    uint32_t cmdline;
    uint32_t mods_count;
    uint32_t mods_addr;
    uint32_t syms[4];
    uint32_t mmap_length;
    uint32_t mmap_addr;
} PACKED;
static_assert(offsetof(struct mb1_info, mmap_addr) == 48, "multiboot 1 layout");

#define MB1_SCREEN_AT 88u /* where struct mb_screen stands in the information */

/* The same in multiboot 2, tag 8 (Multiboot2 2.0, 3.6.12, but that its reserved field has two bytes
 * in GRUB's header). */
struct mb_screen {
    uint64_t base;
    uint32_t pitch;
    uint32_t width;
    uint32_t height;
    uint8_t bits_per_pixel;
    uint8_t type;
} PACKED;
static_assert(sizeof(struct mb_screen) == 22, "multiboot layout");

enum mb_screen_type { MB_SCREEN_INDEXED, MB_SCREEN_RGB, MB_SCREEN_TEXT };

struct mb_screen_colours {
    uint8_t red_shift, red_bits, green_shift, green_bits, blue_shift, blue_bits;
} PACKED;

struct mb1_module {
    uint32_t start;
    uint32_t end;
    uint32_t string;
    uint32_t reserved;
} PACKED;
static_assert(sizeof(struct mb1_module) == 16, "multiboot 1 layout");

struct mb1_mmap_entry {
    uint32_t size; /* of what follows */
    uint64_t base;
    uint64_t length;
    uint32_t type; /* as E820's */
} PACKED;
static_assert(sizeof(struct mb1_mmap_entry) == 24, "multiboot 1 layout");

#endif
