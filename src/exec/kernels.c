/*
 * Stage 3: a kernel for every chain, the layouts of the values, and reorders where two disagree.
 *
 * The walk follows the running order and each kernel row is asked once: it sees where its inputs
 * lie and says which layouts it reads and writes. A value that is wanted in another layout gets a
 * second buffer, filled by a reorder step and shared by later readers of that layout.
 */
#include "exec/exec_impl.h"

#include <string.h>

static int add_buffer(ed_exec *x, uint32_t *out, ed_id value, ed_layout layout)
{
    const ed_type *type = &x->types[value];
    ED_TRY(ed_grow(&x->buffers, &x->buffer_capacity, x->n_buffers + 1, sizeof *x->buffers));
    ed_buffer *b = &x->buffers[x->n_buffers];
    *b = (ed_buffer){ .value = value, .layout = layout, .root = (uint32_t)x->n_buffers };
    ED_TRY(ed_tensor_view(&b->tensor, type->dtype, &type->shape, NULL));
    ED_TRY(ed_layout_numel(&b->numel, layout, &type->shape));
    b->nbytes = layout == ED_LAYOUT_PLAIN ? b->tensor.nbytes : (size_t)b->numel * sizeof(float);
    if (x->where[value] == ED_NONE) {
        x->where[value] = (uint32_t)x->n_buffers;
        x->layouts[value] = layout;
    }
    *out = (uint32_t)x->n_buffers++;
    return ED_OK;
}

static int add_step(ed_exec *x, ed_step **out, uint32_t n_in, uint32_t n_out)
{
    ED_TRY(ed_grow(&x->steps, &x->step_capacity, x->n_steps + 1, sizeof *x->steps));
    ed_step *s = &x->steps[x->n_steps];
    *s = (ed_step){ .n_in = n_in, .n_out = n_out };
    s->in = ed_arena_alloc(x->arena, n_in, sizeof *s->in);
    s->out = ed_arena_alloc(x->arena, n_out, sizeof *s->out);
    s->in_tensors = ed_arena_alloc(x->arena, n_in, sizeof(ed_tensor *));
    s->out_tensors = ed_arena_alloc(x->arena, n_out, sizeof(ed_tensor *));
    if (!s->in || !s->out || !s->in_tensors || !s->out_tensors)
        return ED_ENOMEM;
    x->n_steps++;
    *out = s;
    return ED_OK;
}

/* A step that copies `from` into a new buffer of the layout. */
static int add_copy(ed_exec *x, uint32_t *out, uint32_t from, ed_layout layout)
{
    ed_step *s;
    ed_id value = x->buffers[from].value;
    ed_layout lies = x->buffers[from].layout;
    ED_TRY(add_step(x, &s, 1, 1));
    ED_TRY(add_buffer(x, out, value, layout));
    s->in[0] = from;
    s->out[0] = *out;
    s->name = "copy";
    if (ed_layout_same_storage(lies, layout, &x->types[value].shape))
        return ED_OK;
    ed_dnn_tensor t = { .shape = &x->types[value].shape, .layout = lies };
    ED_TRY(ed_dnn_reorder_new(&s->reorder, x->dnn, &t, layout));
    s->name = "reorder";
    s->scratch = ed_prim_scratch(s->reorder);
    return ED_OK;
}

/* The buffer that holds a value in a layout; a reorder step is added when there is none yet. */
static int buffer_in_layout(ed_exec *x, uint32_t *out, ed_id value, ed_layout layout)
{
    if (x->where[value] == ED_NONE) {
        uint32_t constant;
        ED_TRY(add_buffer(x, &constant, value, ED_LAYOUT_PLAIN));
        x->buffers[constant].home = ED_HOME_CONSTANT;
    }
    for (uint32_t b = x->where[value]; b < x->n_buffers; b++) {
        const ed_buffer *have = &x->buffers[b];
        if (have->value == value &&
            ed_layout_same_storage(have->layout, layout, &x->types[value].shape)) {
            *out = b;
            return ED_OK;
        }
    }
    return add_copy(x, out, x->where[value], layout);
}

/* The state of the same kernel for the same node in the executor that shares its weights. */
static const void *shared_state(const ed_exec *x, const ed_node *node, const ed_kernel *kernel)
{
    for (size_t i = 0; x->share && i < x->share->n_steps; i++)
        if (x->share->steps[i].node == node && x->share->steps[i].kernel == kernel)
            return x->share->steps[i].state;
    return NULL;
}

static ed_kernel_plan question(const ed_exec *x, uint32_t at, uint32_t count)
{
    return (ed_kernel_plan){
        .graph = x->graph,
        .nodes = x->order + at,
        .params = x->order_params + at,
        .n_nodes = count,
        .types = x->types,
        .constants = x->constants,
        .layouts = x->layouts,
        .where = x->where,
        .kept = x->kept,
        .order = x->place,
        .last_read = x->last_read,
        .dnn = x->dnn,
        .inplace = -1,
    };
}

static int adopt_fast(ed_exec *x, const ed_kernel *kernel, const ed_kernel_plan *p, uint32_t at)
{
    uint32_t in[ED_CALL_MAX], out;
    ed_step *s = NULL;
    int rc = ED_OK;
    for (uint32_t i = 0; i < p->n_in; i++)
        ED_GOTO(buffer_in_layout(x, &in[i], p->in[i], p->in_layout[i]));
    ED_GOTO(add_buffer(x, &out, x->order[at + p->taken - 1]->out[0], p->out_layout));
    ED_GOTO(add_step(x, &s, p->n_in, 1));
    memcpy(s->in, in, p->n_in * sizeof in[0]);
    s->out[0] = out;
    s->kernel = kernel;
    s->name = p->kernel ? p->kernel : kernel->name;
    s->node = x->order[at];
    s->position = at;
    s->taken = p->taken;
    s->state = p->state;
    s->scratch = p->scratch;
    s->weight_bytes = p->weight_bytes;
    s->inplace = p->inplace >= 0;
    if (s->inplace)
        x->buffers[out].root = x->buffers[in[p->inplace]].root;
done:
    if (rc != ED_OK && kernel->free && p->state)
        kernel->free(p->state);
    return rc;
}

/* The output of a node that changes the shape alone lies where its input does; its kernel then has
 * nothing to do. Not the caller's inputs, which each run may bring at another place. */
static void alias(ed_exec *x, const ed_op *op, ed_step *s)
{
    if (!(op->traits & ED_OP_ALIAS) || x->buffers[s->in[0]].home != ED_HOME_ARENA)
        return;
    x->buffers[s->out[0]].root = x->buffers[s->in[0]].root;
    s->inplace = true;
    s->name = "alias";
}

static int adopt_reference(ed_exec *x, const ed_op *op, const ed_kernel *kernel, uint32_t at)
{
    const ed_node *node = x->order[at];
    ed_step *s;
    uint32_t buffer;
    uint32_t *in = ed_arena_alloc(x->arena, node->n_in, sizeof *in);
    if (!in)
        return ED_ENOMEM;
    for (uint32_t i = 0; i < node->n_in; i++) {
        in[i] = ED_NONE;
        if (node->in[i] != ED_NONE)
            ED_TRY(buffer_in_layout(x, &in[i], node->in[i], ED_LAYOUT_PLAIN));
    }
    ED_TRY(add_step(x, &s, node->n_in, node->n_out));
    s->in = in;
    s->kernel = kernel;
    s->name = kernel->name;
    s->node = node;
    s->position = at;
    s->taken = 1;
    for (uint32_t i = 0; i < node->n_out; i++) {
        s->out[i] = ED_NONE;
        if (node->out[i] == ED_NONE)
            continue;
        ED_TRY(add_buffer(x, &buffer, node->out[i], ED_LAYOUT_PLAIN));
        s->out[i] = buffer;
    }
    alias(x, op, s);
    return ED_OK;
}

/* Ask the rows of the node at `at`, best first; *taken tells how many nodes the one that agreed
 * runs. */
static int choose(ed_exec *x, uint32_t at, uint32_t count, uint32_t *taken)
{
    const ed_op *op;
    const char *refused = NULL;
    ED_TRY(ed_op_find(&op, x->graph, x->order[at]));
    for (const ed_kernel *k = op->forward; k->name; k++) {
        if (k->plan && !x->reference) {
            ed_kernel_plan p = question(x, at, count);
            p.shared = shared_state(x, x->order[at], k);
            ED_TRY(k->plan(&p));
            if (p.taken) {
                ED_TRY(adopt_fast(x, k, &p, at));
                *taken = p.taken;
                goto found;
            }
            refused = refused ? refused : p.reason;
        } else if (!k->plan) {
            ED_TRY(adopt_reference(x, op, k, at));
            *taken = 1;
            goto found;
        }
    }
    return ed_error_set(ED_EUNSUPPORTED, "%s: no kernel of this build runs it",
                        ed_node_label(x->graph, x->order[at]));
found:
    x->steps[x->n_steps - 1].refused = refused;
    return ED_OK;
}

/* Outputs are plain and the executor's own, also when they are an input of the graph. */
static int place_outputs(ed_exec *x)
{
    const ed_graph *g = x->graph;
    for (size_t i = 0; i < g->n_outputs; i++) {
        uint32_t b;
        ED_TRY(buffer_in_layout(x, &b, g->outputs[i], ED_LAYOUT_PLAIN));
        if (x->buffers[b].home == ED_HOME_INPUT)
            ED_TRY(add_copy(x, &b, b, ED_LAYOUT_PLAIN));
        x->outputs[i] = b;
    }
    return ED_OK;
}

int ed_exec_kernels(ed_exec *x)
{
    const ed_graph *g = x->graph;
    x->layouts = ed_calloc(g->n_values, sizeof *x->layouts);
    x->where = ed_malloc(g->n_values * sizeof *x->where);
    x->outputs = ed_calloc(g->n_outputs, sizeof *x->outputs);
    if (!x->layouts || !x->where || !x->outputs)
        return ED_ENOMEM;
    for (size_t v = 0; v < g->n_values; v++)
        x->where[v] = ED_NONE;
    for (size_t i = 0; i < g->n_inputs; i++) {
        uint32_t b;
        ED_TRY(add_buffer(x, &b, g->inputs[i], ED_LAYOUT_PLAIN));
        x->buffers[b].home = ED_HOME_INPUT;
    }
    for (size_t c = 0; c < x->n_chains; c++) {
        uint32_t at = x->chains[c].begin, end = at + x->chains[c].count, taken = 0;
        for (; at < end; at += taken)
            ED_TRY(choose(x, at, end - at, &taken));
    }
    return place_outputs(x);
}
