/* The boot loader's information, on an arbitrary physical memory.
 *
 * Input: a byte that chooses the magic, two bytes with the address of the structure (little
 * endian, in units of 4 bytes), then the memory image from address 0. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "boot/multiboot.h"
#include "boot/pvh.h"
#include "lib/error.h"
#include "tests/fuzz/require.h"
#include "tests/unit/host_log.h"
#include "tests/unit/memory_usable.h"

#define HEAD_SIZE 3u
#define IMAGE_MAX 0x20000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_module(const struct boot_module *m)
{
    size_t len = strnlen(m->name, sizeof(m->name));

    REQUIRE(len < sizeof(m->name));
    REQUIRE(!memchr(m->name, '/', len) && !memchr(m->name, ' ', len));
    REQUIRE(m->base + m->size >= m->base);
}

static void check_map(struct memory_map *map)
{
    REQUIRE(map->count <= MEMORY_MAP_MAX);
    for (unsigned int i = 0; i < map->count; i++) {
        REQUIRE(map->r[i].size > 0 && map->r[i].base + map->r[i].size <= BIT64(52));
        REQUIRE(map->r[i].type >= MEM_USABLE && map->r[i].type <= MEM_BAD);
    }
    /* The next step of the boot; the sum of what overlaps can only become less. */
    uint64_t before = memory_map_usable(map);
    if (memory_map_normalise(map) == 0)
        REQUIRE(map->count <= MEMORY_MAP_MAX && memory_map_usable(map) <= before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t magics[] = {MULTIBOOT1_MAGIC, MULTIBOOT2_MAGIC, 0, PVH_MAGIC};
    static struct boot_info info;

    if (size < HEAD_SIZE || size - HEAD_SIZE > IMAGE_MAX)
        return 0;
    uint32_t magic = magics[data[0] % ARRAY_SIZE(magics)];
    uint64_t addr = 4 * (data[1] | (uint64_t)data[2] << 8);
    size_t len = size - HEAD_SIZE;
    uint8_t *image = malloc(len ? len : 1); /* to the byte, for ASan */

    if (!image)
        return 0;
    memcpy(image, data + HEAD_SIZE, len);
    const struct phys_view view = {.base = image, .limit = len};

    host_log_clear();
    memset(&info, 0xa5, sizeof(info));
    int err = magic == PVH_MAGIC ? pvh_parse(&info, addr, &view)
                                 : multiboot_parse(&info, magic, addr, &view);

    free(image);
    REQUIRE(err == 0 || err == -BH_EINVAL || err == -BH_ENOTSUP || err == -BH_ENOMEM);
    REQUIRE((err == -BH_ENOTSUP) == (magic == 0));
    REQUIRE(err == 0 || host_log_text[0] != '\0'); /* a refusal says why */
    REQUIRE(strnlen(info.cmdline, sizeof(info.cmdline)) < sizeof(info.cmdline));
    REQUIRE(info.rsdp_size <= BOOT_RSDP_SIZE);
    REQUIRE(info.module_count <= BOOT_MODULES_MAX);
    REQUIRE(info.modules_dropped == 0 || info.module_count == BOOT_MODULES_MAX);
    for (unsigned int i = 0; i < info.module_count; i++)
        check_module(&info.modules[i]);
    REQUIRE(info.framebuffer.kind <= BOOT_FB_TEXT);
    check_map(&info.map);
    return 0;
}
