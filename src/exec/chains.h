/* Shared by chains.c and trees.c: which nodes stand side by side in the running order. */
#ifndef EXEC_CHAINS_H
#define EXEC_CHAINS_H

#include "exec/exec_impl.h"

/* By node id. A node in no chain is one of its own. */
typedef struct ed_links {
    ed_id *head; /* the first node of its chain */
    ed_id *tail; /* of a first node: the last one, at whose place the chain stands */
    ed_id *next; /* ED_NONE behind the last one */
} ed_links;

/* All its outputs are constants: it never runs. */
bool ed_exec_is_folded(const ed_exec *x, const ed_node *node);
/* Make chains of elementwise nodes that have none so far (trees.c). */
int ed_exec_trees(const ed_exec *x, ed_links *links, const ed_id *order, size_t count);

#endif
