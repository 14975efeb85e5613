/* The ordered set: order, equal keys, neighbours, and at random against a sorted array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "lib/treap.h"

#define NODES 300u

static struct treap set;
static struct treap_node n[NODES];
static struct treap_node *model[NODES]; /* what is in the set, in order */
static unsigned int used;

static unsigned int depth_of(const struct treap_node *node)
{
    unsigned int depth = 0;

    for (; node->parent; node = node->parent)
        depth++;
    return depth;
}

static void check(void)
{
    const struct treap_node *at = set.first;

    for (unsigned int i = 0; i < used; i++, at = treap_neighbour(at, 1)) {
        assert_ptr_equal(at, model[i]);
        assert_ptr_equal(at->in, &set);
        assert_ptr_equal(treap_neighbour(at, 0), i ? model[i - 1] : NULL);
        if (at->parent)
            assert_true(at->parent->priority >= at->priority);
        for (unsigned int side = 0; side < 2; side++)
            if (at->child[side])
                assert_ptr_equal(at->child[side]->parent, at);
    }
    assert_null(at);
    assert_ptr_equal(treap_last(&set), used ? model[used - 1] : NULL);
    if (used)
        assert_ptr_equal(treap_second(set.first), used > 1 ? model[1] : NULL);
}

static void insert(struct treap_node *node, uint64_t key)
{
    unsigned int i = used++;

    node->key = key;
    treap_insert(&set, node);
    for (; i > 0 && model[i - 1]->key > key; i--)
        model[i] = model[i - 1];
    model[i] = node;
}

static void take(struct treap_node *node)
{
    unsigned int i = 0;

    treap_remove(node);
    assert_null(node->in);
    while (model[i] != node)
        i++;
    used--;
    memmove(&model[i], &model[i + 1], (used - i) * sizeof(model[0]));
}

static int setup(void **state)
{
    (void)state;
    memset(&set, 0, sizeof(set));
    memset(n, 0, sizeof(n));
    used = 0;
    return 0;
}

static void test_equal_keys(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < NODES; i++)
        insert(&n[i], i % 3 ? 5 : UINT64_MAX * (i % 2));
    check();
    while (used) {
        take(model[used / 2]);
        check();
    }
    assert_null(set.root);
}

/* Rising, falling and equal keys do not make a list of it. */
static void test_flat(void **state)
{
    (void)state;
    for (int step = -1; step <= 1; step++) {
        setup(NULL);
        for (unsigned int i = 0; i < NODES; i++)
            insert(&n[i], (uint64_t)(1000 + step * (int)i));
        check();
        for (unsigned int i = 0; i < NODES; i++)
            assert_true(depth_of(&n[i]) < 30);
    }
}

static void test_random(void **state)
{
    (void)state;
    srand(3);
    for (unsigned int round = 0; round < 30000; round++) {
        struct treap_node *node = &n[(unsigned int)rand() % NODES];

        /* It grows and shrinks in turns, to nothing at times. */
        if (node->in)
            take(rand() % 3 ? node : set.first);
        else if (rand() % 4 || round / 2000 % 2)
            insert(node, (unsigned int)rand() % 200);
        if (round % 5000 == 4999)
            while (used)
                take(set.first);
        if (round % 8 == 0)
            check();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_equal_keys, setup),
        cmocka_unit_test_setup(test_flat, setup),
        cmocka_unit_test_setup(test_random, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
