#include "arch/x86/vmx/check.h"

#include "arch/x86/regs.h"
#include "arch/x86/vmx/check_internal.h"
#include "lib/format.h"

#define U(x) ((unsigned long long)(x))

/* Where the rules stand in the SDM, vol. 3. */
#define SDM_EXECUTION       "27.2.1.1"
#define SDM_EXIT            "27.2.1.2"
#define SDM_ENTRY           "27.2.1.3"
#define SDM_HOST_REGISTERS  "27.2.2"
#define SDM_HOST_SEGMENTS   "27.2.3"
#define SDM_HOST_SIZE       "27.2.4"
#define SDM_GUEST_REGISTERS "27.3.1.1"
#define SDM_GUEST_SEGMENTS  "27.3.1.2"
#define SDM_GUEST_TABLES    "27.3.1.3"
#define SDM_GUEST_RIP       "27.3.1.4"
#define SDM_GUEST_OTHER     "27.3.1.5"
#define SDM_GUEST_PDPTES    "27.3.1.6"

#define EXIT_SAVE_TIMER BIT(22) /* never set here, but a CPU could insist on it */

/* IA32_VMX_BASIC, MISC and EPT_VPID_CAP (SDM vol. 3, A.1, A.6, A.10). */
#define BASIC_ANY_ERROR_CODE   BIT64(56)
#define MISC_ACTIVITIES(misc)  ((unsigned int)((misc) >> 6 & 7) << 1 | 1) /* bit n: state n */
#define MISC_CR3_TARGETS(misc) ((misc) >> 16 & 0x1ff)
#define MISC_LENGTH_0          BIT64(30)
#define EPT_CAP_UC             BIT64(8)
#define EPT_CAP_ACCESSED       BIT64(21)

#define EPTP_TYPE        7ull
#define EPTP_WALK        (7ull << 3)
#define EPTP_ACCESSED    BIT64(6)
#define EPTP_RESERVED    0xf80ull
#define LENGTH_MAX       15u
#define INFO_RESERVED    0x7ffff000ull
#define DEBUGCTL_BTF     BIT64(1)
#define DEBUGCTL_LEGAL   0xdfc7ull
#define EFER_LEGAL       (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)
#define RFLAGS_RESERVED  (~0x3fffffull | BIT64(15) | BIT64(5) | BIT64(3))
#define INTERRUPTIBILITY 0x1full
#define PENDING_BS       BIT64(14)
#define PENDING_LEGAL    0x1580full /* breakpoints, bus lock, enabled breakpoint, BS, RTM */
#define PDPTE_RESERVED   0x1e6ull
#define PAT_TYPES        (BIT(0) | BIT(1) | BIT(4) | BIT(5) | BIT(6) | BIT(7))

/* #DF, #TS, #NP, #SS, #GP, #PF and #AC have an error code; #VE and #CP depend on the CPU. */
#define VECTORS_WITH_ERROR (BIT(8) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(14) | BIT(17))
#define VECTORS_UNCLEAR    (BIT(20) | BIT(21))

enum { TYPE_INTERRUPT = 0, TYPE_RESERVED = 1, TYPE_NMI = 2, TYPE_EXCEPTION = 3, TYPE_OTHER = 7 };
enum { ACTIVE, HALTED, SHUTDOWN, WAIT_FOR_SIPI };

/* When a rule holds; more than one: all of them. */
enum {
    ALWAYS = 0,
    IO_BITMAPS = BIT(0),
    MSR_BITMAPS = BIT(1),
    TPR_SHADOW = BIT(2),
    NO_VIRTUAL_INTERRUPTS = BIT(3),
    VPID = BIT(4),
    HOST_LOADS_PAT = BIT(5),
    HOST_LOADS_EFER = BIT(6),
    GUEST_LOADS_PAT = BIT(7),
    GUEST_LOADS_EFER = BIT(8),
    GUEST_LOADS_DEBUG = BIT(9),
};

enum kind { CLEAR, PHYSICAL, PAGE, CANONICAL, MEMORY_TYPES, NOT_ZERO };

static const struct field_rule {
    uint16_t field;
    uint8_t count; /* fields in a row, two apart */
    uint8_t kind;
    uint16_t when;
    uint64_t bits; /* CLEAR: those that must be */
    const char *section;
} field_rules[] = {
    {VMCS_IO_BITMAP_A, 2, PAGE, IO_BITMAPS, 0, SDM_EXECUTION},
    {VMCS_MSR_BITMAP, 1, PAGE, MSR_BITMAPS, 0, SDM_EXECUTION},
    {VMCS_VIRTUAL_APIC_PAGE, 1, PAGE, TPR_SHADOW, 0, SDM_EXECUTION},
    {VMCS_TPR_THRESHOLD, 1, CLEAR, TPR_SHADOW | NO_VIRTUAL_INTERRUPTS, ~15ull, SDM_EXECUTION},
    {VMCS_VPID, 1, NOT_ZERO, VPID, 0, SDM_EXECUTION},
    /* There is room for entries, but the core sets no addresses. */
    {VMCS_EXIT_MSR_STORE_COUNT, 2, CLEAR, ALWAYS, ~0ull, SDM_EXIT},
    {VMCS_ENTRY_MSR_LOAD_COUNT, 1, CLEAR, ALWAYS, ~0ull, SDM_ENTRY},

    {VMCS_HOST_CR3, 1, PHYSICAL, ALWAYS, 0, SDM_HOST_REGISTERS},
    {VMCS_HOST_SYSENTER_ESP, 2, CANONICAL, ALWAYS, 0, SDM_HOST_REGISTERS},
    {VMCS_HOST_PAT, 1, MEMORY_TYPES, HOST_LOADS_PAT, 0, SDM_HOST_REGISTERS},
    {VMCS_HOST_EFER, 1, CLEAR, HOST_LOADS_EFER, ~EFER_LEGAL, SDM_HOST_REGISTERS},
    {VMCS_HOST_ES_SELECTOR, 7, CLEAR, ALWAYS, SELECTOR_RPL | SELECTOR_TI, SDM_HOST_SEGMENTS},
    {VMCS_HOST_CS_SELECTOR, 1, NOT_ZERO, ALWAYS, 0, SDM_HOST_SEGMENTS},
    {VMCS_HOST_TR_SELECTOR, 1, NOT_ZERO, ALWAYS, 0, SDM_HOST_SEGMENTS},
    {VMCS_HOST_FS_BASE, 5, CANONICAL, ALWAYS, 0, SDM_HOST_SEGMENTS},
    {VMCS_HOST_RIP, 1, CANONICAL, ALWAYS, 0, SDM_HOST_SIZE},

    {VMCS_GUEST_DEBUGCTL, 1, CLEAR, GUEST_LOADS_DEBUG, ~DEBUGCTL_LEGAL, SDM_GUEST_REGISTERS},
    {VMCS_GUEST_DR7, 1, CLEAR, GUEST_LOADS_DEBUG, ~LOW_32, SDM_GUEST_REGISTERS},
    {VMCS_GUEST_CR3, 1, PHYSICAL, ALWAYS, 0, SDM_GUEST_REGISTERS},
    {VMCS_GUEST_SYSENTER_ESP, 2, CANONICAL, ALWAYS, 0, SDM_GUEST_REGISTERS},
    {VMCS_GUEST_PAT, 1, MEMORY_TYPES, GUEST_LOADS_PAT, 0, SDM_GUEST_REGISTERS},
    {VMCS_GUEST_EFER, 1, CLEAR, GUEST_LOADS_EFER, ~EFER_LEGAL, SDM_GUEST_REGISTERS},
    {VMCS_GUEST_FS_BASE, 2, CANONICAL, ALWAYS, 0, SDM_GUEST_SEGMENTS},
    {VMCS_GUEST_TR_BASE, 1, CANONICAL, ALWAYS, 0, SDM_GUEST_SEGMENTS},
    {VMCS_GUEST_TR_SELECTOR, 1, CLEAR, ALWAYS, SELECTOR_TI, SDM_GUEST_SEGMENTS},
    {VMCS_GUEST_GDTR_BASE, 2, CANONICAL, ALWAYS, 0, SDM_GUEST_TABLES},
    {VMCS_GUEST_GDTR_LIMIT, 2, CLEAR, ALWAYS, ~LOW_16, SDM_GUEST_TABLES},
    {VMCS_GUEST_RFLAGS, 1, CLEAR, ALWAYS, RFLAGS_RESERVED, SDM_GUEST_RIP},
    {VMCS_GUEST_INTERRUPTIBILITY, 1, CLEAR, ALWAYS, ~INTERRUPTIBILITY, SDM_GUEST_OTHER},
    {VMCS_GUEST_PENDING_DEBUG, 1, CLEAR, ALWAYS, ~PENDING_LEGAL, SDM_GUEST_OTHER},
};
static_assert(VMCS_HOST_TR_SELECTOR == VMCS_HOST_ES_SELECTOR + 2 * 6 &&
                  VMCS_HOST_IDTR_BASE == VMCS_HOST_FS_BASE + 2 * 4,
              "fields in a row");

void require(struct check *c, bool ok, enum vmcs_field field, const char *rule)
{
    if (!ok) {
        emit_line(c->emit, "%s 0x%llx: %s (SDM vol. 3, %s)", vmx_field_name(field),
                  U(get(c, field)), rule, c->section);
        c->broken++;
    }
}

void require_clear(struct check *c, enum vmcs_field field, uint64_t bits)
{
    const uint64_t wrong = get(c, field) & bits;
    char text[48];

    format(text, sizeof(text), "bits 0x%llx must be 0", U(wrong));
    require(c, !wrong, field, text);
}

/* Bits that the CPU wants to be 1 or 0; `names`, unless NULL, has a name for each of the first. */
static void require_fixed(struct check *c, enum vmcs_field field, uint64_t must, uint64_t may,
                          const char *const *names, size_t count)
{
    const uint64_t value = get(c, field);
    const uint64_t wrong = (~value & must) | (value & ~may);
    char text[64];

    for (unsigned int i = 0; i < 64; i++) {
        if (wrong & BIT64(i)) {
            const char *name = i < count && names[i] ? names[i] : "";
            format(text, sizeof(text), "bit %u%s%s%s must be %u in VMX operation", i,
                   *name ? " (" : "", name, *name ? ")" : "", (unsigned int)(must >> i & 1));
            require(c, false, field, text);
        }
    }
}

static void require_control(struct check *c, enum vmcs_field field, enum vmx_cap_msr msr)
{
    require_fixed(c, field, c->limits->msr[msr] & LOW_32, c->limits->msr[msr] >> 32, NULL, 0);
}

static uint64_t beyond_physical(const struct check *c)
{
    return c->limits->phys_bits < 64 ? ~(BIT64(c->limits->phys_bits) - 1) : 0;
}

bool is_canonical(const struct check *c, uint64_t address)
{
    const unsigned int unused = 64 - MIN(MAX(c->limits->linear_bits, 1u), 64u);

    return (uint64_t)((int64_t)(address << unused) >> unused) == address;
}

static bool are_memory_types(uint64_t pat)
{
    for (unsigned int i = 0; i < 64; i += 8) {
        const unsigned int type = (uint8_t)(pat >> i);
        if (type > 7 || !(PAT_TYPES & BIT(type)))
            return false;
    }
    return true;
}

static void check_field(struct check *c, const struct field_rule *rule, enum vmcs_field field)
{
    const uint64_t value = get(c, field);

    c->section = rule->section;
    switch ((enum kind)rule->kind) {
    case CLEAR: require_clear(c, field, rule->bits); break;
    case PHYSICAL: require_clear(c, field, beyond_physical(c)); break;
    case PAGE: require_clear(c, field, beyond_physical(c) | (PAGE_SIZE_4K - 1)); break;
    case CANONICAL: require(c, is_canonical(c, value), field, "must be canonical"); break;
    case MEMORY_TYPES:
        require(c, are_memory_types(value), field, "each byte must be 0, 1, 4, 5, 6 or 7");
        break;
    case NOT_ZERO: require(c, value != 0, field, "must not be 0"); break;
    }
}

static void check_ept_pointer(struct check *c)
{
    const uint64_t cap = c->limits->msr[VMX_CAP_EPT_VPID];
    const uint64_t eptp = get(c, VMCS_EPT_POINTER);
    const uint64_t type = eptp & EPTP_TYPE;

    require(c, type == EPTP_WB ? cap & EPT_CAP_WB : type == 0 && (cap & EPT_CAP_UC),
            VMCS_EPT_POINTER, "the memory type must be one that the CPU has (0 or 6)");
    require(c, (eptp & EPTP_WALK) == EPTP_WALK_LENGTH && (cap & EPT_CAP_WALK_4), VMCS_EPT_POINTER,
            "the page-walk length must be one that the CPU has (3)");
    require(c, !(eptp & EPTP_ACCESSED) || (cap & EPT_CAP_ACCESSED), VMCS_EPT_POINTER,
            "the CPU has no accessed and dirty flags");
    require_clear(c, VMCS_EPT_POINTER, beyond_physical(c) | EPTP_RESERVED);
}

static void check_execution_controls(struct check *c)
{
    const bool shadow = c->proc & PROC_TPR_SHADOW;

    c->section = SDM_EXECUTION;
    require_control(c, VMCS_PIN_CONTROLS, VMX_CAP_TRUE_PIN);
    require_control(c, VMCS_PROC_CONTROLS, VMX_CAP_TRUE_PROC);
    if (c->proc & PROC_SECONDARY)
        require_control(c, VMCS_PROC2_CONTROLS, VMX_CAP_PROC2);
    require(c, get(c, VMCS_CR3_TARGET_COUNT) <= MISC_CR3_TARGETS(c->limits->msr[VMX_CAP_MISC]),
            VMCS_CR3_TARGET_COUNT, "must not be more than IA32_VMX_MISC says");
    require(c,
            !shadow || !(c->conditions & NO_VIRTUAL_INTERRUPTS) || c->limits->vtpr < 0 ||
                (get(c, VMCS_TPR_THRESHOLD) & 15) <= (unsigned int)c->limits->vtpr >> 4,
            VMCS_TPR_THRESHOLD, "must not be above bits 7:4 of the virtual TPR");
    require(
        c, shadow || !(c->proc2 & (PROC2_X2APIC | PROC2_APIC_REGISTERS | PROC2_VIRTUAL_INTERRUPTS)),
        VMCS_PROC2_CONTROLS, "bits 4, 8 and 9 (virtual APIC) need a TPR shadow");
    require(c, (c->pin & PIN_NMI) || !(c->pin & PIN_VIRTUAL_NMI), VMCS_PIN_CONTROLS,
            "bit 5 (virtual NMIs) needs bit 3 (NMI exiting)");
    require(c, (c->pin & PIN_VIRTUAL_NMI) || !(c->proc & PROC_NMI_WINDOW), VMCS_PROC_CONTROLS,
            "bit 22 (NMI-window exiting) needs virtual NMIs");
    require(c, (c->pin & PIN_EXTERNAL_INTERRUPT) || !(c->proc2 & PROC2_VIRTUAL_INTERRUPTS),
            VMCS_PROC2_CONTROLS,
            "bit 9 (virtual-interrupt delivery) needs external-interrupt exiting");
    require(c, (c->proc2 & PROC2_EPT) || !c->unrestricted, VMCS_PROC2_CONTROLS,
            "bit 7 (unrestricted guest) needs bit 1 (EPT)");
    if (c->proc2 & PROC2_EPT)
        check_ept_pointer(c);
}

static void check_event(struct check *c)
{
    const uint32_t event = c->event, type = INTR_INFO_TYPE(event), vector = INTR_INFO_VECTOR(event);
    const uint32_t vector_bit = vector < 32 ? BIT(vector) : 0;
    const bool any = c->limits->msr[VMX_CAP_BASIC] & BASIC_ANY_ERROR_CODE;
    const bool may_have_error = type == TYPE_EXCEPTION && (c->cr0 & CR0_PE) &&
                                (any || (vector_bit & (VECTORS_WITH_ERROR | VECTORS_UNCLEAR)));
    const bool must_have_error = may_have_error && !any && (vector_bit & VECTORS_WITH_ERROR);
    const uint64_t length = get(c, VMCS_ENTRY_INSTRUCTION_LENGTH);

    c->section = SDM_ENTRY;
    require(c, type != TYPE_RESERVED, VMCS_ENTRY_INTERRUPTION_INFO, "type 1 is reserved");
    require(c, type != TYPE_NMI || vector == EXC_NMI, VMCS_ENTRY_INTERRUPTION_INFO,
            "the vector of an NMI must be 2");
    require(c, type != TYPE_EXCEPTION || vector < 32, VMCS_ENTRY_INTERRUPTION_INFO,
            "the vector of an exception must be below 32");
    require(c, type != TYPE_OTHER || vector == 0, VMCS_ENTRY_INTERRUPTION_INFO,
            "the vector of type 7 must be 0");
    require(c, may_have_error || !(event & INTR_INFO_ERROR), VMCS_ENTRY_INTERRUPTION_INFO,
            "bit 11 (error code) must be 0 for this event");
    require(c, !must_have_error || (event & INTR_INFO_ERROR), VMCS_ENTRY_INTERRUPTION_INFO,
            "bit 11 (error code) must be 1 for this exception");
    require_clear(c, VMCS_ENTRY_INTERRUPTION_INFO, INFO_RESERVED);
    if (event & INTR_INFO_ERROR)
        require_clear(c, VMCS_ENTRY_EXCEPTION_ERROR, ~LOW_16);
    require(
        c,
        type <= TYPE_EXCEPTION || type == TYPE_OTHER ||
            (length <= LENGTH_MAX && (length || (c->limits->msr[VMX_CAP_MISC] & MISC_LENGTH_0))),
        VMCS_ENTRY_INSTRUCTION_LENGTH, "must be 1 to 15 for a software event");
}

static void check_exit_and_entry_controls(struct check *c)
{
    c->section = SDM_EXIT;
    require_control(c, VMCS_EXIT_CONTROLS, VMX_CAP_TRUE_EXIT);
    require(c, (c->pin & PIN_PREEMPTION_TIMER) || !(c->exit & EXIT_SAVE_TIMER), VMCS_EXIT_CONTROLS,
            "bit 22 (save the preemption timer) needs that timer");
    c->section = SDM_ENTRY;
    require_control(c, VMCS_ENTRY_CONTROLS, VMX_CAP_TRUE_ENTRY);
    if (c->event)
        check_event(c);
}

static void check_control_registers(struct check *c, enum vmcs_field cr0, enum vmcs_field cr4,
                                    uint64_t cr0_exempt)
{
    static const char *const cr0_names[] = {[0] = "PE", [5] = "NE", [31] = "PG"};
    static const char *const cr4_names[] = {
        "VME",     "PVI",        "TSD",  "DE",   "PSE",  "PAE",  "MCE", "PGE",      "PCE",
        "OSFXSR",  "OSXMMEXCPT", "UMIP", "LA57", "VMXE", "SMXE", NULL,  "FSGSBASE", "PCIDE",
        "OSXSAVE", "KL",         "SMEP", "SMAP", "PKE",  "CET",  "PKS", "UINTR"};
    const uint64_t *msr = c->limits->msr;

    /* NW and CD are never checked: entries and exits do not change them. */
    cr0_exempt |= CR0_NW | CR0_CD;
    require_fixed(c, cr0, msr[VMX_CAP_CR0_FIXED0] & ~cr0_exempt,
                  msr[VMX_CAP_CR0_FIXED1] | cr0_exempt, cr0_names, ARRAY_SIZE(cr0_names));
    require_fixed(c, cr4, msr[VMX_CAP_CR4_FIXED0], msr[VMX_CAP_CR4_FIXED1], cr4_names,
                  ARRAY_SIZE(cr4_names));
}

static void check_host(struct check *c)
{
    const uint64_t efer = get(c, VMCS_HOST_EFER);

    c->section = SDM_HOST_REGISTERS;
    check_control_registers(c, VMCS_HOST_CR0, VMCS_HOST_CR4, 0);
    if (c->exit & EXIT_LOAD_EFER) {
        require(c, (efer & EFER_LMA) && (efer & EFER_LME), VMCS_HOST_EFER,
                "LMA and LME must be 1 for a 64-bit host");
    }
    c->section = SDM_HOST_SIZE;
    require(c, c->exit & EXIT_HOST_64BIT, VMCS_EXIT_CONTROLS,
            "bit 9 (64-bit host) must be 1 in 64-bit mode");
    require(c, get(c, VMCS_HOST_CR4) & CR4_PAE, VMCS_HOST_CR4,
            "bit 5 (PAE) must be 1 for a 64-bit host");
}

static void check_guest_registers(struct check *c)
{
    const uint64_t efer = get(c, VMCS_GUEST_EFER);
    const bool lma = efer & EFER_LMA, lme = efer & EFER_LME;

    c->section = SDM_GUEST_REGISTERS;
    check_control_registers(c, VMCS_GUEST_CR0, VMCS_GUEST_CR4,
                            c->unrestricted ? CR0_PE | CR0_PG : 0);
    require(c, !(c->cr0 & CR0_PG) || (c->cr0 & CR0_PE), VMCS_GUEST_CR0,
            "bit 31 (PG) needs bit 0 (PE)");
    require(c, !c->long_mode || (c->cr0 & CR0_PG), VMCS_GUEST_CR0,
            "bit 31 (PG) must be 1 in IA-32e mode");
    require(c, !c->long_mode || (c->cr4 & CR4_PAE), VMCS_GUEST_CR4,
            "bit 5 (PAE) must be 1 in IA-32e mode");
    require(c, c->long_mode || !(c->cr4 & CR4_PCIDE), VMCS_GUEST_CR4,
            "bit 17 (PCIDE) must be 0 outside IA-32e mode");
    if (c->entry & ENTRY_LOAD_EFER) {
        require(c, lma == c->long_mode, VMCS_GUEST_EFER,
                "bit 10 (LMA) must equal the control \"IA-32e mode guest\"");
        require(c, !(c->cr0 & CR0_PG) || lma == lme, VMCS_GUEST_EFER,
                "bits 8 (LME) and 10 (LMA) must be equal while paging is on");
    }
}

static void check_rip_and_flags(struct check *c)
{
    const uint64_t rip = get(c, VMCS_GUEST_RIP);
    const bool bits_64 = c->long_mode && (get(c, VMCS_GUEST_CS_ACCESS) & AR_L);
    const unsigned int unused_from = MIN(c->limits->linear_bits, 63u);
    const uint64_t top = rip >> unused_from;

    c->section = SDM_GUEST_RIP;
    /* Not quite canonical: the highest bit that is used may differ from those above it. */
    require(c, !bits_64 || top == 0 || top == UINT64_MAX >> unused_from, VMCS_GUEST_RIP,
            "bits above the linear-address width must be equal");
    require(c, bits_64 || rip <= LOW_32, VMCS_GUEST_RIP,
            "bits 63:32 must be 0 outside 64-bit mode");
    require(c, c->rflags & RFLAGS_ONE, VMCS_GUEST_RFLAGS, "bit 1 must be 1");
    require(c, !(c->rflags & RFLAGS_VM) || (!c->long_mode && (c->cr0 & CR0_PE)), VMCS_GUEST_RFLAGS,
            "bit 17 (VM) must be 0 in IA-32e mode and in real mode");
    require(c, !c->event || INTR_INFO_TYPE(c->event) != TYPE_INTERRUPT || (c->rflags & RFLAGS_IF),
            VMCS_GUEST_RFLAGS, "bit 9 (IF) must be 1 to inject an external interrupt");
}

/* Whether the event may be injected in this activity state. */
static bool may_inject(uint64_t activity, uint32_t event)
{
    const uint32_t type = INTR_INFO_TYPE(event), vector = INTR_INFO_VECTOR(event);
    const bool machine_check = type == TYPE_EXCEPTION && vector == EXC_MC;

    switch (activity) {
    case ACTIVE: return true;
    case HALTED:
        return type == TYPE_INTERRUPT || type == TYPE_NMI || machine_check ||
               (type == TYPE_EXCEPTION && vector == EXC_DB) || type == TYPE_OTHER;
    case SHUTDOWN: return type == TYPE_NMI || machine_check;
    default: return false;
    }
}

static void check_other_state(struct check *c)
{
    const uint64_t activity = get(c, VMCS_GUEST_ACTIVITY);
    const uint64_t blocked = get(c, VMCS_GUEST_INTERRUPTIBILITY);
    const bool by_sti = blocked & BLOCKED_BY_STI, by_mov_ss = blocked & BLOCKED_BY_MOV_SS;
    const uint32_t type = c->event ? INTR_INFO_TYPE(c->event) : UINT8_MAX;
    const bool single_step =
        (c->rflags & RFLAGS_TF) && !(get(c, VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF);

    c->section = SDM_GUEST_OTHER;
    require(c,
            activity <= WAIT_FOR_SIPI &&
                (MISC_ACTIVITIES(c->limits->msr[VMX_CAP_MISC]) & BIT(activity)),
            VMCS_GUEST_ACTIVITY, "must be a state that the CPU has");
    require(c, activity != HALTED || !AR_DPL(get(c, VMCS_GUEST_SS_ACCESS)), VMCS_GUEST_ACTIVITY,
            "must not be 1 (HLT) while the DPL of SS is not 0");
    require(c, activity == ACTIVE || (!by_sti && !by_mov_ss), VMCS_GUEST_ACTIVITY,
            "must be 0 while STI or MOV SS blocks events");
    require(c, !c->event || may_inject(activity, c->event), VMCS_GUEST_ACTIVITY,
            "does not allow the event that is injected");
    require(c, !by_sti || !by_mov_ss, VMCS_GUEST_INTERRUPTIBILITY,
            "bits 0 (STI) and 1 (MOV SS) must not both be 1");
    require(c, !by_sti || (c->rflags & RFLAGS_IF), VMCS_GUEST_INTERRUPTIBILITY,
            "bit 0 (STI) must be 0 while RFLAGS.IF is 0");
    require(c, type != TYPE_INTERRUPT || (!by_sti && !by_mov_ss), VMCS_GUEST_INTERRUPTIBILITY,
            "bits 0 and 1 must be 0 to inject an external interrupt");
    require(c, type != TYPE_NMI || !by_mov_ss, VMCS_GUEST_INTERRUPTIBILITY,
            "bit 1 (MOV SS) must be 0 to inject an NMI");
    require(c, type != TYPE_NMI || !(c->pin & PIN_VIRTUAL_NMI) || !(blocked & BLOCKED_BY_NMI),
            VMCS_GUEST_INTERRUPTIBILITY, "bit 3 (NMI) must be 0 to inject an NMI");
    require(c, !(blocked & BLOCKED_BY_SMI), VMCS_GUEST_INTERRUPTIBILITY,
            "bit 2 (SMI) must be 0 outside SMM");
    if (by_sti || by_mov_ss || activity == HALTED) {
        require(c, !(get(c, VMCS_GUEST_PENDING_DEBUG) & PENDING_BS) == !single_step,
                VMCS_GUEST_PENDING_DEBUG,
                "bit 14 (BS) must be 1 exactly when TF is 1 and BTF 0, as events are blocked");
    }
    require(c, get(c, VMCS_LINK_POINTER) == UINT64_MAX, VMCS_LINK_POINTER,
            "must have all bits set: there is no shadow VMCS");
}

static void check_pdptes(struct check *c)
{
    c->section = SDM_GUEST_PDPTES;
    if (!(c->cr0 & CR0_PG) || !(c->cr4 & CR4_PAE) || c->long_mode || !(c->proc2 & PROC2_EPT))
        return;
    for (unsigned int i = 0; i < 4; i++) {
        const enum vmcs_field field = (enum vmcs_field)(VMCS_GUEST_PDPTE0 + 2 * i);
        if (get(c, field) & 1)
            require_clear(c, field, beyond_physical(c) | PDPTE_RESERVED);
    }
}

/* What the rules look at again and again. */
static void read_state(struct check *c)
{
    c->pin = (uint32_t)get(c, VMCS_PIN_CONTROLS);
    c->proc = (uint32_t)get(c, VMCS_PROC_CONTROLS);
    c->proc2 = c->proc & PROC_SECONDARY ? (uint32_t)get(c, VMCS_PROC2_CONTROLS) : 0;
    c->exit = (uint32_t)get(c, VMCS_EXIT_CONTROLS);
    c->entry = (uint32_t)get(c, VMCS_ENTRY_CONTROLS);
    c->event = (uint32_t)get(c, VMCS_ENTRY_INTERRUPTION_INFO);
    c->event = c->event & INTR_INFO_VALID ? c->event : 0;
    c->cr0 = get(c, VMCS_GUEST_CR0);
    c->cr4 = get(c, VMCS_GUEST_CR4);
    c->rflags = get(c, VMCS_GUEST_RFLAGS);
    c->long_mode = c->entry & ENTRY_IA32E_GUEST;
    c->unrestricted = c->proc2 & PROC2_UNRESTRICTED_GUEST;
    c->conditions = (c->proc & PROC_IO_BITMAPS ? IO_BITMAPS : 0) |
                    (c->proc & PROC_MSR_BITMAPS ? MSR_BITMAPS : 0) |
                    (c->proc & PROC_TPR_SHADOW ? TPR_SHADOW : 0) |
                    (c->proc2 & PROC2_VIRTUAL_INTERRUPTS ? 0 : NO_VIRTUAL_INTERRUPTS) |
                    (c->proc2 & PROC2_VPID ? VPID : 0) |
                    (c->exit & EXIT_LOAD_PAT ? HOST_LOADS_PAT : 0) |
                    (c->exit & EXIT_LOAD_EFER ? HOST_LOADS_EFER : 0) |
                    (c->entry & ENTRY_LOAD_PAT ? GUEST_LOADS_PAT : 0) |
                    (c->entry & ENTRY_LOAD_EFER ? GUEST_LOADS_EFER : 0) |
                    (c->entry & ENTRY_LOAD_DEBUG ? GUEST_LOADS_DEBUG : 0);
}

unsigned int vmx_check_vmcs(const struct vmcs_source *source, const struct vmx_limits *limits,
                            emit_fn *emit)
{
    struct check c = {.source = source, .limits = limits, .emit = emit};

    read_state(&c);
    check_execution_controls(&c);
    check_exit_and_entry_controls(&c);
    check_host(&c);
    check_guest_registers(&c);
    check_segments(&c);
    check_rip_and_flags(&c);
    check_other_state(&c);
    check_pdptes(&c);
    for (size_t i = 0; i < ARRAY_SIZE(field_rules); i++) {
        const struct field_rule *r = &field_rules[i];
        for (unsigned int n = 0; n < r->count && (r->when & ~c.conditions) == 0; n++)
            check_field(&c, r, (enum vmcs_field)(r->field + 2 * n));
    }
    if (!c.broken)
        emit_line(emit, "no broken rule of VM entry found");
    return c.broken;
}
