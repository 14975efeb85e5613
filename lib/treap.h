#ifndef BULKHEAD_LIB_TREAP_H
#define BULKHEAD_LIB_TREAP_H

/* An ordered set of nodes that lie in what they order. A treap: a search tree by key that is a heap
 * by random priorities, which keep it flat. Insertion and removal take O(log n) on average, the
 * first O(1). Equal keys keep the order of their insertion. No locks. */

#include "lib/macros.h"

struct treap_node {
    uint64_t key;
    struct treap_node *child[2]; /* lower, higher */
    struct treap_node *parent;
    struct treap *in; /* NULL: in none */
    uint32_t priority;
};

/* All zero: empty. */
struct treap {
    struct treap_node *root, *first;
    uint32_t random;
};

/* Adds a node that is in no set; its key is given, and does not change its place any more. */
void treap_insert(struct treap *set, struct treap_node *node);

/* Takes a node out of the set that it is in. */
void treap_remove(struct treap_node *node);

/* The next higher (side 1) or lower one (side 0), or NULL. */
struct treap_node *treap_neighbour(const struct treap_node *node, unsigned int side);

/* The highest one, or NULL. */
struct treap_node *treap_last(const struct treap *set);

/* The one after the first one of a set, or NULL. */
static inline struct treap_node *treap_second(const struct treap_node *first)
{
    struct treap_node *next = first->child[1];

    if (likely(!next))
        return first->parent;
    while (next->child[0])
        next = next->child[0];
    return next;
}

#endif
