#ifndef BULKHEAD_VMM_CONFIG_INTERNAL_H
#define BULKHEAD_VMM_CONFIG_INTERNAL_H

/* Between the parts of the configuration's parser: config.c knows lines and sections,
 * config_keys.c, config_slots.c and config_console.c what each key means, config_check.c what must
 * fit together. */

#include "vmm/config.h"
#include "vmm/config_text.h"

#define CONFIG_KEYS_MAX 16 /* in a section */

enum config_section {
    SECTION_NONE,
    SECTION_SKIPPED,
    SECTION_CORE,
    SECTION_VM,
    SECTION_CPU,
    SECTION_COUNT
};

struct config_parser;

/* How often it may stand in a section. */
enum config_times { CONFIG_OPTIONAL, CONFIG_REQUIRED, CONFIG_REPEATED };

/* A list of these ends with a NULL. */
struct config_word {
    const char *text;
    unsigned int value;
};

struct config_key {
    const char *name;
    /* Stores a value, or reports what is wrong with it. It is trimmed, unquoted, printable ASCII,
     * and empty only when the file says "". */
    void (*set)(struct config_parser *p, struct text_span value);
    enum config_times times;
    const char *expected; /* completes the sentence 'found "...", expected ' */
    /* Where in the section's structure the value of a word or a number goes, an enum or a bool. */
    size_t offset, size;
    const struct config_word *words; /* keys that take one of a few */
    /* Keys that take a number: how it is written, and its bounds; a multiple of `unit`. */
    bool (*number)(struct text_span s, uint64_t *value);
    uint64_t min, max, unit;
};

struct config_parser {
    struct config *out;
    const struct config_sink *sink;
    unsigned int line;
    unsigned int errors;
    unsigned int first_hidden; /* line of the first error beyond CONFIG_MAX_ERRORS */
    enum config_section section;
    unsigned int section_line;
    unsigned int core_line;                  /* of [core]; 0 = none so far */
    unsigned int section_errors;             /* `errors` where it began */
    struct vm_config *vm;                    /* in SECTION_VM */
    struct config_cpu *cpu;                  /* in SECTION_CPU */
    const struct config_key *key;            /* the one that is being set */
    unsigned int key_lines[CONFIG_KEYS_MAX]; /* in this section; 0 = not there */
    /* How much of `out` is taken. */
    unsigned int modules_used, slots_used;
    size_t arena_used;
    /* What has errors of its own is left out where VMs and CPUs are compared, as these would only
     * follow from them. */
    uint64_t bad_vms[CONFIG_MAX_VMS / 64];
    bool vms_missing, slots_missing;
};

/* Each ends with a key without a name. */
extern const struct config_key config_core_keys[];
extern const struct config_key config_vm_keys[];
extern const struct config_key config_cpu_keys[];

/* Stores a `slot`, a struct config_key's `set`. */
void config_set_slot(struct config_parser *p, struct text_span value);

/* The same of `console`. */
void config_set_console(struct config_parser *p, struct text_span value);

/* Checks the keys of a [vm NAME] against each other, when it is complete and each is good. */
void config_check_vm(struct config_parser *p);

/* Checks VMs and CPUs against each other at the end of the file, and completes them: names of slots
 * become numbers, VMs' `cpus` what their class makes of it. */
void config_check_cpus(struct config_parser *p);

/* Copies a string into the arena for the current key. Returns it, or NULL after reporting that it
 * is full. */
const char *config_keep(struct config_parser *p, struct text_span s);

/* Counts and reports an error in a line. */
void config_error(struct config_parser *p, unsigned int line, const char *fmt, ...) PRINTF(3, 4);

/* Reports the current key's value: found this, expected what the key says, or `expected`. */
void config_bad_value(struct config_parser *p, struct text_span value);
void config_bad_value_expected(struct config_parser *p, struct text_span value,
                               const char *expected);

/* Arguments for "%.*s%s": a piece of the file, cut to what a message has room for. */
#define CONFIG_SHOWN_MAX 48
#define SHOW(s) \
    (int)MIN((s).len, (size_t)CONFIG_SHOWN_MAX), (s).at, (s).len > CONFIG_SHOWN_MAX ? "..." : ""

#endif
