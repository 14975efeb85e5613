#include "lib/version.h"

const char bulkhead_version[] = BULKHEAD_VERSION;
