/* Lines and sections of bulkhead.conf. All errors of a file are found in one go, so that a person
 * need not boot a machine once for each. */

#include "vmm/config.h"

#include "lib/error.h"
#include "lib/format.h"
#include "lib/string.h"
#include "vmm/config_internal.h"

static_assert(sizeof(struct config) < 256 * KIB, "struct config stays moderate");

#define UTF8_BOM    "\xef\xbb\xbf"
#define UTF16LE_BOM "\xff\xfe"
#define UTF16BE_BOM "\xfe\xff"

INIT void config_error(struct config_parser *p, unsigned int line, const char *fmt, ...)
{
    char text[CONFIG_TEXT_MAX];
    va_list ap;

    p->errors++;
    if (p->errors > CONFIG_MAX_ERRORS) {
        p->first_hidden = p->errors == CONFIG_MAX_ERRORS + 1 ? line : p->first_hidden;
        return;
    }
    va_start(ap, fmt);
    format_v(text, sizeof(text), fmt, ap);
    va_end(ap);
    p->sink->report(p->sink->ctx, line, text);
}

INIT void config_bad_value_expected(struct config_parser *p, struct text_span value,
                                    const char *expected)
{
    config_error(p, p->line, "%s: found \"%.*s%s\", expected %s", p->key->name, SHOW(value),
                 expected);
}

INIT void config_bad_value(struct config_parser *p, struct text_span value)
{
    config_bad_value_expected(p, value, p->key->expected);
}

INIT static void set_defaults(struct config *c)
{
    memset(c, 0, offsetof(struct config, arena));
    c->serial_count = 1;
    c->serial[0] = (struct config_serial){.kind = CONFIG_SERIAL_AUTO};
    c->screen = CONFIG_SCREEN_IF_THERE;
    c->log = LOG_INFO;
    c->slice_us = CONFIG_SLICE_DEFAULT_US;
    c->memory = CONFIG_POOL_DEFAULT;
    c->when_done = CONFIG_DONE_POWEROFF;
}

INIT static void set_vm_defaults(struct vm_config *vm)
{
    memset(vm, 0, sizeof(*vm));
    vm->kernel = vm->initrd = vm->cmdline = "";
    vm->cpus = UINT64_MAX;
    vm->vcpus = 1;
    vm->weight = CONFIG_WEIGHT_DEFAULT;
    vm->role = CONFIG_ROLE_GUEST;
    vm->autostart = true;
}

INIT const char *config_keep(struct config_parser *p, struct text_span s)
{
    char *kept = p->out->arena + p->arena_used;

    if (s.len == 0)
        return "";
    if (s.len >= CONFIG_ARENA_SIZE - p->arena_used) {
        config_error(p, p->line,
                     "%s: found no room for %zu more characters, expected at most %d in all names, "
                     "arguments and command lines together",
                     p->key->name, s.len, CONFIG_ARENA_SIZE);
        return NULL;
    }
    memcpy(kept, s.at, s.len);
    kept[s.len] = '\0';
    p->arena_used += s.len + 1;
    return kept;
}

/* Of a section that has keys. */
INIT static const struct config_key *section_keys(const struct config_parser *p)
{
    static const struct config_key *const keys[SECTION_COUNT] = {
        [SECTION_CORE] = config_core_keys,
        [SECTION_VM] = config_vm_keys,
        [SECTION_CPU] = config_cpu_keys,
    };
    return keys[p->section];
}

INIT static void check_required(struct config_parser *p)
{
    const struct config_key *keys = section_keys(p);
    char section[CONFIG_NAME_MAX + 8];

    if (p->section == SECTION_CPU)
        format(section, sizeof(section), "cpu %u", (unsigned int)(p->cpu - p->out->cpus));
    else
        format(section, sizeof(section), "vm %s", p->vm->name[0] != '\0' ? p->vm->name : "?");
    for (unsigned int i = 0; keys[i].name != NULL; i++) {
        if (keys[i].times == CONFIG_REQUIRED && p->key_lines[i] == 0) {
            config_error(p, p->section_line, "%s: found nothing in [%s], expected %s", keys[i].name,
                         section, keys[i].expected);
        }
    }
}

/* What can be said only when a section is complete. */
INIT static void end_section(struct config_parser *p)
{
    if (p->section == SECTION_VM && p->errors == p->section_errors)
        config_check_vm(p);
    if (p->section == SECTION_VM || p->section == SECTION_CPU)
        check_required(p);
    if (p->errors == p->section_errors)
        return;
    if (p->section == SECTION_VM) {
        size_t index = (size_t)(p->vm - p->out->vms);

        p->bad_vms[index / 64] |= BIT64(index % 64);
        p->vms_missing |= p->vm->name[0] == '\0';
    }
    p->vms_missing |= p->section == SECTION_SKIPPED;
    p->slots_missing |= p->section == SECTION_SKIPPED || p->section == SECTION_CPU;
}

INIT static bool is_name_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

/* Checks the name of a new VM; reports what is wrong with it. */
INIT static bool is_good_name(struct config_parser *p, struct text_span name)
{
    static const char *const reserved[] = {"all", "core", "none", "vm"};
    bool is_good = name.len >= 1 && name.len < CONFIG_NAME_MAX;

    for (size_t i = 0; i < name.len; i++)
        is_good = is_good && is_name_char(name.at[i]);
    if (!is_good) {
        config_error(p, p->line,
                     "section: found VM name \"%.*s%s\", expected 1 to 15 characters out of A-Z "
                     "a-z 0-9 _ . -",
                     SHOW(name));
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(reserved); i++) {
        if (text_equals(name, reserved[i])) {
            config_error(p, p->line,
                         "section: found VM name \"%s\", expected a name that is not a "
                         "reserved word (all, core, none, vm)",
                         reserved[i]);
            return false;
        }
    }
    for (unsigned int i = 0; i < p->out->vm_count; i++) {
        if (text_equals(name, p->out->vms[i].name)) {
            config_error(p, p->line,
                         "section: found a second [vm %s], expected a name of its own: the first "
                         "is in line %u",
                         p->out->vms[i].name, p->out->vms[i].line);
            return false;
        }
    }
    return true;
}

INIT static void begin_vm(struct config_parser *p, struct text_span name)
{
    if (p->out->vm_count == CONFIG_MAX_VMS) {
        config_error(p, p->line, "vm: found a %dth, [vm %.*s%s], expected at most %d",
                     CONFIG_MAX_VMS + 1, SHOW(name), CONFIG_MAX_VMS);
        return;
    }
    struct vm_config *vm = &p->out->vms[p->out->vm_count];
    bool is_good = is_good_name(p, name);

    /* The keys of a VM with a bad name are looked at all the same. */
    set_vm_defaults(vm);
    if (is_good)
        memcpy(vm->name, name.at, name.len);
    vm->line = p->line;
    p->out->vm_count++;
    p->section = SECTION_VM;
    p->vm = vm;
}

INIT static void begin_core(struct config_parser *p)
{
    p->section = SECTION_CORE;
    if (p->core_line != 0) {
        config_error(p, p->line,
                     "section: found a second [core], expected one: the first is in line %u",
                     p->core_line);
    } else {
        p->core_line = p->line;
    }
}

INIT static void begin_cpu(struct config_parser *p, struct text_span name)
{
    uint64_t number;

    if (!text_decimal(name, &number) || number >= MAX_PCPUS) {
        config_error(p, p->line, "section: found CPU \"%.*s%s\", expected a number from 0 to %d",
                     SHOW(name), MAX_PCPUS - 1);
        return;
    }
    struct config_cpu *cpu = &p->out->cpus[number];

    if (cpu->line != 0) {
        config_error(p, p->line,
                     "section: found a second [cpu %u], expected one: the first is in line %u",
                     (unsigned int)number, cpu->line);
        return;
    }
    cpu->line = p->line;
    cpu->slots = &p->out->slots[p->slots_used];
    p->section = SECTION_CPU;
    p->cpu = cpu;
}

INIT static void unknown_section(struct config_parser *p, struct text_span text,
                                 struct text_span word)
{
    const char *hint = "";

    if (text_resembles(word, "core"))
        hint = "; did you mean [core]?";
    else if (text_resembles(word, "vm"))
        hint = "; did you mean [vm NAME]?";
    else if (text_resembles(word, "cpu"))
        hint = "; did you mean [cpu N]?";
    config_error(p, p->line, "section: found \"%.*s%s\", expected [core], [vm NAME] or [cpu N]%s",
                 SHOW(text), hint);
}

/* `text` is a line that begins with '['. */
INIT static void parse_section(struct config_parser *p, struct text_span text)
{
    struct text_span inner = {text.at + 1, text.len - 1}, behind, word, name;
    bool is_closed = text_split(inner, ']', &inner, &behind);

    end_section(p);
    memset(p->key_lines, 0, sizeof(p->key_lines));
    p->section_line = p->line;
    p->section_errors = p->errors;
    p->section = SECTION_SKIPPED;
    if (!is_closed) {
        config_error(p, p->line, "section: found \"%.*s%s\", expected a closing ]", SHOW(text));
        return;
    }
    if (behind.len > 0 && behind.at[0] != ';' && behind.at[0] != '#') {
        config_error(p, p->line,
                     "section: found \"%.*s%s\" behind the ], expected nothing but a comment",
                     SHOW(behind));
    }
    text_split_word(inner, &word, &name);
    if (text_equals(word, "vm"))
        begin_vm(p, name);
    else if (text_equals(word, "cpu"))
        begin_cpu(p, name);
    else if (text_equals(inner, "core"))
        begin_core(p);
    else
        unknown_section(p, text, word);
}

INIT static void unknown_key(struct config_parser *p, struct text_span name)
{
    char list[128] = "";
    size_t used = 0;
    const struct config_key *keys = section_keys(p);
    const char *similar = NULL;

    for (unsigned int i = 0; keys[i].name != NULL; i++) {
        used += (size_t)format(list + used, sizeof(list) - used, "%s%s", i == 0 ? "" : ", ",
                               keys[i].name);
        used = MIN(used, sizeof(list) - 1);
        if (similar == NULL && text_resembles(name, keys[i].name))
            similar = keys[i].name;
    }
    config_error(p, p->line, "%.*s%s: found an unknown key, expected one of %s%s%s%s", SHOW(name),
                 list, similar != NULL ? "; did you mean " : "", similar != NULL ? similar : "",
                 similar != NULL ? "?" : "");
}

INIT static void parse_value(struct config_parser *p, unsigned int index, struct text_span value)
{
    if (p->key_lines[index] != 0 && p->key->times != CONFIG_REPEATED) {
        config_error(p, p->line, "%s: found a second time, expected once: the first is in line %u",
                     p->key->name, p->key_lines[index]);
        return;
    }
    p->key_lines[index] = p->line;
    if (value.len == 0) {
        config_error(p, p->line, "%s: found nothing, expected %s", p->key->name, p->key->expected);
        return;
    }
    (void)text_unquote(&value);
    p->key->set(p, value);
}

/* `text` is a line that is neither empty nor a section. */
INIT static void parse_key(struct config_parser *p, struct text_span text, bool open_quote)
{
    struct text_span name, value;

    if (!text_split(text, '=', &name, &value) || name.len == 0) {
        config_error(p, p->line, "line: found \"%.*s%s\", expected KEY = VALUE or [SECTION]",
                     SHOW(text));
        return;
    }
    if (open_quote) {
        config_error(p, p->line,
                     "%.*s%s: found an opening quote without a closing one, expected both or none",
                     SHOW(name));
        return;
    }
    if (p->section == SECTION_NONE) {
        config_error(p, p->line,
                     "%.*s%s: found before the first section, expected [core] or [vm NAME] above "
                     "it",
                     SHOW(name));
        return;
    }
    if (p->section == SECTION_SKIPPED)
        return; /* the section's own error has been reported */
    const struct config_key *keys = section_keys(p);

    for (unsigned int i = 0; keys[i].name != NULL; i++) {
        if (text_equals(name, keys[i].name)) {
            p->key = &keys[i];
            parse_value(p, i, value);
            return;
        }
    }
    unknown_key(p, name);
}

INIT static void parse_line(struct config_parser *p, struct text_span line)
{
    bool open_quote;
    uint8_t byte;

    if (line.len > CONFIG_LINE_MAX) {
        config_error(p, p->line, "line: found %zu characters, expected at most %d", line.len,
                     CONFIG_LINE_MAX);
        return;
    }
    struct text_span text = text_trim(text_strip_comment(line, &open_quote));

    if (text_find_unprintable(line, true, &byte)) {
        config_error(p, p->line, "line: found byte 0x%02x, expected printable text", byte);
        return;
    }
    if (text_find_unprintable(text, false, &byte)) {
        config_error(p, p->line, "line: found byte 0x%02x, expected plain ASCII outside comments",
                     byte);
        return;
    }
    if (text.len == 0)
        return;
    if (text.at[0] == '[')
        parse_section(p, text);
    else
        parse_key(p, text, open_quote);
}

/* Whether the file as a whole can be a text for this parser; takes the byte order mark off. */
INIT static bool is_text(struct config_parser *p, struct text_span *file)
{
    if (file->len > CONFIG_FILE_MAX) {
        config_error(p, 1, "file: found %zu bytes, expected at most %d", file->len,
                     CONFIG_FILE_MAX);
        return false;
    }
    if (text_starts_with(*file, UTF16LE_BOM) || text_starts_with(*file, UTF16BE_BOM)) {
        config_error(p, 1, "file: found UTF-16 text, expected ASCII or UTF-8");
        return false;
    }
    if (text_starts_with(*file, UTF8_BOM)) {
        file->at += strlen(UTF8_BOM);
        file->len -= strlen(UTF8_BOM);
    }
    return true;
}

INIT static void parse_lines(struct config_parser *p, struct text_span file)
{
    struct text_span line;

    while (text_next_line(&file, &line)) {
        p->line++;
        parse_line(p, line);
    }
    end_section(p);
    config_check_cpus(p);
    if (p->out->vm_count == 0 && p->errors == 0)
        config_error(p, MAX(p->line, 1u), "file: found no VM, expected at least one [vm NAME]");
}

INIT int config_parse(struct config *out, const char *text, size_t len,
                      const struct config_sink *sink)
{
    struct config_parser p = {.out = out, .sink = sink, .section = SECTION_NONE};
    struct text_span file = {text, len};

    set_defaults(out);
    if (is_text(&p, &file))
        parse_lines(&p, file);
    if (p.errors == 0)
        return 0;
    if (p.errors > CONFIG_MAX_ERRORS) {
        char more[64];

        format(more, sizeof(more), "and %u more errors from here on", p.errors - CONFIG_MAX_ERRORS);
        sink->report(sink->ctx, p.first_hidden, more);
    }
    set_defaults(out);
    return -BH_EINVAL;
}

INIT int config_parse_core_key(struct config *out, const char *text, size_t len,
                               const struct config_sink *sink)
{
    struct config_parser p = {.out = out, .sink = sink, .section = SECTION_CORE};
    struct text_span line = {text, len};

    set_defaults(out);
    p.line = 1;
    parse_line(&p, line);
    return p.errors == 0 ? 0 : -BH_EINVAL;
}

/* The boot modules, for config_check_modules(). */
struct module_names {
    const char *const *names;
    unsigned int count;
    char list[CONFIG_TEXT_MAX - 160];
    const struct config_sink *sink;
    unsigned int missing;
};

/* An empty name means that the VM wants none. */
INIT static void check_module(struct module_names *m, unsigned int line, const char *key,
                              const char *name)
{
    char text[CONFIG_TEXT_MAX];

    if (name[0] == '\0')
        return;
    for (unsigned int i = 0; i < m->count; i++)
        if (strcmp(name, m->names[i]) == 0)
            return;
    m->missing++;
    format(text, sizeof(text), "%s: found \"%s\", expected %s%s", key, name,
           m->list[0] != '\0' ? "one of the boot modules: " : "a boot module, and there is none",
           m->list);
    m->sink->report(m->sink->ctx, line, text);
}

INIT unsigned int config_check_modules(const struct config *config, const char *const *names,
                                       unsigned int count, const struct config_sink *sink)
{
    static const char cut[] = ", ...";
    struct module_names m = {.names = names, .count = count, .sink = sink};
    size_t used = 0;

    for (unsigned int i = 0; i < count; i++) {
        size_t room = sizeof(m.list) - used - sizeof(cut);
        size_t n = (size_t)format(m.list + used, room, "%s%s", i == 0 ? "" : ", ", names[i]);

        if (n >= room) {
            safe_copy(m.list + used, sizeof(m.list) - used, i == 0 ? "..." : cut);
            break;
        }
        used += n;
    }
    for (unsigned int i = 0; i < config->vm_count; i++) {
        const struct vm_config *vm = &config->vms[i];

        check_module(&m, vm->kernel_line, "kernel", vm->kernel);
        check_module(&m, vm->initrd_line, "initrd", vm->initrd);
        for (unsigned int k = 0; k < vm->module_count; k++)
            check_module(&m, vm->modules[k].line, "module", vm->modules[k].name);
    }
    return m.missing;
}
