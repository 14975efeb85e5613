#ifndef BULKHEAD_ARCH_X86_GDT_H
#define BULKHEAD_ARCH_X86_GDT_H

#include "lib/macros.h"

#define SELECTOR_CODE 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_TSS  0x18

/* Interrupt stack table slots (SDM vol. 3, 6.14.5), for what may hit on a broken stack. */
enum ist_index { IST_NONE, IST_NMI, IST_DOUBLE_FAULT, IST_MACHINE_CHECK, IST_COUNT };

/* 64-bit TSS (SDM vol. 3, figure 7-11). */
struct tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_map_base;
} PACKED;
static_assert(sizeof(struct tss) == 104, "TSS layout");
static_assert(offsetof(struct tss, ist) == 36, "TSS layout");

struct gdt {
    uint64_t entry[5]; /* null, code, data, TSS (two slots) */
};

/* Descriptor-table register image. */
struct table_pointer {
    uint16_t limit;
    uint64_t base;
} PACKED;

/* Loads this CPU's GDT, segment registers and TSS (struct percpu must be mapped). */
void gdt_init(void);

/* Loads GDTR alone: base and limit. */
void gdt_load(void);

#endif
