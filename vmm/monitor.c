#include "vmm/monitor.h"

#include "arch/x86/interrupt.h"
#include "arch/x86/mm/frame_alloc.h"
#include "arch/x86/mm/page_alloc.h"
#include "arch/x86/percpu.h"
#include "arch/x86/power.h"
#include "arch/x86/smp.h"
#include "arch/x86/time.h"
#include "boot/measurements.h"
#include "drivers/uart.h"
#include "lib/error.h"
#include "lib/log_ring.h"
#include "lib/string.h"
#include "lib/version.h"
#include "vmm/checks.h"
#include "vmm/console.h"
#include "vmm/isolation.h"
#include "vmm/mail.h"
#include "vmm/platform.h"
#include "vmm/sched_print.h"
#include "vmm/vm.h"

#define PROMPT   "bulkhead> "
#define LINE_MAX 80

/* Guarded by the console's lock, but while a command is carried out, when they are not shown. */
static char line[LINE_MAX];
static unsigned int line_len;
static bool open;

/* Answers are long, and the UART is slow: a command has a stack of its own, on which it pauses. The
 * serving CPU's. */
static uint64_t stack[2048] ALIGNED(16);
static uint64_t answer_stack, loop_stack; /* while it pauses; while it goes on */
static bool answers;                      /* a command is carried out */

#define print(...) emit_line(console_answer_line, __VA_ARGS__)

static const char *state_of(const struct vm *vm)
{
    static const char *const names[] = {
        [VM_OFF] = "off",
        [VM_STARTING] = "starting",
        [VM_STOPPING] = "ending",
        [VM_ENDING] = "ending",
    };
    enum vm_state state = __atomic_load_n(&vm->state, __ATOMIC_RELAXED);

    if (state != VM_RUNNING)
        return names[state];
    for (unsigned int i = 0; i < vm->vcpu_count; i++)
        if (vm->vcpus[i]->state == VCPU_RUNNABLE)
            return "running";
    return "idle";
}

static uint64_t run_ms(const struct vm *vm)
{
    uint64_t tsc = 0;

    for (unsigned int i = 0; i < vm->vcpu_count; i++)
        tsc += vm->vcpus[i]->run_tsc;
    return tsc_span_to_ns(tsc) / 1000000;
}

static void command_list(const char *arg)
{
    print("  %-15s %-8s %9s %12s  %s", "VM", "state", "memory", "CPU time ms", "");
    for (unsigned int i = 0; i < vm_count; i++) {
        const struct vm *vm = vms[i];
        print("%u %-15s %-8s %5llu MiB %12llu  %s", i + 1, vm_name(vm), state_of(vm),
              LLU(vm->config->memory / MIB), LLU(run_ms(vm)),
              vm->state == VM_RUNNING ? "" : vm->end_text);
    }
}

static void command_stat(struct vm *vm)
{
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        if (vm->vcpu_count > 1)
            print("vCPU %u, on CPU %u:", i, vm->vcpus[i]->cpu);
        stat_print(&vm->vcpus[i]->stats, console_answer_line);
    }
}

static void command_memory(const char *arg)
{
    print("core: %llu KiB of pages, %llu KiB free", LLU(page_total_count() * PAGE_SIZE_4K / KIB),
          LLU(page_free_count() * PAGE_SIZE_4K / KIB));
    print("guests: %llu MiB, %llu MiB free", LLU(frame_total_bytes() / MIB),
          LLU(frame_free_bytes() / MIB));
}

static void command_log(const char *arg)
{
    unsigned int lost = log_lines_lost();

    if (lost > 0)
        print("--- the first %u lines are lost: there is room for the last %llu KiB", lost,
              LOG_RING_SIZE / KIB);
    log_replay(LOG_ALL_LINES, console_answer_line);
}

static void command_dump(struct vm *vm)
{
    for (unsigned int i = 0; i < vm->vcpu_count; i++)
        if (vcpu_is_here(vm->vcpus[i]))
            vm_dump(vm->vcpus[i], console_answer_line);
        else
            mail_post(vm->vcpus[i], POSTED_DUMP);
}

static void command_start(struct vm *vm)
{
    if (vm_start(vm) == -BH_EBUSY)
        print("%s is running already", vm_name(vm));
}

static void command_stop(struct vm *vm)
{
    if (vm->state == VM_OFF && vm->request == VM_REQUEST_NONE)
        print("%s is off already", vm_name(vm));
    else
        vm_request(vm, VM_REQUEST_OFF, "stopped by the monitor");
}

static void command_reset(struct vm *vm)
{
    if (vm->state != VM_RUNNING)
        print("%s is off", vm_name(vm));
    else
        vm_request(vm, VM_REQUEST_RESET, "reset by the monitor");
}

static void command_nmi(struct vm *vm)
{
    if (vm->state == VM_RUNNING)
        mail_post(vm->vcpus[0], POSTED_NMI);
}

static void command_button(struct vm *vm)
{
    if (vm->state == VM_RUNNING)
        mail_post(vm->vcpus[0], POSTED_BUTTON);
}

static void command_cpus(const char *arg)
{
    smp_print(console_answer_line);
}

static void command_worst(const char *arg)
{
    if (CHECKS)
        checks_print(console_answer_line);
    else
        print("only in a core that was built by \"make CHECKS=1\"");
}

/* Takes the 2 MiB at an address in MiB away from a VM, or gives them back: what a test of
 * vm_flush() needs. A core without CHECKS has no such command. */
static void command_hole(const char *arg)
{
    static bool taken;
    uint64_t gpa = 0;
    struct vm *vm = vm_count > 0 ? vms[0] : NULL;

    if (!CHECKS || !vm || vm->state != VM_RUNNING) {
        print("only in a core that was built by \"make CHECKS=1\", while the first VM runs");
        return;
    }
    for (; *arg >= '0' && *arg <= '9' && gpa < UINT32_MAX; arg++)
        gpa = gpa * 10 + (uint64_t)(*arg - '0');
    if (vm_take_page(vm, gpa * MIB, !taken) == 0) {
        taken = !taken;
        print("%s: 2 MiB at %llu MiB are %s", vm_name(vm), LLU(gpa), taken ? "taken" : "back");
    } else {
        print("hole: found %llu, expected an even number of MiB in the VM's memory", LLU(gpa));
    }
}

static void command_sched(const char *arg)
{
    if (strcmp(arg, "reset") == 0)
        sched_forget_slots();
    sched_print(console_answer_line);
}

static void command_crash(const char *arg)
{
    if (arg[0] > '0' && arg[0] <= '9' && arg[1] == '\0' && smp_crash((unsigned int)(arg[0] - '0')))
        return;
    if (strcmp(arg, "console") == 0) {
        (void)console_acquire(0);
    } else if (strcmp(arg, "core") != 0) {
        print("this stops the whole machine to show a crash report: type \"crash core\"");
        return;
    }
    __asm__ volatile("movq $0, (%0)" ::"r"(0x10ul) : "memory");
}

static void command_peek(const char *arg)
{
    isolation_check(console_answer_line);
}

static void command_measurements(const char *arg)
{
    measurements_print(console_answer_line);
}

static void command_off(const char *arg)
{
    monitor_power_off();
}

static void command_help(const char *arg);

struct command {
    const char *name;
    bool has_arg;
    void (*run)(const char *arg); /* or, where the argument is a VM's name, */
    void (*on_vm)(struct vm *vm); /* without `has_arg`: all VMs when there is none */
    const char *help;
};

static const struct command commands[] = {
    {"list", false, command_list, NULL, "the VMs, their state and CPU time"},
    {"stat", false, NULL, command_stat,
     "[VM]: its exits, and the cycles that each took in the core"},
    {"cpus", false, command_cpus, NULL, "the processors, their APIC ids and state"},
    {"sched", false, command_sched, NULL,
     "[reset]: what each processor has to do, its slots (counted anew), and who runs where"},
    {"worst", false, command_worst, NULL,
     "the longest that the core took on each processor (CHECKS)"},
    {"hole", true, command_hole, NULL,
     "MIB: takes 2 MiB there away from the first VM, and gives them back (CHECKS)"},
    {"memory", false, command_memory, NULL, "what the core and the guests use"},
    {"log", false, command_log, NULL, "the core's log, from its first line on"},
    {"start", true, NULL, command_start, "VM: starts it"},
    {"stop", true, NULL, command_stop, "VM: ends it at once"},
    {"reset", true, NULL, command_reset, "VM: starts it anew"},
    {"shutdown", true, NULL, command_button, "VM: presses its power button"},
    {"nmi", true, NULL, command_nmi, "VM: sends it an NMI"},
    {"dump", true, NULL, command_dump, "VM: shows its registers"},
    {"isolation", false, command_peek, NULL, "checks that no guest memory is mapped in the core"},
    {"measured", false, command_measurements, NULL, "what the TPM was told before the core began"},
    {"crash", true, command_crash, NULL,
     "core, console (inside of its lock), or number of another CPU: crashes the core, to see its "
     "report"},
    {"poweroff", false, command_off, NULL, "powers the machine off"},
    {"help", false, command_help, NULL, "this list"},
};

static void command_help(const char *arg)
{
    print("Bulkhead %s", bulkhead_version);
    for (unsigned int i = 0; i < ARRAY_SIZE(commands); i++)
        print("  %-10s %s", commands[i].name, commands[i].help);
}

static void run(const struct command *c, const char *arg)
{
    if (c->has_arg && arg[0] == '\0') {
        print("%s: expected a name after it", c->name);
        return;
    }
    if (c->run) {
        c->run(arg);
        return;
    }
    for (unsigned int i = 0; i < vm_count; i++) {
        if (arg[0] == '\0') {
            print("%s:", vm_name(vms[i]));
            c->on_vm(vms[i]);
        } else if (strcmp(vm_name(vms[i]), arg) == 0) {
            c->on_vm(vms[i]);
            return;
        }
    }
    if (arg[0] == '\0')
        return;
    print("found \"%s\", expected a VM's name (see list)", arg);
}

static void execute(void)
{
    char *arg = strchr(line, ' ');

    if (arg) {
        *arg++ = '\0';
        while (*arg == ' ')
            arg++;
    }
    if (line[0] == '\0')
        return;
    for (unsigned int i = 0; i < ARRAY_SIZE(commands); i++) {
        if (strcmp(commands[i].name, line) == 0) {
            run(&commands[i], arg ? arg : "");
            return;
        }
    }
    print("found \"%s\", expected one of the commands that help lists", line);
}

void monitor_redraw(void)
{
    console_monitor_write(PROMPT, sizeof(PROMPT) - 1);
    console_monitor_write(line, line_len);
}

bool monitor_line_open(void)
{
    return open;
}

void monitor_enter(void)
{
    open = true;
}

static void edit(char c)
{
    if (c == 0x7f || c == '\b') {
        if (line_len > 0) {
            line_len--;
            console_monitor_write("\b \b", 3);
        }
    } else if (c >= ' ' && c < 0x7f && line_len < LINE_MAX - 1) {
        line[line_len++] = c;
        console_monitor_write(&c, 1);
    }
}

NORETURN static void answer(void)
{
    for (;;) {
        console_answer_begin();
        line[line_len] = '\0';
        execute();
        line_len = 0;
        console_answer_end();
        answers = false;
        monitor_pause();
    }
}

bool monitor_answers(void)
{
    return answers;
}

void monitor_go_on(void)
{
    if (answer_stack == 0)
        answer_stack = stack_prepare(stack + ARRAY_SIZE(stack), answer);
    stack_exchange(&loop_stack, answer_stack);
}

void monitor_pause(void)
{
    stack_exchange(&answer_stack, loop_stack);
}

void monitor_input(uint8_t c)
{
    if (c == '\r' || c == '\n') {
        answers = true;
        monitor_go_on();
    } else {
        (void)console_acquire(0);
        edit((char)c);
        console_release();
    }
}

void monitor_power_off(void)
{
    vm_end_all();
}
