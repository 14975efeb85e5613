#ifndef BULKHEAD_VMM_EMULATE_EMULATE_H
#define BULKHEAD_VMM_EMULATE_EMULATE_H

/* Executes one instruction whose memory operand is a device's, or a string I/O instruction, on
 * behalf of a guest. Knows nothing of VMs: everything outside the vCPU's registers is reached
 * through struct emu_ops.
 *
 * Not architectural: LOCK is checked for legality, but the read and the write are two accesses;
 * debug breakpoints are not matched. The caller ends the interrupt shadow, and raises #DB when
 * RFLAGS.TF was set, after EMU_DONE (and for TF after each EMU_RETRY, too: a REP iteration is one
 * step). RFLAGS.RF is cleared on EMU_DONE. */

#include <stddef.h>
#include <stdint.h>

#include "arch/x86/regs.h"
#include "arch/x86/segment.h"
#include "lib/macros.h"
#include "vmm/emulate/decode.h"

/* What the nested page fault told about the access that caused it. It saves the walk of the guest's
 * tables, which the hardware has just done with the same rights. Optional. */
struct emu_hint {
    uint64_t gpa;
    bool valid; /* gpa is the final address of the access, not that of a page table */
    bool write; /* the access was a write */
};

struct emu_cpu {
    uint64_t *gpr; /* GPR_COUNT registers, in encoding order, RSP included */
    uint64_t rip;
    uint64_t rflags;
    uint64_t cr0;
    uint64_t cr3;
    uint64_t cr4;
    uint64_t efer;
    struct segment seg[SEG_COUNT]; /* an unusable one has SEG_ATTR_P clear */
    uint8_t cpl;                   /* 3 in virtual-8086 mode */
    struct emu_hint hint;
};

#define EMU_STRING_BYTES 128

/* Accesses have 1 to 8 bytes and never cross a 4 KiB page; their length need not be a power of two
 * when the operand crosses one. `write` gets up to EMU_STRING_BYTES where `read_ram` has just
 * succeeded. */
struct emu_ops {
    void (*read)(void *ctx, uint64_t gpa, void *buf, unsigned int len);
    void (*write)(void *ctx, uint64_t gpa, const void *buf, unsigned int len);
    /* Up to EMU_STRING_BYTES, of instructions for example; negative when that is not RAM. */
    int (*read_ram)(void *ctx, uint64_t gpa, void *buf, unsigned int len);
    /* One page-table entry of 4 or 8 bytes, see walk.h. */
    int (*read_pte)(void *ctx, uint64_t gpa, unsigned int size, uint64_t *pte);
    /* `count` > 0 elements from or to a port, one after the other; `size` is 1, 2 or 4. The rights
     * to the port (IOPL, TSS bitmap) are not checked: hardware does before it exits. io_out returns
     * how many the device took. */
    void (*io_in)(void *ctx, uint16_t port, unsigned int size, void *data, unsigned int count);
    unsigned int (*io_out)(void *ctx, uint16_t port, unsigned int size, const void *data,
                           unsigned int count);
    /* How many of `count` REP iterations there is time for. NULL: for all. */
    unsigned int (*time_for)(void *ctx, unsigned int count);
};

enum emu_result {
    EMU_DONE,    /* executed: gpr, rip and rflags are updated */
    EMU_FAULT,   /* nothing but completed REP iterations changed; inject *fault */
    EMU_UNKNOWN, /* nothing changed: not an instruction that is emulated, or not in RAM */
    EMU_RETRY,   /* a REP has iterations left: rCX, rSI, rDI are advanced, rip still points at it.
                  * Or the code changed meanwhile. Look for pending interrupts, then call again or
                  * just enter the guest */
    EMU_WAIT,    /* the same, but a device takes nothing now: later. No iteration was made, or some
                  * of a REP with TF clear */
};

/* A REP instruction makes at most this many iterations a call (one with RFLAGS.TF set), so that a
 * call takes bounded time. */
#define EMU_MAX_ITERATIONS 512

struct emu_fault {
    uint8_t vector; /* EXC_* */
    bool has_error;
    uint32_t error_code;
    uint64_t cr2; /* only for EXC_PF */
};

/* The decoding mode that CR0, EFER, RFLAGS and CS's attributes select. */
static inline enum cpu_mode emu_mode_of(uint64_t cr0, uint64_t efer, uint64_t rflags,
                                        uint16_t attrib)
{
    if ((efer & EFER_LMA) && (attrib & SEG_ATTR_L))
        return MODE_64;
    if (!(cr0 & CR0_PE) || (rflags & RFLAGS_VM))
        return MODE_16;
    return attrib & SEG_ATTR_DB ? MODE_32 : MODE_16;
}

static inline enum cpu_mode emu_mode(const struct emu_cpu *cpu)
{
    return emu_mode_of(cpu->cr0, cpu->efer, cpu->rflags, cpu->seg[SEG_CS].attrib);
}

/* Fetches the bytes at CS:RIP, at most 15 and as many as there are up to a limit or a page that is
 * not accessible. Returns EMU_DONE with *len >= 1; EMU_FAULT when the first byte cannot be fetched;
 * EMU_UNKNOWN when it is not in RAM. */
enum emu_result emu_fetch(struct emu_cpu *cpu, const struct emu_ops *ops, void *ctx,
                          uint8_t buf[INSN_MAX_LENGTH], size_t *len, struct emu_fault *fault);

/* Executes a decoded instruction that stands at cpu->rip. */
enum emu_result emu_execute(struct emu_cpu *cpu, const struct insn *insn, const struct emu_ops *ops,
                            void *ctx, struct emu_fault *fault);

/* Fetches, decodes and executes. `bytes`, of `len`, are the instruction bytes that the CPU gave
 * with the exit (decode assists); they are fetched when len is 0 or they do not suffice. */
enum emu_result emu_step(struct emu_cpu *cpu, const struct emu_ops *ops, void *ctx,
                         const uint8_t *bytes, size_t len, struct emu_fault *fault);

#endif
