#ifndef BULKHEAD_VMM_CONFIG_INTERNAL_H
#define BULKHEAD_VMM_CONFIG_INTERNAL_H

/* Between the parts of the configuration's parser: config.c knows lines and sections, config_keys.c
 * what each key means. */

#include "vmm/config.h"
#include "vmm/config_text.h"

#define CONFIG_KEYS_MAX 16 /* in a section */

enum config_section { SECTION_NONE, SECTION_CORE, SECTION_VM, SECTION_SKIPPED };

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
    struct vm_config *vm;                    /* in SECTION_VM */
    const struct config_key *key;            /* the one that is being set */
    unsigned int key_lines[CONFIG_KEYS_MAX]; /* in this section; 0 = not there */
};

extern const struct config_key config_core_keys[];
extern const unsigned int config_core_key_count;
extern const struct config_key config_vm_keys[];
extern const unsigned int config_vm_key_count;

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
