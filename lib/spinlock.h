#ifndef BULKHEAD_LIB_SPINLOCK_H
#define BULKHEAD_LIB_SPINLOCK_H
#include "lib/macros.h"
struct spinlock {
    uint32_t next, owner;
};
static inline void spin_lock(struct spinlock *lock)
{
    uint32_t ticket = __atomic_fetch_add(&lock->next, 1, __ATOMIC_RELAXED);
    while (__atomic_load_n(&lock->owner, __ATOMIC_ACQUIRE) != ticket)
        __builtin_ia32_pause();
}
static inline void spin_unlock(struct spinlock *lock)
{
    __atomic_store_n(&lock->owner, lock->owner + 1, __ATOMIC_RELEASE);
}
#endif
