#include "arch/x86/gdt.h"

#include "arch/x86/layout.h"
#include "arch/x86/percpu.h"

#define DESC_CODE64 0x00af9b000000ffffull
#define DESC_DATA   0x00cf93000000ffffull
#define DESC_TSS    0x0000890000000000ull /* present, available 64-bit TSS */

void gdt_load(void)
{
    const struct gdt *gdt = &this_cpu->gdt;
    struct table_pointer pointer = {sizeof(*gdt) - 1, (uint64_t)gdt};

    __asm__ volatile("lgdt %0" ::"m"(pointer) : "memory");
}

INIT static void load_segments(void)
{
    __asm__ volatile("pushq %0\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1:\n\t"
                     "movl %1, %%eax\n\t"
                     "movl %%eax, %%ds\n\t"
                     "movl %%eax, %%es\n\t"
                     "movl %%eax, %%ss\n\t"
                     "xorl %%eax, %%eax\n\t"
                     "movl %%eax, %%fs\n\t"
                     "movl %%eax, %%gs\n\t"
                     "lldt %%ax\n\t"
                     "ltr %w2"
                     :
                     : "i"(SELECTOR_CODE), "i"(SELECTOR_DATA), "r"((uint16_t)SELECTOR_TSS)
                     : "rax", "memory");
}

INIT void gdt_init(void)
{
    struct percpu *cpu = this_cpu;
    uint64_t tss = (uint64_t)&cpu->tss;
    uint64_t limit = sizeof(cpu->tss) - 1;

    for (unsigned int i = IST_NMI; i < IST_COUNT; i++)
        cpu->tss.ist[i - 1] = percpu_stack_top(i);
    cpu->tss.rsp[0] = percpu_stack_top(0);
    cpu->tss.io_map_base = sizeof(cpu->tss);
    cpu->gdt.entry[SELECTOR_CODE / 8] = DESC_CODE64;
    cpu->gdt.entry[SELECTOR_DATA / 8] = DESC_DATA;
    cpu->gdt.entry[SELECTOR_TSS / 8] =
        DESC_TSS | limit | (tss & 0xffffff) << 16 | (tss >> 24 & 0xff) << 56;
    cpu->gdt.entry[SELECTOR_TSS / 8 + 1] = tss >> 32;
    gdt_load();
    load_segments();
}
