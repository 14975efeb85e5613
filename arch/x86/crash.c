/* The end of the machine: everything that helps to find out why, then stop. */

#include <stdarg.h>

#include "arch/x86/asm.h"
#include "arch/x86/interrupt.h"
#include "arch/x86/layout.h"
#include "arch/x86/percpu.h"
#include "arch/x86/smp.h"
#include "lib/crash_code.h"
#include "lib/format.h"
#include "lib/log_ring.h"
#include "lib/qr.h"
#include "lib/symbols.h"
#include "lib/version.h"
#include "vmm/console.h"
#include "vmm/console_screen.h"
#include "vmm/vm.h"

#define TRACE_DEPTH     24
#define CRASH_LOG_LINES 20
#define PAGE_TRACE      10 /* of it on the screen */

static const char *const exception_names[] = {
    [0] = "#DE divide error",      [1] = "#DB debug",          [2] = "NMI",
    [3] = "#BP breakpoint",        [4] = "#OF overflow",       [5] = "#BR bound range",
    [6] = "#UD invalid opcode",    [7] = "#NM no x87",         [8] = "#DF double fault",
    [10] = "#TS invalid TSS",      [11] = "#NP not present",   [12] = "#SS stack fault",
    [13] = "#GP protection fault", [14] = "#PF page fault",    [16] = "#MF x87 error",
    [17] = "#AC alignment",        [18] = "#MC machine check", [19] = "#XM SIMD error",
};

static void put_both(const char *text, size_t len)
{
    console_crash_line(text, len);
    console_screen_crash_line(text, len);
}

/* The serial line gets all, the screen a page of what matters most. */
#define print(...) emit_line(console_crash_line, __VA_ARGS__)
#define show(...)  emit_line(put_both, __VA_ARGS__)

static uint64_t trace[TRACE_DEPTH]; /* addresses in the core: where, and who had called that */
static unsigned int trace_length;
static char qr_text[QR_TEXT + 1];

static void print_address(emit_fn *emit, const char *what, uint64_t addr)
{
    uint64_t offset;
    const char *name = symbol_find(addr, &offset);

    if (name)
        emit_line(emit, "  %s %016llx %s+0x%llx", what, LLU(addr), name, LLU(offset));
    else
        emit_line(emit, "  %s %016llx", what, LLU(addr));
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

static void take_trace(uint64_t rbp)
{
    while (trace_length < TRACE_DEPTH && is_stack(rbp)) {
        const uint64_t *frame = (const uint64_t *)rbp;
        if (frame[1] == 0)
            break;
        trace[trace_length++] = frame[1] - 1;
        if (frame[0] <= rbp)
            break;
        rbp = frame[0];
    }
}

static void print_trace(bool is_exception)
{
    show("trace:");
    for (unsigned int i = 0; i < trace_length; i++)
        print_address(i < PAGE_TRACE ? put_both : console_crash_line,
                      is_exception && i == 0 ? "at" : "by", trace[i]);
}

static uint32_t code_offset(unsigned int i)
{
    uint64_t start = (uint64_t)image_start;

    if (i >= trace_length || trace[i] < start || trace[i] >= (uint64_t)init_text_end)
        return CRASH_NO_FRAME;
    return (uint32_t)(trace[i] - start);
}

static void show_code(uint8_t vector, uint8_t error)
{
    struct crash_facts facts = {
        .commit = bulkhead_commit,
        .is_modified = bulkhead_is_modified,
        .has_checks = CHECKS,
        .vector = vector,
        .error = error,
    };
    char code[CRASH_CODE_SIZE];

    for (unsigned int i = 0; i < CRASH_FRAMES; i++)
        facts.frames[i] = code_offset(i);
    crash_code(&facts, code);
    show("crash code: %s", code);
    (void)format(qr_text, sizeof(qr_text), "BULKHEAD %s", code);
}

static void print_log_line(const char *text, size_t len)
{
    print("  %.*s", (int)len, text);
}

/* As much of it as a row takes. */
static void page_log_line(const char *text, size_t len)
{
    unsigned int columns;

    (void)console_screen_crash_room(&columns);
    console_screen_crash_line(text, MIN(len, (size_t)columns));
}

/* The first line has the VM's name. */
static void print_context_line(const char *text, size_t len)
{
    static bool is_begun;

    if (is_begun)
        print_log_line(text, len);
    else
        put_both(text, len);
    is_begun = true;
}

NORETURN static void finish(void)
{
    unsigned int columns, room;

    show("last log lines:");
    log_replay(CRASH_LOG_LINES, print_log_line);
    room = console_screen_crash_room(&columns);
    if (room > 1)
        log_replay(room - 1, page_log_line);
    show("the machine has stopped. Please report the text above.");
    console_screen_crash_qr(qr_text);
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
        show("on CPU %u, APIC id %u; the others have stopped%s", this_cpu->id, this_cpu->apic_id,
             running_others ? ", but not all of them" : "");
    }
}

void core_crash(const struct interrupt_frame *f)
{
    begin();
    const char *name = f->vector < ARRAY_SIZE(exception_names) ? exception_names[f->vector] : NULL;

    show("*** Bulkhead %s: %s in the core, vector %llu, error 0x%llx", bulkhead_version,
         name ? name : "exception", LLU(f->vector), LLU(f->error));
    trace[trace_length++] = f->rip;
    take_trace(f->rbp);
    show_code((uint8_t)f->vector, (uint8_t)f->error);
    print_cpu();
    emit_line(console_screen_crash_line, "rip %016llx rsp %016llx cr2 %016llx", LLU(f->rip),
              LLU(f->rsp), LLU(read_cr2()));
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
    vm_print_crash_context(print_context_line);
    print_trace(true);
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
    show("*** Bulkhead %s: panic: %s", bulkhead_version, text);
    take_trace((uint64_t)__builtin_frame_address(0));
    show_code(CRASH_PANIC, 0);
    print_cpu();
    vm_print_crash_context(print_context_line);
    print_trace(false);
    finish();
}

/* The compiler's stack protector calls this when a canary has changed. */
uint64_t __stack_chk_guard = 0x5bd1e995a7c3f60dull;
NORETURN void __stack_chk_fail(void);
void __stack_chk_fail(void)
{
    core_panic("stack smashed: a canary on this CPU's stack has changed");
}
