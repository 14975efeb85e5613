#ifndef BULKHEAD_VMM_CONFIG_H
#define BULKHEAD_VMM_CONFIG_H

/* The configuration that a person writes: bulkhead.conf, a boot module.
 *
 *   [section]          one [core] at most, a [vm NAME] for each VM, a [cpu N] for each pCPU with
 * slots key = value        spaces around both are free; each key once in a section, but for
 * `module` and `slot` ; comment          '#' as well. Behind a value it needs white space before
 * it; inside double quotes neither character means anything
 *
 * Double quotes around a whole value are taken off; others belong to the value. LF or CRLF, with or
 * without a UTF-8 byte order mark. */

#include <stddef.h>
#include <stdint.h>

#include "lib/log.h"
#include "lib/macros.h"

#define CONFIG_FILE_NAME "bulkhead.conf"

#define CONFIG_MAX_VMS    256
#define CONFIG_MAX_ERRORS 32 /* so many are reported, the rest is counted */
#define CONFIG_FILE_MAX   (256 * 1024)
#define CONFIG_LINE_MAX   4095         /* characters in a line */
#define CONFIG_TEXT_MAX   512          /* bytes of a report's text */
#define CONFIG_ARENA_SIZE (128 * 1024) /* of all VMs' strings */

#define CONFIG_NAME_MAX    16 /* bytes, each with its terminator */
#define CONFIG_MODULE_MAX  64
#define CONFIG_CMDLINE_MAX 2048

#define CONFIG_VM_MODULES_MAX 8
#define CONFIG_ARGUMENTS_MAX  128 /* of a module; bytes with the terminator */
#define CONFIG_MODULES_MAX    512 /* of all VMs */

#define MAX_PCPUS    64
#define VM_MAX_VCPUS 64

#define CONFIG_WEIGHT_MAX     10000
#define CONFIG_WEIGHT_DEFAULT 100
#define CONFIG_CAP_PER_VCPU   100 /* percent */

#define CONFIG_FRAME_MIN_US  100
#define CONFIG_FRAME_MAX_US  10000000
#define CONFIG_SLOT_MIN_US   20
#define CONFIG_CPU_SLOTS_MAX 64
#define CONFIG_SLOTS_MAX     512 /* of all CPUs */

#define CONFIG_SLICE_MIN_US     100
#define CONFIG_SLICE_MAX_US     1000000
#define CONFIG_SLICE_DEFAULT_US 5000

#define CONFIG_POOL_MIN     (2 * MIB)
#define CONFIG_POOL_MAX     (256 * MIB)
#define CONFIG_POOL_DEFAULT (8 * MIB)
#define CONFIG_VM_MEM_MIN   (2 * MIB)
#define CONFIG_VM_MEM_MAX   (1024 * GIB)
#define CONFIG_MEM_UNIT     (2 * MIB)

#define CONFIG_BAUD_MIN       50
#define CONFIG_BAUD_MAX       115200
#define CONFIG_SERIAL_MAX     4
#define CONFIG_CARD_PORTS_MAX 8     /* of a PCI function */
#define CONFIG_UART_PORT_MIN  0x100 /* below are the chipset's own ports */
#define CONFIG_UART_PORT_MAX  0xfff8

/* AUTO: whichever the firmware names, or else is there. */
enum config_serial_kind {
    CONFIG_SERIAL_AUTO,
    CONFIG_SERIAL_IO,
    CONFIG_SERIAL_MEMORY,
    CONFIG_SERIAL_PCI
};
enum config_screen { CONFIG_SCREEN_NO, CONFIG_SCREEN_YES, CONFIG_SCREEN_IF_THERE };
enum config_role { CONFIG_ROLE_GUEST, CONFIG_ROLE_MANAGEMENT };
enum config_class { CONFIG_CLASS_FAIR, CONFIG_CLASS_DEDICATED, CONFIG_CLASS_SLOTS };
enum config_done { CONFIG_DONE_POWEROFF, CONFIG_DONE_REBOOT, CONFIG_DONE_HALT };

/* A file for a multiboot kernel. */
struct config_module {
    const char *name;
    const char *arguments;
    unsigned int line;
};

/* Strings lie in the arena of struct config or are "", never NULL. */
struct vm_config {
    char name[CONFIG_NAME_MAX];
    const char *kernel;
    const char *initrd; /* "" = none */
    const char *cmdline;
    const struct config_module *modules; /* `module_count` of them */
    uint64_t memory;                     /* bytes, a multiple of CONFIG_MEM_UNIT */
    /* Bit n: it may run on pCPU n; whether there is one, the core checks. CONFIG_CLASS_DEDICATED:
     * vCPU i owns the i-th lowest. CONFIG_CLASS_SLOTS: those that its slots are on. Never a
     * dedicated VM's but its own. */
    uint64_t cpus;
    unsigned int module_count;
    unsigned int vcpus;
    enum config_class sched_class;
    uint32_t weight; /* CONFIG_CLASS_FAIR: its share against that of the others */
    uint32_t cap;    /* CONFIG_CLASS_FAIR: percent of a pCPU, all vCPUs together; 0 = none */
    enum config_role role;
    bool cpus_given; /* the file has `cpus` */
    bool autostart;
    bool entry32; /* take the kernel's 32-bit entry even when it has a 64-bit one */
    /* Where in the file the section and these keys stand; 0 = not there. */
    unsigned int line;
    unsigned int kernel_line;
    unsigned int initrd_line;
    unsigned int cpus_line;
};

/* A piece of each frame of a pCPU, for one vCPU. */
struct config_slot {
    const char *vm_name;
    uint32_t offset_us, length_us; /* from the frame's start; it ends within the frame */
    uint16_t vm;                   /* index in `vms` */
    uint16_t vcpu, cpu;
    bool share; /* fair VMs may have what the vCPU leaves */
    unsigned int line;
};

struct config_cpu {
    const struct config_slot *slots; /* by offset; they do not overlap */
    unsigned int slot_count;
    uint32_t frame_us; /* 0 = there is no [cpu N] */
    unsigned int line;
};

/* A serial port of the console's. */
struct config_serial {
    enum config_serial_kind kind;
    uint8_t part;     /* MEMORY: bytes from register to register. PCI: which of its ports, from 1 */
    uint32_t baud;    /* 0: what the firmware says, or has set */
    uint64_t address; /* of the first I/O port or byte; of the PCI function (drivers/pci.h) */
};

/* Some 190 KiB. It points into itself: not to be copied. */
struct config {
    enum config_screen screen; /* these are the console */
    unsigned int serial_count;
    struct config_serial serial[CONFIG_SERIAL_MAX];
    enum log_level log;
    uint32_t slice_us;          /* how long a vCPU runs before the next one's turn */
    uint64_t memory;            /* the core's own pool, bytes */
    bool scrub_at_boot;         /* clear guests' memory before the first VM starts */
    enum config_done when_done; /* after the last VM has stopped */
    unsigned int vm_count;
    struct vm_config vms[CONFIG_MAX_VMS];
    struct config_cpu cpus[MAX_PCPUS];
    struct config_module modules[CONFIG_MODULES_MAX];
    struct config_slot slots[CONFIG_SLOTS_MAX];
    char arena[CONFIG_ARENA_SIZE]; /* the last: only what is used of it is ever written */
};

/* Receives one error: its line in the file, from 1, and a text such as
 * `memory: found "3M", expected ...`, which is gone after the call. */
struct config_sink {
    void (*report)(void *ctx, unsigned int line, const char *text);
    void *ctx;
};

/* Reads a whole file. Returns 0 with `out` filled in, defaults included, or -BH_EINVAL after every
 * error has been reported; `out` then holds the defaults and no VM. Boot only. */
MUST_CHECK int config_parse(struct config *out, const char *text, size_t len,
                            const struct config_sink *sink);

/* Reads one `key=value` of the core's command line into `out`, as if it stood in [core], and leaves
 * the rest of `out` at the defaults. Returns 0, or -BH_EINVAL after reporting the error as line 1.
 * Boot only. */
MUST_CHECK int config_parse_core_key(struct config *out, const char *text, size_t len,
                                     const struct config_sink *sink);

/* Reports every `kernel`, `initrd` and `module` that names none of the `count` boot modules.
 * Returns how many. Boot only. */
unsigned int config_check_modules(const struct config *config, const char *const *names,
                                  unsigned int count, const struct config_sink *sink);

/* Bit n: pCPU n belongs to a VM of CONFIG_CLASS_DEDICATED. Of a configuration without errors; at
 * any time. */
uint64_t config_dedicated_cpus(const struct config *config);

#endif
