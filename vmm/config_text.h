#ifndef BULKHEAD_VMM_CONFIG_TEXT_H
#define BULKHEAD_VMM_CONFIG_TEXT_H

/* Text of the configuration file: pieces of the file itself, never copied and not terminated. All
 * of it is pure and for the boot only. */

#include <stddef.h>
#include <stdint.h>

#include "lib/macros.h"

struct text_span {
    const char *at;
    size_t len;
};

/* Takes the next line off `rest`, without its LF or CRLF. Returns false when nothing is left. */
bool text_next_line(struct text_span *rest, struct text_span *line);

/* Without the white space (blanks and tabs) around it. */
struct text_span text_trim(struct text_span s);

/* Without its comment: from a ';' or '#' that stands at the start or behind white space, and not
 * within double quotes. `open_quote` says whether a quote was left open. */
struct text_span text_strip_comment(struct text_span line, bool *open_quote);

/* Finds a byte that is not printable: control characters other than the tab and, unless
 * `allow_high` is set, everything beyond ASCII. Returns whether there is one, and stores the first.
 */
bool text_find_unprintable(struct text_span s, bool allow_high, uint8_t *byte);

/* Splits at the first `c` into what stands before and behind it, both trimmed. Without one it
 * returns false; `before` is then all of it, trimmed, and `after` is empty. */
bool text_split(struct text_span s, char c, struct text_span *before, struct text_span *after);

/* Splits at the first blank; what stands behind it is trimmed, and may be empty. */
void text_split_word(struct text_span s, struct text_span *word, struct text_span *after);

/* Takes the double quotes off when they enclose the whole of it. Returns whether they did. */
bool text_unquote(struct text_span *s);

bool text_equals(struct text_span s, const char *word);
bool text_starts_with(struct text_span s, const char *word);

/* The whole of `s` is a number / one in hexadecimal behind "0x" / a size in bytes with unit K, M, G
 * or T / a duration with unit us, ms or s. Blanks before the unit are free. False when it is not,
 * or exceeds 64 bits; the value is anything then. */
bool text_decimal(struct text_span s, uint64_t *value);
bool text_hex(struct text_span s, uint64_t *value);
bool text_size(struct text_span s, uint64_t *bytes);
bool text_duration(struct text_span s, uint64_t *us);

/* True when `s` looks like a misspelt `word`: one edit apart, two for words of four letters and
 * more, upper and lower case taken as the same. */
bool text_resembles(struct text_span s, const char *word);

#endif
