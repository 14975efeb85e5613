#ifndef BULKHEAD_BOOT_BUNDLE_H
#define BULKHEAD_BOOT_BUNDLE_H

/* Many modules in one: an archive of the "new" portable format of cpio(1), as for an initramfs:
 *     ls bulkhead.conf vmlinuz guest.cpio.gz | cpio -o -H newc > bundle
 * for loaders that take one file beside the core. */

#include "boot/boot_parse.h"

/* Whether a module begins as such an archive does. */
bool bundle_is_one(uint64_t base, uint64_t size, const struct phys_view *view);

/* Adds each regular file in it as a module of that name, where it stands. Returns 0, or -BH_EINVAL
 * (logged) for a damaged one. */
MUST_CHECK int bundle_add(struct boot_info *info, uint64_t base, uint64_t size,
                          const struct phys_view *view);

#endif
