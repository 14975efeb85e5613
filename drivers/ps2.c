/* i8042 keyboard controller (IBM PS/2 Technical Reference, "Keyboard and Auxiliary Device
 * Controller"). */

#include "drivers/ps2.h"

#include "arch/x86/asm.h"
#include "arch/x86/time.h"
#include "drivers/ps2_keys.h"
#include "lib/error.h"

#define PORT_DATA    0x60
#define PORT_STATUS  0x64
#define PORT_COMMAND 0x64

#define STATUS_OUT_FULL BIT(0) /* there is a byte for us */
#define STATUS_IN_FULL  BIT(1) /* it has not taken our last one yet */
#define STATUS_AUX      BIT(5) /* the byte is the mouse's */
#define STATUS_NONE     0xff   /* nothing decodes the port */

#define COMMAND_READ_MODE    0x20
#define COMMAND_WRITE_MODE   0x60
#define COMMAND_AUX_OFF      0xa7
#define COMMAND_KEYBOARD_OFF 0xad
#define COMMAND_KEYBOARD_ON  0xae

#define MODE_INTERRUPT     BIT(0)
#define MODE_AUX_INTERRUPT BIT(1)
#define MODE_KEYBOARD_OFF  BIT(4)
#define MODE_AUX_OFF       BIT(5)
#define MODE_TRANSLATE     BIT(6) /* set 2, which keyboards begin with, to set 1 */

#define KEYBOARD_ENABLE 0xf4

#define WAIT_NS   10000000u
#define DRAIN_MAX 32u
#define READS_MAX 8u /* bytes that bring nothing, before others get their turn */

static bool is_there;
static struct ps2_keys keys;
static uint8_t typed[PS2_KEYS_MAX];
static unsigned int typed_count, typed_next;

INIT static bool wait_for(uint8_t bit, bool value)
{
    uint64_t end = rdtsc() + ns_span_to_tsc(WAIT_NS);

    while (((inb(PORT_STATUS) & bit) != 0) != value) {
        if (rdtsc() > end)
            return false;
        cpu_pause();
    }
    return true;
}

INIT static bool put(uint16_t port, uint8_t value)
{
    if (!wait_for(STATUS_IN_FULL, false))
        return false;
    outb(port, value);
    return true;
}

/* What was typed before, and answers that nobody waits for. */
INIT static bool drain(void)
{
    for (unsigned int i = 0; i < DRAIN_MAX; i++) {
        if (!(inb(PORT_STATUS) & STATUS_OUT_FULL))
            return true;
        (void)inb(PORT_DATA);
    }
    return false;
}

/* No self-test: it would end what firmware emulates for a USB keyboard. */
INIT int ps2_init(void)
{
    uint8_t mode;

    if (inb(PORT_STATUS) == STATUS_NONE || !put(PORT_COMMAND, COMMAND_KEYBOARD_OFF) ||
        !put(PORT_COMMAND, COMMAND_AUX_OFF) || !wait_for(STATUS_IN_FULL, false) || !drain() ||
        !put(PORT_COMMAND, COMMAND_READ_MODE) || !wait_for(STATUS_OUT_FULL, true))
        return -BH_ENOENT;
    mode = inb(PORT_DATA);
    mode |= MODE_INTERRUPT | MODE_AUX_OFF | MODE_TRANSLATE;
    mode &= (uint8_t) ~(MODE_AUX_INTERRUPT | MODE_KEYBOARD_OFF);
    if (!put(PORT_COMMAND, COMMAND_WRITE_MODE) || !put(PORT_DATA, mode) ||
        !put(PORT_COMMAND, COMMAND_KEYBOARD_ON))
        return -BH_ENOENT;
    /* Its acknowledgement is read here, for it would look like a key's release. */
    if (put(PORT_DATA, KEYBOARD_ENABLE) && wait_for(STATUS_OUT_FULL, true))
        (void)drain();
    is_there = true;
    return 0;
}

int ps2_read(void)
{
    for (unsigned int i = 0; is_there && typed_next == typed_count && i < READS_MAX; i++) {
        uint8_t status = inb(PORT_STATUS);
        if (status == STATUS_NONE)
            is_there = false;
        if (!is_there || !(status & STATUS_OUT_FULL))
            return -1;
        uint8_t code = inb(PORT_DATA);
        typed_next = 0;
        typed_count = status & STATUS_AUX ? 0 : ps2_keys_decode(&keys, code, typed);
    }
    return typed_next < typed_count ? typed[typed_next++] : -1;
}

bool ps2_is_pending(void)
{
    return is_there && (typed_next < typed_count || (inb(PORT_STATUS) & STATUS_OUT_FULL));
}
