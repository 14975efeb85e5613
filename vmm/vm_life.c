#include "vmm/vm_life.h"

#include "arch/x86/percpu.h"
#include "arch/x86/power.h"
#include "arch/x86/speculation.h"
#include "arch/x86/time.h"
#include "arch/x86/virt.h"
#include "lib/error.h"
#include "lib/format.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vmm/balance.h"
#include "vmm/checks.h"
#include "vmm/console.h"
#include "vmm/guest_memory_bulk.h"
#include "vmm/mail.h"
#include "vmm/platform.h"
#include "vmm/sched.h"

/* Memory that is scrubbed, copied into a VM, or mapped, without looking at anything else in
 * between: HANDLER_BOUND_NS. */
#define SCRUB_STEP (32 * KIB)
#define LOAD_STEP  (32 * KIB)
#define MAP_STEP   (4 * GIB)
/* Another one of these is begun until then. */
#define STEPS_NS (HANDLER_BOUND_NS / 2)

enum config_done vm_when_done;
bool vm_when_done_armed;
unsigned int vm_starting_count;
static bool ending_all; /* no VM starts any more */

/* ---- Asking, on any pCPU ---- */

/* Whether the request counts, and is new. With the lock. */
static bool accept_request(struct vm *vm, enum vm_request request)
{
    bool off = request == VM_REQUEST_OFF;
    bool on = vm->state == VM_RUNNING || vm->state == VM_STARTING;

    if ((on && (vm->request == VM_REQUEST_NONE || (vm->request == VM_REQUEST_RESET && off))) ||
        (vm->state == VM_OFF && vm->request == VM_REQUEST_START && off)) {
        vm->request = request;
        return true;
    }
    if ((vm->state == VM_STOPPING || vm->state == VM_ENDING) && vm->start_again && off) {
        vm->start_again = false;
        return true;
    }
    return false;
}

static void request(struct vm *vm, enum vm_request request, const struct vcpu *culprit,
                    const char *fmt, va_list ap)
{
    spin_acquire(&vm->request_lock);
    bool accepted = accept_request(vm, request);
    if (accepted) {
        vm->culprit = culprit;
        format_v(vm->end_text, sizeof(vm->end_text), fmt, ap);
    }
    spin_release(&vm->request_lock);
    if (accepted) {
        sched_leave();
        mail_ask_home(vm->home);
    }
}

void vm_request(struct vm *vm, enum vm_request what, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    request(vm, what, NULL, fmt, ap);
    va_end(ap);
}

void vm_crash(struct vcpu *v, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    request(v->vm, VM_REQUEST_CRASH, v, fmt, ap);
    va_end(ap);
}

static void ask_to_start(struct vm *vm)
{
    __atomic_add_fetch(&vm_starting_count, 1, __ATOMIC_RELAXED);
    mail_ask_home(vm->home);
}

int vm_start(struct vm *vm)
{
    spin_acquire(&vm->request_lock);
    bool accepted = vm->state == VM_OFF && vm->request == VM_REQUEST_NONE && !ending_all;
    if (accepted)
        vm->request = VM_REQUEST_START;
    spin_release(&vm->request_lock);
    if (!accepted)
        return -BH_EBUSY;
    ask_to_start(vm);
    return 0;
}

bool vm_all_off(void)
{
    for (unsigned int i = 0; i < vm_count; i++)
        if (__atomic_load_n(&vms[i]->state, __ATOMIC_SEQ_CST) != VM_OFF ||
            vms[i]->request != VM_REQUEST_NONE)
            return false;
    return true;
}

/* When all VMs have ended: what the configuration says. */
static void check_all_off(void)
{
    if (!vm_all_off() || !__atomic_exchange_n(&vm_when_done_armed, false, __ATOMIC_SEQ_CST))
        return;
    switch (ending_all ? CONFIG_DONE_POWEROFF : vm_when_done) {
    case CONFIG_DONE_POWEROFF: log_info("the last VM has ended: powering off"); power_off();
    case CONFIG_DONE_REBOOT:
        log_info("the last VM has ended: resetting the machine");
        power_reset();
    case CONFIG_DONE_HALT:
        log_info("the last VM has ended: waiting in the monitor (Ctrl-A 0)");
        break;
    }
}

void vm_end_all(void)
{
    log_info("all VMs are ended, to power off");
    __atomic_store_n(&ending_all, true, __ATOMIC_SEQ_CST);
    __atomic_store_n(&vm_when_done_armed, true, __ATOMIC_SEQ_CST);
    for (unsigned int i = 0; i < vm_count; i++)
        vm_request(vms[i], VM_REQUEST_OFF, "the machine is powered off");
    check_all_off();
}

/* ---- On a vCPU's owner ---- */

void vm_dump_to_console(struct vcpu *v)
{
    vm_dump(v, console_line);
}

void vm_start_vcpu(struct vcpu *v)
{
    vcpu_power_on(v);
    if (v->state == VCPU_RUNNABLE)
        sched_enqueue(v);
}

static void report_crash(struct vcpu *v)
{
    console_vm_end(v->vm);
    log_error("%s: crashed: %s", vm_name(v->vm), v->vm->end_text);
    vm_dump(v, log_error_detail);
}

void vm_stop_vcpu(struct vcpu *v)
{
    struct vm *vm = v->vm;

    if (vm->request == VM_REQUEST_CRASH && vm->culprit == v)
        report_crash(v);
    sched_remove(v);
    platform_stop_vcpu(v);
    __atomic_store_n(&v->cpu, vm->home, __ATOMIC_RELEASE);
    if (__atomic_sub_fetch(&vm->running_vcpus, 1, __ATOMIC_ACQ_REL) == 0)
        mail_ask_home(vm->home);
}

/* ---- On the home ---- */

static void set_state(struct vm *vm, enum vm_state state)
{
    assert_home(vm);
    spin_acquire(&vm->request_lock);
    if (state == VM_STOPPING || (state == VM_ENDING && vm->state == VM_STARTING))
        vm->start_again = vm->request == VM_REQUEST_RESET;
    /* One that came while it started is for the VM that runs now. */
    if (state != VM_STOPPING && state != VM_RUNNING &&
        (state != VM_STARTING || vm->request == VM_REQUEST_START))
        vm->request = VM_REQUEST_NONE;
    __atomic_store_n(&vm->state, state, __ATOMIC_SEQ_CST);
    spin_release(&vm->request_lock);
}

/* It is off, and starts again at once if it is to: nobody sees it off in between. */
static bool set_off(struct vm *vm)
{
    assert_home(vm);
    spin_acquire(&vm->request_lock);
    bool again = vm->start_again && !__atomic_load_n(&ending_all, __ATOMIC_SEQ_CST);
    vm->start_again = false;
    vm->request = again ? VM_REQUEST_START : VM_REQUEST_NONE;
    __atomic_store_n(&vm->state, VM_OFF, __ATOMIC_SEQ_CST);
    spin_release(&vm->request_lock);
    return again;
}

static void begin_scrub(struct vm *vm)
{
    vm->step_region = 0;
    vm->step_offset = 0;
    set_state(vm, VM_ENDING);
}

static void start_vcpus(struct vm *vm)
{
    static uint64_t starts;

    vm->serial = __atomic_add_fetch(&starts, 1, __ATOMIC_RELAXED);
    vm->tsc_offset = -rdtsc(); /* the guest's TSC starts at 0 */
    platform_reset(vm);
    vm->culprit = NULL;
    if (vm->config->cap) {
        cap_init(&vm->cap, ns_span_to_tsc(CAP_PERIOD_NS), rdtsc());
        cap_set(&vm->cap, vm->config->cap, vm->vcpu_count);
    }
    vm->logged_msr = vm->logged_port = vm->logged_mmio = vm->logged_insn = false;
    vm->logged_task_switch = false;
    __atomic_store_n(&vm->running_vcpus, vm->vcpu_count, __ATOMIC_RELEASE);
    set_state(vm, VM_RUNNING);
    __atomic_store_n(&vm_when_done_armed, true, __ATOMIC_SEQ_CST);
    log_info("%s: started, %llu MiB, entry 0x%llx in %s mode", vm_name(vm),
             LLU(vm->config->memory / MIB), LLU(vm->entry.rip),
             vm->entry.long_mode ? "64-bit" : "32-bit");
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        struct vcpu *v = vm->vcpus[i];
        entity_init(&v->sched, (enum sched_class)vm->config->sched_class, vm->config->weight);
        v->sched.allowed = vm->config->cpus;
        v->sched.cap = vm->config->cap ? &vm->cap : NULL;
        vcpu_plug_in(v);
        __atomic_store_n(&v->cpu, balance_choose(v), __ATOMIC_RELEASE);
    }
    /* The boot CPU last: it may send the others signals at once. */
    for (unsigned int i = vm->vcpu_count; i-- > 0;)
        mail_start(vm->vcpus[i]);
}

/* It neither runs nor will. */
static void start_failed(struct vm *vm, bool loaded)
{
    format(vm->end_text, sizeof(vm->end_text), "could not be started");
    if (loaded) {
        begin_scrub(vm); /* of its own files; still, nobody is to find them */
    } else {
        this_cpu->changing_vms--;
        set_state(vm, VM_OFF);
    }
    __atomic_sub_fetch(&vm_starting_count, 1, __ATOMIC_RELEASE);
}

static void start(struct vm *vm)
{
    this_cpu->changing_vms++;
    if (__atomic_load_n(&ending_all, __ATOMIC_SEQ_CST) || vm_alloc_memory(vm) != 0)
        start_failed(vm, false);
    else
        set_state(vm, VM_STARTING);
}

static int load_kernel(struct vm *vm)
{
    int rc = vm_load_kernel(vm);

    return rc == 0 ? 1 : rc;
}

/* A negative error; 1: there is more to do. */
static int load_some(struct vm *vm)
{
    if (vm->step_region == vm->region_count)
        return vm_load_step(vm, LOAD_STEP);

    int rc = vm_map_step(vm, MAP_STEP);

    if (rc < 0)
        vm_free_memory(vm);
    return rc == 0 ? load_kernel(vm) : rc;
}

/* The end was asked for before it ran. */
static void give_up_start(struct vm *vm)
{
    begin_scrub(vm);
    __atomic_sub_fetch(&vm_starting_count, 1, __ATOMIC_RELEASE);
}

static void start_step(struct vm *vm)
{
    bool ending = __atomic_load_n(&ending_all, __ATOMIC_SEQ_CST);
    int rc;

    if (vm->request != VM_REQUEST_NONE || ending) {
        give_up_start(vm);
        return;
    }
    rc = load_some(vm);

    if (rc > 0)
        return;
    if (rc < 0) {
        start_failed(vm, vm->region_count > 0);
        return;
    }
    speculation_flush_l1d(); /* of what was loaded */
    this_cpu->changing_vms--;
    start_vcpus(vm);
    __atomic_sub_fetch(&vm_starting_count, 1, __ATOMIC_RELEASE);
}

static void begin_stop(struct vm *vm)
{
    set_state(vm, VM_STOPPING);
    for (unsigned int i = 0; i < vm->vcpu_count; i++)
        mail_post(vm->vcpus[i], POSTED_STOP);
}

/* A line that says that a VM has ended comes when it is off: who reads it may start it at once, and
 * so change why it ends. */
static void cancel_start(struct vm *vm)
{
    char why[sizeof(vm->end_text)];

    memcpy(why, vm->end_text, sizeof(why));
    set_state(vm, VM_OFF);
    log_info("%s: ended: %s", vm_name(vm), why);
    __atomic_sub_fetch(&vm_starting_count, 1, __ATOMIC_RELEASE);
    check_all_off();
}

static void attend(struct vm *vm)
{
    switch (vm->state) {
    case VM_OFF:
        if (vm->request == VM_REQUEST_START)
            start(vm);
        else if (vm->request == VM_REQUEST_OFF)
            cancel_start(vm);
        break;
    case VM_STARTING: break; /* its next step looks */
    case VM_RUNNING:
        if (vm->request != VM_REQUEST_NONE)
            begin_stop(vm);
        break;
    case VM_STOPPING:
        if (__atomic_load_n(&vm->running_vcpus, __ATOMIC_ACQUIRE) == 0) {
            if (guest_uart_tx_waits(&vm->uart))
                console_vm_last(vm, vm->uart.thr);
            console_vm_end(vm);
            this_cpu->changing_vms++;
            begin_scrub(vm);
        }
        break;
    case VM_ENDING: break;
    }
}

static void end(struct vm *vm)
{
    char why[sizeof(vm->end_text)];
    bool again;

    this_cpu->changing_vms--;
    vm_free_memory(vm);
    memcpy(why, vm->end_text, sizeof(why));
    again = set_off(vm);
    log_info("%s: ended: %s; its %llu MiB are scrubbed and free", vm_name(vm), why,
             LLU(vm->config->memory / MIB));
    if (again)
        ask_to_start(vm);
    else
        check_all_off();
}

static void scrub(struct vm *vm)
{
    uint64_t left = SCRUB_STEP;

    while (left > 0 && vm->step_region < vm->region_count) {
        const struct vm_region *region = &vm->regions[vm->step_region];
        uint64_t n = MIN(left, region->size - vm->step_offset);
        physical_scrub(region->hpa + vm->step_offset, n);
        vm->step_offset += n;
        left -= n;
        if (vm->step_offset == region->size) {
            vm->step_region++;
            vm->step_offset = 0;
        }
    }
    if (vm->step_region == vm->region_count)
        end(vm);
}

static bool is_changing(const struct vm *vm)
{
    return vm->home == this_cpu->id && (vm->state == VM_STARTING || vm->state == VM_ENDING);
}

/* A step of one VM, and of the next one when that is done. */
static void change_step(void)
{
    unsigned int *turn = &this_cpu->changing_turn;

    for (unsigned int i = 0; i < vm_count && !is_changing(vms[*turn]); i++)
        *turn = *turn + 1 < vm_count ? *turn + 1 : 0;
    if (vms[*turn]->state == VM_STARTING)
        start_step(vms[*turn]);
    else
        scrub(vms[*turn]);
}

static void change_some(void)
{
    uint64_t end = rdtsc() + ns_span_to_tsc(STEPS_NS);

    do
        change_step();
    while (this_cpu->changing_vms > 0 && rdtsc() < end);
}

void vm_attend(void)
{
    uint64_t *asked = &cpu_mails[this_cpu->id].home_asked;

    if (unlikely(__atomic_load_n(asked, __ATOMIC_ACQUIRE))) {
        __atomic_store_n(asked, false, __ATOMIC_SEQ_CST);
        for (unsigned int i = 0; i < vm_count; i++)
            if (vms[i]->home == this_cpu->id)
                attend(vms[i]);
    }
    if (unlikely(this_cpu->changing_vms > 0) && sched_has_time(HANDLER_BOUND_NS))
        change_some();
}
