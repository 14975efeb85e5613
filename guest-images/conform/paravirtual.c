/* Steal time and KVM's hypercalls (Linux Documentation/virt/kvm/x86/{msr,hypercalls}.rst), as far
 * as one vCPU sees them. */

#include "check.h"

#define MSR_STEAL_TIME     0x4b564d03u
#define LEAF_FEATURES      0x40000101u
#define FEATURE_STEAL_TIME BIT(5)
#define FEATURES_OF_MANY   (BIT(7) | BIT(9) | BIT(11) | BIT(13)) /* they need several vCPUs */
#define ENABLE             1ull

#define HC_KICK_CPU    5
#define HC_SEND_IPI    10
#define HC_SCHED_YIELD 11
#define HC_EPERM       (~0ull)
#define HC_EINVAL      (~0ull - 21)
#define HC_ENOSYS      (~0ull - 999)
#define ICR_LOGICAL    BIT(11)
#define ICR_SELF       BIT(18)
#define ICR_NMI        BIT(10)
#define VEC            0x61

SNIPPET(h_amd, "vmmcall");
SNIPPET(h_intel, "vmcall");
SNIPPET(h_amd_far, "vmmcall; int $0x80"); /* GUEST_EXIT_VECTOR */
SNIPPET(h_intel_far, "vmcall; int $0x80");
SNIPPET(h_open, "sti; nop; nop; nop; cli");
SNIPPET(h_halt, "sti; hlt; cli");

static volatile struct {
    uint64_t steal;
    uint32_t version, flags;
    uint8_t preempted, pad[47];
} area ALIGNED(64);

static unsigned int taken;

static void on_interrupt(struct guest_frame *frame)
{
    taken++;
    lapic_write(LAPIC_REG_EOI, 0);
}

static void check_steal(void)
{
    uint64_t msr = (uint64_t)(uintptr_t)&area | ENABLE, value = ~0ull;
    uint32_t version;

    for (unsigned int i = 1; i <= 5; i++) {
        static const char *const names[] = {"bit-1", "bit-2", "bit-3", "bit-4", "bit-5"};
        check_eq(names[i - 1], (uint64_t)try_wrmsr(MSR_STEAL_TIME, msr | BIT64(i)), EXC_GP);
    }
    check_eq("no-memory", (uint64_t)try_wrmsr(MSR_STEAL_TIME, 0xfffffffffffff000ull | ENABLE),
             EXC_GP);
    check_eq("a-device", (uint64_t)try_wrmsr(MSR_STEAL_TIME, GUEST_LAPIC | ENABLE), EXC_GP);
    check_eq("off-at-first", try_rdmsr(MSR_STEAL_TIME, &value) == GUEST_RETURNED ? value : 1, 0);
    area.version = 7;
    area.flags = area.preempted = 0xff;
    area.pad[0] = area.pad[46] = 0x5a;
    wrmsr(MSR_STEAL_TIME, msr);
    cpuid(0, 0);
    check_eq("reads-back", rdmsr(MSR_STEAL_TIME), msr);
    check_eq("version-even", area.version & 1, 0);
    check_that("version-after-junk", area.version >= 8, area.version, "more than 7");
    check_eq("flags", area.flags, 0);
    check_eq("not-preempted", area.preempted, 0);
    check_eq("rest-untouched", (uint64_t)area.pad[0] << 8 | area.pad[46], 0x5a5a);
    version = area.version;
    value = area.steal;
    for (unsigned int i = 0; i < 100; i++)
        cpuid(0, 0);
    check_that("version-goes-on", (int32_t)(area.version - version) >= 0, area.version,
               "none before that");
    check_that("steal-goes-on", area.steal >= value, area.steal, "no less than before");
    wrmsr(MSR_STEAL_TIME, 0);
    check_eq("off", rdmsr(MSR_STEAL_TIME), 0);
}

static uint64_t call(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    struct guest_regs r = {.rax = number, .rbx = a, .rcx = b, .rdx = c, .rsi = d};

    guest_exec(has.amd ? h_amd : h_intel, &r);
    return r.rax;
}

static uint64_t call_in(uint16_t cs, uint64_t number, uint64_t a, uint64_t c)
{
    struct guest_regs r = {.rax = number, .rbx = a, .rdx = c, .rsi = VEC};

    guest_exec_in(cs, has.amd ? h_amd_far : h_intel_far, &r);
    return r.rax;
}

static unsigned int open(void)
{
    struct guest_regs r = {0};

    taken = 0;
    guest_exec(h_open, &r);
    return taken;
}

static void check_ipi(void)
{
    check_eq("ipi-self", call(HC_SEND_IPI, 1, 0, 0, VEC), 1);
    check_eq("ipi-comes", open(), 1);
    check_eq("ipi-nobody", call(HC_SEND_IPI, ~1ull, ~0ull, 0, VEC), 0);
    check_eq("ipi-beyond", call(HC_SEND_IPI, ~0ull, ~0ull, 1, VEC), 0);
    check_eq("ipi-far-beyond", call(HC_SEND_IPI, ~0ull, ~0ull, 0ull - 64, VEC), 0);
    check_eq("ipi-logical", call(HC_SEND_IPI, 1, 0, 0, VEC | ICR_LOGICAL), HC_EINVAL);
    check_eq("ipi-shorthand", call(HC_SEND_IPI, 1, 0, 0, VEC | ICR_SELF), HC_EINVAL);
    check_eq("none-of-these-came", open(), 0);
    check_eq("ipi-in-32-bit-code", call_in(SEL_CODE32, HC_SEND_IPI, 1, 0), 1);
    check_eq("ipi-of-32-bit-code-comes", open(), 1);
    check_eq("ipi-in-ring-3", call_in(SEL_USER_CODE64, HC_SEND_IPI, 1, 0), HC_EPERM);
    check_eq("ipi-of-ring-3", open(), 0);
}

/* With no interrupt anywhere: a HLT that does not end is a test that does not, either. */
static void check_kick(void)
{
    struct guest_regs r = {0};

    check_eq("kick-self", call(HC_KICK_CPU, 0, 0, 0, 0), 0);
    guest_exec(h_halt, &r);
    check_eq("kicked-hlt-ends", 1, 1);
    check_eq("kick-nobody", call(HC_KICK_CPU, 0, 1, 0, 0), 0);
    check_eq("kick-far-beyond", call(HC_KICK_CPU, 0, ~0ull, 0, 0), 0);
    check_eq("yield-to-self", call(HC_SCHED_YIELD, 0, 0, 0, 0), 0);
    check_eq("yield-to-nobody", call(HC_SCHED_YIELD, ~0ull, 0, 0, 0), 0);
}

static void check_unknown(void)
{
    static const uint64_t numbers[] = {0, 2, 4, 6, 9, 12, 1000, BIT64(32) | HC_KICK_CPU, ~0ull};
    unsigned int refused = 0;

    for (unsigned int i = 0; i < ARRAY_SIZE(numbers); i++)
        refused += call(numbers[i], 0, 0, 0, 0) == HC_ENOSYS;
    check_eq("unknown", refused, ARRAY_SIZE(numbers));
}

void group_paravirtual(void)
{
    uint32_t features = cpuid(LEAF_FEATURES, 0).eax;

    if (has.native || !(features & FEATURE_STEAL_TIME)) {
        check_skip("paravirtual", "the leaf does not offer it");
        return;
    }
    check_eq("for-several-vcpus", features & FEATURES_OF_MANY, 0);
    check_steal();
    guest_on(VEC, on_interrupt);
    check_unknown();
    check_ipi();
    check_kick();
    guest_on(VEC, NULL);
}
