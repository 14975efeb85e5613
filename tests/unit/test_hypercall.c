/* KVM's hypercalls and loops of PAUSEs: who is told what. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/virt.h"
#include "vmm/exit.h"
#include "vmm/ipi.h"
#include "vmm/mail.h"
#include "vmm/pause.h"
#include "vmm/sched.h"

#define VCPUS 4
#define KICK  5
#define IPI   10
#define YIELD 11

#define EPERM_  ((uint64_t)-1)
#define EINVAL_ ((uint64_t)-22)
#define ENOSYS_ ((uint64_t)-1000)

struct percpu cpu_local;
static struct vm_config config;
static struct vm vm;
static struct vcpu vcpus[VCPUS];
static struct code_mode code;

static struct {
    struct vcpu *of;
    uint32_t what;
} mail;
static struct vcpu *unhalted, *preferred;
static bool gave_way;
static struct {
    uint64_t set, first;
    uint32_t icr;
} sent[4];
static unsigned int sent_count;

void mail_post(struct vcpu *v, uint32_t what)
{
    assert_null(mail.of);
    mail.of = v;
    mail.what = what;
}

void vcpu_unhalt(struct vcpu *v)
{
    unhalted = v;
}

void sched_prefer(struct vcpu *v)
{
    preferred = v;
}

void sched_give_way(void)
{
    gave_way = true;
}

unsigned int ipi_send_set(struct vcpu *from, uint64_t set, uint64_t first, uint32_t icr)
{
    assert_ptr_equal(from, &vcpus[0]);
    sent[sent_count].set = set;
    sent[sent_count].first = first;
    sent[sent_count++].icr = icr;
    return (unsigned int)__builtin_popcountll(set);
}

uint64_t vcpu_wrap_rip(struct vcpu *v, uint64_t next)
{
    return next;
}

void vcpu_skip_flags(struct vcpu *v)
{
    fail();
}

void vcpu_end_shadow(struct vcpu *v)
{
    v->in_shadow = false;
}

static void get_code_mode(struct vcpu *v, struct code_mode *mode)
{
    *mode = code;
}

static const struct virt_ops ops = {.get_code_mode = get_code_mode};
const struct virt_ops *virt = &ops;

static void set_mode(bool is_64bit, uint8_t cpl)
{
    code = (struct code_mode){.efer = EFER_LMA | EFER_LME, .cpl = cpl};
    if (is_64bit)
        code.cs.attrib = SEG_ATTR_L;
}

static void forget(void)
{
    memset(&mail, 0, sizeof(mail));
    memset(sent, 0, sizeof(sent));
    unhalted = preferred = NULL;
    gave_way = false;
    sent_count = 0;
}

static int setup(void **state)
{
    memset(&vm, 0, sizeof(vm));
    memset(vcpus, 0, sizeof(vcpus));
    config = (struct vm_config){.vcpus = VCPUS, .sched_class = CONFIG_CLASS_FAIR};
    vm.config = &config;
    vm.vcpu_count = VCPUS;
    for (unsigned int i = 0; i < VCPUS; i++) {
        vm.vcpus[i] = &vcpus[i];
        vcpus[i].vm = &vm;
        vcpus[i].id = i;
        vcpus[i].cpu = i & 1; /* 0 and 2 are here */
    }
    cpu_local.id = 0;
    set_mode(true, 0);
    forget();
    return 0;
}

static uint64_t call(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    struct vcpu *v = &vcpus[0];
    const uint64_t rip = 0x1000;

    forget();
    v->rip = rip;
    v->gpr[GPR_RAX] = number;
    v->gpr[GPR_RBX] = a;
    v->gpr[GPR_RCX] = b;
    v->gpr[GPR_RDX] = c;
    v->gpr[GPR_RSI] = d;
    assert_int_equal(exit_hypercall(v, 3), EXIT_RESUME);
    assert_int_equal(v->rip, rip + 3);
    assert_int_equal(v->gpr[GPR_RBX], a);
    assert_int_equal(v->gpr[GPR_RCX], b);
    assert_int_equal(v->gpr[GPR_RDX], c);
    assert_int_equal(v->gpr[GPR_RSI], d);
    return v->gpr[GPR_RAX];
}

static bool nothing_happened(void)
{
    return !mail.of && !unhalted && !preferred && !gave_way && sent_count == 0;
}

static void test_unknown(void **state)
{
    static const uint64_t numbers[] = {
        0, 1, 4, 6, 7, 8, 9, 12, 13, 0x1234, BIT64(32) | KICK, BIT64(63) | IPI, UINT64_MAX};

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        assert_int_equal(call(numbers[i], 1, 1, 1, 1), ENOSYS_);
        assert_true(nothing_happened());
    }
}

static void test_privilege(void **state)
{
    static const uint64_t numbers[] = {KICK, IPI, YIELD};

    for (uint8_t cpl = 1; cpl <= 3; cpl++) {
        set_mode(true, cpl);
        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
            assert_int_equal(call(numbers[i], 1, 1, 0, 0x40), EPERM_);
            assert_true(nothing_happened());
        }
    }
    set_mode(false, 3);
    assert_int_equal(call(IPI, 1, 1, 0, 0x40), UINT32_MAX);
}

static void test_kick(void **state)
{
    assert_int_equal(call(KICK, 0, 2, 0, 0), 0);
    assert_ptr_equal(unhalted, &vcpus[2]);
    assert_null(mail.of);
    assert_int_equal(call(KICK, 0, 3, 0, 0), 0);
    assert_null(unhalted);
    assert_ptr_equal(mail.of, &vcpus[3]);
    assert_int_equal(mail.what, POSTED_UNHALT);
    assert_int_equal(call(KICK, 0, VCPUS, 0, 0), 0);
    assert_true(nothing_happened());
    assert_int_equal(call(KICK, 0, BIT64(32) | 1, 0, 0), 0);
    assert_true(nothing_happened());
    set_mode(false, 0);
    assert_int_equal(call(KICK, 0, BIT64(32) | 1, 0, 0), 0);
    assert_ptr_equal(mail.of, &vcpus[1]);
}

static void test_send_ipi(void **state)
{
    assert_int_equal(call(IPI, 5, BIT64(63), 1, 0x441), 3);
    assert_int_equal(sent_count, 2);
    assert_int_equal(sent[0].set + sent[1].set, 5 + BIT64(63));
    for (unsigned int i = 0; i < 2; i++) {
        assert_int_equal(sent[i].first, sent[i].set == 5 ? 1 : 65);
        assert_int_equal(sent[i].icr, 0x441);
    }
    /* Beyond the last one, also by so much that the second word would begin at 0 again. */
    assert_int_equal(call(IPI, UINT64_MAX, UINT64_MAX, VCPUS, 0x41), 0);
    assert_true(nothing_happened());
    assert_int_equal(call(IPI, UINT64_MAX, UINT64_MAX, -64ull, 0x41), 0);
    assert_true(nothing_happened());
    assert_int_equal(call(IPI, 1, 0, 0, 0x841), EINVAL_);
    assert_int_equal(call(IPI, 1, 0, 0, 0x40041), EINVAL_);
    assert_int_equal(call(IPI, 1, 0, 0, 0x80041), EINVAL_);
    assert_true(nothing_happened());
}

static void test_send_ipi_32(void **state)
{
    set_mode(false, 0);
    assert_int_equal(call(BIT64(40) | IPI, BIT64(32) | 1, BIT64(63) | 2, BIT64(33), 0x41), 2);
    assert_int_equal(sent_count, 2);
    for (unsigned int i = 0; i < 2; i++)
        assert_int_equal(sent[i].first, sent[i].set == 1 ? 0 : 32);
    assert_int_equal(sent[0].set + sent[1].set, 3);
    assert_int_equal(call(IPI, 1, 0, 0, 0x841), (uint32_t)EINVAL_);
    assert_int_equal(call(6, 0, 0, 0, 0), (uint32_t)ENOSYS_);
}

static void test_yield(void **state)
{
    /* One that runs, has halted, or is the caller, needs no help. */
    vcpus[0].mail.queued = true;
    for (unsigned int i = 0; i < VCPUS; i++) {
        assert_int_equal(call(YIELD, i, 0, 0, 0), 0);
        assert_true(nothing_happened());
    }
    vcpus[2].mail.queued = vcpus[3].mail.queued = true;
    assert_int_equal(call(YIELD, 2, 0, 0, 0), 0);
    assert_ptr_equal(preferred, &vcpus[2]);
    assert_true(gave_way);
    assert_null(mail.of);
    assert_int_equal(call(YIELD, 3, 0, 0, 0), 0);
    assert_null(preferred);
    assert_true(gave_way);
    assert_ptr_equal(mail.of, &vcpus[3]);
    assert_int_equal(mail.what, POSTED_YIELD_TO);
    assert_int_equal(call(YIELD, VCPUS, 0, 0, 0), 0);
    assert_true(nothing_happened());
}

static unsigned int pause_of(unsigned int id)
{
    forget();
    cpu_local.id = vcpus[id].cpu;
    assert_int_equal(exit_pause(&vcpus[id]), EXIT_RESUME);
    if (!gave_way) {
        assert_true(nothing_happened());
        return UINT32_MAX;
    }
    assert_true(gave_way);
    assert_true(!preferred != !mail.of);
    return (preferred ? preferred : mail.of)->id;
}

static void test_pause(void **state)
{
    vcpus[0].rip = 0x1000;
    vcpus[0].mail.queued = true; /* never itself */
    assert_int_equal(pause_of(0), UINT32_MAX);
    vcpus[1].mail.queued = vcpus[3].mail.queued = true;
    /* Elsewhere, in turn. */
    assert_int_equal(pause_of(0), 1);
    assert_int_equal(mail.what, POSTED_YIELD_TO);
    assert_int_equal(pause_of(0), 3);
    assert_int_equal(pause_of(0), 1);
    /* One that is here goes first. */
    vcpus[2].mail.queued = true;
    assert_int_equal(pause_of(0), 2);
    assert_ptr_equal(preferred, &vcpus[2]);
    assert_int_equal(pause_of(0), 2);
    assert_int_equal(pause_of(1), 3);
    assert_ptr_equal(preferred, &vcpus[3]);
    assert_int_equal(vcpus[0].rip, 0x1000);
}

/* Each one of several gets its turn. */
static void test_pause_round(void **state)
{
    unsigned int seen = 0;

    for (unsigned int i = 0; i < VCPUS; i++) {
        vcpus[i].cpu = 0;
        vcpus[i].mail.queued = i != 0;
    }
    for (unsigned int i = 0; i < VCPUS - 1; i++)
        seen |= 1u << pause_of(0);
    assert_int_equal(seen, 0xe);
}

static void test_when_pauses_exit(void **state)
{
    assert_true(pause_is_to_exit(&vm));
    config.sched_class = CONFIG_CLASS_SLOTS;
    assert_true(pause_is_to_exit(&vm));
    config.sched_class = CONFIG_CLASS_DEDICATED;
    assert_false(pause_is_to_exit(&vm));
    config.sched_class = CONFIG_CLASS_FAIR;
    vm.vcpu_count = 1;
    assert_false(pause_is_to_exit(&vm));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_unknown, setup),
        cmocka_unit_test_setup(test_privilege, setup),
        cmocka_unit_test_setup(test_kick, setup),
        cmocka_unit_test_setup(test_send_ipi, setup),
        cmocka_unit_test_setup(test_send_ipi_32, setup),
        cmocka_unit_test_setup(test_yield, setup),
        cmocka_unit_test_setup(test_pause, setup),
        cmocka_unit_test_setup(test_pause_round, setup),
        cmocka_unit_test_setup(test_when_pauses_exit, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
