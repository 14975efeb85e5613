/* Finds the object \_S5 without an AML interpreter: firmware writes it as a constant,
 * Name (\_S5_, Package () {SLP_TYPa, SLP_TYPb, ...}), whose bytes are looked for. Encodings: ACPI
 * 6.5, 20.2; the object: 7.4.2.6. */

#include "arch/x86/acpi/acpi_internal.h"
#include "lib/log.h"
#include "lib/string.h"

#define AML_ZERO_OP     0x00
#define AML_ONE_OP      0x01
#define AML_NAME_OP     0x08
#define AML_BYTE_PREFIX 0x0a
#define AML_WORD_PREFIX 0x0b
#define AML_PACKAGE_OP  0x12
#define AML_ROOT_CHAR   0x5c
#define AML_ONES_OP     0xff
#define AML_S5_NAME     "_S5_"
#define AML_NAME_SIZE   4

#define SLP_TYP_MAX 7 /* three bits in PM1 control */

/* Longest form: name op, root char, name, package op, 4 bytes of length, count, two words. */
#define S5_OBJECT_MAX (1 + 1 + AML_NAME_SIZE + 1 + 4 + 1 + 3 + 3)

/* Reads a constant at *at and moves on. Returns false when there is none inside `len`. */
static bool INIT take_constant(const uint8_t *aml, size_t len, size_t *at, uint32_t *value)
{
    size_t left = len - *at;
    const uint8_t *p = aml + *at;

    if (left == 0)
        return false;
    switch (p[0]) {
    case AML_ZERO_OP:
    case AML_ONE_OP:
        *value = p[0];
        *at += 1;
        return true;
    case AML_ONES_OP:
        *value = 0xffffffffu;
        *at += 1;
        return true;
    case AML_BYTE_PREFIX:
        if (left < 2)
            return false;
        *value = p[1];
        *at += 2;
        return true;
    case AML_WORD_PREFIX:
        if (left < 3)
            return false;
        *value = acpi_get16(p + 1);
        *at += 3;
        return true;
    default: return false;
    }
}

/* Matches the object at `aml`, of which `len` bytes are there. */
static bool INIT match_s5(const uint8_t *aml, size_t len, uint32_t *typ_a, uint32_t *typ_b)
{
    size_t at = 0;

    if (at >= len || aml[at++] != AML_NAME_OP)
        return false;
    if (at < len && aml[at] == AML_ROOT_CHAR)
        at++;
    if (len - at < AML_NAME_SIZE + 2 || memcmp(aml + at, AML_S5_NAME, AML_NAME_SIZE) != 0)
        return false;
    at += AML_NAME_SIZE;
    if (aml[at++] != AML_PACKAGE_OP)
        return false;
    /* PkgLength: the top two bits of its first byte count the bytes that follow. */
    at += 1 + (size_t)(aml[at] >> 6);
    if (at >= len)
        return false;

    uint8_t elements = aml[at++];

    if (elements == 0 || !take_constant(aml, len, &at, typ_a))
        return false;
    /* A machine without PM1b may leave the second one out. */
    *typ_b = *typ_a;
    return elements == 1 || take_constant(aml, len, &at, typ_b);
}

void INIT acpi_scan_s5(struct acpi_info *info, const struct acpi_memory *mem,
                       const struct acpi_table *table)
{
    uint8_t buf[ACPI_CHUNK];
    uint32_t typ_a, typ_b;

    static_assert(S5_OBJECT_MAX < ACPI_CHUNK / 2, "chunks overlap by one object");
    for (uint32_t at = ACPI_HEADER_SIZE; at < table->length;) {
        size_t len = MIN(sizeof(buf), (size_t)(table->length - at));
        bool last = len == table->length - at;
        size_t starts = last ? len : len - S5_OBJECT_MAX;

        if (acpi_read(mem, table->address + at, buf, len) != 0)
            return;
        for (size_t i = 0; i < starts; i++) {
            if (buf[i] != AML_NAME_OP || !match_s5(buf + i, len - i, &typ_a, &typ_b))
                continue;
            if (typ_a > SLP_TYP_MAX || typ_b > SLP_TYP_MAX) {
                log_warn("ACPI: %s: \\_S5 has the values %u and %u, expected at most %d; ignored",
                         table->signature, typ_a, typ_b, SLP_TYP_MAX);
                return;
            }
            info->has_s5 = true;
            info->s5_slp_typ_a = (uint8_t)typ_a;
            info->s5_slp_typ_b = (uint8_t)typ_b;
            return;
        }
        at += (uint32_t)starts;
    }
}
