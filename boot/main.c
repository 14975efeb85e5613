/* From the boot loader's hands to the run loop. */

#include "arch/x86/acpi/acpi.h"
#include "arch/x86/asm.h"
#include "arch/x86/cpu.h"
#include "arch/x86/fpu.h"
#include "arch/x86/gdt.h"
#include "arch/x86/interrupt.h"
#include "arch/x86/ioapic.h"
#include "arch/x86/lapic.h"
#include "arch/x86/memory_types.h"
#include "arch/x86/mm/address_space.h"
#include "arch/x86/mm/frame_alloc.h"
#include "arch/x86/mm/page_alloc.h"
#include "arch/x86/mm/window.h"
#include "arch/x86/percpu.h"
#include "arch/x86/power.h"
#include "arch/x86/smp.h"
#include "arch/x86/speculation.h"
#include "arch/x86/time.h"
#include "arch/x86/virt.h"
#include "arch/x86/watchdog.h"
#include "boot/boot_keyboard.h"
#include "boot/boot_screen.h"
#include "boot/boot_serial.h"
#include "boot/core_config.h"
#include "boot/core_header.h"
#include "boot/machine_report.h"
#include "boot/measurements.h"
#include "boot/multiboot.h"
#include "boot/pvh.h"
#include "drivers/cmos.h"
#include "drivers/uart.h"
#include "lib/error.h"
#include "lib/log_ring.h"
#include "lib/string.h"
#include "lib/version.h"
#include "vmm/balance.h"
#include "vmm/console.h"
#include "vmm/console_screen.h"
#include "vmm/cpuid.h"
#include "vmm/guest_memory_bulk.h"
#include "vmm/platform.h"
#include "vmm/sched.h"
#include "vmm/vm_life.h"

#define SCRUB_STEP       (16 * MIB)
#define BDA_EBDA_SEGMENT 0x40e /* BIOS data area: where the extended one begins */

struct boot_info boot_info;
static uint64_t low_page INIT_DATA; /* below 1 MiB, for the other CPUs' start; 0: none */
static bool have_ioapic INIT_DATA;
static bool own_tables INIT_DATA; /* not the boot tables any more */
static struct acpi_info acpi INIT_DATA;

/* From boot/entry.asm, linked at their physical addresses. */
extern uint64_t boot_pdpt_high[], boot_pool_pd[];

uint64_t image_delta;

void boot_main(uint32_t magic, uint64_t info, uint64_t entry_tsc);

/* In the boot tables, at POOL_VA: what will be the page pool. */
INIT static void map_in_boot_tables(uint64_t pa, uint64_t size, uint64_t flags)
{
    uint64_t pd_pa = boot_part_to_pa(boot_pool_pd);
    uint64_t *pd = (uint64_t *)pd_pa, *pdpt = (uint64_t *)boot_part_to_pa(boot_pdpt_high);

    for (uint64_t at = 0; at < size; at += PAGE_SIZE_2M) {
        pd[at / PAGE_SIZE_2M] = (pa + at) | PTE_P | PTE_W | PTE_LARGE | PTE_NX | flags;
        invlpg((void *)(POOL_VA + at));
    }
    pdpt[0] = pd_pa | PTE_P | PTE_W;
}

/* The screen, which may be above BOOT_MAP_LIMIT, when nobody needs the pool any more. */
INIT static volatile void *map_for_now(uint64_t pa, uint64_t size)
{
    uint64_t offset = pa % PAGE_SIZE_2M;

    if (offset + size > GIB)
        return NULL;
    map_in_boot_tables(pa - offset, offset + size, PTE_PCD | PTE_PWT);
    return (volatile void *)(POOL_VA + offset);
}

INIT static int read_firmware(void *ctx, uint64_t pa, void *buf, size_t len)
{
    if (pa + len < pa || pa + len > cpu_physical_end())
        return -BH_EFAULT;
    if (own_tables)
        window_read_physical(pa, buf, len);
    else if (pa + len <= BOOT_MAP_LIMIT)
        memcpy(buf, (const void *)pa, len);
    else
        return -BH_EFAULT;
    return 0;
}

static const struct acpi_memory firmware_memory = {.read = read_firmware};

INIT static int find_tables(void)
{
    if (boot_info.rsdp_size > 0)
        return acpi_parse_rsdp_copy(&acpi, &firmware_memory, boot_info.rsdp, boot_info.rsdp_size);
    return acpi_parse(&acpi, &firmware_memory, 0);
}

/* Boot cannot go on: says so and stops. What is wrong has been logged. */
NORETURN INIT static void refuse(const char *what)
{
    interrupts_off();
    boot_screen_refuse(map_for_now);
    if (!own_tables) {
        if (find_tables() != 0)
            log_debug("acpi: no usable tables");
        boot_serial_refuse(&acpi, &firmware_memory);
    }
    log_error("boot stops: %s; no VM was started", what);
    console_crash_flush();
    cpu_stop();
}

/* What comes next, so that a hang names itself: at once with `log=debug` on the command line, by
 * the watchdog always. */
static void begin(const char *phase)
{
    log_debug("boot: %s", phase);
    if (log_is_shown(LOG_DEBUG))
        console_flush(); /* else it waits for later writes, 16 bytes each */
    watchdog_phase(phase);
}

/* With all that the boot loader has put there taken out, and before the rest of the first MiB is.
 */
INIT static void find_low_page(const struct phys_view *memory)
{
    uint16_t ebda;

    memcpy(&ebda, memory->base + BDA_EBDA_SEGMENT, sizeof(ebda));
    if (memory_map_find_low(&boot_info.map, ebda, &low_page) != 0)
        low_page = 0;
}

INIT static void prepare_memory_map(const struct phys_view *memory)
{
    struct memory_map *map = &boot_info.map;
    uint64_t image = boot_part_to_pa(boot_start);
    int err = memory_map_normalise(map);

    if (!err)
        err = memory_map_reserve(map, image, image_to_pa(image_end) - image, MEM_RESERVED);
    for (unsigned int i = 0; i < boot_info.module_count && !err; i++) {
        const struct boot_module *m = &boot_info.modules[i];
        if (m->size > 0)
            err = memory_map_reserve(map, m->base, m->size, MEM_RESERVED);
    }
    if (!err && boot_info.measurements.size > 0)
        err = memory_map_reserve(map, boot_info.measurements.base, boot_info.measurements.size,
                                 MEM_RESERVED);
    find_low_page(memory);
    if (!err)
        err = memory_map_reserve(map, 0, FIRST_MIB, MEM_RESERVED);
    if (err) {
        log_error("boot: the memory map has more than %u ranges", MEMORY_MAP_MAX);
        refuse("the firmware's memory map cannot be used");
    }
}

INIT static void log_secure_boot(void)
{
    if (boot_info.secure == BOOT_SECURE_ON)
        log_info("boot: Secure Boot is on, and all files are in the loader's signed list");
    else if (boot_info.secure == BOOT_SECURE_LIST)
        log_info("boot: all files are in the loader's signed list, but Secure Boot is off");
}

INIT static void log_boot_info(void)
{
    log_secure_boot();
    log_debug("boot: the core stands at 0x%llx", LLU(boot_part_to_pa(boot_start)));
    for (unsigned int i = 0; i < boot_info.map.count; i++) {
        const struct memory_range *r = &boot_info.map.r[i];
        log_debug("memory: %012llx-%012llx %s", LLU(r->base), LLU(r->base + r->size - 1),
                  memory_type_name(r->type));
    }
    for (unsigned int i = 0; i < boot_info.module_count; i++) {
        const struct boot_module *m = &boot_info.modules[i];
        log_debug("module: %s, %llu bytes at 0x%llx", m->name, LLU(m->size), LLU(m->base));
    }
}

/* Takes the core's own memory out of the map and maps it in the boot tables where it will stay. */
INIT static void create_pool(uint64_t size)
{
    uint64_t pa;

    if (memory_map_find(&boot_info.map, size, PAGE_SIZE_2M, BOOT_MAP_LIMIT, &pa) != 0 ||
        memory_map_reserve(&boot_info.map, pa, size, MEM_RESERVED) != 0) {
        log_error("memory: found no %llu MiB below 4 GiB for the core, expected them in one piece",
                  LLU(size / MIB));
        refuse("not enough memory");
    }
    map_in_boot_tables(pa, size, 0);
    page_pool_init((void *)POOL_VA, pa, size);
    if (address_space_init(pa, size) != 0)
        refuse("the core's memory is too small for its page tables");
}

INIT static void parse_acpi(void)
{
    if (find_tables() != 0)
        log_warn("acpi: no usable tables: power-off and several clocks will be missing");
    log_info("acpi: %u tables, %u CPUs, %u I/O APICs%s%s", acpi.table_count, acpi.cpu_count,
             acpi.ioapic_count, acpi.has_hpet ? ", HPET" : "", acpi.has_s5 ? ", S5" : "");
}

INIT static void init_interrupts(void)
{
    watchdog_stop();
    lapic_hw_want_x2apic |= smp_needs_x2apic(&acpi);
    if (lapic_hw_set_up() != 0)
        refuse("no usable local APIC");
    watchdog_start();
    this_cpu->apic_id = lapic_hw_id();
    have_ioapic = ioapic_hw_init(&acpi) == 0;
}

/* The UARTs' interrupts go to the CPU that serves the console. */
INIT static void init_console(void)
{
    unsigned int cpu = balance_service_cpu(&core_config);

    if (uart_used() > 0 && (!have_ioapic || !boot_serial_route(&acpi, smp_apic_id(cpu)))) {
        log_warn("console: no interrupt from the serial port: it is polled");
        console_polled_by = cpu;
    }
    boot_keyboard_init(&acpi, have_ioapic, cpu);
    console_screen_served_by(cpu);
    log_info("console: served by CPU %u", cpu);
}

/* Clears what stood in the frames before the core was booted. Frames that a VM gives back are
 * clean. */
INIT static void scrub_guest_memory(void)
{
    uint64_t done = 0;

    for (unsigned int i = 0; i < boot_info.map.count; i++) {
        const struct memory_range *r = &boot_info.map.r[i];
        uint64_t start = ALIGN_UP(r->base, FRAME_SIZE);
        uint64_t end = ALIGN_DOWN(MIN(r->base + r->size, FRAME_PA_MAX), FRAME_SIZE);
        for (uint64_t n; r->type == MEM_USABLE && start < end; start += n) {
            n = MIN(SCRUB_STEP, end - start);
            physical_scrub(start, n);
            done += n;
            watchdog_progress(done / MIB, frame_total_bytes() / MIB, "MiB");
        }
    }
}

INIT static void init_guest_memory(void)
{
    size_t bytes = frame_bitmap_bytes(&boot_info.map);
    unsigned int pages = (unsigned int)(ALIGN_UP(bytes, PAGE_SIZE_4K) / PAGE_SIZE_4K);
    void *storage = page_alloc_contiguous(MAX(pages, 1u), 1);

    if (!storage || frame_init(&boot_info.map, storage, pages * PAGE_SIZE_4K) != 0)
        refuse("the core's memory is too small to keep track of the machine's");
    if (core_config.scrub_at_boot)
        scrub_guest_memory();
    log_info("memory: %llu MiB for guests, %llu KiB for the core (%llu KiB free)",
             LLU(frame_total_bytes() / MIB), LLU(page_total_count() * PAGE_SIZE_4K / KIB),
             LLU(page_free_count() * PAGE_SIZE_4K / KIB));
}

/* The pCPUs of a VM that this machine has. */
INIT static uint64_t usable_cpus(const struct vm_config *c)
{
    uint64_t cpus = c->cpus;

    for (unsigned int i = 0; i < MAX_PCPUS; i++)
        if (!smp_is_usable(i))
            cpus &= ~BIT64(i);
    return cpus;
}

INIT static void check_slots(void)
{
    for (unsigned int i = 0; i < MAX_PCPUS; i++) {
        if (core_config.cpus[i].slot_count > 0 && !smp_is_usable(i)) {
            log_error("%s:%u: cpu: found CPU %u, which has not started, expected slots on such as "
                      "have",
                      CONFIG_FILE_NAME, core_config.cpus[i].line, i);
            refuse("slots have no CPU");
        }
    }
}

INIT static void create_vms(void)
{
    check_slots();
    for (unsigned int i = 0; i < core_config.vm_count; i++) {
        struct vm_config *c = &core_config.vms[i];
        uint64_t cpus = usable_cpus(c);
        if (cpus == 0 || (c->sched_class == CONFIG_CLASS_DEDICATED && cpus != c->cpus)) {
            log_error("%s:%u: cpus: found CPU %u, which has not started, expected %s that have",
                      CONFIG_FILE_NAME, c->cpus_line ? c->cpus_line : c->line,
                      (unsigned int)__builtin_ctzll(c->cpus & ~cpus),
                      cpus ? "only such" : "one or more");
            refuse("a VM has too few CPUs");
        }
        c->cpus = cpus;
        if (!vm_create(c)) {
            log_error("vm %s: the core's own memory is used up, expected more: raise [core] memory",
                      c->name);
            refuse("not enough memory for the VMs");
        }
    }
}

/* All that are to start, each by its home. */
static void start_vms(void)
{
    for (unsigned int i = 0; i < vm_count; i++)
        if (vms[i]->config->autostart)
            (void)vm_start(vms[i]);
    unsigned int starting;
    while ((starting = __atomic_load_n(&vm_starting_count, __ATOMIC_ACQUIRE)) > 0) {
        watchdog_progress(vm_count - MIN(starting, vm_count), vm_count, "VMs");
        vm_attend();
    }
    for (unsigned int i = 0; i < vm_count; i++)
        if (vms[i]->state != VM_OFF && vms[i]->state != VM_ENDING)
            return;
    log_warn("no VM runs: Ctrl-A 0 leads to the monitor");
}

/* Not INIT: gives the boot's memory back while it runs. */
NORETURN static void enter_run_loop(void)
{
    uint64_t before = page_free_count();

    address_space_free_init();
    log_info("boot: %llu us from the first instruction to here; %llu KiB of boot memory given back",
             LLU(time_now_ns() / 1000), LLU((page_free_count() - before) * PAGE_SIZE_4K / KIB));
    console_run();
    smp_release(sched_loop);
    begin("starting the VMs");
    start_vms();
    watchdog_stop();
    console_start();
    sched_loop();
}

INIT static void read_wall_clock(void)
{
    uint64_t epoch = cmos_read_epoch(acpi.century);
    uint64_t uptime = time_now_ns() / 1000000000u;

    if (epoch < uptime) {
        log_warn("the machine's real-time clock does not answer: guests start in 1970");
        epoch = uptime;
    }
    platform_boot_epoch = epoch - uptime;
}

INIT static void check_line(const char *text, size_t len)
{
    log_info("check: %.*s", (int)len, text);
}

INIT static bool uart_is_at(uint16_t port)
{
    return uart_answers(&(struct uart_place){.port = port});
}

/* All that the word `check` asks for. */
NORETURN INIT static void check_machine(bool can_run_vms)
{
    const struct machine_facts facts = {.acpi = &acpi,
                                        .memory = &firmware_memory,
                                        .map = &boot_info.map,
                                        .screen = &boot_info.framebuffer,
                                        .uart_answers = uart_is_at,
                                        .tsc_khz = time_scale.khz,
                                        .cpus_started = can_run_vms ? smp_cpu_count() : 0,
                                        .cannot_run_vms = !can_run_vms};

    begin("looking at the machine");
    log_info("check: what this machine has, as Bulkhead sees it; booted by %s", boot_info.protocol);
    machine_report(&facts, check_line);
    if (boot_info.report[0] != '\0')
        log_info("check: file: %s", boot_info.report);
    log_info("check: end: no VM is started; take \"check\" off the core's command line for that");
    watchdog_stop(); /* nobody is stuck while a slow line says all that */
    uart_flush();
    cpu_stop();
}

/* On the CPU's own stack and page tables. */
NORETURN INIT static void boot_continue(void)
{
    own_tables = true;
    gdt_init();
    interrupts_init();
    memory_types_init();
    boot_screen_map();
    if (lapic_hw_init() != 0)
        refuse("no usable local APIC");
    watchdog_start();
    measurements_log();
    begin("reading the ACPI tables");
    parse_acpi();
    boot_serial_find(&acpi, &firmware_memory);
    power_init(&acpi);
    cpu_protect();
    begin("measuring the clock");
    if (time_init(boot_info.entry_tsc, &acpi) != 0)
        refuse("no clock");
    begin("reading the real-time clock");
    read_wall_clock();
    begin("turning on virtualization");
    bool can_run_vms = virt_init() == 0;
    if (!can_run_vms && !core_check_only)
        refuse("this machine cannot run VMs");
    fpu_init();
    cpuid_policy_init();
    begin("setting up the interrupt controllers");
    init_interrupts();
    begin("starting the other CPUs");
    if (can_run_vms)
        smp_start(&acpi, low_page);
    if (core_check_only)
        check_machine(can_run_vms);
    init_console();
    begin(core_config.scrub_at_boot ? "clearing the guests' memory"
                                    : "counting the guests' memory");
    init_guest_memory();
    begin("creating the VMs");
    sched_init(core_config.slice_us * 1000ull);
    vm_when_done = core_config.when_done;
    create_vms();
    if (balance_init(&core_config, rdtsc()) != 0)
        refuse("not enough memory for the tables of slots");
    stack_switch(percpu_stack_top(0), enter_run_loop);
}

/* `info` as a physical address, below BOOT_MAP_LIMIT. */
INIT static int take_boot_info(uint32_t magic, uint64_t info, const struct phys_view *memory)
{
    if (magic == BOOT_MAGIC_INFO)
        return boot_info_take(&boot_info, (const struct boot_info *)info);
    if (magic == PVH_MAGIC)
        return pvh_parse(&boot_info, info, memory);
    return multiboot_parse(&boot_info, magic, info, memory);
}

INIT void boot_main(uint32_t magic, uint64_t info, uint64_t entry_tsc)
{
    const struct phys_view memory = {.base = NULL, .limit = BOOT_MAP_LIMIT};

    interrupts_init_early();
    core_config_defaults();
    int err = take_boot_info(magic, info, &memory);

    boot_info.entry_tsc = entry_tsc;
    boot_screen_find();
    if (err)
        refuse("the boot loader's information cannot be used");
    core_config_cmdline(boot_info.cmdline);
    log_info("Bulkhead %s, booted by %s, %u modules", bulkhead_version, boot_info.protocol,
             boot_info.module_count);
    /* Before bulkhead.conf, which may be one of them, is missed. */
    if (boot_info.modules_dropped > 0)
        log_error("boot: %u modules more than the %u that there is room for are ignored",
                  boot_info.modules_dropped, BOOT_MODULES_MAX);
    prepare_memory_map(&memory);
    if (core_config_load(&memory) != 0)
        refuse("bulkhead.conf has errors");
    log_boot_info();
    begin("setting up the core's memory");
    speculation_init();
    create_pool(core_config.memory);
    address_space_enter();
    stack_switch(percpu_stack_top(0), boot_continue);
}
