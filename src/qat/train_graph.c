/* See train_graph.h. */
#include "qat/train_graph.h"

#include "exec/training.h"

#include <string.h>

/* ---- logits ---- */

static bool is_softmax(const ed_graph *g, ed_id value)
{
    ed_id producer = g->values[value].producer;
    const char *type = producer == ED_NONE ? "" : g->nodes[producer].op_type;
    return strcmp(type, "Softmax") == 0 || strcmp(type, "LogSoftmax") == 0;
}

static int keep_logits(ed_graph *g)
{
    ED_FAIL_IF(g->n_outputs == 0, ED_EUNSUPPORTED, "the model has no outputs to train");
    ed_id logits = g->outputs[0];
    if (is_softmax(g, logits))
        logits = g->nodes[g->values[logits].producer].in[0];
    for (size_t i = 0; i < g->n_outputs; i++)
        g->values[g->outputs[i]].is_output = false;
    g->n_outputs = 0;
    ED_TRY(ed_graph_add_output(g, logits));
    return ed_graph_remove_unused(g);
}

int ed_logits_graph(ed_graph **out, const ed_graph *model)
{
    ED_TRY(ed_graph_clone(out, model));
    int rc = keep_logits(*out);
    if (rc != ED_OK) {
        ed_graph_free(*out);
        *out = NULL;
    }
    return rc;
}

static int check_logits(ed_train_graph *t)
{
    char text[128];
    const ed_value *v = &t->graph->values[t->graph->outputs[0]];
    ED_FAIL_IF(v->dtype != ED_F32 || v->shape.rank != 2 || v->shape.dim[0] != t->batch,
               ED_EUNSUPPORTED,
               "the model's first output '%s' is %s%s for a batch of %lld; training needs float32 "
               "logits [N, classes]",
               v->name, ed_dtype_name(v->dtype), ed_shape_format(text, sizeof text, &v->shape),
               (long long)t->batch);
    t->classes = v->shape.dim[1];
    return ED_OK;
}

/* ---- constants become inputs ---- */

static int param_to_input(ed_train_graph *t, const ed_param *p)
{
    ed_graph *g = t->graph;
    if (p->quantizer != ED_NONE) {
        ed_id quantized = g->nodes[p->quantizer].out[0];
        ed_graph_remove_node(g, p->quantizer);
        ED_TRY(ed_graph_replace_value(g, quantized, p->value));
    }
    ed_tensor_free(g->values[p->value].constant);
    g->values[p->value].constant = NULL;
    return ed_graph_add_input(g, p->value);
}

static int64_t numel_of_sample(const ed_train_graph *t, ed_id value)
{
    int64_t numel = 0; /* known and checked when the graph was bound */
    (void)ed_shape_numel(&numel, &t->graph->values[value].shape);
    return numel / t->batch;
}

/* Scales that move: every first one of tied quantizers. */
static int list_scales(ed_train_graph *t, const ed_train_spec *spec)
{
    t->scales = ed_calloc(t->n_quantizers, sizeof *t->scales);
    t->scale_of = ed_malloc(t->n_quantizers * sizeof *t->scale_of);
    if (!t->scales || !t->scale_of)
        return ED_ENOMEM;
    for (size_t i = 0; i < t->n_quantizers; i++) {
        const ed_quantizer *q = &t->quantizers[i];
        t->scale_of[i] = SIZE_MAX;
        if (q->fixed || spec->scales == ED_SCALES_FROZEN)
            continue;
        for (size_t k = 0; k < i; k++)
            if (t->quantizers[k].tied == q->tied && t->scale_of[k] != SIZE_MAX)
                t->scale_of[i] = t->scale_of[k];
        if (t->scale_of[i] == SIZE_MAX) {
            t->scale_of[i] = t->n_scales++;
            t->scales[t->scale_of[i]] = (ed_train_scale){
                .quantizer = i, .qmax = ed_quantizer_attr(&t->graph->nodes[q->node], "qmax", 127)
            };
        }
        t->scales[t->scale_of[i]].numel += numel_of_sample(t, q->input);
    }
    return ED_OK;
}

static int new_input(ed_graph *g, ed_id *out, const char *stem, ed_dtype dtype, ed_shape shape)
{
    ED_TRY(ed_graph_add_fresh_value(g, out, stem));
    g->values[*out].dtype = dtype;
    g->values[*out].shape = shape;
    return ed_graph_add_input(g, *out);
}

static int scales_to_inputs(ed_train_graph *t)
{
    ed_graph *g = t->graph;
    for (size_t i = 0; i < t->n_quantizers; i++) {
        if (t->scale_of[i] == SIZE_MAX)
            continue;
        const ed_quantizer *first = &t->quantizers[t->scales[t->scale_of[i]].quantizer];
        const ed_value *scale = &g->values[first->scale];
        ed_id own;
        if (first != &t->quantizers[i]) {
            ED_TRY(ed_node_set_input(g, t->quantizers[i].node, 1,
                                     ed_node_in(&g->nodes[first->node], 1)));
            continue;
        }
        /* a value of its own: others, frozen ones, may read the same initializer */
        ED_TRY(new_input(g, &own, scale->name, ED_F32, scale->constant->shape));
        ED_TRY(ed_node_set_input(g, first->node, 1, own));
    }
    return ED_OK;
}

/* ---- the loss ---- */

static int loss_node(ed_graph *g, ed_id *out, const char *op_type, ed_id logits, ed_id target,
                     const char *attr, double value, double weight)
{
    ed_id node;
    ED_TRY(ed_graph_add_fresh_value(g, out, "loss"));
    ED_TRY(ed_graph_add_node(g, &node, op_type, "loss", (ed_id[]){ logits, target }, 2, out, 1));
    g->nodes[node].domain = "ed";
    ED_TRY(ed_node_set_float(g, node, attr, (float)value));
    return ed_node_set_float(g, node, "weight", (float)weight);
}

static int add_loss(ed_train_graph *t, ed_id *out, const ed_train_spec *spec)
{
    ed_graph *g = t->graph;
    ed_id logits = g->outputs[0], labels, teacher, by_labels = ED_NONE, by_teacher = ED_NONE, node;
    bool both = spec->loss == ED_LOSS_BOTH;
    t->labels = t->teacher = SIZE_MAX;
    if (spec->loss != ED_LOSS_DISTILL) {
        t->labels = g->n_inputs;
        ED_TRY(new_input(g, &labels, "labels", ED_I64, ED_SHAPE(t->batch)));
        ED_TRY(loss_node(g, &by_labels, "CrossEntropyLoss", logits, labels, "label_smoothing",
                         spec->label_smoothing, both ? spec->alpha : 1.0));
    }
    if (spec->loss != ED_LOSS_LABELS) {
        t->teacher = g->n_inputs;
        ED_TRY(new_input(g, &teacher, "teacher_logits", ED_F32, ED_SHAPE(t->batch, t->classes)));
        ED_TRY(loss_node(g, &by_teacher, "DistillationLoss", logits, teacher, "temperature",
                         spec->temperature, both ? 1.0 - spec->alpha : 1.0));
    }
    *out = by_labels == ED_NONE ? by_teacher : by_labels;
    if (!both)
        return ED_OK;
    ED_TRY(ed_graph_add_fresh_value(g, out, "loss"));
    return ed_graph_add_node(g, &node, "Add", "loss", (ed_id[]){ by_labels, by_teacher }, 2, out,
                             1);
}

/* ---- gradients ---- */

/* The place of a value among the outputs, added when it is none. */
static int output_of(size_t *out, ed_graph *g, ed_id value)
{
    for (*out = 0; *out < g->n_outputs; ++*out)
        if (g->outputs[*out] == value)
            return ED_OK;
    return ed_graph_add_output(g, value);
}

static int add_gradients(ed_train_graph *t, ed_id loss, const ed_train_spec *spec)
{
    ed_graph *g = t->graph;
    bool learned = spec->scales == ED_SCALES_LSQ;
    size_t n = t->n_params + (learned ? t->n_scales : 0), all = t->n_params + t->n_scales;
    int rc = ED_OK;
    ed_id *gradients = ed_malloc(n * sizeof *gradients);
    t->gradients = ed_malloc(all * sizeof *t->gradients);
    if (!gradients || !t->gradients)
        ED_GOTO(ED_ENOMEM);
    for (size_t i = 0; i < all; i++)
        t->gradients[i] = SIZE_MAX;
    t->n_forward = g->n_nodes;
    /* parameters and scales are the last inputs, in that order */
    ED_GOTO(ed_training_differentiate(g, loss, g->inputs + t->first_param, n, gradients));
    g->values[g->outputs[0]].is_output = false;
    ed_id logits = g->outputs[0];
    g->n_outputs = 0;
    ED_GOTO(ed_graph_add_output(g, loss));
    ED_GOTO(ed_graph_add_output(g, logits));
    for (size_t i = 0; i < n; i++)
        if (gradients[i] != ED_NONE)
            ED_GOTO(output_of(&t->gradients[i], g, gradients[i]));
    ED_GOTO(ed_graph_remove_unused(g));
done:
    ed_free(gradients);
    return rc;
}

/* ---- all of it ---- */

static int rebind(ed_train_graph *t, const ed_train_spec *spec, size_t n_model)
{
    const ed_graph *g = t->graph;
    ed_shape *shapes = ed_calloc(g->n_inputs, sizeof *shapes);
    if (!shapes)
        return ED_ENOMEM;
    for (size_t i = 0; i < g->n_inputs; i++)
        shapes[i] = i < n_model ? spec->shapes[i] : g->values[g->inputs[i]].shape;
    int rc = ed_training_bind(t->graph, shapes);
    ed_free(shapes);
    return rc;
}

static int build(ed_train_graph *t, ed_graph *quantized, const ed_train_spec *spec)
{
    const size_t n_model = t->n_model = quantized->n_inputs;
    ed_id loss;
    ED_TRY(ed_quantizers_separate(quantized));
    ED_TRY(ed_graph_clone(&t->graph, quantized));
    ED_TRY(keep_logits(t->graph));
    ED_TRY(ed_params_find(&t->params, &t->n_params, t->graph, spec->opts));
    ED_TRY(ed_quantizers_find(&t->quantizers, &t->n_quantizers, t->graph));
    ED_FAIL_IF(t->n_params == 0, ED_EUNSUPPORTED, "the model has no parameters to train%s",
               spec->opts && spec->opts->freeze_count ? " that are not frozen" : "");
    t->batch = n_model && spec->shapes[0].rank > 0 ? spec->shapes[0].dim[0] : 0;
    ED_FAIL_IF(t->batch < 1, ED_ESHAPE, "the model's first input has no batch dimension");
    if (!ed_graph_opset(t->graph, "ed"))
        ED_TRY(ed_graph_set_opset(t->graph, "ed", 1));
    ED_TRY(rebind(t, spec, n_model));
    ED_TRY(check_logits(t));
    ED_TRY(list_scales(t, spec));
    ED_TRY(add_loss(t, &loss, spec));
    t->first_param = t->graph->n_inputs;
    for (size_t i = 0; i < t->n_params; i++)
        ED_TRY(param_to_input(t, &t->params[i]));
    ED_TRY(scales_to_inputs(t));
    ED_TRY(rebind(t, spec, n_model));
    ED_TRY(add_gradients(t, loss, spec));
    return ed_graph_verify(t->graph);
}

int ed_train_graph_new(ed_train_graph **out, ed_graph *quantized, const ed_train_spec *spec)
{
    ed_train_graph *t = ed_calloc(1, sizeof *t);
    *out = NULL;
    if (!t)
        return ED_ENOMEM;
    int rc = build(t, quantized, spec);
    if (rc != ED_OK) {
        ed_train_graph_free(t);
        return rc;
    }
    *out = t;
    return ED_OK;
}

void ed_train_graph_free(ed_train_graph *t)
{
    if (!t)
        return;
    ed_graph_free(t->graph);
    ed_free(t->params);
    ed_free(t->quantizers);
    ed_free(t->scales);
    ed_free(t->scale_of);
    ed_free(t->gradients);
    ed_free(t);
}

void ed_train_graph_tell(const ed_train_graph *t)
{
    const ed_graph *g = t->graph;
    size_t quantized = 0, fixed = 0;
    for (size_t i = 0; i < t->n_params; i++) {
        const ed_param *p = &t->params[i];
        char shape[128];
        quantized += p->quantizer != ED_NONE;
        ed_log(ED_LOG_INFO, "trains %s %s%s%s%s", g->values[p->value].name,
               ed_shape_format(shape, sizeof shape, &g->values[p->value].shape),
               p->quantizer != ED_NONE ? ", quantized" : "", p->decay ? ", decays" : "",
               t->gradients[i] == SIZE_MAX ? "; the loss does not depend on it" : "");
    }
    for (size_t i = 0; i < t->n_quantizers; i++) {
        size_t scale = t->scale_of[i];
        fixed += scale == SIZE_MAX;
        if (scale != SIZE_MAX)
            ed_log(ED_LOG_INFO, "scale %zu: of %s, %lld values a sample", scale,
                   g->values[t->quantizers[i].input].name, (long long)t->scales[scale].numel);
    }
    ed_log(ED_LOG_INFO,
           "%zu parameters train, %zu of them quantized; %zu activation scales move, %zu stay; "
           "%zu nodes with their gradients",
           t->n_params, quantized, t->n_scales, fixed, ed_graph_node_count(g, NULL));
}
