#ifndef BULKHEAD_LIB_VERSION_H
#define BULKHEAD_LIB_VERSION_H

/* `git describe` of the tree that the image was built from. */
extern const char bulkhead_version[];

#endif
