/* See state.h: making the arrays, what goes into and out of them. */
#include "qat/state.h"

#include <string.h>

/* ---- fields ---- */

/* A float32 array "<kind>/<name>"; *data is its memory. */
static int add_field(ed_train_state *s, float **data, const char *kind, const char *name,
                     const ed_shape *shape, unsigned flags)
{
    ED_TRY(ed_grow(&s->fields, &s->field_capacity, s->n_fields + 1, sizeof *s->fields));
    ed_field *f = &s->fields[s->n_fields++];
    *f = (ed_field){ .name = ed_asprintf("%s/%s", kind, name), .flags = flags };
    if (!f->name)
        return ED_ENOMEM;
    ED_TRY(ed_tensor_new(&f->tensor, ED_F32, shape));
    *data = f->tensor->data;
    return ED_OK;
}

static const char *const slot_names[ED_OPTIMIZER_SLOTS] = { "slots_1", "slots_2" };
static const char *const scale_slot_names[ED_OPTIMIZER_SLOTS] = { "scale_slots_1",
                                                                  "scale_slots_2" };

/* ---- weights ---- */

static void set_geometry(ed_weight *w, const ed_node *quantizer, const ed_shape *shape)
{
    int64_t axis = quantizer ? ed_quantizer_attr(quantizer, "axis", -1) : -1;
    w->outer = w->channels = w->inner = 1;
    for (int i = 0; i < shape->rank; i++)
        *(i == axis ? &w->channels : i < axis ? &w->outer : &w->inner) *= shape->dim[i];
}

static int add_quantization(ed_train_state *s, ed_weight *w, const ed_graph *quantized,
                            const ed_node *node, const char *name, const ed_shape *shape)
{
    const ed_qat_settings *settings = s->settings;
    const ed_tensor *scale = ed_node_constant(quantized, node, 1);
    ED_TRY(add_field(s, &w->scale, "weight_scales", name, &scale->shape,
                     ED_FIELD_SAVED | ED_FIELD_DEPLOYED));
    memcpy(w->scale, scale->data, scale->nbytes);
    ED_TRY(add_field(s, &w->quantized_out, "quantized", name, shape, 0));
    w->quantized = true;
    w->scaling = settings->weight_scales;
    w->qmin = ed_quantizer_attr(node, "qmin", -128);
    w->qmax = ed_quantizer_attr(node, "qmax", 127);
    for (size_t k = 0; w->scaling == ED_WEIGHTS_LSQ && k < settings->optimizer->slots; k++)
        ED_TRY(add_field(s, &w->scale_slot[k], scale_slot_names[k], name, &scale->shape,
                         ED_FIELD_SAVED));
    return ED_OK;
}

static int add_weight(ed_train_state *s, size_t i, const ed_graph *quantized)
{
    const ed_param *p = &s->plan->params[i];
    const ed_value *v = &quantized->values[p->value];
    const ed_node *quantizer = p->quantizer == ED_NONE ? NULL : &quantized->nodes[p->quantizer];
    ed_weight *w = &s->weights[i];
    w->decay = p->decay;
    set_geometry(w, quantizer, &v->constant->shape);
    ED_TRY(add_field(s, &w->master, "weights", v->name, &v->constant->shape,
                     ED_FIELD_SAVED | ED_FIELD_DEPLOYED));
    memcpy(w->master, v->constant->data, v->constant->nbytes);
    for (size_t k = 0; k < s->settings->optimizer->slots; k++)
        ED_TRY(
            add_field(s, &w->slot[k], slot_names[k], v->name, &v->constant->shape, ED_FIELD_SAVED));
    if (quantizer)
        ED_TRY(add_quantization(s, w, quantized, quantizer, v->name, &v->constant->shape));
    return ED_OK;
}

/* What the executor reads: the field whose memory the weight writes last. */
static void list_weight_inputs(ed_train_state *s)
{
    for (size_t i = 0; i < s->plan->n_params; i++) {
        const ed_weight *w = &s->weights[i];
        const float *read = w->quantized ? w->quantized_out : w->master;
        for (size_t k = 0; k < s->n_fields; k++)
            if (s->fields[k].tensor->data == (const void *)read)
                s->inputs[i] = s->fields[k].tensor;
    }
}

/* ---- activation scales ---- */

static int add_scales(ed_train_state *s, const ed_graph *quantized)
{
    const ed_train_graph *plan = s->plan;
    const ed_shape shape = ED_SHAPE((int64_t)plan->n_scales);
    if (!plan->n_scales)
        return ED_OK;
    ED_TRY(add_field(s, &s->scales, "activations", "scales", &shape,
                     ED_FIELD_SAVED | ED_FIELD_DEPLOYED));
    ED_TRY(add_field(s, &s->averages, "activations", "averages", &shape, ED_FIELD_SAVED));
    ED_TRY(add_field(s, &s->largest, "activations", "largest", &shape, 0));
    for (size_t k = 0; k < s->settings->optimizer->slots; k++)
        ED_TRY(
            add_field(s, &s->scale_slots[k], "activations", slot_names[k], &shape, ED_FIELD_SAVED));
    for (size_t i = 0; i < plan->n_scales; i++) {
        const ed_train_scale *scale = &plan->scales[i];
        ed_id value = plan->quantizers[scale->quantizer].scale;
        const ed_tensor *t = quantized->values[value].constant;
        s->scales[i] = *(const float *)t->data;
        s->averages[i] = s->scales[i] * (float)scale->qmax;
        ED_TRY(ed_tensor_view(&s->scale_inputs[i], ED_F32, &t->shape, &s->scales[i]));
        s->inputs[plan->n_params + i] = &s->scale_inputs[i];
    }
    return ED_OK;
}

/* ---- gradients that are summed ---- */

static int add_sums(ed_train_state *s)
{
    const ed_train_graph *plan = s->plan;
    size_t n = plan->n_params + plan->n_scales;
    if (s->settings->opts.accumulate == 1)
        return ED_OK;
    s->sums = ed_calloc(n, sizeof *s->sums);
    if (!s->sums)
        return ED_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof name, "%zu", i);
        if (plan->gradients[i] != SIZE_MAX)
            ED_TRY(add_field(s, &s->sums[i], "sums", name, &s->inputs[i]->shape, ED_FIELD_SAVED));
    }
    return ED_OK;
}

void ed_state_add(ed_train_state *s, const ed_tensor *const *outputs)
{
    const ed_train_graph *plan = s->plan;
    for (size_t i = 0; i < plan->n_params + plan->n_scales; i++) {
        if (plan->gradients[i] == SIZE_MAX)
            continue;
        const ed_tensor *t = outputs[plan->gradients[i]];
        const float *g = t->data;
        float *sum = s->sums ? s->sums[i] : NULL;
        s->gradients[i] = sum ? sum : g;
        if (sum && s->summed == 0)
            memcpy(sum, g, t->nbytes);
        for (int64_t k = 0; sum && s->summed && k < t->numel; k++)
            sum[k] += g[k];
    }
    s->summed++;
}

/* ---- the whole ---- */

static int make(ed_train_state *s, const ed_graph *quantized)
{
    const ed_train_graph *plan = s->plan;
    size_t n = plan->n_params + plan->n_scales;
    s->weights = ed_calloc(plan->n_params, sizeof *s->weights);
    s->inputs = ed_calloc(n, sizeof(void *));
    s->gradients = ed_calloc(n, sizeof(void *));
    s->scale_inputs = ed_calloc(plan->n_scales, sizeof *s->scale_inputs);
    if (!s->weights || !s->inputs || !s->gradients || !s->scale_inputs)
        return ED_ENOMEM;
    for (size_t i = 0; i < plan->n_params; i++)
        ED_TRY(add_weight(s, i, quantized));
    list_weight_inputs(s);
    ED_TRY(add_scales(s, quantized));
    ED_TRY(add_sums(s));
    if (s->settings->validates)
        ED_TRY(ed_state_keep(s)); /* as they came, before scales follow the weights */
    return ed_state_requantize(s);
}

int ed_train_state_new(ed_train_state **out, const ed_train_graph *plan, const ed_graph *quantized,
                       const ed_qat_settings *settings)
{
    ed_train_state *s = ed_calloc(1, sizeof *s);
    *out = NULL;
    if (!s)
        return ED_ENOMEM;
    s->plan = plan;
    s->settings = settings;
    int rc = make(s, quantized);
    if (rc != ED_OK) {
        ed_train_state_free(s);
        return rc;
    }
    *out = s;
    return ED_OK;
}

void ed_train_state_free(ed_train_state *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_fields; i++) {
        ed_free(s->fields[i].name);
        ed_tensor_free(s->fields[i].tensor);
        ed_tensor_free(s->fields[i].best);
    }
    ed_free(s->fields);
    ed_free(s->weights);
    ed_free(s->inputs);
    ed_free(s->gradients);
    ed_free(s->sums);
    ed_free(s->scale_inputs);
    ed_free(s);
}

/* ---- out ---- */

void ed_state_export(const ed_train_state *s, ed_graph *quantized)
{
    const ed_train_graph *plan = s->plan;
    for (size_t i = 0; i < plan->n_params; i++) {
        const ed_param *p = &plan->params[i];
        const ed_weight *w = &s->weights[i];
        ed_tensor *t = quantized->values[p->value].constant;
        memcpy(t->data, w->master, t->nbytes);
        if (!w->quantized)
            continue;
        t = quantized->values[quantized->nodes[p->quantizer].in[1]].constant;
        memcpy(t->data, w->scale, t->nbytes);
    }
    for (size_t i = 0; i < plan->n_quantizers; i++)
        if (plan->scale_of[i] != SIZE_MAX)
            *(float *)quantized->values[plan->quantizers[i].scale].constant->data =
                s->scales[plan->scale_of[i]];
}

int ed_state_keep(ed_train_state *s)
{
    for (size_t i = 0; i < s->n_fields; i++) {
        ed_field *f = &s->fields[i];
        if (!(f->flags & ED_FIELD_DEPLOYED))
            continue;
        if (f->best)
            memcpy(f->best->data, f->tensor->data, f->tensor->nbytes);
        else
            ED_TRY(ed_tensor_clone(&f->best, f->tensor));
    }
    return ED_OK;
}

void ed_state_restore(ed_train_state *s)
{
    for (size_t i = 0; i < s->n_fields; i++)
        if (s->fields[i].best)
            memcpy(s->fields[i].tensor->data, s->fields[i].best->data, s->fields[i].best->nbytes);
}

/* ---- checkpoints ---- */

static int save_tensor(ed_checkpoint *c, const char *part, const char *name, const ed_tensor *t)
{
    char *path = ed_asprintf("%s/%s", part, name);
    if (!path)
        return ED_ENOMEM;
    int rc = ed_checkpoint_set(c, path, t->dtype, &t->shape, t->data);
    ed_free(path);
    return rc;
}

int ed_state_save(const ed_train_state *s, ed_checkpoint *c)
{
    for (size_t i = 0; i < s->n_fields; i++) {
        const ed_field *f = &s->fields[i];
        if (f->flags & ED_FIELD_SAVED)
            ED_TRY(save_tensor(c, "last", f->name, f->tensor));
        if (f->best)
            ED_TRY(save_tensor(c, "best", f->name, f->best));
    }
    return ED_OK;
}

/* *found is false when the checkpoint has no such array. */
static int load_tensor(bool *found, const ed_checkpoint *c, const char *part, const char *name,
                       ed_tensor *t)
{
    char *path = ed_asprintf("%s/%s", part, name);
    if (!path)
        return ED_ENOMEM;
    const ed_tensor *from = ed_checkpoint_get(c, path);
    ed_free(path);
    *found = from != NULL;
    ED_FAIL_IF(from && (from->dtype != t->dtype || !ed_shape_equal(&from->shape, &t->shape)),
               ED_EMISMATCH, "its '%s' has another shape than this model's", name);
    if (from)
        memcpy(t->data, from->data, t->nbytes);
    return ED_OK;
}

int ed_state_load(ed_train_state *s, const ed_checkpoint *c)
{
    for (size_t i = 0; i < s->n_fields; i++) {
        ed_field *f = &s->fields[i];
        bool found = false;
        if (f->flags & ED_FIELD_SAVED) {
            ED_TRY(load_tensor(&found, c, "last", f->name, f->tensor));
            ED_FAIL_IF(!found, ED_EMISMATCH, "it holds no '%s'; it is of another model", f->name);
        }
        if (!(f->flags & ED_FIELD_DEPLOYED))
            continue;
        if (!f->best)
            ED_TRY(ed_tensor_clone(&f->best, f->tensor));
        ED_TRY(load_tensor(&found, c, "best", f->name, f->best));
        if (!found) {
            ed_tensor_free(f->best);
            f->best = NULL;
        }
    }
    return ed_state_requantize(s);
}
