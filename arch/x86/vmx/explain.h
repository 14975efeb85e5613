#ifndef BULKHEAD_ARCH_X86_VMX_EXPLAIN_H
#define BULKHEAD_ARCH_X86_VMX_EXPLAIN_H

/* A VMCS in words, for dumps. Nothing here touches the machine: fields come from a source. */

#include "arch/x86/vmx/vmcs.h"
#include "lib/emit.h"

/* Where fields come from: the current VMCS, or a test's. `read` gives 0 for fields that the CPU
 * does not have. */
struct vmcs_source {
    uint64_t (*read)(void *ctx, enum vmcs_field field);
    void *ctx;
};

/* Each returns a short text, "unknown" for numbers that the SDM does not have. */
const char *vmx_field_name(enum vmcs_field field);
const char *vmx_exit_reason_name(uint32_t basic);
const char *vmx_instruction_error(uint32_t number);

/* Prints all fields by name, several a line, and the last exit in words. */
void vmx_explain(const struct vmcs_source *source, emit_fn *emit);

#endif
