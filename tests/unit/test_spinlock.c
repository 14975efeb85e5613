/* Locks: one at a time, in the order of asking; what CHECKS builds find; and their users, called by
 * several threads at once. */

#include "lib/spinlock.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/mm/frame_alloc.h"
#include "arch/x86/mm/page_alloc.h"
#include "tests/unit/host_checks.h"

#define THREADS 4

static struct spinlock lock = SPINLOCK(LOCK_FRAMES, "frames");
static struct spinlock inner = SPINLOCK(LOCK_CONSOLE, "console");
static struct spinlock same = SPINLOCK(LOCK_CONSOLE, "other console");

static int clear(void **state)
{
    lock.next = lock.serving = inner.next = inner.serving = same.next = same.serving = 0;
    spin_held()->count = 0;
    host_machine_ends = false;
    host_panic_text[0] = '\0';
    return 0;
}

static void run_threads(void *(*body)(void *))
{
    pthread_t threads[THREADS];

    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, body, (void *)i), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

#define ROUNDS 20000 /* with all threads: more than 65536, where the numbers begin anew */

static volatile unsigned int counter, inside, met;

static void *count(void *arg)
{
    for (unsigned int i = 0; i < ROUNDS; i++) {
        spin_acquire(&lock);
        met += inside != 0;
        inside = 1;
        counter = counter + 1;
        if (i % 64 == 0)
            sched_yield();
        inside = 0;
        spin_release(&lock);
    }
    return NULL;
}

static void test_exclusion(void **state)
{
    static_assert(THREADS * ROUNDS > UINT16_MAX, "wraps");
    counter = met = 0;
    run_threads(count);
    assert_int_equal(counter, THREADS * ROUNDS);
    assert_int_equal(met, 0);
}

static size_t order[THREADS];
static unsigned int ordered;

static void *ask(void *arg)
{
    spin_acquire(&lock);
    order[ordered++] = (size_t)arg;
    spin_release(&lock);
    return NULL;
}

/* Each asks when the one before has its number. */
static void test_fairness(void **state)
{
    pthread_t threads[THREADS];

    for (unsigned int round = 0; round < 20; round++) {
        ordered = 0;
        spin_acquire(&lock);
        for (size_t i = 0; i < THREADS; i++) {
            uint16_t before = __atomic_load_n(&lock.next, __ATOMIC_RELAXED);

            assert_int_equal(pthread_create(&threads[i], NULL, ask, (void *)i), 0);
            while (__atomic_load_n(&lock.next, __ATOMIC_RELAXED) == before)
                sched_yield();
        }
        assert_int_equal(ordered, 0);
        spin_release(&lock);
        for (size_t i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        for (size_t i = 0; i < THREADS; i++)
            assert_int_equal(order[i], i);
    }
}

/* What a handler sees that has interrupted this CPU: at rest, with the lock, on the way to it. */
static void test_is_free(void **state)
{
    assert_true(spin_is_free(&inner));
    spin_acquire(&inner);
    assert_false(spin_is_free(&inner));
    assert_true(spin_is_free(&same));
    spin_release(&inner);
    assert_true(spin_is_free(&inner));
    spin_check_acquire(&inner);
    assert_false(spin_is_free(&inner));
    spin_check_release(&inner);
    inner.next = inner.serving = UINT16_MAX;
    assert_true(spin_is_free(&inner));
    inner.next++;
    assert_false(spin_is_free(&inner));
}

/* A crash inside a lock's section: the crash report takes it again. */
static void test_machine_ends(void **state)
{
    spin_acquire(&inner);
    host_machine_ends = true;
    spin_acquire(&inner);
    spin_acquire(&lock);
    spin_assert_held(&same);
    spin_release(&lock);
    spin_release(&inner);
    assert_string_equal(host_panic_text, "");
}

#define EXPECT_PANIC(call, text)                    \
    do {                                            \
        jmp_buf jump;                               \
        host_panic_jump = &jump;                    \
        if (setjmp(jump) == 0) {                    \
            call;                                   \
            fail_msg("no panic");                   \
        }                                           \
        host_panic_jump = NULL;                     \
        assert_string_equal(host_panic_text, text); \
    } while (0)

static void test_order(void **state)
{
    spin_acquire(&lock);
    spin_acquire(&inner);
    spin_assert_held(&lock);
    assert_int_equal(spin_held()->count, 2);
    EXPECT_PANIC(spin_acquire(&lock), "lock \"frames\" is taken twice");
    EXPECT_PANIC(spin_acquire(&same), "lock \"other console\" is taken after \"console\"");
    spin_release(&lock); /* in any order */
    assert_int_equal(spin_held()->count, 1);
    EXPECT_PANIC(spin_acquire(&lock), "lock \"frames\" is taken after \"console\"");
    EXPECT_PANIC(spin_assert_held(&lock), "lock \"frames\" is needed and not held");
    EXPECT_PANIC(spin_release(&lock), "lock \"frames\" is released and not held");
    spin_release(&inner);
    assert_int_equal(spin_held()->count, 0);
    spin_acquire(&lock);
    spin_release(&lock);
}

static void test_held_list_is_full(void **state)
{
    struct spinlock many[HELD_LOCKS_MAX + 1];

    for (unsigned int i = 0; i <= HELD_LOCKS_MAX; i++)
        many[i] = (struct spinlock)SPINLOCK(i + 1, "many");
    for (unsigned int i = 0; i < HELD_LOCKS_MAX; i++)
        spin_acquire(&many[i]);
    EXPECT_PANIC(spin_acquire(&many[HELD_LOCKS_MAX]), "lock \"many\" is taken after 8 others");
}

#define POOL_PAGES 256

static unsigned int wrong;

/* Takes pages, which must be clear, and writes on them; they must be as they were left. */
static void *use_pages(void *arg)
{
    uint8_t *pages[8] = {NULL};

    for (unsigned int i = 0; i < 3000; i++) {
        uint8_t **p = &pages[i * 7 % ARRAY_SIZE(pages)];

        if (*p) {
            for (unsigned int k = 0; k < PAGE_SIZE_4K; k += 512)
                wrong += (*p)[k] != (uint8_t)((size_t)arg + 1);
            page_free(*p);
            *p = NULL;
        } else if ((*p = i % 5 == 0 ? page_alloc_contiguous(1, 1) : page_alloc()) != NULL) {
            for (unsigned int k = 0; k < PAGE_SIZE_4K; k += 512)
                wrong += (*p)[k] != 0;
            memset(*p, (int)(size_t)arg + 1, PAGE_SIZE_4K);
        }
    }
    for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++)
        page_free(pages[i]);
    return NULL;
}

static void test_page_pool(void **state)
{
    void *memory = aligned_alloc(PAGE_SIZE_4K, POOL_PAGES * PAGE_SIZE_4K);

    page_pool_init(memory, 16 * MIB, POOL_PAGES * PAGE_SIZE_4K);
    wrong = 0;
    run_threads(use_pages);
    assert_int_equal(wrong, 0);
    assert_int_equal(page_free_count(), page_total_count());
    free(memory);
}

#define FRAMES 512

static uint8_t taken[FRAMES];

static void *use_frames(void *arg)
{
    for (unsigned int i = 0; i < 2000; i++) {
        struct frame_run runs[8];
        unsigned int n;

        if (frame_alloc((1 + i % 40) * FRAME_SIZE, runs, ARRAY_SIZE(runs), &n) != 0)
            continue;
        for (unsigned int r = 0; r < n; r++)
            for (uint64_t f = 0; f < runs[r].size / FRAME_SIZE; f++)
                wrong += __atomic_exchange_n(&taken[runs[r].base / FRAME_SIZE + f], 1,
                                             __ATOMIC_RELAXED) != 0;
        for (unsigned int r = 0; r < n; r++) {
            for (uint64_t f = 0; f < runs[r].size / FRAME_SIZE; f++)
                __atomic_store_n(&taken[runs[r].base / FRAME_SIZE + f], 0, __ATOMIC_RELAXED);
            wrong += frame_free(runs[r].base, runs[r].size) != 0;
        }
    }
    return NULL;
}

static void test_frames(void **state)
{
    static uint64_t storage[2 * FRAMES / 64];
    static struct memory_map map = {.count = 1,
                                    .r = {{.size = FRAMES * FRAME_SIZE, .type = MEM_USABLE}}};

    assert_int_equal(frame_init(&map, storage, sizeof(storage)), 0);
    wrong = 0;
    run_threads(use_frames);
    assert_int_equal(wrong, 0);
    assert_int_equal(frame_free_bytes(), frame_total_bytes());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_exclusion, clear),
        cmocka_unit_test_setup(test_fairness, clear),
        cmocka_unit_test_setup(test_is_free, clear),
        cmocka_unit_test_setup(test_machine_ends, clear),
        cmocka_unit_test_setup(test_order, clear),
        cmocka_unit_test_setup(test_held_list_is_full, clear),
        cmocka_unit_test_setup(test_page_pool, clear),
        cmocka_unit_test_setup(test_frames, clear),
    };

    spin_checks_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
