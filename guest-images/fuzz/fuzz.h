#ifndef BULKHEAD_FUZZ_H
#define BULKHEAD_FUZZ_H

/* A guest that executes random instructions in every processor mode, most of them such as leave the
 * guest. All is drawn from a generator that is set by (seed, block, round), so that what happened
 * can be made to happen again; see main.c for the command line.
 *
 * It may well end itself by a triple fault or hang: that is allowed to a guest. */

#include "guestlib.h"

/* --- Addresses below 1 MiB, so that real mode reaches them, too --- */
#define FUZZ_REAL_STUB 0x8000u /* run.asm: real mode's way in and out */
#define FUZZ_CODE      0xa000u /* the code of a round, FUZZ_CODE_SIZE */
#define FUZZ_CODE_SIZE 0x2000u
#define FUZZ_STACK     0xf000u /* top; one page */
#define FUZZ_DATA      0x10000u
#define FUZZ_DATA_SIZE 0x40000u
#define FUZZ_PAGES     32 /* of the window: mapped anew each round */
#define FUZZ_ALIAS     40 /* window pages of the code: it may end at a page that is not there */

enum fuzz_mode {
    MODE_64_RING0,
    MODE_64_RING3,
    MODE_32_RING0, /* compatibility mode */
    MODE_32_RING3,
    MODE_16_RING0,
    MODE_REAL,
    FUZZ_MODES,
};

enum fuzz_kind {
    KIND_BYTES, /* random bytes, counted by single steps */
    KIND_CODE,  /* random instructions that are valid more often, and random bytes */
    KIND_PORT,
    KIND_MSR,
    KIND_MMIO,
    KIND_CPUID,
    FUZZ_KINDS,
};

/* --- Random numbers: xorshift64* (Vigna 2016) --- */

extern uint64_t fuzz_random_state;
static inline uint64_t fuzz_random(void)
{
    uint64_t x = fuzz_random_state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    fuzz_random_state = x;
    return x * 0x2545f4914f6cdd1dull;
}

/* 0 to n - 1. */
static inline uint32_t fuzz_below(uint32_t n)
{
    return (uint32_t)((fuzz_random() >> 32) * n >> 32);
}

static inline bool fuzz_one_in(uint32_t n)
{
    return fuzz_below(n) == 0;
}

/* A round's code: instruction i begins at start[i]; start[count] is the end. */
#define FUZZ_INSNS 1024
struct fuzz_code {
    unsigned int count;
    uint16_t start[FUZZ_INSNS + 1];
    uint8_t *bytes; /* where they were written */
};

/* generate.c: fills code->bytes, at most `size` bytes and `count` instructions. `wild`: also the
 * ports that end the VM. */
void fuzz_generate(struct fuzz_code *code, unsigned int size, unsigned int count,
                   enum fuzz_kind kind, enum fuzz_mode mode, bool wild);
/* A value for a register: a number, a pointer to memory or to a device, any bits. */
uint64_t fuzz_value(enum fuzz_mode mode);

/* events.c: runs the code, to its end or until `steps` instructions have been counted. */
struct fuzz_result {
    uint64_t instructions; /* that were begun, faulting ones, too */
    uint64_t events;       /* exceptions and interrupts */
    unsigned int hung;     /* instructions that the watchdog ended */
};
void fuzz_run(const struct fuzz_code *code, enum fuzz_mode mode, uint64_t base, bool step,
              unsigned int steps, struct fuzz_result *result);
void fuzz_events_init(void);
/* All random code begins with RFLAGS.IF, and in ring 3 cannot clear it. */
extern bool fuzz_keep_if;

/* state.c: page tables and descriptor tables that the guest cannot write, and everything that a
 * round may have changed set right again. */
void fuzz_state_init(void);
void fuzz_state_restore(void);
void fuzz_devices_restore(void); /* LAPIC, PICs */
void fuzz_watchdog(void);        /* an NMI each 10 ms: PIT and I/O APIC */
void fuzz_window_shuffle(void);

/* run.asm */
void fuzz_enter(struct guest_frame *frame); /* until a handler goes to fuzz_leave */
extern const uint8_t fuzz_leave[], fuzz_call_target[];
extern uint64_t fuzz_saved_rsp;

/* Real mode: copied to FUZZ_REAL_STUB. The parameters are in the copy. */
extern const uint8_t fuzz_real_start[], fuzz_real_end[];
struct PACKED fuzz_real {
    uint32_t gpr[8]; /* EAX, ECX, EDX, EBX, ESP (not used), EBP, ESI, EDI */
    uint32_t left;   /* counts down with each instruction or exception */
    uint32_t events; /* exceptions and interrupts but #DB */
    uint32_t ticks;  /* of the watchdog since the last of these */
    uint32_t flags;  /* to begin with and after each exception */
    uint16_t ip[64]; /* where to go on after an exception */
};
extern struct fuzz_real fuzz_real_area; /* at its place in the original */
void fuzz_enter_real(uint64_t cr3);

#endif
