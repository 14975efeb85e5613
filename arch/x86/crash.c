/* The end of the machine: everything that helps to find out why, then stop. */

#include <stdarg.h>

#include "arch/x86/asm.h"
#include "arch/x86/interrupt.h"
#include "arch/x86/layout.h"
#include "arch/x86/percpu.h"
#include "arch/x86/smp.h"
#include "lib/format.h"
#include "lib/log_ring.h"
#include "lib/symbols.h"
#include "lib/version.h"
#include "vmm/console.h"
#include "vmm/vm.h"

#define TRACE_DEPTH     24
#define CRASH_LOG_LINES 20

static const char *const exception_names[] = {
    [0] = "#DE divide error",      [1] = "#DB debug",          [2] = "NMI",
    [3] = "#BP breakpoint",        [4] = "#OF overflow",       [5] = "#BR bound range",
    [6] = "#UD invalid opcode",    [7] = "#NM no x87",         [8] = "#DF double fault",
    [10] = "#TS invalid TSS",      [11] = "#NP not present",   [12] = "#SS stack fault",
    [13] = "#GP protection fault", [14] = "#PF page fault",    [16] = "#MF x87 error",
    [17] = "#AC alignment",        [18] = "#MC machine check", [19] = "#XM SIMD error",
};

#define print(...) emit_line(console_crash_line, __VA_ARGS__)

static void print_address(const char *what, uint64_t addr)
{
    uint64_t offset;
    const char *name = symbol_find(addr, &offset);

    if (name)
        print("  %s %016llx %s+0x%llx", what, LLU(addr), name, LLU(offset));
    else
        print("  %s %016llx", what, LLU(addr));
}

/* True when 16 bytes at `addr` are on a stack that the core uses: a broken frame chain must not
 * fault again. */
static bool is_stack(uint64_t addr)
{
    if (addr % 8 != 0)
        return false;
    if (addr >= (uint64_t)data_start && addr < (uint64_t)data_end - 16)
        return true;
    for (unsigned int i = 0; i < IST_COUNT; i++)
        if (addr >= percpu_stack_bottom(i) && addr <= percpu_stack_top(i) - 16)
            return true;
    return false;
}

static void print_trace(uint64_t rip, uint64_t rbp)
{
    print("trace:");
    if (rip != 0)
        print_address("at", rip);
    for (unsigned int i = 0; i < TRACE_DEPTH && is_stack(rbp); i++) {
        const uint64_t *frame = (const uint64_t *)rbp;
        if (frame[1] == 0)
            break;
        print_address("by", frame[1] - 1);
        if (frame[0] <= rbp)
            break;
        rbp = frame[0];
    }
}

static void print_log_line(const char *text, size_t len)
{
    print("  %.*s", (int)len, text);
}

NORETURN static void finish(void)
{
    print("last log lines:");
    log_replay(CRASH_LOG_LINES, print_log_line);
    print("the machine has stopped. Please report the text above.");
    console_crash_flush();
    cpu_stop();
}

static unsigned int running_others; /* CPUs that could not be stopped */

static void begin(void)
{
    static unsigned int depth;

    interrupts_off();
    smp_claim_end();
    /* A crash while printing a crash: stop, with what has been printed. */
    if (depth++ > 0) {
        console_crash_flush();
        cpu_stop();
    }
    running_others = smp_stop_others();
}

static void print_cpu(void)
{
    if (smp_cpu_count() > 1) {
        print("on CPU %u, APIC id %u; the others have stopped%s", this_cpu->id, this_cpu->apic_id,
              running_others ? ", but not all of them" : "");
    }
}

void core_crash(const struct interrupt_frame *f)
{
    begin();
    const char *name = f->vector < ARRAY_SIZE(exception_names) ? exception_names[f->vector] : NULL;

    print("*** Bulkhead %s: %s in the core, vector %llu, error 0x%llx", bulkhead_version,
          name ? name : "exception", LLU(f->vector), LLU(f->error));
    print_cpu();
    print("rax %016llx rbx %016llx rcx %016llx rdx %016llx", LLU(f->rax), LLU(f->rbx), LLU(f->rcx),
          LLU(f->rdx));
    print("rsi %016llx rdi %016llx rbp %016llx rsp %016llx", LLU(f->rsi), LLU(f->rdi), LLU(f->rbp),
          LLU(f->rsp));
    print("r8  %016llx r9  %016llx r10 %016llx r11 %016llx", LLU(f->r8), LLU(f->r9), LLU(f->r10),
          LLU(f->r11));
    print("r12 %016llx r13 %016llx r14 %016llx r15 %016llx", LLU(f->r12), LLU(f->r13), LLU(f->r14),
          LLU(f->r15));
    print("rip %016llx cs %llx rflags %llx ss %llx", LLU(f->rip), LLU(f->cs), LLU(f->rflags),
          LLU(f->ss));
    print("cr0 %llx cr2 %llx cr3 %llx cr4 %llx", LLU(read_cr0()), LLU(read_cr2()), LLU(read_cr3()),
          LLU(read_cr4()));
    vm_print_crash_context(print_log_line);
    print_trace(f->rip, f->rbp);
    finish();
}

void core_panic(const char *fmt, ...)
{
    char text[160];
    va_list ap;

    begin();
    va_start(ap, fmt);
    format_v(text, sizeof(text), fmt, ap);
    va_end(ap);
    print("*** Bulkhead %s: panic: %s", bulkhead_version, text);
    print_cpu();
    vm_print_crash_context(print_log_line);
    print_trace(0, (uint64_t)__builtin_frame_address(0));
    finish();
}

/* The compiler's stack protector calls this when a canary has changed. */
uint64_t __stack_chk_guard = 0x5bd1e995a7c3f60dull;
NORETURN void __stack_chk_fail(void);
void __stack_chk_fail(void)
{
    core_panic("stack smashed: a canary on this CPU's stack has changed");
}
