#include "lib/treap.h"

/* What points to a node. */
static struct treap_node **link_of(const struct treap_node *node)
{
    struct treap_node *parent = node->parent;

    return parent ? &parent->child[parent->child[1] == node] : &node->in->root;
}

/* The node takes its parent's place, and the parent becomes its child. */
static void rotate_up(struct treap_node *node)
{
    struct treap_node *parent = node->parent;
    unsigned int side = parent->child[1] == node;
    struct treap_node *inner = node->child[!side];

    *link_of(parent) = node;
    node->parent = parent->parent;
    node->child[!side] = parent;
    parent->parent = node;
    parent->child[side] = inner;
    if (inner)
        inner->parent = parent;
}

void treap_insert_among_others(struct treap *set, struct treap_node *node)
{
    struct treap_node *first = set->first, *parent = NULL;
    struct treap_node **link = &set->root;

    if (node->key < first->key) {
        parent = first;
        link = &first->child[0];
    }
    while (*link) {
        parent = *link;
        link = &parent->child[parent->key <= node->key];
    }
    *link = node;
    node->parent = parent;
    node->child[0] = node->child[1] = NULL;
    node->in = set;
    if (node->key < first->key)
        set->first = node;
    /* A congruential generator with full period (Numerical Recipes' constants). */
    set->random = set->random * 1664525 + 1013904223;
    node->priority = set->random;
    while (node->parent && node->parent->priority < node->priority)
        rotate_up(node);
}

void treap_remove_from_others(struct treap_node *node)
{
    struct treap_node **link = link_of(node), *parent = node->parent;
    struct treap_node *low = node->child[0], *high = node->child[1];

    if (node->in->first == node)
        node->in->first = treap_second(node);
    /* Its children become one tree, in its place. */
    while (low && high) {
        bool take_high = low->priority < high->priority;
        struct treap_node *top = take_high ? high : low;

        *link = top;
        top->parent = parent;
        parent = top;
        link = &top->child[!take_high];
        if (take_high)
            high = *link;
        else
            low = *link;
    }
    *link = low ? low : high;
    if (*link)
        (*link)->parent = parent;
    node->in = NULL;
}

struct treap_node *treap_neighbour(const struct treap_node *node, unsigned int side)
{
    struct treap_node *at = node->child[side];

    if (at) {
        while (at->child[!side])
            at = at->child[!side];
        return at;
    }
    at = node->parent;
    while (at && at->child[side] == node) {
        node = at;
        at = at->parent;
    }
    return at;
}

struct treap_node *treap_last(const struct treap *set)
{
    struct treap_node *at = set->root;

    while (at && at->child[1])
        at = at->child[1];
    return at;
}
