/*
 * A GPU that is lost between two runs, by a kernel of this program: runs, compiling and releasing
 * after it end, each with one sentence.
 */
#include "exec_check.h"
#include "lost_kernel.h"

#include "backend/backend.h"

#include <stdio.h>
#include <string.h>

static const char network[] =
    "graph t opset 17\ninput x: f32[N, 3, 16, 16]\nconst w: f32[8, 3, 3, 3] = random(1)\n"
    "const m: f32[2048, 10] = random(2)\nconst s: i64[2] = {0, -1}\n"
    "c = Conv(x, w) {pads=[1, 1, 1, 1]}\nr = Relu(c)\nf = Reshape(r, s)\ny = MatMul(f, m)\n"
    "output y\n";

static void tells(int rc)
{
    print_message("           %s\n", ed_error_last());
    assert_int_equal(rc, ED_EINTERNAL);
    if (!strstr(ed_error_last(), "the GPU was lost: CUDA failed: "))
        fail_msg("%s", ed_error_last());
}

static void everything_ends_with_a_sentence(void **state)
{
    ed_exec_options opts = { .device = "cuda" };
    ed_shape shape = ED_SHAPE(2, 3, 16, 16);
    ed_exec *exec = NULL;
    (void)state;
    compiled recorded = compile_text(network, 2, &opts);
    compiled fresh = compile_text(network, 2, &opts);
    for (int i = 0; i < 3; i++)
        run(&recorded);
    const ed_tensor *const *inputs = (const ed_tensor *const *)recorded.inputs;
    assert_int_not_equal(lose_gpu(), 0);
    tells(ed_exec_run(recorded.exec, inputs, recorded.outputs));
    tells(ed_exec_run(fresh.exec, inputs, fresh.outputs));
    tells(ed_exec_new(&exec, fresh.graph, &shape, &opts));
    assert_null(exec);
    release(&recorded);
    release(&fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(everything_ends_with_a_sentence) };
    const ed_device *device;
    if (ed_device_open(&device, "cuda", NULL) != ED_OK) {
        printf("skipped, no usable GPU: %s\n", ed_error_last());
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
