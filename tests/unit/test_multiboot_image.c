/* Multiboot kernel files: what is read from good ones, and each reason to refuse one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/host_log.h"
#include "tests/unit/multiboot_kernel.h"
#include "vmm/loader/loader_internal.h"

static struct fake_file file;
static struct blob kernel;
static struct multiboot_image image;
static char err[256];

static int parse(void)
{
    err[0] = '\0';
    return multiboot_image_parse(&image, &kernel, err, sizeof(err));
}

static void refused(const char *text)
{
    assert_int_equal(parse(), -BH_EINVAL);
    if (!strstr(err, text))
        fail_msg("message \"%s\" lacks \"%s\"", err, text);
    assert_non_null(strstr(err, "kernel \"kernel.elf\": "));
}

static void accepted(void)
{
    if (parse() != 0)
        fail_msg("refused: %s", err);
}

static void expect_segment(unsigned int i, uint64_t gpa, uint64_t size, uint64_t offset,
                           uint64_t filled)
{
    assert_true(i < image.segment_count);
    assert_int_equal(image.segments[i].gpa, gpa);
    assert_int_equal(image.segments[i].size, size);
    assert_int_equal(image.segments[i].offset, offset);
    assert_int_equal(image.segments[i].filled, filled);
}

static void expect_both_segments(const char *format)
{
    accepted();
    assert_string_equal(image.format, format);
    assert_int_equal(image.entry, ENTRY);
    assert_int_equal(image.segment_count, 2);
    expect_segment(0, TEXT_GPA, TEXT_SIZE, TEXT_AT, TEXT_SIZE);
    expect_segment(1, DATA_GPA, DATA_MEM, DATA_AT, DATA_SIZE);
    assert_int_equal(image.flags, MULTIBOOT_PAGE_ALIGN | MULTIBOOT_MEMORY);
}

static void test_elf(void **state)
{
    (void)state;
    kernel = kernel_elf32(&file);
    expect_both_segments("ELF32");
    kernel = kernel_elf64(&file);
    expect_both_segments("ELF64");
    /* A fixed-address ET_DYN is as good; a segment without memory is none. */
    fake_put(&file, E_TYPE, 3, 2);
    fake_put(&file, E64_PHNUM, 3, 2);
    put_phdr64(&file, 2, UINT64_MAX, 0, UINT64_MAX, 0, 0);
    expect_both_segments("ELF64");
}

static void test_entry(void **state)
{
    (void)state;
    /* Linked high in 32 bits, entry given as virtual or as physical address. */
    kernel = kernel_elf32(&file);
    fake_put(&file, PHDR_32(0) + P32_VADDR, 0xc0000000, 4);
    fake_put(&file, PHDR_32(2) + P32_VADDR, 0xc0002000, 4);
    expect_both_segments("ELF32");
    fake_put(&file, E_ENTRY, 0xc0000010, 4);
    expect_both_segments("ELF32");
    fake_put(&file, E_ENTRY, 0xc0002000 + DATA_MEM - 1, 4);
    accepted();
    assert_int_equal(image.entry, DATA_GPA + DATA_MEM - 1);
    fake_put(&file, E_ENTRY, 0xc0002000 + DATA_MEM, 4);
    refused("entry is 0xc0007000, expected an address in one of its 2 segments");
    fake_put(&file, E_ENTRY, TEXT_GPA - 1, 4);
    refused("entry is 0xfffff");
    fake_put(&file, E_ENTRY, TEXT_GPA + TEXT_SIZE, 4);
    refused("entry is 0x101800");
    /* It fits both: the virtual one counts. */
    fake_put(&file, PHDR_32(2) + P32_VADDR, TEXT_GPA, 4);
    fake_put(&file, E_ENTRY, ENTRY, 4);
    accepted();
    assert_int_equal(image.entry, DATA_GPA + 0x10);
}

static void test_flat(void **state)
{
    (void)state;
    kernel = kernel_flat(&file);
    accepted();
    assert_string_equal(image.format, "flat");
    assert_int_equal(image.segment_count, 1);
    assert_int_equal(image.entry, ENTRY);
    expect_segment(0, TEXT_GPA, 0x8000, FLAT_SKIP, 0x2000);

    /* No ends: the rest of the file, no bss. */
    put_addresses(&file, MB_AT, TEXT_GPA + MB_AT, TEXT_GPA, 0, 0, TEXT_GPA + FILE_SIZE - 1);
    accepted();
    expect_segment(0, TEXT_GPA, FILE_SIZE, 0, FILE_SIZE);

    /* The addresses win over an ELF header. */
    kernel = kernel_elf32(&file);
    put_header(&file, MB_AT, MULTIBOOT_ADDRESSES);
    put_addresses(&file, MB_AT, 0x200000, 0x200000, 0, 0, 0x200020);
    accepted();
    assert_string_equal(image.format, "flat");
    expect_segment(0, 0x200000, FILE_SIZE - MB_AT, MB_AT, FILE_SIZE - MB_AT);
}

static void test_flat_refusals(void **state)
{
    const uint32_t header = TEXT_GPA + MB_AT;

    (void)state;
    kernel = kernel_flat(&file);
    put_addresses(&file, MB_AT, TEXT_GPA, TEXT_GPA + 1, 0, 0, ENTRY);
    refused("load_addr is 0x100001, expected from 0xffe00 to header_addr, 0x100000");
    put_addresses(&file, MB_AT, header, TEXT_GPA - 1, 0, 0, ENTRY);
    refused("load_addr is 0xfffff, expected from 0x100000 ");
    put_addresses(&file, MB_AT, header, TEXT_GPA, TEXT_GPA, 0, ENTRY);
    refused("load_end_addr is 0x100000, expected 0 or more than load_addr");
    put_addresses(&file, MB_AT, header, TEXT_GPA, TEXT_GPA + FILE_SIZE, 0, ENTRY);
    accepted();
    put_addresses(&file, MB_AT, header, TEXT_GPA, TEXT_GPA + FILE_SIZE + 1, 0, ENTRY);
    refused("truncated: load_end_addr 0x103001 needs 12289 bytes, it has 12288");
    put_addresses(&file, MB_AT, header, TEXT_GPA, 0, TEXT_GPA + FILE_SIZE - 1, ENTRY);
    refused("bss_end_addr is 0x102fff, expected 0 or at least");
    put_addresses(&file, MB_AT, header, TEXT_GPA, 0, 0, TEXT_GPA + FILE_SIZE);
    refused("entry_addr is 0x103000, expected from 0x100000 to 0x102fff");
    put_addresses(&file, MB_AT, header, TEXT_GPA, 0, 0, TEXT_GPA - 1);
    refused("entry_addr is 0xfffff");
    put_addresses(&file, MB_AT, 0xffffff00u, 0xffffff00u, 0, 0, 0xffffff00u);
    refused("at load_addr 0xffffff00 end above 4 GiB");
    put_addresses(&file, MB_AT, 0xffffff00u, 0xffffff00u, 0xffffffffu, 0xffffffffu, 0xffffff00u);
    accepted();

    /* The addresses themselves are cut off. */
    kernel = kernel_flat(&file);
    kernel.size = MB_AT + 31;
    refused("multiboot header with addresses at 0x200 ends outside");
}

static void test_header_search(void **state)
{
    (void)state;
    kernel = kernel_elf32(&file);
    assert_true(multiboot_probe(&kernel));
    /* One with a wrong checksum is passed over when a right one follows. */
    fake_put(&file, 0x100, MULTIBOOT_HEADER_MAGIC, 4);
    accepted();
    fake_put(&file, MB_AT + 8, 1, 4);
    assert_true(multiboot_probe(&kernel));
    refused("checksum of the multiboot header at 0x100 is 0x00000000, expected 0xe4524ffe");
    fake_put(&file, 0x100, 0, 4);
    refused("header at 0x200 is 0x00000001, expected 0xe4524ffb");

    fake_put(&file, MB_AT, 0, 4);
    assert_false(multiboot_probe(&kernel));
    refused("no multiboot header (0x1badb002) in its first 8192 bytes");
    put_header(&file, MB_AT + 2, 0); /* not aligned */
    assert_false(multiboot_probe(&kernel));

    /* The last 12 bytes of a file may be it, and no more may be missing. */
    kernel = kernel_elf32(&file);
    kernel.size = MB_AT + 12;
    assert_true(multiboot_probe(&kernel));
    kernel.size = MB_AT + 11;
    assert_false(multiboot_probe(&kernel));
    for (kernel.size = 0; kernel.size < 16; kernel.size++)
        assert_false(multiboot_probe(&kernel));
}

/* The header may end at byte 8192, not behind. */
static int far_read(void *ctx, uint64_t offset, void *buf, size_t len)
{
    const uint64_t *at = ctx;
    const uint32_t header[] = {MULTIBOOT_HEADER_MAGIC, 0, -MULTIBOOT_HEADER_MAGIC};

    for (size_t i = 0; i < len; i++) {
        uint64_t k = offset + i - *at;
        ((uint8_t *)buf)[i] = k < sizeof(header) ? ((const uint8_t *)header)[k] : 0;
    }
    return 0;
}

static void test_header_far(void **state)
{
    uint64_t at = 8192 - 12;

    (void)state;
    kernel = (struct blob){.name = "kernel.elf", .size = MIB, .read = far_read, .ctx = &at};
    assert_true(multiboot_probe(&kernel));
    refused("neither an ELF file nor addresses in its multiboot header");
    at += 4;
    assert_false(multiboot_probe(&kernel));
    /* Across a border of whatever pieces it is read in. */
    for (at = 4; at < 8192 - 12; at += 124)
        assert_true(multiboot_probe(&kernel));
}

static void test_flags(void **state)
{
    (void)state;
    for (unsigned int bit = 0; bit < 32; bit++) {
        char text[64];

        kernel = kernel_elf32(&file);
        put_header(&file, MB_AT, BIT(bit));
        if (bit <= 2 || bit >= 17) {
            accepted();
        } else if (bit < 16) {
            format(text, sizeof(text), "unknown required ones 0x%04x", BIT(bit));
            refused(text);
        }
    }
}

static void test_elf_header_refusals(void **state)
{
    static const struct {
        unsigned int at, value, size;
        const char *text;
    } bad[] = {
        {0, 0x46, 1, "neither an ELF file nor addresses"},
        {E_CLASS, 0, 1, "ELF class is 0, expected 1 or 2"},
        {E_CLASS, 3, 1, "ELF class is 3"},
        {E_DATA, 2, 1, "byte order is 2, expected 1"},
        {E_VERSION, 0, 1, "ELF version is 0, expected 1"},
        {20, 2, 4, "ELF file version is 2, expected 1"},
        {E_TYPE, 1, 2, "ELF type is 1, expected 2 or 3"},
        {E_TYPE, 4, 2, "ELF type is 4"},
        {E_MACHINE, 62, 2, "ELF machine is 62, expected 3"},
        {E_MACHINE, 40, 2, "ELF machine is 40"},
        {E32_PHENTSIZE, 31, 2, "ELF program header size is 31, expected 32"},
        {E32_PHNUM, 0, 2, "found 0 program headers, expected 1 to 64"},
        {E32_PHNUM, 65, 2, "found 65 program headers"},
        {E32_PHNUM, 0xffff, 2, "found 65535 program headers"},
        {E32_PHOFF, FILE_SIZE - 95, 4, "truncated: it has 12288 bytes, and 3 program headers"},
        {E32_PHOFF, 0xffffffff, 4, "3 program headers at 0xffffffff"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        kernel = kernel_elf32(&file);
        fake_put(&file, bad[i].at, bad[i].value, bad[i].size);
        refused(bad[i].text);
    }
    kernel = kernel_elf64(&file);
    fake_put(&file, E_MACHINE, 3, 2);
    refused("ELF machine is 3, expected 62");
    kernel = kernel_elf64(&file);
    fake_put(&file, E64_PHOFF, UINT64_MAX - 10, 8);
    refused("2 program headers at 0xfffffffffffffff5");
}

static void test_segment_refusals(void **state)
{
    static const struct {
        unsigned int field;
        uint32_t value;
        const char *text; /* NULL: is accepted */
    } bad[] = {
        {P32_FILESZ, DATA_MEM + 1, "segment 2 has 20481 bytes in the file, expected at most"},
        {P32_OFFSET, FILE_SIZE - DATA_SIZE, NULL},
        {P32_OFFSET, FILE_SIZE - DATA_SIZE + 1, "it has 12288 bytes, segment 2 has 1024 at 0x2c01"},
        {P32_OFFSET, 0xffffffff, "segment 2 has 1024 at 0xffffffff"},
        {P32_PADDR, 0u - DATA_MEM, NULL},
        {P32_PADDR, 1u - DATA_MEM, "segment 2 has 20480 bytes at physical address 0xffffb001"},
        {P32_MEMSZ, 0xffffffff, "segment 2 has 4294967295 bytes at physical"},
        {P32_PADDR, TEXT_GPA + TEXT_SIZE, NULL},
        {P32_PADDR, TEXT_GPA + TEXT_SIZE - 1,
         "segment 2 at 0x1017ff with 20480 bytes overlaps "
         "segment 0 at 0x100000 with 6144 bytes"},
        {P32_PADDR, TEXT_GPA - DATA_MEM, NULL},
        {P32_PADDR, TEXT_GPA - DATA_MEM + 1, "overlaps segment 0"},
        {P32_PADDR, TEXT_GPA, "overlaps segment 0"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        kernel = kernel_elf32(&file);
        fake_put(&file, PHDR_32(2) + bad[i].field, bad[i].value, 4);
        if (bad[i].text)
            refused(bad[i].text);
        else
            accepted();
    }
    kernel = kernel_elf64(&file);
    put_phdr64(&file, 1, DATA_AT, 0, 4 * GIB, DATA_SIZE, DATA_MEM);
    refused("segment 1 has 20480 bytes at physical address 0x100000000, expected them below 4 GiB");
    put_phdr64(&file, 1, DATA_AT, 0, UINT64_MAX - 5, DATA_SIZE, UINT64_MAX);
    refused("physical address 0xfffffffffffffffa");
    put_phdr64(&file, 1, UINT64_MAX - 5, 0, DATA_GPA, 10, DATA_MEM);
    refused("segment 1 has 10 at 0xfffffffffffffffa");

    kernel = kernel_elf32(&file);
    fake_put(&file, PHDR_32(0), 2, 4);
    fake_put(&file, PHDR_32(2), 6, 4);
    refused("found no segment to load among 3 program headers");
}

static void test_too_many_segments(void **state)
{
    (void)state;
    kernel = kernel_elf32(&file);
    put_header(&file, MB_AT, 0);
    fake_put(&file, MB_AT, 0, 4);
    put_header(&file, 0x3f0, 0);
    for (unsigned int i = 0; i <= MULTIBOOT_SEGMENTS_MAX; i++) {
        fake_put(&file, E32_PHNUM, i + 1, 2);
        put_phdr32(&file, i, 1, 0x1000, TEXT_GPA + i * 0x1000, TEXT_GPA + i * 0x1000, 0x800,
                   0x1000);
        if (i < MULTIBOOT_SEGMENTS_MAX)
            accepted();
    }
    refused("segment 16 is one too many, expected at most 16 to load");
}

static void test_unreadable(void **state)
{
    static const unsigned int places[] = {0, 20, MB_AT, PHDR_32(1)};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        kernel = kernel_elf32(&file);
        file.fail_at = places[i];
        assert_int_equal(parse(), -BH_EIO);
        assert_non_null(strstr(err, "cannot be read"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elf),
        cmocka_unit_test(test_entry),
        cmocka_unit_test(test_flat),
        cmocka_unit_test(test_flat_refusals),
        cmocka_unit_test(test_header_search),
        cmocka_unit_test(test_header_far),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_elf_header_refusals),
        cmocka_unit_test(test_segment_refusals),
        cmocka_unit_test(test_too_many_segments),
        cmocka_unit_test(test_unreadable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
