/* Input data of the cases: numbers from a hash, in integer and double steps that NumPy repeats. */
#include "case.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* FNV-1a */
uint64_t case_hash(uint64_t seed, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        seed = (seed ^ bytes[i]) * UINT64_C(0x100000001B3);
    return seed;
}

static const uint64_t first_seed = UINT64_C(0xCBF29CE484222325);

uint64_t case_key(const op_case *c)
{
    char text[CASE_TEXT + 24];
    snprintf(text, sizeof text, "%lld %s", (long long)c->opset, c->line);
    return case_hash(first_seed, text, strlen(text));
}

/* splitmix64 */
static uint64_t random_bits(uint64_t seed, int64_t i)
{
    uint64_t z = seed + ((uint64_t)i + 1) * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* A sum of four 16-bit numbers, variance 1. */
static float random_normal(uint64_t seed, int64_t i)
{
    uint64_t h = random_bits(seed, i);
    uint64_t sum = (h & 0xFFFF) + (h >> 16 & 0xFFFF) + (h >> 32 & 0xFFFF) + (h >> 48);
    return (float)(((double)sum - 131070.0) / 37837.0);
}

static int64_t random_small(uint64_t seed, int64_t i)
{
    return (int64_t)(random_bits(seed, i) % 17) - 8;
}

static float special_number(int64_t i)
{
    static const double numbers[] = { NAN,    INFINITY, -INFINITY, -0.0, 0.0,      1e30,
                                      -1e30,  1e-40,    -1e-40,    0.5,  -0.5,     1.5,
                                      2.5,    -1.5,     3.0,       -3.0, 126.5,    127.5,
                                      -128.5, 88.0,     -104.0,    6.0,  3.0000002 };
    return (float)numbers[i % (int64_t)ED_LENGTH(numbers)];
}

/* The low bytes come first. */
static void set_integer(ed_tensor *t, int64_t i, int64_t v)
{
    size_t width = ed_dtype_bits(t->dtype) / 8;
    if (t->dtype == ED_BOOL)
        v = v != 0;
    memcpy((char *)t->data + (size_t)i * width, &v, width);
}

static bool is_unsigned(ed_dtype dtype)
{
    return dtype == ED_U8 || dtype == ED_U16 || dtype == ED_U32 || dtype == ED_U64;
}

static int fill_list(ed_tensor *t, const char *list)
{
    const char *p = list + 1;
    for (int64_t i = 0; i < t->numel; i++) {
        char *end = NULL;
        if (t->dtype == ED_F32)
            ((float *)t->data)[i] = (float)strtod(p, &end);
        else if (is_unsigned(t->dtype))
            set_integer(t, i, (int64_t)strtoull(p, &end, 10));
        else
            set_integer(t, i, strtoll(p, &end, 10));
        ED_FAIL_IF(!end || end == p, ED_EFORMAT, "'%s' does not have %lld numbers of %s", list,
                   (long long)t->numel, ed_dtype_name(t->dtype));
        p = end + (*end == ',');
    }
    ED_FAIL_IF(*p != '}', ED_EFORMAT, "'%s' has more than %lld numbers", list, (long long)t->numel);
    return ED_OK;
}

static int fill_f32(ed_tensor *t, const char *generator, uint64_t seed)
{
    float *y = t->data;
    const char *open = strchr(generator, '(');
    float arg = open ? (float)strtod(open + 1, NULL) : 1.0f;
    size_t length = strcspn(generator, "(");

    for (int64_t i = 0; i < t->numel; i++) {
        if (!length || strncmp(generator, "normal", length) == 0)
            y[i] = random_normal(seed, i) * arg;
        else if (strncmp(generator, "positive", length) == 0)
            y[i] = fabsf(random_normal(seed, i)) + 0.1f;
        else if (strncmp(generator, "fill", length) == 0)
            y[i] = arg;
        else if (strncmp(generator, "halves", length) == 0)
            y[i] = (float)((double)(i - t->numel / 2) * 0.5);
        else if (strncmp(generator, "special", length) == 0)
            y[i] = special_number(i);
        else
            return ed_error_set(ED_EFORMAT, "there is no generator '%s'", generator);
    }
    return ED_OK;
}

static int64_t integer_at(const char *generator, uint64_t seed, int64_t i)
{
    if (strncmp(generator, "fill(", 5) == 0)
        return strtoll(generator + 5, NULL, 10);
    int64_t v = random_small(seed, i);
    return v == 0 && strcmp(generator, "nonzero") == 0 ? 1 : v;
}

static void fill_integers(ed_tensor *t, const char *generator, uint64_t seed)
{
    for (int64_t i = 0; i < t->numel; i++) {
        int64_t v = integer_at(generator, seed, i);
        set_integer(t, i, is_unsigned(t->dtype) ? llabs(v) : v);
    }
}

/* Other float types are made in float32 and converted. */
static bool is_float(ed_dtype dtype)
{
    return dtype == ED_F32 || dtype == ED_F64 || dtype == ED_F16;
}

int case_generate(ed_tensor **out, const op_case *c, uint32_t input)
{
    const case_input *in = &c->in[input];
    unsigned char index = (unsigned char)input;
    uint64_t seed = case_hash(first_seed, c->line, strlen(c->line));
    ed_tensor *t = NULL;
    int rc = ED_OK;

    seed = case_hash(seed, &index, 1);
    *out = NULL;
    ED_TRY(ed_tensor_new(&t, is_float(in->dtype) ? ED_F32 : in->dtype, &in->shape));
    if (in->generator[0] == '{')
        rc = fill_list(t, in->generator);
    else if (is_float(in->dtype))
        rc = fill_f32(t, in->generator, seed);
    else
        fill_integers(t, in->generator, seed);
    if (rc == ED_OK && t->dtype != in->dtype) {
        rc = ed_tensor_cast(out, t, in->dtype);
    } else if (rc == ED_OK) {
        *out = t;
        return ED_OK;
    }
    ed_tensor_free(t);
    return rc;
}
