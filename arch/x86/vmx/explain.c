#include "arch/x86/vmx/explain.h"

#include "lib/format.h"
#include "lib/string.h"

#define U(x) ((unsigned long long)(x))

#define LINE_WIDTH 112

struct field_name {
    uint16_t field;
    const char *name;
};

#define FIELD_NAME(name, encoding) {(encoding), #name},
static const struct field_name exit_fields[] = {VMCS_EXIT_FIELDS(FIELD_NAME)};
static const struct field_name control_fields[] = {VMCS_CONTROL_FIELDS(FIELD_NAME)};
static const struct field_name guest_fields[] = {VMCS_GUEST_FIELDS(FIELD_NAME)};
static const struct field_name host_fields[] = {VMCS_HOST_FIELDS(FIELD_NAME)};

/* A VMREAD of a field that the CPU does not have changes INSTRUCTION_ERROR (SDM vol. 3, 31.3): the
 * fields of the exit, which all CPUs have, come first. */
static const struct {
    const char *name;
    const struct field_name *fields;
    size_t count;
} groups[] = {
    {"exit", exit_fields, ARRAY_SIZE(exit_fields)},
    {"control", control_fields, ARRAY_SIZE(control_fields)},
    {"guest", guest_fields, ARRAY_SIZE(guest_fields)},
    {"host", host_fields, ARRAY_SIZE(host_fields)},
};

const char *vmx_field_name(enum vmcs_field field)
{
    for (size_t g = 0; g < ARRAY_SIZE(groups); g++) {
        for (size_t i = 0; i < groups[g].count; i++)
            if (groups[g].fields[i].field == field)
                return groups[g].fields[i].name;
    }
    return "unknown";
}

/* The text with this number in a list of `size` bytes, each ended by a zero. */
static const char *lookup(const char *list, size_t size, uint32_t number)
{
    const char *text = list;

    for (; number && text < list + size; number--)
        text += strlen(text) + 1;
    return text < list + size && *text ? text : "unknown";
}

/* By number, empty where there is none (SDM vol. 3, appendix C). */
static const char reasons[] =
    "exception or NMI\0external interrupt\0triple fault\0INIT\0SIPI\0I/O SMI\0other SMI\0"
    "interrupt window\0NMI window\0task switch\0CPUID\0GETSEC\0HLT\0INVD\0INVLPG\0RDPMC\0RDTSC\0"
    "RSM\0VMCALL\0VMCLEAR\0VMLAUNCH\0VMPTRLD\0VMPTRST\0VMREAD\0VMRESUME\0VMWRITE\0VMXOFF\0VMXON\0"
    "control register\0debug register\0I/O instruction\0RDMSR\0WRMSR\0invalid guest state\0"
    "MSR loading\0\0MWAIT\0monitor trap flag\0\0MONITOR\0PAUSE\0machine check during VM entry\0\0"
    "TPR below threshold\0APIC access\0virtualized EOI\0GDTR or IDTR access\0LDTR or TR access\0"
    "EPT violation\0EPT misconfiguration\0INVEPT\0RDTSCP\0preemption timer\0INVVPID\0WBINVD\0"
    "XSETBV\0APIC write\0RDRAND\0INVPCID\0VMFUNC\0ENCLS\0RDSEED\0page-modification log full\0"
    "XSAVES\0XRSTORS\0PCONFIG\0SPP event\0UMWAIT\0TPAUSE\0LOADIWKEY\0ENCLV\0\0ENQCMD translation\0"
    "ENQCMDS translation\0bus lock\0instruction timeout\0";

/* The same for SDM vol. 3, 31.4. */
static const char errors[] =
    "\0VMCALL in VMX root operation\0VMCLEAR with an invalid physical address\0"
    "VMCLEAR with the VMXON pointer\0VMLAUNCH with a VMCS that is not clear\0"
    "VMRESUME with a VMCS that is not launched\0VMRESUME after VMXOFF\0"
    "VM entry with invalid control fields\0VM entry with invalid host-state fields\0"
    "VMPTRLD with an invalid physical address\0VMPTRLD with the VMXON pointer\0"
    "VMPTRLD with an incorrect VMCS revision identifier\0"
    "VMREAD or VMWRITE of an unsupported field\0VMWRITE to a read-only field\0\0"
    "VMXON in VMX root operation\0VM entry with an invalid executive-VMCS pointer\0"
    "VM entry with an executive VMCS that is not launched\0"
    "VM entry with an executive-VMCS pointer that is not the VMXON pointer\0"
    "VMCALL with a VMCS that is not clear\0VMCALL with invalid VM-exit control fields\0\0"
    "VMCALL with an incorrect MSEG revision identifier\0"
    "VMXOFF under dual-monitor treatment of SMIs and SMM\0"
    "VMCALL with invalid SMM-monitor features\0"
    "VM entry with invalid execution controls in the executive VMCS\0"
    "VM entry with events blocked by MOV SS\0\0invalid operand of INVEPT or INVVPID\0";

const char *vmx_exit_reason_name(uint32_t basic)
{
    return lookup(reasons, sizeof(reasons), basic);
}

const char *vmx_instruction_error(uint32_t number)
{
    return lookup(errors, sizeof(errors), number);
}

/* Interruption information in words, for all three fields that have it. */
static void explain_event(emit_fn *emit, const char *field, uint64_t info, uint64_t error)
{
    static const char types[] =
        "external interrupt\0\0NMI\0exception\0software interrupt\0INT1\0INT3 or INTO\0other\0";
    static const char exceptions[] =
        "#DE\0#DB\0NMI\0#BP\0#OF\0#BR\0#UD\0#NM\0#DF\0\0#TS\0#NP\0#SS\0#GP\0#PF\0\0#MF\0#AC\0#MC\0"
        "#XM\0#VE\0#CP\0";
    const uint8_t type = INTR_INFO_TYPE(info), vector = INTR_INFO_VECTOR(info);
    const bool exception = type == 3 || type == 5 || type == 6;
    char text[32] = "";

    if (!(info & INTR_INFO_VALID))
        return;
    if (info & INTR_INFO_ERROR)
        format(text, sizeof(text), ", error code 0x%llx", U(error));
    emit_line(emit, "%s: %s, vector %u%s%s%s%s", field, lookup(types, sizeof(types), type), vector,
              exception ? " " : "", exception ? lookup(exceptions, sizeof(exceptions), vector) : "",
              text, info & INTR_INFO_NMI_UNBLOCK ? ", bit 12 set" : "");
}

static void explain_exit(const struct vmcs_source *s, emit_fn *emit)
{
    const uint32_t error = (uint32_t)s->read(s->ctx, VMCS_INSTRUCTION_ERROR);
    const uint32_t reason = (uint32_t)s->read(s->ctx, VMCS_EXIT_REASON);

    emit_line(emit, "exit reason %u: %s%s", reason & EXIT_REASON_BASIC,
              reason & EXIT_REASON_ENTRY_FAILURE ? "VM entry failed, " : "",
              vmx_exit_reason_name(reason & EXIT_REASON_BASIC));
    if (error)
        emit_line(emit, "VM-instruction error %u: %s", error, vmx_instruction_error(error));
    explain_event(emit, "exit interruption", s->read(s->ctx, VMCS_EXIT_INTERRUPTION_INFO),
                  s->read(s->ctx, VMCS_EXIT_INTERRUPTION_ERROR));
    explain_event(emit, "interrupted delivery of", s->read(s->ctx, VMCS_IDT_VECTORING_INFO),
                  s->read(s->ctx, VMCS_IDT_VECTORING_ERROR));
    explain_event(emit, "injected at the next entry", s->read(s->ctx, VMCS_ENTRY_INTERRUPTION_INFO),
                  s->read(s->ctx, VMCS_ENTRY_EXCEPTION_ERROR));
}

void vmx_explain(const struct vmcs_source *source, emit_fn *emit)
{
    char line[LINE_WIDTH + 1];
    char text[LINE_WIDTH + 1];
    size_t used;

    explain_exit(source, emit);
    for (size_t g = 0; g < ARRAY_SIZE(groups); g++) {
        used = (size_t)format(line, sizeof(line), "%s:", groups[g].name);
        for (size_t i = 0; i < groups[g].count; i++) {
            const struct field_name *f = &groups[g].fields[i];
            const uint64_t value = source->read(source->ctx, (enum vmcs_field)f->field);
            const size_t n = (size_t)format(text, sizeof(text), " %s %llx", f->name, U(value));
            if (used + n > LINE_WIDTH) {
                emit(line, used);
                used = 0;
            }
            memcpy(line + used, text, n);
            used += n;
        }
        emit(line, used);
    }
}
