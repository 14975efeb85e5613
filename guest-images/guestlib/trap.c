/* Descriptor tables, what becomes of an exception or interrupt, and code that runs under guard. */

#include "guestlib.h"

#define VECTOR_SIZE     16
#define FIRST_INTERRUPT 32
#define VECTOR_NMI      2
#define VECTOR_DF       8
#define VECTOR_MC       18
#define GATE_INTERRUPT  0x8e00ull /* present, 64-bit interrupt gate (SDM vol. 3, 6.14.1) */
#define GATE_DPL3       0x6000ull
#define IST_STACKS      5 /* the last one: RSP0 */
#define IST_STACK_SIZE  8192
#define USER_STACK_SIZE 8192
#define TSS_AVAILABLE   0x89ull
#define RPL_MASK        3

/* 64-bit TSS (SDM vol. 3, 7.7). */
struct PACKED tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t iomap;
};
static_assert(sizeof(struct tss) == 104, "SDM vol. 3, figure 7-11");

struct PACKED table_pointer {
    uint16_t limit;
    uint64_t base;
};

extern const uint8_t guest_vectors[];
extern const uint8_t guest_exec_trapped[];
extern uint64_t guest_exec_frame;
int guest_exec_run(const void *code, struct guest_regs *regs, uint64_t cs, uint64_t ss,
                   uint64_t rsp);
void guest_trap_enter(struct guest_frame *f);

struct guest_trap guest_trap;
int guest_trap_vector;

uint64_t guest_gdt[GUEST_GDT_SLOTS] ALIGNED(16) = {
    0,
    0x00af9b000000ffff, /* 08 64-bit code */
    0x00cf93000000ffff, /* 10 data */
    0x00cffb000000ffff, /* 18 32-bit user code */
    0x00cff3000000ffff, /* 20 user data */
    0x00affb000000ffff, /* 28 64-bit user code */
    0x00cf9b000000ffff, /* 30 32-bit code */
    0x00009b000000ffff, /* 38 16-bit code */
    0x000093000000ffff, /* 40 16-bit data */
};
static uint64_t idt[256][2] ALIGNED(16);
static struct tss tss ALIGNED(16);
static uint8_t ist_stacks[IST_STACKS][IST_STACK_SIZE] ALIGNED(16);
static uint8_t user_stack[USER_STACK_SIZE] ALIGNED(16);
static guest_handler *handlers[256];

uint32_t guest_interrupts[256];
bool guest_auto_eoi = true;
bool guest_watches_if;
struct guest_irq guest_irq_log[GUEST_IRQ_LOG];
unsigned int guest_irq_count;

/* Ends code outside of SEL_CODE64: where its RET goes. CD 80 in all modes. */
__asm__(".pushsection .text\n"
        ".globl guest_exit_stub\n"
        "guest_exit_stub: int $0x80\n"
        ".popsection");
extern const uint8_t guest_exit_stub[];

void guest_reset_gate(unsigned int vector)
{
    uint64_t handler = (uintptr_t)guest_vectors + vector * VECTOR_SIZE;
    uint64_t type = GATE_INTERRUPT |
                    (vector == GUEST_EXIT_VECTOR || vector == 3 || vector == 4 ? GATE_DPL3 : 0);

    idt[vector][0] =
        (handler & 0xffff) | SEL_CODE64 << 16 | type << 32 | (handler & 0xffff0000) << 32;
    idt[vector][1] = handler >> 32;
    switch (vector) {
    case VECTOR_NMI: guest_set_ist(vector, GUEST_IST_NMI); break;
    case VECTOR_DF: guest_set_ist(vector, GUEST_IST_DF); break;
    case VECTOR_MC: guest_set_ist(vector, GUEST_IST_MC); break;
    default: break;
    }
}

uint64_t *guest_gate(unsigned int vector)
{
    return idt[vector];
}

void guest_set_ist(unsigned int vector, unsigned int ist)
{
    idt[vector][0] = (idt[vector][0] & ~(7ull << 32)) | (uint64_t)ist << 32;
}

void guest_trap_init(void)
{
    uint64_t base = (uintptr_t)&tss;
    const struct table_pointer gdtr = {sizeof(guest_gdt) - 1, (uintptr_t)guest_gdt};
    const struct table_pointer idtr = {sizeof(idt) - 1, (uintptr_t)idt};

    for (unsigned int i = 0; i < IST_STACKS; i++)
        tss.ist[i] = (uintptr_t)ist_stacks[i] + IST_STACK_SIZE;
    tss.rsp[0] = tss.ist[IST_STACKS - 1];
    tss.iomap = sizeof(tss); /* beyond the limit: no port for ring 3 */
    guest_gdt[SEL_TSS / 8] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 | TSS_AVAILABLE << 40 |
                             (base >> 24 & 0xff) << 56;
    guest_gdt[SEL_TSS / 8 + 1] = base >> 32;
    for (unsigned int i = 0; i < ARRAY_SIZE(idt); i++)
        guest_reset_gate(i);
    __asm__ volatile("lgdt %0; lidt %1; ltr %w2; lldt %w3" ::"m"(gdtr), "m"(idtr), "r"(SEL_TSS),
                     "r"(0)
                     : "memory");
}

void guest_on(unsigned int vector, guest_handler *fn)
{
    handlers[vector] = fn;
}

void guest_irq_clear(void)
{
    memset(guest_interrupts, 0, sizeof(guest_interrupts));
    guest_irq_count = 0;
}

static void note_interrupt(const struct guest_frame *f)
{
    guest_interrupts[f->vector]++;
    if (guest_irq_count < GUEST_IRQ_LOG)
        guest_irq_log[guest_irq_count] = (struct guest_irq){(uint8_t)f->vector, f->rip};
    guest_irq_count++;
    if (guest_auto_eoi && f->vector >= FIRST_INTERRUPT && f->vector != GUEST_SPURIOUS_VECTOR)
        lapic_eoi();
}

static void fatal(const struct guest_frame *f)
{
    print("\nFATAL vector %u error 0x%llx at 0x%llx cs 0x%llx rflags 0x%llx rsp 0x%llx cr2 0x%llx"
          " rax 0x%llx\n",
          (unsigned int)f->vector, (unsigned long long)f->error, (unsigned long long)f->rip,
          (unsigned long long)f->cs, (unsigned long long)f->rflags, (unsigned long long)f->rsp,
          (unsigned long long)read_cr2(), (unsigned long long)f->rax);
    guest_power_off();
}

/* Makes guest_exec_run() return, with what was found in guest_trap and the registers. */
static void end_exec(struct guest_frame *f, int vector)
{
    const uint64_t *frame = (const uint64_t *)guest_exec_frame;
    struct guest_regs *regs = (struct guest_regs *)frame[1];

    guest_trap = (struct guest_trap){.vector = vector,
                                     .error = f->error,
                                     .rip = f->rip,
                                     .cs = f->cs,
                                     .rflags = f->rflags,
                                     .rsp = f->rsp,
                                     .ss = f->ss,
                                     .cr2 = read_cr2(),
                                     .dr6 = read_dr6()};
    guest_trap_vector = vector;
    memcpy(regs, f, offsetof(struct guest_regs, rflags));
    regs->rflags = f->rflags;
    f->rip = (uintptr_t)guest_exec_trapped;
    f->cs = SEL_CODE64;
    f->rflags = RFLAGS_FIXED;
    f->rsp = guest_exec_frame;
    f->ss = SEL_DATA;
}

void guest_trap_enter(struct guest_frame *f)
{
    bool is_interrupt = f->vector >= FIRST_INTERRUPT && f->vector != GUEST_EXIT_VECTOR;

    if (is_interrupt && guest_watches_if && !(f->rflags & RFLAGS_IF))
        fatal(f);
    if (handlers[f->vector])
        handlers[f->vector](f);
    else if (f->vector == GUEST_EXIT_VECTOR && guest_exec_frame)
        end_exec(f, GUEST_RETURNED);
    else if (f->vector == VECTOR_NMI || f->vector >= FIRST_INTERRUPT)
        note_interrupt(f);
    else if (guest_exec_frame)
        end_exec(f, (int)f->vector);
    else
        fatal(f);
}

int guest_exec(const void *code, struct guest_regs *regs)
{
    guest_trap = (struct guest_trap){.vector = GUEST_RETURNED};
    return guest_exec_run(code, regs, SEL_CODE64, SEL_DATA, 0);
}

int guest_exec_in(uint16_t cs, const void *code, struct guest_regs *regs)
{
    uint64_t alias = (cs & RPL_MASK) ? GUEST_USER : 0;
    uint8_t *top = user_stack + sizeof(user_stack) - 2 * sizeof(uint64_t);
    uint64_t back = (uintptr_t)guest_exit_stub + alias;
    uint64_t rip = (uintptr_t)code;

    memcpy(top, &back, sizeof(back));
    if (rip < GUEST_USER)
        rip += alias;
    guest_trap = (struct guest_trap){.vector = GUEST_RETURNED};
    return guest_exec_run((const void *)rip, regs, cs, alias ? SEL_USER_DATA : SEL_DATA,
                          (uintptr_t)top + alias);
}
