#ifndef BULKHEAD_ARCH_X86_LAYOUT_H
#define BULKHEAD_ARCH_X86_LAYOUT_H

/* The core's address space, all of it:
 *
 *   0xffffff8000000000  the core's page pool (1 GiB at most)
 *   0xffffff9000000000  device registers, uncached
 *   0xffffffff80000000  the image, at its physical address - image_delta + KERNEL_VMA
 *   0xffffffffc0000000  what each CPU sees its own copy of (linker.ld: cpu_local)
 *     + 0x000000          struct percpu
 *     + 0x010000          stacks, each with an unmapped page below it
 *     + 0x200000          4 KiB windows into guest memory
 *     + 0x400000          two 2 MiB windows into guest memory
 *
 * There is no identity map and no map of all memory: guest RAM is reachable through the windows
 * only, for as long as a copy takes. */

#include "lib/macros.h"

#define KERNEL_VMA 0xffffffff80000000ull

#define POOL_VA     0xffffff8000000000ull
#define POOL_MAX    (1 * GIB)
#define DEVICE_VA   0xffffff9000000000ull
#define DEVICE_SIZE (1 * GIB)

#define CPU_LOCAL_VA    0xffffffffc0000000ull
#define CPU_STACKS_VA   (CPU_LOCAL_VA + 0x10000)
#define CPU_WINDOW_VA   (CPU_LOCAL_VA + 0x200000)
#define CPU_WINDOW2M_VA (CPU_LOCAL_VA + 0x400000)

#define CPU_STACK_SIZE (16 * KIB)

/* From linker.ld. */
extern char boot_start[], boot_end[];
extern char image_start[], image_end[];
extern char text_start[], text_end[];
extern char init_text_start[], init_text_end[];
extern char rodata_start[], rodata_end[];
extern char init_data_start[], init_data_end[];
extern char data_start[], data_end[];

/* How far from where it is linked the loader has put the image: a multiple of 2 MiB, set by
 * boot/entry.asm. */
extern uint64_t image_delta;

static inline uint64_t image_to_pa(const void *va)
{
    return (uint64_t)va - KERNEL_VMA + image_delta;
}

/* The same for the part that is linked at its physical address. */
static inline uint64_t boot_part_to_pa(const void *linked)
{
    return (uint64_t)linked + image_delta;
}

#endif
