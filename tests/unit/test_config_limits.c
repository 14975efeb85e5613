/* bulkhead.conf as a whole: how much of each there may be, and the boot modules that it names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/config_parse.h"

static void test_vm_count(void **state)
{
    static char text[16384];

    (void)state;
    text[0] = '\0';
    for (unsigned int i = 0; i < CONFIG_MAX_VMS; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof(text) - used, "[vm v%u]\nkernel=k\nmemory=2M\n", i);
    }
    good(text);
    assert_int_equal(config.vm_count, CONFIG_MAX_VMS);
    strcat(text, "[vm one.more]\nkernel=k\nfoo=1\n");
    strcat(text, "[vm another]\n");
    bad(text, "769: vm: found a 257th, [vm one.more], expected at most 256\n"
              "772: vm: found a 257th, [vm another], expected at most 256\n");
}

/* The `lines` times the same in [vm v0], [vm v1], ... */
static size_t many_vms(char *text, size_t size, unsigned int vms, unsigned int times,
                       const char *line)
{
    size_t used = 0;

    for (unsigned int i = 0; i < vms; i++) {
        used += (size_t)snprintf(text + used, size - used, "[vm v%u]\nkernel=k\nmemory=2M\n", i);
        for (unsigned int k = 0; k < times; k++)
            used += (size_t)snprintf(text + used, size - used, "%s\n", line);
    }
    return used;
}

static void test_module_count(void **state)
{
    static char text[32768];

    (void)state;
    (void)many_vms(text, sizeof(text), 64, 8, "module=m a");
    good(text);
    assert_int_equal(config.vms[63].module_count, 8);
    assert_string_equal(config.vms[63].modules[7].name, "m");
    assert_string_equal(config.vms[63].modules[7].arguments, "a");
    assert_int_equal(config.vms[62].modules[0].line + 11, config.vms[63].modules[0].line);
    strcat(text, "[vm b]\nkernel=k\nmemory=2M\nmodule=m\n");
    bad(text, "708: module: found a 513th, expected at most 512 in the whole file\n");
}

/* 63 VMs with `k` and 2047 characters each leave 1922 of the arena's bytes. */
static void test_arena(void **state)
{
    static char text[CONFIG_FILE_MAX];
    char line[2100] = "cmdline=";

    (void)state;
    memset(line + 8, 'x', 2047);
    line[8 + 2047] = '\0';
    size_t used = many_vms(text, sizeof(text), 63, 1, line);

    snprintf(text + used, sizeof(text) - used, VM "cmdline=%.1919s\n", line + 8);
    good(text);
    assert_int_equal(strlen(config.vms[62].cmdline), 2047);
    assert_int_equal(strlen(config.vms[63].cmdline), 1919);
    assert_string_equal(config.vms[63].kernel, "k");
    snprintf(text + used, sizeof(text) - used, VM "cmdline=%.1920s\ninitrd=i\n", line + 8);
    bad(text,
        "256: cmdline: found no room for 1920 more characters, expected at most 131072 in all "
        "names, arguments and command lines together\n");
    snprintf(text + used, sizeof(text) - used, VM "cmdline=%.1919s\ninitrd=i\nmodule=m n\n",
             line + 8);
    bad(text, "257: initrd: found no room for 1 more characters, expected at most 131072 in all "
              "names, arguments and command lines together\n"
              "258: module: found no room for 1 more characters, expected at most 131072 in all "
              "names, arguments and command lines together\n");
}

static void test_one_manager(void **state)
{
    (void)state;
    bad(VM "role=management\n[vm b]\nkernel=k\nmemory=2M\nrole=management\n",
        "8: role: found \"management\", expected guest: [vm a] in line 1 has that role, and only "
        "one VM may\n");
    good(VM "role=management\n[vm b]\nkernel=k\nmemory=2M\nrole=guest\n");
}

static void test_whole_file(void **state)
{
    static char large[CONFIG_FILE_MAX + 1];
    char want[128];

    (void)state;
    bad_bytes("\xff\xfe[\0v\0", 6, "1: file: found UTF-16 text, expected ASCII or UTF-8\n");
    bad_bytes("\xfe\xff\0[\0v", 6, "1: file: found UTF-16 text, expected ASCII or UTF-8\n");
    memset(large, '\n', sizeof(large));
    memcpy(large, VM, strlen(VM));
    assert_int_equal(parse_bytes(large, CONFIG_FILE_MAX), 0);
    snprintf(want, sizeof(want), "1: file: found %d bytes, expected at most %d\n",
             CONFIG_FILE_MAX + 1, CONFIG_FILE_MAX);
    bad_bytes(large, sizeof(large), want);
}

static void test_many_errors(void **state)
{
    static char text[4096], want[8192];

    (void)state;
    for (unsigned int errors = CONFIG_MAX_ERRORS; errors < CONFIG_MAX_ERRORS + 4; errors++) {
        size_t used = 0;

        strcpy(text, VM);
        for (unsigned int i = 0; i < errors; i++) {
            strcat(text, "x\n");
            if (i < CONFIG_MAX_ERRORS) {
                used += (size_t)snprintf(
                    want + used, sizeof(want) - used,
                    "%u: line: found \"x\", expected KEY = VALUE or [SECTION]\n", 4 + i);
            }
        }
        if (errors > CONFIG_MAX_ERRORS) {
            snprintf(want + used, sizeof(want) - used, "%u: and %u more errors from here on\n",
                     4 + CONFIG_MAX_ERRORS, errors - CONFIG_MAX_ERRORS);
        }
        bad(text, want);
    }
}

static void test_modules(void **state)
{
    static const char *const names[] = {"vmlinuz", "guest.cpio.gz", "bzImage"};
    char long_name[64], text[512], list[512] = "";
    const char *many[20];

    (void)state;
    good("[vm a]\nkernel=vmlinuz\ninitrd=guest.cpio\nmemory=2M\n[vm b]\nmemory=2M\n"
         "kernel=vmlinux\n");
    reported[0] = '\0';
    assert_int_equal(config_check_modules(&config, names, 3, &sink), 2);
    assert_string_equal(reported, "3: initrd: found \"guest.cpio\", expected one of the boot "
                                  "modules: vmlinuz, guest.cpio.gz, bzImage\n"
                                  "7: kernel: found \"vmlinux\", expected one of the boot "
                                  "modules: vmlinuz, guest.cpio.gz, bzImage\n");
    reported[0] = '\0';
    assert_int_equal(config_check_modules(&config, NULL, 0, &sink), 3);
    assert_non_null(strstr(reported, "2: kernel: found \"vmlinuz\", expected a boot module, and "
                                     "there is none\n"));
    good("[vm a]\nkernel=vmlinuz\nmodule=bzImage x\nmodule=disk\nmemory=2M\n");
    reported[0] = '\0';
    assert_int_equal(config_check_modules(&config, names, 3, &sink), 1);
    assert_string_equal(reported, "4: module: found \"disk\", expected one of the boot modules: "
                                  "vmlinuz, guest.cpio.gz, bzImage\n");
    reported[0] = '\0';
    good("[vm a]\nkernel=vmlinuz\ninitrd=guest.cpio.gz\nmemory=2M\n");
    assert_int_equal(config_check_modules(&config, names, 3, &sink), 0);
    assert_string_equal(reported, "");

    /* A long list is cut between two names. */
    memset(long_name, 'm', 63);
    long_name[63] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(many); i++)
        many[i] = long_name;
    snprintf(text, sizeof(text), "[vm a]\nkernel=%.62sx\nmemory=2M\n", long_name);
    good(text);
    assert_int_equal(config_check_modules(&config, many, ARRAY_SIZE(many), &sink), 1);
    for (int i = 0; i < 5; i++)
        strcat(strcat(list, long_name), ", ");
    strcat(list, "...\n");
    assert_string_equal(strstr(reported, "modules: ") + strlen("modules: "), list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vm_count),   cmocka_unit_test(test_module_count),
        cmocka_unit_test(test_arena),      cmocka_unit_test(test_one_manager),
        cmocka_unit_test(test_whole_file), cmocka_unit_test(test_many_errors),
        cmocka_unit_test(test_modules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
