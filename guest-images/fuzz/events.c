/* Runs a round's code, and what becomes of its exceptions and interrupts. */

#include "fuzz.h"

#define VECTOR_DB       1
#define DR7_OFF         0x400
#define VECTOR_NMI      2
#define FIRST_INTERRUPT 32
#define REPEAT_MAX      300
#define OWN_TICKS       64
#define TICKS_LIMIT     2  /* of the watchdog, without an event between them */
#define STRAY_STEPS     16 /* single steps before it goes on elsewhere */
#define EVENTS_PER      4  /* exceptions for one instruction: more end the round */
#define REAL_IPS        64
#define REAL_IP_MASK    63

struct mode_info {
    uint16_t cs, ss;
    uint64_t alias; /* of memory */
};
static const struct mode_info modes[FUZZ_MODES] = {
    [MODE_64_RING0] = {SEL_CODE64, SEL_DATA, 0},
    [MODE_64_RING3] = {SEL_USER_CODE64, SEL_USER_DATA, GUEST_USER},
    [MODE_32_RING0] = {SEL_CODE32, SEL_DATA, 0},
    [MODE_32_RING3] = {SEL_USER_CODE32, SEL_USER_DATA, GUEST_USER},
    [MODE_16_RING0] = {SEL_CODE16, SEL_DATA16, 0},
};

extern const uint8_t guest_image_start[], guest_data_start[];
extern const uint16_t fuzz_real_offsets[4]; /* #DB, the others, the way out, the GDT's pointer */

static struct {
    bool active;
    bool step;
    enum fuzz_mode mode;
    const struct fuzz_code *code;
    uint64_t base;
    unsigned int next;  /* index of the instruction to begin next */
    unsigned int steps; /* left */
    unsigned int ticks, own_ticks;
    struct fuzz_result result;
} run;

bool fuzz_keep_if;

static void end_run(struct guest_frame *f)
{
    run.active = false;
    f->rip = (uintptr_t)fuzz_leave;
    f->cs = SEL_CODE64;
    f->ss = SEL_DATA;
    f->rflags = RFLAGS_FIXED;
    f->rsp = fuzz_saved_rsp;
}

static uint64_t random_flags(void)
{
    uint64_t flags = fuzz_random() & (RFLAGS_CF | RFLAGS_PF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF);

    flags |= fuzz_one_in(4) ? RFLAGS_DF : 0;
    flags |= fuzz_one_in(8) ? RFLAGS_AC : 0;
    flags |= fuzz_one_in(4) || fuzz_keep_if ? RFLAGS_IF : 0;
    flags |= fuzz_one_in(2) && !fuzz_keep_if ? RFLAGS_IOPL : 0;
    flags |= fuzz_one_in(16) ? RFLAGS_RF : 0;
    return flags | RFLAGS_FIXED | (run.step ? RFLAGS_TF : 0);
}

/* Sets the frame to go on at that offset of the code, with some new registers. */
static void go_on_at(struct guest_frame *f, unsigned int offset)
{
    const struct mode_info *m = &modes[run.mode];
    uint64_t *gpr = &f->rax;

    f->rip = run.base + offset;
    f->cs = m->cs;
    f->ss = m->ss;
    f->rsp = FUZZ_STACK + m->alias;
    f->rflags = random_flags();
    f->rcx = fuzz_one_in(16) ? f->rcx : fuzz_below(REPEAT_MAX); /* REP, LOOP */
    uint32_t change = (uint32_t)fuzz_random() | (3u << 2);
    for (unsigned int i = 0; i < 15; i++)
        if ((change >> 2 * i & 3) == 0)
            gpr[i] = fuzz_value(run.mode);
}

/* A step, or an exception of one: the code is bytes, so any place will do to go on. */
static void on_step(struct guest_frame *f)
{
    run.result.instructions++;
    if (run.steps-- == 0)
        end_run(f);
    else if (f->vector != VECTOR_DB || run.steps % STRAY_STEPS == 0)
        go_on_at(f, fuzz_below(run.code->start[run.code->count]));
    else
        f->rflags |= RFLAGS_TF;
}

/* The instruction to begin next is the one behind the one where RIP is. */
static void on_fault(struct guest_frame *f)
{
    const struct fuzz_code *code = run.code;
    uint64_t offset = f->rip - run.base;
    unsigned int next = run.next + 1;

    if (offset < code->start[code->count])
        while (next < code->count && code->start[next] <= offset)
            next++;
    if (next > code->count)
        next = code->count;
    run.result.instructions += next - run.next;
    run.next = next;
    if (next == code->count || run.steps-- == 0)
        end_run(f);
    else
        go_on_at(f, code->start[next]);
}

/* The watchdog: on behind the instruction that does not end. The frame of NMI will do. */
static void on_hang(struct guest_frame *f)
{
    if (run.step) {
        f->vector = VECTOR_NMI;
        on_step(f);
    } else {
        on_fault(f);
    }
}

static bool is_own(const struct guest_frame *f)
{
    return f->cs == SEL_CODE64 && f->rip >= (uintptr_t)guest_image_start &&
           f->rip < (uintptr_t)guest_data_start;
}

static void on_event(struct guest_frame *f)
{
    if (f->vector == VECTOR_NMI) {
        /* In this program's own code, nothing hangs. */
        run.ticks += run.active && (!is_own(f) || ++run.own_ticks % OWN_TICKS == 0);
        if (run.active && run.ticks >= TICKS_LIMIT) {
            run.result.hung++;
            run.ticks = 0;
            on_hang(f);
        }
        return;
    }
    if (!run.active && f->vector == VECTOR_DB) {
        write_dr7(DR7_OFF); /* a breakpoint of the round's */
        f->rflags &= ~RFLAGS_TF;
        return;
    }
    if (!run.active && f->vector >= FIRST_INTERRUPT && is_own(f)) {
        lapic_eoi();
        return;
    }
    if (!run.active) {
        guest_console_init();
        print("\nLOST exception %u at 0x%llx cs 0x%llx error 0x%llx cr2 0x%llx\n",
              (unsigned int)f->vector, (unsigned long long)f->rip, (unsigned long long)f->cs,
              (unsigned long long)f->error, (unsigned long long)read_cr2());
        guest_power_off();
    }
    run.result.events++;
    run.ticks = 0;
    if (run.step)
        on_step(f);
    else
        on_fault(f);
}

/* Interrupt vectors of real mode: offsets in segment 0. */
static void prepare_real(unsigned int steps)
{
    volatile uint32_t *vectors = NULL;
    uint8_t *stub = (uint8_t *)(uintptr_t)FUZZ_REAL_STUB;
    struct fuzz_real *area =
        (struct fuzz_real *)(stub + ((const uint8_t *)&fuzz_real_area - fuzz_real_start));
    struct PACKED {
        uint16_t limit;
        uint32_t base;
    } gdtr;
    struct PACKED {
        uint16_t limit;
        uint64_t base;
    } now;

    __asm__ volatile("" : "+r"(vectors)); /* address 0 is where they are */
    for (unsigned int i = 0; i < 256; i++)
        vectors[i] = fuzz_real_offsets[i == VECTOR_DB ? 0 : i == VECTOR_NMI ? 2 : 1];
    memcpy(stub, fuzz_real_start, (size_t)(fuzz_real_end - fuzz_real_start));
    __asm__ volatile("sgdt %0" : "=m"(now));
    gdtr.limit = now.limit;
    gdtr.base = (uint32_t)now.base;
    memcpy((void *)(uintptr_t)fuzz_real_offsets[3], &gdtr, sizeof(gdtr));
    for (unsigned int i = 0; i < ARRAY_SIZE(area->gpr); i++)
        area->gpr[i] = (uint32_t)fuzz_value(MODE_REAL);
    area->left = steps;
    area->events = 0;
    area->ticks = 0;
    area->flags = (uint32_t)random_flags();
    for (unsigned int i = 0; i < REAL_IPS; i++) {
        unsigned int index = fuzz_below(run.code->count);
        area->ip[i] = (uint16_t)(run.base + run.code->start[index]);
    }
}

static void run_real(unsigned int steps)
{
    struct fuzz_real *area =
        (struct fuzz_real *)(uintptr_t)(FUZZ_REAL_STUB +
                                        ((const uint8_t *)&fuzz_real_area - fuzz_real_start));

    prepare_real(steps);
    fuzz_enter_real(read_cr3());
    run.result.hung = area->ticks >= TICKS_LIMIT;
    run.result.instructions += area->left == UINT32_MAX ? steps : MIN(steps, steps - area->left);
    run.result.events += MIN(area->events, steps);
    run.active = false;
}

void fuzz_run(const struct fuzz_code *code, enum fuzz_mode mode, uint64_t base, bool step,
              unsigned int steps, struct fuzz_result *result)
{
    struct guest_frame frame = {0};

    run.step = step;
    run.mode = mode;
    run.code = code;
    run.base = base;
    run.next = 0;
    run.ticks = 0;
    run.steps = step ? steps : steps * EVENTS_PER;
    run.result = (struct fuzz_result){0};
    for (unsigned int i = 0; i < 15; i++)
        (&frame.rax)[i] = fuzz_value(mode);
    run.active = true;
    if (mode == MODE_REAL) {
        run_real(steps);
    } else {
        go_on_at(&frame, code->start[0]);
        fuzz_enter(&frame);
    }
    *result = run.result;
}

void fuzz_events_init(void)
{
    for (unsigned int v = 0; v < 256; v++) {
        guest_on(v, on_event);
        if (v != VECTOR_NMI && v != 8 && v != 18)
            guest_set_ist(v, GUEST_IST_SPARE);
        guest_gate(v)[0] |= 0x6000ull << 32; /* DPL 3: INT n from ring 3 */
    }
}
