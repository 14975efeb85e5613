#ifndef BULKHEAD_BENCH_H
#define BULKHEAD_BENCH_H

/* The bench guest: how many TSC ticks an instruction takes that the core answers. Where the
 * emulator counts instructions by the TSC (QEMU -icount shift=0, Bochs), that is the core's
 * instructions, and one for the instruction itself. */

#include "guestlib.h"

/* What the measured instruction finds in its registers. In the order in which STUB() loads them. */
struct bench_regs {
    uint64_t rax, rcx, rdx, rbx, rsi, rdi;
};

/* Runs the instruction once. Returns ticks from before to after, with what the stub itself takes in
 * between; BENCH_FAULT when it raised #UD or #GP. */
typedef uint64_t bench_stub(const struct bench_regs *regs);
#define BENCH_FAULT UINT64_MAX

/* A stub at file level. Between the two RDTSC stand four MOVs and `op`; R8 and R9 are the stub's.
 * The stack pointer is kept for bench_abort. */
#define STUB(name, op)                                                                   \
    __asm__(".pushsection .text\n.balign 16\n" #name ":\n"                               \
            "push %rbx\npush %rbp\nmov %rsp, bench_rsp\n"                                \
            "mov 8(%rdi), %rcx\nmov 24(%rdi), %rbx\nmov 32(%rdi), %rsi\n"                \
            "mov (%rdi), %r10\nmov 16(%rdi), %r11\nmov 40(%rdi), %rdi\n"                 \
            "rdtsc\nmov %eax, %r8d\nmov %edx, %r9d\nmov %r10, %rax\nmov %r11, %rdx\n" op \
            "\nrdtsc\nshl $32, %r9\nor %r9, %r8\nshl $32, %rdx\nor %rdx, %rax\n"         \
            "sub %r8, %rax\npop %rbp\npop %rbx\nret\n.popsection");                      \
    extern bench_stub name

extern uint64_t bench_rsp;

/* What the VM has. */
struct bench_has {
    bool amd, x2apic, tsc_deadline, osxsave;
};
extern struct bench_has bench_has;

enum bench_mode { MODE_ANY, MODE_XAPIC, MODE_X2APIC };

struct bench_row {
    const char *name;
    bench_stub *code, *code_intel; /* the second one: on Intel, if it is not the same */
    struct bench_regs regs;
    uint64_t toggle;      /* XORed into RAX after each sample, so that a write changes something */
    enum bench_mode mode; /* of the LAPIC */
    const bool *needs;    /* NULL: always there */
    unsigned int samples; /* 0: the usual number */
    void (*before)(struct bench_regs *regs); /* each sample, not measured; may be NULL */
    void (*after)(void);
    /* Measures by itself, instead of `code`; the empty stub is not subtracted. */
    uint64_t (*measure)(void);
};

/* One row measured `samples` times (at most BENCH_SAMPLES_MAX), and kept to be printed. */
#define BENCH_SAMPLES     100u
#define BENCH_SAMPLES_MAX 200u
#define BENCH_ROWS_MAX    128

extern const struct bench_row bench_rows[]; /* rows.c: one instruction each */
extern const size_t bench_row_count;
extern const struct bench_row bench_time_rows[]; /* time.c: interrupts and other VMs */
extern const size_t bench_time_row_count;
extern const struct bench_row bench_other_rows[]; /* time.c: with `two`, another VM computes */
extern const size_t bench_other_row_count;

#define EXC_UD 6
#define EXC_GP 13

/* A handler of BENCH_VECTOR that writes EOI in the mode that the LAPIC is in, and returns: 11
 * instructions in x2APIC mode, 5 in xAPIC mode. */
#define BENCH_VECTOR 0x70
void bench_set_handler(void);

#endif
