/*
 * One attention head: y = Softmax(scale Q K^T + mask) V, with nothing but y written to memory.
 *
 * K^T and V are copied once, their rows padded with zeros to whole vectors. Then six rows of Q at a
 * time: their scores, the exponentials, and the product with V stay in the first level cache; the
 * division by the sum comes last. Both products run in register tiles of 6 rows x up to 4 vectors
 * of 512 bits, or 2 of 256.
 */
#include "ops/attention_kernel.h"

#include "base/clones.h"
#include "ops/vector_math.h"

enum { ROWS = 6, LANES = 16 };

static int64_t padded(int64_t n)
{
    return (n + LANES - 1) / LANES * LANES;
}

size_t ed_head_scratch(int64_t m, int64_t d, int64_t dv)
{
    return (size_t)(d * padded(m) + m * padded(dv) + ROWS * (padded(m) + padded(dv)));
}

/* tile: c [ROWS, vectors] = a [ROWS, k] b [k, vectors], in registers; `vectors` is a constant where
 * this is inlined. product: c [ROWS, n] = a [ROWS, k] b [k, n]; n is a multiple of LANES. */
#define DEFINE_PRODUCT(bits, most)                                                                 \
    typedef float vec##bits __attribute__((vector_size(bits / 8)));                                \
    ED_BODY void tile##bits(float *c, int64_t c_row, const float *const *a, const float *b,        \
                            int64_t b_row, int64_t k, int vectors)                                 \
    {                                                                                              \
        const float *a0 = a[0], *a1 = a[1], *a2 = a[2], *a3 = a[3], *a4 = a[4], *a5 = a[5];        \
        vec##bits sum[ROWS][most], x;                                                              \
        for (int r = 0; r < ROWS; r++)                                                             \
            for (int w = 0; w < vectors; w++)                                                      \
                sum[r][w] = (vec##bits){ 0 };                                                      \
        for (int64_t i = 0; i < k; i++)                                                            \
            for (int w = 0; w < vectors; w++) {                                                    \
                memcpy(&x, b + i * b_row + w * (bits / 32), sizeof x);                             \
                sum[0][w] += x * a0[i];                                                            \
                sum[1][w] += x * a1[i];                                                            \
                sum[2][w] += x * a2[i];                                                            \
                sum[3][w] += x * a3[i];                                                            \
                sum[4][w] += x * a4[i];                                                            \
                sum[5][w] += x * a5[i];                                                            \
            }                                                                                      \
        for (int r = 0; r < ROWS; r++)                                                             \
            for (int w = 0; w < vectors; w++)                                                      \
                memcpy(c + r * c_row + w * (bits / 32), &sum[r][w], sizeof x);                     \
    }                                                                                              \
    ED_BODY void product##bits(float *c, const float *const *a, const float *b, int64_t k,         \
                               int64_t n)                                                          \
    {                                                                                              \
        const int64_t lanes = bits / 32;                                                           \
        int64_t j = 0;                                                                             \
        for (; n - j >= most * lanes; j += most * lanes)                                           \
            tile##bits(c + j, n, a, b + j, n, k, most);                                            \
        if (most > 2 && n - j == 3 * lanes)                                                        \
            tile##bits(c + j, n, a, b + j, n, k, most > 2 ? 3 : 1);                                \
        else if (most > 2 && n - j == 2 * lanes)                                                   \
            tile##bits(c + j, n, a, b + j, n, k, most > 2 ? 2 : 1);                                \
        else if (most > 1 && n - j == lanes)                                                       \
            tile##bits(c + j, n, a, b + j, n, k, 1);                                               \
    }
DEFINE_PRODUCT(512, 4) /* 24 of 32 registers are sums */
DEFINE_PRODUCT(256, 2) /* 12 of 16 */

ED_BODY void product(float *c, const float *const *a, const float *b, int64_t k, int64_t n,
                     bool wide)
{
    if (wide)
        product512(c, a, b, k, n);
    else
        product256(c, a, b, k, n);
}

/* x = exp(x - max x), its m elements; the padding behind them, up to n, becomes 0. Returns the sum.
 */
ED_BODY float exponentials(float *x, int64_t m, int64_t n)
{
    float lane[LANES];
    for (int64_t j = m; j < n; j++)
        x[j] = -INFINITY;
    memcpy(lane, x, sizeof lane);
    for (int64_t j = LANES; j < n; j += LANES) /* NaN makes the row NaN through the sum */
        for (int l = 0; l < LANES; l++)
            lane[l] = x[j + l] > lane[l] ? x[j + l] : lane[l];
    for (int half = LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++)
            lane[l] = lane[l + half] > lane[l] ? lane[l + half] : lane[l];
    const float top = lane[0];
    for (int64_t j = 0; j < n; j += LANES) {
        ED_INDEPENDENT
        for (int l = 0; l < LANES; l++)
            x[j + l] = ed_vector_exp(x[j + l] - top);
    }
    for (int64_t j = m; j < n; j++)
        x[j] = 0.0f;
    memcpy(lane, x, sizeof lane);
    for (int64_t j = LANES; j < n; j += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += x[j + l];
    for (int half = LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}

ED_BODY void add_mask(float *x, const ed_head *h, int64_t row)
{
    const float *mask = h->mask + row * h->mask_row;
    if (h->mask_column == 1)
        for (int64_t j = 0; j < h->m; j++)
            x[j] += mask[j];
    else
        for (int64_t j = 0; j < h->m; j++)
            x[j] += mask[j * h->mask_column];
}

/* scale K^T */
static void copy_keys(float *kt, const ed_head *h)
{
    int64_t width = padded(h->m);
    for (int64_t j = 0; j < width; j += LANES)
        for (int64_t c = 0; c < h->d; c++)
            for (int64_t l = j; l < j + LANES; l++)
                kt[c * width + l] =
                    l < h->m ? h->k[l * h->k_row + c * h->k_column] * h->scale : 0.0f;
}

static void copy_values(float *v, const ed_head *h)
{
    int64_t width = padded(h->dv);
    for (int64_t j = 0; j < h->m; j++) {
        memcpy(v + j * width, h->v + j * h->v_row, (size_t)h->dv * sizeof *v);
        memset(v + j * width + h->dv, 0, (size_t)(width - h->dv) * sizeof *v);
    }
}

ED_BODY void run_body(const ed_head *h, float *scratch, bool wide)
{
    int64_t width = padded(h->m), out = padded(h->dv);
    float *kt = scratch, *v = kt + h->d * width, *score = v + h->m * out, *y = score + ROWS * width;
    float sum[ROWS];
    const float *a[ROWS];
    copy_keys(kt, h);
    copy_values(v, h);
    for (int64_t i = 0; i < h->n; i += ROWS) {
        int64_t rows = h->n - i < ROWS ? h->n - i : ROWS;
        for (int r = 0; r < ROWS; r++) /* the last block repeats its last row */
            a[r] = h->q + (i + (r < rows ? r : rows - 1)) * h->q_row;
        product(score, a, kt, h->d, width, wide);
        for (int r = 0; r < ROWS; r++) {
            a[r] = score + r * width;
            if (h->mask)
                add_mask(score + r * width, h, i + (r < rows ? r : rows - 1));
            sum[r] = exponentials(score + r * width, h->m, width);
        }
        product(y, a, v, h->m, out, wide);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < h->dv; c++)
                h->y[(i + r) * h->y_row + c] = y[r * out + c] / sum[r];
    }
}
ED_CLONES_VOID(run, (const ed_head *h, float *scratch, bool wide), (h, scratch, wide))

void ed_head_run(const ed_head *head, float *scratch)
{
#if defined(__x86_64__)
    run(head, scratch, __builtin_cpu_supports("avx512f"));
#else
    run(head, scratch, false);
#endif
}
