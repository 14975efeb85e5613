/* What each key of bulkhead.conf means, and which values it takes. */

#include "lib/string.h"
#include "vmm/config_internal.h"

#define STRING_OF(x) #x
#define STRING(x)    STRING_OF(x)

static const struct config_word log_levels[] = {
    {"error", LOG_ERROR}, {"warn", LOG_WARN}, {"info", LOG_INFO}, {"debug", LOG_DEBUG}, {NULL, 0}};
static const struct config_word done_actions[] = {{"poweroff", CONFIG_DONE_POWEROFF},
                                                  {"reboot", CONFIG_DONE_REBOOT},
                                                  {"halt", CONFIG_DONE_HALT},
                                                  {NULL, 0}};
static const struct config_word roles[] = {
    {"guest", CONFIG_ROLE_GUEST}, {"management", CONFIG_ROLE_MANAGEMENT}, {NULL, 0}};
static const struct config_word classes[] = {{"fair", CONFIG_CLASS_FAIR},
                                             {"dedicated", CONFIG_CLASS_DEDICATED},
                                             {"slots", CONFIG_CLASS_SLOTS},
                                             {NULL, 0}};
static const struct config_word entries[] = {{"auto", false}, {"32", true}, {NULL, 0}};
static const struct config_word answers[] = {{"no", false}, {"yes", true}, {NULL, 0}};

/* NULL when `s` is none of the words. */
INIT static const struct config_word *find_word(const struct config_word *words, struct text_span s)
{
    while (words->text != NULL && !text_equals(s, words->text))
        words++;
    return words->text != NULL ? words : NULL;
}

/* Stores a value in the section's structure; all are little-endian. */
INIT static void store(struct config_parser *p, const void *value)
{
    char *section = (char *)p->out;

    if (p->section == SECTION_VM)
        section = (char *)p->vm;
    else if (p->section == SECTION_CPU)
        section = (char *)p->cpu;
    memcpy(section + p->key->offset, value, p->key->size);
}

INIT static void set_word(struct config_parser *p, struct text_span value)
{
    const struct config_word *word = find_word(p->key->words, value);

    if (word != NULL)
        store(p, &word->value);
    else
        config_bad_value(p, value);
}

INIT static void set_number(struct config_parser *p, struct text_span value)
{
    const struct config_key *key = p->key;
    uint64_t number;

    if (key->number(value, &number) && number >= key->min && number <= key->max &&
        number % key->unit == 0)
        store(p, &number);
    else
        config_bad_value(p, value);
}

static_assert(CONFIG_POOL_MIN == 2 * MIB && CONFIG_POOL_MAX == 256 * MIB &&
                  CONFIG_VM_MEM_MIN == 2 * MIB && CONFIG_VM_MEM_MAX == 1024 * GIB &&
                  CONFIG_MEM_UNIT == 2 * MIB && CONFIG_SLICE_MIN_US == 100 &&
                  CONFIG_SLICE_MAX_US == 1000 * 1000 && CONFIG_MODULE_MAX == 64 &&
                  CONFIG_CMDLINE_MAX == 2048 && MAX_PCPUS == 64 &&
                  CONFIG_CAP_PER_VCPU * VM_MAX_VCPUS == 6400 && CONFIG_FRAME_MIN_US == 100 &&
                  CONFIG_FRAME_MAX_US == 10 * 1000 * 1000 && CONFIG_SLOT_MIN_US == 20,
              "the texts below name these limits");

#define PLACE(type, member) \
    .offset = offsetof(struct type, member), .size = sizeof(((struct type *)NULL)->member)
#define WORDS(list, type, member) PLACE(type, member), .words = (list)
#define NUMBER(how, from, to, step, type, member) \
    PLACE(type, member), .number = (how), .min = (from), .max = (to), .unit = (step)

/* clang-format off */
const struct config_key config_core_keys[] = {
    {"console", config_set_console, CONFIG_OPTIONAL, .expected =
     "serial, com1 to com4, 0xPORT (0x100 to 0xfff8), pci:BB:DD.F or mmio:0xADDRESS/STRIDE, each "
     "optionally with a baud rate such as com1,115200; screen; a list of these; or none"},
    {"log", set_word, CONFIG_OPTIONAL, "error, warn, info or debug",
     WORDS(log_levels, config, log)},
    {"slice", set_number, CONFIG_OPTIONAL, "100us to 1000ms, such as 5ms",
     NUMBER(text_duration, CONFIG_SLICE_MIN_US, CONFIG_SLICE_MAX_US, 1, config, slice_us)},
    {"memory", set_number, CONFIG_OPTIONAL, "2M to 256M in steps of 2M, such as 8M",
     NUMBER(text_size, CONFIG_POOL_MIN, CONFIG_POOL_MAX, CONFIG_MEM_UNIT, config, memory)},
    {"when-done", set_word, CONFIG_OPTIONAL, "poweroff, reboot or halt",
     WORDS(done_actions, config, when_done)},
    {"scrub-at-boot", set_word, CONFIG_OPTIONAL, "yes or no",
     WORDS(answers, config, scrub_at_boot)},
    {.name = NULL},
};
/* clang-format on */

/* Stores the name of a boot module; returns false after reporting what is wrong. */
INIT static bool take_module(struct config_parser *p, struct text_span value, const char **name)
{
    bool is_name = value.len >= 1 && value.len < CONFIG_MODULE_MAX;

    for (size_t i = 0; i < value.len; i++)
        is_name = is_name && strchr(" \t/\\\"", value.at[i]) == NULL;
    if (!is_name) {
        config_bad_value(p, value);
        return false;
    }
    const char *kept = config_keep(p, value);

    *name = kept != NULL ? kept : *name;
    return kept != NULL;
}

INIT static void set_kernel(struct config_parser *p, struct text_span value)
{
    p->vm->kernel_line = p->line;
    (void)take_module(p, value, &p->vm->kernel);
}

INIT static void set_initrd(struct config_parser *p, struct text_span value)
{
    p->vm->initrd_line = p->line;
    (void)take_module(p, value, &p->vm->initrd);
}

/* Its name, and what follows behind blanks. */
INIT static void set_module(struct config_parser *p, struct text_span value)
{
    struct vm_config *vm = p->vm;
    struct text_span name, rest;

    if (vm->module_count == CONFIG_VM_MODULES_MAX) {
        config_error(p, p->line, "module: found one more in [vm %s], expected at most %d", vm->name,
                     CONFIG_VM_MODULES_MAX);
        return;
    }
    if (p->modules_used == CONFIG_MODULES_MAX) {
        config_error(p, p->line, "module: found a %dth, expected at most %d in the whole file",
                     CONFIG_MODULES_MAX + 1, CONFIG_MODULES_MAX);
        return;
    }
    text_split_word(value, &name, &rest);
    if (rest.len >= CONFIG_ARGUMENTS_MAX) {
        config_error(p, p->line, "module: found %zu characters of arguments, expected at most %d",
                     rest.len, CONFIG_ARGUMENTS_MAX - 1);
        return;
    }
    struct config_module *module = &p->out->modules[p->modules_used];

    if (!take_module(p, name, &module->name))
        return;
    module->arguments = config_keep(p, rest);
    if (module->arguments == NULL)
        return;
    module->line = p->line;
    /* A VM's modules follow one another, as its section does not come back. */
    vm->modules = module - vm->module_count;
    vm->module_count++;
    p->modules_used++;
}

INIT static void set_cmdline(struct config_parser *p, struct text_span value)
{
    if (value.len >= CONFIG_CMDLINE_MAX) {
        config_error(p, p->line, "cmdline: found %zu characters, expected %s", value.len,
                     p->key->expected);
        return;
    }
    const char *kept = config_keep(p, value);

    p->vm->cmdline = kept != NULL ? kept : "";
}

/* One item of a list of CPUs: `3` or `0-3`. */
INIT static bool take_cpus(struct text_span item, uint64_t *cpus)
{
    struct text_span from_text, to_text;
    uint64_t from, to;
    bool is_range = text_split(item, '-', &from_text, &to_text);

    if (!text_decimal(from_text, &from))
        return false;
    to = from;
    if (is_range && !text_decimal(to_text, &to))
        return false;
    if (from > to || to >= MAX_PCPUS)
        return false;
    for (uint64_t i = from; i <= to; i++)
        *cpus |= BIT64(i);
    return true;
}

INIT static void set_cpus(struct config_parser *p, struct text_span value)
{
    struct text_span rest = value, item;
    uint64_t cpus = 0;
    bool more = true;

    while (more) {
        more = text_split(rest, ',', &item, &rest);
        if (!take_cpus(item, &cpus)) {
            config_bad_value(p, value);
            return;
        }
    }
    p->vm->cpus = cpus;
    p->vm->cpus_given = true;
    p->vm->cpus_line = p->line;
}

INIT static void set_role(struct config_parser *p, struct text_span value)
{
    set_word(p, value);
    for (unsigned int i = 0; i < p->out->vm_count; i++) {
        const struct vm_config *vm = &p->out->vms[i];

        if (p->vm->role == CONFIG_ROLE_MANAGEMENT && vm != p->vm &&
            vm->role == CONFIG_ROLE_MANAGEMENT) {
            config_error(p, p->line,
                         "role: found \"management\", expected guest: [vm %s] in line %u has that "
                         "role, and only one VM may",
                         vm->name, vm->line);
            return;
        }
    }
}

#define MODULE_EXPECTED \
    "the name of a boot module: up to 63 characters, no blanks, quotes or slashes"

/* clang-format off */
const struct config_key config_vm_keys[] = {
    {"kernel", set_kernel, CONFIG_REQUIRED, .expected = MODULE_EXPECTED},
    {"initrd", set_initrd, CONFIG_OPTIONAL, .expected = MODULE_EXPECTED},
    {"module", set_module, CONFIG_REPEATED,
     .expected = MODULE_EXPECTED "; its arguments may follow"},
    {"cmdline", set_cmdline, CONFIG_OPTIONAL, .expected = "up to 2047 characters (\"\" for none)"},
    {"memory", set_number, CONFIG_REQUIRED, "2M to 1T in steps of 2M, such as 256M",
     NUMBER(text_size, CONFIG_VM_MEM_MIN, CONFIG_VM_MEM_MAX, CONFIG_MEM_UNIT, vm_config, memory)},
    {"vcpus", set_number, CONFIG_OPTIONAL,
     "a number from 1 to " STRING(VM_MAX_VCPUS),
     NUMBER(text_decimal, 1, VM_MAX_VCPUS, 1, vm_config, vcpus)},
    {"cpus", set_cpus, CONFIG_OPTIONAL,
     .expected = "numbers of CPUs from 0 to 63, such as 0 or 0-3 or 0,2"},
    {"class", set_word, CONFIG_OPTIONAL, "fair, dedicated or slots",
     WORDS(classes, vm_config, sched_class)},
    {"weight", set_number, CONFIG_OPTIONAL, "a number from 1 to " STRING(CONFIG_WEIGHT_MAX),
     NUMBER(text_decimal, 1, CONFIG_WEIGHT_MAX, 1, vm_config, weight)},
    {"cap", set_number, CONFIG_OPTIONAL, "percent of a CPU, a number from 1 to 6400",
     NUMBER(text_decimal, 1, CONFIG_CAP_PER_VCPU * VM_MAX_VCPUS, 1, vm_config, cap)},
    {"role", set_role, CONFIG_OPTIONAL, "guest or management", WORDS(roles, vm_config, role)},
    {"autostart", set_word, CONFIG_OPTIONAL, "yes or no", WORDS(answers, vm_config, autostart)},
    {"entry", set_word, CONFIG_OPTIONAL, "auto or 32", WORDS(entries, vm_config, entry32)},
    {.name = NULL},
};
const struct config_key config_cpu_keys[] = {
    {"frame", set_number, CONFIG_REQUIRED, "100us to 10s, such as 10ms",
     NUMBER(text_duration, CONFIG_FRAME_MIN_US, CONFIG_FRAME_MAX_US, 1, config_cpu, frame_us)},
    {"slot", config_set_slot, CONFIG_REPEATED, .expected =
     "VM.VCPU OFFSET LENGTH [share] with a length of 20us at least, such as rtos.0 2ms 500us"},
    {.name = NULL},
};
/* clang-format on */

static_assert(ARRAY_SIZE(config_core_keys) <= CONFIG_KEYS_MAX &&
                  ARRAY_SIZE(config_vm_keys) <= CONFIG_KEYS_MAX &&
                  ARRAY_SIZE(config_cpu_keys) <= CONFIG_KEYS_MAX,
              "struct config_parser remembers each key's line");
