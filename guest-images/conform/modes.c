/* Real mode and 16-bit and 32-bit protected mode without paging. */

#include "low.h"

#define LAPIC_ID_AT     0xfee00030u
#define LAPIC_TPR_AT    0xfee00080u
#define TIMER_VECTOR    0x50
#define DESC_DATA_SMALL 0x0040930000000fffull /* limit fffh */
#define DESC_DATA_NP    0x00cf13000000ffffull
#define DESC_DATA_RO    0x00cf91000000ffffull
#define SEL_SMALL       LOW_FREE
#define SEL_NP          (LOW_FREE + 8)
#define SEL_RO          (LOW_FREE + 16)

SNIPPET16(m16_cpuid, "cpuid");
SNIPPET32(m32_cpuid, "cpuid");
SNIPPET16(m16_cpuid_66, ".byte 0x66; cpuid");
SNIPPET16(m16_inout, "mov $0xf, %al; out %al, $0x70; mov $0x5a, %al; out %al, $0x71;"
                     "mov $0xf, %al; out %al, $0x70; xor %eax, %eax; in $0x71, %al");
SNIPPET32(m32_inout, "mov $0xf, %al; out %al, $0x70; mov $0x5a, %al; out %al, $0x71;"
                     "mov $0xf, %al; out %al, $0x70; xor %eax, %eax; in $0x71, %al");
SNIPPET16(m16_in_dx, "mov $0xffffffff, %eax; mov $0x61, %dx; in %dx, %ax");
SNIPPET16(m16_int, "int $0x42; int $0x42; int $0x43");
SNIPPET16(m16_hlt, "sti; hlt; cli");
SNIPPET32(m32_hlt, "sti; hlt; cli");
SNIPPET16(m16_limit, "mov 0xffff, %ax");
SNIPPET16(m16_limit_ss, "mov $0xffff, %bp; mov (%bp), %ax");
SNIPPET16(m16_far, "mov (%ebx), %eax"); /* 32-bit address */
SNIPPET16(m16_ud, "ud2");
SNIPPET16(m16_de, "xor %cl, %cl; div %cl");
SNIPPET16(m16_int3, "int3");
SNIPPET16(m16_bound, "bound %eax, (%si)");
SNIPPET16(m16_rdmsr, "rdmsr");
SNIPPET16(m16_wrmsr, "wrmsr");
SNIPPET16(m16_read_cr0, "mov %cr0, %eax");
SNIPPET16(m16_smsw, "xor %eax, %eax; smsw %eax");
SNIPPET16(m16_toggle_pe, "mov %cr0, %eax; or $1, %al; mov %eax, %cr0; mov %cr0, %ebx;"
                         "and $0xfe, %al; mov %eax, %cr0; mov %cr0, %ecx");
SNIPPET16(m16_lmsw, "smsw %ax; or $1, %al; lmsw %ax; smsw %bx; mov %cr0, %eax; and $0xfe, %al;"
                    "mov %eax, %cr0");
SNIPPET16(m16_int_beyond, "int $0x90");
SNIPPET16(m16_mov_fs, "mov $0x1000, %ax; mov %ax, %fs; mov %fs:0x10, %eax; xor %bx, %bx;"
                      "mov %bx, %fs");
SNIPPET16(m16_lapic_read, "mov (%ebx), %eax");
SNIPPET16(m16_lapic_write, "movl $0x30, (%ebx); mov (%ebx), %eax; movl $0, (%ebx)");
SNIPPET16(m16_insb, "push %es; rep insb; pop %es");
SNIPPET16(m16_outsb, "rep outsb");
SNIPPET16(m16_wbinvd, "wbinvd");
SNIPPET16(m16_pushf, "pushf; pop %ax");
SNIPPET16(m16_load_np, "mov %ax, %fs");
SNIPPET32(m32_load_seg, "mov %eax, %fs");
SNIPPET32(m32_small, "mov %eax, %fs; mov %fs:(%ebx), %eax");
SNIPPET32(m32_write_ro, "mov %eax, %fs; mov %eax, %fs:0");
SNIPPET32(m32_write_cs, "mov %eax, %cs:0x6000");
SNIPPET32(m32_null, "xor %eax, %eax; mov %eax, %fs; mov %fs:0, %eax");
SNIPPET32(m32_rdmsr, "rdmsr");
SNIPPET32(m32_aam, ".byte 0xd4, 0");
SNIPPET32(m32_pushad, "mov %esp, %ebp; pushal; popal; sub %esp, %ebp");
SNIPPET32(m32_lapic_read, "mov (%ebx), %eax");
SNIPPET32(m32_lapic_or, "orl $0x50, (%ebx); mov (%ebx), %eax; andl $0, (%ebx); mov (%ebx), %ecx");
SNIPPET32(m32_insd, "rep insl");
SNIPPET32(m32_daa, "mov $0x2e, %al; mov $0, %ah; sahf; daa");
SNIPPET32(m32_int, "int $0x44");
SNIPPET32(m32_int_beyond, "int $0x90");
SNIPPET32(m32_pg_without_pe, "mov %cr0, %eax; and $0xfffffffe, %eax; or $0x80000000, %eax;"
                             "m32_pg_without_pe_at: mov %eax, %cr0");
SNIPPET32(m32_arpl, "arpl %bx, %ax");

static uint32_t long_vendor;
static uint32_t long_version;

static void check_cpuid_in(const char *name, uint32_t mode, uint32_t pg, uint32_t cr4,
                           const uint8_t *code, const uint8_t *end)
{
    struct low_box box = {.mode = mode, .cr0_set = pg, .cr4 = cr4, .cr3 = (uintptr_t)low_pd32};

    if (cr4 & CR4_PAE)
        box.cr3 = (uintptr_t)low_pdpt;
    low_run(&box, code, end);
    check_that(name, box.vector == LOW_RETURNED && box.ebx == long_vendor, box.ebx,
               "the vendor that 64-bit mode sees");
}

static void check_cpuid(void)
{
    check_cpuid_in("cpuid-real", LOW_REAL, 0, 0, m16_cpuid, m16_cpuid_end);
    check_cpuid_in("cpuid-real-66", LOW_REAL, 0, 0, m16_cpuid_66, m16_cpuid_66_end);
    check_cpuid_in("cpuid-pm16", LOW_PM16, 0, 0, m16_cpuid, m16_cpuid_end);
    check_cpuid_in("cpuid-pm32", LOW_PM32, 0, 0, m32_cpuid, m32_cpuid_end);
    check_cpuid_in("cpuid-paging", LOW_PM32, CR0_PG, CR4_PSE, m32_cpuid, m32_cpuid_end);
    check_cpuid_in("cpuid-pm16-paging", LOW_PM16, CR0_PG, CR4_PSE, m16_cpuid, m16_cpuid_end);
    check_cpuid_in("cpuid-pae", LOW_PM32, CR0_PG, CR4_PAE, m32_cpuid, m32_cpuid_end);
}

static uint32_t run_eax(uint32_t mode, const uint8_t *code, const uint8_t *end, struct low_box in)
{
    in.mode = mode;
    low_run(&in, code, end);
    return in.vector == LOW_RETURNED ? in.eax : ~in.vector;
}
#define RUN_EAX(mode, code, ...) run_eax(mode, code, code##_end, (struct low_box){__VA_ARGS__})

/* The LAPIC's timer is started before the way down; the end of interrupt comes after the way up. */
static void check_halt(const char *name, uint32_t mode, const uint8_t *code, const uint8_t *end)
{
    struct low_box box = {.mode = mode};

    guest_tsc_per_ms();
    lapic_write(LAPIC_REG_TIMER_DIV, 0xb);
    lapic_write(LAPIC_REG_LVT_TIMER, TIMER_VECTOR);
    lapic_write(LAPIC_REG_TIMER_INIT, 5000);
    low_run(&box, code, end);
    lapic_eoi();
    lapic_write(LAPIC_REG_LVT_TIMER, 0x10000);
    check_that(name, box.vector == LOW_RETURNED && box.count == 1 && box.last == TIMER_VECTOR,
               box.count, "one timer interrupt");
}

static void check_real_instructions(void)
{
    struct low_box box = {.mode = LOW_REAL};
    uint32_t *word = (uint32_t *)(uintptr_t)0x10010;

    check_eq("real-in-out", RUN_EAX(LOW_REAL, m16_inout), 0x5a);
    check_eq("real-in-16-keeps-upper-half", RUN_EAX(LOW_REAL, m16_in_dx) >> 16, 0xffff);
    LOW_RUN(&box, m16_int);
    check_eq("real-int-n", box.count, 3);
    check_eq("real-int-n-vector", box.last, 0x43);
    check_halt("real-halt", LOW_REAL, m16_hlt, m16_hlt_end);
    check_eq("real-efer", RUN_EAX(LOW_REAL, m16_rdmsr, .ecx = MSR_EFER) & (EFER_LME | EFER_LMA), 0);
    check_eq("real-cr0", RUN_EAX(LOW_REAL, m16_read_cr0) & (CR0_PE | CR0_PG | CR0_ET), CR0_ET);
    check_eq("real-smsw", RUN_EAX(LOW_REAL, m16_smsw) & (CR0_PE | CR0_ET), CR0_ET);
    box = (struct low_box){.mode = LOW_REAL};
    LOW_RUN(&box, m16_toggle_pe);
    check_eq("real-toggle-pe", box.vector == LOW_RETURNED ? (box.ebx & 1) << 1 | (box.ecx & 1) : 9,
             2);
    box = (struct low_box){.mode = LOW_REAL};
    LOW_RUN(&box, m16_lmsw);
    check_eq("real-lmsw", box.vector == LOW_RETURNED ? box.ebx & 1 : 9, 1);
    *word = 0xabcd1234;
    check_eq("real-segment-base", RUN_EAX(LOW_REAL, m16_mov_fs), 0xabcd1234);
    check_eq("real-wrmsr-refused", ~RUN_EAX(LOW_REAL, m16_wrmsr, .ecx = 0xdeadbeef), EXC_GP);
    check_eq("real-wbinvd", RUN_EAX(LOW_REAL, m16_wbinvd, .eax = 7), 7);
    check_eq("real-flags", RUN_EAX(LOW_REAL, m16_pushf) & RFLAGS_IF, 0);
}

#define REAL             \
    {                    \
        .mode = LOW_REAL \
    }
static const struct low_row real_rows[] = {
    {"real-ud", m16_ud, m16_ud_end, EXC_UD, 0, 0, REAL},
    {"real-de", m16_de, m16_de_end, EXC_DE, 0, 2, REAL},
    {"real-bp", m16_int3, m16_int3_end, EXC_BP, 0, 1, REAL},
    {"real-br",
     m16_bound,
     m16_bound_end,
     EXC_BR,
     0,
     0,
     {.mode = LOW_REAL, .eax = 9, .esi = 0x6000}},
    {"real-limit-gp", m16_limit, m16_limit_end, EXC_GP, 0, 0, REAL},
    {"real-limit-ss", m16_limit_ss, m16_limit_ss_end, EXC_SS, 0, 3, REAL},
    {"real-beyond-64k", m16_far, m16_far_end, EXC_GP, 0, 0, {.mode = LOW_REAL, .ebx = 0x100000}},
    {"real-rdmsr-unknown",
     m16_rdmsr,
     m16_rdmsr_end,
     EXC_GP,
     0,
     0,
     {.mode = LOW_REAL, .ecx = 0xdeadbeef}},
    {"real-int-beyond-limit", m16_int_beyond, m16_int_beyond_end, EXC_GP, 0, 0, REAL},
    {"real-arpl", m32_arpl, m32_arpl_end, EXC_UD, 0, 0, REAL},
};

static void check_big_real(void)
{
    struct low_box box = {.mode = LOW_REAL, .big = 1, .ebx = LAPIC_TPR_AT};

    check_eq("big-real-read", RUN_EAX(LOW_REAL, m16_far, .big = 1, .ebx = 0x100000),
             *(const uint32_t *)(uintptr_t)0x100000);
    check_eq("big-real-lapic", RUN_EAX(LOW_REAL, m16_lapic_read, .big = 1, .ebx = LAPIC_ID_AT),
             long_version);
    LOW_RUN(&box, m16_lapic_write);
    check_eq("big-real-lapic-write", box.eax, 0x30);
}

static void check_real_strings(void)
{
    uint8_t *data = (uint8_t *)(uintptr_t)LOW_DATA;
    struct low_box box = {.mode = LOW_REAL, .ecx = 4, .edx = 0x71, .edi = LOW_DATA};

    __asm__("" : "+r"(data));
    memset(data, 0, 16);
    outb(0x70, 0xf);
    outb(0x71, 0xa7);
    outb(0x70, 0xf);
    LOW_RUN(&box, m16_insb);
    check_eq("real-insb-data", data[0], 0xa7);
    check_eq("real-insb-registers", box.ecx << 16 | box.edi, LOW_DATA + 4);
    box = (struct low_box){.mode = LOW_REAL, .ecx = 3, .edx = 0x80, .esi = LOW_DATA};
    LOW_RUN(&box, m16_outsb);
    check_eq("real-outsb-registers", box.ecx << 16 | box.esi, LOW_DATA + 3);
}

#define PM16             \
    {                    \
        .mode = LOW_PM16 \
    }
#define PM32             \
    {                    \
        .mode = LOW_PM32 \
    }
static const struct low_row pm_rows[] = {
    {"pm16-limit-gp", m16_limit, m16_limit_end, EXC_GP, 0, 0, PM16},
    {"pm16-limit-ss", m16_limit_ss, m16_limit_ss_end, EXC_SS, 0, 3, PM16},
    {"pm16-ud", m16_ud, m16_ud_end, EXC_UD, 0, 0, PM16},
    {"pm16-rdmsr-unknown",
     m16_rdmsr,
     m16_rdmsr_end,
     EXC_GP,
     0,
     0,
     {.mode = LOW_PM16, .ecx = 0xdeadbeef}},
    {"pm16-np", m16_load_np, m16_load_np_end, EXC_NP, SEL_NP, 0, {.mode = LOW_PM16, .eax = SEL_NP}},
    {"pm32-np",
     m32_load_seg,
     m32_load_seg_end,
     EXC_NP,
     SEL_NP,
     0,
     {.mode = LOW_PM32, .eax = SEL_NP}},
    {"pm32-selector",
     m32_load_seg,
     m32_load_seg_end,
     EXC_GP,
     0x1000,
     0,
     {.mode = LOW_PM32, .eax = 0x1000}},
    {"pm32-within-limit",
     m32_small,
     m32_small_end,
     LOW_RETURNED,
     0,
     0,
     {.mode = LOW_PM32, .eax = SEL_SMALL, .ebx = 0xffc}},
    {"pm32-limit",
     m32_small,
     m32_small_end,
     EXC_GP,
     0,
     2,
     {.mode = LOW_PM32, .eax = SEL_SMALL, .ebx = 0xffd}},
    {"pm32-write-read-only",
     m32_write_ro,
     m32_write_ro_end,
     EXC_GP,
     0,
     2,
     {.mode = LOW_PM32, .eax = SEL_RO}},
    {"pm32-write-code", m32_write_cs, m32_write_cs_end, EXC_GP, 0, 0, PM32},
    {"pm32-null-selector", m32_null, m32_null_end, EXC_GP, 0, 4, PM32},
    {"pm32-rdmsr-unknown",
     m32_rdmsr,
     m32_rdmsr_end,
     EXC_GP,
     0,
     0,
     {.mode = LOW_PM32, .ecx = 0xdeadbeef}},
    {"pm32-aam-0", m32_aam, m32_aam_end, EXC_DE, 0, 0, PM32},
    {"pm32-int-beyond-limit", m32_int_beyond, m32_int_beyond_end, EXC_GP, 0x90 * 8 + 2, 0, PM32},
};
/* QEMU's TCG lets it pass, and the machine is lost. */
static const struct low_row pg_row = {
    "pm32-pg-without-pe", m32_pg_without_pe, m32_pg_without_pe_end, EXC_GP, 0, 11, PM32};

static void check_protected(void)
{
    struct low_box box = {.mode = LOW_PM32};
    uint8_t *data = (uint8_t *)(uintptr_t)LOW_DATA;

    __asm__("" : "+r"(data));
    *low_gdt_entry(SEL_SMALL) = DESC_DATA_SMALL;
    *low_gdt_entry(SEL_NP) = DESC_DATA_NP;
    *low_gdt_entry(SEL_RO) = DESC_DATA_RO;
    for (size_t i = 0; i < ARRAY_SIZE(pm_rows); i++)
        low_check(&pm_rows[i]);
    if (has.tcg)
        check_skip(pg_row.name, "native TCG");
    else
        low_check(&pg_row);
    check_eq("pm16-in-out", RUN_EAX(LOW_PM16, m16_inout), 0x5a);
    check_eq("pm32-in-out", RUN_EAX(LOW_PM32, m32_inout), 0x5a);
    check_halt("pm16-halt", LOW_PM16, m16_hlt, m16_hlt_end);
    check_halt("pm32-halt", LOW_PM32, m32_hlt, m32_hlt_end);
    check_eq("pm32-efer", RUN_EAX(LOW_PM32, m32_rdmsr, .ecx = MSR_EFER) & (EFER_LME | EFER_LMA), 0);
    check_eq("pm32-daa", RUN_EAX(LOW_PM32, m32_daa) & 0xff, 0x34);
    LOW_RUN(&box, m32_pushad);
    check_eq("pm32-pushad", box.ebp, 0);
    box = (struct low_box){.mode = LOW_PM32};
    LOW_RUN(&box, m32_int);
    check_eq("pm32-int-n", box.last, 0x44);
    check_eq("pm32-lapic", RUN_EAX(LOW_PM32, m32_lapic_read, .ebx = LAPIC_ID_AT), long_version);
    box = (struct low_box){.mode = LOW_PM32, .ebx = LAPIC_TPR_AT};
    LOW_RUN(&box, m32_lapic_or);
    check_eq("pm32-lapic-or", box.eax, 0x50);
    check_eq("pm32-lapic-and", box.ecx, 0);
    box = (struct low_box){.mode = LOW_PM32, .ecx = 2, .edx = 0xcf8, .edi = LOW_DATA};
    LOW_RUN(&box, m32_insd);
    check_eq("pm32-insd", box.ecx << 16 | box.edi, LOW_DATA + 8);
}

void group_modes(void)
{
    struct guest_regs r = {0};

    low_make_tables();
    long_vendor = cpuid(0, 0).ebx;
    long_version = lapic_read(LAPIC_REG_VERSION);
    *(uint32_t *)(uintptr_t)LOW_DATA = 0; /* BOUND's limits */
    check_cpuid();
    check_real_instructions();
    for (size_t i = 0; i < ARRAY_SIZE(real_rows); i++)
        low_check(&real_rows[i]);
    check_big_real();
    check_real_strings();
    check_protected();
    guest_exec(m32_rdmsr, &(struct guest_regs){.rcx = MSR_EFER});
    r.rcx = MSR_EFER;
    guest_exec_in(SEL_CODE32, m32_rdmsr, &r);
    check_eq("compatibility-efer", r.rax & (EFER_LME | EFER_LMA), EFER_LME | EFER_LMA);
}
