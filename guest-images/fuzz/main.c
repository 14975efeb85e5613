/* Blocks of rounds, and what is said of them. Words of the command line:
 *   seed=N          (1)
 *   block=N         the first block (0)
 *   instructions=N  power off after so many (10000000)
 *   blocks=N        or after so many blocks
 *   kinds=a,b       bytes, code, port, msr, mmio, cpuid; all at first
 *   modes=a,b       64r0, 64r3, 32r0, 32r3, 16r0, real
 *   round=N         only this round of each block
 *   trace           print what each round executes, before it does
 *   wild            also use the ports that end the VM
 *   if              interrupts on, IOPL 0, and ring 3 writes no data but its own: it stays
 *                   preemptible on Bochs's AMD-V
 *   ask             first wait for a line "SEED BLOCK" on the serial port
 * After each block: "block B of seed S: N instructions, E events". To see a block again:
 * seed=S block=B blocks=1 trace. */

#include "fuzz.h"
#include "lib/format.h"

#define BLOCK_ROUNDS 4
#define ROUND_INSNS  1000
#define STEP_INSNS   128
#define INSTRUCTIONS 10000000
#define UART_DATA    0x3f8
#define UART_LSR     0x3fd
#define LSR_DR       1
#define ASK_US       50
#define ASK_TRIES    100000
#define ANSWER_MAX   48
#define HEX_BYTES    32
#define SEED_STEP    0x9e3779b97f4a7c15ull /* splitmix64 (Steele 2014) */

uint64_t fuzz_random_state = 1;
static struct fuzz_code code;
static uint64_t seed, total, events;
static bool trace, wild;
static uint32_t kinds, modes;

static const char *const kind_names[FUZZ_KINDS] = {
    [KIND_BYTES] = "bytes", [KIND_CODE] = "code", [KIND_PORT] = "port",
    [KIND_MSR] = "msr",     [KIND_MMIO] = "mmio", [KIND_CPUID] = "cpuid",
};
static const char *const mode_names[FUZZ_MODES] = {
    [MODE_64_RING0] = "64r0", [MODE_64_RING3] = "64r3", [MODE_32_RING0] = "32r0",
    [MODE_32_RING3] = "32r3", [MODE_16_RING0] = "16r0", [MODE_REAL] = "real",
};
/* How often, of the sum. */
static const uint8_t kind_weights[FUZZ_KINDS] = {
    [KIND_BYTES] = 1, [KIND_CODE] = 8, [KIND_PORT] = 1,
    [KIND_MSR] = 1,   [KIND_MMIO] = 2, [KIND_CPUID] = 1,
};
static const uint8_t mode_weights[FUZZ_MODES] = {
    [MODE_64_RING0] = 16, [MODE_64_RING3] = 8, [MODE_32_RING0] = 4,
    [MODE_32_RING3] = 4,  [MODE_16_RING0] = 3, [MODE_REAL] = 1,
};

/* Set of names behind "option="; all when it is not there. */
static uint32_t choice(const char *option, const char *const names[], unsigned int count)
{
    const char *text = guest_option(option);
    uint32_t set = 0;

    for (; text && *text && *text != ' '; text += *text == ',') {
        for (unsigned int i = 0; i < count; i++)
            if (strncmp(text, names[i], strlen(names[i])) == 0)
                set |= BIT(i);
        while (*text && *text != ' ' && *text != ',')
            text++;
    }
    return set ? set : BIT(count) - 1;
}

static unsigned int pick(const uint8_t weights[], unsigned int count, uint32_t allowed)
{
    uint32_t sum = 0;

    for (unsigned int i = 0; i < count; i++)
        sum += allowed & BIT(i) ? weights[i] : 0;
    uint32_t at = fuzz_below(sum);
    for (unsigned int i = 0; i < count; i++) {
        uint32_t weight = allowed & BIT(i) ? weights[i] : 0;
        if (at < weight)
            return i;
        at -= weight;
    }
    return 0;
}

static void set_random(uint64_t block, unsigned int round)
{
    uint64_t z = (seed + 1) * SEED_STEP + block * BLOCK_ROUNDS + round;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    fuzz_random_state = (z ^ z >> 31) | 1;
}

static void print_code(void)
{
    unsigned int end = code.start[code.count];

    for (unsigned int i = 0; i < end; i += HEX_BYTES) {
        for (unsigned int k = i; k < MIN(end, i + HEX_BYTES); k++)
            print("%02x", code.bytes[k]);
        print("\n");
    }
}

static void one_round(uint64_t block, unsigned int round)
{
    struct fuzz_result result;

    set_random(block, round);
    enum fuzz_kind kind = pick(kind_weights, FUZZ_KINDS, kinds);
    enum fuzz_mode mode = pick(mode_weights, FUZZ_MODES, modes);
    bool step = kind == KIND_BYTES || mode == MODE_REAL;
    unsigned int size = step ? 1024 : FUZZ_CODE_SIZE - PAGE_SIZE_4K / 4;
    uint64_t base = FUZZ_CODE;

    fuzz_window_shuffle();
    if (mode < MODE_16_RING0 && fuzz_one_in(8)) {
        unsigned int before = 16 + fuzz_below(PAGE_SIZE_4K / 2);
        size = MIN(size, before + PAGE_SIZE_4K / 2);
        code.bytes = (uint8_t *)(uintptr_t)(FUZZ_CODE + PAGE_SIZE_4K - before);
        base = GUEST_WINDOW + (FUZZ_ALIAS + 1) * PAGE_SIZE_4K - before;
    } else {
        code.bytes = (uint8_t *)(uintptr_t)FUZZ_CODE;
        base += mode == MODE_64_RING3 || mode == MODE_32_RING3 ? GUEST_USER : 0;
    }
    fuzz_generate(&code, size, ROUND_INSNS, kind, mode, wild);
    if (trace) {
        guest_console_init();
        print("\nround %u: %s %s at 0x%llx, %u instructions\n", round, kind_names[kind],
              mode_names[mode], (unsigned long long)base, code.count);
        if (!guest_has_word("nocode"))
            print_code();
    }
    uint64_t start = rdtsc();
    fuzz_watchdog();
    fuzz_run(&code, mode, base, step, step ? STEP_INSNS : code.count, &result);
    fuzz_state_restore();
    if (kind >= KIND_PORT || result.hung)
        fuzz_devices_restore();
    total += result.instructions;
    events += result.events;
    if (trace) {
        guest_console_init();
        print("= %llu instructions, %llu events, %llu ticks%s\n",
              (unsigned long long)result.instructions, (unsigned long long)result.events,
              (unsigned long long)(rdtsc() - start), result.hung ? ", hung" : "");
    }
}

static void fill_data(void)
{
    uint64_t *data = (uint64_t *)(uintptr_t)FUZZ_DATA;

    for (unsigned int i = 0; i < FUZZ_DATA_SIZE / sizeof(*data); i += 8)
        data[i] = fuzz_random();
}

static void one_block(uint64_t block)
{
    uint64_t only = guest_number("round", BLOCK_ROUNDS);

    set_random(block, BLOCK_ROUNDS - 1);
    fill_data();
    fuzz_devices_restore();
    for (unsigned int round = 0; round < BLOCK_ROUNDS; round++)
        if (only == BLOCK_ROUNDS || only == round)
            one_round(block, round);
}

static const char *number(const char *text, uint64_t *value)
{
    for (*value = 0; *text >= '0' && *text <= '9'; text++)
        *value = *value * 10 + (uint64_t)(*text - '0');
    return text;
}

/* A line "SEED BLOCK"; what is not there stays as it is. */
static void ask(uint64_t *block)
{
    char line[ANSWER_MAX] = "";
    unsigned int len = 0;

    print("ASK\n");
    interrupts_on(); /* preemptible (see "if") */
    for (unsigned int i = 0; i < ASK_TRIES && len < ANSWER_MAX - 1; i++) {
        if (!(inb(UART_LSR) & LSR_DR)) {
            guest_wait_us(ASK_US);
            continue;
        }
        char c = (char)inb(UART_DATA);
        if (c == '\n' || c == '\r')
            break;
        line[len++] = c;
    }
    interrupts_off();
    if (*line >= '0' && *line <= '9') {
        const char *rest = number(line, &seed);
        if (*rest == ' ')
            number(rest + 1, block);
    }
}

void guest_main(void)
{
    uint64_t block = guest_number("block", 0);
    uint64_t blocks = guest_number("blocks", UINT64_MAX);
    uint64_t wanted = guest_number("instructions", INSTRUCTIONS);

    seed = guest_number("seed", 1);
    kinds = choice("kinds", kind_names, FUZZ_KINDS);
    modes = choice("modes", mode_names, FUZZ_MODES);
    trace = guest_has_word("trace");
    wild = guest_has_word("wild");
    fuzz_keep_if = guest_has_word("if");
    if (guest_has_word("ask"))
        ask(&block);
    print("READY seed %llu block %llu\n", (unsigned long long)seed, (unsigned long long)block);
    fuzz_events_init();
    fuzz_state_init();
    for (; total < wanted && blocks > 0; block++, blocks--) {
        one_block(block);
        guest_console_init();
        print("\nblock %llu of seed %llu: %llu instructions, %llu events\n",
              (unsigned long long)block, (unsigned long long)seed, (unsigned long long)total,
              (unsigned long long)events);
    }
    print("DONE seed %llu\n", (unsigned long long)seed);
}
