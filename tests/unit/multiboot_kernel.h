#ifndef BULKHEAD_TESTS_UNIT_MULTIBOOT_KERNEL_H
#define BULKHEAD_TESTS_UNIT_MULTIBOOT_KERNEL_H

/* Multiboot kernel files for the loader's tests: headers in the first KiB, a pattern behind. */

#include "tests/unit/loader_fake.h"
#include "vmm/loader/multiboot_image.h"

#define MB_AT      0x200u /* of the multiboot header */
#define TEXT_AT    0x1000u
#define TEXT_GPA   0x100000u
#define TEXT_SIZE  0x1800u
#define DATA_AT    0x2800u
#define DATA_GPA   0x102000u
#define DATA_SIZE  0x400u
#define DATA_MEM   0x5000u
#define FILE_SIZE  0x3000u
#define ENTRY      (TEXT_GPA + 0x10)
#define VIRT       0xffffffff80000000ull
#define PHDR_32(i) (52 + 32 * (i))
#define PHDR_64(i) (64 + 56 * (i))

/* Offsets in the ELF headers. */
enum { E_CLASS = 4, E_DATA = 5, E_VERSION = 6, E_TYPE = 16, E_MACHINE = 18, E_ENTRY = 24 };
enum { E32_PHOFF = 28, E32_PHENTSIZE = 42, E32_PHNUM = 44, E64_PHOFF = 32, E64_PHNUM = 56 };
enum { P32_OFFSET = 4, P32_VADDR = 8, P32_PADDR = 12, P32_FILESZ = 16, P32_MEMSZ = 20 };

static inline void put_header(struct fake_file *f, unsigned int at, uint32_t flags)
{
    fake_put(f, at, MULTIBOOT_HEADER_MAGIC, 4);
    fake_put(f, at + 4, flags, 4);
    fake_put(f, at + 8, -(MULTIBOOT_HEADER_MAGIC + flags), 4);
}

static inline void put_addresses(struct fake_file *f, unsigned int at, uint32_t header,
                                 uint32_t load, uint32_t load_end, uint32_t bss_end, uint32_t entry)
{
    const uint32_t values[] = {header, load, load_end, bss_end, entry};

    for (unsigned int i = 0; i < 5; i++)
        fake_put(f, at + 12 + 4 * i, values[i], 4);
}

static inline struct blob new_file(struct fake_file *f)
{
    memset(f, 0, sizeof(*f));
    f->fail_at = UINT64_MAX;
    return (struct blob){.name = "kernel.elf",
                         .size = FILE_SIZE,
                         .read = fake_file_read,
                         .copy_to_guest = fake_file_copy,
                         .ctx = f};
}

static inline void put_ident(struct fake_file *f, unsigned int class, unsigned int machine)
{
    fake_put(f, 0, 0x464c457f, 4);
    fake_put(f, E_CLASS, class, 1);
    fake_put(f, E_DATA, 1, 1);
    fake_put(f, E_VERSION, 1, 1);
    fake_put(f, E_TYPE, 2, 2);
    fake_put(f, E_MACHINE, machine, 2);
    fake_put(f, 20, 1, 4);
    put_header(f, MB_AT, MULTIBOOT_PAGE_ALIGN | MULTIBOOT_MEMORY);
}

static inline void put_phdr32(struct fake_file *f, unsigned int i, uint32_t type, uint32_t offset,
                              uint32_t vaddr, uint32_t paddr, uint32_t filesz, uint32_t memsz)
{
    const uint32_t values[] = {type, offset, vaddr, paddr, filesz, memsz, 7, 0x1000};

    for (unsigned int k = 0; k < 8; k++)
        fake_put(f, PHDR_32(i) + 4 * k, values[k], 4);
}

/* Text, a note, data with a bss; linked where it is loaded. */
static inline struct blob kernel_elf32(struct fake_file *f)
{
    struct blob blob = new_file(f);

    put_ident(f, 1, 3);
    fake_put(f, E_ENTRY, ENTRY, 4);
    fake_put(f, E32_PHOFF, 52, 4);
    fake_put(f, E32_PHENTSIZE, 32, 2);
    fake_put(f, E32_PHNUM, 3, 2);
    put_phdr32(f, 0, 1, TEXT_AT, TEXT_GPA, TEXT_GPA, TEXT_SIZE, TEXT_SIZE);
    put_phdr32(f, 1, 4, 0, 0, 0, 0xffffffff, 0xffffffff);
    put_phdr32(f, 2, 1, DATA_AT, DATA_GPA, DATA_GPA, DATA_SIZE, DATA_MEM);
    return blob;
}

static inline void put_phdr64(struct fake_file *f, unsigned int i, uint64_t offset, uint64_t vaddr,
                              uint64_t paddr, uint64_t filesz, uint64_t memsz)
{
    const uint64_t values[] = {1 | 7ull << 32, offset, vaddr, paddr, filesz, memsz, 0x1000};

    for (unsigned int k = 0; k < 7; k++)
        fake_put(f, PHDR_64(i) + 8 * k, values[k], 8);
}

/* The same, linked into the upper half. */
static inline struct blob kernel_elf64(struct fake_file *f)
{
    struct blob blob = new_file(f);

    put_ident(f, 2, 62);
    fake_put(f, E_ENTRY, VIRT + ENTRY, 8);
    fake_put(f, E64_PHOFF, 64, 8);
    fake_put(f, 54, 56, 2);
    fake_put(f, E64_PHNUM, 2, 2);
    put_phdr64(f, 0, TEXT_AT, VIRT + TEXT_GPA, TEXT_GPA, TEXT_SIZE, TEXT_SIZE);
    put_phdr64(f, 1, DATA_AT, VIRT + DATA_GPA, DATA_GPA, DATA_SIZE, DATA_MEM);
    return blob;
}

/* No ELF: from the file's byte 0x100 on, at 1 MiB. */
#define FLAT_SKIP 0x100u
static inline struct blob kernel_flat(struct fake_file *f)
{
    struct blob blob = new_file(f);

    put_header(f, MB_AT, MULTIBOOT_MEMORY | MULTIBOOT_ADDRESSES);
    put_addresses(f, MB_AT, TEXT_GPA + MB_AT - FLAT_SKIP, TEXT_GPA, TEXT_GPA + 0x2000,
                  TEXT_GPA + 0x8000, ENTRY);
    return blob;
}

#endif
