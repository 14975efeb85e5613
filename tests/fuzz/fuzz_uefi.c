/* What the UEFI loader reads: the first byte of the input says what the rest is. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "boot/uefi/elf.h"
#include "boot/uefi/names.h"
#include "boot/uefi/options.h"
#include "boot/uefi/smbios.h"
#include "tests/fuzz/require.h"

#define NAME_SIZE 40

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_smbios(const uint8_t *data, size_t size)
{
    char name[NAME_SIZE];
    uint64_t table;
    uint32_t table_size;

    smbios_machine_name(data, size, name, sizeof(name));
    REQUIRE(strlen(name) < sizeof(name));
    for (const char *c = name; *c != '\0'; c++)
        REQUIRE(*c >= ' ' && *c <= '~');
    if (size >= SMBIOS_ENTRY_MAX && smbios_find_table(data, &table, &table_size))
        REQUIRE(table != 0 && table_size <= MIB);
}

static void fuzz_options(const uint8_t *data, size_t size)
{
    char *line = malloc(size + 1);
    unsigned int seconds = 0;
    struct text_span bad;

    if (!line)
        return;
    memcpy(line, data, size);
    line[size] = '\0';
    if (options_take_menu(line, &seconds, &bad) == 0) {
        REQUIRE(strlen(line) <= size && seconds <= MENU_SECONDS_MAX);
        REQUIRE(!options_have(line, "menu") && !options_have(line, "menu=1"));
        REQUIRE(!options_append(line, strlen(line) + 1, "x"));
    } else {
        REQUIRE(bad.at >= line && bad.len > 0 && bad.len <= size - (size_t)(bad.at - line));
    }
    free(line);
}

static void fuzz_names(const uint8_t *data, size_t size)
{
    static struct file_names names;

    names_find(&names, (const char *)data, size);
    REQUIRE(names.count >= 1 && names.count <= BOOT_MODULES_MAX);
}

static void fuzz_core(const uint8_t *data, size_t size)
{
    struct core_image image;
    struct core_problem problem;

    if (core_elf_read(data, size, &image, &problem) != 0 || image.end - image.base > MIB)
        return;
    uint8_t *memory = malloc(image.end - image.base); /* to the byte, for ASan */

    if (memory)
        core_elf_place(data, &image, memory);
    free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(const uint8_t *, size_t) = {fuzz_smbios, fuzz_options,
                                                               fuzz_names, fuzz_core};

    if (size == 0)
        return 0;
    uint8_t *exact = malloc(size > 1 ? size - 1 : 1);

    if (!exact)
        return 0;
    memcpy(exact, data + 1, size - 1);
    readers[data[0] % ARRAY_SIZE(readers)](exact, size - 1);
    free(exact);
    return 0;
}
