/* The code cache must never give other bytes than a walk made anew: everything on the way to the
 * code changes under it here. And its short way for MOV must do what the emulator does. */

#include "tests/unit/emulate_machine.h"
#include "vmm/emulate/code_cache.h"
#include "vmm/emulate/emu_mov.h"
#include "vmm/emulate/walk.h"

/* arch/x86/mm/window.c, on `ram`: physical addresses are SHIFT above those of the guest. */
#define SHIFT 0x10000000ull

static unsigned int fills;

static uint64_t word_at(uint64_t pa)
{
    uint64_t value;

    assert_true(pa >= SHIFT && pa - SHIFT + 8 <= RAM_SIZE && pa % 8 == 0);
    memcpy(&value, ram + (pa - SHIFT), 8);
    return value;
}

void window_path_start(struct window_path *path)
{
    path->end = path->words;
    fills++;
}

uint64_t window_path_add(struct window_path *path, uint64_t pa)
{
    struct window_word *word = &path->words[path->end - path->words];

    assert_true(word < path->words + WINDOW_PATH_MAX);
    *word = (struct window_word){.pte = pa, .value = word_at(pa)};
    path->end++;
    return word->value;
}

void window_path_end(struct window_path *path, uint64_t page_pa)
{
    path->page_pte = page_pa;
}

static struct window_bytes path_read(const struct window_path *path, uint64_t offset)
{
    struct window_bytes bytes;

    for (const struct window_word *word = path->words; word != path->end; word++)
        if (word_at(word->pte) != word->value)
            return (struct window_bytes){0, 0};
    memcpy(&bytes, ram + (path->page_pte - SHIFT) + offset, sizeof(bytes));
    return bytes;
}

static int physical(void *ctx, uint64_t gpa, uint64_t *pa)
{
    (void)ctx;
    *pa = gpa + SHIFT;
    return gpa < RAM_SIZE ? 0 : -BH_EFAULT;
}

static struct code_cache cache;

static struct code_mode mode_now(void)
{
    struct code_mode mode;

    memset(&mode, 0, sizeof(mode));
    mode.cr0 = cpu.cr0;
    mode.cr3 = cpu.cr3;
    mode.cr4 = cpu.cr4;
    mode.efer = cpu.efer;
    mode.cs = cpu.seg[SEG_CS];
    mode.cpl = cpu.cpl;
    mode.cpu_mode = (uint8_t)emu_mode(&cpu);
    return mode;
}

/* As vmm/exit_io.c does it. */
static bool cached(uint64_t rip, struct window_bytes *bytes)
{
    struct code_walk *walk = code_cache_walk(&cache, rip);
    struct code_mode mode = mode_now();

    *bytes = (struct window_bytes){0, 0};
    if (rip % 4096 > 4096 - sizeof(*bytes))
        return false;
    if (walk->rip_page == rip - rip % 4096 && memcmp(&mode, &walk->mode, sizeof(mode)) == 0)
        *bytes = path_read(&walk->path, rip % 4096);
    if (bytes->low)
        return true;
    if (!code_cache_fill(&cache, &mode, rip, physical, NULL))
        return false;
    *bytes = path_read(&walk->path, rip % 4096);
    return true;
}

/* What a walk made anew finds; false: a fault, or no RAM. */
static bool anew(uint64_t rip, uint8_t bytes[INSN_MAX_LENGTH])
{
    size_t len = 0;

    cpu.rip = rip;
    return emu_fetch(&cpu, &ops, NULL, bytes, &len, &fault) == EMU_DONE && len == INSN_MAX_LENGTH;
}

/* The instruction that is kept for this RIP, as a backend and exit_device_mov() find it. */
static const struct code_insn *kept(uint64_t rip)
{
    const struct code_insn *code = code_cache_insn(&cache, rip);
    struct code_mode mode = mode_now();

    if (code->rip != rip || memcmp(&mode, &code->walk->mode, sizeof(mode)) != 0)
        return NULL;
    return code_insn_is(code, path_read(&code->walk->path, rip % 4096)) ? code : NULL;
}

static unsigned int kept_insns;

/* It must be what stands there. What stands there is kept, if it can be. */
static void expect_kept(uint64_t rip)
{
    const struct code_insn *code = kept(rip);
    uint8_t bytes[INSN_MAX_LENGTH];
    struct window_bytes quick;
    struct insn insn;

    if (code) {
        kept_insns++;
        assert_true(anew(rip, bytes));
        assert_int_equal(insn_decode(&insn, bytes, sizeof(bytes), MODE_64), 0);
        assert_memory_equal(&insn, &code->insn, sizeof(insn));
    }
    if (cached(rip, &quick) && quick.low) {
        const struct code_walk *walk = code_cache_walk(&cache, rip);

        code = code_cache_decode(&cache, walk->mode.cpu_mode, rip, walk, quick);
        assert_true((kept(rip) != NULL) == (code && code->mov.size && emu_mode(&cpu) == MODE_64));
    }
}

static void expect_same(uint64_t rip)
{
    uint8_t bytes[INSN_MAX_LENGTH];
    struct window_bytes quick;

    if (cached(rip, &quick)) {
        assert_true(anew(rip, bytes));
        assert_memory_equal(&quick, bytes, INSN_MAX_LENGTH);
    }
}

static int setup_cache(void **state)
{
    setup(state);
    memset(&cache, 0x55, sizeof(cache));
    code_cache_reset(&cache);
    fills = 0;
    long_mode();
    for (unsigned int i = 0x6000; i < RAM_SIZE; i++)
        ram[i] = (uint8_t)(i * 7 + i / 4096);
    return 0;
}

static void test_hit(void **state)
{
    struct window_bytes bytes;

    (void)state;
    for (unsigned int i = 0; i < 3; i++)
        assert_true(cached(CODE + i, &bytes));
    assert_int_equal(fills, 1);
    /* The page's last 15 bytes are for the general way. */
    assert_true(cached(CODE + 0xff0, &bytes));
    assert_false(cached(CODE + 0xff1, &bytes));
    ram[CODE + 1] ^= 0xff;
    expect_same(CODE);
    assert_int_equal(fills, 1);
    code_cache_reset(&cache);
    expect_same(CODE);
    assert_int_equal(fills, 2);
}

/* Each thing that the walk depends on, changed alone. */
static void test_each_entry(void **state)
{
    static const struct {
        uint32_t table;
        unsigned int index;
        uint64_t entry;
    } changes[] = {{PT, CODE / 4096, 0x9000 | P},
                   {PT, CODE / 4096, 0},
                   {PD, 0, 0x5000 | P},
                   {PD, 0, P | 0x80},
                   {PDPT, 0, 0x5000 | P | US},
                   {PML4, 0, 0},
                   {PT, CODE / 4096, DEVICE | P},
                   {PT, CODE / 4096, CODE | P | 1ull << 63},
                   {PD, 0, 0x40000000ull | P | US}};
    struct window_bytes bytes;
    uint8_t code[INSN_MAX_LENGTH];

    set_pte(0x5000, CODE / 4096, 0xa000 | P);
    for (unsigned int i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        uint8_t before[8];

        memcpy(before, ram + changes[i].table + 8 * changes[i].index, 8);
        assert_true(cached(CODE, &bytes));
        set_pte(changes[i].table, changes[i].index, changes[i].entry);
        assert_int_equal(cached(CODE, &bytes), anew(CODE, code));
        expect_same(CODE);
        memcpy(ram + changes[i].table + 8 * changes[i].index, before, 8);
        expect_same(CODE);
    }
    (void)state;
}

static void test_registers(void **state)
{
    struct window_bytes bytes;

    (void)state;
    assert_true(cached(CODE, &bytes));
    cpu.cpl = 3; /* US everywhere: the same page, but another walk */
    assert_true(cached(CODE, &bytes));
    assert_int_equal(fills, 2);
    set_pte(PT, CODE / 4096, CODE | P | RW); /* not for users */
    assert_false(cached(CODE, &bytes));
    cpu.cpl = 0;
    assert_true(cached(CODE, &bytes));
    set_pte(PT, CODE / 4096, CODE | P | RW | US);
    assert_true(cached(CODE, &bytes));
    cpu.cr4 |= CR4_SMEP;
    assert_false(cached(CODE, &bytes));
    cpu.cr4 &= ~CR4_SMEP;
    set_pte(PT, CODE / 4096, CODE | P | 1ull << 63);
    assert_false(cached(CODE, &bytes));
    cpu.efer &= ~EFER_NXE; /* now a reserved bit */
    assert_false(cached(CODE, &bytes));
    set_pte(PT, CODE / 4096, CODE | P);
    assert_true(cached(CODE, &bytes));
    cpu.cr3 = 0x5000; /* no entries */
    assert_false(cached(CODE, &bytes));
    /* Not canonical, though the tables would say where. */
    cpu.cr3 = PML4;
    assert_true(cached(0xffff800000000000 | CODE, &bytes));
    assert_false(cached(0x0000800000000000 | CODE, &bytes));
}

static void test_segments(void **state)
{
    struct window_bytes bytes;

    setup(state);
    memset(ram + CODE, 0x90, 0x3000);
    assert_true(cached(CODE, &bytes));
    cpu.seg[SEG_CS].base = 0x1000;
    ram[CODE + 0x1000] = 0xf4;
    expect_same(CODE);
    assert_true(cached(CODE, &bytes));
    assert_int_equal(bytes.low & 0xff, 0xf4);
    cpu.seg[SEG_CS].limit = CODE + 0xffe; /* the page is not all within */
    assert_false(cached(CODE, &bytes));
    cpu.seg[SEG_CS].limit++;
    assert_true(cached(CODE, &bytes));
    assert_false(cached(CODE + 0x1000, &bytes));
    cpu.seg[SEG_CS].base = 0x1010;
    assert_false(cached(CODE, &bytes));
    cpu.seg[SEG_CS].base = -(uint64_t)0x1000; /* wraps at 4 GiB */
    expect_same(CODE);
    assert_true(cached(CODE, &bytes));
}

/* Entries of 4 bytes, of which the cache sees two at a time. */
static void test_32bit_paging(void **state)
{
    uint32_t *pd = (uint32_t *)(ram + PML4), *pt = (uint32_t *)(ram + PT);

    setup(state);
    cpu.cr0 |= CR0_PG;
    cpu.cr3 = PML4;
    pd[0] = PT | P | RW;
    for (unsigned int i = 0; i < RAM_SIZE / 4096; i++)
        pt[i] = i << 12 | P | RW;
    for (unsigned int page = 8; page < 10; page++) { /* the low and the high half of a word */
        struct window_bytes bytes;

        memset(ram + 0xa000, 0xcc, 0x1000);
        assert_true(cached(page << 12, &bytes));
        pt[page] = 0xa000 | P;
        expect_same(page << 12);
        assert_true(cached(page << 12, &bytes));
        assert_int_equal(bytes.low & 0xff, 0xcc);
        pt[page] = 0;
        assert_false(cached(page << 12, &bytes));
    }
}

/* Everything at random, over several pages. */
static void test_random(void **state)
{
    static const uint16_t tables[] = {PML4, PDPT, PD, PT, 0x5000};
    unsigned int good = 0;

    (void)state;
    srand(4);
    for (unsigned int round = 0; round < 200000; round++) {
        uint64_t rip = 0x8000 + (uint64_t)rand() % 0x6000;
        struct window_bytes bytes;

        switch (rand() % 8) {
        case 0: ram[rip] ^= (uint8_t)rand(); break;
        case 1:
            set_pte(PT, 8 + (unsigned int)rand() % 6,
                    (0x8000 + ((uint64_t)rand() % 8 << 12)) | ((uint64_t)rand() & 7));
            break;
        case 2: set_pte(PD, 0, (rand() % 4 ? PT : 0x5000) | P | ((uint64_t)rand() & 6)); break;
        case 3:
            set_pte(0x5000, 8 + (unsigned int)rand() % 6, 0x8000 | ((uint64_t)rand() & 7));
            break;
        case 4: cpu.cpl = rand() % 2 ? 3 : 0; break;
        case 5: cpu.cr4 ^= rand() % 4 ? 0 : CR4_SMEP; break;
        case 6: memcpy(ram + tables[rand() % 5] + 8, &round, sizeof(round)); break;
        default: break;
        }
        if (rand() % 4 == 0)
            ram[rip] = 0x8b;
        expect_kept(rip);
        expect_same(rip);
        good += cached(rip, &bytes);
        /* There once more, when other pages and modes may have come in between. */
        expect_kept(0x8000 + (rip & 0x4ffe));
    }
    assert_true(good > 20000 && fills > 2000 && kept_insns > 2000);
}

/* An instruction is kept no longer than the walk that leads to it. */
static void test_kept(void **state)
{
    const uint64_t alias = CODE + CODE_WALKS * 4096;
    struct window_bytes bytes;

    (void)state;
    put_code(CODE, "8b 03");
    expect_kept(CODE);
    assert_non_null(kept(CODE));
    put_code(CODE, "8b 0b");
    assert_null(kept(CODE));
    expect_kept(CODE);
    assert_int_equal(kept(CODE)->insn.dst.reg, GPR_RCX);
    /* Another page takes its walk, and the page comes back, elsewhere. */
    set_pte(PT, (unsigned int)(alias / 4096), 0x9000 | P);
    assert_true(cached(alias, &bytes));
    assert_null(kept(CODE));
    set_pte(PT, CODE / 4096, 0x9000 | P);
    assert_true(cached(CODE, &bytes));
    assert_null(kept(CODE));
    set_pte(PT, CODE / 4096, CODE | P);
    expect_kept(CODE);
    assert_non_null(kept(CODE));
    /* A walk in another mode that does not end well leaves nothing of the one before. */
    cpu.cr3 = 0x5000;
    assert_false(cached(CODE, &bytes));
    cpu.cr3 = PML4;
    assert_null(kept(CODE));
    expect_kept(CODE);
    assert_non_null(kept(CODE));
    /* The same RIP in compatibility mode. */
    cpu.seg[SEG_CS].attrib &= (uint16_t)~SEG_ATTR_L;
    assert_null(kept(CODE));
    expect_kept(CODE);
    assert_null(kept(CODE));
    cpu.seg[SEG_CS].attrib |= SEG_ATTR_L;
    assert_null(kept(CODE));
    expect_kept(CODE);
    assert_non_null(kept(CODE));
    /* No MOV, nor what the CPU gave: that has no walk. */
    put_code(CODE, "86 03");
    expect_kept(CODE);
    assert_int_equal(code_cache_insn(&cache, CODE)->rip, CODE_NO_RIP);
    expect_kept(CODE);
    code_cache_reset(&cache);
    assert_null(kept(CODE));
}

static const struct code_insn *decode(enum cpu_mode mode, struct window_bytes bytes)
{
    return code_cache_decode(&cache, mode, CODE, NULL, bytes);
}

/* The decoder's results: of the same bytes in the same mode only. */
static void test_decoded(void **state)
{
    uint64_t low;
    const struct code_insn *first, *again;

    (void)state;
    memcpy(&low, "\x8b\x03\x90\x90\x90\x90\x90\x90", 8); /* mov eax, [rbx] */
    first = decode(MODE_64, (struct window_bytes){low, 1});
    assert_non_null(first);
    assert_int_equal(first->insn.length, 2);
    assert_int_equal(first->mov.size, 4);
    /* What follows the instruction does not matter; its last byte does, and the mode. */
    again = decode(MODE_64, (struct window_bytes){low ^ 0xff0000, 2});
    assert_ptr_equal(first, again);
    again = decode(MODE_64, (struct window_bytes){low ^ 0x800, 2});
    assert_int_equal(again->insn.dst.reg, GPR_RCX);
    again = decode(MODE_16, (struct window_bytes){low, 1});
    assert_int_equal(again->mov.size, 2);
    assert_true(again->mov.has_base);
    /* Undefined, and not to be found afterwards. */
    assert_null(decode(MODE_64, (struct window_bytes){0x06, 0}));
    assert_null(decode(MODE_64, (struct window_bytes){0x06, 0}));
    /* Longer than a word: movabs with prefixes, 12 bytes. */
    memcpy(&low, "\x3e\x64\xa1\x80\x00\xe0\xfe\x00", 8);
    first = decode(MODE_64, (struct window_bytes){low, 0});
    assert_int_equal(first->insn.length, 11);
    again = decode(MODE_64, (struct window_bytes){low, 0x010000});
    assert_true(again->insn.mem.disp == 0x1000000fee00080);
    again = decode(MODE_64, (struct window_bytes){low, 0x01010000});
    assert_true(again->insn.mem.disp == 0x1000000fee00080);
}

static unsigned int fitted, plainly;

/* Both ways from the same state, for one instruction; only those that the short way takes. */
static void compare_mov(const struct code_insn *code, uint64_t gpa, bool write)
{
    const struct insn *insn = &code->insn;
    uint64_t before[GPR_COUNT], base = code->mov.has_base ? cpu.seg[insn->mem.seg].base : 0;
    uint64_t mask = code->mov.size == 8 ? ~0ull : (1ull << 8 * code->mov.size) - 1;
    uint64_t read = 0;

    if (!code->mov.size)
        return;
    if (emu_mov_fits_plainly(&code->mov, insn, gpr, gpa, write)) {
        plainly++;
        assert_true(emu_mov_fits(&code->mov, insn, gpr, cpu.rip, base, gpa, write));
    }
    if (!emu_mov_fits(&code->mov, insn, gpr, cpu.rip, base, gpa, write))
        return;
    memcpy(before, gpr, sizeof(gpr));
    memcpy(&read, backing(gpa, code->mov.size), code->mov.size);
    cpu.hint = (struct emu_hint){.gpa = gpa, .valid = true, .write = write};
    count = 0;
    if (emu_step(&cpu, &ops, NULL, NULL, 0, &fault) != EMU_DONE) {
        /* No CPU would have told of an access there. */
        assert_true(fault.vector == EXC_GP || fault.vector == EXC_SS);
        return;
    }
    fitted++;
    assert_int_equal(count, 1);
    assert_int_equal(cpu.rip, CODE + insn->length);
    assert_true(made[0].where == gpa && made[0].len == code->mov.size);
    if (write) {
        assert_int_equal(made[0].kind, 'w');
        assert_true(made[0].val == (emu_mov_value(insn, before) & mask));
    } else {
        /* The device's answer has anything above its low bytes. */
        emu_mov_finish(insn, before, read | ~mask);
        assert_int_equal(made[0].kind, 'r');
    }
    assert_memory_equal(before, gpr, sizeof(gpr));
    cpu.rip = CODE;
}

static void random_mov(void)
{
    static const char *const prefixes[] = {"",   "66",    "67",    "64", "3e", "48",
                                           "4f", "66 45", "67 41", "f0", "f3", "40"};
    static const uint8_t opcodes[] = {0x88, 0x89, 0x8a, 0x8b, 0xc6, 0xc7, 0xa0, 0xa1,
                                      0xa2, 0xa3, 0xb6, 0xb7, 0xbe, 0x63, 0x8f, 0x86};
    uint8_t opcode = opcodes[rand() % 16];
    size_t at = put_code(CODE, prefixes[rand() % 12]);
    const struct code_insn *code;
    struct window_bytes bytes;
    bool write = rand() % 2;

    for (size_t i = at; i < INSN_MAX_LENGTH; i++)
        ram[CODE + i] = (uint8_t)rand();
    if (opcode >= 0xb0 && opcode < 0xc0)
        ram[CODE + at++] = 0x0f;
    ram[CODE + at] = opcode;
    ram[CODE + at + 1] &= opcode >= 0xc0 ? 0xc7 : 0xff;
    memcpy(&bytes, ram + CODE, sizeof(bytes));
    code = decode(emu_mode(&cpu), bytes);
    if (!code)
        return;
    for (unsigned int i = 0; i < GPR_COUNT; i++)
        gpr[i] = (uint64_t)(rand() % 0x4000) << 32 ^ (uint64_t)rand();
    /* At every place in the page, of which it can mean only one. */
    for (unsigned int offset = 0; offset < 0x1000; offset++)
        compare_mov(code, DEVICE + offset, write);
}

static void test_mov(void **state)
{
    (void)state;
    srand(5);
    for (unsigned int round = 0; round < 12000; round++) {
        if (round == 0)
            long_mode();
        if (round == 6000)
            setup(state);
        cpu.seg[SEG_FS].base = cpu.seg[SEG_GS].base = 0x1008;
        random_mov();
    }
    assert_true(fitted > 800 && plainly > 200);
}

/* What the short way must leave alone. */
static void test_not_mov(void **state)
{
    static const char *const texts[] = {"f0 89 03", "88 23",    "8a 23", "89 c3", "0f be 03",
                                        "86 03",    "01 03",    "8e 03", "a5",    "ff 33",
                                        "8f 03",    "0f c3 03", "63 03"};
    static const char *const fits[] = {"89 03", "88 03", "8b 03", "c7 03 1 0 0 0", "40 88 23"};
    struct window_bytes bytes;

    (void)state;
    for (unsigned int i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const struct code_insn *code;

        put_code(CODE, texts[i]);
        memcpy(&bytes, ram + CODE, sizeof(bytes));
        code = decode(MODE_64, bytes);
        if (i != 11) /* MOVNTI is one */
            assert_true(!code || code->mov.size == 0);
    }
    gpr[GPR_RBX] = DEVICE + 0x10;
    for (unsigned int i = 0; i < sizeof(fits) / sizeof(fits[0]); i++) {
        const struct code_insn *code;
        bool write = i != 2;

        put_code(CODE, fits[i]);
        memcpy(&bytes, ram + CODE, sizeof(bytes));
        code = decode(MODE_64, bytes);
        assert_true(emu_mov_fits(&code->mov, &code->insn, gpr, CODE, 0, DEVICE + 0x10, write));
        assert_false(emu_mov_fits(&code->mov, &code->insn, gpr, CODE, 0, DEVICE + 0x10, !write));
        assert_false(emu_mov_fits(&code->mov, &code->insn, gpr, CODE, 0, DEVICE + 0x14, write));
        assert_true(emu_mov_fits(&code->mov, &code->insn, gpr, CODE, 0x1000, DEVICE + 0x10, write));
    }
    /* Across a page, or not aligned: what the hint tells is not all. */
    gpr[GPR_RBX] = DEVICE + 0xffe;
    put_code(CODE, "8b 03");
    memcpy(&bytes, ram + CODE, sizeof(bytes));
    const struct code_insn *code = decode(MODE_64, bytes);
    assert_false(emu_mov_fits(&code->mov, &code->insn, gpr, CODE, 0, DEVICE + 0xffe, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_hit, setup_cache),
        cmocka_unit_test_setup(test_each_entry, setup_cache),
        cmocka_unit_test_setup(test_registers, setup_cache),
        cmocka_unit_test_setup(test_segments, setup_cache),
        cmocka_unit_test_setup(test_32bit_paging, setup_cache),
        cmocka_unit_test_setup(test_random, setup_cache),
        cmocka_unit_test_setup(test_kept, setup_cache),
        cmocka_unit_test_setup(test_decoded, setup_cache),
        cmocka_unit_test_setup(test_mov, setup_cache),
        cmocka_unit_test_setup(test_not_mov, setup_cache),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
