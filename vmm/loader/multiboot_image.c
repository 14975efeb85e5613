#include "vmm/loader/multiboot_image.h"

#include "lib/string.h"
#include "vmm/loader/loader_internal.h"

#define ADDRESS_END (4 * GIB) /* the kernel starts without paging */

struct header {
    uint32_t magic;
    uint32_t flags;
    uint32_t checksum; /* makes the sum of all three 0 */
} PACKED;

/* Behind it, with MULTIBOOT_ADDRESSES. */
struct addresses {
    uint32_t header_addr; /* where the header's first byte goes */
    uint32_t load_addr;
    uint32_t load_end_addr; /* 0: the end of the file */
    uint32_t bss_end_addr;  /* 0: no bss */
    uint32_t entry_addr;
} PACKED;

/* System V ABI, chapters 4 and 5. Both classes of ELF file have the same fields in the same order;
 * some are words of 4 bytes in one class and of 8 in the other. */
#define ELF_MAGIC           0x464c457fu
#define ELF_CLASS_AT        4
#define ELF_DATA_AT         5
#define ELF_VERSION_AT      6
#define ELF_TYPE_AT         16
#define ELF_MACHINE_AT      18
#define ELF_FILE_VERSION_AT 20
#define ELF_ENTRY_AT        24
#define ELF_PHOFF_AT(w)     (ELF_ENTRY_AT + (w))
#define ELF_PHENTSIZE_AT(w) (ELF_ENTRY_AT + 3 * (w) + 6)
#define ELF_PHNUM_AT(w)     (ELF_PHENTSIZE_AT(w) + 2)
#define ELF_HEADER_MAX      64
#define ELF_PHDR_SIZE(w)    ((w) == 4 ? 32u : 56u)
#define ELF_PHDR_MAX        56
#define ELF_CLASS_32        1
#define ELF_CLASS_64        2
#define ELF_DATA_LSB        1
#define ELF_CURRENT         1
#define ET_EXEC             2
#define ET_DYN              3 /* fixed addresses here, too: nothing relocates it */
#define EM_386              3
#define EM_X86_64           62
#define PT_LOAD             1

/* Words of a program header; the first one has its type in the low 32 bits. */
enum phdr_word { P_TYPE, P_OFFSET, P_VADDR, P_PADDR, P_FILESZ, P_MEMSZ, P_WORDS };

struct elf {
    unsigned int word; /* size in bytes */
    uint64_t entry;
    uint64_t phoff;
    unsigned int phnum;
};

/* The reason, and out: `kernel`, `err` and `err_size` are at hand everywhere. */
#define BAD(fmt, ...) REFUSE("kernel \"%s\": " fmt, kernel->name, __VA_ARGS__)

/* Finds the first header with a right checksum; `at` is its offset. Returns 0; -BH_EINVAL when
 * there are only ones with a wrong checksum (`out` and `at` then show the first); -BH_ENOENT when
 * there is none; or what reading fails with. */
static int find_header(const struct blob *kernel, struct header *out, uint64_t *at)
{
    const uint64_t end = MIN(kernel->size, (uint64_t)MULTIBOOT_SEARCH);
    uint32_t words[64];
    struct header h;
    int rc = -BH_ENOENT;

    for (uint64_t base = 0; base + sizeof(h) <= end; base += sizeof(words)) {
        size_t len = (size_t)MIN(end - base, (uint64_t)sizeof(words));
        int failed = blob_read(kernel, base, words, len);

        for (size_t i = 0; i < len / sizeof(words[0]) && !failed; i++) {
            uint64_t offset = base + i * sizeof(words[0]);

            if (words[i] != MULTIBOOT_HEADER_MAGIC || end - offset < sizeof(h))
                continue;
            failed = blob_read(kernel, offset, &h, sizeof(h));
            bool good = !failed && h.magic + h.flags + h.checksum == 0;
            if (good || rc == -BH_ENOENT) {
                *out = h;
                *at = offset;
                rc = -BH_EINVAL;
            }
            if (good)
                return 0;
        }
        if (failed)
            return failed;
    }
    return rc;
}

bool multiboot_probe(const struct blob *kernel)
{
    struct header h;
    uint64_t at;
    int rc = find_header(kernel, &h, &at);

    return rc == 0 || rc == -BH_EINVAL;
}

static int unreadable(const struct blob *kernel, const char *what, char *err, size_t err_size)
{
    format(err, err_size, "kernel \"%s\": its %s cannot be read", kernel->name, what);
    return -BH_EIO;
}

static int read_header(struct header *h, uint64_t *at, const struct blob *kernel, char *err,
                       size_t err_size)
{
    int rc = find_header(kernel, h, at);

    if (rc == -BH_ENOENT)
        BAD("no multiboot header (0x%08x) in its first %d bytes", MULTIBOOT_HEADER_MAGIC,
            MULTIBOOT_SEARCH);
    if (rc == -BH_EINVAL)
        BAD("checksum of the multiboot header at 0x%llx is 0x%08x, expected 0x%08x", LLU(*at),
            h->checksum, -(h->magic + h->flags));
    if (rc != 0)
        return unreadable(kernel, "multiboot header", err, err_size);
    if (h->flags & MULTIBOOT_REQUIRED & ~MULTIBOOT_KNOWN)
        BAD("multiboot flags are 0x%08x, expected none of the unknown required ones 0x%04x",
            h->flags, h->flags & MULTIBOOT_REQUIRED & ~MULTIBOOT_KNOWN);
    return 0;
}

/* What the fields say about each other, before the size of the file counts. */
static int check_addresses(const struct addresses *a, uint64_t at, const struct blob *kernel,
                           char *err, size_t err_size)
{
    if (a->load_addr > a->header_addr || a->header_addr - a->load_addr > at)
        BAD("load_addr is 0x%x, expected from 0x%llx to header_addr, 0x%x: the header is at 0x%llx "
            "of the file",
            a->load_addr, LLU(a->header_addr > at ? a->header_addr - at : 0), a->header_addr,
            LLU(at));
    if (a->load_end_addr != 0 && a->load_end_addr <= a->load_addr)
        BAD("load_end_addr is 0x%x, expected 0 or more than load_addr, 0x%x", a->load_end_addr,
            a->load_addr);
    return 0;
}

/* The whole kernel is one segment (the "a.out kludge"). */
static int parse_flat(struct multiboot_image *out, const struct blob *kernel, uint64_t at,
                      char *err, size_t err_size)
{
    struct multiboot_segment *s = &out->segments[0];
    struct addresses a;
    int rc;

    if (at + sizeof(struct header) + sizeof(a) > MIN(kernel->size, (uint64_t)MULTIBOOT_SEARCH))
        BAD("multiboot header with addresses at 0x%llx ends outside of the file's first %d bytes",
            LLU(at), MULTIBOOT_SEARCH);
    if (blob_read(kernel, at + sizeof(struct header), &a, sizeof(a)) != 0)
        return unreadable(kernel, "multiboot header", err, err_size);
    rc = check_addresses(&a, at, kernel, err, err_size);
    if (rc != 0)
        return rc;

    out->format = "flat";
    out->entry = a.entry_addr;
    out->segment_count = 1;
    s->gpa = a.load_addr;
    s->offset = at - (a.header_addr - a.load_addr);
    s->filled = kernel->size - s->offset;
    if (a.load_end_addr != 0 && a.load_end_addr - a.load_addr > s->filled)
        BAD("file is truncated: load_end_addr 0x%x needs %llu bytes, it has %llu", a.load_end_addr,
            LLU(s->offset + a.load_end_addr - a.load_addr), LLU(kernel->size));
    if (a.load_end_addr != 0)
        s->filled = a.load_end_addr - a.load_addr;
    if (s->filled > ADDRESS_END - s->gpa)
        BAD("%llu bytes at load_addr 0x%x end above 4 GiB", LLU(s->filled), a.load_addr);
    s->size = s->filled;
    if (a.bss_end_addr != 0 && a.bss_end_addr < s->gpa + s->filled)
        BAD("bss_end_addr is 0x%x, expected 0 or at least the end of what is loaded, 0x%llx",
            a.bss_end_addr, LLU(s->gpa + s->filled));
    if (a.bss_end_addr != 0)
        s->size = a.bss_end_addr - s->gpa;
    if (out->entry < s->gpa || out->entry - s->gpa >= s->size)
        BAD("entry_addr is 0x%x, expected from 0x%llx to 0x%llx", a.entry_addr, LLU(s->gpa),
            LLU(s->gpa + s->size - 1));
    return 0;
}

static uint64_t field(const uint8_t *raw, unsigned int at, unsigned int size)
{
    uint64_t value = 0;

    memcpy(&value, raw + at, size);
    return value;
}

/* Fields that have one right value, or two. */
static int check_elf(const uint8_t *raw, unsigned int word, const struct blob *kernel, char *err,
                     size_t err_size)
{
    const unsigned int machine = word == 4 ? EM_386 : EM_X86_64;
    const struct {
        const char *name;
        unsigned int at, size, want, or_want;
    } fields[] = {
        {"class", ELF_CLASS_AT, 1, ELF_CLASS_32, ELF_CLASS_64},
        {"byte order", ELF_DATA_AT, 1, ELF_DATA_LSB, ELF_DATA_LSB},
        {"version", ELF_VERSION_AT, 1, ELF_CURRENT, ELF_CURRENT},
        {"type", ELF_TYPE_AT, 2, ET_EXEC, ET_DYN},
        {"machine", ELF_MACHINE_AT, 2, machine, machine},
        {"file version", ELF_FILE_VERSION_AT, 4, ELF_CURRENT, ELF_CURRENT},
        {"program header size", ELF_PHENTSIZE_AT(word), 2, ELF_PHDR_SIZE(word),
         ELF_PHDR_SIZE(word)},
    };

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        unsigned int found = (unsigned int)field(raw, fields[i].at, fields[i].size);

        if (found == fields[i].want || found == fields[i].or_want)
            continue;
        if (fields[i].want != fields[i].or_want)
            BAD("ELF %s is %u, expected %u or %u", fields[i].name, found, fields[i].want,
                fields[i].or_want);
        BAD("ELF %s is %u, expected %u", fields[i].name, found, fields[i].want);
    }
    return 0;
}

static int read_elf(struct elf *out, const struct blob *kernel, char *err, size_t err_size)
{
    uint8_t raw[ELF_HEADER_MAX] = {0};
    int rc;

    if (blob_read(kernel, 0, raw, (size_t)MIN(kernel->size, (uint64_t)sizeof(raw))) != 0)
        return unreadable(kernel, "ELF header", err, err_size);
    if (field(raw, 0, 4) != ELF_MAGIC)
        BAD("found neither an ELF file nor addresses in its multiboot header (flags 0x%x), "
            "expected one of them",
            MULTIBOOT_ADDRESSES);

    const unsigned int word = raw[ELF_CLASS_AT] == ELF_CLASS_64 ? 8 : 4;

    rc = check_elf(raw, word, kernel, err, err_size);
    if (rc != 0)
        return rc;
    out->word = word;
    out->entry = field(raw, ELF_ENTRY_AT, word);
    out->phoff = field(raw, ELF_PHOFF_AT(word), word);
    out->phnum = (unsigned int)field(raw, ELF_PHNUM_AT(word), 2);
    if (out->phnum == 0 || out->phnum > MULTIBOOT_PHDRS_MAX)
        BAD("found %u program headers, expected 1 to %d", out->phnum, MULTIBOOT_PHDRS_MAX);
    if (out->phoff > kernel->size || out->phnum * ELF_PHDR_SIZE(word) > kernel->size - out->phoff)
        BAD("file is truncated: it has %llu bytes, and %u program headers at 0x%llx",
            LLU(kernel->size), out->phnum, LLU(out->phoff));
    return 0;
}

static int read_phdr(uint64_t out[P_WORDS], const struct elf *elf, unsigned int index,
                     const struct blob *kernel)
{
    uint8_t raw[ELF_PHDR_MAX];
    int rc = blob_read(kernel, elf->phoff + (uint64_t)index * ELF_PHDR_SIZE(elf->word), raw,
                       ELF_PHDR_SIZE(elf->word));

    for (unsigned int i = 0; i < P_WORDS && rc == 0; i++)
        out[i] = field(raw, i * elf->word, i == P_TYPE ? 4 : elf->word);
    return rc;
}

static int check_segment(const uint64_t p[P_WORDS], unsigned int index, const struct blob *kernel,
                         char *err, size_t err_size)
{
    if (p[P_FILESZ] > p[P_MEMSZ])
        BAD("segment %u has %llu bytes in the file, expected at most its %llu bytes in memory",
            index, LLU(p[P_FILESZ]), LLU(p[P_MEMSZ]));
    if (p[P_OFFSET] > kernel->size || p[P_FILESZ] > kernel->size - p[P_OFFSET])
        BAD("file is truncated: it has %llu bytes, segment %u has %llu at 0x%llx",
            LLU(kernel->size), index, LLU(p[P_FILESZ]), LLU(p[P_OFFSET]));
    if (p[P_PADDR] >= ADDRESS_END || p[P_MEMSZ] > ADDRESS_END - p[P_PADDR])
        BAD("segment %u has %llu bytes at physical address 0x%llx, expected them below 4 GiB",
            index, LLU(p[P_MEMSZ]), LLU(p[P_PADDR]));
    return 0;
}

static int add_segment(struct multiboot_image *out, const uint64_t p[P_WORDS], unsigned int index,
                       const struct blob *kernel, char *err, size_t err_size)
{
    int rc = check_segment(p, index, kernel, err, err_size);

    if (rc != 0)
        return rc;
    if (out->segment_count == MULTIBOOT_SEGMENTS_MAX)
        BAD("segment %u is one too many, expected at most %d to load", index,
            MULTIBOOT_SEGMENTS_MAX);
    for (unsigned int i = 0; i < out->segment_count; i++) {
        const struct multiboot_segment *s = &out->segments[i];

        if (p[P_PADDR] < s->gpa + s->size && s->gpa < p[P_PADDR] + p[P_MEMSZ])
            BAD("segment %u at 0x%llx with %llu bytes overlaps segment %u at 0x%llx with %llu "
                "bytes",
                index, LLU(p[P_PADDR]), LLU(p[P_MEMSZ]), s->number, LLU(s->gpa), LLU(s->size));
    }
    out->segments[out->segment_count++] =
        (struct multiboot_segment){p[P_PADDR], p[P_MEMSZ], p[P_OFFSET], p[P_FILESZ], index};
    return 0;
}

static int parse_elf(struct multiboot_image *out, const struct blob *kernel, char *err,
                     size_t err_size)
{
    struct elf elf;
    uint64_t p[P_WORDS];
    bool entry_is_virtual = false, entry_is_physical = false;
    int rc = read_elf(&elf, kernel, err, err_size);

    if (rc != 0)
        return rc;
    out->format = elf.word == 4 ? "ELF32" : "ELF64";
    for (unsigned int i = 0; i < elf.phnum; i++) {
        if (read_phdr(p, &elf, i, kernel) != 0)
            return unreadable(kernel, "program headers", err, err_size);
        if (p[P_TYPE] != PT_LOAD || p[P_MEMSZ] == 0)
            continue;
        rc = add_segment(out, p, i, kernel, err, err_size);
        if (rc != 0)
            return rc;
        /* The entry is a virtual address, as GRUB takes it, or a physical one, as older loaders
         * do; where both would fit, GRUB wins. */
        if (!entry_is_virtual && elf.entry - p[P_VADDR] < p[P_MEMSZ]) {
            out->entry = elf.entry - p[P_VADDR] + p[P_PADDR];
            entry_is_virtual = true;
        }
        entry_is_physical = entry_is_physical || elf.entry - p[P_PADDR] < p[P_MEMSZ];
    }
    if (out->segment_count == 0)
        BAD("found no segment to load among %u program headers, expected one", elf.phnum);
    if (!entry_is_virtual && !entry_is_physical)
        BAD("entry is 0x%llx, expected an address in one of its %u segments", LLU(elf.entry),
            out->segment_count);
    if (!entry_is_virtual)
        out->entry = elf.entry;
    return 0;
}

int multiboot_image_parse(struct multiboot_image *out, const struct blob *kernel, char *err,
                          size_t err_size)
{
    struct header h;
    uint64_t at;
    int rc;

    memset(out, 0, sizeof(*out));
    rc = read_header(&h, &at, kernel, err, err_size);
    if (rc != 0)
        return rc;
    out->flags = h.flags;
    return h.flags & MULTIBOOT_ADDRESSES ? parse_flat(out, kernel, at, err, err_size)
                                         : parse_elf(out, kernel, err, err_size);
}
