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

/* The general parts of the two below. */
void treap_insert_among_others(struct treap *set, struct treap_node *node);
void treap_remove_from_others(struct treap_node *node);

/* Adds a node that is in no set; its key is given. */
static inline void treap_insert(struct treap *set, struct treap_node *node)
{
    if (set->root) {
        treap_insert_among_others(set, node);
        return;
    }
    set->root = set->first = node;
    node->parent = node->child[0] = node->child[1] = NULL;
    node->in = set;
    node->priority = 0; /* as good as a random one, as it is the only one */
}

/* Takes a node out of the set that it is in. */
static inline void treap_remove(struct treap_node *node)
{
    struct treap *set = node->in;

    if (node->parent || node->child[0] || node->child[1]) {
        treap_remove_from_others(node);
        return;
    }
    set->root = set->first = NULL;
    node->in = NULL;
}

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
