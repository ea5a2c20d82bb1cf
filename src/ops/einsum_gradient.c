/*
 * The gradient of Einsum by Einsum: of input i of "t0,t1,..->out" it is "out,others->ti" of dy and
 * the other inputs.
 *
 * A label twice in ti is a diagonal: the second one becomes a new label, tied to the first by an
 * identity matrix as one more operand. A dimension of 1 that broadcast is summed. A label that
 * nothing else has was summed alone: the result is repeated along it.
 */
#include "ops/einsum.h"
#include "ops/gradient.h"

#include <ctype.h>
#include <string.h>

enum { MAX_OPERANDS = ED_EINSUM_MAX_INPUTS + 2 * ED_MAX_RANK, MAX_TEXT = 512 };

typedef struct equation { /* of the gradient of one input */
    ed_id operand[MAX_OPERANDS];
    ed_einsum_term term[MAX_OPERANDS];
    uint32_t n;
    char letter[256];  /* of a label */
    bool used[256];    /* letters */
    ed_shape kept;     /* x's shape, 1 where the result has no label */
    ed_einsum_term to; /* of the result */
} equation;

/* A letter for each label: its own, or one that is free. */
static char letter_of(equation *e, unsigned char label)
{
    char *letter = &e->letter[label];
    if (!*letter && isalpha(label))
        *letter = (char)label;
    for (char c = 'A'; !*letter && c <= 'z'; c = c == 'Z' ? 'a' : (char)(c + 1))
        if (!e->used[(unsigned char)c])
            *letter = c;
    e->used[(unsigned char)*letter] = true;
    return *letter;
}

static bool has_label(const equation *e, unsigned char label)
{
    for (uint32_t i = 0; i < e->n; i++)
        if (memchr(e->term[i].label, label, (size_t)e->term[i].n))
            return true;
    return false;
}

static int add_identity(ed_grad *g, equation *e, unsigned char a, unsigned char b, int64_t size)
{
    ed_tensor *t;
    if (e->n == MAX_OPERANDS)
        return ed_grad_fail(g, ED_EUNSUPPORTED, "its gradient would have too many operands");
    ED_TRY(ed_tensor_new(&t, ED_F32, &ED_SHAPE(size, size)));
    for (int64_t i = 0; i < size; i++)
        ((float *)t->data)[i * size + i] = 1.0f;
    e->term[e->n] = (ed_einsum_term){ 2, { a, b } };
    return ed_graph_add_constant_take(g->graph, &e->operand[e->n++], "identity", t);
}

/* Every label that comes again in the term gets a new one, tied to the first. */
static int untie(ed_grad *g, equation *e, ed_einsum_term *x, const ed_shape *shape)
{
    unsigned char fresh = 1; /* no letter */
    for (int k = 1; k < x->n; k++) {
        if (shape->dim[k] == 1 || !memchr(x->label, x->label[k], (size_t)k))
            continue;
        ED_TRY(add_identity(g, e, x->label[k], fresh, shape->dim[k]));
        x->label[k] = fresh++;
    }
    return ED_OK;
}

/* The result's labels from the input's term. */
static void find_result(equation *e, const ed_einsum_term *x, const ed_shape *shape)
{
    e->kept = *shape;
    for (int k = 0; k < x->n; k++) {
        if (shape->dim[k] == 1 || !has_label(e, x->label[k]))
            e->kept.dim[k] = 1;
        else
            e->to.label[e->to.n++] = x->label[k];
    }
}

static size_t write_term(equation *e, char *text, const ed_einsum_term *t)
{
    for (int k = 0; k < t->n; k++)
        text[k] = letter_of(e, t->label[k]);
    return (size_t)t->n;
}

static size_t write_equation(equation *e, char *text)
{
    size_t n = 0;
    for (uint32_t i = 0; i < e->n; i++) {
        if (i)
            text[n++] = ',';
        n += write_term(e, text + n, &e->term[i]);
    }
    text[n++] = '-';
    text[n++] = '>';
    return n + write_term(e, text + n, &e->to);
}

static int give_input(ed_grad *g, uint32_t i, const ed_einsum_term *terms,
                      const ed_einsum_term *out)
{
    const ed_shape x = *ed_grad_shape(g, g->in[i]);
    equation e = { .operand = { ed_grad_dy(g) }, .term = { *out }, .n = 1 };
    ed_einsum_term to = terms[i];
    char text[MAX_TEXT];
    ed_id dx;

    for (uint32_t k = 0; k < g->n_in; k++) {
        for (int l = 0; l < terms[k].n; l++) /* letters of the equation are not free */
            e.used[terms[k].label[l]] = true;
        if (k == i)
            continue;
        e.operand[e.n] = g->in[k];
        e.term[e.n++] = terms[k];
    }
    ED_TRY(untie(g, &e, &to, &x));
    find_result(&e, &to, &x);
    size_t size = write_equation(&e, text);
    const ed_attr attrs[] = { { .name = "equation", .type = ED_ATTR_STRING, .s = { text, size } },
                              { 0 } };
    ED_TRY(ed_grad_emit_node(g, &dx, 1, "Einsum", e.operand, e.n, attrs));
    const ed_shape got = *ed_grad_shape(g, dx);
    for (int k = 0, at = 0; k < x.rank && at < got.rank; k++)
        if (e.kept.dim[k] != 1)
            e.kept.dim[k] = got.dim[at++];
    ED_TRY(ed_grad_reshape(g, &dx, dx, &e.kept));
    ED_TRY(ed_grad_expand(g, &dx, dx, &x));
    return ed_grad_give(g, i, dx);
}

int ed_gradient_einsum(ed_grad *g)
{
    ed_einsum_term terms[ED_EINSUM_MAX_INPUTS], out;
    int ranks[ED_EINSUM_MAX_INPUTS];

    for (uint32_t i = 0; i < g->n_in; i++)
        ranks[i] = ed_grad_shape(g, g->in[i])->rank;
    ED_TRY(ed_einsum_terms(terms, &out, g->graph, &g->graph->nodes[g->node], ranks));
    for (uint32_t i = 0; i < g->n_in; i++)
        if (ed_grad_wants(g, i))
            ED_TRY(give_input(g, i, terms, &out));
    return ED_OK;
}
