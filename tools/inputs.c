/*
 * Inputs for a model when nobody gave any: shapes and random numbers.
 */
#include "common.h"

#include <stdlib.h>

int tool_input_shapes(ed_shape **out, const ed_graph *graph, int64_t batch)
{
    size_t n = ed_graph_input_count(graph);
    char text[128];
    *out = calloc(n + 1, sizeof **out);
    if (!*out)
        return tool_fail(ED_ENOMEM, "memory ran out");
    for (size_t i = 0; i < n; i++) {
        ed_value_info info = ed_graph_input(graph, i);
        ed_shape *shape = &(*out)[i];
        *shape = info.shape;
        if (shape->rank > 0 && shape->dim[0] < 0)
            shape->dim[0] = batch;
        if (!ed_shape_known(shape)) {
            free(*out);
            *out = NULL;
            return tool_fail(
                ED_ESHAPE, "input '%s' is %s: its size is not known before there is data",
                info.name, ed_graph_shape_format(text, sizeof text, graph, &info.shape));
        }
    }
    return ED_OK;
}

void tool_fill_random(ed_tensor *t)
{
    uint32_t seed = 7;
    for (int64_t i = 0; i < t->numel; i++) {
        seed = seed * 1664525U + 1013904223U; /* Numerical Recipes */
        uint32_t digit = (seed >> 16) % 10;
        if (t->dtype == ED_F32)
            ((float *)t->data)[i] = (float)(seed >> 8) / 8388608.0F - 1.0F;
        else if (t->dtype == ED_F64)
            ((double *)t->data)[i] = (double)(seed >> 8) / 8388608.0 - 1.0;
        else if (t->dtype == ED_I64 || t->dtype == ED_U64)
            ((int64_t *)t->data)[i] = digit;
        else if (t->dtype == ED_I32 || t->dtype == ED_U32)
            ((int32_t *)t->data)[i] = (int32_t)digit;
        else if (t->dtype == ED_I8 || t->dtype == ED_U8)
            ((int8_t *)t->data)[i] = (int8_t)digit;
        else if (t->dtype == ED_BOOL)
            ((uint8_t *)t->data)[i] = digit & 1;
    }
}

void tool_free_tensors(ed_tensor **list, size_t count)
{
    for (size_t i = 0; list && i < count; i++)
        ed_tensor_free(list[i]);
    free(list);
}
