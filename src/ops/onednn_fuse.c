/*
 * Which nodes of a fused group become post-ops of the first one: an Add of a residual, a bias
 * behind MatMul, and an activation (SiLU is the pair Sigmoid, Mul; Gelu may be five nodes).
 */
#include "ops/fast.h"

#include <float.h>
#include <string.h>

/* ---- activations ---- */
typedef struct rule {
    const char *type;
    bool (*append)(ed_posts *posts, const ed_kernel_plan *p, uint32_t k);
    bool exact; /* the bits are those of other kernels, not of an approximation of oneDNN's */
} rule;

static bool push(ed_posts *posts, ed_post_kind kind, float a, float b)
{
    if (posts->count == ED_MAX_POSTS)
        return false;
    posts->at[posts->count++] = (ed_post){ kind, a, b };
    return true;
}

static bool relu(ed_posts *posts, const ed_kernel_plan *p, uint32_t k)
{
    (void)p;
    (void)k;
    return push(posts, ED_POST_RELU, 0.0f, 0.0f);
}

static bool leaky_relu(ed_posts *posts, const ed_kernel_plan *p, uint32_t k)
{
    const ed_activation_params *a = p->params[k];
    return push(posts, ED_POST_RELU, a->alpha, 0.0f);
}

static bool clip(ed_posts *posts, const ed_kernel_plan *p, uint32_t k)
{
    const ed_node *node = p->nodes[k];
    const ed_tensor *bound[2] = { NULL, NULL };
    float lo, hi;
    for (uint32_t i = 0; i < 2; i++) {
        ed_id id = ed_node_in(node, i + 1);
        if (id != ED_NONE && !p->constants[id])
            return false;
        bound[i] = id == ED_NONE ? NULL : p->constants[id];
    }
    ed_clip_bounds(&lo, &hi, p->params[k], bound[0], bound[1]);
    if (!(lo <= hi)) /* NaN, or empty: the reference defines it */
        return false;
    lo = lo < -FLT_MAX ? -FLT_MAX : lo;
    hi = hi > FLT_MAX ? FLT_MAX : hi;
    if (lo == 0.0f && hi == FLT_MAX)
        return push(posts, ED_POST_RELU, 0.0f, 0.0f);
    return push(posts, ED_POST_CLIP, lo, hi);
}

static bool sigmoid(ed_posts *posts, const ed_kernel_plan *p, uint32_t k)
{
    (void)p;
    (void)k;
    return push(posts, ED_POST_SIGMOID, 0.0f, 0.0f);
}

static bool tanh_of(ed_posts *posts, const ed_kernel_plan *p, uint32_t k)
{
    (void)p;
    (void)k;
    return push(posts, ED_POST_TANH, 0.0f, 0.0f);
}

static bool hard_swish(ed_posts *posts, const ed_kernel_plan *p, uint32_t k)
{
    (void)p;
    (void)k;
    return push(posts, ED_POST_HARDSWISH, 0.0f, 0.0f);
}

static bool gelu(ed_posts *posts, const ed_kernel_plan *p, uint32_t k)
{
    const ed_gelu_params *g = p->params[k];
    bool tanh_form = g->approximate == ED_GELU_TANH;
    return push(posts, tanh_form ? ED_POST_GELU_TANH : ED_POST_GELU, 0.0f, 0.0f);
}

static bool hard_sigmoid(ed_posts *posts, const ed_kernel_plan *p, uint32_t k)
{
    const ed_activation_params *a = p->params[k];
    return posts->count + 2 <= ED_MAX_POSTS && push(posts, ED_POST_LINEAR, a->alpha, a->beta) &&
           push(posts, ED_POST_CLIP, 0.0f, 1.0f);
}

static const rule rules[] = {
    { "Relu", relu, true },
    { "LeakyRelu", leaky_relu, true },
    { "Clip", clip, true },
    { "Sigmoid", sigmoid, false },
    { "Tanh", tanh_of, false },
    { "HardSwish", hard_swish, false },
    { "HardSigmoid", hard_sigmoid, false },
    { "Gelu", gelu, false },
};

static const rule *find_rule(const ed_node *node)
{
    for (size_t i = 0; i < ED_LENGTH(rules); i++)
        if (strcmp(node->op_type, rules[i].type) == 0)
            return &rules[i];
    return NULL;
}

bool ed_fuse_activation(ed_posts *posts, const ed_kernel_plan *p, uint32_t k)
{
    const rule *r = find_rule(p->nodes[k]);
    return r && r->append(posts, p, k);
}

/* Must another kernel give the same bits? Devices have their own kernels. */
static bool same_bits(const ed_kernel_plan *p)
{
    return p->deterministic && !p->device;
}

bool ed_fuse_varies(const ed_kernel_plan *p, uint32_t k)
{
    const rule *r = find_rule(p->nodes[k]);
    return same_bits(p) && r && !r->exact;
}

/* ---- the walk along the group ---- */
static bool same_shape(const ed_kernel_plan *p, ed_id a, ed_id b)
{
    return ed_shape_equal(&p->types[a].shape, &p->types[b].shape);
}

/* The other operand of a node of two inputs, one of which is `value`. */
static ed_id other_operand(const ed_node *node, ed_id value)
{
    if (node->n_in != 2 || node->in[0] == node->in[1])
        return ED_NONE;
    return node->in[0] == value ? node->in[1] : node->in[1] == value ? node->in[0] : ED_NONE;
}

static bool is_row(const ed_kernel_plan *p, ed_id row, ed_id value, ed_row_bias which)
{
    const ed_shape *s = &p->types[row].shape, *y = &p->types[value].shape;
    bool good = which == ED_ROW_ANY || (which == ED_ROW_CONSTANT && p->constants[row]);
    good = good && p->types[row].dtype == ED_F32 && s->rank >= 1 && s->rank <= y->rank &&
           s->dim[s->rank - 1] == y->dim[y->rank - 1];
    for (int i = 0; good && i < s->rank - 1; i++)
        good = s->dim[i] == 1;
    return good;
}

static bool take_add(ed_fused *f, const ed_kernel_plan *p, const ed_node *node, ed_id value,
                     ed_row_bias row_bias)
{
    ed_id other = other_operand(node, value);
    if (other == ED_NONE || strcmp(node->op_type, "Add") != 0)
        return false;
    if (f->posts.count == 0 && f->bias == ED_NONE && is_row(p, other, value, row_bias)) {
        f->bias = other;
        return true;
    }
    if (f->residual != ED_NONE || p->constants[other] || !same_shape(p, other, value))
        return false;
    f->residual = other;
    return push(&f->posts, ED_POST_ADD, 0.0f, 0.0f);
}

/* Nodes k and k + 1 are Sigmoid(value) and value * sigmoid. */
static bool take_silu(ed_fused *f, const ed_kernel_plan *p, uint32_t k, ed_id value)
{
    const ed_node *sigmoid_node = p->nodes[k];
    if (k + 1 >= p->n_nodes || strcmp(sigmoid_node->op_type, "Sigmoid") != 0 ||
        strcmp(p->nodes[k + 1]->op_type, "Mul") != 0 || sigmoid_node->in[0] != value)
        return false;
    return other_operand(p->nodes[k + 1], value) == sigmoid_node->out[0] &&
           push(&f->posts, ED_POST_SWISH, 0.0f, 0.0f);
}

void ed_fuse(ed_fused *out, const ed_kernel_plan *p, ed_row_bias row_bias)
{
    ed_fused now = { .taken = 1, .residual = ED_NONE, .bias = ED_NONE };
    *out = now;
    while (now.taken < p->n_nodes) {
        uint32_t k = now.taken, gelu_nodes;
        const ed_node *node = p->nodes[k];
        ed_id value = p->nodes[k - 1]->out[0];
        if (take_add(&now, p, node, value, row_bias))
            now.taken = k + 1;
        else if (ed_fuse_varies(p, k))
            break;
        else if (take_silu(&now, p, k, value))
            now.taken = k + 2;
        else if (!same_bits(p) && (gelu_nodes = ed_fuse_gelu(&now.posts, p, k, value)) > 0)
            now.taken = k + gelu_nodes;
        else if (node->n_in > 0 && node->in[0] == value && ed_fuse_activation(&now.posts, p, k))
            now.taken = k + 1;
        else
            break;
        if (ed_plan_closed(p, now.taken))
            *out = now;
    }
}
