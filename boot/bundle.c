#include "boot/bundle.h"

#include "lib/error.h"
#include "lib/log.h"
#include "lib/string.h"

#define MODE_TYPE    0170000u
#define MODE_REGULAR 0100000u
#define ENTRIES_MAX  1024u /* folders and the like also count */
#define ALIGNMENT    4     /* of names and of files, from the archive's start */

/* cpio(5), "New ASCII Format": all numbers in eight hexadecimal digits. */
struct bundle_header {
    char magic[6];
    char inode[8];
    char mode[8];
    char uid[8], gid[8];
    char links[8];
    char time[8];
    char file_size[8];
    char device[4][8];
    char name_size[8]; /* with its terminating 0 */
    char check[8];
};
static_assert(sizeof(struct bundle_header) == 110, "cpio's new format");

static const char BUNDLE_MAGIC[6] = {'0', '7', '0', '7', '0', '1'};
static const char BUNDLE_END[] = "TRAILER!!!";

static bool read_number(const char text[static 8], uint32_t *number)
{
    uint32_t value = 0;

    for (unsigned int i = 0; i < 8; i++) {
        char c = text[i];
        uint32_t digit;
        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (uint32_t)((c | 0x20) - 'a') + 10;
        else
            return false;
        value = value << 4 | digit;
    }
    *number = value;
    return true;
}

bool bundle_is_one(uint64_t base, uint64_t size, const struct phys_view *view)
{
    char magic[sizeof(BUNDLE_MAGIC)];

    return size >= sizeof(struct bundle_header) &&
           phys_view_read(view, base, magic, sizeof(magic)) &&
           memcmp(magic, BUNDLE_MAGIC, sizeof(magic)) == 0;
}

struct entry {
    uint32_t mode, name_size, file_size;
    uint64_t name, file, next; /* from the archive's start */
    char text[BOOT_MODULE_NAME_MAX];
};

/* The one at offset `at`; all of it lies within `size`, or -BH_EINVAL. */
static int read_entry(struct entry *entry, uint64_t base, uint64_t size, uint64_t at,
                      const struct phys_view *view)
{
    struct bundle_header header;

    if (size - at < sizeof(header) || !phys_view_read(view, base + at, &header, sizeof(header)) ||
        memcmp(header.magic, BUNDLE_MAGIC, sizeof(header.magic)) != 0 ||
        !read_number(header.mode, &entry->mode) ||
        !read_number(header.file_size, &entry->file_size) ||
        !read_number(header.name_size, &entry->name_size))
        return -BH_EINVAL;
    entry->name = at + sizeof(header);
    entry->file = ALIGN_UP(entry->name + entry->name_size, ALIGNMENT);
    entry->next = ALIGN_UP(entry->file + entry->file_size, ALIGNMENT);
    if (entry->name_size == 0 || entry->file + entry->file_size > size)
        return -BH_EINVAL;
    phys_view_string(view, base + entry->name, entry->name_size, entry->text, sizeof(entry->text));
    return 0;
}

int bundle_add(struct boot_info *info, uint64_t base, uint64_t size, const struct phys_view *view)
{
    struct entry entry;
    uint64_t at = 0;

    for (unsigned int i = 0; i < ENTRIES_MAX && at < size; i++, at = entry.next) {
        int err = read_entry(&entry, base, size, at, view);
        if (err) {
            log_error("boot: the bundle of modules is damaged at byte %llu of %llu: expected a "
                      "header of cpio's newc format and its file",
                      LLU(at), LLU(size));
            return err;
        }
        if (strcmp(entry.text, BUNDLE_END) == 0)
            return 0;
        if ((entry.mode & MODE_TYPE) == MODE_REGULAR)
            err = boot_add_module(info, base + entry.file, base + entry.file + entry.file_size,
                                  entry.text);
        if (err)
            return err;
    }
    log_error("boot: the bundle of modules has no end within %llu bytes and %u entries", LLU(size),
              ENTRIES_MAX);
    return -BH_EINVAL;
}
