#include "lib/spinlock.h"

#include "arch/x86/asm.h"
#include "arch/x86/interrupt.h"

void spin_wait(const struct spinlock *lock, uint16_t number)
{
    while (__atomic_load_n(&lock->serving, __ATOMIC_ACQUIRE) != number && !spin_machine_ends())
        cpu_pause();
}

static bool checking; /* constant once other CPUs run */

INIT void spin_checks_begin(void)
{
    checking = true;
}

/* At the end of the machine locks are passed, and the lists are not kept. */
static bool is_checked(void)
{
    return checking && !spin_machine_ends();
}

void spin_check_acquire(const struct spinlock *lock)
{
    if (!is_checked())
        return;
    struct held_locks *held = spin_held();
    for (unsigned int i = 0; i < held->count; i++) {
        if (held->lock[i] == lock)
            core_panic("lock \"%s\" is taken twice", lock->name);
        if (held->lock[i]->rank >= lock->rank)
            core_panic("lock \"%s\" is taken after \"%s\"", lock->name, held->lock[i]->name);
    }
    if (held->count == HELD_LOCKS_MAX)
        core_panic("lock \"%s\" is taken after %u others", lock->name, held->count);
    held->lock[held->count++] = lock;
}

void spin_check_release(const struct spinlock *lock)
{
    if (!is_checked())
        return;
    struct held_locks *held = spin_held();
    unsigned int i = held->count;

    while (i > 0 && held->lock[i - 1] != lock)
        i--;
    if (i == 0)
        core_panic("lock \"%s\" is released and not held", lock->name);
    held->count--;
    for (i--; i < held->count; i++)
        held->lock[i] = held->lock[i + 1];
}

bool spin_check_holds(const struct spinlock *lock)
{
    const struct held_locks *held = is_checked() ? spin_held() : NULL;

    for (unsigned int i = 0; held && i < held->count; i++)
        if (held->lock[i] == lock)
            return true;
    return false;
}

void spin_check_held(const struct spinlock *lock)
{
    if (is_checked() && !spin_check_holds(lock))
        core_panic("lock \"%s\" is needed and not held", lock->name);
}
