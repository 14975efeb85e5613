/* Loading a Linux kernel into a VM: where everything goes, what boot_params says, and that a
 * refusal leaves the VM's memory alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "arch/x86/regs.h"
#include "tests/unit/host_log.h"
#include "tests/unit/loader_fake.h"
#include "vmm/loader/loader.h"

static struct fake_file kernel_file, initrd_file;
static struct blob kernel, initrd;
static struct vm vm;
static struct load_request req;
static struct guest_entry entry;
static char err[256];

static void start(uint64_t low, uint64_t high)
{
    fake_vm_open(&vm, low, high);
    kernel = fake_kernel(&kernel_file);
    initrd = fake_initrd(&initrd_file, 3 * MIB + 5);
    req = (struct load_request){.vm = &vm,
                                .vm_name = "linux1",
                                .kernel = &kernel,
                                .initrd = &initrd,
                                .cmdline = "console=ttyS0",
                                .ram_low = low,
                                .ram_high = high,
                                .rsdp_gpa = 0xf0000,
                                .err = err,
                                .err_size = sizeof(err)};
    host_log_clear();
    err[0] = '\0';
}

static void assert_refused(int rc, const char *text)
{
    assert_int_equal(fake_load(&req, &entry), rc);
    if (!strstr(err, text))
        fail_msg("message \"%s\" lacks \"%s\"", err, text);
    assert_non_null(strstr(host_log_text, "error: vm linux1: "));
    assert_non_null(strstr(host_log_text, text));
}

static uint64_t peek(uint64_t gpa, unsigned int size)
{
    uint64_t value = 0;

    assert_int_equal(guest_read(&vm, gpa, &value, size), 0);
    return value;
}

static void assert_file_at(uint64_t gpa, const struct fake_file *f, uint64_t offset, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++)
        if (vm.low_mem[gpa + i] != fake_file_byte(f, offset + i))
            fail_msg("byte %llu differs", (unsigned long long)i);
}

/* Bit by bit, never more than it is told; an error ends it. */
static void test_steps(void **state)
{
    static struct load_list list;
    unsigned int steps = 0;
    int rc;

    (void)state;
    start(256 * MIB, 0);
    req.list = &list;
    assert_int_equal(kernel_load(&req, &entry), 0);
    assert_int_equal(list.count, 2);
    do {
        unsigned int next = list.next;
        uint64_t done = list.done;
        rc = load_step(&req, MIB);
        assert_true(rc == 0 || list.next != next || list.done == done + MIB);
        steps++;
    } while (rc > 0);
    assert_int_equal(rc, 0);
    assert_int_equal(steps, (FAKE_IMAGE_SIZE + initrd.size + MIB - 1) / MIB);
    assert_int_equal(load_step(&req, MIB), 0);
    assert_file_at(FAKE_PREF, &kernel_file, FAKE_IMAGE_START, FAKE_IMAGE_SIZE);

    assert_int_equal(kernel_load(&req, &entry), 0);
    initrd_file.fail_at = MIB + MIB / 2;
    for (steps = 0; (rc = load_step(&req, MIB)) > 0; steps++)
        ;
    assert_int_equal(rc, -BH_EIO);
    assert_int_equal(steps, FAKE_IMAGE_SIZE / MIB + 1);
    assert_non_null(strstr(err, "initrd.gz cannot be read"));
    assert_non_null(strstr(host_log_text, "error: vm linux1: "));
    fake_vm_close(&vm);
}

static void test_load(void **state)
{
    const uint64_t initrd_gpa = 256 * MIB - 3 * MIB - 4096;

    (void)state;
    start(256 * MIB, 0);
    assert_int_equal(fake_load(&req, &entry), 0);

    const uint64_t bp = entry.rsi;

    assert_true(entry.long_mode);
    assert_int_equal(entry.rip, FAKE_PREF + 0x200);
    assert_file_at(FAKE_PREF, &kernel_file, FAKE_IMAGE_START, FAKE_IMAGE_SIZE);
    assert_int_equal(peek(FAKE_PREF + FAKE_IMAGE_SIZE, 8), 0);
    assert_file_at(initrd_gpa, &initrd_file, 0, initrd.size);
    assert_int_equal(peek(initrd_gpa + initrd.size, 4), 0);

    assert_int_equal(peek(bp + BP_HEADER_MAGIC, 4), BOOT_HDRS_MAGIC);
    assert_int_equal(peek(bp + BP_TYPE_OF_LOADER, 1), 0xff);
    assert_int_equal(peek(bp + BP_LOADFLAGS, 1), LOADFLAG_HIGH);
    assert_int_equal(peek(bp + BP_RAMDISK_IMAGE, 4), initrd_gpa);
    assert_int_equal(peek(bp + BP_RAMDISK_SIZE, 4), initrd.size);
    assert_int_equal(peek(bp + BP_EXT_RAMDISK_IMAGE, 8), 0);
    assert_int_equal(peek(bp + BP_EXT_CMD_LINE_PTR, 4), 0);
    assert_int_equal(peek(bp + BP_ACPI_RSDP_ADDR, 8), 0xf0000);
    assert_int_equal(peek(bp + BP_CODE32_START, 4), FAKE_PREF);
    assert_int_equal(peek(bp + BP_VID_MODE, 2), 0xffff);
    assert_int_equal(peek(bp + BP_SETUP_DATA, 8), 0);
    assert_int_equal(peek(bp + BP_HARDWARE_SUBARCH, 4), 0);
    /* What the loader does not set is the file's. */
    assert_int_equal(peek(bp + BP_INIT_SIZE, 4), FAKE_INIT_SIZE);

    /* screen_info says that there is no video. */
    for (unsigned int i = 0; i < 0x40; i++)
        assert_int_equal(peek(bp + i, 1), 0);

    const char *cmdline = (const char *)vm.low_mem + peek(bp + BP_CMD_LINE_PTR, 4);
    assert_string_equal(cmdline, "console=ttyS0");
    fake_vm_close(&vm);
}

static void assert_e820(uint64_t bp, unsigned int i, uint64_t base, uint64_t size, uint32_t type)
{
    assert_int_equal(peek(bp + BP_E820_TABLE + i * 20, 8), base);
    assert_int_equal(peek(bp + BP_E820_TABLE + i * 20 + 8, 8), size);
    assert_int_equal(peek(bp + BP_E820_TABLE + i * 20 + 16, 4), type);
}

static void test_e820(void **state)
{
    (void)state;
    start(3 * GIB, 5 * GIB);
    assert_int_equal(fake_load(&req, &entry), 0);
    assert_int_equal(peek(entry.rsi + BP_E820_ENTRIES, 1), 5);
    assert_e820(entry.rsi, 0, 0, 0x9fc00, 1);
    assert_e820(entry.rsi, 1, 0x9fc00, 0x400, 2);
    assert_e820(entry.rsi, 2, 0xf0000, 0x10000, 2);
    assert_e820(entry.rsi, 3, MIB, 3 * GIB - MIB, 1);
    assert_e820(entry.rsi, 4, 4 * GIB, 5 * GIB, 1);
    assert_e820(entry.rsi, 5, 0, 0, 0);
    /* initrd_addr_max holds although there is RAM above it. */
    assert_int_equal(peek(entry.rsi + BP_RAMDISK_IMAGE, 4), 2 * GIB - 3 * MIB - 4096);
    fake_vm_close(&vm);

    start(64 * MIB, 0);
    assert_int_equal(fake_load(&req, &entry), 0);
    assert_int_equal(peek(entry.rsi + BP_E820_ENTRIES, 1), 4);
    fake_vm_close(&vm);
}

/* Walks the page tables as the CPU would. */
static uint64_t translate(uint64_t va)
{
    uint64_t table = entry.cr3;

    for (int shift = 39; shift >= 21; shift -= 9) {
        uint64_t pte = peek(table + (va >> shift & 511) * 8, 8);

        if ((pte & 1) == 0)
            return UINT64_MAX;
        assert_int_equal(pte & 0x7f & ~3u, 0); /* no user, no cache control, nothing used */
        assert_int_equal(pte & 2, 2);
        if (shift == 21) {
            assert_int_equal(pte & 0x80, 0x80);
            return (pte & ~0x1fffffull) | (va & 0x1fffff);
        }
        table = pte & ~0xfffull;
    }
    return UINT64_MAX;
}

static void test_entry_64(void **state)
{
    static const uint64_t same[] = {0,          0x1fffff,   0x200000,   0x12345678, GIB,
                                    0x3fffffff, 0x80000000, 0xc0000000, 0xffffffff};

    (void)state;
    start(128 * MIB, 0);
    /* The tables overwrite what was there. */
    memset(vm.low_mem, 0xff, MIB);
    assert_int_equal(fake_load(&req, &entry), 0);
    assert_int_equal(entry.cr0, CR0_PE | CR0_PG | CR0_ET | CR0_NE);
    assert_int_equal(entry.cr4, CR4_PAE);
    assert_int_equal(entry.efer, EFER_LME | EFER_LMA);
    for (size_t i = 0; i < ARRAY_SIZE(same); i++)
        assert_int_equal(translate(same[i]), same[i]);
    assert_int_equal(translate(4 * GIB), UINT64_MAX);
    assert_int_equal(translate(512 * GIB), UINT64_MAX);

    assert_int_equal(entry.gdt_limit, 31);
    assert_int_equal(peek(entry.gdt_gpa, 8), 0);
    assert_int_equal(peek(entry.gdt_gpa + 0x10, 8), 0x00af9b000000ffff);
    assert_int_equal(peek(entry.gdt_gpa + 0x18, 8), 0x00cf93000000ffff);
    assert_int_equal(entry.cs.selector, 0x10);
    assert_int_equal(entry.cs.attrib, 0xa9b);
    assert_int_equal(entry.data.selector, 0x18);
    assert_int_equal(entry.data.attrib, 0xc93);
    assert_int_equal(entry.data.limit, 0xffffffff);
    fake_vm_close(&vm);
}

static void test_entry_32(void **state)
{
    (void)state;
    for (int forced = 0; forced < 2; forced++) {
        start(128 * MIB, 0);
        req.force_32bit = forced;
        if (!forced)
            fake_put(&kernel_file, BP_XLOADFLAGS, 0, 2);
        assert_int_equal(fake_load(&req, &entry), 0);
        assert_false(entry.long_mode);
        assert_int_equal(entry.rip, FAKE_PREF);
        assert_int_equal(entry.cr0, CR0_PE | CR0_ET | CR0_NE);
        assert_int_equal(entry.cr3, 0);
        assert_int_equal(entry.cr4, 0);
        assert_int_equal(entry.efer, 0);
        assert_int_equal(peek(entry.gdt_gpa + 0x10, 8), 0x00cf9b000000ffff);
        fake_vm_close(&vm);
    }
}

static void test_no_initrd_no_cmdline(void **state)
{
    (void)state;
    start(64 * MIB, 0);
    req.initrd = NULL;
    req.cmdline = NULL;
    assert_int_equal(fake_load(&req, &entry), 0);
    assert_int_equal(peek(entry.rsi + BP_RAMDISK_IMAGE, 8), 0);
    assert_int_equal(peek(peek(entry.rsi + BP_CMD_LINE_PTR, 4), 1), 0);
    fake_vm_close(&vm);
}

/* The smallest memory that holds kernel and initrd works, a page less is refused. */
static void test_memory_boundary(void **state)
{
    const uint64_t need = FAKE_PREF + FAKE_INIT_SIZE;

    (void)state;
    start(need, 0);
    req.initrd = NULL;
    assert_int_equal(fake_load(&req, &entry), 0);
    fake_vm_close(&vm);

    start(need - 4096, 0);
    req.initrd = NULL;
    assert_refused(-BH_ENOMEM, "kernel \"vmlinuz\": it needs 8 MiB");
    assert_int_equal(vm.writes, 0);
    fake_vm_close(&vm);

    /* The initrd may also go below the kernel. */
    start(need, 0);
    assert_int_equal(fake_load(&req, &entry), 0);
    assert_int_equal(peek(entry.rsi + BP_RAMDISK_IMAGE, 4), FAKE_PREF - 3 * MIB - 4096);
    fake_vm_close(&vm);

    start(need, 0);
    initrd.size = 15 * MIB;
    assert_int_equal(fake_load(&req, &entry), 0);
    assert_int_equal(peek(entry.rsi + BP_RAMDISK_IMAGE, 4), MIB);
    fake_vm_close(&vm);

    start(need, 0);
    initrd.size = 15 * MIB + 1;
    assert_refused(-BH_ENOMEM, "initrd \"initrd.gz\": it needs 16 MiB");
    assert_non_null(strstr(err, "there are 23 MiB")); /* 24 less 384.. KiB of BIOS area */
    assert_int_equal(vm.writes, 0);
    fake_vm_close(&vm);
}

static void test_refusals(void **state)
{
    static char text[3000];

    (void)state;
    memset(text, 'a', 2048);

    start(64 * MIB, 0);
    req.cmdline = text;
    assert_refused(-BH_EINVAL, "2048 characters, kernel \"vmlinuz\" takes at most 2047");
    text[2047] = '\0';
    assert_int_equal(fake_load(&req, &entry), 0);
    fake_vm_close(&vm);

    start(64 * MIB, 0);
    initrd.size = 0;
    assert_refused(-BH_EINVAL, "\"initrd.gz\": file is empty");
    initrd.size = UINT64_MAX;
    assert_refused(-BH_ENOMEM, "initrd \"initrd.gz\"");
    fake_vm_close(&vm);

    start(64 * MIB, 0);
    fake_put(&kernel_file, BP_HEADER_MAGIC, 0, 4);
    assert_refused(-BH_EINVAL, "HdrS");
    assert_int_equal(vm.writes, 0);
    fake_vm_close(&vm);

    start(64 * MIB, 0);
    fake_put(&kernel_file, BP_PREF_ADDRESS, UINT64_MAX, 8);
    assert_refused(-BH_ENOMEM, "0xffffffffffffffff");
    fake_put(&kernel_file, BP_PREF_ADDRESS, FAKE_PREF, 8);
    fake_put(&kernel_file, BP_INITRD_ADDR_MAX, 0, 4);
    assert_refused(-BH_ENOMEM, "below 0x1 ");
    assert_int_equal(vm.writes, 0);
    fake_vm_close(&vm);

    start(MIB, 0);
    req.ram_low = 0x80000;
    assert_refused(-BH_EINVAL, "memory map");
    fake_vm_close(&vm);
}

/* Files that cannot be read in the middle, and RAM that the map invents. */
static void test_failures_while_writing(void **state)
{
    (void)state;
    start(64 * MIB, 0);
    kernel_file.fail_at = 100000;
    assert_refused(-BH_EIO, "vmlinuz cannot be read");
    kernel_file.fail_at = UINT64_MAX;
    initrd_file.fail_at = 3 * MIB;
    assert_refused(-BH_EIO, "initrd.gz cannot be read");
    fake_vm_close(&vm);

    start(17 * MIB, 0);
    req.ram_low = 64 * MIB;
    assert_refused(-BH_EFAULT, "RAM that is not there");
    fake_vm_close(&vm);
}

static void test_not_relocatable(void **state)
{
    const struct guest_e820_entry hole[] = {
        {0, 0x9f000, GUEST_E820_RAM},
        {MIB, FAKE_PREF, GUEST_E820_RAM},
        {FAKE_PREF + 2 * MIB, 30 * MIB, GUEST_E820_RAM},
    };

    (void)state;
    start(64 * MIB, 0);
    req.e820 = hole;
    req.e820_count = 3;
    /* The preferred place is not free: a relocatable kernel goes above it... */
    assert_int_equal(fake_load(&req, &entry), 0);
    assert_int_equal(entry.rip, FAKE_PREF + 2 * MIB + 0x200);
    assert_int_equal(peek(entry.rsi + BP_E820_ENTRIES, 1), 3);
    /* ...another one nowhere. */
    fake_put(&kernel_file, BP_RELOCATABLE, 0, 1);
    assert_refused(-BH_ENOMEM, "in one piece at 0x1000000,");
    fake_vm_close(&vm);
}

static void test_bad_maps(void **state)
{
    const struct guest_e820_entry overlap[] = {{0, 0x9f000, 1}, {0x9e000, 64 * MIB, 1}};
    const struct guest_e820_entry wrap[] = {{0, 0x9f000, 1}, {MIB, UINT64_MAX, 1}};
    const struct guest_e820_entry none_low[] = {{0, 0x3000, 1}, {MIB, 63 * MIB, 1}};
    const struct guest_e820_entry reserved[] = {{0, 0x9f000, 1}, {MIB, 63 * MIB, 2}};

    (void)state;
    start(64 * MIB, 0);
    req.e820_count = 2;
    req.e820 = overlap;
    assert_refused(-BH_EINVAL, "memory map");
    req.e820 = wrap;
    assert_refused(-BH_EINVAL, "memory map");
    req.e820 = none_low;
    assert_refused(-BH_ENOMEM, "below 640 KiB");
    req.e820 = reserved;
    assert_refused(-BH_ENOMEM, "kernel \"vmlinuz\"");
    req.e820_count = GUEST_E820_MAX + 1;
    assert_refused(-BH_EINVAL, "memory map");
    assert_int_equal(vm.writes, 0);
    fake_vm_close(&vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_e820),
        cmocka_unit_test(test_entry_64),
        cmocka_unit_test(test_entry_32),
        cmocka_unit_test(test_no_initrd_no_cmdline),
        cmocka_unit_test(test_memory_boundary),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_failures_while_writing),
        cmocka_unit_test(test_not_relocatable),
        cmocka_unit_test(test_bad_maps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
