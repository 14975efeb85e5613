#ifndef CONFORM_LOW_H
#define CONFORM_LOW_H

/* Code in the modes below 64-bit mode (low.asm). */

#include "check.h"

#define LOW_HOME  0x8000u
#define LOW_CODE  0xb000u /* where the code runs; CS base 0 in all modes */
#define LOW_STACK 0x7a00u /* RET's address stands right below */
#define LOW_DATA  0x6000u /* a free page for operands */

/* Selectors in its GDT. */
#define LOW_CODE32 0x10
#define LOW_DATA32 0x18
#define LOW_TSS    0x30
#define LOW_FREE   0x38 /* nine entries */

enum low_mode { LOW_REAL, LOW_PM16, LOW_PM32, LOW_V86 };

struct low_box {
    uint32_t mode;    /* enum low_mode */
    uint32_t cr0_set; /* bits to set, such as PG */
    uint32_t cr3, cr4;
    uint32_t big; /* real mode and PM16: data segments of 4 GiB */
    uint32_t edi, esi, ebp, esp, ebx, edx, ecx, eax;
    uint32_t eflags;
    uint32_t vector; /* out: exception, or LOW_RETURNED */
    uint32_t error, eip, cs;
    uint32_t count, last; /* out: interrupts that came, vector of the last one */
    uint32_t out_cr0, out_cr4, out_efer;
};
#define LOW_RETURNED UINT32_MAX
static_assert(offsetof(struct low_box, edi) == 20 && offsetof(struct low_box, eflags) == 52 &&
                  offsetof(struct low_box, out_efer) == 88,
              "low.asm");

/* 16-bit and 32-bit code for low_run(). */
#define SNIPPET16(name, text) SNIPPET(name, ".code16\n" text "\nret; .code64")
#define SNIPPET32(name, text) SNIPPET(name, ".code32\n" text "\nret; .code64")

/* Runs `code` as `box` says and returns what became of it, in `box`. The end of the code is RET. */
void low_run(struct low_box *box, const uint8_t *code, const uint8_t *end);
#define LOW_RUN(box, name) low_run(box, name, name##_end)

uint64_t *low_gdt_entry(unsigned int selector);
/* A word of the 32-bit TSS, by index. */
uint32_t *low_tss_word(unsigned int index);

/* Runs the code and compares the exception, its error code, and its offset in the code. */
struct low_row {
    const char *name;
    const uint8_t *code, *end;
    uint32_t vector, error, at;
    struct low_box box;
};
void low_check(const struct low_row *row);

/* 32-bit page directories for tests: identity map of 4 GiB in 4 MiB pages; of 1 GiB, PAE. */
extern uint32_t low_pd32[1024], low_pt32[1024];
extern uint64_t low_pdpt[512], low_pd[512], low_pd_high[512];
void low_make_tables(void);

#endif
