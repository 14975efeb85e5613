#include "vmm/config_text.h"

#include "lib/string.h"

INIT static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

INIT bool text_next_line(struct text_span *rest, struct text_span *line)
{
    size_t n = 0;

    if (rest->len == 0)
        return false;
    while (n < rest->len && rest->at[n] != '\n')
        n++;
    size_t taken = n < rest->len ? n + 1 : n;

    *line = (struct text_span){rest->at, n};
    if (n > 0 && line->at[n - 1] == '\r')
        line->len--;
    rest->at += taken;
    rest->len -= taken;
    return true;
}

INIT struct text_span text_trim(struct text_span s)
{
    while (s.len > 0 && is_blank(s.at[0])) {
        s.at++;
        s.len--;
    }
    while (s.len > 0 && is_blank(s.at[s.len - 1]))
        s.len--;
    return s;
}

INIT struct text_span text_strip_comment(struct text_span line, bool *open_quote)
{
    bool quoted = false;

    for (size_t i = 0; i < line.len; i++) {
        char c = line.at[i];

        if (c == '"')
            quoted = !quoted;
        else if ((c == ';' || c == '#') && !quoted && (i == 0 || is_blank(line.at[i - 1])))
            line.len = i;
    }
    *open_quote = quoted;
    return line;
}

INIT bool text_find_unprintable(struct text_span s, bool allow_high, uint8_t *byte)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = (uint8_t)s.at[i];

        if ((c < ' ' && c != '\t') || c == 0x7f || (c > 0x7f && !allow_high)) {
            *byte = c;
            return true;
        }
    }
    return false;
}

INIT bool text_split(struct text_span s, char c, struct text_span *before, struct text_span *after)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] == c) {
            *before = text_trim((struct text_span){s.at, i});
            *after = text_trim((struct text_span){s.at + i + 1, s.len - i - 1});
            return true;
        }
    }
    *before = text_trim(s);
    *after = (struct text_span){s.at + s.len, 0};
    return false;
}

INIT void text_split_word(struct text_span s, struct text_span *word, struct text_span *after)
{
    for (*word = s, word->len = 0; word->len < s.len && !is_blank(s.at[word->len]);)
        word->len++;
    *after = text_trim((struct text_span){s.at + word->len, s.len - word->len});
}

INIT bool text_unquote(struct text_span *s)
{
    size_t i = 1;

    if (s->len < 2 || s->at[0] != '"')
        return false;
    while (i < s->len && s->at[i] != '"')
        i++;
    if (i != s->len - 1)
        return false;
    *s = (struct text_span){s->at + 1, s->len - 2};
    return true;
}

INIT bool text_equals(struct text_span s, const char *word)
{
    return strlen(word) == s.len && memcmp(s.at, word, s.len) == 0;
}

INIT bool text_starts_with(struct text_span s, const char *word)
{
    size_t n = strlen(word);

    return n <= s.len && memcmp(s.at, word, n) == 0;
}

INIT static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Value of a digit, or something beyond any base. */
INIT static unsigned int digit_value(char c)
{
    c = lower(c);
    if (c >= '0' && c <= '9')
        return (unsigned int)(c - '0');
    return c >= 'a' && c <= 'f' ? (unsigned int)(c - 'a') + 10 : UINT32_MAX;
}

/* Takes an unsigned number off the start of `s`. Returns false when there is no digit or when it
 * exceeds 64 bits. */
INIT static bool take_number(struct text_span *s, unsigned int base, uint64_t *value)
{
    size_t i = 0;

    for (*value = 0; i < s->len && digit_value(s->at[i]) < base; i++)
        if (__builtin_mul_overflow(*value, (uint64_t)base, value) ||
            __builtin_add_overflow(*value, (uint64_t)digit_value(s->at[i]), value))
            return false;
    s->at += i;
    s->len -= i;
    return i > 0;
}

INIT bool text_decimal(struct text_span s, uint64_t *value)
{
    return take_number(&s, 10, value) && s.len == 0;
}

INIT bool text_hex(struct text_span s, uint64_t *value)
{
    if (!text_starts_with(s, "0x"))
        return false;
    s.at += 2;
    s.len -= 2;
    return take_number(&s, 16, value) && s.len == 0;
}

INIT bool text_size(struct text_span s, uint64_t *bytes)
{
    static const char units[] = "kmgt";

    if (!take_number(&s, 10, bytes))
        return false;
    s = text_trim(s);
    const char *unit = s.len == 1 ? strchr(units, lower(s.at[0])) : NULL;

    return unit != NULL && *unit != '\0' &&
           !__builtin_mul_overflow(*bytes, BIT64(10 * (unit - units + 1)), bytes);
}

INIT bool text_duration(struct text_span s, uint64_t *us)
{
    if (!take_number(&s, 10, us))
        return false;
    s = text_trim(s);
    if (text_equals(s, "us"))
        return true;
    uint64_t unit = text_equals(s, "ms") ? 1000 : 1000000;

    return (unit == 1000 || text_equals(s, "s")) && !__builtin_mul_overflow(*us, unit, us);
}

#define WORD_MAX 16 /* letters of what is searched for */

/* Levenshtein's edit distance, one row of the matrix at a time. */
INIT static unsigned int distance(struct text_span s, const char *word, size_t word_len)
{
    unsigned int row[WORD_MAX + 1];

    for (unsigned int j = 0; j <= word_len; j++)
        row[j] = j;
    for (unsigned int i = 0; i < s.len; i++) {
        unsigned int diagonal = row[0];

        row[0] = i + 1;
        for (unsigned int j = 1; j <= word_len; j++) {
            unsigned int replace = diagonal + (lower(s.at[i]) != lower(word[j - 1]));
            unsigned int edit = MIN(row[j], row[j - 1]) + 1;

            diagonal = row[j];
            row[j] = MIN(replace, edit);
        }
    }
    return row[word_len];
}

INIT bool text_resembles(struct text_span s, const char *word)
{
    size_t n = strlen(word);

    if (n > WORD_MAX || s.len > WORD_MAX)
        return false;
    return distance(s, word, n) <= MIN(n / 2, (size_t)2);
}
