/* Matching that holds out: order, overlap, shared producers, conversions that fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "passes/plan.h"

#include <string.h>

static ed_graph *load(const char *text)
{
    ed_graph *g;
    if (ed_graph_parse(&g, text) != ED_OK)
        fail_msg("%s", ed_error_last());
    return g;
}

static ed_graph *clone(const ed_graph *g)
{
    ed_graph *copy;
    assert_int_equal(ed_graph_clone(&copy, g), ED_OK);
    return copy;
}

static ed_plan *build(const ed_graph *g, ed_phase phase)
{
    ed_plan *plan;
    if (ed_plan_build(&plan, g, phase, NULL) != ED_OK)
        fail_msg("%s", ed_error_last());
    return plan;
}

static const ed_match_info *find(const ed_plan *plan, const char *pattern, const char *anchor)
{
    for (size_t i = 0; i < ed_plan_count(plan); i++) {
        const ed_match_info *m = ed_plan_at(plan, i);
        if (strcmp(m->pattern, pattern) == 0 && strcmp(m->anchor, anchor) == 0)
            return m;
    }
    fail_msg("no match of %s at %s", pattern, anchor);
    return NULL;
}

/* ---- order and overlap ---- */

/* One convolution feeds two residual Adds, each of which has a convolution of its own: conv0 can
 * belong to none of them, and x is an input of both matches. */
static const char *const shared = "graph g opset 17\n"
                                  "input x: f32[N, 4, 6, 6]\n"
                                  "const w: f32[4, 4, 1, 1] = random(1)\n"
                                  "const one: f32[4] = {1, 2, 3, 4}\n"
                                  "const b: f32[4] = {0.5, 1, -1, 2}\n"
                                  "c0 = conv0: Conv(x, w, b)\n"
                                  "c1 = conv1: Conv(c0, w, b)\n"
                                  "n1 = bn1: BatchNormalization(c1, one, b, b, one)\n"
                                  "c2 = conv2: Conv(c0, w, b)\n"
                                  "a1 = add1: Add(n1, c0)\n"
                                  "r1 = relu1: Relu(a1)\n"
                                  "a2 = add2: Add(c0, c2)\n"
                                  "r2 = relu2: Relu(a2)\n"
                                  "y = sum: Add(r1, r2)\n"
                                  "output y\n";

static void assert_same_plan(const ed_plan *a, const ed_plan *b)
{
    assert_int_equal(ed_plan_count(a), ed_plan_count(b));
    for (size_t i = 0; i < ed_plan_count(a); i++) {
        const ed_match_info *m = ed_plan_at(a, i), *n = ed_plan_at(b, i);
        assert_string_equal(m->pattern, n->pattern);
        assert_string_equal(m->anchor, n->anchor);
        assert_string_equal(m->detail, n->detail);
        assert_string_equal(m->reason ? m->reason : "", n->reason ? n->reason : "");
    }
}

static void test_order_is_deterministic(void **state)
{
    (void)state;
    ed_graph *g = load(shared), *copy = clone(g);
    ed_plan *first = build(g, ED_PHASE_ALL);
    assert_true(ed_plan_count(first) > 8);
    for (int i = 0; i < 3; i++) {
        ed_plan *again = build(i ? copy : g, ED_PHASE_ALL);
        assert_same_plan(first, again);
        ed_plan_free(again);
    }
    ed_plan_free(first);
    ed_graph_free(copy);
    ed_graph_free(g);
}

static void test_producer_of_two_matches(void **state)
{
    (void)state;
    ed_graph *g = load(shared), *copy = clone(g);
    ed_plan *plan = build(g, ED_PHASE_ALL);
    const ed_match_info *m = find(plan, "ConvBNAddReLU", "relu1");
    assert_true(m->apply);
    assert_string_equal(m->nodes[0], "conv1");
    m = find(plan, "ConvBNAddReLU", "relu2");
    assert_true(m->apply);
    assert_string_equal(m->nodes[0], "conv2"); /* conv0 has other readers */
    assert_true(find(plan, "ConvBN", "conv0")->apply);
    /* no node is in two groups, and the quantized value that both read is one point */
    assert_int_equal(ed_plan_apply_phases(plan, copy, ED_PHASE_CONVERT, ED_PHASE_FUSE), ED_OK);
    assert_int_equal(ed_graph_group_count(copy), 3);
    size_t points = 0;
    for (size_t i = 0; i < ed_plan_point_count(plan); i++)
        points += strcmp(ed_plan_point(plan, i)->value, "c0") == 0;
    assert_int_equal(points, 1);
    ed_plan_free(plan);
    ed_graph_free(copy);
    ed_graph_free(g);
}

/* fold_bn rewrites bn1, which is an input of the Add's match: switched off, the fusion takes the
 * normalization itself; on again, it takes the folded convolution. */
static void test_rewritten_inputs(void **state)
{
    (void)state;
    const char *const text = "graph g opset 17\n"
                             "input x: f32[N, 4, 6, 6]\n"
                             "const w: f32[4, 4, 1, 1] = random(1)\n"
                             "const one: f32[4] = {1, 2, 3, 4}\n"
                             "i = same: Identity(x)\n"
                             "c = conv: Conv(i, w)\n"
                             "n = bn: BatchNormalization(c, one, one, one, one)\n"
                             "d = drop: Dropout(n)\n"
                             "a = add: Add(d, i)\n"
                             "y = relu: Relu(a)\n"
                             "output y\n";
    const struct {
        const char *off;
        const char *at;
        size_t nodes; /* of the residual's match */
    } rows[] = { { NULL, NULL, 3 },
                 { "fold_bn", "bn", 4 },
                 { "remove_identity", "same", 3 },
                 { "remove_identity", "drop", 0 } };
    ed_graph *g = load(text);
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        ed_plan *plan = build(g, ED_PHASE_ALL);
        ed_graph *copy = clone(g);
        if (rows[i].off)
            assert_int_equal(ed_plan_set_apply(plan, rows[i].off, rows[i].at, false), ED_OK);
        if (rows[i].nodes) {
            const ed_match_info *m = find(plan, "ConvBNAddReLU", "relu");
            assert_true(m->apply);
            assert_int_equal(m->node_count, rows[i].nodes);
        } else {
            assert_true(find(plan, "ConvBN", "conv")->apply);
        }
        if (ed_plan_apply_phases(plan, copy, ED_PHASE_CONVERT, ED_PHASE_FUSE) != ED_OK)
            fail_msg("row %zu: %s", i, ed_error_last());
        if (rows[i].off)
            assert_int_equal(ed_plan_set_apply(plan, rows[i].off, rows[i].at, true), ED_OK);
        assert_int_equal(find(plan, "ConvBNAddReLU", "relu")->node_count, 3);
        ed_plan_free(plan);
        ed_graph_free(copy);
    }
    ed_graph_free(g);
}

/* A graph with as many nodes and values, one of which is another: the plan's ids do not fit. */
static void test_another_graph_of_the_same_size(void **state)
{
    (void)state;
    static const char *const forms[] = { "r = Relu(x)\ny = Tanh(r)\n", "r = Relu(x)\ny = Exp(r)\n",
                                         "r = Relu(x)\ny = Tanh(x)\n" };
    ed_graph *g[3];
    for (size_t i = 0; i < ED_LENGTH(forms); i++) {
        char text[200];
        snprintf(text, sizeof text, "graph g opset 17\ninput x: f32[N, 4]\n%soutput y\noutput r\n",
                 forms[i]);
        g[i] = load(text);
    }
    for (int phase = 0; phase <= ED_PHASE_ALL; phase++) {
        ed_plan *plan = build(g[0], (ed_phase)phase);
        for (size_t i = 1; i < ED_LENGTH(forms); i++) {
            uint64_t hash = ed_graph_hash(g[i]);
            assert_int_equal(ed_plan_apply(plan, g[i]), ED_EMISMATCH);
            assert_true(ed_graph_hash(g[i]) == hash);
        }
        ed_plan_free(plan);
    }
    for (size_t i = 0; i < ED_LENGTH(forms); i++)
        ed_graph_free(g[i]);
}

/* ---- ranges that are shared ---- */

static const ed_qdq_point *point_of(const ed_plan *plan, const char *value)
{
    for (size_t i = 0; i < ed_plan_point_count(plan); i++)
        if (strcmp(ed_plan_point(plan, i)->value, value) == 0)
            return ed_plan_point(plan, i);
    fail_msg("'%s' is not quantized", value);
    return NULL;
}

/* Two Concats that two convolutions each read: a value that goes into both takes the range of the
 * first, whose elements contain its own; the second Concat keeps a range of its own, since that of
 * the first does not contain all of its elements. */
static void test_concat_with_several_readers(void **state)
{
    (void)state;
    ed_graph *g = load("graph g opset 17\ninput x: f32[N, 16, 8, 8]\n"
                       "const w: f32[16, 16, 1, 1] = random(1)\n"
                       "const v: f32[16, 32, 1, 1] = random(2)\n"
                       "a = Relu(x)\nb = Sigmoid(x)\nd = Tanh(x)\n"
                       "p = Concat(a, b) {axis=1}\nq = Concat(d, a) {axis=1}\n"
                       "ca = Conv(a, w)\ncd = Conv(d, w)\n"
                       "cp = Conv(p, v)\nsp = Conv(p, v)\ncq = Conv(q, v)\nsq = Conv(q, v)\n"
                       "output ca\noutput cd\noutput cp\noutput sp\noutput cq\noutput sq\n");
    ed_plan *plan = build(g, ED_PHASE_ALL);
    static const char *const leads[][2] = {
        { "a", "p" }, { "d", "q" }, { "p", "p" }, { "q", "q" }
    };
    size_t activations = 0;
    for (size_t i = 0; i < ED_LENGTH(leads); i++) {
        const ed_qdq_point *lead = ed_plan_point(plan, point_of(plan, leads[i][0])->scale_of);
        assert_string_equal(lead->value, leads[i][1]);
    }
    for (size_t i = 0; i < ed_plan_point_count(plan); i++)
        activations += !ed_plan_point(plan, i)->weight;
    assert_int_equal(activations, 4); /* each once, and b, which nobody else reads, not at all */
    assert_int_equal(find(plan, "input", "p")->node_count, 2);
    ed_plan_free(plan);
    ed_graph_free(g);
}

/* ---- conversions that fail ---- */

typedef struct heard { /* what a listener was told */
    size_t tried, skipped;
    char reason[256], anchor[64];
} heard;

static int listen(void *ctx, const ed_graph *g, const ed_match *m, const char **reason)
{
    heard *h = ctx;
    h->tried += !*reason;
    h->skipped += *reason != NULL;
    if (*reason) {
        snprintf(h->reason, sizeof h->reason, "%s", *reason);
        snprintf(h->anchor, sizeof h->anchor, "%s", ed_plan_anchor(g, &g->nodes[m->root]));
    }
    return ED_OK;
}

static int refuse(ed_graph *g, const ed_match *m)
{
    return ed_error_set(ED_EUNSUPPORTED, "%s is out of reach",
                        ed_node_label(g, &g->nodes[m->root]));
}

static int run_out(ed_graph *g, const ed_match *m)
{
    (void)g;
    (void)m;
    return ED_ENOMEM;
}

/* Against the contract: removes the node, then fails. */
static int break_it(ed_graph *g, const ed_match *m)
{
    ed_graph_remove_node(g, m->root);
    return refuse(g, m);
}

static int remove_relu(ed_graph *g, const ed_match *m)
{
    ed_id out = g->nodes[m->root].out[0], in = g->nodes[m->root].in[0];
    ED_TRY(ed_graph_replace_value(g, out, in));
    ed_graph_remove_node(g, m->root);
    return ED_OK;
}

static const ed_pat_node relu[] = { { .op = "Relu", .in = { ED_PAT_ANY } }, { 0 } };
static const ed_pat_node hyperbolic[] = { { .op = "Tanh", .in = { ED_PAT_ANY } }, { 0 } };
static const char *const chain = "graph g opset 17\n"
                                 "input x: f32[N, 4]\n"
                                 "t = tanh1: Tanh(x)\n"
                                 "r = relu1: Relu(t)\n"
                                 "y = tanh2: Tanh(r)\n"
                                 "output y\n";

static ed_pattern row(const char *name, const ed_pat_node *nodes,
                      int (*rewrite)(ed_graph *g, const ed_match *m))
{
    return (
        ed_pattern){ .name = name, .phase = ED_PHASE_CONVERT, .nodes = nodes, .rewrite = rewrite };
}

/* The failing row is skipped with its sentence, and the rows after it still run. */
static void test_failing_rewrite_is_skipped(void **state)
{
    (void)state;
    const ed_pattern rows[] = { row("reach", hyperbolic, refuse),
                                row("remove_relu", relu, remove_relu),
                                { 0 } };
    ed_graph *g = load(chain);
    heard h = { 0 };
    const ed_convert_listener listener = { listen, &h };
    if (ed_convert(g, rows, &listener) != ED_OK)
        fail_msg("%s", ed_error_last());
    assert_int_equal(ed_graph_node_count(g, "Tanh"), 2);
    assert_int_equal(ed_graph_node_count(g, "Relu"), 0);
    assert_int_equal(h.skipped,
                     4); /* two nodes, in the round that changed the graph and the last */
    assert_int_equal(h.tried, 5);
    assert_string_equal(h.reason, "Tanh 'tanh2' is out of reach");
    assert_string_equal(h.anchor, "tanh2");
    ed_graph_free(g);
    g = load(chain); /* without anybody to tell */
    assert_int_equal(ed_convert(g, rows, NULL), ED_OK);
    assert_int_equal(ed_graph_node_count(g, "Relu"), 0);
    ed_graph_free(g);
}

static void test_fatal_rewrites(void **state)
{
    (void)state;
    const ed_pattern no_memory[] = { row("run_out", hyperbolic, run_out), { 0 } };
    const ed_pattern broken[] = { row("break_it", hyperbolic, break_it), { 0 } };
    ed_graph *g = load(chain);
    heard h = { 0 };
    const ed_convert_listener listener = { listen, &h };
    assert_int_equal(ed_convert(g, no_memory, &listener), ED_ENOMEM);
    assert_int_equal(ed_convert(g, broken, &listener), ED_EUNSUPPORTED);
    assert_int_equal(h.skipped, 0);
    ed_graph_free(g);
}

/* What cannot be replaced is found before the first reader is changed. */
static void test_replacing_is_whole(void **state)
{
    (void)state;
    const ed_pattern rows[] = { row("remove_relu", relu, remove_relu), { 0 } };
    ed_graph *g = load("graph g opset 17\ninput x: f32[N, 4]\n"
                       "r = relu1: Relu(x)\ny = tanh1: Tanh(r)\noutput y\noutput r\n");
    uint64_t hash = ed_graph_hash(g);
    heard h = { 0 };
    const ed_convert_listener listener = { listen, &h };
    assert_int_equal(ed_convert(g, rows, &listener), ED_OK);
    assert_int_equal(h.skipped, 1);
    assert_non_null(strstr(h.reason, "'r' cannot be replaced by 'x'"));
    assert_true(ed_graph_hash(g) == hash);
    ed_graph_free(g);
}

/* The plan's listener hears of the failure after the match: it is in the list as not applied. */
static void test_failure_in_the_plan(void **state)
{
    (void)state;
    ed_graph *g = load(chain);
    ed_plan *plan;
    assert_int_equal(ed_plan_new(&plan, g, ED_PHASE_CONVERT, NULL), ED_OK);
    plan->graph = g;
    plan->stage = ED_PHASE_CONVERT;
    const ed_pattern reach = row("reach", hyperbolic, refuse);
    ed_match m;
    assert_true(ed_match_at(&m, &reach, 0, g, NULL, ed_graph_find_node(g, "tanh1")));
    assert_int_equal(ed_plan_record(plan, &m, NULL), ED_OK);
    assert_true(find(plan, "reach", "tanh1")->apply);
    assert_int_equal(ed_plan_record(plan, &m, "it is out of reach"), ED_OK);
    assert_int_equal(ed_plan_count(plan), 1);
    assert_false(find(plan, "reach", "tanh1")->apply);
    assert_string_equal(find(plan, "reach", "tanh1")->reason, "it is out of reach");
    ed_plan_free(plan);
    ed_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_is_deterministic),
        cmocka_unit_test(test_producer_of_two_matches),
        cmocka_unit_test(test_rewritten_inputs),
        cmocka_unit_test(test_another_graph_of_the_same_size),
        cmocka_unit_test(test_concat_with_several_readers),
        cmocka_unit_test(test_failing_rewrite_is_skipped),
        cmocka_unit_test(test_fatal_rewrites),
        cmocka_unit_test(test_replacing_is_whole),
        cmocka_unit_test(test_failure_in_the_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
