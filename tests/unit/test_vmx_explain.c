/* The VMCS in words: names of all fields, exits, errors and events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "arch/x86/vmx/explain.h"

#define FIELDS              0x7000
#define EVENT(type, vector) (INTR_INFO_VALID | (type) << INTR_INFO_TYPE_SHIFT | (vector))

static uint64_t vmcs[FIELDS];
static char output[16384];
static bool beyond_exit_fields;

/* A VMREAD of a field that the CPU does not have changes the instruction error, so that is read
 * before any of these. */
static uint64_t read_field(void *ctx, enum vmcs_field field)
{
    assert_ptr_equal(ctx, vmcs);
    assert_true((size_t)field < FIELDS);
    if (field == VMCS_GUEST_INTERRUPT_STATUS || field == VMCS_EOI_EXIT_BITMAP0)
        beyond_exit_fields = true;
    assert_false(field == VMCS_INSTRUCTION_ERROR && beyond_exit_fields);
    return vmcs[field];
}

static const struct vmcs_source source = {read_field, vmcs};

static void collect(const char *text, size_t len)
{
    size_t used = strlen(output);

    assert_in_range(len, 1, 112);
    assert_null(memchr(text, '\0', len));
    assert_true(used + len + 2 < sizeof(output));
    snprintf(output + used, sizeof(output) - used, "%.*s\n", (int)len, text);
}

static void test_explain(void **state)
{
    vmcs[VMCS_GUEST_CR0] = 0x80000031;
    vmcs[VMCS_HOST_RIP] = 0xffffffff80100000;
    vmcs[VMCS_VPID] = 1;
    vmcs[VMCS_INSTRUCTION_ERROR] = 7;
    vmcs[VMCS_EXIT_REASON] = BIT(31) | 33;
    vmcs[VMCS_EXIT_INTERRUPTION_INFO] = EVENT(3u, 14u) | INTR_INFO_ERROR;
    vmcs[VMCS_EXIT_INTERRUPTION_ERROR] = 2;
    vmcs[VMCS_IDT_VECTORING_INFO] = EVENT(0u, 0x20u);
    vmcs[VMCS_ENTRY_INTERRUPTION_INFO] = EVENT(2u, 2u);
    vmx_explain(&source, collect);
    assert_non_null(strstr(output, "exit reason 33: VM entry failed, invalid guest state\n"));
    assert_non_null(strstr(output, "VM-instruction error 7: VM entry with invalid control fields"));
    assert_non_null(
        strstr(output, "exit interruption: exception, vector 14 #PF, error code 0x2\n"));
    assert_non_null(strstr(output, "delivery of: external interrupt, vector 32\n"));
    assert_non_null(strstr(output, "injected at the next entry: NMI, vector 2\n"));
    assert_non_null(strstr(output, " GUEST_CR0 80000031"));
    assert_non_null(strstr(output, " HOST_RIP ffffffff80100000"));
    assert_non_null(strstr(output, " VPID 1 "));

    /* Every field once. */
#define ONCE(name, encoding)                                                     \
    {                                                                            \
        const char *at = strstr(output, " " #name " ");                          \
        assert_non_null(at);                                                     \
        assert_null(strstr(at + 1, " " #name " "));                              \
        assert_string_equal(vmx_field_name((enum vmcs_field)(encoding)), #name); \
    }
    VMCS_CONTROL_FIELDS(ONCE)
    VMCS_EXIT_FIELDS(ONCE)
    VMCS_GUEST_FIELDS(ONCE)
    VMCS_HOST_FIELDS(ONCE)
    assert_string_equal(vmx_field_name((enum vmcs_field)0x7ffe), "unknown");
}

static void test_names(void **state)
{
    static const struct {
        uint32_t number;
        const char *name;
    } reasons[] = {{0, "exception or NMI"},
                   {VMX_EXIT_WRMSR, "WRMSR"},
                   {VMX_EXIT_GUEST_STATE, "invalid guest state"},
                   {VMX_EXIT_MSR_LOADING, "MSR loading"},
                   {35, "unknown"},
                   {VMX_EXIT_MWAIT, "MWAIT"},
                   {VMX_EXIT_MONITOR, "MONITOR"},
                   {VMX_EXIT_ENTRY_MACHINE_CHECK, "machine check during VM entry"},
                   {VMX_EXIT_TPR_THRESHOLD, "TPR below threshold"},
                   {VMX_EXIT_EPT_VIOLATION, "EPT violation"},
                   {VMX_EXIT_PREEMPTION_TIMER, "preemption timer"},
                   {VMX_EXIT_XSETBV, "XSETBV"},
                   {VMX_EXIT_VMFUNC, "VMFUNC"},
                   {68, "TPAUSE"},
                   {71, "unknown"},
                   {75, "instruction timeout"},
                   {76, "unknown"},
                   {0xffff, "unknown"},
                   {UINT32_MAX, "unknown"}},
      errors[] = {{0, "unknown"},
                  {1, "VMCALL in VMX root operation"},
                  {5, "VMRESUME with a VMCS that is not launched"},
                  {8, "VM entry with invalid host-state fields"},
                  {12, "VMREAD or VMWRITE of an unsupported field"},
                  {13, "VMWRITE to a read-only field"},
                  {14, "unknown"},
                  {15, "VMXON in VMX root operation"},
                  {20, "VMCALL with invalid VM-exit control fields"},
                  {21, "unknown"},
                  {26, "VM entry with events blocked by MOV SS"},
                  {27, "unknown"},
                  {28, "invalid operand of INVEPT or INVVPID"},
                  {29, "unknown"}};

    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
        assert_string_equal(vmx_exit_reason_name(reasons[i].number), reasons[i].name);
    for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
        assert_string_equal(vmx_instruction_error(errors[i].number), errors[i].name);
}

/* The longest values fit, too. */
static void test_all_ones(void **state)
{
    memset(vmcs, 0xff, sizeof(vmcs));
    output[0] = '\0';
    beyond_exit_fields = false;
    vmx_explain(&source, collect);
    assert_non_null(strstr(output, "exit reason 65535: VM entry failed, unknown\n"));
    assert_non_null(strstr(output, "other, vector 255, error code 0xffffffffffffffff, bit 12 set"));
    assert_non_null(strstr(output, "ENTRY_INSTRUCTION_LENGTH ffffffffffffffff"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_explain),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_all_ones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
