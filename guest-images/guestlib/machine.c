/* What the loader said, time, and the way out. */

#include "guestlib.h"

#define INFO_CMDLINE  BIT(2) /* flags of the multiboot information (specification 0.6.96, 3.3) */
#define INFO_MODS     BIT(3)
#define INFO_MMAP     BIT(6)
#define PM1_CNT       0x604 /* Bulkhead and QEMU */
#define PM1_CNT_BOCHS 0xb004
#define SLP_EN        0x2000
#define S5_BULKHEAD   (5 << 10)

#define PIT_HZ     1193182
#define PIT_CAL_MS 10
#define PIT_COUNT  (PIT_HZ * PIT_CAL_MS / 1000)
#define PIT_CH2    0x42
#define PIT_MODE   0x43
#define PIT_GATE   0x61 /* bit 0: gate of channel 2, bit 5: its output */
#define MODE_CH2   0xb0 /* channel 2, both bytes, mode 0 (8254 data sheet) */

struct multiboot_info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
    uint32_t syms[4], mmap_length, mmap_addr;
};

struct guest_boot guest_boot;
char guest_cmdline[512];
void guest_boot_save(uint32_t magic, const struct multiboot_info *info);

void guest_boot_save(uint32_t magic, const struct multiboot_info *info)
{
    guest_boot = (struct guest_boot){.magic = magic,
                                     .flags = info->flags,
                                     .mem_lower = info->mem_lower,
                                     .mem_upper = info->mem_upper};
    if (info->flags & INFO_CMDLINE)
        safe_copy(guest_cmdline, sizeof(guest_cmdline), (const char *)(uintptr_t)info->cmdline);
    if (info->flags & INFO_MODS) {
        guest_boot.mods_count = info->mods_count;
        guest_boot.mods_addr = info->mods_addr;
    }
    if (info->flags & INFO_MMAP) {
        guest_boot.mmap_length = info->mmap_length;
        guest_boot.mmap_addr = info->mmap_addr;
    }
}

const char *guest_option(const char *name)
{
    size_t len = strlen(name);

    for (const char *p = guest_cmdline; *p;) {
        if (strncmp(p, name, len) == 0) {
            if (p[len] == '=')
                return p + len + 1;
            if (p[len] == ' ' || p[len] == '\0')
                return "";
        }
        while (*p && *p != ' ')
            p++;
        while (*p == ' ')
            p++;
    }
    return NULL;
}

bool guest_has_word(const char *name)
{
    return guest_option(name) != NULL;
}

bool guest_option_lists(const char *option, const char *name)
{
    const char *list = guest_option(option);
    size_t len = strlen(name);

    while (list && *list && *list != ' ') {
        if (strncmp(list, name, len) == 0 &&
            (list[len] == ',' || list[len] == ' ' || list[len] == '\0'))
            return true;
        while (*list && *list != ' ' && *list != ',')
            list++;
        if (*list == ',')
            list++;
    }
    return false;
}

uint64_t guest_number(const char *name, uint64_t otherwise)
{
    const char *text = guest_option(name);
    uint64_t value = 0;

    if (!text || *text < '0' || *text > '9')
        return otherwise;
    for (; *text >= '0' && *text <= '9'; text++)
        value = value * 10 + (uint64_t)(*text - '0');
    return value;
}

bool guest_on_bulkhead(void)
{
    struct cpuid_regs r = cpuid(1, 0);

    if (!(r.ecx & BIT(31)))
        return false;
    r = cpuid(0x40000000, 0);
    return memcmp(&r.ebx, "Bulk", 4) == 0 && memcmp(&r.ecx, "head", 4) == 0 &&
           memcmp(&r.edx, "Core", 4) == 0;
}

uint64_t guest_tsc_per_ms(void)
{
    static uint64_t per_ms;

    if (per_ms)
        return per_ms;
    outb(PIT_GATE, (uint8_t)((inb(PIT_GATE) & 0xfc) | 1));
    outb(PIT_MODE, MODE_CH2);
    outb(PIT_CH2, PIT_COUNT & 0xff);
    outb(PIT_CH2, PIT_COUNT >> 8);
    uint64_t start = rdtsc();
    while (!(inb(PIT_GATE) & 0x20)) {
    }
    per_ms = (rdtsc() - start) / PIT_CAL_MS;
    return per_ms;
}

void guest_wait_us(uint64_t us)
{
    uint64_t ticks = us * guest_tsc_per_ms() / 1000;
    uint64_t start = rdtsc();

    while (rdtsc() - start < ticks)
        cpu_pause();
}

void guest_power_off(void)
{
    outw(PM1_CNT, S5_BULKHEAD | SLP_EN);
    outw(PM1_CNT, SLP_EN);
    outw(PM1_CNT_BOCHS, SLP_EN);
    cpu_stop();
}

void *guest_map(unsigned int index, uint64_t pa, uint64_t flags)
{
    void *va = (void *)(GUEST_WINDOW + index * PAGE_SIZE_4K);

    guest_window_pt[index] = flags ? pa | flags : 0;
    invlpg(va);
    return va;
}
