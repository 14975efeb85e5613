/* Loading a multiboot kernel into a VM: segments, modules, the information structure, the start
 * state, and that a refusal leaves the VM's memory alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "arch/x86/regs.h"
#include "boot/multiboot1.h"
#include "tests/unit/host_log.h"
#include "tests/unit/multiboot_kernel.h"
#include "vmm/loader/loader.h"

static struct fake_file kernel_file, files[LOAD_MODULES_MAX + 1];
static struct blob kernel, initrd;
static struct load_module modules[LOAD_MODULES_MAX];
static struct vm vm;
static struct load_request req;
static struct guest_entry entry;
static char err[256];

/* Memory is not zero at first: another VM's could have been there. */
static void start(uint64_t low, uint64_t high)
{
    fake_vm_open(&vm, low, high);
    memset(vm.low_mem, 0xee, MIN(low, 8 * MIB));
    kernel = kernel_elf32(&kernel_file);
    initrd = fake_initrd(&files[0], 5000);
    req = (struct load_request){.vm = &vm,
                                .vm_name = "mb1",
                                .kernel = &kernel,
                                .modules = modules,
                                .cmdline = "verbose level=3",
                                .ram_low = low,
                                .ram_high = high,
                                .err = err,
                                .err_size = sizeof(err)};
    host_log_clear();
    err[0] = '\0';
}

static void add_module(const char *name, uint64_t size, const char *arguments)
{
    struct load_module *m = &modules[req.module_count++];

    m->blob = fake_initrd(&files[req.module_count], size);
    m->blob.name = name;
    m->arguments = arguments;
}

static void load(void)
{
    if (fake_load(&req, &entry) != 0)
        fail_msg("refused: %s", err);
}

static void refused(int rc, const char *text)
{
    vm.writes = 0;
    assert_int_equal(fake_load(&req, &entry), rc);
    if (!strstr(err, text))
        fail_msg("message \"%s\" lacks \"%s\"", err, text);
    assert_non_null(strstr(host_log_text, "error: vm mb1: "));
    assert_int_equal(vm.writes, 0);
}

static uint64_t peek(uint64_t gpa, unsigned int size)
{
    uint64_t value = 0;

    assert_int_equal(guest_read(&vm, gpa, &value, size), 0);
    return value;
}

static const char *text_at(uint64_t gpa)
{
    return (const char *)vm.low_mem + gpa;
}

static struct mb1_info read_info(void)
{
    struct mb1_info info;

    assert_int_equal(guest_read(&vm, entry.rbx, &info, sizeof(info)), 0);
    return info;
}

static struct mb1_module read_module(unsigned int i)
{
    struct mb1_module m;
    const struct mb1_info info = read_info();

    assert_true(info.flags & MB1_FLAG_MODULES);
    assert_true(i < info.mods_count);
    assert_int_equal(guest_read(&vm, info.mods_addr + i * sizeof(m), &m, sizeof(m)), 0);
    return m;
}

static void expect_file(uint64_t gpa, const struct fake_file *f, uint64_t offset, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++)
        if (vm.low_mem[gpa + i] != fake_file_byte(f, offset + i))
            fail_msg("byte %llu at 0x%llx differs", (unsigned long long)i, (unsigned long long)gpa);
}

static void expect_zeros(uint64_t gpa, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++)
        assert_int_equal(vm.low_mem[gpa + i], 0);
}

static void expect_kernel(void)
{
    expect_file(TEXT_GPA, &kernel_file, TEXT_AT, TEXT_SIZE);
    assert_int_equal(peek(TEXT_GPA - 1, 1), 0xee);
    assert_int_equal(peek(TEXT_GPA + TEXT_SIZE, 1), 0xee);
    expect_file(DATA_GPA, &kernel_file, DATA_AT, DATA_SIZE);
    expect_zeros(DATA_GPA + DATA_SIZE, DATA_MEM - DATA_SIZE);
    assert_int_equal(peek(DATA_GPA + DATA_MEM, 1), 0xee);
}

static void test_segments(void **state)
{
    (void)state;
    start(16 * MIB, 0);
    load();
    expect_kernel();
    fake_vm_close(&vm);
    start(16 * MIB, 0);
    kernel = kernel_elf64(&kernel_file);
    load();
    expect_kernel();
    assert_int_equal(entry.rip, ENTRY);
    assert_false(entry.long_mode);
    fake_vm_close(&vm);

    start(16 * MIB, 0);
    kernel = kernel_flat(&kernel_file);
    load();
    expect_file(TEXT_GPA, &kernel_file, FLAT_SKIP, 0x2000);
    expect_zeros(TEXT_GPA + 0x2000, 0x6000);
    assert_int_equal(peek(TEXT_GPA + 0x8000, 1), 0xee);
    fake_vm_close(&vm);
}

static void test_start_state(void **state)
{
    (void)state;
    for (int forced = 0; forced < 2; forced++) {
        start(16 * MIB, 0);
        req.force_32bit = forced; /* `entry = 32` asks for what happens anyway */
        load();
        assert_int_equal(entry.rax, 0x2badb002);
        assert_int_equal(entry.rip, ENTRY);
        assert_false(entry.long_mode);
        assert_int_equal(entry.cr0, CR0_PE | CR0_ET | CR0_NE);
        assert_int_equal(entry.cr3 | entry.cr4 | entry.efer | entry.rsi, 0);
        assert_int_equal(entry.cs.attrib, 0xc9b);
        assert_int_equal(entry.cs.limit, 0xffffffff);
        assert_int_equal(entry.cs.base, 0);
        assert_int_equal(entry.data.attrib, 0xc93);
        assert_int_equal(peek(entry.gdt_gpa + entry.cs.selector, 8), 0x00cf9b000000ffff);
        assert_int_equal(peek(entry.gdt_gpa + entry.data.selector, 8), 0x00cf93000000ffff);
        assert_int_equal(entry.gdt_limit, 31);
        fake_vm_close(&vm);
    }
}

static void test_info(void **state)
{
    (void)state;
    start(64 * MIB, 0);
    load();

    const struct mb1_info info = read_info();

    assert_int_equal(info.flags,
                     MB1_FLAG_MEMORY | MB1_FLAG_CMDLINE | MB1_FLAG_MMAP | MB1_FLAG_LOADER);
    assert_int_equal(info.mem_lower, 639);
    assert_int_equal(info.mem_upper, 63 * 1024);
    assert_string_equal(text_at(info.cmdline), "verbose level=3");
    assert_string_equal(text_at(peek(entry.rbx + 64, 4)), "Bulkhead");
    assert_int_equal(info.mods_count, 0);
    /* Fields that no flag names are zeros: drives to framebuffer but for the name. */
    expect_zeros(entry.rbx + 52, 12);
    expect_zeros(entry.rbx + 68, 48);
    /* Nothing of it is in page 0. */
    assert_true(entry.rbx >= 0x1000 && entry.gdt_gpa >= 0x1000);
    fake_vm_close(&vm);

    start(16 * MIB, 0);
    req.cmdline = NULL;
    load();
    assert_string_equal(text_at(read_info().cmdline), "");
    fake_vm_close(&vm);
}

static void expect_range(unsigned int i, uint64_t base, uint64_t size, uint32_t type)
{
    struct mb1_mmap_entry e;
    const struct mb1_info info = read_info();

    assert_true((i + 1) * sizeof(e) <= info.mmap_length);
    assert_int_equal(guest_read(&vm, info.mmap_addr + i * sizeof(e), &e, sizeof(e)), 0);
    assert_int_equal(e.size, 20);
    assert_int_equal(e.base, base);
    assert_int_equal(e.length, size);
    assert_int_equal(e.type, type);
}

static void test_memory_map(void **state)
{
    (void)state;
    start(3 * GIB, 5 * GIB);
    load();
    assert_int_equal(read_info().mmap_length, 5 * 24);
    expect_range(0, 0, 0x9fc00, 1);
    expect_range(1, 0x9fc00, 0x400, 2);
    expect_range(2, 0xf0000, 0x10000, 2);
    expect_range(3, MIB, 3 * GIB - MIB, 1);
    expect_range(4, 4 * GIB, 5 * GIB, 1);
    assert_int_equal(read_info().mem_upper, (3 * GIB - MIB) / KIB);
    fake_vm_close(&vm);
}

static void test_modules(void **state)
{
    uint64_t before = 0;

    (void)state;
    start(16 * MIB, 0);
    req.initrd = &initrd;
    add_module("disk.img", 2 * MIB + 1, "ro  size=2M");
    add_module("empty", 0, "");
    add_module("one", 1, "x");
    load();
    assert_int_equal(read_info().mods_count, 4);

    static const char *const strings[] = {"initrd.gz", "disk.img ro  size=2M", "empty", "one x"};
    static const uint64_t sizes[] = {5000, 2 * MIB + 1, 0, 1};

    for (unsigned int i = 0; i < 4; i++) {
        const struct mb1_module m = read_module(i);

        assert_string_equal(text_at(m.string), strings[i]);
        assert_int_equal(m.end - m.start, sizes[i]);
        assert_int_equal(m.start % 4096, 0);
        assert_int_equal(m.reserved, 0);
        assert_true(m.start >= MIB);
        assert_true(m.start >= before);
        /* Clear of the kernel. */
        assert_true(m.start >= DATA_GPA + DATA_MEM);
        expect_file(m.start, &files[i], 0, sizes[i]);
        before = m.end;
    }
    expect_file(TEXT_GPA, &kernel_file, TEXT_AT, TEXT_SIZE);
    fake_vm_close(&vm);
}

/* A kernel in two parts with room between them: modules go where they fit. */
static void test_modules_around_segments(void **state)
{
    (void)state;
    start(8 * MIB, 0);
    put_phdr32(&kernel_file, 2, 1, DATA_AT, 3 * MIB, 3 * MIB, DATA_SIZE, 4 * MIB);
    add_module("big", 2 * MIB, "");
    refused(-BH_ENOMEM, "module \"big\": it needs 2049 KiB in one piece besides kernel "
                        "\"kernel.elf\", there are 7 MiB in all");
    modules[0].blob.size = 1024 * KIB;
    add_module("small", 700 * KIB, "");
    add_module("tail", 1024 * KIB + 1, "");
    refused(-BH_ENOMEM, "module \"tail\"");
    modules[2].blob.size = 200 * KIB;
    load();
    assert_int_equal(read_module(0).start, TEXT_GPA + 0x2000);
    assert_int_equal(read_module(1).start, 0x202000);
    assert_int_equal(read_module(2).start, 0x202000 + 700 * KIB);
    fake_vm_close(&vm);
}

/* A kernel in low memory pushes the information away, even out of the first megabyte. */
static void test_low_kernel(void **state)
{
    (void)state;
    start(16 * MIB, 0);
    put_phdr32(&kernel_file, 2, 1, DATA_AT, 0x1000, 0x1000, DATA_SIZE, DATA_MEM);
    load();
    assert_int_equal(entry.gdt_gpa, 0x1000 + DATA_MEM);
    expect_file(0x1000, &kernel_file, DATA_AT, DATA_SIZE);

    put_phdr32(&kernel_file, 2, 1, DATA_AT, 0, 0, DATA_SIZE, 0x9fc00);
    add_module("m", 100, "");
    load();
    assert_int_equal(entry.gdt_gpa, TEXT_GPA + 0x2000);
    assert_int_equal(read_module(0).start, TEXT_GPA + 0x3000);
    assert_string_equal(text_at(read_info().cmdline), "verbose level=3");
    fake_vm_close(&vm);
}

static void test_outside_ram(void **state)
{
    static const struct {
        uint32_t gpa, size;
        const char *text; /* NULL: is RAM */
    } places[] = {
        {0x9fc00 - 0x1000, 0x1000, NULL},
        {0x9fc00 - 0x1000, 0x1001, "segment 2 is to stand from 0x9ec00 to 0x9fc00, which is not"},
        {0xa0000, 0x1000, "from 0xa0000 to 0xa0fff"},
        {0xf0000, 0x1000, "from 0xf0000 to 0xf0fff"},
        {0xff000, 0x1000, "from 0xff000 to 0xfffff"},
        {16 * MIB - 0x1000, 0x1000, NULL},
        {16 * MIB - 0x1000, 0x1001,
         "from 0xfff000 to 0x1000000, which is not all RAM of this VM: "
         "it has 15 MiB"},
        {0xffff0000, 0x10000, "from 0xffff0000 to 0xffffffff"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        start(16 * MIB, 0);
        put_phdr32(&kernel_file, 2, 1, DATA_AT, places[i].gpa, places[i].gpa, 0x800,
                   places[i].size);
        if (places[i].text)
            refused(-BH_ENOMEM, places[i].text);
        else
            load();
        fake_vm_close(&vm);
    }
}

static void test_kinds(void **state)
{
    (void)state;
    start(32 * MIB, 0);
    kernel_file.head[MB_AT] = 0;
    refused(-BH_EINVAL, "kernel \"kernel.elf\": found no known signature in its 12288 bytes, "
                        "expected a Linux bzImage");
    assert_non_null(strstr(err, "or a multiboot 1 kernel (0x1badb002"));
    kernel.size = 0;
    refused(-BH_EINVAL, "in its 0 bytes");

    /* A bzImage takes an initrd, but no modules; and it stays one, whatever else is in it. */
    kernel = fake_kernel(&kernel_file);
    req.initrd = &initrd;
    put_header(&kernel_file, 0x100, MULTIBOOT_ADDRESSES);
    load();
    assert_true(entry.long_mode);
    add_module("disk.img", 1000, "");
    refused(-BH_EINVAL, "module: found \"disk.img\", expected none for kernel \"vmlinuz\"");
    fake_vm_close(&vm);
}

static void test_video_is_logged(void **state)
{
    (void)state;
    start(16 * MIB, 0);
    load();
    assert_null(strstr(host_log_text, "video"));
    put_header(&kernel_file, MB_AT, MULTIBOOT_VIDEO);
    load();
    assert_non_null(strstr(host_log_text, "asks for a video mode: there is no display"));
    put_header(&kernel_file, MB_AT, BIT(3));
    refused(-BH_EINVAL, "unknown required ones 0x0008");
    fake_vm_close(&vm);
}

static void test_custom_map(void **state)
{
    static const struct guest_e820_entry map[] = {
        {0x10000, 0x10000, GUEST_E820_RAM}, {0xe0000, 0x20000, GUEST_E820_ACPI},
        {MIB, MIB, GUEST_E820_RAM},         {4 * MIB, 2 * MIB, GUEST_E820_RAM},
        {6 * MIB, MIB, GUEST_E820_NVS},
    };

    (void)state;
    start(16 * MIB, 0);
    req.e820 = map;
    req.e820_count = ARRAY_SIZE(map);
    add_module("m", 1500 * KIB, "");
    load();
    assert_int_equal(entry.gdt_gpa, 0x10000);
    assert_int_equal(read_module(0).start, 4 * MIB);
    assert_int_equal(read_info().mem_lower, 0);
    assert_int_equal(read_info().mem_upper, 1024);
    expect_range(4, 6 * MIB, MIB, 4);

    req.e820_count = 2;
    refused(-BH_ENOMEM, "segment 0");
    fake_vm_close(&vm);
}

/* Files that cannot be read in the middle, and RAM that the map invents. */
static void test_failures_while_writing(void **state)
{
    (void)state;
    start(16 * MIB, 0);
    add_module("m", 9000, "");
    kernel_file.fail_at = TEXT_AT + 0x1000;
    assert_int_equal(fake_load(&req, &entry), -BH_EIO);
    assert_non_null(strstr(err, "kernel.elf cannot be read"));
    kernel_file.fail_at = UINT64_MAX;
    files[1].fail_at = 8999;
    assert_int_equal(fake_load(&req, &entry), -BH_EIO);
    assert_non_null(strstr(err, "m cannot be read"));
    fake_vm_close(&vm);

    start(2 * MIB, 0);
    req.ram_low = 64 * MIB;
    put_phdr32(&kernel_file, 2, 1, DATA_AT, 2 * MIB, 2 * MIB, DATA_SIZE, DATA_MEM);
    assert_int_equal(fake_load(&req, &entry), -BH_EFAULT);
    assert_non_null(strstr(err, "RAM that is not there"));
    fake_vm_close(&vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segments),   cmocka_unit_test(test_start_state),
        cmocka_unit_test(test_info),       cmocka_unit_test(test_memory_map),
        cmocka_unit_test(test_modules),    cmocka_unit_test(test_modules_around_segments),
        cmocka_unit_test(test_low_kernel), cmocka_unit_test(test_outside_ram),
        cmocka_unit_test(test_kinds),      cmocka_unit_test(test_video_is_logged),
        cmocka_unit_test(test_custom_map), cmocka_unit_test(test_failures_while_writing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
