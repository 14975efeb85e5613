#include "boot/core_config.h"

#include "arch/x86/virt.h"
#include "boot/boot_info.h"
#include "boot/boot_serial.h"
#include "lib/error.h"
#include "lib/log_ring.h"
#include "lib/string.h"
#include "vmm/console_screen.h"

struct config core_config;

bool core_check_only INIT_DATA;
static bool console_from_cmdline INIT_DATA;
static bool log_from_cmdline INIT_DATA;

INIT void core_config_defaults(void)
{
    boot_serial_first();
}

/* Where there is none, it is no mistake to ask for it as long as something else is left. */
INIT static void apply_screen(const struct config *config)
{
    if (config->screen == CONFIG_SCREEN_NO)
        console_has_screen = false;
    else if (config->screen == CONFIG_SCREEN_YES && !console_has_screen)
        log_warn("console: the boot loader has set up no screen that can be used");
}

INIT static void report_cmdline(void *ctx, unsigned int line, const char *text)
{
    log_error("core command line: %s", text);
}

/* One `key=value` of the command line, read by the file's own parser. core_config_load() fills
 * core_config anew later. */
INIT static void apply_word(const char *key, const char *word, size_t len)
{
    const struct config_sink sink = {.report = report_cmdline};
    size_t start = strlen(key) + 1;

    if (strcmp(key, "on") == 0 || strcmp(key, "off") == 0) {
        virt_turn(strcmp(key, "on") == 0, word + start, len - start);
        return;
    }
    if (config_parse_core_key(&core_config, word, len, &sink) != 0)
        return;
    if (strcmp(key, "console") == 0) {
        console_from_cmdline = true;
        apply_screen(&core_config);
        boot_serial_choose(&core_config);
    } else {
        log_from_cmdline = true;
        log_set_level(core_config.log);
    }
}

INIT void core_config_cmdline(const char *cmdline)
{
    static const char *const keys[] = {"console", "log", "off", "on"};
    const char *word = cmdline;

    while (*word != '\0') {
        size_t len = 0;
        while (word[len] != '\0' && word[len] != ' ')
            len++;
        if (len == strlen(BOOT_CHECK_WORD) && strncmp(word, BOOT_CHECK_WORD, len) == 0)
            core_check_only = true;
        for (unsigned int i = 0; i < ARRAY_SIZE(keys); i++) {
            size_t k = strlen(keys[i]);
            if (len > k && strncmp(word, keys[i], k) == 0 && word[k] == '=')
                apply_word(keys[i], word, len);
        }
        word += len;
        while (*word == ' ')
            word++;
    }
}

INIT static void report_file(void *ctx, unsigned int line, const char *text)
{
    log_error("%s:%u: %s", CONFIG_FILE_NAME, line, text);
}

INIT int core_config_load(const struct phys_view *memory)
{
    const struct config_sink sink = {.report = report_file};
    static const char usual[] = "log=info";
    const char *names[BOOT_MODULES_MAX];
    const struct boot_module *file = NULL;

    if (core_check_only)
        return config_parse_core_key(&core_config, usual, strlen(usual), &sink);
    for (unsigned int i = 0; i < boot_info.module_count; i++) {
        names[i] = boot_info.modules[i].name;
        if (strcmp(names[i], CONFIG_FILE_NAME) == 0)
            file = &boot_info.modules[i];
    }
    if (!file) {
        log_error("found no boot module called %s, expected one beside kernel and initrd",
                  CONFIG_FILE_NAME);
        return -BH_ENOENT;
    }
    if (file->base >= memory->limit || file->size > memory->limit - file->base) {
        log_error("%s: lies at 0x%llx, expected it below 4 GiB", CONFIG_FILE_NAME, LLU(file->base));
        return -BH_ERANGE;
    }
    int err =
        config_parse(&core_config, (const char *)memory->base + file->base, file->size, &sink);
    if (!err && config_check_modules(&core_config, names, boot_info.module_count, &sink) > 0)
        err = -BH_EINVAL;
    if (err)
        return err;
    if (!console_from_cmdline) {
        apply_screen(&core_config);
        boot_serial_choose(&core_config);
    }
    if (!log_from_cmdline)
        log_set_level(core_config.log);
    return 0;
}
