#include "boot/core_header.h"

#include "boot/boot_info.h"

extern const char boot_entry64[];
extern const struct core_header core_header;

const struct core_header core_header __attribute__((section(".boot.core_header"), used)) = {
    .magic = CORE_HEADER_MAGIC,
    .info_size = sizeof(struct boot_info),
    .entry = (uint64_t)boot_entry64,
};
