#ifndef BULKHEAD_LIB_VERSION_H
#define BULKHEAD_LIB_VERSION_H

#include "lib/macros.h"

/* `git describe` of the tree that the image was built from. */
extern const char bulkhead_version[];

/* The first eight digits of its commit (0: unknown), and whether it differed from that. */
extern const uint32_t bulkhead_commit;
extern const bool bulkhead_is_modified;

#endif
