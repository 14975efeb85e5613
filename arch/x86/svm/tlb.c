/* Address-space identifiers. Each CPU gives them out in turn; when they run out it starts over with
 * a new generation and a full flush, and vCPUs with an identifier of an older generation get a new
 * one at their next entry. */

#include "arch/x86/percpu.h"
#include "arch/x86/svm/svm.h"

void svm_assign_asid(struct svm_vcpu *svm)
{
    struct percpu *cpu = this_cpu;

    if (cpu->svm.asid_next >= svm_features.asids) {
        cpu->svm.asid_generation++;
        cpu->svm.asid_next = 1; /* 0 is the core's own (APM vol. 2, 15.16) */
        svm->vmcb->tlb_control = TLB_CONTROL_ALL;
    }
    svm->vmcb->asid = cpu->svm.asid_next++;
    svm->asid_generation = cpu->svm.asid_generation;
    svm_dirty(svm, CLEAN_ASID);
}
