/* What random code must not, and what it may have changed. */

#include "fuzz.h"

#define SMALL_PAGES   512 /* of the first 2 MiB, where the guest's image is */
#define ADDRESS_BITS  40
#define RANDOM_PAGES  24 /* of the window's FUZZ_PAGES; the others are devices */
#define HOLE_START    0xc0000000ull
#define VGA_START     0xa0000ull
#define HIGH_START    0x100000000ull
#define PT_ADDRESS    0x000ffffffffff000ull
#define TSS_BUSY      (2ull << 40)
#define CR0_WP_BIT    BIT64(16)
#define CR4_OSXSAVE   BIT64(18)
#define CPUID1C_XSAVE BIT(26)
#define CPUID1D_SEP   BIT(11)
#define DR7_FIXED     0x400
#define DR6_FIXED     0xffff0ff0

#define MSR_SYSENTER_CS  0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176
#define MSR_EFER         0xc0000080
#define MSR_STAR         0xc0000081
#define MSR_LSTAR        0xc0000082
#define MSR_CSTAR        0xc0000083
#define MSR_SFMASK       0xc0000084
#define MSR_FS_BASE      0xc0000100
#define MSR_GS_BASE      0xc0000101
#define MSR_KERNEL_GS    0xc0000102
#define STAR_VALUE       (0x0018ull << 48 | 0x0008ull << 32)
#define EFER_SCE         BIT64(0)
#define EFER_NXE         BIT64(11)

/* PIT and I/O APIC: the watchdog (8254 and 82093AA data sheets). */
#define PIT_CH0      0x40
#define PIT_COMMAND  0x43
#define PIT_RATE     0x34 /* channel 0, both bytes, mode 2 */
#define PIT_10MS     11932
#define PIT_GSI      2
#define IOAPIC_INDEX (*(volatile uint32_t *)GUEST_IOAPIC)
#define IOAPIC_DATA  (*(volatile uint32_t *)(GUEST_IOAPIC + 0x10))
#define IOAPIC_REDIR 0x10
#define IOAPIC_NMI   0x400u

struct PACKED table_pointer {
    uint16_t limit;
    uint64_t base;
};

extern const uint8_t guest_image_start[], guest_data_start[];

static uint64_t low_pt[SMALL_PAGES] ALIGNED(4096);
static uint64_t user_pt[SMALL_PAGES] ALIGNED(4096);
/* What GDTR and IDTR point to. */
static struct {
    uint64_t gdt[GUEST_GDT_SLOTS];
    uint8_t rest[PAGE_SIZE_4K - GUEST_GDT_SLOTS * sizeof(uint64_t)];
    uint64_t idt[256][2];
} tables ALIGNED(4096);

static uint64_t cr0_start, cr3_start, cr4_start, efer_start;
static uint64_t nx; /* PT_NX where the processor has it */
static bool has_sysenter;

static bool within(uint64_t pa, const void *start, const void *end)
{
    return pa >= ALIGN_DOWN((uint64_t)(uintptr_t)start, PAGE_SIZE_4K) &&
           pa < (uint64_t)(uintptr_t)end;
}

static uint64_t *page_directory(unsigned int gigabyte)
{
    return (uint64_t *)(uintptr_t)(guest_pdpt[gigabyte] & PT_ADDRESS);
}

/* Code that goes astray faults, instead of running into devices or into zeros for ever. */
static bool is_code(uint64_t pa)
{
    return within(pa, guest_image_start, guest_data_start) ||
           (pa >= FUZZ_CODE && pa < FUZZ_CODE + FUZZ_CODE_SIZE);
}

static bool is_protected(uint64_t pa)
{
    bool table = pa == (uintptr_t)guest_pml4 || pa == (uintptr_t)guest_pdpt;

    for (unsigned int i = 0; i < 4; i++)
        table |= pa == (uintptr_t)page_directory(i);
    return table || within(pa, guest_image_start, guest_data_start) ||
           within(pa, low_pt, low_pt + SMALL_PAGES) || within(pa, user_pt, user_pt + SMALL_PAGES) ||
           within(pa, &tables, &tables + 1);
}

/* What ring 3 may write. With "if", only a round's own memory: the rest has what keeps IF set. */
static bool is_user_data(uint64_t pa)
{
    return !is_protected(pa) &&
           (!fuzz_keep_if || (pa >= FUZZ_CODE && pa < FUZZ_DATA + FUZZ_DATA_SIZE));
}

void fuzz_state_init(void)
{
    struct cpuid_regs id = cpuid(1, 0);

    has_sysenter = (id.edx & CPUID1D_SEP) != 0;
    cr0_start = read_cr0();
    cr3_start = read_cr3();
    cr4_start = read_cr4() | (id.ecx & CPUID1C_XSAVE ? CR4_OSXSAVE : 0);
    efer_start = rdmsr(MSR_EFER) | EFER_SCE;
    nx = efer_start & EFER_NXE ? PT_NX : 0;
    for (unsigned int i = 0; i < SMALL_PAGES; i++) {
        uint64_t pa = i * PAGE_SIZE_4K;
        uint64_t flags = PT_P | (is_code(pa) ? 0 : nx);
        low_pt[i] = pa | flags | (is_protected(pa) ? 0 : PT_W);
        user_pt[i] = pa | flags | PT_U | (is_user_data(pa) ? PT_W : 0);
    }
    for (unsigned int i = 1; i < 512; i++) {
        page_directory(0)[i] |= nx;
        page_directory(2)[i] |= nx;
        page_directory(3)[i] |= nx;
    }
    memcpy(tables.gdt, guest_gdt, sizeof(tables.gdt));
    for (unsigned int i = 0; i < 256; i++)
        memcpy(tables.idt[i], guest_gate(i), sizeof(tables.idt[i]));
    page_directory(2)[0] = (uintptr_t)user_pt | PT_P | PT_W | PT_U;
    /* The last write to a page table. */
    page_directory(0)[0] = (uintptr_t)low_pt | PT_P | PT_W;
    fuzz_state_restore();
}

/* LTR wants a TSS that is not busy, and marks it. */
static void restore_tr(void)
{
    uint16_t tr;

    __asm__ volatile("str %0" : "=r"(tr));
    if (tr == SEL_TSS)
        return;
    write_cr0(cr0_start & ~CR0_WP_BIT);
    tables.gdt[SEL_TSS / 8] &= ~TSS_BUSY;
    __asm__ volatile("ltr %w0" ::"r"(SEL_TSS) : "memory");
    write_cr0(cr0_start);
}

static void restore_msrs(void)
{
    uint64_t target = (uintptr_t)fuzz_call_target;

    wrmsr(MSR_EFER, efer_start);
    wrmsr(MSR_STAR, STAR_VALUE);
    wrmsr(MSR_LSTAR, target);
    wrmsr(MSR_CSTAR, target);
    wrmsr(MSR_SFMASK, RFLAGS_TF | RFLAGS_IF);
    wrmsr(MSR_FS_BASE, FUZZ_DATA);
    wrmsr(MSR_GS_BASE, FUZZ_DATA);
    wrmsr(MSR_KERNEL_GS, FUZZ_DATA);
    if (has_sysenter) {
        wrmsr(MSR_SYSENTER_CS, SEL_CODE64);
        wrmsr(MSR_SYSENTER_ESP, FUZZ_STACK);
        wrmsr(MSR_SYSENTER_EIP, target);
    }
}

void fuzz_state_restore(void)
{
    const struct table_pointer gdtr = {sizeof(tables.gdt) - 1, (uintptr_t)tables.gdt};
    const struct table_pointer idtr = {sizeof(tables.idt) - 1, (uintptr_t)tables.idt};

    __asm__ volatile("lgdt %0; lidt %1; lldt %w2" ::"m"(gdtr), "m"(idtr), "r"(0) : "memory");
    if (read_cr0() != cr0_start)
        write_cr0(cr0_start);
    write_cr3(cr3_start);
    if (read_cr4() != cr4_start)
        write_cr4(cr4_start);
    write_dr7(DR7_FIXED);
    write_dr6(DR6_FIXED);
    restore_tr();
    restore_msrs();
}

void fuzz_watchdog(void)
{
    outb(PIT_COMMAND, PIT_RATE);
    outb(PIT_CH0, PIT_10MS & 0xff);
    outb(PIT_CH0, PIT_10MS >> 8);
    IOAPIC_INDEX = IOAPIC_REDIR + 2 * PIT_GSI;
    IOAPIC_DATA = IOAPIC_NMI;
}

void fuzz_devices_restore(void)
{
    lapic_init();
    lapic_eoi();
    IOAPIC_INDEX = IOAPIC_REDIR + 2 * PIT_GSI + 1;
    IOAPIC_DATA = lapic_read(LAPIC_REG_ID) & 0xff000000;
}

static uint64_t random_address(void)
{
    switch (fuzz_below(6)) {
    case 0: return GUEST_LAPIC;
    case 1: return GUEST_IOAPIC;
    case 2: return HOLE_START + fuzz_below(1u << 18) * PAGE_SIZE_4K;
    case 3: return VGA_START + fuzz_below(96) * PAGE_SIZE_4K;
    case 4: return HIGH_START + fuzz_below(1u << 20) * PAGE_SIZE_4K;
    default: return fuzz_random() & PT_ADDRESS & (BIT64(ADDRESS_BITS) - 1);
    }
}

void fuzz_window_shuffle(void)
{
    const uint64_t optional[] = {PT_W, PT_U, PT_PWT, PT_PCD, PT_A, PT_D, PT_G};

    for (unsigned int i = 0; i < FUZZ_PAGES; i++) {
        uint64_t entry = random_address() | PT_P | (fuzz_one_in(64) ? 0 : nx);
        if (i >= RANDOM_PAGES)
            entry = (i & 1 ? GUEST_LAPIC : GUEST_IOAPIC) | PT_P | PT_W | PT_U | nx;
        for (unsigned int k = 0; k < ARRAY_SIZE(optional); k++)
            entry |= fuzz_one_in(k < 2 ? 1 : 2) || fuzz_one_in(2) ? optional[k] : 0;
        if (fuzz_one_in(16))
            entry ^= BIT64(fuzz_below(64)); /* reserved bits, not present... */
        guest_window_pt[i] = entry;
    }
    guest_window_pt[FUZZ_ALIAS] = FUZZ_CODE | PT_P | PT_W | PT_U;
    guest_window_pt[FUZZ_ALIAS + 1] =
        fuzz_one_in(2) ? 0 : (FUZZ_CODE + PAGE_SIZE_4K) | PT_P | PT_W | PT_U;
    write_cr3(cr3_start);
}
