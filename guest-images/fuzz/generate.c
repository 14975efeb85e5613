/* Random code: valid instructions more often than random bytes would be, those above all that leave
 * the guest. Opcodes: SDM vol. 2, appendix A; APM vol. 3. */

#include "fuzz.h"

#define INSN_MAX      16
#define CODE_MIX      32 /* 2 random bytes, 4 system instructions, the rest plain ones */
#define DEADLY_ONE_IN 64
#define SLOW_ONE_IN   16
#define MODRM_REG_2   0x10
#define CR0_DEADLY    0x80000001ull /* PG, PE */
#define PM1_PORT      0x600         /* ACPI: 0x600 to 0x60f, where S5 powers off */
#define PM1_LAST      0x60f
#define KBC_PORT      0x64
#define FAST_RESET    0x92
#define RESET_PORT    0xcf9

/* What follows the opcode. */
enum {
    END = 0,
    ANY = 1 << 0, /* ModRM, any form */
    MEM = 1 << 1, /* ModRM, memory */
    REG = 1 << 2, /* ModRM, register */
    IMM8 = 1 << 3,
    IMM = 1 << 4, /* of the operand's size, 4 bytes at the most */
    FAR = 1 << 5, /* far pointer */
    MOFFS = 1 << 6,
};

struct template
{
    uint8_t bytes[4];
    uint8_t length;
    uint8_t operands;
};

/* System instructions; the rest of the opcode is random with ANY. */
static const struct template system_insns[] = {
    {{0x0f, 0x00}, 2, ANY},             /* SLDT STR LLDT LTR VERR VERW */
    {{0x0f, 0x01}, 2, ANY},             /* SGDT ... LMSW INVLPG */
    {{0x0f, 0x01}, 2, REG},             /* VMCALL MONITOR XGETBV VMRUN SWAPGS RDTSCP ... */
    {{0x0f, 0x02}, 2, ANY},             /* LAR */
    {{0x0f, 0x03}, 2, ANY},             /* LSL */
    {{0x0f, 0x05}, 2, END},             /* SYSCALL */
    {{0x0f, 0x06}, 2, END},             /* CLTS */
    {{0x0f, 0x07}, 2, END},             /* SYSRET */
    {{0x0f, 0x08}, 2, END},             /* INVD */
    {{0x0f, 0x09}, 2, END},             /* WBINVD */
    {{0x0f, 0x0b}, 2, END},             /* UD2 */
    {{0x0f, 0x20}, 2, REG},             /* MOV from CR */
    {{0x0f, 0x21}, 2, REG},             /* MOV from DR */
    {{0x0f, 0x23}, 2, REG},             /* MOV to DR */
    {{0x0f, 0x22}, 2, REG},             /* MOV to CR */
    {{0x0f, 0x30}, 2, END},             /* WRMSR */
    {{0x0f, 0x31}, 2, END},             /* RDTSC */
    {{0x0f, 0x32}, 2, END},             /* RDMSR */
    {{0x0f, 0x33}, 2, END},             /* RDPMC */
    {{0x0f, 0x34}, 2, END},             /* SYSENTER */
    {{0x0f, 0x35}, 2, END},             /* SYSEXIT */
    {{0x0f, 0x37}, 2, END},             /* GETSEC */
    {{0x0f, 0x78}, 2, ANY},             /* VMREAD */
    {{0x0f, 0x79}, 2, ANY},             /* VMWRITE */
    {{0x0f, 0xa2}, 2, END},             /* CPUID */
    {{0x0f, 0xaa}, 2, END},             /* RSM */
    {{0x0f, 0xae}, 2, ANY},             /* FXSAVE ... XSAVE, RDFSBASE, fences, CLFLUSH */
    {{0x0f, 0xc7}, 2, ANY},             /* CMPXCHG8B, VMPTRLD, VMXON, RDRAND, XSAVES */
    {{0x66, 0x0f, 0x38, 0x80}, 4, MEM}, /* INVEPT */
    {{0x66, 0x0f, 0x38, 0x81}, 4, MEM}, /* INVVPID */
    {{0x66, 0x0f, 0x38, 0x82}, 4, MEM}, /* INVPCID */
    {{0x0f, 0x01, 0xc1}, 3, END},       /* VMCALL */
    {{0x0f, 0x01, 0xd9}, 3, END},       /* VMMCALL */
    {{0x0f, 0x01, 0xd1}, 3, END},       /* XSETBV */
    {{0x0f, 0x01, 0xd4}, 3, END},       /* VMFUNC */
    {{0x0f, 0x01, 0xc8}, 3, END},       /* MONITOR */
    {{0x0f, 0x01, 0xc9}, 3, END},       /* MWAIT */
    {{0xf4}, 1, END},                   /* HLT */
    {{0xfa}, 1, END},                   /* CLI */
    {{0xfb}, 1, END},                   /* STI */
    {{0xcf}, 1, END},                   /* IRET */
    {{0x9c}, 1, END},                   /* PUSHF */
    {{0x9d}, 1, END},                   /* POPF */
    {{0xcc}, 1, END},                   /* INT3 */
    {{0xcd}, 1, IMM8},                  /* INT */
    {{0xce}, 1, END},                   /* INTO */
    {{0xf1}, 1, END},                   /* ICEBP */
    {{0xcb}, 1, END},                   /* RETF */
    {{0xff}, 1, MEM},                   /* INC DEC, near and far CALL and JMP, PUSH */
    {{0x9a}, 1, FAR},
    {{0xea}, 1, FAR},
    {{0x8e}, 1, ANY}, /* MOV to segment registers */
    {{0x8c}, 1, ANY},
    {{0x1f}, 1, END},       /* POP DS */
    {{0x07}, 1, END},       /* POP ES */
    {{0x17}, 1, END},       /* POP SS */
    {{0x0f, 0xa1}, 2, END}, /* POP FS */
    {{0x0f, 0xb2}, 2, MEM}, /* LSS */
    {{0x62}, 1, MEM},       /* BOUND, EVEX */
    {{0x63}, 1, ANY},       /* ARPL, MOVSXD */
};

/* BTS and its like only with memory: QEMU 7.2 gives up at LOCK BTS of a register. */
static const struct template plain_insns[] = {
    {{0x00}, 1, ANY},
    {{0x01}, 1, ANY},
    {{0x02}, 1, ANY},
    {{0x03}, 1, ANY},
    {{0x08}, 1, ANY},
    {{0x09}, 1, ANY},
    {{0x13}, 1, ANY},
    {{0x1b}, 1, ANY},
    {{0x21}, 1, ANY},
    {{0x29}, 1, ANY},
    {{0x31}, 1, ANY},
    {{0x33}, 1, ANY},
    {{0x39}, 1, ANY},
    {{0x80}, 1, ANY | IMM8},
    {{0x81}, 1, ANY | IMM},
    {{0x83}, 1, ANY | IMM8},
    {{0x84}, 1, ANY},
    {{0x85}, 1, ANY},
    {{0x86}, 1, ANY},
    {{0x87}, 1, ANY},
    {{0x88}, 1, ANY},
    {{0x89}, 1, ANY},
    {{0x8a}, 1, ANY},
    {{0x8b}, 1, ANY},
    {{0x8d}, 1, MEM},
    {{0x8f}, 1, ANY},
    {{0xc0}, 1, ANY | IMM8},
    {{0xc6}, 1, ANY | IMM8},
    {{0xc7}, 1, ANY | IMM},
    {{0xd1}, 1, ANY},
    {{0xd3}, 1, ANY},
    {{0xf6}, 1, ANY},
    {{0xf7}, 1, ANY},
    {{0xfe}, 1, ANY},
    {{0xff}, 1, REG},
    {{0xa0}, 1, MOFFS},
    {{0xa1}, 1, MOFFS},
    {{0xa2}, 1, MOFFS},
    {{0xa3}, 1, MOFFS},
    {{0xa4}, 1, END},
    {{0xa5}, 1, END},
    {{0xa6}, 1, END},
    {{0xa7}, 1, END},
    {{0xaa}, 1, END},
    {{0xab}, 1, END},
    {{0xac}, 1, END},
    {{0xad}, 1, END},
    {{0xae}, 1, END},
    {{0xaf}, 1, END},
    {{0x0f, 0xb6}, 2, ANY},
    {{0x0f, 0xb7}, 2, ANY},
    {{0x0f, 0xbe}, 2, ANY},
    {{0x0f, 0xbf}, 2, ANY},
    {{0x0f, 0xa3}, 2, MEM},
    {{0x0f, 0xab}, 2, MEM},
    {{0x0f, 0xba}, 2, MEM | IMM8},
    {{0x0f, 0xb0}, 2, ANY},
    {{0x0f, 0xb1}, 2, ANY},
    {{0x0f, 0xc0}, 2, ANY},
    {{0x0f, 0xc1}, 2, ANY},
    {{0x0f, 0x10}, 2, ANY},
    {{0x0f, 0x11}, 2, ANY},
    {{0x0f, 0x28}, 2, ANY},
    {{0x0f, 0xc3}, 2, MEM},
    {{0x0f, 0x6f}, 2, ANY},
    {{0x0f, 0x7f}, 2, ANY},
    {{0x0f, 0x40}, 2, ANY},
    {{0x0f, 0x90}, 2, ANY},
    {{0x0f, 0xa4}, 2, ANY | IMM8},
    {{0x0f, 0x18}, 2, MEM},
    {{0x0f, 0x38, 0xf0}, 3, MEM},
    {{0x0f, 0x38, 0xf1}, 3, MEM},
    {{0x50}, 1, END},
    {{0x58}, 1, END},
    {{0x60}, 1, END},
    {{0x61}, 1, END},
    {{0x68}, 1, IMM},
    {{0x6a}, 1, IMM8},
    {{0x70}, 1, IMM8},
    {{0xe2}, 1, IMM8},
    {{0xeb}, 1, IMM8},
    {{0xc8}, 1, IMM8},
    {{0xc9}, 1, END},
    {{0x98}, 1, END},
    {{0xd7}, 1, END},
    {{0xd8}, 1, ANY},
    {{0xd9}, 1, ANY},
    {{0xdd}, 1, ANY},
    {{0x69}, 1, ANY | IMM},
    {{0x6b}, 1, ANY | IMM8},
};

static const uint8_t io_opcodes[] = {0x6c, 0x6d, 0x6e, 0x6f, 0xe4, 0xe5,
                                     0xe6, 0xe7, 0xec, 0xed, 0xee, 0xef};
static const uint8_t prefixes[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e,
                                   0x36, 0x3e, 0x26, 0x64, 0x65};

/* Ports with a device behind them: PICs, PIT, keyboard, RTC, UART, PM, PCI. */
static const uint16_t device_ports[] = {0x20,  0x21,  0x40,  0x41,  0x42,  0x43,  0x61,  0x64,
                                        0x70,  0x71,  0x92,  0xa0,  0xa1,  0x3f8, 0x3f9, 0x3fb,
                                        0x4d0, 0x600, 0x604, 0x608, 0xcf8, 0xcf9, 0xcfc, 0xb2};
/* First MSRs of groups of 32. */
static const uint32_t msr_groups[] = {
    0,          0x20,       0x80,       0xc0,       0x160,      0x170,      0x180,      0x1a0,
    0x1c0,      0x1d0,      0x200,      0x240,      0x260,      0x270,      0x2f0,      0x380,
    0x400,      0x480,      0x560,      0x600,      0x6a0,      0x6e0,      0x770,      0x800,
    0x820,      0x830,      0xc80,      0xd90,      0xda0,      0x40000000, 0x40000020, 0x40000060,
    0x40000100, 0x4b564d00, 0xc0000080, 0xc0000100, 0xc0010000, 0xc0010010, 0xc0010030, 0xc0010050,
    0xc0010100, 0xc0010110, 0xc0011000, 0xc0011020,
};
static const uint32_t cpuid_groups[] = {0, 0x10, 0x40000000, 0x40000100, 0x80000000, 0x80000010};

static uint8_t *out;
static enum fuzz_mode mode;
static unsigned int part;

static void put(uint32_t value, unsigned int size)
{
    for (unsigned int i = 0; i < size; i++)
        *out++ = (uint8_t)(value >> 8 * i);
}

static void put_random(unsigned int size)
{
    put((uint32_t)fuzz_random(), size);
}

static bool is_64(void)
{
    return mode == MODE_64_RING0 || mode == MODE_64_RING3;
}

static bool is_16(void)
{
    return mode == MODE_16_RING0 || mode == MODE_REAL;
}

/* Small numbers, single bits, all ones, anything. */
static uint64_t odd_number(void)
{
    switch (fuzz_below(5)) {
    case 0: return fuzz_below(256);
    case 1: return BIT64(fuzz_below(64));
    case 2: return UINT64_MAX << fuzz_below(64);
    case 3: return fuzz_random() & UINT32_MAX;
    default: return fuzz_random();
    }
}

uint64_t fuzz_value(enum fuzz_mode m)
{
    uint64_t alias = m == MODE_64_RING3 || m == MODE_32_RING3 ? GUEST_USER : 0;

    if (m == MODE_16_RING0 || m == MODE_REAL)
        return fuzz_one_in(8) ? fuzz_random() : fuzz_random() & 0xffff;
    switch (fuzz_below(8)) {
    case 0:
    case 1:
    case 2: return FUZZ_DATA + alias + fuzz_below(FUZZ_DATA_SIZE);
    case 3: return GUEST_WINDOW + fuzz_below(FUZZ_PAGES * PAGE_SIZE_4K);
    case 4: return GUEST_LAPIC + fuzz_below(0x400);
    case 5: return 0xc0000000 + fuzz_below(0x3fffffff);
    case 6: return (uint64_t)((int64_t)fuzz_random() >> fuzz_below(64));
    default: return odd_number();
    }
}

static void put_prefixes(void)
{
    if (fuzz_one_in(4))
        for (unsigned int n = 1 + fuzz_below(3); n > 0; n--)
            *out++ = prefixes[fuzz_below(ARRAY_SIZE(prefixes))];
    if (is_64() && fuzz_one_in(2))
        *out++ = (uint8_t)(0x40 | fuzz_below(16));
}

/* Displacements are small more often, so that pointers in registers stay what they are. */
static void put_displacement(unsigned int size)
{
    if (size == 4 && !fuzz_one_in(8))
        put((uint32_t)((int32_t)fuzz_below(0x800) - 0x400), 4);
    else
        put_random(size);
}

static void put_modrm(unsigned int operands)
{
    uint8_t modrm = (uint8_t)fuzz_random();

    if ((operands & REG) || ((operands & ANY) && fuzz_one_in(2)))
        modrm |= 0xc0;
    else if ((operands & MEM) || !fuzz_one_in(4))
        modrm &= fuzz_one_in(2) ? 0x3f : 0x7f;
    *out++ = modrm;
    unsigned int mod = modrm >> 6;
    unsigned int rm = modrm & 7;
    if (mod == 3)
        return;
    if (is_16()) {
        put_displacement(mod == 2 || (mod == 0 && rm == 6) ? 2 : mod);
        return;
    }
    if (rm == 4) {
        uint8_t sib = (uint8_t)fuzz_random() | (fuzz_one_in(2) ? 0x20 : 0);
        *out++ = sib;
        rm = mod == 0 && (sib & 7) == 5 ? 5 : rm;
    }
    put_displacement(mod == 2 || (mod == 0 && rm == 5) ? 4 : mod);
}

/* LTR, LGDT, LIDT, MOV to CR3, and outside of 64-bit mode LMSW and MOV to CR0 (another mode): with
 * random operands these end the VM, which is to be rare. Without MODRM_REG_2 they are something
 * else. */
static bool is_deadly(const struct template *t, uint8_t modrm)
{
    unsigned int reg = modrm >> 3 & 7;

    if (t->bytes[0] != 0x0f)
        return false;
    if (t->bytes[1] == 0x00)
        return reg == 3;
    if (t->bytes[1] == 0x01)
        return (reg == 6 && !is_64()) || (modrm < 0xc0 && (reg == 2 || reg == 3));
    return t->bytes[1] == 0x22 && (reg == 3 || (reg == 0 && !is_64()));
}

/* HLT, and branches, of which every other one is backwards: each costs milliseconds, until the
 * watchdog comes. */
static bool is_slow(const struct template *t)
{
    return t->bytes[0] == 0xf4 || t->bytes[0] == 0x70 || (t->bytes[0] & 0xf4) == 0xe0;
}

static const struct template *pick_template(const struct template *from, unsigned int count)
{
    const struct template *t = &from[fuzz_below(count)];

    return is_slow(t) && !fuzz_one_in(SLOW_ONE_IN) ? from : t;
}

static void put_template(const struct template *t)
{
    put_prefixes();
    for (unsigned int i = 0; i < t->length; i++)
        *out++ = t->bytes[i];
    if (t->operands & (ANY | MEM | REG)) {
        uint8_t *modrm = out;
        put_modrm(t->operands);
        if (is_deadly(t, *modrm) && !fuzz_one_in(DEADLY_ONE_IN))
            *modrm ^= MODRM_REG_2;
    }
    if (t->operands & IMM8)
        put_random(1);
    if (t->operands & IMM)
        put_random(is_16() ? 2 : 4);
    if (t->operands & MOFFS) {
        put((uint32_t)fuzz_value(mode), is_16() ? 2 : 4);
        put(0, is_64() ? 4 : 0);
    }
    if (t->operands & FAR) {
        put_random(is_16() ? 2 : 4);
        put(fuzz_below(GUEST_GDT_SLOTS) * 8, 2);
    }
}

/* MOV r32, imm32: opcode B8 + register. */
static void put_load(unsigned int reg, uint32_t value)
{
    if (is_16())
        *out++ = 0x66;
    *out++ = (uint8_t)(0xb8 + reg);
    put(value, 4);
}

enum { RAX = 0, RCX = 1, RDX = 2 };

static void put_msr(unsigned int step)
{
    uint64_t value = odd_number();

    switch (step) {
    case 0:
        put_load(RCX, fuzz_one_in(8)
                          ? (uint32_t)odd_number()
                          : msr_groups[fuzz_below(ARRAY_SIZE(msr_groups))] + fuzz_below(32));
        break;
    case 1: put_load(RAX, (uint32_t)value); break;
    case 2: put_load(RDX, fuzz_one_in(2) ? 0 : (uint32_t)(value >> 32)); break;
    default:
        *out++ = 0x0f;
        *out++ = fuzz_one_in(2) ? 0x30 : 0x32;
        break;
    }
}

static bool ends_vm(uint16_t port)
{
    return (port >= PM1_PORT && port <= PM1_LAST) || port == KBC_PORT || port == FAST_RESET ||
           (port >= RESET_PORT - 3 && port <= RESET_PORT);
}

static uint16_t random_port(bool wild)
{
    uint16_t port;

    do {
        port = fuzz_one_in(2)
                   ? (uint16_t)fuzz_random()
                   : (uint16_t)(device_ports[fuzz_below(ARRAY_SIZE(device_ports))] + fuzz_below(4));
    } while (!wild && ends_vm(port));
    return port;
}

static void put_port(unsigned int step, bool wild)
{
    uint16_t port = random_port(wild);

    switch (step) {
    case 0: put_load(RDX, port); break;
    case 1: put_load(RCX, fuzz_one_in(8) ? (uint32_t)fuzz_random() : fuzz_below(600)); break;
    default: {
        uint8_t opcode = io_opcodes[fuzz_below(ARRAY_SIZE(io_opcodes))];
        put_prefixes();
        *out++ = opcode;
        if (opcode >= 0xe4 && opcode <= 0xe7)
            *out++ = (uint8_t)random_port(wild);
    }
    }
}

static void put_cpuid(unsigned int step)
{
    switch (step) {
    case 0:
        put_load(RAX, fuzz_one_in(8)
                          ? (uint32_t)odd_number()
                          : cpuid_groups[fuzz_below(ARRAY_SIZE(cpuid_groups))] + fuzz_below(36));
        break;
    case 1: put_load(RCX, fuzz_one_in(4) ? (uint32_t)odd_number() : fuzz_below(20)); break;
    default: put(0xa20f, 2); break;
    }
}

/* A control register with one bit changed: MOV EAX, imm; MOV CRn, EAX. CR8 has REX.R, or LOCK on
 * AMD-V (APM vol. 3, MOV CRn). */
static void put_control_register(void)
{
    unsigned int number = 0;
    uint64_t value = read_cr0() ^ BIT64(fuzz_one_in(4) ? fuzz_below(32) : fuzz_below(4));

    if (!is_64() && !fuzz_one_in(DEADLY_ONE_IN)) {
        value &= ~CR0_DEADLY;
        value |= mode == MODE_REAL ? 0 : CR0_DEADLY;
    }
    switch (fuzz_below(8)) {
    case 0:
        number = mode == MODE_REAL ? 2 : 3;
        value = read_cr3() ^ (fuzz_one_in(2) ? BIT64(3) : 0);
        break;
    case 1:
        value = fuzz_below(18);
        put_load(RAX, (uint32_t)value);
        *out++ = is_64() ? 0x44 : 0xf0;
        put(0xc0220f, 3);
        return;
    case 2:
    case 3:
        number = 4;
        value = read_cr4() ^ BIT64(fuzz_below(26));
        break;
    default: break;
    }
    put_load(RAX, (uint32_t)value);
    put(0xc0220f | number << 19, 3);
}

static void put_code(void)
{
    switch (fuzz_below(CODE_MIX)) {
    case 0:
    case 1: {
        for (unsigned int n = 1 + fuzz_below(INSN_MAX - 1); n > 0; n--)
            put_random(1);
        break;
    }
    case 2:
    case 3:
    case 4:
    case 5: put_template(pick_template(system_insns, ARRAY_SIZE(system_insns))); break;
    default: put_template(pick_template(plain_insns, ARRAY_SIZE(plain_insns))); break;
    }
}

/* The part of a sequence of `parts` instructions that comes next. */
static unsigned int next_part(unsigned int parts)
{
    part = part + 1 < parts ? part + 1 : 0;
    return part;
}

static void put_one(enum fuzz_kind kind, bool wild)
{
    /* In 16-bit code a misread boundary makes MOV to CR0 of it, with anything. */
    if (kind != KIND_BYTES && fuzz_one_in(is_16() ? 256 : 32)) {
        put_control_register();
        return;
    }
    switch (kind) {
    case KIND_BYTES: put_random(4); break;
    case KIND_PORT: put_port(next_part(4), wild); break;
    case KIND_MSR: put_msr(next_part(4)); break;
    case KIND_CPUID: put_cpuid(next_part(3)); break;
    case KIND_MMIO: put_template(pick_template(plain_insns, ARRAY_SIZE(plain_insns))); break;
    default: put_code(); break;
    }
}

void fuzz_generate(struct fuzz_code *code, unsigned int size, unsigned int count,
                   enum fuzz_kind kind, enum fuzz_mode m, bool wild)
{
    unsigned int i = 0;

    mode = m;
    part = 0;
    out = code->bytes;
    while (i < count && (size_t)(out - code->bytes) + 4 * INSN_MAX < size) {
        code->start[i++] = (uint16_t)(out - code->bytes);
        put_one(kind, wild);
    }
    code->count = i;
    code->start[i] = (uint16_t)(out - code->bytes);
    /* Behind the end: back to where the round is counted, in every mode. */
    put(0xccccccccu, 4);
}
