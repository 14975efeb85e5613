#ifndef BULKHEAD_BOOT_BOOT_INFO_H
#define BULKHEAD_BOOT_BOOT_INFO_H

/* What every way in leaves behind. After it is filled in, no code knows how the machine was booted.
 */

#include "boot/memory_map.h"
#include "lib/macros.h"
#include "lib/sha256.h"

#define BOOT_MODULES_MAX     32
#define BOOT_CMDLINE_MAX     512
#define BOOT_MODULE_NAME_MAX 64
#define BOOT_REPORT_MAX      160
#define BOOT_RSDP_SIZE       36 /* ACPI 6.5, table 5.3 */

/* A word of the core's command line: only the report on the machine, no VM, no modules. */
#define BOOT_CHECK_WORD "check"

#define BOOT_MAP_LIMIT (4 * GIB) /* what the boot page tables map */
#define FIRST_MIB      (1 * MIB) /* firmware's, and nobody's memory */

struct boot_module {
    uint64_t base; /* physical */
    uint64_t size; /* bytes */
    /* The last path component of the first word of the module's command line. */
    char name[BOOT_MODULE_NAME_MAX];
};

enum boot_framebuffer_kind { BOOT_FB_NONE, BOOT_FB_LINEAR, BOOT_FB_TEXT };

struct boot_framebuffer {
    uint64_t base;          /* physical */
    uint32_t pitch;         /* bytes a line */
    uint32_t width, height; /* pixels; of BOOT_FB_TEXT: characters */
    uint8_t kind, bits_per_pixel;
    uint8_t red_shift, red_bits, green_shift, green_bits, blue_shift, blue_bits;
};

/* Who has checked the files that were loaded. */
enum boot_secure {
    BOOT_SECURE_NONE, /* nobody that the core knows of */
    BOOT_SECURE_LIST, /* the loader, by the list inside it; nobody has checked the loader */
    BOOT_SECURE_ON,   /* the loader, and firmware its signature: Secure Boot */
};

/* A copy of the TPM's event log (boot/event_log.h), in memory of its own, and the two PCRs that the
 * loader measures into. */
#define BOOT_PCR_WORDS 8
#define BOOT_PCR_FILES 9

struct boot_measurements {
    uint64_t base, size; /* physical, bytes; 0: none */
    uint8_t format;      /* enum event_log_format */
    bool has_pcrs;       /* these, from the bank of SHA-256 */
    uint8_t pcr_words[SHA256_SIZE], pcr_files[SHA256_SIZE];
};

struct boot_info {
    const char *protocol; /* for the log */
    uint64_t entry_tsc;   /* TSC at the core's first instruction */
    char cmdline[BOOT_CMDLINE_MAX];
    struct memory_map map;
    unsigned int module_count;
    unsigned int modules_dropped;
    struct boot_module modules[BOOT_MODULES_MAX];
    /* A copy of the RSDP when the loader hands one over; otherwise rsdp_size is 0 and the tables
     * are searched for. */
    unsigned int rsdp_size;
    uint8_t rsdp[BOOT_RSDP_SIZE];
    struct boot_framebuffer framebuffer;
    uint8_t secure; /* enum boot_secure */
    struct boot_measurements measurements;
    /* Where the loader has saved machine_report(), or why not; empty: it did not try. */
    char report[BOOT_REPORT_MAX];
};

extern struct boot_info boot_info;

/* Takes over what a loader of our own has filled in (boot/core_header.h). Returns 0, -BH_EINVAL
 * when it cannot be right, or -BH_ENOMEM when its memory map does not fit (all logged). */
MUST_CHECK int boot_info_take(struct boot_info *info, const struct boot_info *from);

#endif
