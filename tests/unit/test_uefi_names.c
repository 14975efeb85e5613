/* The UEFI loader's reading of bulkhead.conf: which files it names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot/uefi/names.h"

static struct file_names names;

/* `text` is read from memory of exactly its size. */
static void find_in(const char *text, size_t size)
{
    char *exact = malloc(size > 0 ? size : 1);

    assert_non_null(exact);
    memcpy(exact, text, size);
    memset(&names, 0xa5, sizeof(names));
    names_find(&names, exact, size);
    free(exact);
}

/* `want`: the names with a blank behind each. */
static void expect(const char *text, const char *want)
{
    char found[BOOT_MODULES_MAX * (BOOT_MODULE_NAME_MAX + 1) + 1] = "";

    find_in(text, strlen(text));
    for (unsigned int i = 0; i < names.count; i++) {
        strcat(found, names.name[i]);
        strcat(found, " ");
    }
    assert_string_equal(found, want);
    assert_false(names.too_many);
}

static void test_names(void **state)
{
    (void)state;
    expect("", "bulkhead.conf ");
    expect("[core]\nlog = info\n[vm a]\nkernel = vmlinuz\ninitrd=a.gz\ncmdline = kernel = x\n"
           "[vm b]\n\tkernel\t=  \"vmlinuz\" ; the same\nmodule = m1 arguments = 1\n"
           "module = m2\nmodule = m1 others # again",
           "bulkhead.conf vmlinuz a.gz m1 m2 ");
    expect("[vm a]\r\nkernel = k\r\ninitrd = i\r\n", "bulkhead.conf k i ");
    expect("\xef\xbb\xbf[vm a]\nkernel = k\n", "bulkhead.conf k ");
    expect("[ vm  a ] ; comment\nkernel = k", "bulkhead.conf k ");
    expect("[vm a]\nkernel = bulkhead.conf\ninitrd = i\n", "bulkhead.conf i ");
}

static void test_only_sections_of_vms(void **state)
{
    (void)state;
    expect("kernel = early\n[core]\nkernel = c\n[cpu 0]\ninitrd = d\n[vmx]\nmodule = e\n[VM a]\n"
           "kernel = f\n[]\nkernel = g\n[\nkernel = h\n",
           "bulkhead.conf ");
    expect("[vm a]\n#kernel = k\n; initrd = i\nkernels = l\nmodules = m\n kernel\n= n\n",
           "bulkhead.conf ");
}

static void test_what_cannot_be_a_name(void **state)
{
    (void)state;
    expect("[vm a]\nkernel =\ninitrd = /boot/i\nmodule = a\\b\nmodule = \"a b\nmodule = \303\244\n"
           "initrd = with blank\nmodule = \"quoted arguments\"\n",
           "bulkhead.conf quoted ");

    char text[200], longest[BOOT_MODULE_NAME_MAX];

    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    snprintf(text, sizeof(text), "[vm a]\nkernel = %s\ninitrd = %sy\n", longest, longest);
    find_in(text, strlen(text));
    assert_int_equal(names.count, 2);
    assert_string_equal(names.name[1], longest);
}

static void test_too_many(void **state)
{
    (void)state;
    char text[2000] = "[vm a]\n";

    for (int i = 1; i < BOOT_MODULES_MAX; i++)
        sprintf(text + strlen(text), "module = m%d\n", i);
    find_in(text, strlen(text));
    assert_int_equal(names.count, BOOT_MODULES_MAX);
    assert_false(names.too_many);
    strcat(text, "module = m1\n");
    find_in(text, strlen(text));
    assert_false(names.too_many);
    strcat(text, "module = another\n");
    find_in(text, strlen(text));
    assert_int_equal(names.count, BOOT_MODULES_MAX);
    assert_true(names.too_many);
}

/* Any bytes: names come out terminated and of printable characters. */
static void test_random_bytes(void **state)
{
    (void)state;
    static const char *const pieces[] = {"[vm a]", "\n", "kernel", "=", "\"", "module", "x",   "[",
                                         "]",      ";",  "\t",     " ", "\0", "\xff",   "\r\n"};
    srand(6);
    for (int round = 0; round < 20000; round++) {
        char text[200];
        size_t size = 0;

        for (int i = rand() % 40; i > 0; i--) {
            const char *piece = pieces[(size_t)rand() % ARRAY_SIZE(pieces)];
            size_t n = *piece == '\0' ? 1 : strlen(piece);

            if (size + n > sizeof(text))
                break;
            memcpy(text + size, piece, n);
            size += n;
        }
        find_in(text, size);
        assert_true(names.count >= 1 && names.count <= BOOT_MODULES_MAX);
        for (unsigned int i = 0; i < names.count; i++) {
            size_t n = strnlen(names.name[i], BOOT_MODULE_NAME_MAX);

            assert_true(n > 0 && n < BOOT_MODULE_NAME_MAX);
            for (size_t k = 0; k < n; k++)
                assert_true(names.name[i][k] > ' ' && names.name[i][k] < 0x7f);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_only_sections_of_vms),
        cmocka_unit_test(test_what_cannot_be_a_name),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_random_bytes),
    };
    return cmocka_run_group_tests_name("uefi_names", tests, NULL, NULL);
}
