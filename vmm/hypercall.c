/* KVM's hypercalls (Linux Documentation/virt/kvm/x86/hypercalls.rst), as far as CPUID 40000101h
 * offers them. */

#include "arch/x86/virt.h"
#include "vmm/exit.h"
#include "vmm/ipi.h"
#include "vmm/mail.h"
#include "vmm/pause.h"

#define HC_KICK_CPU    5u
#define HC_SEND_IPI    10u
#define HC_SCHED_YIELD 11u

#define HC_EPERM  ((uint64_t)-1)
#define HC_EINVAL ((uint64_t)-22)
#define HC_ENOSYS ((uint64_t)-1000) /* there is no such one */

struct hypercall {
    uint64_t arg[4];
    unsigned int bits; /* of a register of the caller's: 32 or 64 */
};

typedef uint64_t hypercall_fn(struct vcpu *v, const struct hypercall *call);

/* A vCPU's number is its APIC id. */
static struct vcpu *find(const struct vcpu *v, uint64_t apic_id)
{
    return apic_id < v->vm->vcpu_count ? v->vm->vcpus[apic_id] : NULL;
}

/* Flags, of which there are none, and the APIC id of one that has halted, or is about to. */
static uint64_t kick_cpu(struct vcpu *v, const struct hypercall *call)
{
    struct vcpu *target = find(v, call->arg[1]);

    if (target && vcpu_is_here(target))
        vcpu_unhalt(target);
    else if (target)
        mail_post(target, POSTED_UNHALT);
    return 0;
}

/* Two words of bits, the APIC id of the first one's lowest bit, and the low half of an ICR. */
static uint64_t send_ipi(struct vcpu *v, const struct hypercall *call)
{
    uint64_t first = call->arg[2], icr = call->arg[3];

    if (icr & (ICR_LOGICAL | ICR_SHORTHAND))
        return HC_EINVAL;
    if (!find(v, first))
        return 0;
    return ipi_send_set(v, call->arg[0], first, (uint32_t)icr) +
           ipi_send_set(v, call->arg[1], first + call->bits, (uint32_t)icr);
}

/* To this APIC id, which has got an IPI that the caller waits for. */
static uint64_t sched_yield_to(struct vcpu *v, const struct hypercall *call)
{
    struct vcpu *target = find(v, call->arg[0]);

    if (target)
        (void)pause_yield_to(v, target);
    return 0;
}

static hypercall_fn *const calls[] = {
    [HC_KICK_CPU] = kick_cpu,
    [HC_SEND_IPI] = send_ipi,
    [HC_SCHED_YIELD] = sched_yield_to,
};

static uint64_t answer(struct vcpu *v, const struct code_mode *mode)
{
    bool is_64bit = (mode->efer & EFER_LMA) && (mode->cs.attrib & SEG_ATTR_L);
    uint64_t width = is_64bit ? UINT64_MAX : UINT32_MAX, number = v->gpr[GPR_RAX] & width;
    const struct hypercall call = {
        .arg = {v->gpr[GPR_RBX] & width, v->gpr[GPR_RCX] & width, v->gpr[GPR_RDX] & width,
                v->gpr[GPR_RSI] & width},
        .bits = is_64bit ? 64 : 32,
    };

    if (number >= ARRAY_SIZE(calls) || !calls[number])
        return HC_ENOSYS & width;
    return (mode->cpl == 0 ? calls[number](v, &call) : HC_EPERM) & width;
}

static NOINLINE enum exit_action look_up(struct vcpu *v, unsigned int length)
{
    struct code_mode mode;

    virt->get_code_mode(v, &mode);
    v->gpr[GPR_RAX] = answer(v, &mode);
    vcpu_skip(v, length);
    return EXIT_RESUME;
}

enum exit_action exit_hypercall(struct vcpu *v, unsigned int length)
{
    if (unlikely(v->gpr[GPR_RAX] >= HC_KICK_CPU))
        return look_up(v, length);
    v->gpr[GPR_RAX] = HC_ENOSYS;
    vcpu_skip(v, length);
    return EXIT_RESUME;
}
