/*
 * Stage 3: a kernel for every chain, the layouts of the values, and reorders where two disagree.
 *
 * The walk follows the running order and each kernel row is asked once: it sees where its inputs
 * lie and says which layouts it reads and writes. A value that is wanted in another layout gets a
 * second buffer, filled by a reorder step and shared by later readers of that layout.
 */
#include "exec/exec_impl.h"

#include "base/parallel.h"

#include <string.h>

static int add_buffer(ed_exec *x, uint32_t *out, ed_id value, ed_layout layout)
{
    const ed_type *type = &x->types[value];
    ED_TRY(ed_grow(&x->buffers, &x->buffer_capacity, x->n_buffers + 1, sizeof *x->buffers));
    ed_buffer *b = &x->buffers[x->n_buffers];
    *b = (ed_buffer){ .value = value, .layout = layout, .root = (uint32_t)x->n_buffers };
    ED_TRY(ed_tensor_view(&b->tensor, type->dtype, &type->shape, NULL));
    ED_TRY(ed_layout_numel(&b->numel, layout, &type->shape));
    b->nbytes =
        layout == ED_LAYOUT_PLAIN ? b->tensor.nbytes : (size_t)b->numel * ed_layout_element(layout);
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
    s->name = "reorder";
    if (x->device)
        return ED_OK;
    ed_dnn_tensor t = { .shape = &x->types[value].shape, .layout = lies };
    ED_TRY(ed_dnn_reorder_new(&s->reorder, x->dnn, &t, layout));
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
        .device = x->device ? x->device->handle : NULL,
        .deterministic = x->deterministic,
        .inplace = -1,
    };
}

static int adopt_fast(ed_exec *x, const ed_kernel *kernel, const ed_kernel_plan *p, uint32_t at)
{
    const ed_node *last = x->order[at + p->taken - 1];
    uint32_t in[ED_CALL_MAX], n_out = p->n_out ? p->n_out : 1;
    ed_step *s = NULL;
    int rc = ED_OK;
    for (uint32_t i = 0; i < p->n_in; i++)
        ED_GOTO(buffer_in_layout(x, &in[i], p->in[i], p->in_layout[i]));
    ED_GOTO(add_step(x, &s, p->n_in, n_out));
    memcpy(s->in, in, p->n_in * sizeof in[0]);
    for (uint32_t i = 0; i < n_out; i++) {
        uint32_t out = ED_NONE;
        if (last->out[i] != ED_NONE)
            ED_GOTO(add_buffer(x, &out, last->out[i], i ? ED_LAYOUT_PLAIN : p->out_layout));
        s->out[i] = out;
    }
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
        x->buffers[s->out[0]].root = x->buffers[in[p->inplace]].root;
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

/* A row that runs one node, with all its inputs and outputs in the layout. */
static int adopt_plain(ed_exec *x, const ed_op *op, const ed_kernel *kernel, uint32_t at,
                       ed_layout layout)
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
            ED_TRY(buffer_in_layout(x, &in[i], node->in[i], layout));
    }
    ED_TRY(add_step(x, &s, node->n_in, node->n_out));
    s->in = in;
    s->kernel = kernel;
    s->name = kernel ? kernel->name : "copy";
    s->node = node;
    s->position = at;
    s->taken = 1;
    for (uint32_t i = 0; i < node->n_out; i++) {
        s->out[i] = ED_NONE;
        if (node->out[i] == ED_NONE)
            continue;
        ED_TRY(add_buffer(x, &buffer, node->out[i], layout));
        s->out[i] = buffer;
    }
    alias(x, op, s);
    return ED_OK;
}

/* A node that changes the shape alone, on a device: the input in row-major order, whatever it is
 * stored as, and nothing to do where the output lies in its memory. */
static int adopt_alias(ed_exec *x, const ed_op *op, uint32_t at)
{
    const ed_node *node = x->order[at];
    ed_layout layout = x->where[node->in[0]] == ED_NONE ? ED_LAYOUT_PLAIN : x->layouts[node->in[0]];
    layout = ed_layout_element(layout) == 2 ? ED_LAYOUT_PLAIN_BF16 : ED_LAYOUT_PLAIN;
    uint32_t in, out;
    ed_step *s;
    ED_TRY(buffer_in_layout(x, &in, node->in[0], layout));
    ED_TRY(add_buffer(x, &out, node->out[0], layout));
    ED_TRY(add_step(x, &s, 1, 1));
    s->in[0] = in;
    s->out[0] = out;
    s->name = "copy";
    s->node = node;
    s->position = at;
    s->taken = 1;
    alias(x, op, s);
    return ED_OK;
}

/* The node's reference kernel, with copies around it where the values lie on a device. */
static int adopt_reference(ed_exec *x, const ed_op *op, uint32_t at)
{
    ED_TRY(adopt_plain(x, op, ed_op_reference(op), at, ED_LAYOUT_PLAIN));
    ed_step *s = &x->steps[x->n_steps - 1];
    s->on_host = x->device && !s->inplace;
    if (s->on_host)
        s->name = "host";
    return ED_OK;
}

static int adopt(ed_exec *x, const ed_op *op, const ed_kernel *kernel, const ed_kernel_plan *p,
                 uint32_t at)
{
    if (!p->plain)
        return adopt_fast(x, kernel, p, at);
    int rc = adopt_plain(x, op, kernel, at, ED_LAYOUT_PLAIN);
    if (rc != ED_OK) {
        if (kernel->free && p->state)
            kernel->free(p->state);
        return rc;
    }
    ed_step *s = &x->steps[x->n_steps - 1];
    s->state = p->state;
    s->scratch = p->scratch;
    s->name = p->kernel ? p->kernel : kernel->name;
    return ED_OK;
}

const ed_kernel *ed_exec_rows(const ed_exec *x, const ed_op *op, const ed_node *node)
{
    if (x->reference)
        return NULL;
    return x->device ? x->device->api->kernels(node->domain, node->op_type) : op->forward;
}

/* Ask the rows of the node at `at`, best first; *taken tells how many nodes the one that agreed
 * runs. The reference kernel is the last one of all. */
static int choose(ed_exec *x, uint32_t at, uint32_t count, uint32_t *taken)
{
    const ed_op *op;
    const ed_node *node = x->order[at];
    const char *refused = NULL;
    *taken = 1;
    ED_TRY(ed_op_find(&op, x->graph, node));
    if (x->device && (op->traits & ED_OP_ALIAS) && node->n_out == 1 && node->in[0] != ED_NONE)
        return adopt_alias(x, op, at);
    for (const ed_kernel *k = ed_exec_rows(x, op, node); k && k->name && k->plan; k++) {
        ed_kernel_plan p = question(x, at, count);
        p.shared = shared_state(x, node, k);
        int rc = k->plan(&p);
        if (rc != ED_OK && x->device)
            return ed_error_context(ed_backend_failed(x->device->api, rc), "%s",
                                    ed_node_label(x->graph, node));
        ED_TRY(rc);
        if (p.taken) {
            ED_TRY(adopt(x, op, k, &p, at));
            *taken = p.taken;
            x->steps[x->n_steps - 1].refused = refused;
            return ED_OK;
        }
        refused = refused ? refused : p.reason;
    }
    ED_TRY(adopt_reference(x, op, at));
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

static void prepare_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const ed_exec *x = ctx;
    (void)thread;
    if (ed_device_use(x->device) != ED_OK)
        return; /* plan() tells */
    for (int64_t c = begin; c < end; c++) {
        const ed_op *op;
        uint32_t at = x->chains[c].begin;
        if (ed_op_find(&op, x->graph, x->order[at]) != ED_OK)
            continue;
        for (const ed_kernel *k = ed_exec_rows(x, op, x->order[at]); k && k->name; k++) {
            ed_kernel_plan p = question(x, at, x->chains[c].count);
            if (k->prepare)
                k->prepare(&p);
        }
    }
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
    if (x->device)
        ed_parallel_for((int64_t)x->n_chains, 1, prepare_range, x);
    for (size_t c = 0; c < x->n_chains; c++) {
        uint32_t at = x->chains[c].begin, end = at + x->chains[c].count, taken = 0;
        for (; at < end; at += taken)
            ED_TRY(choose(x, at, end - at, &taken));
    }
    return place_outputs(x);
}
