/*
 * Any text as the plan of one fixed model, which has a match of most patterns: the plan is refused
 * with a sentence, or it can be written, read again and applied to a copy, which stays a valid
 * graph.
 */
#include "fuzz.h"

#include "ed/ed.h"

size_t fuzz_accepted;

static const char *const model = "graph g opset 17\n"
                                 "input x: f32[N, 3, 16, 16]\n"
                                 "const w0: f32[4, 3, 3, 3] = random(1)\n"
                                 "const w1: f32[4, 4, 3, 3] = random(2)\n"
                                 "const b: f32[4] = {0.5, 1, -1, 2}\n"
                                 "const v: f32[4] = fill(1.5)\n"
                                 "const wl: f32[4, 8] = random(3)\n"
                                 "const bl: f32[8] = random(4)\n"
                                 "const wq: f32[8, 8] = random(5)\n"
                                 "const gain: f32[8] = fill(1)\n"
                                 "c0 = conv0: Conv(x, w0, b) {pads=[1, 1, 1, 1], strides=[2, 2]}\n"
                                 "n0 = bn0: BatchNormalization(c0, b, b, b, v)\n"
                                 "r0 = relu0: Relu(n0)\n"
                                 "m0 = maxpool: MaxPool(r0) {kernel_shape=[2, 2], strides=[2, 2]}\n"
                                 "c1 = conv1: Conv(m0, w1, b) {pads=[1, 1, 1, 1]}\n"
                                 "a1 = add1: Add(c1, m0)\n"
                                 "r1 = relu1: Relu(a1)\n"
                                 "i1 = identity: Identity(r1)\n"
                                 "c2 = conv2: Conv(i1, w1, b) {pads=[1, 1, 1, 1]}\n"
                                 "k2 = concat: Concat(c2, r1) {axis=2}\n"
                                 "p = pool: GlobalAveragePool(k2)\n"
                                 "f = flatten: Flatten(p)\n"
                                 "l = fc: Gemm(f, wl, bl)\n"
                                 "ln = norm: LayerNormalization(l, gain, bl)\n"
                                 "q = to_q: MatMul(ln, wq)\n"
                                 "s = softmax: Softmax(q)\n"
                                 "y = out: MatMul(s, wq)\n"
                                 "output y\n";

static ed_graph *model_graph(void)
{
    static ed_graph *graph; /* parsed once; reachable until the end */
    if (!graph)
        FUZZ_ASSERT(ed_graph_parse(&graph, model) == ED_OK);
    return graph;
}

static void apply(const ed_plan *plan)
{
    ed_graph *copy;
    FUZZ_ASSERT(ed_graph_clone(&copy, model_graph()) == ED_OK);
    FUZZ_ASSERT(ed_plan_apply_phases(plan, copy, ED_PHASE_CONVERT, ED_PHASE_FUSE) == ED_OK);
    FUZZ_ASSERT(ed_graph_verify(copy) == ED_OK);
    ed_graph_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ed_plan *plan = NULL;
    int rc = ed_plan_read_json_memory(&plan, model_graph(), data, size, "plan.json", NULL);
    if (rc == ED_OK) {
        apply(plan);
        fuzz_accepted++;
    } else {
        FUZZ_ASSERT(!plan && ed_error_last()[0]);
    }
    ed_plan_free(plan);
    return 0;
}
