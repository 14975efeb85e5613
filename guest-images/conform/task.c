/* Task switches by hardware, in 32-bit protected mode. A hypervisor may refuse them, if it does so
 * cleanly: the switch is complete, or an exception came and nothing was switched. */

#include "low.h"

#define SEL_TASK   LOW_FREE
#define SEL_SHORT  (LOW_FREE + 16)
#define SEL_ABSENT (LOW_FREE + 24)
#define TSS_TYPE   0x89ull
#define TSS_LIMIT  103ull
#define MARK       0x600du
#define RETURN_AT  (LOW_STACK - 4) /* where the caller's address stands */

SNIPPET32(k_jmp, ".byte 0xea; .long 0; .word 0x38; k_after: mov $1, %esi");
SNIPPET32(k_landing, "str %edi");
SNIPPET32(k_jmp_short, ".byte 0xea; .long 0; .word 0x48");
SNIPPET32(k_jmp_absent, ".byte 0xea; .long 0; .word 0x50");
SNIPPET32(k_jmp_busy, ".byte 0xea; .long 0; .word 0x30");

/* SDM vol. 3, figure 7-2. */
struct tss32 {
    uint32_t link, stacks[6], cr3, eip, eflags;
    uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi;
    uint32_t es, cs, ss, ds, fs, gs, ldt, iomap;
};
static_assert(sizeof(struct tss32) == 104, "SDM vol. 3, figure 7-2");

static struct tss32 task ALIGNED(128);

static uint64_t tss_descriptor(uint64_t base, uint64_t limit, uint64_t type)
{
    return limit | (base & 0xffffff) << 16 | type << 40 | (base >> 24) << 56;
}

static void check_switch(void)
{
    struct low_box box = {.mode = LOW_PM32, .ebx = 0x1111};
    uint8_t code[64];
    size_t size = (size_t)(k_jmp_end - k_jmp), landing = (size_t)(k_landing_end - k_landing);

    memcpy(code, k_jmp, size);
    memcpy(code + size, k_landing, landing);
    task = (struct tss32){.eip = LOW_CODE + (uint32_t)size,
                          .eflags = 2,
                          .ebx = MARK,
                          .esp = RETURN_AT,
                          .es = LOW_DATA32,
                          .cs = LOW_CODE32,
                          .ss = LOW_DATA32,
                          .ds = LOW_DATA32,
                          .fs = LOW_DATA32,
                          .gs = LOW_DATA32,
                          .iomap = sizeof(struct tss32)};
    *low_gdt_entry(SEL_TASK) = tss_descriptor((uintptr_t)&task, TSS_LIMIT, TSS_TYPE);
    low_run(&box, code, code + size + landing);
    bool switched = box.vector == LOW_RETURNED && box.ebx == MARK && (box.edi & 0xffff) == SEL_TASK;
    bool refused =
        (box.vector == EXC_GP || box.vector == EXC_TS) && box.eip == LOW_CODE && box.ebx == 0x1111;
    check_that("switched-or-refused", switched || refused, box.vector,
               "a complete switch, or #GP or #TS and none");
    /* The old task's TSS has its state, or has not been touched. */
    check_that("old-state", switched ? *low_tss_word(8) == LOW_CODE + 7 : *low_tss_word(8) == 0,
               *low_tss_word(8), "EIP behind the jump, or nothing");
    check_that("refused-error-code", switched || (box.error & ~7u) == SEL_TASK || box.error == 0,
               box.error, "the selector");
}

static void check_faults(void)
{
    struct low_box box = {.mode = LOW_PM32};

    *low_gdt_entry(SEL_SHORT) = tss_descriptor((uintptr_t)&task, TSS_LIMIT - 1, TSS_TYPE);
    LOW_RUN(&box, k_jmp_short);
    check_that("short-tss", box.vector == EXC_TS || box.vector == EXC_GP, box.vector, "#TS");
    check_eq("short-tss-error", box.error, SEL_SHORT);
    *low_gdt_entry(SEL_ABSENT) = tss_descriptor((uintptr_t)&task, TSS_LIMIT, TSS_TYPE & ~0x80ull);
    box = (struct low_box){.mode = LOW_PM32};
    LOW_RUN(&box, k_jmp_absent);
    check_that("absent-tss", box.vector == EXC_NP || box.vector == EXC_GP, box.vector, "#NP");
    check_eq("absent-tss-error", box.error, SEL_ABSENT);
    box = (struct low_box){.mode = LOW_PM32};
    LOW_RUN(&box, k_jmp_busy);
    check_eq("busy-tss", box.vector, EXC_GP);
    check_eq("busy-tss-error", box.error, LOW_TSS);
}

void group_task(void)
{
    check_switch();
    check_faults();
}
