#include "boot/uefi/options.h"

#include "lib/error.h"
#include "lib/string.h"

#define MENU "menu"

/* Takes the next word off `rest`. Returns false when nothing is left. */
static bool next_word(struct text_span *rest, struct text_span *word)
{
    struct text_span all = text_trim(*rest);

    text_split_word(all, word, rest);
    return word->len > 0;
}

static bool is_menu(struct text_span word)
{
    return text_equals(word, MENU) || text_starts_with(word, MENU "=");
}

static bool read_menu(struct text_span word, unsigned int *seconds)
{
    struct text_span key, value;
    uint64_t number;

    if (!text_split(word, '=', &key, &value) || !text_decimal(value, &number) ||
        number > MENU_SECONDS_MAX)
        return false;
    *seconds = (unsigned int)number;
    return true;
}

int options_take_menu(char *line, unsigned int *seconds, struct text_span *bad)
{
    struct text_span rest = {line, strlen(line)}, word;
    unsigned int found = *seconds;
    size_t used = 0;

    while (next_word(&rest, &word)) {
        if (is_menu(word) && !read_menu(word, &found)) {
            *bad = word;
            return -BH_EINVAL;
        }
    }
    *seconds = found;
    rest = (struct text_span){line, strlen(line)};
    while (next_word(&rest, &word)) {
        if (is_menu(word))
            continue;
        if (used > 0)
            line[used++] = ' ';
        memmove(line + used, word.at, word.len);
        used += word.len;
    }
    line[used] = '\0';
    return 0;
}

bool options_have(const char *line, const char *word)
{
    struct text_span rest = {line, strlen(line)}, found;

    while (next_word(&rest, &found))
        if (text_equals(found, word))
            return true;
    return false;
}

bool options_append(char *line, size_t size, const char *words)
{
    size_t used = strlen(line), len = strlen(words), blank = used > 0 && len > 0;

    if (used + blank + len >= size)
        return false;
    if (blank)
        line[used++] = ' ';
    memcpy(line + used, words, len + 1);
    return true;
}
