/* Nested translations that are taken away from a VM that runs. */

#include "arch/x86/asm.h"
#include "arch/x86/virt.h"
#include "lib/error.h"
#include "vmm/guest_memory.h"
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

int vm_take_page(struct vm *vm, uint64_t gpa, bool take)
{
    uint64_t hpa;
    int err;

    if (!IS_ALIGNED(gpa, PAGE_SIZE_2M) || gpa == 0 || guest_physical(vm, gpa, &hpa) != 0 ||
        !IS_ALIGNED(hpa, PAGE_SIZE_2M))
        return -BH_EINVAL;
    if (!take)
        return pt_map(&vm->nested, gpa, hpa, PAGE_SIZE_2M, PT_READ | PT_WRITE | PT_EXEC);
    err = pt_unmap(&vm->nested, gpa, PAGE_SIZE_2M);
    vm_flush(vm);
    return err;
}
