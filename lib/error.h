#ifndef BULKHEAD_LIB_ERROR_H
#define BULKHEAD_LIB_ERROR_H

/* Error numbers. Functions that can fail return 0 or one of these negated. They have their own
 * names and not errno's, so that the same files build on a host beside its <errno.h>. */
enum bh_error {
    BH_EINVAL = 1,  /* an argument or an input is malformed */
    BH_ENOMEM = 2,  /* no memory left in the pool that was asked */
    BH_ENOENT = 3,  /* no such thing */
    BH_ERANGE = 4,  /* outside the range that the callee covers */
    BH_EFAULT = 5,  /* a guest address that is not backed by the guest's memory */
    BH_ENOTSUP = 6, /* the hardware, or this version, cannot do that */
    BH_EBUSY = 7,   /* in use, or already in that state */
    BH_EIO = 8,     /* a device did not answer as it must */
    BH_ENODEV = 9,  /* the machine has not that kind of device */
};

#endif
