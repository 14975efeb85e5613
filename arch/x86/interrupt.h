#ifndef BULKHEAD_ARCH_X86_INTERRUPT_H
#define BULKHEAD_ARCH_X86_INTERRUPT_H

#include "lib/macros.h"

/* What arch/x86/entry.asm leaves on the stack. */
struct interrupt_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector;
    uint64_t error;
    uint64_t rip, cs, rflags, rsp, ss;
};

/* Loads an IDT whose gates use the current stack, so that exceptions are reported from the start.
 */
void interrupts_init_early(void);

/* Gives NMI, double fault and machine check stacks of their own. After gdt_init(). */
void interrupts_init(void);

/* Loads the IDT on another CPU. */
void interrupts_load(void);

/* An interrupt, not an exception, that has been acknowledged at the LAPIC. */
void interrupt_take(uint8_t vector);

/* Loads the GDT and IDT again: a VM exit leaves both with limits of 64 KiB (SDM vol. 3, 28.5.2). */
void interrupts_restore_tables(void);

/* Called by entry.asm. */
void interrupt_dispatch(struct interrupt_frame *frame);

/* Stops the other CPUs, prints what is known, in words, and stops this one: for faults in the core
 * and for our own broken assumptions. */
NORETURN void core_panic(const char *fmt, ...) PRINTF(1, 2);
NORETURN void core_crash(const struct interrupt_frame *frame);

/* Switches to the stack that ends at `top` and calls `fn`, which must not return. */
NORETURN void stack_switch(uint64_t top, void (*fn)(void));

/* Goes on where the call that left `stack` was; returns when one comes with what this one leaves in
 * `*save`. stack_prepare() makes a stack whose `fn` begins; `top` is its end, aligned to 16. */
void stack_exchange(uint64_t *save, uint64_t stack);
#define STACK_SAVED 6 /* registers */
static inline uint64_t stack_prepare(uint64_t *top, void (*fn)(void))
{
    top[-1] = 0; /* fn() returns nowhere: traces end here */
    top[-2] = (uint64_t)fn;
    for (unsigned int i = 0; i < STACK_SAVED; i++)
        top[-3 - (int)i] = 0;
    return (uint64_t)&top[-2 - STACK_SAVED];
}

/* Set before an instruction that may raise #GP and is to be skipped then: rdmsr_safe(). */
bool rdmsr_safe(uint32_t msr, uint64_t *value);

#endif
