/* The memory map. Firmware maps come unsorted, with overlaps and with ranges of no sense; all that
 * follows works on what memory_map_normalise makes of them. */

#include "boot/memory_map.h"

#include "lib/error.h"
#include "lib/log.h"
#include "lib/string.h"

#define LOW_END  (640 * KIB) /* video memory begins */
#define EBDA_MIN (64 * KIB)  /* lower ones are none */

/* No CPU of this architecture addresses more (APM vol. 2, 5.1; SDM vol. 3, 4.1.4). */
#define PHYSICAL_LIMIT BIT64(52)

/* The result of a sweep, until it is known to fit. */
static struct memory_range sweep_result[MEMORY_MAP_MAX] INIT_DATA = {{0}};

static const struct {
    const char *name;
    unsigned int rank; /* where ranges overlap, the higher one wins */
} types[] = {
    [MEM_USABLE] = {"usable", 1},     [MEM_ACPI] = {"ACPI tables", 2}, [MEM_NVS] = {"ACPI NVS", 3},
    [MEM_RESERVED] = {"reserved", 4}, [MEM_BAD] = {"bad", 5},
};

static bool is_known(uint32_t type)
{
    return type < ARRAY_SIZE(types) && types[type].rank != 0;
}

const char *memory_type_name(uint32_t type)
{
    return is_known(type) ? types[type].name : "unknown";
}

/* Fits a range to what the architecture can address. Returns false when nothing is left of it. */
INIT static bool clip(struct memory_map *map, struct memory_range *r)
{
    if (!is_known(r->type))
        r->type = MEM_RESERVED;
    if (r->size == 0) {
        map->empty++;
        return false;
    }
    if (r->base < PHYSICAL_LIMIT && r->size <= PHYSICAL_LIMIT - r->base)
        return true;
    map->cut++;
    bool dropped = r->base >= PHYSICAL_LIMIT || r->type == MEM_USABLE;

    log_warn("memory map: 0x%llx bytes at 0x%llx (%s) reach beyond 2^52, %s", LLU(r->size),
             LLU(r->base), memory_type_name(r->type), dropped ? "ignored" : "cut");
    if (dropped)
        return false;
    r->size = PHYSICAL_LIMIT - r->base;
    return true;
}

INIT int memory_map_add(struct memory_map *map, uint64_t base, uint64_t size, uint32_t type)
{
    struct memory_range r = {.base = base, .size = size, .type = type};
    struct memory_range *last = map->count > 0 ? &map->r[map->count - 1] : NULL;

    map->given++;
    if (!clip(map, &r))
        return 0;
    /* UEFI maps are mostly of neighbours that differ in what UEFI alone cares for. */
    if (last != NULL && last->type == r.type && last->base + last->size == r.base) {
        last->size += r.size;
        return 0;
    }
    if (map->count == MEMORY_MAP_MAX) {
        log_error("memory map: more than %d ranges", MEMORY_MAP_MAX);
        return -BH_ENOMEM;
    }
    map->r[map->count++] = r;
    return 0;
}

/* What the map, together with one range more, says about the addresses from `at` on. */
struct stretch {
    uint32_t type; /* 0 = nothing */
    uint64_t end;  /* the first address where that may change; UINT64_MAX = never */
};

INIT static void look_at(const struct memory_range *r, uint64_t at, struct stretch *s)
{
    uint64_t end = r->base + r->size;

    if (r->base > at) {
        s->end = MIN(s->end, r->base);
    } else if (end > at) {
        s->end = MIN(s->end, end);
        if (s->type == 0 || types[r->type].rank > types[s->type].rank)
            s->type = r->type;
    }
}

/* By address. Maps are mostly in order already. */
INIT static void sort(struct memory_map *map)
{
    for (unsigned int i = 1; i < map->count; i++) {
        struct memory_range r = map->r[i];
        unsigned int to = i;

        for (; to > 0 && map->r[to - 1].base > r.base; to--)
            map->r[to] = map->r[to - 1];
        map->r[to] = r;
    }
}

/* Rebuilds a sorted map with `extra` in it (NULL: nothing more), stretch by stretch. */
INIT static int sweep(struct memory_map *map, const struct memory_range *extra)
{
    unsigned int n = 0, first = 0; /* the first range that does not end before `at` */

    for (uint64_t at = 0; at != UINT64_MAX;) {
        struct stretch s = {.type = 0, .end = UINT64_MAX};

        while (first < map->count && map->r[first].base + map->r[first].size <= at)
            first++;
        for (unsigned int i = first; i < map->count; i++) {
            look_at(&map->r[i], at, &s);
            if (map->r[i].base > at)
                break;
        }
        if (extra != NULL)
            look_at(extra, at, &s);
        struct memory_range *last = n > 0 ? &sweep_result[n - 1] : NULL;

        if (s.type != 0 && last != NULL && last->type == s.type && last->base + last->size == at) {
            last->size += s.end - at;
        } else if (s.type != 0) {
            if (n == MEMORY_MAP_MAX) {
                log_error("memory map: more than %d ranges", MEMORY_MAP_MAX);
                return -BH_ENOMEM;
            }
            sweep_result[n++] = (struct memory_range){at, s.end - at, s.type};
        }
        at = s.end;
    }
    memcpy(map->r, sweep_result, n * sizeof(map->r[0]));
    map->count = n;
    return 0;
}

INIT int memory_map_normalise(struct memory_map *map)
{
    sort(map);
    return sweep(map, NULL);
}

INIT int memory_map_reserve(struct memory_map *map, uint64_t base, uint64_t size, uint32_t type)
{
    struct memory_range r = {.base = base, .size = size, .type = type};

    return clip(map, &r) ? sweep(map, &r) : 0;
}

INIT bool memory_map_has(const struct memory_map *map, uint64_t base, uint64_t size,
                         uint32_t of_types)
{
    for (unsigned int i = 0; i < map->count; i++) {
        const struct memory_range *r = &map->r[i];

        if ((of_types & BIT(r->type)) && base < r->base + r->size && r->base < base + size)
            return true;
    }
    return false;
}

INIT int memory_map_find(const struct memory_map *map, uint64_t size, uint64_t align,
                         uint64_t limit, uint64_t *base)
{
    if (size == 0 || align == 0 || (align & (align - 1)) != 0)
        return -BH_EINVAL;
    for (unsigned int i = map->count; i-- > 0;) {
        const struct memory_range *r = &map->r[i];
        uint64_t end = MIN(r->base + r->size, limit);

        if (r->type != MEM_USABLE || end < r->base || end - r->base < size)
            continue;
        uint64_t start = ALIGN_DOWN(end - size, align);

        if (start >= r->base) {
            *base = start;
            return 0;
        }
    }
    return -BH_ENOENT;
}

INIT int memory_map_find_low(const struct memory_map *map, uint16_t ebda, uint64_t *base)
{
    uint64_t ebda_base = (uint64_t)ebda * 16;
    uint64_t limit = ebda_base >= EBDA_MIN && ebda_base < LOW_END ? ebda_base : LOW_END;
    int err = memory_map_find(map, PAGE_SIZE_4K, PAGE_SIZE_4K, limit, base);

    return !err && *base == 0 ? -BH_ENOENT : err;
}
