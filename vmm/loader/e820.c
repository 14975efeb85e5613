#include "vmm/loader/e820.h"

#include "lib/error.h"

unsigned int guest_e820_pc(struct guest_e820_entry map[GUEST_E820_PC_MAX], uint64_t ram_low,
                           uint64_t ram_high)
{
    unsigned int n = 0;

    map[n++] = (struct guest_e820_entry){0, GUEST_LOW_RAM_END, GUEST_E820_RAM};
    map[n++] = (struct guest_e820_entry){GUEST_LOW_RAM_END, GUEST_EBDA_END - GUEST_LOW_RAM_END,
                                         GUEST_E820_RESERVED};
    map[n++] = (struct guest_e820_entry){GUEST_BIOS_BASE, GUEST_BIOS_END - GUEST_BIOS_BASE,
                                         GUEST_E820_RESERVED};
    if (ram_low > GUEST_BIOS_END)
        map[n++] =
            (struct guest_e820_entry){GUEST_BIOS_END, ram_low - GUEST_BIOS_END, GUEST_E820_RAM};
    if (ram_high > 0)
        map[n++] = (struct guest_e820_entry){GUEST_HIGH_RAM, ram_high, GUEST_E820_RAM};
    return n;
}

int guest_e820_check(const struct guest_e820_entry *map, unsigned int count)
{
    uint64_t end = 0;

    if (count == 0 || count > GUEST_E820_MAX)
        return -BH_EINVAL;
    for (unsigned int i = 0; i < count; i++) {
        if (map[i].base < end || map[i].size == 0 || map[i].base + map[i].size < map[i].base)
            return -BH_EINVAL;
        end = map[i].base + map[i].size;
    }
    return 0;
}

int guest_e820_lowest(const struct guest_e820_entry *map, unsigned int count, uint64_t size,
                      uint64_t align, uint64_t min, uint64_t max, uint64_t *gpa)
{
    for (unsigned int i = 0; i < count; i++) {
        uint64_t low = MAX(map[i].base, min);
        uint64_t end = MIN(map[i].base + map[i].size, max);
        uint64_t at = ALIGN_UP(low, align);

        /* at < low: aligning went over the top. */
        if (map[i].type != GUEST_E820_RAM || at < low || at >= end || end - at < size)
            continue;
        *gpa = at;
        return 0;
    }
    return -BH_ENOMEM;
}

int guest_e820_lowest_free(const struct guest_e820_entry *map, unsigned int count, uint64_t size,
                           uint64_t align, uint64_t min, uint64_t max,
                           const struct guest_range *used, unsigned int used_count, uint64_t *gpa)
{
    /* Each round passes one of them for good. */
    for (unsigned int rounds = 0; rounds <= used_count; rounds++) {
        unsigned int i = 0;

        if (guest_e820_lowest(map, count, size, align, min, max, gpa) != 0)
            return -BH_ENOMEM;
        while (i < used_count &&
               (*gpa + size <= used[i].base || *gpa >= used[i].base + used[i].size))
            i++;
        if (i == used_count)
            return 0;
        min = used[i].base + used[i].size;
    }
    return -BH_ENOMEM;
}

bool guest_e820_is_ram(const struct guest_e820_entry *map, unsigned int count, uint64_t base,
                       uint64_t size)
{
    for (unsigned int i = 0; i < count; i++)
        if (map[i].type == GUEST_E820_RAM && base >= map[i].base &&
            base - map[i].base <= map[i].size && size <= map[i].size - (base - map[i].base))
            return true;
    return false;
}

/* The highest place in [low, end). */
static bool place_below(uint64_t low, uint64_t end, uint64_t size, uint64_t align, uint64_t *gpa)
{
    if (end <= low || end - low < size)
        return false;
    *gpa = ALIGN_DOWN(end - size, align);
    return *gpa >= low;
}

int guest_e820_highest(const struct guest_e820_entry *map, unsigned int count, uint64_t size,
                       uint64_t align, uint64_t min, uint64_t max, const struct guest_range *avoid,
                       uint64_t *gpa)
{
    for (unsigned int i = count; i-- > 0;) {
        uint64_t low = MAX(map[i].base, min);
        uint64_t end = MIN(map[i].base + map[i].size, max);

        if (map[i].type != GUEST_E820_RAM)
            continue;
        if (place_below(MAX(low, avoid->base + avoid->size), end, size, align, gpa) ||
            place_below(low, MIN(end, avoid->base), size, align, gpa))
            return 0;
    }
    return -BH_ENOMEM;
}
