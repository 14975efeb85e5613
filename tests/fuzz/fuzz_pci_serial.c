/* Any bytes as PCI configuration space: 64 bytes for each function that there is, in the order in
 * which they are asked for. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "drivers/pci_serial.h"
#include "tests/fuzz/require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CARDS_MAX 4
#define HEADER    64
#define READS_MAX 4000000

static const uint8_t *bytes;
static size_t count;
static unsigned int reads;

/* The same each time, but for what was written. */
static struct {
    uint16_t function;
    unsigned int offset;
    uint32_t value;
} written;
static bool is_written;

static uint32_t read(uint16_t function, unsigned int offset)
{
    uint32_t value;
    size_t headers = count / HEADER;

    REQUIRE(offset + 4 <= HEADER && offset % 4 == 0);
    REQUIRE(++reads < READS_MAX);
    if (headers == 0 || function % 7 == 6)
        return ~0u;
    memcpy(&value, bytes + function % headers * HEADER + offset, sizeof(value));
    if (is_written && written.function == function && written.offset == offset)
        return written.value & value;
    return value;
}

static void write(uint16_t function, unsigned int offset, uint32_t value)
{
    REQUIRE(offset + 4 <= HEADER && offset % 4 == 0);
    is_written = true;
    written.function = function;
    written.offset = offset;
    written.value = value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct pci_config pci = {.read = read, .write = write};
    struct pci_serial found[CARDS_MAX];

    bytes = data;
    count = size;
    reads = 0;
    is_written = false;
    unsigned int n = pci_serial_scan(&pci, found, CARDS_MAX);

    REQUIRE(n <= CARDS_MAX);
    for (unsigned int i = 0; i < n; i++) {
        const struct pci_serial *card = &found[i];

        REQUIRE(card->ports <= PCI_SERIAL_PORTS_MAX && (card->is_16550 || card->ports == 0));
        if (card->ports > 0 && card->is_io)
            REQUIRE(card->address != 0 && card->address + 8 * card->ports <= 0x10000);
        else if (card->ports > 0)
            REQUIRE(card->ports == 1 && card->address != 0 && card->address < BIT64(52));
    }
    return 0;
}
