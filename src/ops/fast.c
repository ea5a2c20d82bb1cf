/* What the fast rows share: questions about the plan, and layouts as loops. */
#include "ops/fast.h"

#include <string.h>

int ed_plan_refuse(ed_kernel_plan *p, const char *reason)
{
    p->taken = 0;
    p->reason = reason;
    return ED_OK;
}

static uint32_t first_place(const ed_kernel_plan *p)
{
    return p->order[p->nodes[0] - p->graph->nodes];
}

bool ed_plan_closed(const ed_kernel_plan *p, uint32_t count)
{
    uint32_t begin = first_place(p);
    for (uint32_t k = 0; k + 1 < count; k++) {
        for (uint32_t o = 0; o < p->nodes[k]->n_out; o++) {
            ed_id id = p->nodes[k]->out[o];
            if (id == ED_NONE)
                continue;
            if (p->kept[id])
                return false;
            const ed_value *v = &p->graph->values[id];
            for (size_t u = 0; u < v->use_count; u++) {
                uint32_t place = p->order[v->uses[u]];
                if (place < begin || place >= begin + count)
                    return false;
            }
        }
    }
    return true;
}

bool ed_plan_dies(const ed_kernel_plan *p, ed_id value, uint32_t count)
{
    return p->last_read[value] < first_place(p) + count;
}

ed_id ed_plan_output(const ed_kernel_plan *p, uint32_t count)
{
    return p->nodes[count - 1]->out[0];
}

ed_id ed_plan_memory(const ed_kernel_plan *p, ed_id value)
{
    for (;;) {
        ed_id producer = p->graph->values[value].producer;
        const ed_node *node = producer == ED_NONE ? NULL : &p->graph->nodes[producer];
        if (!node || p->constants[value] || !(ed_op_traits(p->graph, node) & ED_OP_ALIAS))
            return value;
        value = node->in[0];
    }
}

bool ed_plan_is_f32(const ed_kernel_plan *p, ed_id value)
{
    int64_t numel = 0;
    if (value == ED_NONE || p->types[value].dtype != ED_F32)
        return false;
    return ed_shape_numel(&numel, &p->types[value].shape) == ED_OK && numel > 0;
}

ed_grid ed_grid_of(ed_layout layout, const ed_shape *shape)
{
    ed_grid grid = { .n = shape->rank > 0 ? shape->dim[0] : 1,
                     .channels = shape->rank > 1 ? shape->dim[1] : 1,
                     .s = ed_layout_spatial(shape) };
    grid.b = layout == ED_LAYOUT_CHANNELS_LAST ? grid.channels : ed_layout_block(layout);
    grid.g = grid.b ? (grid.channels + grid.b - 1) / grid.b : 0;
    return grid;
}

void ed_grid_clear_padding(const ed_grid *grid, float *data)
{
    int64_t used = grid->channels - (grid->g - 1) * grid->b;
    if (used == grid->b)
        return;
    for (int64_t n = 0; n < grid->n; n++) {
        float *at = data + ((n + 1) * grid->g - 1) * grid->s * grid->b;
        for (int64_t s = 0; s < grid->s; s++, at += grid->b)
            memset(at + used, 0, (size_t)(grid->b - used) * sizeof *at);
    }
}

bool ed_plan_takes_conv(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    int rank = p->types[node->in[0]].shape.rank;
    if (!ed_plan_is_f32(p, node->in[0]) || !ed_plan_is_f32(p, node->out[0]))
        ed_plan_refuse(p, "empty or not float32");
    else if (rank < 3 || rank > 5)
        ed_plan_refuse(p, "spatial dimensions");
    return !p->reason;
}

bool ed_plan_constant_weights(ed_kernel_plan *p)
{
    ed_id weight = p->nodes[0]->in[1], bias = ed_node_in(p->nodes[0], 2);
    if (!p->constants[weight] || (bias != ED_NONE && !p->constants[bias]))
        ed_plan_refuse(p, "weights are not constant");
    return !p->reason;
}

int ed_plan_read(ed_kernel_plan *p, ed_id value, ed_layout layout)
{
    p->in[p->n_in] = value;
    p->in_layout[p->n_in] = layout;
    return (int)p->n_in++;
}
