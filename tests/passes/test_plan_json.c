/* The plan's file: what is written, what an edited one does, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/strbuf.h"
#include "passes/plan.h"

#include <string.h>
#include <unistd.h>

static const char *const model = "graph g opset 17\n"
                                 "input x: f32[N, 3, 8, 8]\n"
                                 "const w1: f32[4, 3, 3, 3] = random(1)\n"
                                 "const w2: f32[4, 4, 1, 1] = random(2)\n"
                                 "const b: f32[4] = {0.5, 1, -1, 2}\n"
                                 "c = conv1: Conv(x, w1, b)\n"
                                 "r = relu1: Relu(c)\n"
                                 "p = pool: MaxPool(r) {kernel_shape=[2, 2]}\n"
                                 "y = conv2: Conv(p, w2, b)\n"
                                 "output y\n";
static const char *const file = "test_plan.json";

static ed_graph *load(const char *text)
{
    ed_graph *g;
    if (ed_graph_parse(&g, text) != ED_OK)
        fail_msg("%s", ed_error_last());
    return g;
}

/* The plan of the model as text. */
static char *written(const ed_graph *g, const ed_plan_options *opts)
{
    ed_plan *plan;
    void *text = NULL;
    size_t size = 0;
    if (ed_plan_build(&plan, g, ED_PHASE_ALL, opts) != ED_OK ||
        ed_plan_write_json(plan, file) != ED_OK || ed_file_read(&text, &size, file) != ED_OK)
        fail_msg("%s", ed_error_last());
    ed_plan_free(plan);
    char *copy = ed_malloc(size + 1);
    memcpy(copy, text, size);
    copy[size] = 0;
    ed_free(text);
    return copy;
}

/* Replace the first `from`; a text that is not there is a defect of the test. */
static char *edit(char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    if (!at)
        fail_msg("the plan has no %s:\n%s", from, text);
    char *edited = ed_asprintf("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    ed_free(text);
    return edited;
}

/* Switch the match of `pattern`: true to false, or false to true. */
static char *flip(char *text, const char *pattern)
{
    char *key = ed_asprintf("\"%s\": {\"apply\": ", pattern), *at = strstr(text, key);
    if (!at)
        fail_msg("the plan has no %s:\n%s", key, text);
    bool on = strncmp(at + strlen(key), "true", 4) == 0;
    char *from = ed_asprintf("%s%s", key, on ? "true" : "false");
    char *to = ed_asprintf("%s%s", key, on ? "false" : "true");
    text = edit(text, from, to);
    ed_free(key);
    ed_free(from);
    ed_free(to);
    return text;
}

static int read_text(ed_plan **plan, const ed_graph *g, const char *text,
                     const ed_plan_options *opts)
{
    return ed_plan_read_json_memory(plan, g, text, strlen(text), "p.json", opts);
}

static bool is_on(const ed_plan *plan, const char *pattern, const char *anchor)
{
    for (size_t i = 0; i < ed_plan_count(plan); i++) {
        const ed_match_info *m = ed_plan_at(plan, i);
        if (strcmp(m->pattern, pattern) == 0 && strcmp(m->anchor, anchor) == 0)
            return m->apply;
    }
    fail_msg("no match of %s at %s", pattern, anchor);
    return false;
}

static void test_unedited(void **state)
{
    (void)state;
    ed_graph *g = load(model);
    ed_plan *plan, *fresh;
    char *text = written(g, NULL);
    assert_non_null(strstr(text, "\"StemConvBNReLUMaxPool\": {\"apply\": true, \"reason\": null, "
                                 "\"nodes\": [\"conv1\", \"relu1\", \"pool\"], "
                                 "\"inputs\": [\"x\", \"w1\", \"b\"]}"));
    assert_int_equal(ed_plan_read_json(&plan, g, file, NULL), ED_OK);
    assert_int_equal(ed_plan_build(&fresh, g, ED_PHASE_ALL, NULL), ED_OK);
    assert_int_equal(ed_plan_count(plan), ed_plan_count(fresh));
    for (size_t i = 0; i < ed_plan_count(plan); i++) {
        const ed_match_info *a = ed_plan_at(plan, i), *b = ed_plan_at(fresh, i);
        assert_string_equal(a->pattern, b->pattern);
        assert_string_equal(a->anchor, b->anchor);
        assert_true(a->apply == b->apply);
    }
    ed_plan_free(plan);
    ed_plan_free(fresh);
    ed_free(text);
    ed_graph_free(g);
}

static void test_switched_off(void **state)
{
    (void)state;
    ed_graph *g = load(model);
    ed_plan *plan;
    char *text = flip(written(g, NULL), "StemConvBNReLUMaxPool");
    assert_int_equal(read_text(&plan, g, text, NULL), ED_OK);
    assert_false(is_on(plan, "StemConvBNReLUMaxPool", "pool"));
    assert_true(is_on(plan, "ConvBNReLU", "relu1")); /* its nodes are free again */
    /* written and read again, the effect is the same */
    assert_int_equal(ed_plan_write_json(plan, file), ED_OK);
    ed_plan_free(plan);
    assert_int_equal(ed_plan_read_json(&plan, g, file, NULL), ED_OK);
    assert_false(is_on(plan, "StemConvBNReLUMaxPool", "pool"));
    assert_true(is_on(plan, "ConvBNReLU", "relu1"));
    ed_plan_free(plan);
    /* on again by hand: the reason is still there */
    ed_free(text);
    void *again;
    size_t size;
    assert_int_equal(ed_file_read(&again, &size, file), ED_OK);
    text = ed_asprintf("%.*s", (int)size, (char *)again);
    ed_free(again);
    text = flip(text, "StemConvBNReLUMaxPool");
    assert_int_equal(read_text(&plan, g, text, NULL), ED_OK);
    assert_true(is_on(plan, "StemConvBNReLUMaxPool", "pool"));
    assert_false(is_on(plan, "ConvBNReLU", "relu1"));
    ed_plan_free(plan);
    ed_free(text);
    ed_graph_free(g);
}

static void test_switched_on(void **state)
{
    (void)state;
    ed_graph *g = load(model);
    ed_plan *plan;
    char *text = flip(written(g, NULL), "ConvBNReLU");
    assert_int_equal(read_text(&plan, g, text, NULL), ED_EINVAL);
    assert_null(plan);
    assert_non_null(strstr(ed_error_last(), "ConvBNReLU at 'relu1'"));
    assert_non_null(strstr(ed_error_last(), "StemConvBNReLUMaxPool at pool"));
    text = flip(text, "StemConvBNReLUMaxPool"); /* now its nodes are free */
    assert_int_equal(read_text(&plan, g, text, NULL), ED_OK);
    assert_true(is_on(plan, "ConvBNReLU", "relu1"));
    ed_plan_free(plan);
    ed_free(text);
    ed_graph_free(g);
}

/* Options that the plan was made with are part of it. */
static void test_options_are_kept(void **state)
{
    (void)state;
    ed_graph *g = load(model);
    ed_plan *plan;
    const char *exclude = "conv1", *rule = "skip-narrow-conv";
    const ed_plan_options opts = {
        .exclude = &exclude, .exclude_count = 1, .rules = &rule, .rules_count = 1
    };
    char *text = written(g, &opts);
    assert_int_equal(read_text(&plan, g, text, NULL), ED_OK);
    assert_int_equal(ed_plan_point_count(plan), 0);
    ed_plan_free(plan);
    const ed_plan_options fusions = { .patterns = ED_TENSORRT_FUSION_PATTERNS };
    ed_free(text);
    text = written(g, &fusions);
    assert_int_equal(read_text(&plan, g, text, NULL), ED_OK);
    for (size_t i = 0; i < ed_plan_count(plan); i++)
        assert_int_equal(ed_plan_at(plan, i)->phase, ED_PHASE_FUSE);
    ed_plan_free(plan);
    const ed_plan_options target = { .target = "toaster" };
    assert_int_equal(read_text(&plan, g, text, &target), ED_EMISMATCH);
    ed_free(text);
    ed_graph_free(g);
}

static void test_another_model(void **state)
{
    (void)state;
    ed_graph *g = load(model), *other;
    ed_plan *plan;
    char *text = written(g, NULL), *changed = ed_strdup(model);
    changed = edit(changed, "random(2)", "random(9)"); /* one weight */
    other = load(changed);
    assert_int_equal(read_text(&plan, other, text, NULL), ED_EMISMATCH);
    assert_non_null(strstr(ed_error_last(), "p.json"));
    assert_non_null(strstr(ed_error_last(), "another model"));
    ed_free(text);
    ed_free(changed);
    ed_graph_free(g);
    ed_graph_free(other);
}

static void test_refused_files(void **state)
{
    (void)state;
    const struct {
        const char *from, *to;
        int code;
        const char *sentence;
    } rows[] = {
        { "\"format\": \"ed-plan\"", "\"format\": 3", ED_EFORMAT, "'format'" },
        { "\"format\": \"ed-plan\"", "\"format\": \"ed-ranges\"", ED_EFORMAT, "no plan" },
        { "\"version\": 1", "\"version\": 2", ED_EFORMAT, "'version'" },
        { "\"version\": 1", "\"version\": \"1\"", ED_EFORMAT, "'version'" },
        { "\"model_hash\": ", "\"model_hash\": null, \"tool2\": ", ED_EFORMAT, "'tool2'" },
        { "\"model_hash\": ", "\"model_hash\": [], \"tool\": ", ED_EFORMAT, "line" },
        { "\"target\": \"tensorrt\"", "\"target\": \"toaster\"", ED_ENOTFOUND, "'toaster'" },
        { "\"target\": \"tensorrt\"", "\"target\": null", ED_EFORMAT, "'target' is null" },
        { "\"conversions\", \"fusions\"", "\"conversions\", \"fission\"", ED_EFORMAT,
          "patterns[1] is 'fission'" },
        { "\"exclude\": []", "\"exclude\": {}", ED_EFORMAT, "'exclude' is an object" },
        { "\"rules\": []", "\"rules\": [1]", ED_EFORMAT, "rules[0] is a number" },
        { "\"rules\": []", "\"rules\": [\"x\"]", ED_ENOTFOUND, "'x'" },
        { "\"fusions\": {", "\"fusions\": [], \"more\": {", ED_EFORMAT, "'more' is unknown" },
        { "\"pool\": {", "\"pool\": 5, \"pool2\": {", ED_EFORMAT, "pool is a number" },
        { "\"pool\": {", "\"pond\": {", ED_ENOTFOUND, "'pond'" },
        { "\"pool\": {", "\"\": {", ED_ENOTFOUND, "''" },
        { "\"StemConvBNReLUMaxPool\"", "\"StemCell\"", ED_ENOTFOUND, "'StemCell'" },
        { "\"StemConvBNReLUMaxPool\"", "\"ConvBNAddReLU\"", ED_ENOTFOUND,
          "ConvBNAddReLU does not match at 'pool'" },
        { "\"apply\": true", "\"apply\": \"yes\"", ED_EFORMAT, "'apply' is a text" },
        { "\"apply\": true, ", "", ED_EFORMAT, "'apply' is missing" },
        { "\"reason\": null", "\"reason\": 7", ED_EFORMAT, "'reason' is a number" },
        { "\"reason\": null", "\"season\": null", ED_EFORMAT, "'season' is unknown" },
        { "\"nodes\": [", "\"nodes\": [null, ", ED_EFORMAT, "nodes[0] is null" },
        { "\"inputs\": [", "\"inputs\": [[], ", ED_EFORMAT, "inputs[0] is a list" },
        { "\"apply\": true", "\"apply\": true, \"apply\": false", ED_EFORMAT, "duplicate" },
        { "{", "", ED_EFORMAT, "line 2" },
        { "{", "[", ED_EFORMAT, "line" },
        { "{", "\xff{", ED_EFORMAT, "line 1" },
    };
    ed_graph *g = load(model);
    for (size_t i = 0; i < ED_LENGTH(rows); i++) {
        ed_plan *plan;
        char *text = edit(written(g, NULL), rows[i].from, rows[i].to);
        int rc = read_text(&plan, g, text, NULL);
        if (rc != rows[i].code || plan || !strstr(ed_error_last(), rows[i].sentence) ||
            (rows[i].code != ED_ENOTFOUND && strncmp(ed_error_last(), "p.json: ", 8) != 0))
            fail_msg("row %zu: %d %s", i, rc, ed_error_last());
        ed_free(text);
    }
    const char *const wholes[] = { "", "null", "[]", "3", "{}", "\"ed-plan\"" };
    for (size_t i = 0; i < ED_LENGTH(wholes); i++) {
        ed_plan *plan;
        assert_int_equal(read_text(&plan, g, wholes[i], NULL), ED_EFORMAT);
    }
    ed_graph_free(g);
}

/* Any prefix of a plan is refused, and none crashes. */
static void test_truncated(void **state)
{
    (void)state;
    ed_graph *g = load(model);
    char *text = written(g, NULL);
    size_t size = strlen(text) - 2; /* without "}\n" */
    for (size_t n = 0; n <= size; n += 5) {
        ed_plan *plan;
        assert_int_equal(ed_plan_read_json_memory(&plan, g, text, n, "p.json", NULL), ED_EFORMAT);
    }
    ed_free(text);
    ed_graph_free(g);
}

static void test_names_in_json(void **state)
{
    (void)state;
    ed_graph *g = load("graph g opset 17\ninput x: f32[N, 3, 8, 8]\n"
                       "const w: f32[4, 3, 1, 1] = random(1)\n"
                       "c = \"a \\\\ \xc3\xa4/b\": Conv(x, w)\noutput c\n");
    ed_plan *plan;
    char *text = written(g, NULL);
    assert_int_equal(read_text(&plan, g, text, NULL), ED_OK);
    ed_plan_free(plan);
    g->nodes[0].name = "not \xff UTF-8";
    assert_int_equal(ed_plan_build(&plan, g, ED_PHASE_ALL, NULL), ED_OK);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(ed_plan_write_json(plan, file), ED_EFORMAT);
    assert_non_null(strstr(ed_error_last(), "UTF-8"));
    assert_int_not_equal(access(file, F_OK), 0);
    assert_int_equal(ed_plan_write_json(plan, "/nowhere/plan.json"), ED_EIO);
    ed_plan_free(plan);
    ed_free(text);
    ed_graph_free(g);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    ed_graph *g = load(model);
    ed_plan *plan;
    char *text = flip(written(g, NULL), "StemConvBNReLUMaxPool");
    ed_alloc_fail_at(0);
    assert_int_equal(read_text(&plan, g, text, NULL), ED_OK);
    ed_plan_free(plan);
    long total = ed_alloc_count();
    assert_true(total > 100);
    for (long n = 1; n <= total; n++) {
        ed_alloc_fail_at(n);
        int rc = read_text(&plan, g, text, NULL);
        if (rc != ED_ENOMEM || plan)
            fail_msg("allocation %ld of %ld: %d %s", n, total, rc, ed_error_last());
    }
    ed_alloc_fail_at(0);
    ed_free(text);
    ed_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unedited),
        cmocka_unit_test(test_switched_off),
        cmocka_unit_test(test_switched_on),
        cmocka_unit_test(test_options_are_kept),
        cmocka_unit_test(test_another_model),
        cmocka_unit_test(test_refused_files),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_names_in_json),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
