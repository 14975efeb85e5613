#include "vmm/monitor.h"

#include "arch/x86/mm/frame_alloc.h"
#include "arch/x86/mm/page_alloc.h"
#include "arch/x86/percpu.h"
#include "arch/x86/power.h"
#include "arch/x86/time.h"
#include "drivers/uart.h"
#include "lib/error.h"
#include "lib/log_ring.h"
#include "lib/string.h"
#include "lib/version.h"
#include "vmm/console.h"
#include "vmm/isolation.h"
#include "vmm/platform.h"
#include "vmm/vm.h"

#define PROMPT   "bulkhead> "
#define LINE_MAX 80

static char line[LINE_MAX];
static unsigned int line_len;
static bool open;

static void print_plain(const char *text, size_t len)
{
    console_monitor_write(text, len);
    console_monitor_write("\r\n", 2);
}

#define print(...) emit_line(print_plain, __VA_ARGS__)

static struct vm *find_vm(const char *name)
{
    for (unsigned int i = 0; i < vm_count; i++) {
        if (strcmp(vm_name(vms[i]), name) == 0) {
            return vms[i];
        }
    }
    print("found \"%s\", expected a VM's name (see list)", name);
    return NULL;
}

static const char *state_of(const struct vm *vm)
{
    if (vm->state != VM_RUNNING) {
        return vm->state == VM_OFF ? "off" : "ending";
    }
    return vm->vcpu->state == VCPU_HALTED ? "idle" : "running";
}

static void command_list(const char *arg)
{
    print("  %-15s %-8s %9s %12s  %s", "VM", "state", "memory", "CPU time ms", "");
    for (unsigned int i = 0; i < vm_count; i++) {
        const struct vm *vm = vms[i];
        print("%u %-15s %-8s %5llu MiB %12llu  %s", i + 1, vm_name(vm), state_of(vm),
              (unsigned long long)(vm->config->memory / MIB),
              (unsigned long long)(tsc_span_to_ns(vm->vcpu->run_tsc) / 1000000),
              vm->state == VM_RUNNING ? "" : vm->end_text);
    }
    print("  idle %llu ms of %llu ms",
          (unsigned long long)(tsc_span_to_ns(this_cpu->idle_tsc) / 1000000),
          (unsigned long long)(time_now_ns() / 1000000));
}

static void command_exits(const char *arg)
{
    for (unsigned int i = 0; i < vm_count; i++) {
        print("%s:", vm_name(vms[i]));
        for (unsigned int k = 0; k < EXIT_KINDS; k++) {
            if (vms[i]->vcpu->exits[k]) {
                print("  %-10s %llu", exit_kind_name(k),
                      (unsigned long long)vms[i]->vcpu->exits[k]);
            }
        }
    }
}

static void command_memory(const char *arg)
{
    print("core: %llu KiB of pages, %llu KiB free",
          (unsigned long long)(page_total_count() * PAGE_SIZE_4K / KIB),
          (unsigned long long)(page_free_count() * PAGE_SIZE_4K / KIB));
    print("guests: %llu MiB, %llu MiB free", (unsigned long long)(frame_total_bytes() / MIB),
          (unsigned long long)(frame_free_bytes() / MIB));
}

static void command_log(const char *arg)
{
    log_replay(200, print_plain);
}

static void command_dump(const char *arg)
{
    struct vm *vm = find_vm(arg);

    if (vm) {
        vm_dump(vm, print_plain);
    }
}

static void command_start(const char *arg)
{
    struct vm *vm = find_vm(arg);

    if (vm && vm_start(vm) == -BH_EBUSY) {
        print("%s is running already", arg);
    }
}

static void command_stop(const char *arg)
{
    struct vm *vm = find_vm(arg);

    if (vm && vm->state == VM_OFF) {
        print("%s is off already", arg);
    } else if (vm && vm->state == VM_ENDING) {
        vm_stop(vm, "stopped by the monitor");
    } else if (vm) {
        vm_request(vm, VM_REQUEST_OFF, "stopped by the monitor");
    }
}

static void command_reset(const char *arg)
{
    struct vm *vm = find_vm(arg);

    if (vm && vm->state != VM_RUNNING) {
        print("%s is off", arg);
    } else if (vm) {
        vm_request(vm, VM_REQUEST_RESET, "reset by the monitor");
    }
}

static void command_nmi(const char *arg)
{
    struct vm *vm = find_vm(arg);

    if (vm && vm->state == VM_RUNNING) {
        vcpu_nmi(vm->vcpu);
    }
}

static void command_button(const char *arg)
{
    struct vm *vm = find_vm(arg);

    if (vm && vm->state == VM_RUNNING) {
        platform_power_button(vm);
    }
}

static void command_crash(const char *arg)
{
    if (strcmp(arg, "core") != 0) {
        print("this stops the whole machine to show a crash report: type \"crash core\"");
        return;
    }
    __asm__ volatile("movq $0, (%0)" ::"r"(0x10ul) : "memory");
}

static void command_peek(const char *arg)
{
    isolation_check(print_plain);
}

static void command_off(const char *arg)
{
    monitor_power_off();
}

static void command_help(const char *arg);

struct command {
    const char *name;
    bool has_arg;
    void (*run)(const char *arg);
    const char *help;
};

static const struct command commands[] = {
    {"list", false, command_list, "the VMs, their state and CPU time"},
    {"exits", false, command_exits, "how often each VM left the guest, by kind"},
    {"memory", false, command_memory, "what the core and the guests use"},
    {"log", false, command_log, "the core's log"},
    {"start", true, command_start, "VM: starts it"},
    {"stop", true, command_stop, "VM: ends it at once"},
    {"reset", true, command_reset, "VM: starts it anew"},
    {"shutdown", true, command_button, "VM: presses its power button"},
    {"nmi", true, command_nmi, "VM: sends it an NMI"},
    {"dump", true, command_dump, "VM: shows its registers"},
    {"isolation", false, command_peek, "checks that no guest memory is mapped in the core"},
    {"crash", true, command_crash, "core: crashes the core, to see its report"},
    {"poweroff", false, command_off, "powers the machine off"},
    {"help", false, command_help, "this list"},
};

static void command_help(const char *arg)
{
    print("Bulkhead %s", bulkhead_version);
    for (unsigned int i = 0; i < ARRAY_SIZE(commands); i++) {
        print("  %-10s %s", commands[i].name, commands[i].help);
    }
}

static void execute(void)
{
    char *arg = strchr(line, ' ');

    if (arg) {
        *arg++ = '\0';
        while (*arg == ' ') {
            arg++;
        }
    }
    if (line[0] == '\0') {
        return;
    }
    for (unsigned int i = 0; i < ARRAY_SIZE(commands); i++) {
        const struct command *c = &commands[i];
        if (strcmp(c->name, line) != 0) {
            continue;
        }
        if (c->has_arg && (!arg || *arg == '\0')) {
            print("%s: expected a name after it", c->name);
        } else {
            c->run(arg ? arg : "");
        }
        return;
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

void monitor_input(uint8_t c)
{
    char byte = (char)c;

    if (c == '\r' || c == '\n') {
        console_monitor_write("\r\n", 2);
        line[line_len] = '\0';
        execute();
        line_len = 0;
        monitor_redraw();
    } else if (c == 0x7f || c == '\b') {
        if (line_len > 0) {
            line_len--;
            console_monitor_write("\b \b", 3);
        }
    } else if (c >= ' ' && c < 0x7f && line_len < LINE_MAX - 1) {
        line[line_len++] = byte;
        console_monitor_write(&byte, 1);
    }
}

void monitor_power_off(void)
{
    for (unsigned int i = 0; i < vm_count; i++) {
        vm_stop(vms[i], "the machine is powered off");
    }
    while (vm_ending_count > 0) {
        vm_scrub_step();
    }
    log_info("powering off");
    power_off();
}
