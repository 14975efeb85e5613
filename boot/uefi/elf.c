/* ELF-64 Object File Format 1.5: figures 2 (header), 3 (identification), 10 (section header) and
 * "Program header table". */

#include "boot/uefi/elf.h"

#include "boot/boot_info.h"
#include "boot/core_header.h"
#include "lib/error.h"
#include "lib/string.h"

#define ELF_MAGIC     0x464c457fu /* 7Fh "ELF" */
#define ELF_64_LITTLE 0x0102u     /* class 2, data encoding 1 */
#define ELF_EXEC      2
#define ELF_X86_64    62
#define PT_LOAD       1

#define CORE_SIZE_MAX (64 * MIB)

struct elf_header {
    uint32_t magic;
    uint16_t class_and_data;
    uint8_t version, padding[9];
    uint16_t type, machine;
    uint32_t version2;
    uint64_t entry, phoff, shoff;
    uint32_t flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
static_assert(sizeof(struct elf_header) == 64, "the file's layout");

struct elf_segment {
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, filesz, memsz, align;
};
static_assert(sizeof(struct elf_segment) == 56, "the file's layout");

static int complain(struct core_problem *problem, const char *what, uint64_t found,
                    const char *relation, uint64_t expected)
{
    *problem = (struct core_problem){what, relation, found, expected};
    return -BH_EINVAL;
}

/* The end of what begins at `offset`; UINT64_MAX when that is beyond all numbers. */
static uint64_t end_of(uint64_t offset, uint64_t size)
{
    return size <= UINT64_MAX - offset ? offset + size : UINT64_MAX;
}

static int check_header(const struct elf_header *h, uint64_t size, struct core_problem *p)
{
    if (h->magic != ELF_MAGIC)
        return complain(p, "the first four bytes (ELF's magic number)", h->magic, "", ELF_MAGIC);
    if (h->class_and_data != ELF_64_LITTLE)
        return complain(p, "the ELF class and data encoding (64 bits, little-endian)",
                        h->class_and_data, "", ELF_64_LITTLE);
    if (h->type != ELF_EXEC)
        return complain(p, "the ELF type (executable)", h->type, "", ELF_EXEC);
    if (h->machine != ELF_X86_64)
        return complain(p, "the ELF machine (x86-64)", h->machine, "", ELF_X86_64);
    if (h->phentsize != sizeof(struct elf_segment))
        return complain(p, "the size of a program header", h->phentsize, "",
                        sizeof(struct elf_segment));
    /* The section headers are the last thing in the file: without them, it is cut. */
    uint64_t end = h->shnum == 0 ? 0 : end_of(h->shoff, (uint64_t)h->shnum * h->shentsize);

    end = MAX(end, end_of(h->phoff, (uint64_t)h->phnum * sizeof(struct elf_segment)));
    if (end > size)
        return complain(p, "the file is cut: its bytes", size, "at least", end);
    return 0;
}

/* Takes one more loadable segment. They come in ascending order, as ELF demands. */
static int take_segment(const struct elf_segment *s, uint64_t size, struct core_image *image,
                        struct core_problem *p)
{
    uint64_t file_end = end_of(s->offset, s->filesz), end = end_of(s->paddr, s->memsz);

    if (image->segment_count == CORE_SEGMENTS_MAX)
        return complain(p, "loadable segments", CORE_SEGMENTS_MAX + 1, "at most",
                        CORE_SEGMENTS_MAX);
    if (file_end > size)
        return complain(p, "the file is cut: its bytes", size, "at least", file_end);
    if (s->filesz > s->memsz)
        return complain(p, "a segment's bytes in the file", s->filesz, "at most", s->memsz);
    if (image->segment_count > 0 && s->paddr < image->end)
        return complain(p, "a segment's physical address", s->paddr, "at least", image->end);
    if (end > 4 * GIB)
        return complain(p, "the end of a segment", end, "at most", 4 * GIB);
    if (image->segment_count == 0)
        image->base = s->paddr;
    image->end = end;
    image->segments[image->segment_count++] =
        (struct core_segment){s->offset, s->filesz, s->paddr, s->memsz};
    return 0;
}

/* What stands at the start of the first segment. */
static int check_core(const uint8_t *file, struct core_image *image, struct core_problem *p)
{
    struct core_header core;

    if (image->segment_count == 0)
        return complain(p, "loadable segments", 0, "at least", 1);
    if (image->end - image->base > CORE_SIZE_MAX)
        return complain(p, "the size in memory", image->end - image->base, "at most",
                        CORE_SIZE_MAX);
    if (image->segments[0].size < sizeof(core))
        return complain(p, "the first segment's bytes", image->segments[0].size, "at least",
                        sizeof(core));
    memcpy(&core, file + image->segments[0].offset, sizeof(core));
    if (core.magic != CORE_HEADER_MAGIC)
        return complain(p, "the first segment's first four bytes (a core of Bulkhead)", core.magic,
                        "", CORE_HEADER_MAGIC);
    if (core.info_size != sizeof(struct boot_info))
        return complain(p, "the size of struct boot_info (core and loader of one version)",
                        core.info_size, "", sizeof(struct boot_info));
    if (core.entry < image->base)
        return complain(p, "the entry", core.entry, "at least", image->base);
    if (core.entry >= image->end)
        return complain(p, "the entry", core.entry, "less than", image->end);
    image->entry = core.entry;
    return 0;
}

int core_elf_read(const void *file, uint64_t size, struct core_image *image,
                  struct core_problem *problem)
{
    const uint8_t *bytes = file;
    struct elf_header header;
    int err;

    *image = (struct core_image){.segment_count = 0};
    if (size < sizeof(header))
        return complain(problem, "the file is cut: its bytes", size, "at least", sizeof(header));
    memcpy(&header, bytes, sizeof(header));
    err = check_header(&header, size, problem);
    for (unsigned int i = 0; !err && i < header.phnum; i++) {
        struct elf_segment segment;

        memcpy(&segment, bytes + header.phoff + i * sizeof(segment), sizeof(segment));
        if (segment.type == PT_LOAD && segment.memsz > 0)
            err = take_segment(&segment, size, image, problem);
    }
    return err ? err : check_core(bytes, image, problem);
}

void core_elf_place(const void *file, const struct core_image *image, void *to)
{
    memset(to, 0, image->end - image->base);
    for (unsigned int i = 0; i < image->segment_count; i++) {
        const struct core_segment *s = &image->segments[i];

        memcpy((uint8_t *)to + (s->base - image->base), (const uint8_t *)file + s->offset, s->size);
    }
}
