/* bulkhead.conf: every key with its bounds, every kind of error with its exact text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/unit/config_parse.h"

#define MODULE    "the name of a boot module: up to 63 characters, no blanks, quotes or slashes"
#define VM_MEMORY "2M to 1T in steps of 2M, such as 256M"

/* A value of a key in [core] (line 2) or in a VM (line 4). */
static void good_core(const char *line)
{
    char text[256];

    snprintf(text, sizeof(text), "[core]\n%s\n" VM, line);
    good(text);
}

static void good_vm(const char *line)
{
    char text[256];

    snprintf(text, sizeof(text), VM "%s\n", line);
    good(text);
}

static void bad_core(const char *line, const char *want)
{
    char text[256], error[512];

    snprintf(text, sizeof(text), "[core]\n%s\n" VM, line);
    snprintf(error, sizeof(error), "2: %s\n", want);
    bad(text, error);
}

static void bad_vm(const char *line, const char *want)
{
    char text[4096], error[512];

    snprintf(text, sizeof(text), VM "%s\n", line);
    snprintf(error, sizeof(error), "4: %s\n", want);
    bad(text, error);
}

/* The memory of a VM (line 3). */
static void bad_size(const char *line, const char *want)
{
    char text[256], error[512];

    snprintf(text, sizeof(text), "[vm a]\nkernel=k\n%s\n", line);
    snprintf(error, sizeof(error), "3: %s\n", want);
    bad(text, error);
}

/* The same refusal for several values. */
static void bad_values(void (*check)(const char *, const char *), const char *key,
                       const char *expected, const char *const *values)
{
    for (; *values != NULL; values++) {
        char line[128], want[512];

        snprintf(line, sizeof(line), "%s = %s", key, *values);
        snprintf(want, sizeof(want), "%s: found \"%s\", expected %s", key, *values, expected);
        check(line, want);
    }
}

#define BAD_VALUES(check, key, expected, ...) \
    bad_values(check, key, expected, (const char *const[]){__VA_ARGS__, NULL})

static void test_design(void **state)
{
    (void)state;
    good("[core]\n"
         "console = com1            ; com1..com4, pci:BB:DD.F, fb, none\n"
         "log     = info\n"
         "\n"
         "[vm management]\n"
         "role    = management      ; exactly one VM may have it; none = a purely static system\n"
         "kernel  = vmlinuz         ; module names\n"
         "initrd  = management.cpio.gz\n"
         "cmdline = console=ttyS0\n"
         "memory  = 512M\n"
         "cpus    = 0               ; pCPUs it may run on\n"
         "vcpus   = 1\n"
         "\n"
         "[vm linux1]\n"
         "kernel  = vmlinuz\n"
         "initrd  = guest.cpio.gz\n"
         "memory  = 256M\n"
         "vcpus   = 1\n");
    const struct vm_config *vm = config.vms;
    assert_int_equal(config.vm_count, 2);
    assert_string_equal(vm[0].name, "management");
    assert_string_equal(vm[0].kernel, "vmlinuz");
    assert_string_equal(vm[0].initrd, "management.cpio.gz");
    assert_string_equal(vm[0].cmdline, "console=ttyS0");
    assert_int_equal(vm[0].memory, 512 * MIB);
    assert_int_equal(vm[0].role, CONFIG_ROLE_MANAGEMENT);
    assert_int_equal(vm[0].line, 5);
    assert_int_equal(vm[0].kernel_line, 7);
    assert_int_equal(vm[0].initrd_line, 8);
    assert_string_equal(vm[1].name, "linux1");
    assert_string_equal(vm[1].cmdline, "");
    assert_int_equal(vm[1].role, CONFIG_ROLE_GUEST);
}

static void test_defaults(void **state)
{
    (void)state;
    good(VM);
    assert_int_equal(config.serial_count, 1);
    assert_int_equal(config.serial[0].kind, CONFIG_SERIAL_AUTO);
    assert_int_equal(config.serial[0].baud, 0);
    assert_int_equal(config.screen, CONFIG_SCREEN_IF_THERE);
    assert_int_equal(config.log, LOG_INFO);
    assert_int_equal(config.slice_us, 5000);
    assert_int_equal(config.memory, 8 * MIB);
    assert_int_equal(config.when_done, CONFIG_DONE_POWEROFF);
    assert_int_equal(config.vms[0].vcpus, 1);
    assert_true(config.vms[0].cpus == UINT64_MAX);
    assert_false(config.vms[0].cpus_given);
    assert_int_equal(config.vms[0].sched_class, CONFIG_CLASS_FAIR);
    assert_int_equal(config.vms[0].weight, 100);
    assert_int_equal(config.vms[0].cap, 0);
    assert_int_equal(config.cpus[0].frame_us, 0);
    assert_string_equal(config.vms[0].cmdline, "");
    assert_true(config.vms[0].autostart);
    assert_false(config.vms[0].entry32);
    assert_string_equal(config.vms[0].initrd, "");
    assert_int_equal(config.vms[0].initrd_line, 0);
}

/* Layouts of a file that all mean the same. */
static void test_layout(void **state)
{
    static const char *const same[] = {
        "\xef\xbb\xbf[vm a]\r\nkernel=k\r\nmemory=2M\r\n",
        "[vm a]\nkernel=k\nmemory=2M",
        "  [ vm\t a ]  ; x\n\n\t kernel\t=  k\t# c\n ;[core\n#\nmemory=\"2M\"",
        "; \xc3\xa4\xff in a comment\n[vm a];c\nkernel=k ;\nmemory = 2 m\n",
        "[vm a]\nkernel=\"k\" ; \"x\nmemory=2M\n[core]\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
        good(same[i]);
        assert_int_equal(config.vm_count, 1);
        assert_string_equal(config.vms[0].name, "a");
        assert_string_equal(config.vms[0].kernel, "k");
        assert_int_equal(config.vms[0].memory, 2 * MIB);
    }
}

static void test_cmdline(void **state)
{
    static const struct {
        const char *line, *want;
    } cases[] = {
        {"cmdline = a=b  c=d", "a=b  c=d"},
        {"cmdline = a;b c#d ; rest", "a;b c#d"},
        {"cmdline = a\t#rest", "a"},
        {"cmdline = \"a ; b # c\" ; d", "a ; b # c"},
        {"cmdline = x=\"a ; b\" y", "x=\"a ; b\" y"},
        {"cmdline = \"a\" \"b\"", "\"a\" \"b\""},
        {"cmdline = \"\"", ""},
        {"cmdline = \" a \"", " a "},
        {"cmdline = = [x]", "= [x]"},
    };
    char line[2300], text[2400];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        good_vm(cases[i].line);
        assert_string_equal(config.vms[0].cmdline, cases[i].want);
    }
    memset(line, 'x', sizeof(line));
    snprintf(text, sizeof(text), VM "cmdline=%.2047s\n", line);
    good(text);
    assert_int_equal(strlen(config.vms[0].cmdline), 2047);
    snprintf(text, sizeof(text), VM "cmdline=%.2048s\n", line);
    bad(text,
        "4: cmdline: found 2048 characters, expected up to 2047 characters (\"\" for none)\n");
}

static void test_core_keys(void **state)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    static const char *const actions[] = {"poweroff", "reboot", "halt"};
    char line[64];

    (void)state;
    for (unsigned int i = 0; i < ARRAY_SIZE(levels); i++) {
        snprintf(line, sizeof(line), "log = %s", levels[i]);
        good_core(line);
        assert_int_equal(config.log, i);
    }
    BAD_VALUES(bad_core, "log", "error, warn, info or debug", "Info", "3", "inf");
    for (unsigned int i = 0; i < ARRAY_SIZE(actions); i++) {
        snprintf(line, sizeof(line), "when-done = %s", actions[i]);
        good_core(line);
        assert_int_equal(config.when_done, i);
    }
    BAD_VALUES(bad_core, "when-done", "poweroff, reboot or halt", "off", "halt now");
    good_core("scrub-at-boot = yes");
    assert_true(config.scrub_at_boot);
    good_core("scrub-at-boot = no");
    assert_false(config.scrub_at_boot);
    BAD_VALUES(bad_core, "scrub-at-boot", "yes or no", "on", "1");
    good_core("slice = 100us");
    assert_int_equal(config.slice_us, 100);
    good_core("slice = 1000 ms");
    assert_int_equal(config.slice_us, 1000000);
    good_core("slice = 1s");
    assert_int_equal(config.slice_us, 1000000);
    BAD_VALUES(bad_core, "slice", "100us to 1000ms, such as 5ms", "99us", "0ms", "1001ms",
               "1000001us", "5", "ms", "5s", "5 m s", "-5ms", "18446744073709551ms",
               "18446744073710s", "18446744073709551616us", "5msx");
    good_core("memory = 2M");
    assert_int_equal(config.memory, 2 * MIB);
    good_core("memory = 256m");
    assert_int_equal(config.memory, 256 * MIB);
    good_core("memory = 4096K");
    assert_int_equal(config.memory, 4 * MIB);
    BAD_VALUES(bad_core, "memory", "2M to 256M in steps of 2M, such as 8M", "0M", "1M", "3M",
               "258M", "1G", "2048", "2MB", "2097152", "M", "0x2M", "2.5M");
}

static void test_vm_keys(void **state)
{
    (void)state;
    good("[vm a]\nkernel = k\nmemory = 1T\n");
    assert_int_equal(config.vms[0].memory, 1024 * GIB);
    good("[vm a]\nkernel = k\nmemory = 1026M\n");
    assert_int_equal(config.vms[0].memory, 1026 * MIB);
    BAD_VALUES(bad_size, "memory", VM_MEMORY, "0G", "1M", "5M", "1025G", "2T", "512", "512MiB",
               "-2M", "2 2M", "18014398509481984K", "99999999999999999999M");
    bad_size("memory = \"\"", "memory: found \"\", expected " VM_MEMORY);
    good_vm("vcpus = 1");
    assert_int_equal(config.vms[0].vcpus, 1);
    good_vm("vcpus = 64");
    assert_int_equal(config.vms[0].vcpus, 64);
    BAD_VALUES(bad_vm, "vcpus", "a number from 1 to 64", "0", "65", "1x", "one", "-1",
               "18446744073709551617");
    good_vm("role = management");
    assert_int_equal(config.vms[0].role, CONFIG_ROLE_MANAGEMENT);
    BAD_VALUES(bad_vm, "role", "guest or management", "manager", "Guest");
    good_vm("autostart = no");
    assert_false(config.vms[0].autostart);
    good_vm("autostart = yes");
    assert_true(config.vms[0].autostart);
    BAD_VALUES(bad_vm, "autostart", "yes or no", "1", "true", "YES");
    good_vm("entry = 32");
    assert_true(config.vms[0].entry32);
    good_vm("entry = auto");
    assert_false(config.vms[0].entry32);
    BAD_VALUES(bad_vm, "entry", "auto or 32", "64", "Auto", "032", "32bit");
}

static void test_cpus(void **state)
{
    static const struct {
        const char *line;
        uint64_t cpus;
    } cases[] = {
        {"cpus=0", 1},           {"cpus=0-3", 0xf},         {"cpus=0,2", 5},
        {"cpus=63", 1ull << 63}, {"cpus=0-63", UINT64_MAX}, {"cpus=1 - 2 , 5,5-5", 0x26},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        good_vm(cases[i].line);
        assert_true(config.vms[0].cpus == cases[i].cpus);
        assert_true(config.vms[0].cpus_given);
    }
    BAD_VALUES(bad_vm, "cpus", "numbers of CPUs from 0 to 63, such as 0 or 0-3 or 0,2", "64", "3-1",
               "0-64", "0,", ",0", "0,,1", "0-", "-1", "a", "0 1", "0-1-2", "0x1",
               "18446744073709551616");
}

static void test_module_names(void **state)
{
    char name[65], text[512], want[512];

    (void)state;
    memset(name, 'n', sizeof(name));
    snprintf(text, sizeof(text), "[vm a]\nkernel=%.63s\ninitrd=%.63s\nmemory=2M\n", name, name);
    good(text);
    assert_int_equal(strlen(config.vms[0].kernel), 63);
    assert_int_equal(strlen(config.vms[0].initrd), 63);
    snprintf(text, sizeof(text), VM "initrd=%.64s\n", name);
    snprintf(want, sizeof(want), "4: initrd: found \"%.48s...\", expected " MODULE "\n", name);
    bad(text, want);
    BAD_VALUES(bad_vm, "initrd", MODULE, "a b", "/boot/x", "a\\b", "a\tb", "\"x\" y", "x\"y\"");
    bad_vm("initrd = \"\"", "initrd: found \"\", expected " MODULE);
}

static void test_module_keys(void **state)
{
    char text[1024] = VM, arguments[130];

    (void)state;
    good_vm("module = disk.img\nmodule = \"conf  a=b ; c \" ; comment\nmodule = \"disk.img\"");
    const struct vm_config *vm = &config.vms[0];
    assert_int_equal(vm->module_count, 3);
    assert_string_equal(vm->modules[0].name, "disk.img");
    assert_string_equal(vm->modules[0].arguments, "");
    assert_int_equal(vm->modules[0].line, 4);
    assert_string_equal(vm->modules[1].name, "conf");
    assert_string_equal(vm->modules[1].arguments, "a=b ; c");
    assert_int_equal(vm->modules[2].line, 6);

    memset(arguments, 'a', sizeof(arguments));
    snprintf(text, sizeof(text), VM "module = m \t%.127s\n", arguments);
    good(text);
    assert_int_equal(strlen(config.vms[0].modules[0].arguments), 127);
    snprintf(text, sizeof(text), VM "module = m %.128s\n", arguments);
    bad(text, "4: module: found 128 characters of arguments, expected at most 127\n");

    snprintf(text, sizeof(text), VM);
    for (int i = 0; i < 8; i++)
        strcat(text, "module = m\n");
    good(text);
    assert_int_equal(config.vms[0].module_count, 8);
    strcat(text, "module = m\n");
    bad(text, "12: module: found one more in [vm a], expected at most 8\n");

    BAD_VALUES(bad_vm, "module", MODULE "; its arguments may follow", "/boot/x", "a\\b", "x\"y\"");
    bad_vm("module = \"\"", "module: found \"\", expected " MODULE "; its arguments may follow");
    bad_vm("module =", "module: found nothing, expected " MODULE "; its arguments may follow");
}

static void test_sections(void **state)
{
    (void)state;
    bad("[core\n" VM, "1: section: found \"[core\", expected a closing ]\n");
    bad("[core] x\n" VM, "1: section: found \"x\" behind the ], expected nothing but a comment\n");
    bad("[cor]\nfoo=1\n" VM, "1: section: found \"[cor]\", expected [core], [vm NAME] or [cpu N]; "
                             "did you mean [core]?\n");
    bad("[VM b]\n" VM, "1: section: found \"[VM b]\", expected [core], [vm NAME] or [cpu N]; did "
                       "you mean [vm NAME]?\n");
    bad("[]\n" VM, "1: section: found \"[]\", expected [core], [vm NAME] or [cpu N]\n");
    bad("[core x]\n" VM, "1: section: found \"[core x]\", expected [core], [vm NAME] or [cpu N]; "
                         "did you mean [core]?\n");
    bad("[core]\n[core]\n" VM,
        "2: section: found a second [core], expected one: the first is in line 1\n");
    bad(VM VM, "4: section: found a second [vm a], expected a name of its own: the first is in "
               "line 1\n");
    bad("log = info\n" VM,
        "1: log: found before the first section, expected [core] or [vm NAME] above it\n");
    bad("", "1: file: found no VM, expected at least one [vm NAME]\n");
    bad("[core]\n; nothing\n", "2: file: found no VM, expected at least one [vm NAME]\n");
}

static void test_vm_names(void **state)
{
    static const char *const wrong[] = {"", "a b", "0123456789abcdef", "a/b", "\"a\"", "a=b", "a,"};
    static const char *const reserved[] = {"core", "all", "none", "vm"};
    char text[128], want[256];

    (void)state;
    good("[vm 0123456789abcde]\nkernel=k\nmemory=2M\n[vm A_z.0-9]\nkernel=k\nmemory=2M\n");
    assert_string_equal(config.vms[0].name, "0123456789abcde");
    assert_string_equal(config.vms[1].name, "A_z.0-9");
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        snprintf(text, sizeof(text), "[vm %s]\nkernel=k\nmemory=2M\n", wrong[i]);
        snprintf(want, sizeof(want),
                 "1: section: found VM name \"%s\", expected 1 to 15 characters out of A-Z a-z 0-9 "
                 "_ . -\n",
                 wrong[i]);
        bad(text, want);
    }
    for (size_t i = 0; i < ARRAY_SIZE(reserved); i++) {
        snprintf(text, sizeof(text), "[vm %s]\nkernel=k\nmemory=2M\n", reserved[i]);
        snprintf(want, sizeof(want),
                 "1: section: found VM name \"%s\", expected a name that is not a reserved word "
                 "(all, core, none, vm)\n",
                 reserved[i]);
        bad(text, want);
    }
}

static void test_lines(void **state)
{
    char text[5000];

    (void)state;
    bad_vm("foo", "line: found \"foo\", expected KEY = VALUE or [SECTION]");
    bad_vm("= x", "line: found \"= x\", expected KEY = VALUE or [SECTION]");
    bad_vm("initrd =", "initrd: found nothing, expected " MODULE);
    bad_vm("initrd = ; x", "initrd: found nothing, expected " MODULE);
    bad_vm("initrd = \"x",
           "initrd: found an opening quote without a closing one, expected both or none");
    bad_vm("kernel = k", "kernel: found a second time, expected once: the first is in line 2");
    bad_vm("initrd = a\x01", "line: found byte 0x01, expected printable text");
    bad_vm("; \x7f", "line: found byte 0x7f, expected printable text");
    bad_vm("initrd = a\rb", "line: found byte 0x0d, expected printable text");
    bad_vm("cmdline = \xc3\xa4", "line: found byte 0xc3, expected plain ASCII outside comments");
    bad_bytes("[vm a]\nkernel=k\nmemory=2M\n\0", 27,
              "4: line: found byte 0x00, expected printable text\n");

    memset(text, ';', sizeof(text));
    memcpy(text, VM, strlen(VM));
    assert_int_equal(parse_bytes(text, strlen(VM) + CONFIG_LINE_MAX), 0);
    bad_bytes(text, strlen(VM) + CONFIG_LINE_MAX + 1,
              "4: line: found 4096 characters, expected at most 4095\n");
}

static void test_unknown_keys(void **state)
{
#define VM_KEYS                                                                                   \
    "kernel, initrd, module, cmdline, memory, vcpus, cpus, class, weight, cap, role, autostart, " \
    "entry"
#define CORE_KEYS "console, log, slice, memory, when-done, scrub-at-boot"
    (void)state;
    bad_vm("initd = x",
           "initd: found an unknown key, expected one of " VM_KEYS "; did you mean initrd?");
    bad_vm("Cmdline = x",
           "Cmdline: found an unknown key, expected one of " VM_KEYS "; did you mean cmdline?");
    bad_vm("cmd line = x",
           "cmd line: found an unknown key, expected one of " VM_KEYS "; did you mean cmdline?");
    bad_vm("foo = x", "foo: found an unknown key, expected one of " VM_KEYS);
    bad_vm("console = x", "console: found an unknown key, expected one of " VM_KEYS);
    bad_core("kernel = x", "kernel: found an unknown key, expected one of " CORE_KEYS);
    bad_core("logs = x",
             "logs: found an unknown key, expected one of " CORE_KEYS "; did you mean log?");
    bad_core("when_done = x", "when_done: found an unknown key, expected one of " CORE_KEYS
                              "; did you mean when-done?");
}

static void test_missing_keys(void **state)
{
    (void)state;
    bad("[vm a]\n[vm b]\nmemory=2M\n[vm c]\nkernel=k\n[core]\n",
        "1: kernel: found nothing in [vm a], expected " MODULE "\n"
        "1: memory: found nothing in [vm a], expected " VM_MEMORY "\n"
        "2: kernel: found nothing in [vm b], expected " MODULE "\n"
        "4: memory: found nothing in [vm c], expected " VM_MEMORY "\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_design),       cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_layout),       cmocka_unit_test(test_cmdline),
        cmocka_unit_test(test_core_keys),    cmocka_unit_test(test_vm_keys),
        cmocka_unit_test(test_cpus),         cmocka_unit_test(test_module_names),
        cmocka_unit_test(test_module_keys),  cmocka_unit_test(test_sections),
        cmocka_unit_test(test_vm_names),     cmocka_unit_test(test_lines),
        cmocka_unit_test(test_unknown_keys), cmocka_unit_test(test_missing_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
