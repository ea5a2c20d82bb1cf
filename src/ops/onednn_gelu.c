/*
 * The nodes that write Gelu with Erf: y = x / 2 (1 + erf(x / sqrt 2)), the factors in any order.
 *
 * Every value on the way is number * x^i * g^j with g = 1 + erf(x / sqrt 2); products add the
 * powers. The five nodes are a Gelu when the last value is 0.5 * x * g.
 */
#include "ops/fast.h"

#include <math.h>
#include <string.h>

enum { NODES = 5 };

typedef struct term {
    ed_id value;
    double number;
    int x, g;
    bool is_erf; /* erf(x / sqrt 2): has no such form */
} term;

typedef struct terms {
    term at[NODES + 1]; /* the first is x */
    int n;
} terms;

static bool is_form(const term *t, double number, int x, int g)
{
    return t && !t->is_erf && t->x == x && t->g == g &&
           fabs(t->number - number) <= 1e-6 * fabs(number);
}

static const term *find(const terms *have, ed_id value)
{
    for (int i = 0; i < have->n; i++)
        if (have->at[i].value == value)
            return &have->at[i];
    return NULL;
}

/* An operand: a term so far, or a constant number. */
static bool operand(term *out, const terms *have, const ed_kernel_plan *p, ed_id value)
{
    const term *known = find(have, value);
    const ed_tensor *t = p->constants[value];
    if (known)
        *out = *known;
    else if (t && t->dtype == ED_F32 && t->numel == 1)
        *out = (term){ .value = value, .number = *(const float *)t->data };
    return known || (t && t->dtype == ED_F32 && t->numel == 1);
}

static bool combine(term *y, const char *type, const term *a, const term *b)
{
    bool divide = strcmp(type, "Div") == 0;
    if (strcmp(type, "Add") == 0) { /* 1 + erf */
        bool g = (a->is_erf && is_form(b, 1, 0, 0)) || (b->is_erf && is_form(a, 1, 0, 0));
        *y = (term){ .number = 1, .g = 1 };
        return g;
    }
    if ((!divide && strcmp(type, "Mul") != 0) || a->is_erf || b->is_erf)
        return false;
    *y = (term){ .number = divide ? a->number / b->number : a->number * b->number,
                 .x = a->x + b->x,
                 .g = a->g + b->g };
    return !divide || (b->x == 0 && b->g == 0);
}

static bool add_term(terms *have, const ed_kernel_plan *p, const ed_node *node)
{
    term a, b, y = { 0 };
    if (!operand(&a, have, p, node->in[0]))
        return false;
    if (strcmp(node->op_type, "Erf") == 0) {
        y.is_erf = true;
        if (!is_form(&a, M_SQRT1_2, 1, 0))
            return false;
    } else if (node->n_in != 2 || !operand(&b, have, p, node->in[1]) ||
               !combine(&y, node->op_type, &a, &b)) {
        return false;
    }
    y.value = node->out[0];
    have->at[have->n++] = y;
    return true;
}

uint32_t ed_fuse_gelu(ed_posts *posts, const ed_kernel_plan *p, uint32_t k, ed_id x)
{
    terms have = { .at = { { .value = x, .number = 1, .x = 1 } }, .n = 1 };
    if (k + NODES > p->n_nodes || posts->count == ED_MAX_POSTS)
        return 0;
    for (uint32_t i = 0; i < NODES; i++)
        if (!add_term(&have, p, p->nodes[k + i]))
            return 0;
    if (!is_form(&have.at[NODES], 0.5, 1, 1) ||
        !ed_shape_equal(&p->types[have.at[NODES].value].shape, &p->types[x].shape))
        return 0;
    posts->at[posts->count++] = (ed_post){ ED_POST_GELU, 0.0f, 0.0f };
    return NODES;
}
