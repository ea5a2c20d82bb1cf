/* Shape inference of convolutions, products, pooling and moves: symbols that pass, sentences that
 * refuse. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "ops/op.h"

#include <stdio.h>
#include <string.h>

/* A graph's body, and the shape of y; symbol 0 is the batch N of the input x. */
typedef struct shape_case {
    int opset;
    const char *body, *shape;
} shape_case;

/* A body that is refused, with a part of the sentence. */
typedef struct failure_case {
    int opset, code;
    const char *body, *sentence;
} failure_case;

static int infer_text(ed_graph **out, int opset, const char *body)
{
    char text[2048];
    int rc;

    snprintf(text, sizeof text, "graph t opset %d\n%soutput y\n", opset, body);
    rc = ed_graph_parse(out, text);
    if (rc != ED_OK)
        fail_msg("%s\n%s", ed_error_last(), text);
    return ed_graph_infer(*out);
}

static void check_shape(const shape_case *c)
{
    ed_graph *g = NULL;
    char got[128];
    int rc = infer_text(&g, c->opset, c->body);

    if (rc != ED_OK)
        fail_msg("%s\n%s", ed_error_last(), c->body);
    ed_shape_format(got, sizeof got, &g->values[ed_graph_find_value(g, "y")].shape);
    if (strcmp(got, c->shape) != 0)
        fail_msg("got %s, expected %s of\n%s", got, c->shape, c->body);
    ed_graph_free(g);
}

static void check_failure(const failure_case *c)
{
    ed_graph *g = NULL;
    int rc = infer_text(&g, c->opset, c->body);

    if (rc != c->code || !strstr(ed_error_last(), c->sentence))
        fail_msg("got %s: %s\nexpected %s: %s of\n%s", ed_error_name(rc),
                 rc == ED_OK ? "" : ed_error_last(), ed_error_name(c->code), c->sentence, c->body);
    ed_graph_free(g);
}

#define X4       "input x: f32[N, 3, 8, 9]\n"
#define X1280    "input x: f32[N, 1280, 1, 1]\n"
#define W433     "const w: f32[4, 3, 3, 3] = fill(1)\n"
#define S2(a, b) "const s: i64[2] = {" #a ", " #b "}\n"

static const shape_case shapes[] = {
    /* windows */
    { 11, X4 W433 "y = Conv(x, w) {pads=[1, 1, 1, 1], strides=[2, 2]}\n", "[s0, 4, 4, 5]" },
    { 11, "input x: f32[N, 3, ?, W]\n" W433 "y = Conv(x, w) {pads=[1, 1, 1, 1]}\n",
      "[s0, 4, ?, ?]" },
    { 11,
      "input x: f32[N, 3, ?, 9]\n" W433
      "y = Conv(x, w) {auto_pad=\"SAME_UPPER\", strides=[2, 2]}\n",
      "[s0, 4, ?, 5]" },
    { 11, "input x: f32\n" W433 "y = Conv(x, w)\n", "[...]" },
    { 11, X4 "input w: f32[4, 3, ?, 3]\ny = Conv(x, w)\n", "[s0, 4, ?, 7]" },
    { 11, X4 "input w: f32\ny = Conv(x, w) {kernel_shape=[3, 3]}\n", "[s0, ?, 6, 7]" },
    { 11,
      X4 "const w: f32[3, 2, 3, 3] = fill(1)\ny = ConvTranspose(x, w) {strides=[2, 2], "
         "output_padding=[1, 0], pads=[1, 1, 1, 1]}\n",
      "[s0, 2, 16, 17]" },
    { 11,
      X4 "const w: f32[3, 2, 3, 3] = fill(1)\ny = ConvTranspose(x, w) {strides=[2, 2], "
         "output_shape=[16, 18]}\n",
      "[s0, 2, 16, 18]" },
    { 11,
      X4 "const w: f32[3, 2, 3, 3] = fill(1)\ny = ConvTranspose(x, w) {strides=[2, 2], "
         "auto_pad=\"SAME_LOWER\"}\n",
      "[s0, 2, 16, 18]" },
    { 11, X4 "y = MaxPool(x) {kernel_shape=[3, 3], strides=[2, 2]}\n", "[s0, 3, 3, 4]" },
    { 11, X4 "y = MaxPool(x) {kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1}\n",
      "[s0, 3, 4, 4]" },
    /* the third window would begin in the right padding: dropped */
    { 19,
      "input x: f32[N, 1, 4]\ny = AveragePool(x) {kernel_shape=[2], strides=[3], pads=[1, 1], "
      "ceil_mode=1}\n",
      "[s0, 1, 2]" },
    { 11, X4 "y, i = MaxPool(x) {kernel_shape=[8, 9]}\n", "[s0, 3, 1, 1]" },
    { 11, "input x: f32[N, 3, ?, W]\ny = GlobalAveragePool(x)\n", "[s0, 3, 1, 1]" },
    /* products */
    { 13, "input x: f32[N, 5]\nconst w: f32[4, 5] = fill(1)\ny = Gemm(x, w) {transB=1}\n",
      "[s0, 4]" },
    { 13, "input x: f32[5, N]\ninput w: f32\ny = Gemm(x, w) {transA=1}\n", "[s0, ?]" },
    { 13, "input x: f32[N, 7, 5]\nconst w: f32[5, 6] = fill(1)\ny = MatMul(x, w)\n", "[s0, 7, 6]" },
    { 13, "input x: f32[N, 1, 7, 5]\ninput w: f32[N, 3, 5, 6]\ny = MatMul(x, w)\n",
      "[s0, 3, 7, 6]" },
    { 13, "input x: f32[N, 7, 5]\ninput w: f32[4, 5, 6]\ny = MatMul(x, w)\n", "[4, 7, 6]" },
    { 13, "input x: f32[N, 5]\ninput w: f32[5]\ny = MatMul(x, w)\n", "[s0]" },
    { 13, "input x: f32[5]\ninput w: f32[5]\ny = MatMul(x, w)\n", "[]" },
    { 13, "input x: f32\ninput w: f32[5, 2]\ny = MatMul(x, w)\n", "[...]" },
    /* shapes */
    { 13, X1280 "y = Flatten(x)\n", "[s0, 1280]" },
    { 13, X1280 "y = Flatten(x) {axis=0}\n", "[1, ?]" },
    { 13, X1280 "y = Flatten(x) {axis=-4}\n", "[1, ?]" },
    { 13, "input x: f32[N, 1, 1]\ny = Flatten(x) {axis=3}\n", "[s0, 1]" },
    { 13, "input x: f32[N, 0, 3]\ny = Flatten(x) {axis=2}\n", "[0, 3]" },
    { 13, X1280 S2(-1, 1280) "y = Reshape(x, s)\n", "[s0, 1280]" },
    { 13, X1280 S2(0, -1) "y = Reshape(x, s)\n", "[s0, 1280]" },
    { 13, X1280 S2(0, 1280) "y = Reshape(x, s)\n", "[s0, 1280]" },
    { 13, X1280 S2(-1, 640) "y = Reshape(x, s)\n", "[?, 640]" },
    { 13, X1280 S2(1, -1) "y = Reshape(x, s)\n", "[1, ?]" },
    { 13, "input x: f32[N, 8, M]\nconst s: i64[3] = {0, 0, -1}\ny = Reshape(x, s)\n",
      "[s0, 8, s1]" },
    { 13, "input x: f32[N, 8, ?, 5]\nconst s: i64[3] = {0, 40, -1}\ny = Reshape(x, s)\n",
      "[s0, 40, ?]" },
    { 14, "input x: f32[N, 0]\n" S2(0, -1) "y = Reshape(x, s)\n", "[s0, 0]" },
    { 13, "input x: f32\n" S2(0, 3) "y = Reshape(x, s)\n", "[?, 3]" },
    { 13, "input x: f32[N, 4]\ninput s: i64[3]\ny = Reshape(x, s)\n", "[?, ?, ?]" },
    { 13, "input x: f32[N, 2, 3]\ny = Transpose(x)\n", "[3, 2, s0]" },
    { 13, "input x: f32[N, 2, 3]\ny = Transpose(x) {perm=[1, 0, 2]}\n", "[2, s0, 3]" },
    { 13, X4 "input z: f32[N, 5, ?, 9]\ny = Concat(x, z) {axis=-3}\n", "[s0, 8, 8, 9]" },
    { 13, X4 "input z: f32[N, ?, 8, 9]\ny = Concat(x, z) {axis=1}\n", "[s0, ?, 8, 9]" },
    { 13, X4 "input z: f32[2, 3, 8, 9]\ny = Concat(x, z) {axis=1}\n", "[2, 6, 8, 9]" },
    { 10, X4 "y = Pad(x) {pads=[0, 0, 1, 2, 0, 0, 1, -3]}\n", "[s0, 3, 10, 8]" },
    { 13, X4 "input p: i64[8]\ny = Pad(x, p)\n", "[?, ?, ?, ?]" },
    { 18,
      "input x: f32[N, ?, 4]\nconst p: i64[2] = {1, 2}\nconst a: i64[1] = {-1}\ny = Pad(x, p, _, "
      "a)\n",
      "[s0, ?, 7]" },
    { 13, X4 "y, mask = Dropout(x)\n", "[s0, 3, 8, 9]" },
};

static const failure_case failures[] = {
    /* convolutions */
    { 11, ED_ESHAPE, X4 W433 "y = a: Conv(x, w) {strides=[0, 1]}\n",
      "'a': attribute strides holds 0" },
    { 11, ED_ESHAPE, X4 W433 "y = Conv(x, w) {strides=[1]}\n", "strides has 1 numbers" },
    { 11, ED_ESHAPE, X4 W433 "y = Conv(x, w) {dilations=[1, -1]}\n", "dilations holds -1" },
    { 11, ED_ESHAPE, X4 W433 "y = Conv(x, w) {pads=[1, 1, -1, 1]}\n", "pads holds -1" },
    { 11, ED_ESHAPE, X4 W433 "y = Conv(x, w) {pads=[0, 0, 0, 99999999999]}\n",
      "holds 99999999999" },
    { 11, ED_ESHAPE, X4 W433 "y = Conv(x, w) {dilations=[4, 1]}\n", "the window spans 9" },
    { 11, ED_ESHAPE, X4 W433 "y = Conv(x, w) {kernel_shape=[3, 2]}\n",
      "kernel_shape is 2 where the weight has 3" },
    { 11, ED_ESHAPE, X4 W433 "y = Conv(x, w) {group=2}\n", "the weight wants 6 with group 2" },
    { 11, ED_ESHAPE, X4 W433 "y = Conv(x, w) {group=0}\n", "group is 0" },
    { 11, ED_ESHAPE, X4 W433 "y = Conv(x, w) {group=9223372036854775807}\n", "overflow" },
    { 11, ED_ESHAPE, X4 "const w: f32[4, 1, 3, 3] = fill(1)\ny = Conv(x, w) {group=3}\n",
      "4 output channels do not divide into 3 groups" },
    { 11, ED_ESHAPE, X4 "const w: f32[4, 3, 3] = fill(1)\ny = Conv(x, w)\n",
      "the weight has rank 3" },
    { 11, ED_ESHAPE, X4 "const w: f32[4, 3, 0, 3] = {}\ny = Conv(x, w)\n", "spatial size is 0" },
    { 11, ED_ESHAPE, X4 W433 "const b: f32[3] = fill(0)\ny = Conv(x, w, b)\n", "bias" },
    { 11, ED_ESHAPE, X4 W433 "const b: f32[1, 4] = fill(0)\ny = Conv(x, w, b)\n", "bias" },
    { 11, ED_EFORMAT, X4 W433 "y = Conv(x, w) {auto_pad=\"SAME\"}\n", "auto_pad" },
    { 11, ED_EUNSUPPORTED, "input x: f64[1, 3, 8, 9]\n" W433 "y = Conv(x, w)\n", "float64" },
    { 11, ED_ESHAPE, "input x: f32[1, 3]\n" W433 "y = Conv(x, w)\n", "the input has rank 2" },
    { 11, ED_EUNSUPPORTED, "input x: f32[1, 3, 4, 4, 4, 4]\ninput w: f32\ny = Conv(x, w)\n",
      "4 spatial dimensions" },
    { 11, ED_ESHAPE,
      X4 "const w: f32[3, 2, 1, 1] = fill(1)\ny = ConvTranspose(x, w) {pads=[4, 0, 4, 0]}\n",
      "would be 0" },
    { 11, ED_ESHAPE,
      X4 "const w: f32[3, 2, 1, 1] = fill(1)\ny = ConvTranspose(x, w) {output_shape=[5]}\n",
      "output_shape has 1 numbers" },
    { 11, ED_ESHAPE,
      "input x: f32[1, 3, 8, 9]\n"
      "const w: f32[3, 2, 1, 1] = fill(1)\ny = ConvTranspose(x, w) {strides=[2147483647, "
      "2147483647]}\n",
      "too large" },
    { 11, ED_ESHAPE, X4 "const w: f32[4, 2, 1, 1] = fill(1)\ny = ConvTranspose(x, w)\n",
      "the input has 3 channels; the weight wants 4" },
    /* pooling */
    { 11, ED_EFORMAT, X4 "y = p: MaxPool(x)\n", "'p': the required attribute kernel_shape" },
    { 11, ED_ESHAPE, X4 "y = MaxPool(x) {kernel_shape=[2, 2], pads=[2, 0, 0, 0]}\n",
      "padding 2 is not smaller" },
    { 11, ED_ESHAPE, X4 "y = MaxPool(x) {kernel_shape=[9, 9]}\n", "the window spans 9" },
    { 11, ED_ESHAPE, "input x: f32[1, 3, 0, 4]\ny = GlobalMaxPool(x)\n", "nothing to pool" },
    { 11, ED_ESHAPE, "input x: f32[1, 3]\ny = GlobalAveragePool(x)\n", "rank 2" },
    /* products */
    { 13, ED_ESHAPE, "input x: f32[2, 5]\ninput w: f32[4, 6]\ny = Gemm(x, w)\n", "are 5 and 4" },
    { 13, ED_ESHAPE, "input x: f32[2, 5, 1]\ninput w: f32[5, 6]\ny = Gemm(x, w)\n", "rank 3" },
    { 13, ED_ESHAPE, "input x: f32[2, 5]\ninput w: f32[5, 6]\ninput c: f32[5]\ny = Gemm(x, w, c)\n",
      "C is 5 wide where the product is 6" },
    { 9, ED_EFORMAT, "input x: f32[2, 5]\ninput w: f32[5, 6]\ny = Gemm(x, w)\n", "at least 3" },
    { 13, ED_ESHAPE, "input x: f32[2, 3, 5]\ninput w: f32[4, 5, 6]\ny = MatMul(x, w)\n",
      "batch dimension 0 is 2 and 4" },
    { 13, ED_ESHAPE, "input x: f32[]\ninput w: f32[5]\ny = MatMul(x, w)\n", "single number" },
    { 13, ED_ESHAPE, "input x: f32[5]\ninput w: f32[4, 2]\ny = MatMul(x, w)\n", "are 5 and 4" },
    /* shapes */
    { 13, ED_ESHAPE, "input x: f32[2, 5]\ny = Flatten(x) {axis=3}\n", "axis 3" },
    { 13, ED_ESHAPE, "input x: f32[4294967296, 4294967296, 2]\ny = Flatten(x) {axis=2}\n",
      "overflows" },
    { 13, ED_ESHAPE, "input x: f32[2, 5]\n" S2(3, 4) "y = r: Reshape(x, s)\n",
      "'r': the input [2, 5] does not have the elements of [3, 4]" },
    { 13, ED_ESHAPE, "input x: f32[2, 5]\n" S2(-1, 4) "y = Reshape(x, s)\n", "does not have" },
    { 13, ED_ESHAPE, "input x: f32[2, 5]\n" S2(-1, -1) "y = Reshape(x, s)\n", "-1 twice" },
    { 13, ED_ESHAPE, "input x: f32[2, 5]\n" S2(-2, 5) "y = Reshape(x, s)\n", "holds -2" },
    { 13, ED_ESHAPE, "input x: f32[10]\n" S2(-1, 0) "y = Reshape(x, s)\n", "copies dimension 1" },
    { 14, ED_ESHAPE, "input x: f32[2, 5]\n" S2(-1, 0) "y = Reshape(x, s) {allowzero=1}\n",
      "does not have" },
    { 13, ED_ESHAPE, "input x: f32[2, 5]\nconst s: i64[1, 2] = {2, 5}\ny = Reshape(x, s)\n",
      "a list" },
    { 13, ED_EUNSUPPORTED, "input x: f32[2, 5]\nconst s: i64[9] = fill(1)\ny = Reshape(x, s)\n",
      "at most 8" },
    { 13, ED_EUNSUPPORTED, "input x: f32[2, 5]\nconst s: f32[2] = fill(1)\ny = Reshape(x, s)\n",
      "float32" },
    { 13, ED_ESHAPE, "input x: f32[2, 5]\ny = Transpose(x) {perm=[0, 0]}\n", "perm holds 0" },
    { 13, ED_ESHAPE, "input x: f32[2, 5]\ny = Transpose(x) {perm=[0, 99999999999]}\n",
      "perm holds" },
    { 13, ED_ESHAPE, "input x: f32[2, 5]\ny = Transpose(x) {perm=[0]}\n", "perm has 1" },
    { 13, ED_EUNSUPPORTED, "input x: i4[2, 5]\ny = Transpose(x)\n", "int4" },
    { 13, ED_ESHAPE, "input x: f32[2, 5]\ninput z: f32[3, 6]\ny = Concat(x, z) {axis=0}\n",
      "dimension 1 of input 1" },
    { 13, ED_ESHAPE, "input x: f32[2, 5]\ninput z: f32[2]\ny = Concat(x, z) {axis=0}\n", "rank 1" },
    { 13, ED_ESHAPE, "input x: f32[2, 5]\ninput z: i64[2, 5]\ny = Concat(x, z) {axis=0}\n",
      "one type" },
    { 13, ED_EFORMAT, "input x: f32[2, 5]\ninput z: f32[2, 5]\ny = Concat(x, z)\n",
      "'axis' is missing" },
    { 13, ED_ESHAPE, "input x: f32[2, 5]\ninput z: f32[2, 5]\ny = Concat(x, z) {axis=2}\n",
      "axis 2" },
    { 10, ED_ESHAPE, "input x: f32[2, 5]\ny = Pad(x) {pads=[0, 0, 0, -6]}\n",
      "crop more than there is" },
    { 10, ED_ESHAPE, "input x: f32[2, 5]\ny = Pad(x) {pads=[0, 0]}\n", "a begin and an end" },
    { 10, ED_ESHAPE, "input x: f32[2, 5]\ny = Pad(x) {pads=[0, 0, 0, -1], mode=\"edge\"}\n",
      "negative pads" },
    { 10, ED_ESHAPE, "input x: f32[2, 0]\ny = Pad(x) {pads=[0, 1, 0, 1], mode=\"reflect\"}\n",
      "nothing to repeat" },
    { 10, ED_EUNSUPPORTED, "input x: i64[2, 5]\ny = Pad(x) {pads=[0, 0, 0, 1], value=1.5}\n",
      "value is 1.5" },
    { 18, ED_ESHAPE,
      "input x: f32[2, 5]\nconst p: i64[4] = fill(1)\nconst a: i64[2] = {1, -1}\ny = Pad(x, p, _, "
      "a)\n",
      "different dimensions" },
    { 18, ED_ESHAPE,
      "input x: f32[2, 5]\nconst p: i64[4] = fill(1)\nconst v: i64[1] = {1}\ny = Pad(x, p, v)\n",
      "constant_value is int64" },
    { 13, ED_EUNSUPPORTED, "input x: i64[2]\ninput t: bool[]\ny = Dropout(x, _, t)\n", "int64" },
    { 13, ED_ESHAPE, "input x: f32[2]\ninput r: f32[2]\ny = Dropout(x, r)\n", "one number" },
    { 11, ED_EUNSUPPORTED, "input x: f32[2]\ny, m = Dropout(x)\nz = Identity(m)\noutput z\n",
      "mask is used" },
};

static void shapes_follow(void **state)
{
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(shapes); i++)
        check_shape(&shapes[i]);
}

static void bad_nodes_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(failures); i++)
        check_failure(&failures[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_follow),
        cmocka_unit_test(bad_nodes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
