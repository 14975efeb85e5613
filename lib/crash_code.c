#include "lib/crash_code.h"

#define FORMAT         0u
#define FORMAT_BITS    1
#define COMMIT_BITS    32
#define VECTOR_BITS    6
#define ERROR_BITS     3
#define FRAME_BITS     22
#define CRC_BITS       10
#define CRC_POLYNOMIAL 0x233u /* x^10 + x^9 + x^5 + x^4 + x + 1, of ITU-T I.610 */
#define PAYLOAD_BITS \
    (FORMAT_BITS + 1 + 1 + COMMIT_BITS + VECTOR_BITS + ERROR_BITS + CRASH_FRAMES * FRAME_BITS)

#define CHAR_BITS  5
#define CHARACTERS 24u
#define GROUP      4u

static_assert(PAYLOAD_BITS + CRC_BITS == CHARACTERS * CHAR_BITS, "all bits are in use");
static_assert(CHARACTERS + CHARACTERS / GROUP == CRASH_CODE_SIZE, "dashes, and a zero byte");

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static void add(unsigned __int128 *bits, uint32_t value, unsigned int count)
{
    *bits = *bits << count | (value & (BIT64(count) - 1));
}

static uint32_t crc_of(unsigned __int128 bits)
{
    uint32_t crc = BIT(CRC_BITS) - 1; /* not 0: zeros alone are no code */

    for (unsigned int i = PAYLOAD_BITS; i-- > 0;) {
        uint32_t out = (crc >> (CRC_BITS - 1) ^ (uint32_t)(bits >> i)) & 1;
        crc = (crc << 1 & (BIT(CRC_BITS) - 1)) ^ (out ? CRC_POLYNOMIAL : 0);
    }
    return crc;
}

void crash_code(const struct crash_facts *facts, char code[CRASH_CODE_SIZE])
{
    unsigned __int128 bits = 0;

    add(&bits, FORMAT, FORMAT_BITS);
    add(&bits, facts->is_modified, 1);
    add(&bits, facts->has_checks, 1);
    add(&bits, facts->commit, COMMIT_BITS);
    add(&bits, facts->vector, VECTOR_BITS);
    add(&bits, facts->error, ERROR_BITS);
    for (unsigned int i = 0; i < CRASH_FRAMES; i++)
        add(&bits, facts->frames[i], FRAME_BITS);
    add(&bits, crc_of(bits), CRC_BITS);
    for (unsigned int i = 0; i < CHARACTERS; i++) {
        uint32_t value = (uint32_t)(bits >> (CHARACTERS - 1 - i) * CHAR_BITS) & 31;
        *code++ = alphabet[value];
        if (i % GROUP == GROUP - 1)
            *code++ = i + 1 < CHARACTERS ? '-' : '\0';
    }
}
