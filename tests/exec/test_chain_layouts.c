/* The CPU's row of chains by itself: every layout, what it asks of its operands, and the padding.
 */
#include "exec_check.h"

#include "ops/fast.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_VALUES = 32, MAX_STORED = 4096 };

static const char *const trees[] = {
    /* a constant and a value per channel; exp(0) is 1 in the padding */
    "a = Add(x, c)\ne = Exp(a)\nm = Mul(e, k)\ny = Sub(m, z)\n",
    /* per channel of each sample, one number, and 1 / 0 in the padding */
    "a = Div(x, s)\ne = Sub(u, a)\nm = Reciprocal(e)\ny = Add(m, z)\n",
    /* one operand in front, another behind */
    "a = Sub(c4, x)\ne = Sigmoid(a)\nm = Max(e, half)\ny = Min(z, m, k)\n",
    /* gradients: the slope at the padding's 0 is 1 */
    "a = Exp(x)\ne = ed::FakeQuantizeGrad(a, z, half)\nm = ed::TanhGrad(e, z)\ny = Add(m, c)\n",
};

/* Place of element i of row-major order. */
static int64_t place_of(ed_layout layout, const ed_shape *shape, int64_t i)
{
    ed_grid grid = ed_grid_of(layout, shape);
    if (shape->rank < 3)
        return i;
    int64_t s = i % grid.s, c = i / grid.s % grid.channels, n = i / grid.s / grid.channels;
    return ((n * grid.g + c / grid.b) * grid.s + s) * grid.b + c % grid.b;
}

static void pack(float *to, const float *from, ed_layout layout, const ed_shape *shape)
{
    int64_t numel = 0;
    assert_int_equal(ed_shape_numel(&numel, shape), ED_OK);
    memset(to, 0, MAX_STORED * sizeof *to);
    for (int64_t i = 0; i < numel; i++)
        to[place_of(layout, shape, i)] = from[i];
}

/* The data of a value: an input of the executor, or a constant. */
static const float *data_of(const compiled *c, ed_id value)
{
    for (size_t i = 0; i < c->n_inputs; i++)
        if (c->graph->inputs[i] == value)
            return c->inputs[i]->data;
    return c->exec->constants[value]->data;
}

static ed_kernel_plan question(const ed_exec *x, const ed_layout *layouts)
{
    return (ed_kernel_plan){ .graph = x->graph,
                             .nodes = x->order,
                             .params = x->order_params,
                             .n_nodes = (uint32_t)x->n_order,
                             .types = x->types,
                             .constants = x->constants,
                             .layouts = layouts,
                             .where = x->where,
                             .kept = x->kept,
                             .order = x->place,
                             .last_read = x->last_read,
                             .inplace = -1 };
}

/* Packs what the row asked for, runs it, compares with the reference kernels' output. */
static void check_run(const compiled *c, const ed_kernel_plan *p)
{
    static float stored[ED_CALL_MAX][MAX_STORED], y[MAX_STORED];
    ed_tensor views[ED_CALL_MAX], out;
    const ed_tensor *in[ED_CALL_MAX];
    const ed_shape *shape = &c->outputs[0]->shape;
    bool used[MAX_STORED] = { false };
    int64_t numel = 0;
    for (uint32_t k = 0; k < p->n_in; k++) {
        const ed_type *type = &c->exec->types[p->in[k]];
        pack(stored[k], data_of(c, p->in[k]), p->in_layout[k], &type->shape);
        assert_int_equal(ed_tensor_view(&views[k], ED_F32, &type->shape, stored[k]), ED_OK);
        in[k] = &views[k];
    }
    memset(y, 0xff, sizeof y);
    assert_int_equal(ed_tensor_view(&out, ED_F32, shape, y), ED_OK);
    ed_call call = {
        .state = p->state, .n_in = p->n_in, .n_out = 1, .in = in, .out = (ed_tensor *[]){ &out }
    };
    assert_int_equal(ed_layout_chain_run(&call), ED_OK);
    for (int64_t i = 0; i < c->outputs[0]->numel; i++) {
        int64_t at = place_of(p->out_layout, shape, i);
        float want = ((const float *)c->outputs[0]->data)[i], limit = 1e-5f * (1 + fabsf(want));
        used[at] = true;
        if (!(fabsf(y[at] - want) <= limit))
            fail_msg("element %d in %s is %g, not %g", (int)i, ed_layout_name(p->out_layout), y[at],
                     want);
    }
    assert_int_equal(ed_layout_numel(&numel, p->out_layout, shape), ED_OK);
    for (int64_t i = 0; i < numel; i++)
        assert_true(used[i] || y[i] == 0.0f);
}

static void check_tree(const char *tree, int channels, ed_layout layout)
{
    const ed_exec_options reference = { .reference = true };
    ed_layout layouts[MAX_VALUES] = { ED_LAYOUT_PLAIN };
    char text[1024];
    snprintf(text, sizeof text,
             "graph t opset 17\ninput x: f32[2, %d, 3, 5]\ninput z: f32[2, %d, 3, 5]\n"
             "input k: f32[2, %d, 1, 1]\ninput s: f32[2, %d, 1, 1]\n"
             "const c: f32[%d, 1, 1] = random(1)\nconst c4: f32[1, %d, 1, 1] = random(2)\n"
             "const half: f32[] = {0.5}\nconst u: f32[1, 1, 1, 1] = {2.0}\n%soutput y\n",
             channels, channels, channels, channels, channels, channels, tree);
    compiled c = compile_text(text, 2, &reference);
    run(&c);
    assert_true(c.graph->n_values <= MAX_VALUES);
    layouts[c.graph->inputs[0]] = layout; /* the other one is reordered */
    ed_kernel_plan p = question(c.exec, layouts);
    assert_int_equal(ed_layout_chain_plan(&p), ED_OK);
    assert_int_equal(p.taken, 4);
    assert_int_equal(p.out_layout, layout);
    check_run(&c, &p);
    ed_layout_chain_free(p.state);
    release(&c);
}

static void every_layout(void **state)
{
    static const int channels[] = { 1, 7, 8, 16, 19, 33 };
    (void)state;
    for (size_t t = 0; t < ED_LENGTH(trees); t++)
        for (size_t k = 0; k < ED_LENGTH(channels); k++)
            for (ed_layout layout = ED_LAYOUT_PLAIN; layout <= ED_LAYOUT_BLOCKED16; layout++)
                check_tree(trees[t], channels[k], layout);
}

/* A row of the last dimension has no place in another layout: all is asked for row-major. */
static void operands_that_need_row_major_order(void **state)
{
    const ed_exec_options reference = { .reference = true };
    ed_layout layouts[MAX_VALUES] = { ED_LAYOUT_PLAIN };
    (void)state;
    compiled c = compile_text("graph t opset 17\ninput x: f32[2, 19, 3, 5]\n"
                              "const row: f32[5] = random(1)\na = Add(x, row)\ny = Exp(a)\n"
                              "output y\n",
                              2, &reference);
    run(&c);
    layouts[c.graph->inputs[0]] = ED_LAYOUT_BLOCKED16;
    ed_kernel_plan p = question(c.exec, layouts);
    assert_int_equal(ed_layout_chain_plan(&p), ED_OK);
    assert_int_equal(p.taken, 2);
    assert_int_equal(p.out_layout, ED_LAYOUT_PLAIN);
    check_run(&c, &p);
    ed_layout_chain_free(p.state);
    release(&c);
}

/* Nodes whose results are read elsewhere do not disappear; one node is no chain. */
static void the_longest_closed_part_is_taken(void **state)
{
    const ed_exec_options reference = { .reference = true };
    ed_layout layouts[MAX_VALUES] = { ED_LAYOUT_PLAIN };
    (void)state;
    compiled c = compile_text("graph t opset 17\ninput x: f32[2, 6]\na = Neg(x)\nb = Abs(a)\n"
                              "d = Relu(b)\ny = Add(d, b)\noutput y\noutput d\n",
                              2, &reference);
    ed_kernel_plan p = question(c.exec, layouts);
    assert_int_equal(ed_layout_chain_plan(&p), ED_OK);
    assert_int_equal(p.taken, 2);
    ed_layout_chain_free(p.state);
    p = question(c.exec, layouts);
    p.n_nodes = 1;
    assert_int_equal(ed_layout_chain_plan(&p), ED_OK);
    assert_int_equal(p.taken, 0);
    assert_null(p.reason);
    release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layout),
        cmocka_unit_test(operands_that_need_row_major_order),
        cmocka_unit_test(the_longest_closed_part_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
