/* `deterministic` on the CPU: an output has the same bits whichever other values are read. */
#include "exec_check.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

/* The nodes, and what is read besides y. */
typedef struct sample {
    const char *nodes, *read;
} sample;

#define CONV                                                                                       \
    "input x: f32[N, 4, 6, 6]\nconst w: f32[24, 4, 3, 3] = random(1)\nconst b: f32[24] = "         \
    "random(2)\nc = Conv(x, w, b) @a\n"
#define MATMUL                                                                                     \
    "input x: f32[N, 9, 16]\nconst w: f32[16, 32] = random(1)\nconst b: f32[32] = "                \
    "random(2)\nm = MatMul(x, w) @a\nc = Add(m, b) @a\n"
#define ERF                                                                                        \
    "const r: f32[] = {1.41421354}\nconst one: f32[] = {1}\nconst h: f32[] = {0.5}\n"              \
    "d = Div(c, r) @a\ne = Erf(d) @a\nf = Add(e, one) @a\ng = Mul(c, f) @a\ny = Mul(g, h) @a\n"

static const sample samples[] = {
    { CONV "y = Relu(c) @a\n", "c" },
    { CONV "y = LeakyRelu(c) {alpha=0.3} @a\n", "c" },
    { CONV "y = HardSwish(c) @a\n", "c" },
    { CONV "y = HardSigmoid(c) @a\n", "c" },
    { CONV "y = Sigmoid(c) @a\n", "c" },
    { CONV "y = Tanh(c) @a\n", "c" },
    { CONV "s = Sigmoid(c) @a\ny = Mul(c, s) @a\n", "s" },
    { CONV "s = Tanh(c) @a\ny = Mul(c, s) @a\n", "s" },
    { CONV "s = HardSigmoid(c) @a\ny = Mul(c, s) @a\n", "s" },
    { CONV "s = HardSwish(c) @a\ny = Mul(c, s) @a\n", "s" },
    { CONV "s = Erf(c) @a\ny = Exp(s) @a\n", "s" },
    { CONV "input z: f32[N, 24, 4, 4]\nd = Add(c, z) @a\ny = Relu(d) @a\n", "d" },
    { CONV "input z: f32[N, 24, 4, 4]\nd = Add(c, z) @a\ny = Relu(d) @a\n", "z" },
    { MATMUL "y = Relu(c) @a\n", "c" },
    { MATMUL "y = Tanh(c) @a\n", "c" },
    { MATMUL "s = Sigmoid(c) @a\ny = Mul(c, s) @a\n", "c" },
    { MATMUL ERF, "c" },
    { MATMUL ERF, "e" },
    { "input x: f32[N, 9, 16]\nconst k: f32[16, 9] = random(1)\nconst v: f32[9, 16] = random(2)\n"
      "s = MatMul(x, k) @a\np = Softmax(s) @a\ny = MatMul(p, v) @a\n",
      "p" },
};

static compiled run_sample(const sample *s, bool read)
{
    const ed_exec_options deterministic = { .deterministic = true };
    char text[2048];
    snprintf(text, sizeof text, "graph t opset 17\n%s%s%s%soutput y\n", s->nodes,
             read ? "q = Exp(" : "", read ? s->read : "", read ? ")\noutput q\n" : "");
    compiled c = compile_text(text, 3, &deterministic);
    run(&c);
    return c;
}

static void the_same_bits_whatever_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < ED_LENGTH(samples); i++) {
        compiled one = run_sample(&samples[i], false), two = run_sample(&samples[i], true);
        const ed_tensor *a = one.outputs[0], *b = two.outputs[1];
        assert_int_equal(a->nbytes, b->nbytes);
        if (memcmp(a->data, b->data, a->nbytes) != 0)
            fail_msg("other bits when %s is read in\n%s", samples[i].read, samples[i].nodes);
        release(&one);
        release(&two);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_same_bits_whatever_is_read) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
