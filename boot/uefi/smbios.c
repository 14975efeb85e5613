#include "boot/uefi/smbios.h"

#include "lib/string.h"

/* 5.2.1 and 5.2.2: the two entry points. */
#define ANCHOR_2       "_SM_"
#define SIZE_2         0x16
#define TABLE_2        0x18
#define ANCHOR_3       "_SM3_"
#define SIZE_3         0x0c
#define TABLE_3        0x10
#define TABLE_SIZE_MAX (1 * MIB)

/* 6.1.2 and 7.2: a structure's header, and the strings' numbers in that of the system. */
#define HEADER_SIZE     4
#define TYPE_SYSTEM     1
#define TYPE_END        127
#define AT_MANUFACTURER 4
#define AT_PRODUCT      5

bool smbios_find_table(const uint8_t entry[SMBIOS_ENTRY_MAX], uint64_t *table, uint32_t *size)
{
    uint32_t table_2;
    uint16_t size_2;

    if (memcmp(entry, ANCHOR_3, strlen(ANCHOR_3)) == 0) {
        memcpy(table, entry + TABLE_3, sizeof(*table));
        memcpy(size, entry + SIZE_3, sizeof(*size));
    } else if (memcmp(entry, ANCHOR_2, strlen(ANCHOR_2)) == 0) {
        memcpy(&table_2, entry + TABLE_2, sizeof(table_2));
        memcpy(&size_2, entry + SIZE_2, sizeof(size_2));
        *table = table_2;
        *size = size_2;
    } else {
        return false;
    }
    *size = MIN(*size, (uint32_t)TABLE_SIZE_MAX);
    return *table != 0;
}

/* 6.1.3: the strings stand behind the structure, each terminated, and one more zero ends them.
 * Appends the one of number `wanted` (from 1; 0: none) to `name`. */
static void append_string(const uint8_t *table, size_t end, size_t at, unsigned int wanted,
                          char *name, size_t size)
{
    size_t used = strlen(name);

    for (unsigned int number = 1; at < end && table[at] != '\0'; number++) {
        if (number == wanted && used > 0 && used + 1 < size)
            name[used++] = ' ';
        for (; at < end && table[at] != '\0'; at++)
            if (number == wanted && used + 1 < size)
                name[used++] = table[at] >= ' ' && table[at] <= '~' ? (char)table[at] : '?';
        at++;
    }
    name[used] = '\0';
}

void smbios_machine_name(const uint8_t *table, size_t table_size, char *name, size_t size)
{
    size_t at = 0;

    name[0] = '\0';
    while (at + HEADER_SIZE <= table_size && table[at] != TYPE_END) {
        size_t length = table[at + 1], strings = at + length;

        if (length < HEADER_SIZE || strings > table_size)
            return;
        if (table[at] == TYPE_SYSTEM && length > AT_PRODUCT) {
            append_string(table, table_size, strings, table[at + AT_MANUFACTURER], name, size);
            append_string(table, table_size, strings, table[at + AT_PRODUCT], name, size);
            return;
        }
        for (at = strings; at + 1 < table_size && (table[at] != 0 || table[at + 1] != 0);)
            at++;
        at += 2;
    }
}
