/* The core's IDT and what arrives through it. Interrupts only leave a note for the run loop: all
 * work is done there, on the one stack of the CPU. */

#include "arch/x86/interrupt.h"

#include "arch/x86/asm.h"
#include "arch/x86/gdt.h"
#include "arch/x86/lapic.h"
#include "arch/x86/layout.h"
#include "arch/x86/percpu.h"
#include "arch/x86/regs.h"
#include "arch/x86/smp.h"
#include "arch/x86/watchdog.h"
#include "lib/log.h"
#include "vmm/console.h"

#define VECTORS   256u
#define STUB_SIZE 16u

/* 64-bit interrupt gate (SDM vol. 3, figure 6-8). */
struct idt_gate {
    uint16_t offset_low;
    uint16_t selector;
    uint8_t ist;
    uint8_t type;
    uint16_t offset_mid;
    uint32_t offset_high;
    uint32_t reserved;
};
static_assert(sizeof(struct idt_gate) == 16, "IDT gate layout");

#define GATE_INTERRUPT 0x8e /* present, DPL 0 */

extern const char interrupt_stubs[];

static struct idt_gate idt[VECTORS] ALIGNED(16);

/* rdmsr_safe()'s instruction and where to go on when it faults. */
extern const char rdmsr_safe_fault[], rdmsr_safe_resume[];

bool rdmsr_safe(uint32_t msr, uint64_t *value)
{
    uint32_t lo, hi, failed;

    __asm__ volatile("xorl %2, %2\n"
                     ".globl rdmsr_safe_fault\n"
                     "rdmsr_safe_fault:\n\t"
                     "rdmsr\n"
                     "jmp 1f\n"
                     ".globl rdmsr_safe_resume\n"
                     "rdmsr_safe_resume:\n\t"
                     "movl $1, %2\n"
                     "1:"
                     : "=&a"(lo), "=&d"(hi), "=&r"(failed)
                     : "c"(msr));
    *value = (uint64_t)hi << 32 | lo;
    return failed == 0;
}

static void load_idt(void)
{
    struct table_pointer pointer = {sizeof(idt) - 1, (uint64_t)idt};

    __asm__ volatile("lidt %0" ::"m"(pointer) : "memory");
}

INIT void interrupts_init_early(void)
{
    for (unsigned int i = 0; i < VECTORS; i++) {
        uint64_t stub = (uint64_t)interrupt_stubs + (uint64_t)i * STUB_SIZE;
        idt[i] = (struct idt_gate){
            .offset_low = stub & 0xffff,
            .selector = SELECTOR_CODE,
            .type = GATE_INTERRUPT,
            .offset_mid = stub >> 16 & 0xffff,
            .offset_high = (uint32_t)(stub >> 32),
        };
    }
    load_idt();
}

INIT void interrupts_load(void)
{
    load_idt();
}

INIT void interrupts_init(void)
{
    idt[EXC_NMI].ist = IST_NMI;
    idt[EXC_DF].ist = IST_DOUBLE_FAULT;
    idt[EXC_MC].ist = IST_MACHINE_CHECK;
}

void interrupts_restore_tables(void)
{
    gdt_load();
    load_idt();
}

COLD static void take_other(uint8_t vector)
{
    if (vector == VECTOR_STOP)
        smp_stop_self();
    if (vector == VECTOR_KICK) { /* the run loop looks at its mail after any interrupt */
        smp_take_kick();
        return;
    }
    if (vector == VECTOR_WATCHDOG) {
        watchdog_tick();
        return;
    }
    if (this_cpu->id == 0 && console_is_free())
        log_warn("unexpected interrupt vector 0x%x", vector);
    else
        smp_note_vector(vector);
}

void interrupt_take(uint8_t vector)
{
    switch (vector) {
    case VECTOR_TIMER: this_cpu->timer_fired = true; return; /* the run loop acknowledges it */
    case VECTOR_UART: this_cpu->console_input = true; break;
    case VECTOR_SPURIOUS: return; /* not in service: no EOI (SDM vol. 3, 11.9) */
    default: take_other(vector); break;
    }
    lapic_hw_eoi();
}

void interrupt_dispatch(struct interrupt_frame *frame)
{
    switch (frame->vector) {
    /* The core sets no traps and breakpoints: one that a guest left behind. Bochs 2.7 keeps an
     * intercepted one pending through #VMEXIT. */
    case EXC_DB: return;
    case EXC_NMI:
        if (smp_is_ending())
            smp_claim_end(); /* returns on the CPU that ends the machine */
        this_cpu->nmi_seen =
            true; /* it may have come in the middle of anything, the log included */
        return;
    case EXC_GP:
        if (frame->rip == (uint64_t)rdmsr_safe_fault) {
            frame->rip = (uint64_t)rdmsr_safe_resume;
            return;
        }
        core_crash(frame);
    default:
        if (frame->vector < 32)
            core_crash(frame);
        interrupt_take((uint8_t)frame->vector);
        return;
    }
}
