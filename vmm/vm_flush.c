/* Nested translations that are taken away from a VM that runs. */

#include "arch/x86/asm.h"
#include "arch/x86/virt.h"
#include "vmm/mail.h"
#include "vmm/vm_life.h"

/* On the owner, not in the guest. */
void vm_flush_vcpu(struct vcpu *v)
{
    virt->flush_nested(v);
    __atomic_store_n(&v->flushed, __atomic_load_n(&v->vm->flush_wanted, __ATOMIC_ACQUIRE),
                     __ATOMIC_RELEASE);
}

/* One that waits in a run queue looks at its mail before it runs, one that is stopped is reset. */
static bool may_use_old(const struct vcpu *v, uint64_t wanted)
{
    return v->state != VCPU_STOPPED && !__atomic_load_n(&v->mail.queued, __ATOMIC_SEQ_CST) &&
           __atomic_load_n(&v->flushed, __ATOMIC_ACQUIRE) < wanted;
}

void vm_flush(struct vm *vm)
{
    uint64_t wanted = __atomic_add_fetch(&vm->flush_wanted, 1, __ATOMIC_ACQ_REL);

    for (unsigned int i = 0; i < vm->vcpu_count; i++)
        mail_post(vm->vcpus[i], POSTED_FLUSH);
    for (unsigned int i = 0; i < vm->vcpu_count; i++)
        while (!vcpu_is_here(vm->vcpus[i]) && may_use_old(vm->vcpus[i], wanted))
            cpu_pause();
}
