/* Any bytes as bulkhead.conf. What the parser accepts must be within every bound that the core
 * relies on; what it refuses must have been reported, within the limits of a report. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "tests/fuzz/require.h"
#include "vmm/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned int reports;

static void count_report(void *ctx, unsigned int line, const char *text)
{
    size_t len = strlen(text);

    (void)ctx;
    REQUIRE(line > 0);
    REQUIRE(len > 0 && len < CONFIG_TEXT_MAX);
    for (size_t i = 0; i < len; i++)
        REQUIRE((text[i] >= ' ' && text[i] <= '~') || text[i] == '\t');
    reports++;
}

static void check_string(const char *s, size_t size, size_t least)
{
    size_t len = strnlen(s, size);

    REQUIRE(len < size && len >= least);
    for (size_t i = 0; i < len; i++)
        REQUIRE((s[i] >= ' ' && s[i] <= '~') || s[i] == '\t');
}

/* One that lies in the arena, or is empty. */
static void check_kept(const struct config *c, const char *s, size_t size, size_t least)
{
    REQUIRE(s[0] == '\0' || (s >= c->arena && s < c->arena + sizeof(c->arena)));
    check_string(s, size, least);
}

static void check_serial(const struct config_serial *port)
{
    REQUIRE(port->baud == 0 ||
            (port->baud >= CONFIG_BAUD_MIN && CONFIG_BAUD_MAX % port->baud == 0));
    switch (port->kind) {
    case CONFIG_SERIAL_AUTO: REQUIRE(port->address == 0); break;
    case CONFIG_SERIAL_IO:
        REQUIRE(port->address >= CONFIG_UART_PORT_MIN && port->address <= CONFIG_UART_PORT_MAX);
        REQUIRE(port->baud != 0);
        break;
    case CONFIG_SERIAL_MEMORY:
        REQUIRE(port->part == 1 || port->part == 2 || port->part == 4);
        REQUIRE(port->address >= MIB && port->address % port->part == 0);
        REQUIRE(port->address <= BIT64(52) - 8 * port->part);
        break;
    case CONFIG_SERIAL_PCI:
        REQUIRE(port->address <= 0xffff && port->baud != 0);
        REQUIRE(port->part >= 1 && port->part <= CONFIG_CARD_PORTS_MAX);
        break;
    default: abort();
    }
}

static void check_core(const struct config *c)
{
    REQUIRE(c->serial_count <= CONFIG_SERIAL_MAX && c->screen <= CONFIG_SCREEN_IF_THERE);
    for (unsigned int i = 0; i < c->serial_count; i++)
        check_serial(&c->serial[i]);
    REQUIRE(c->log < LOG_LEVELS);
    REQUIRE(c->slice_us >= CONFIG_SLICE_MIN_US && c->slice_us <= CONFIG_SLICE_MAX_US);
    REQUIRE(c->memory >= CONFIG_POOL_MIN && c->memory <= CONFIG_POOL_MAX);
    REQUIRE(c->memory % CONFIG_MEM_UNIT == 0);
    REQUIRE(c->when_done <= CONFIG_DONE_HALT);
}

static unsigned int count_bits(uint64_t mask)
{
    return (unsigned int)__builtin_popcountll(mask);
}

static void check_class(const struct config *c, const struct vm_config *vm)
{
    REQUIRE(vm->cpus_given == (vm->cpus_line != 0));
    if (vm->sched_class == CONFIG_CLASS_DEDICATED) {
        REQUIRE(vm->cpus_given && count_bits(vm->cpus) == vm->vcpus);
        for (unsigned int i = 0; i < c->vm_count; i++)
            REQUIRE(&c->vms[i] == vm || (c->vms[i].cpus & vm->cpus) == 0);
    } else {
        REQUIRE((vm->cpus & config_dedicated_cpus(c)) == 0);
    }
    if (vm->sched_class == CONFIG_CLASS_FAIR) {
        REQUIRE(vm->weight >= 1 && vm->weight <= CONFIG_WEIGHT_MAX);
        REQUIRE(vm->cap <= vm->vcpus * CONFIG_CAP_PER_VCPU);
    } else {
        REQUIRE(vm->weight == CONFIG_WEIGHT_DEFAULT && vm->cap == 0);
    }
}

/* Notes in `homes` on which CPU each vCPU has its slots. */
static void check_slots(const struct config *c, unsigned int number, uint8_t *homes)
{
    const struct config_cpu *cpu = &c->cpus[number];
    uint32_t end = 0;

    REQUIRE((cpu->frame_us != 0) == (cpu->line != 0));
    REQUIRE(cpu->slot_count <= CONFIG_CPU_SLOTS_MAX);
    for (unsigned int i = 0; i < cpu->slot_count; i++) {
        const struct config_slot *slot = &cpu->slots[i];
        const struct vm_config *vm = &c->vms[slot->vm];

        REQUIRE(slot >= c->slots && slot < c->slots + CONFIG_SLOTS_MAX);
        REQUIRE(slot->vm < c->vm_count && strcmp(vm->name, slot->vm_name) == 0);
        REQUIRE(vm->sched_class == CONFIG_CLASS_SLOTS && slot->vcpu < vm->vcpus);
        REQUIRE((vm->cpus & BIT64(number)) && slot->cpu == number);
        REQUIRE(slot->length_us >= CONFIG_SLOT_MIN_US && slot->offset_us >= end);
        REQUIRE(slot->line > cpu->line);
        end = slot->offset_us + slot->length_us;

        uint8_t *home = &homes[slot->vm * VM_MAX_VCPUS + slot->vcpu];
        REQUIRE(*home == 0 || *home == number + 1);
        *home = (uint8_t)(number + 1);
    }
    REQUIRE(end <= cpu->frame_us);
}

static void check_cpus(const struct config *c)
{
    static uint8_t homes[CONFIG_MAX_VMS * VM_MAX_VCPUS];

    memset(homes, 0, sizeof(homes));
    for (unsigned int i = 0; i < MAX_PCPUS; i++)
        check_slots(c, i, homes);
    for (unsigned int i = 0; i < c->vm_count; i++) {
        bool slots = c->vms[i].sched_class == CONFIG_CLASS_SLOTS;

        for (unsigned int k = 0; k < c->vms[i].vcpus; k++)
            REQUIRE((homes[i * VM_MAX_VCPUS + k] != 0) == slots);
    }
}

static void check_vms(const struct config *c)
{
    unsigned int managers = 0;

    REQUIRE(c->vm_count >= 1 && c->vm_count <= CONFIG_MAX_VMS);
    for (unsigned int i = 0; i < c->vm_count; i++) {
        const struct vm_config *vm = &c->vms[i];

        check_string(vm->name, sizeof(vm->name), 1);
        check_kept(c, vm->kernel, CONFIG_MODULE_MAX, 1);
        check_kept(c, vm->initrd, CONFIG_MODULE_MAX, 0);
        check_kept(c, vm->cmdline, CONFIG_CMDLINE_MAX, 0);
        REQUIRE(vm->module_count <= CONFIG_VM_MODULES_MAX);
        for (unsigned int k = 0; k < vm->module_count; k++) {
            check_kept(c, vm->modules[k].name, CONFIG_MODULE_MAX, 1);
            check_kept(c, vm->modules[k].arguments, CONFIG_ARGUMENTS_MAX, 0);
            REQUIRE(vm->modules[k].line > vm->line);
        }
        REQUIRE(vm->memory >= CONFIG_VM_MEM_MIN && vm->memory <= CONFIG_VM_MEM_MAX);
        REQUIRE(vm->memory % CONFIG_MEM_UNIT == 0);
        REQUIRE(vm->vcpus >= 1 && vm->vcpus <= VM_MAX_VCPUS);
        REQUIRE(vm->cpus != 0);
        check_class(c, vm);
        REQUIRE(vm->role == CONFIG_ROLE_GUEST || vm->role == CONFIG_ROLE_MANAGEMENT);
        REQUIRE(vm->line > 0 && vm->kernel_line > vm->line);
        managers += vm->role == CONFIG_ROLE_MANAGEMENT;
        for (unsigned int j = 0; j < i; j++)
            REQUIRE(strcmp(vm->name, c->vms[j].name) != 0);
    }
    REQUIRE(managers <= 1);
}

static void check_modules(const struct config *c, const struct config_sink *sink)
{
    static char long_name[64];
    const char *names[CONFIG_MAX_VMS + 8];

    memset(long_name, 'm', sizeof(long_name) - 1);
    for (unsigned int i = 0; i < 8; i++)
        names[i] = long_name;
    for (unsigned int i = 0; i < c->vm_count; i++)
        names[8 + i] = c->vms[i].kernel;
    reports = 0;
    REQUIRE(config_check_modules(c, names, 8, sink) == reports);
    reports = 0;
    REQUIRE(config_check_modules(c, names, 8 + c->vm_count, sink) == reports);
    REQUIRE(reports <= c->vm_count * (1 + CONFIG_VM_MODULES_MAX)); /* all kernels are there */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config config;
    const struct config_sink sink = {count_report, NULL};
    char *text = malloc(size); /* to the byte, for ASan */

    if (text == NULL)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    reports = 0;
    memset(&config, 0xa5, offsetof(struct config, arena));
    int err = config_parse(&config, text, size, &sink);

    free(text);
    check_core(&config);
    if (err == 0) {
        REQUIRE(reports == 0);
        check_vms(&config);
        check_cpus(&config);
        check_modules(&config, &sink);
    } else {
        REQUIRE(err == -BH_EINVAL && config.vm_count == 0);
        REQUIRE(reports > 0 && reports <= CONFIG_MAX_ERRORS + 1);
    }
    return 0;
}
