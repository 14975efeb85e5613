#ifndef BULKHEAD_LIB_SPINLOCK_H
#define BULKHEAD_LIB_SPINLOCK_H

/* Locks between CPUs. Fair: who asks gets a number, and its turn in the order of the numbers. They
 * are held for a short, bounded time, with interrupts off as everywhere in the core. Handlers of
 * NMIs take none. The CPU that ends the machine waits for none: nobody else runs then, and it may
 * itself have been inside when it crashed. */

#include "lib/checks.h"
#include "lib/macros.h"

/* Whoever holds a lock may take those of higher rank only (checked with CHECKS). */
enum lock_rank {
    LOCK_VM_DEVICES = 1,
    LOCK_VM_REQUEST,
    LOCK_FRAMES,
    LOCK_PAGES,
    LOCK_CONSOLE, /* the log, too: whoever holds any other lock may log */
};

struct spinlock {
    uint16_t next; /* number that the next one who asks gets */
    uint16_t serving;
    uint8_t rank; /* enum lock_rank */
    const char *name;
};

#define SPINLOCK(lock_rank, lock_name)          \
    {                                           \
        0, 0, (uint8_t)(lock_rank), (lock_name) \
    }

/* What a CPU holds, in the order of taking: CHECKS builds. */
#define HELD_LOCKS_MAX 8
struct held_locks {
    unsigned int count;
    const struct spinlock *lock[HELD_LOCKS_MAX];
};

/* What locks need of the machine (arch/x86/locks.c): this CPU's list; whether this CPU ends the
 * machine, which does not return when another one does. */
struct held_locks *spin_held(void);
bool spin_machine_ends(void);

/* The order is checked from now on. Boot, when spin_held() can be asked. */
void spin_checks_begin(void);

/* Parts of the below. */
void spin_wait(const struct spinlock *lock, uint16_t number);
void spin_check_acquire(const struct spinlock *lock);
void spin_check_release(const struct spinlock *lock);
void spin_check_held(const struct spinlock *lock);
bool spin_check_holds(const struct spinlock *lock);

static inline void spin_acquire(struct spinlock *lock)
{
    if (CHECKS)
        spin_check_acquire(lock);
    uint16_t number = __atomic_fetch_add(&lock->next, 1, __ATOMIC_RELAXED);
    if (unlikely(__atomic_load_n(&lock->serving, __ATOMIC_ACQUIRE) != number))
        spin_wait(lock, number);
}

static inline void spin_release(struct spinlock *lock)
{
    if (CHECKS)
        spin_check_release(lock);
    __atomic_store_n(&lock->serving, (uint16_t)(lock->serving + 1), __ATOMIC_RELEASE);
}

/* For a handler that may have interrupted whoever holds it, on this CPU: when it is free, it can be
 * taken. In CHECKS builds whoever is about to take it is in the way, too. */
static inline bool spin_is_free(const struct spinlock *lock)
{
    return __atomic_load_n(&lock->next, __ATOMIC_RELAXED) ==
               __atomic_load_n(&lock->serving, __ATOMIC_RELAXED) &&
           !(CHECKS && spin_check_holds(lock));
}

/* For functions that want it held. */
static inline void spin_assert_held(const struct spinlock *lock)
{
    if (CHECKS)
        spin_check_held(lock);
}

#endif
