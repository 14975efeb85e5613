#include "boot/uefi/sums.h"

#include "lib/sha256.h"
#include "lib/string.h"

#define DIGITS     (2 * SHA256_SIZE)
#define NAME_START (DIGITS + 2)

struct line {
    const char *sum, *name;
    size_t name_len;
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Takes the first line away from the list. Returns false at its end, or at what is no line. */
static bool take_line(const char **list, size_t *size, struct line *line)
{
    const char *text = *list;
    size_t end = NAME_START;

    if (*size <= NAME_START || text[DIGITS] != ' ' || text[DIGITS + 1] != ' ')
        return false;
    for (size_t i = 0; i < DIGITS; i++)
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
            return false;
    while (end < *size && text[end] > ' ' && text[end] <= '~')
        end++;
    if (end == NAME_START || end == *size || text[end] != '\n')
        return false;
    *line = (struct line){text, text + NAME_START, end - NAME_START};
    *list += end + 1;
    *size -= end + 1;
    return true;
}

static bool names_equal(const struct line *line, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < n && n == line->name_len; i++)
        if (lower(name[i]) != lower(line->name[i]))
            return false;
    return n == line->name_len;
}

const char *sums_find(const char *list, size_t size, const char *name)
{
    struct line line;

    while (take_line(&list, &size, &line))
        if (names_equal(&line, name))
            return line.sum;
    return NULL;
}

unsigned int sums_count(const char *list, size_t size)
{
    struct line line;
    unsigned int count = 0;

    while (take_line(&list, &size, &line))
        count++;
    return count;
}
