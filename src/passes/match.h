/*
 * Patterns: a list of nodes, matched backwards from the last one (the root).
 *
 * To add a fusion or a conversion: one row in fusions.c or conversions.c.
 */
#ifndef PASSES_MATCH_H
#define PASSES_MATCH_H

#include "ed/plan.h"
#include "ops/op.h"

enum { ED_PAT_MAX_NODES = 8, ED_PAT_MAX_INPUTS = 6, ED_MATCH_MAX_NODES = 12 };

/* What an input of a pattern node must be. After the last stated one, inputs are free. */
enum {
    ED_PAT_FREE = 0, /* ends the list */
    ED_PAT_ANY,      /* some value */
    ED_PAT_CONST,    /* an initializer, or FakeQuantize of one */
    ED_PAT_NODE0 = 16
};
#define ED_PAT_NODE(i) (ED_PAT_NODE0 + (i))

typedef struct ed_pat_node {
    const char *op; /* "Conv", "Gemm|MatMul", "com.microsoft::Attention", or the class
                       "@activation"; NULL ends the list */
    uint8_t in[ED_PAT_MAX_INPUTS];
    bool optional; /* may be absent: then NODE(this) means what its own NODE input means */
} ed_pat_node;

typedef struct ed_pattern ed_pattern;

typedef struct ed_match {
    const ed_pattern *pattern;
    ed_id root;
    ed_id at[ED_PAT_MAX_NODES]; /* node of each pattern node; ED_NONE: an absent optional one */
    ed_id nodes[ED_MATCH_MAX_NODES]; /* all nodes, producers first */
    uint32_t n_nodes;
} ed_match;

/* What a class of nodes ("@activation", "@gelu") matched at its last node. */
typedef struct ed_class_hit {
    ed_id data;     /* the value that it is a function of */
    ed_id users[2]; /* the nodes that read it */
    size_t n_users;
    ed_id nodes[6]; /* producers first */
    size_t n_nodes;
} ed_class_hit;
/* match_class.c */
bool ed_class_match(ed_class_hit *hit, const char *class_name, const ed_graph *g, ed_id id);

/* Which values of a group get a FakeQuantize (rules in qdq.c). */
typedef enum ed_qdq_role {
    ED_QDQ_NONE,
    ED_QDQ_INPUT,          /* data input of the weighted node */
    ED_QDQ_WEIGHT,         /* its weight */
    ED_QDQ_RESIDUAL_INPUT, /* the operand of the group's Add that comes from outside */
    ED_QDQ_ATTENTION,      /* both inputs of both MatMuls of an attention */
} ed_qdq_role;

struct ed_pattern {
    const char *name; /* NULL ends the table */
    ed_phase phase;
    const ed_pat_node *nodes;
    const char *(*reject)(const ed_graph *g,
                          const ed_match *m); /* a reason, or NULL; may be NULL */
    /* Conversions: rewrite the graph. Checks first and edits then: on an error other than ED_ENOMEM
     * nothing has changed, and the match is skipped with the error's sentence as the reason. */
    int (*rewrite)(ed_graph *g, const ed_match *m);
    ed_qdq_role qdq[4]; /* fusions; ends with NONE */
    /* What the node list cannot say; false: no match. May be NULL. */
    bool (*fits)(const ed_graph *g, const ed_match *m);
    bool retypes; /* conversions: a weighted node gets another operator type */
};

extern const ed_pattern ed_conversions[], ed_fusions[];

/* The fusion of that name, or NULL. */
const ed_pattern *ed_fusion_find(const char *name);

/* depth[node]: longest path from an input; malloced. */
int ed_match_depths(uint32_t **depth, const ed_graph *g, const ed_id *order, size_t n);
/* Number of nodes that can be the root: 1, and one more for each optional node at the end. */
unsigned ed_pattern_roots(const ed_pattern *pattern);
/* Try a pattern with `root` as its root; variant k leaves out the last k optional nodes. The
 * matched inner values have no reader outside. */
bool ed_match_at(ed_match *m, const ed_pattern *pattern, unsigned variant, const ed_graph *g,
                 const uint32_t *depth, ed_id root);
/* True for an initializer or FakeQuantize of one; *constant is the initializer. */
bool ed_is_weight(const ed_graph *g, ed_id value, const ed_tensor **constant);

/* Hears of every match of a conversion, before it is rewritten, with the pattern's own reason
 * against it (*reason NULL: none). It may set a reason of its own; a match with a reason is
 * skipped. Called again, with a reason, when a rewrite failed and the match is skipped for that. */
typedef struct ed_convert_listener {
    int (*matched)(void *ctx, const ed_graph *g, const ed_match *m, const char **reason);
    void *ctx;
} ed_convert_listener;

/* Run the conversions of a table, such as ed_conversions[], until nothing matches (conversions.c).
 * listener: NULL or whom to ask. */
int ed_convert(ed_graph *g, const ed_pattern *rows, const ed_convert_listener *listener);
/* Infer all shapes with symbolic dimensions; the second also folds the arithmetic on them
 * (shapes.c). Nodes that cannot be inferred are passed over. */
int ed_infer_shapes(ed_graph *g);
int ed_fold_shapes(ed_graph *g);
/* Evaluate nodes whose inputs are all constant and whose results have at most `limit` bytes
 * (fold.c); *folded counts them. The limit that fits a model: from the constants that it came with.
 */
int ed_fold_constants(ed_graph *g, size_t limit, size_t *folded);
size_t ed_fold_limit(const ed_graph *g);
/* Bring ai.onnx to at least `opset`, rewriting nodes whose form changed (upgrade.c). */
int ed_upgrade_opset(ed_graph *g, int64_t opset);

#endif
