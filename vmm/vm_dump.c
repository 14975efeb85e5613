/* A VM's registers in words, for those that end unexpectedly and for crashes of the core. */

#include "arch/x86/percpu.h"
#include "arch/x86/virt.h"
#include "vmm/vm.h"

static void dump_segment(emit_fn *emit, const char *name, const struct segment *s)
{
    emit_line(emit, "%-4s %04x base %016llx limit %08x attributes %03x", name, s->selector,
              LLU(s->base), s->limit, s->attrib);
}

void vm_dump(struct vcpu *v, emit_fn *emit)
{
    static const char *const seg_names[SEG_COUNT] = {"es", "cs", "ss", "ds", "fs", "gs"};
    const uint64_t *g = v->gpr;
    struct vcpu_sysregs r;

    virt->get_sysregs(v, &r);
    if (v->vm->vcpu_count > 1)
        emit_line(emit, "vCPU %u", v->id);
    emit_line(emit, "rip %016llx rflags %08llx cpl %u", LLU(v->rip), LLU(v->rflags), r.cpl);
    emit_line(emit, "rax %016llx rbx %016llx rcx %016llx rdx %016llx", LLU(g[GPR_RAX]),
              LLU(g[GPR_RBX]), LLU(g[GPR_RCX]), LLU(g[GPR_RDX]));
    emit_line(emit, "rsi %016llx rdi %016llx rbp %016llx rsp %016llx", LLU(g[GPR_RSI]),
              LLU(g[GPR_RDI]), LLU(g[GPR_RBP]), LLU(g[GPR_RSP]));
    emit_line(emit, "r8  %016llx r9  %016llx r10 %016llx r11 %016llx", LLU(g[GPR_R8]),
              LLU(g[GPR_R9]), LLU(g[GPR_R10]), LLU(g[GPR_R11]));
    emit_line(emit, "r12 %016llx r13 %016llx r14 %016llx r15 %016llx", LLU(g[GPR_R12]),
              LLU(g[GPR_R13]), LLU(g[GPR_R14]), LLU(g[GPR_R15]));
    emit_line(emit, "cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx", LLU(r.cr0), LLU(r.cr2),
              LLU(r.cr3), LLU(r.cr4), LLU(r.efer));
    for (unsigned int i = 0; i < SEG_COUNT; i++)
        dump_segment(emit, seg_names[i], &r.seg[i]);
    dump_segment(emit, "tr", &r.tr);
    dump_segment(emit, "gdtr", &r.gdtr);
    dump_segment(emit, "idtr", &r.idtr);
    virt->dump(v, emit);
}

void vm_print_crash_context(emit_fn *emit)
{
    struct vcpu *v = this_cpu->current;

    if (!v) {
        emit_line(emit, "no VM was loaded on this CPU");
        return;
    }
    emit_line(emit,
              "exit context: VM %s, vCPU %u, rip %016llx rflags %llx rax %llx rcx %llx rdx %llx",
              vm_name(v->vm), v->id, LLU(v->rip), LLU(v->rflags), LLU(v->gpr[GPR_RAX]),
              LLU(v->gpr[GPR_RCX]), LLU(v->gpr[GPR_RDX]));
    virt->dump(v, emit);
}
