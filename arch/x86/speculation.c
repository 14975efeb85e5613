/* Puts the defences that were chosen into effect. */

#include "arch/x86/speculation.h"

#include "arch/x86/asm.h"
#include "arch/x86/msr.h"
#include "arch/x86/percpu.h"
#include "arch/x86/regs.h"
#include "lib/log.h"
#include "lib/string.h"

#define F7D_ARCH_CAPABILITIES BIT(29)
#define SPEC_CTRL_IBRS        BIT64(0)
#define PRED_CMD_IBPB         BIT64(0)
#define FLUSH_CMD_L1D         BIT64(0)

/* A place in the code that a defence occupies, and what stands there without it: defence.inc. */
struct defence_site {
    char *at;
    uint8_t defence, length;
    uint8_t replacement[22];
};
static_assert(sizeof(struct defence_site) == 32, "defence.inc");
static_assert(DEFENCE_RETPOLINE == 1 && DEFENCE_RSB == 2 && DEFENCE_VERW == 4, "defence.inc");

extern const struct defence_site defence_sites_start[], defence_sites_end[];

uint32_t defences_off INIT_DATA, defences_on INIT_DATA;
static uint32_t active; /* bits of enum defence */
static bool automatic_ibrs INIT_DATA;

static bool is_on(enum defence defence)
{
    return active & BIT(defence);
}

INIT static struct speculation_cpu ask_cpu(void)
{
    const struct cpuid_regs id = cpuid(0, 0),
                            f7 = id.eax >= 7 ? cpuid(7, 0) : (struct cpuid_regs){0};
    const uint32_t max = cpuid(0x80000000, 0).eax;

    return (struct speculation_cpu){
        .intel = memcmp(&id.ebx, "Genu", 4) == 0,
        .f7_ebx = f7.ebx,
        .f7_edx = f7.edx,
        .fe8_ebx = max >= 0x80000008 ? cpuid(0x80000008, 0).ebx : 0,
        .fe21_eax = max >= 0x80000021 ? cpuid(0x80000021, 0).eax : 0,
        .arch_capabilities = f7.edx & F7D_ARCH_CAPABILITIES ? rdmsr(MSR_ARCH_CAPABILITIES) : 0,
    };
}

INIT void speculation_init(void)
{
    static const char *const words[] = {"on", "not needed", "not offered by the CPU", "turned off"};
    const struct speculation_cpu cpu = ask_cpu();
    enum defence_state state[DEFENCE_COUNT];

    speculation_choose(&cpu, defences_off, defences_on, state);
    for (unsigned int i = 0; i < DEFENCE_COUNT; i++)
        active |= state[i] == DEFENCE_ON ? BIT(i) : 0;
    automatic_ibrs = cpu.fe21_eax & SPECULATION_AUTOMATIC_IBRS;
    for (const struct defence_site *s = defence_sites_start; s < defence_sites_end; s++)
        if (!(active & BIT(s->defence)))
            memcpy(s->at, s->replacement, s->length);
    (void)cpuid(0, 0); /* serializes: the code is fetched anew (SDM vol. 3, 9.1.3) */
    log_info("speculation: ibrs %s, retpoline %s, rsb %s, ibpb %s, verw %s, l1d %s",
             words[state[0]], words[state[1]], words[state[2]], words[state[3]], words[state[4]],
             words[state[5]]);
}

INIT void speculation_init_cpu(void)
{
    if (!is_on(DEFENCE_IBRS))
        return;
    if (automatic_ibrs)
        wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_AIBRSE);
    else
        wrmsr(MSR_SPEC_CTRL, rdmsr(MSR_SPEC_CTRL) | SPEC_CTRL_IBRS);
}

void speculation_flush_l1d(void)
{
    if (is_on(DEFENCE_L1D))
        wrmsr(MSR_FLUSH_CMD, FLUSH_CMD_L1D);
}

void speculation_enter_vm(uint64_t serial)
{
    if (this_cpu->last_vm == serial)
        return;
    this_cpu->last_vm = serial;
    if (is_on(DEFENCE_IBPB))
        wrmsr(MSR_PRED_CMD, PRED_CMD_IBPB);
    speculation_flush_l1d();
}
