/* Measures the rows that the command line chooses and prints a line each:
 *   bench <row> min=.. median=.. max=.. n=..        or        bench <row> skip: <reason>
 * Words of the command line: rows=A,B,... only these; samples=N; quick: without pauses; magic:
 * stops Bochs's debugger around the last sample; two slice=TICKS: the rows that need another VM
 * which computes; spin: is that VM; sleep=COUNTS: another one, which sleeps that long between
 * interrupts of its LAPIC's timer; aps: this VM's other processors execute HLT. */

#include "bench.h"

#define SIGNATURE_AMD 0x68747541 /* "Auth" in EBX of CPUID 0 */
#define CR4_OSXSAVE   BIT64(18)
#define LOOP_ROUNDS   10000
#define SCALE_ROUNDS  10 /* another VM may take the CPU meanwhile */
#define LOOP_INSNS    2

#define ICR_INIT_OTHERS    0xc4500u
#define ICR_STARTUP_OTHERS 0xc4600u
#define AP_CODE            0x8000u

STUB(bench_empty, "");
STUB(bench_loop, "1: dec %ecx\njnz 1b");

/* What a fault in a stub returns to: back to its caller. */
__asm__(".pushsection .text\nbench_abort:\nmov bench_rsp, %rsp\nmov $-1, %rax\n"
        "pop %rbp\npop %rbx\nret\n.popsection");
extern const uint8_t bench_abort[];

uint64_t bench_rsp;
struct bench_has bench_has;

struct result {
    const char *name, *skip;
    uint64_t min, median, max;
    unsigned int samples;
};
static struct result results[BENCH_ROWS_MAX];
static unsigned int result_count;
static uint64_t samples[BENCH_SAMPLES_MAX];
static uint64_t empty = UINT64_MAX;

static void abort_stub(struct guest_frame *f)
{
    f->rip = (uintptr_t)bench_abort;
}

static void sort(uint64_t *v, unsigned int count)
{
    for (unsigned int i = 1; i < count; i++) {
        uint64_t value = v[i];
        unsigned int at = i;
        for (; at > 0 && v[at - 1] > value; at--)
            v[at] = v[at - 1];
        v[at] = value;
    }
}

static bool sample_all(const struct bench_row *row, unsigned int count)
{
    struct bench_regs regs = row->regs;
    bench_stub *code = !bench_has.amd && row->code_intel ? row->code_intel : row->code;

    for (unsigned int i = 0; i < count; i++) {
        if (row->before)
            row->before(&regs);
        bool stop = i == count - 1 && guest_has_word("magic");
        if (stop)
            __asm__ volatile("xchg %bx, %bx");
        samples[i] = row->measure ? row->measure() : code(&regs);
        if (stop)
            __asm__ volatile("xchg %bx, %bx");
        if (samples[i] == BENCH_FAULT)
            return false;
        samples[i] -= row->measure ? 0 : empty;
        regs.rax ^= row->toggle;
        if (row->after)
            row->after();
    }
    return true;
}

static const char *why_not(const struct bench_row *row)
{
    if (row->needs && !*row->needs)
        return "the VM has no such feature";
    if (row->mode != MODE_ANY && lapic_is_x2() != (row->mode == MODE_X2APIC) &&
        !lapic_set_mode(row->mode == MODE_X2APIC))
        return "the LAPIC has no such mode";
    return NULL;
}

static void run_row(const struct bench_row *row)
{
    struct result *r = &results[result_count];
    unsigned int count =
        row->samples ? row->samples : (unsigned int)guest_number("samples", BENCH_SAMPLES);

    if (result_count == BENCH_ROWS_MAX)
        return;
    result_count++;
    count = count < 1 ? 1 : MIN(count, BENCH_SAMPLES_MAX);
    *r = (struct result){.name = row->name, .skip = why_not(row), .samples = count};
    if (r->skip)
        return;
    bench_set_handler();
    if (!sample_all(row, count)) {
        r->skip = "it raised #UD or #GP, or nothing came";
        return;
    }
    sort(samples, count);
    r->min = samples[0];
    r->median = samples[count / 2];
    r->max = samples[count - 1];
}

static bool is_chosen(const char *name)
{
    const char *list = guest_option("rows");
    size_t len = strlen(name);

    while (list && *list && *list != ' ') {
        if (strncmp(list, name, len) == 0 && (list[len] == ',' || list[len] <= ' '))
            return true;
        while (*list > ' ' && *list != ',')
            list++;
        list += *list == ',';
    }
    return !list;
}

static void run_rows(const struct bench_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_chosen(rows[i].name))
            run_row(&rows[i]);
}

static void print_results(void)
{
    for (unsigned int i = 0; i < result_count; i++) {
        const struct result *r = &results[i];
        if (r->skip) {
            print("bench %s skip: %s\n", r->name, r->skip);
        } else {
            print("bench %s min=%llu median=%llu max=%llu n=%u\n", r->name,
                  (unsigned long long)r->min, (unsigned long long)r->median,
                  (unsigned long long)r->max, r->samples);
        }
    }
}

static void find_features(void)
{
    struct cpuid_regs r = cpuid(0, 0);

    bench_has.amd = r.ebx == SIGNATURE_AMD;
    r = cpuid(1, 0);
    bench_has.x2apic = r.ecx & BIT(21);
    bench_has.tsc_deadline = r.ecx & BIT(24);
    if (r.ecx & BIT(26)) {
        write_cr4(read_cr4() | CR4_OSXSAVE);
        bench_has.osxsave = true;
    }
}

/* How many ticks a counted loop takes: must be as many as its instructions. */
static void print_scale(void)
{
    const struct bench_regs regs = {.rcx = LOOP_ROUNDS}, none = {0};
    uint64_t loop = UINT64_MAX;

    for (unsigned int i = 0; i < SCALE_ROUNDS; i++) {
        uint64_t ticks = bench_empty(&none);
        empty = MIN(empty, ticks);
        ticks = bench_loop(&regs);
        loop = MIN(loop, ticks);
    }
    print("bench-scale ticks=%llu instructions=%u empty=%llu\n", (unsigned long long)(loop - empty),
          LOOP_ROUNDS * LOOP_INSNS, (unsigned long long)empty);
}

/* Until the machine's UART has sent what was printed: its interrupts cost, too. */
static void wait_for_console(void)
{
    if (!guest_has_word("quick"))
        guest_wait_us(10000);
}

/* In real mode, with interrupts off: for ever. */
static void halt_others(void)
{
    static const uint8_t code[] = {0xf4, 0xeb, 0xfd}; /* HLT, again */

    memcpy((void *)(uintptr_t)AP_CODE, code, sizeof(code));
    lapic_write(LAPIC_REG_ICR, ICR_INIT_OTHERS);
    guest_wait_us(200);
    lapic_write(LAPIC_REG_ICR, ICR_STARTUP_OTHERS | AP_CODE / PAGE_SIZE_4K);
}

NORETURN static void sleep_for_ever(uint32_t counts)
{
    bench_set_handler();
    lapic_write(LAPIC_REG_TIMER_DIV, 0xb);
    lapic_write(LAPIC_REG_LVT_TIMER, BENCH_VECTOR);
    for (;;) {
        interrupts_off();
        lapic_write(LAPIC_REG_TIMER_INIT, counts);
        interrupts_wait();
    }
}

void guest_main(void)
{
    uint32_t sleep = (uint32_t)guest_number("sleep", 0);

    if (sleep)
        sleep_for_ever(sleep);
    if (guest_has_word("aps"))
        halt_others();
    if (guest_has_word("spin")) {
        interrupts_on();
        for (;;)
            cpu_pause();
    }
    find_features();
    guest_on(EXC_UD, abort_stub);
    guest_on(EXC_GP, abort_stub);
    print("READY %s\n", bench_has.amd ? "AMD" : "Intel");
    wait_for_console();
    print_scale();
    wait_for_console();
    if (guest_has_word("two")) {
        run_rows(bench_other_rows, bench_other_row_count);
    } else {
        run_rows(bench_rows, bench_row_count);
        run_rows(bench_time_rows, bench_time_row_count);
    }
    print_results();
    print("bench-end\n");
}
