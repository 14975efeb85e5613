#include "boot/uefi/names.h"

#include "lib/string.h"
#include "vmm/config_text.h"

static bool is_name(struct text_span s)
{
    if (s.len == 0 || s.len >= BOOT_MODULE_NAME_MAX)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.at[i] <= ' ' || s.at[i] > '~' || s.at[i] == '/' || s.at[i] == '\\' || s.at[i] == '"')
            return false;
    return true;
}

static void add(struct file_names *names, struct text_span s)
{
    if (!is_name(s))
        return;
    for (unsigned int i = 0; i < names->count; i++)
        if (text_equals(s, names->name[i]))
            return;
    if (names->count == BOOT_MODULES_MAX) {
        names->too_many = true;
        return;
    }
    char *name = names->name[names->count++];

    memcpy(name, s.at, s.len);
    name[s.len] = '\0';
}

static bool is_vm_section(struct text_span line)
{
    struct text_span inner, word, rest;

    (void)text_split(line, ']', &inner, &rest);
    inner = text_trim((struct text_span){inner.at + 1, inner.len - 1});
    text_split_word(inner, &word, &rest);
    return text_equals(word, "vm");
}

void names_find(struct file_names *names, const char *text, size_t size)
{
    struct text_span rest = {text, size}, line, key, value, arguments;
    bool in_vm = false, open_quote;

    if (text_starts_with(rest, UTF8_BOM))
        rest = (struct text_span){text + strlen(UTF8_BOM), size - strlen(UTF8_BOM)};
    names->count = 0;
    names->too_many = false;
    add(names, (struct text_span){CONFIG_FILE, strlen(CONFIG_FILE)});
    while (text_next_line(&rest, &line)) {
        line = text_trim(text_strip_comment(line, &open_quote));
        if (text_starts_with(line, "[")) {
            in_vm = is_vm_section(line);
            continue;
        }
        if (!in_vm || !text_split(line, '=', &key, &value))
            continue;
        (void)text_unquote(&value);
        if (text_equals(key, "module")) {
            text_split_word(value, &value, &arguments);
            add(names, value);
        } else if (text_equals(key, "kernel") || text_equals(key, "initrd")) {
            add(names, value);
        }
    }
}
