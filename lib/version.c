#include "lib/version.h"

const char bulkhead_version[] = BULKHEAD_VERSION;
const uint32_t bulkhead_commit = BULKHEAD_COMMIT;
const bool bulkhead_is_modified = BULKHEAD_MODIFIED;
