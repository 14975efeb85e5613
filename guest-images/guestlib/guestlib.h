#ifndef BULKHEAD_GUESTLIB_H
#define BULKHEAD_GUESTLIB_H

/* A small runtime for test guests in C, which run in a VM of Bulkhead's or on the bare machine: a
 * multiboot 1 ELF file that goes to 64-bit mode and calls guest_main() on one CPU, interrupts off.
 *
 * Address space (4 GiB, see start.asm):
 *   0 to 1 GiB               physical memory, for ring 0
 *   GUEST_WINDOW, 2 MiB      512 pages that are mapped by writing guest_window_pt[]; nothing at
 * first GUEST_USER, 1 GiB        physical memory again, for ring 3 (and 0, unless SMAP or SMEP is
 * on) 3 to 4 GiB               physical: devices Everything else is not present: GUEST_UNMAPPED is
 * an address to fault on.
 *
 * Code may fault where it is expected to: guest_exec() runs a piece of code with given registers
 * and says how it ended. Anywhere else an exception prints "FATAL ..." and powers off. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/x86/asm.h"
#include "lib/macros.h"
#include "lib/string.h"

#define GUEST_WINDOW   0x40000000ull
#define GUEST_UNMAPPED 0x7f000000ull
#define GUEST_USER     0x80000000ull
#define GUEST_LAPIC    0xfee00000ull
#define GUEST_IOAPIC   0xfec00000ull

/* Selectors of guest_gdt[]. SYSCALL takes 08h and 10h, SYSRET 18h, 20h and 28h. */
#define SEL_CODE64      0x08
#define SEL_DATA        0x10
#define SEL_USER_CODE32 0x1b
#define SEL_USER_DATA   0x23
#define SEL_USER_CODE64 0x2b
#define SEL_CODE32      0x30 /* compatibility mode, ring 0 */
#define SEL_CODE16      0x38
#define SEL_DATA16      0x40
#define SEL_TSS         0x48 /* two entries */
#define SEL_FREE        0x58 /* from here on: the tests' own */
#define GUEST_GDT_SLOTS 32

/* Interrupt stacks (IST) of the TSS: #DF has 1, NMI 2, #MC 3; the others run on the current stack
 * unless guest_set_ist() says so. */
#define GUEST_IST_DF    1
#define GUEST_IST_NMI   2
#define GUEST_IST_MC    3
#define GUEST_IST_SPARE 4

#define GUEST_EXIT_VECTOR 0x80 /* INT 80h ends code that runs outside of SEL_CODE64 */
#define GUEST_RETURNED    (-1) /* guest_exec(): the code ended with RET */

#define RFLAGS_FIXED 0x2ull
#define RFLAGS_CF    BIT64(0)
#define RFLAGS_PF    BIT64(2)
#define RFLAGS_AF    BIT64(4)
#define RFLAGS_ZF    BIT64(6)
#define RFLAGS_SF    BIT64(7)
#define RFLAGS_TF    BIT64(8)
#define RFLAGS_IF    BIT64(9)
#define RFLAGS_DF    BIT64(10)
#define RFLAGS_OF    BIT64(11)
#define RFLAGS_IOPL  (3ull << 12)
#define RFLAGS_RF    BIT64(16)
#define RFLAGS_VM    BIT64(17)
#define RFLAGS_AC    BIT64(18)

/* In the order in which trap.asm keeps them. */
struct guest_regs {
    uint64_t rax, rcx, rdx, rbx, rbp, rsi, rdi;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rflags; /* loaded as it is, bit 1 added */
};

/* On the stack of an exception or interrupt. A handler may change all of it. */
struct guest_frame {
    uint64_t rax, rcx, rdx, rbx, rbp, rsi, rdi;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t vector, error; /* error: 0 when the vector has none */
    uint64_t rip, cs, rflags, rsp, ss;
};

/* How the last guest_exec() ended. */
struct guest_trap {
    int vector; /* or GUEST_RETURNED */
    uint64_t error, rip, cs, rflags, rsp, ss;
    uint64_t cr2, dr6;
};

typedef void guest_handler(struct guest_frame *frame);

/* --- trap.c: exceptions and interrupts --- */

extern struct guest_trap guest_trap;
extern uint64_t guest_gdt[GUEST_GDT_SLOTS];

/* Runs `code` (position-independent, ends with RET, keeps RSP) in SEL_CODE64 with the registers of
 * `regs` and puts there what they are at the end or at the exception. Returns the exception's
 * vector or GUEST_RETURNED; details in guest_trap. Exceptions that have a handler do not end it.
 * Segment registers DS, ES and SS and RFLAGS are set right afterwards, everything else stays as it
 * is. May be nested in a handler. */
int guest_exec(const void *code, struct guest_regs *regs);

/* The same in another code segment: SEL_USER_CODE64, SEL_USER_CODE32, SEL_CODE32. Ring 3 gets a
 * stack of its own and runs at code + GUEST_USER (a code address that is above GUEST_USER is taken
 * as it is); pointers in `regs` must be GUEST_USER ones. */
int guest_exec_in(uint16_t cs, const void *code, struct guest_regs *regs);

/* A piece of code for guest_exec(), at file level; RET is added. Labels in it are local symbols:
 * make them unique. SNIPPET(cpuid_twice, "cpuid; cpuid") gives `cpuid_twice` and `cpuid_twice_end`.
 */
#define SNIPPET(name, text)                                                     \
    __asm__(".pushsection .snippets, \"ax\", @progbits\n" #name ":\n" text "\n" \
            "ret\n" #name "_end:\n.popsection");                                \
    extern const uint8_t name[], name##_end[]

/* Calls `fn` when the vector comes, instead of recording it or ending guest_exec(). NULL: as at
 * first, which is for exceptions: end guest_exec() or the guest; for NMI and the others: count in
 * guest_interrupts[], note in guest_irq_log[], end of interrupt to the LAPIC if guest_auto_eoi. */
void guest_on(unsigned int vector, guest_handler *fn);

/* Sets the interrupt stack of a vector: GUEST_IST_* or 0. */
void guest_set_ist(unsigned int vector, unsigned int ist);

/* The 16-byte gate of a vector, for tests that spoil it; guest_reset_gate() sets it right again. */
uint64_t *guest_gate(unsigned int vector);
void guest_reset_gate(unsigned int vector);

extern uint32_t guest_interrupts[256];
extern bool guest_auto_eoi; /* true at first */
/* An interrupt that comes with IF clear is fatal. For guests without INT n. */
extern bool guest_watches_if;
#define GUEST_IRQ_LOG 32
struct guest_irq {
    uint8_t vector;
    uint64_t rip;
};
extern struct guest_irq guest_irq_log[GUEST_IRQ_LOG];
extern unsigned int guest_irq_count; /* all, also those that the log had no room for */
void guest_irq_clear(void);          /* log and counters */

void guest_trap_init(void);

/* --- start.asm: page tables --- */

extern uint64_t guest_pml4[512], guest_pdpt[512], guest_window_pt[512];

/* Page-table bits. */
#define PT_P     BIT64(0)
#define PT_W     BIT64(1)
#define PT_U     BIT64(2)
#define PT_PWT   BIT64(3)
#define PT_PCD   BIT64(4)
#define PT_A     BIT64(5)
#define PT_D     BIT64(6)
#define PT_LARGE BIT64(7)
#define PT_G     BIT64(8)
#define PT_NX    BIT64(63)

/* Maps page `index` of the window and drops its old translation. Returns its address. Flags 0:
 * not present. */
void *guest_map(unsigned int index, uint64_t pa, uint64_t flags);

static inline uint64_t guest_user(const volatile void *p)
{
    return (uint64_t)(uintptr_t)p + GUEST_USER;
}

/* --- console.c: COM1 --- */

void guest_console_init(void);
void guest_putc(char c);
/* As lib/format.h; lines of at most 255 characters. */
void print(const char *fmt, ...) PRINTF(1, 2);

/* --- machine.c --- */

/* What the loader handed over; copied before anything else runs. */
struct guest_boot {
    uint32_t magic; /* EAX at the entry */
    uint32_t flags; /* struct multiboot_info */
    uint32_t mem_lower, mem_upper;
    uint32_t mods_count;
    uint32_t mods_addr;
    uint32_t mmap_length, mmap_addr;
};
extern struct guest_boot guest_boot;
extern char guest_cmdline[512];

/* Value behind "name=" in the command line, up to the next blank; NULL when it is not there.
 * A bare word `name` gives "". */
const char *guest_option(const char *name);
/* Whether the option's value, such as "a,b", has this name. */
bool guest_option_lists(const char *option, const char *name);
bool guest_has_word(const char *name);
uint64_t guest_number(const char *name, uint64_t otherwise);

bool guest_on_bulkhead(void); /* CPUID's hypervisor leaf says so */

/* TSC ticks in a millisecond, measured with the PIT at the first call (10 ms). */
uint64_t guest_tsc_per_ms(void);
void guest_wait_us(uint64_t us);

/* ACPI S5 on Bulkhead, QEMU and Bochs. */
NORETURN void guest_power_off(void);

/* --- lapic.c: xAPIC or x2APIC, whichever mode is on --- */

#define LAPIC_REG_ID         0x020
#define LAPIC_REG_VERSION    0x030
#define LAPIC_REG_TPR        0x080
#define LAPIC_REG_PPR        0x0a0
#define LAPIC_REG_EOI        0x0b0
#define LAPIC_REG_LDR        0x0d0
#define LAPIC_REG_DFR        0x0e0
#define LAPIC_REG_SVR        0x0f0
#define LAPIC_REG_ISR        0x100
#define LAPIC_REG_TMR        0x180
#define LAPIC_REG_IRR        0x200
#define LAPIC_REG_ESR        0x280
#define LAPIC_REG_ICR        0x300
#define LAPIC_REG_ICR_HIGH   0x310
#define LAPIC_REG_LVT_TIMER  0x320
#define LAPIC_REG_LVT_LINT0  0x350
#define LAPIC_REG_LVT_LINT1  0x360
#define LAPIC_REG_LVT_ERROR  0x370
#define LAPIC_REG_TIMER_INIT 0x380
#define LAPIC_REG_TIMER_CUR  0x390
#define LAPIC_REG_TIMER_DIV  0x3e0
#define LAPIC_REG_SELF_IPI   0x3f0 /* x2APIC only */

#define GUEST_SPURIOUS_VECTOR 0xff

uint32_t lapic_read(uint32_t reg);
void lapic_write(uint32_t reg, uint32_t value);
bool lapic_is_x2(void);
/* Switches by way of "disabled" where needed; x2: false = xAPIC. Returns false when there is no
 * such mode, or no way back from x2APIC mode (Bochs itself has none; a VM has). The LAPIC is
 * enabled afterwards, its LVT entries masked, no interrupt in service. */
bool lapic_set_mode(bool x2);
void lapic_init(void); /* xAPIC, enabled; called before guest_main(); the PICs are masked, too */
void lapic_eoi(void);
/* Fixed or NMI interrupt to this CPU; `icr`: low half, such as a vector or LAPIC_NMI. */
#define LAPIC_NMI     0x400u
#define LAPIC_TO_SELF 0x40000u
void lapic_send_self(uint32_t icr);

/* --- the guest --- */

void guest_main(void);

#endif
