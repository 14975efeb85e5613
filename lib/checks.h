#ifndef BULKHEAD_LIB_CHECKS_H
#define BULKHEAD_LIB_CHECKS_H

/* `make CHECKS=1` builds a core that checks itself: the order of locks, who owns what, how long
 * things take. Code says `if (CHECKS && ...)`; in other builds nothing is left of it. */
#ifndef CHECKS
#define CHECKS 0
#endif

#endif
