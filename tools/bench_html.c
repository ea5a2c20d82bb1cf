/*
 * ed-bench as a page of its own: no network, no script; light and dark, phone and paper.
 */
#include "bench_page.h"

#include <math.h>

static void put_head(FILE *out, const bench *b)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<meta name=\"color-scheme\" content=\"light dark\">\n<title>",
          out);
    page_text(out, bench_file_name(b->model));
    fputs(" in INT8</title>\n<style>\n", out);
    for (size_t i = 0; bench_style[i]; i++)
        fputs(bench_style[i], out);
    fputs("</style>\n</head>\n<body>\n", out);
}

static void put_fact(FILE *out, const char *name, const char *text, int64_t samples)
{
    fprintf(out, "<div><dt>%s</dt><dd>", name);
    page_text(out, text);
    if (samples >= 0) {
        fputs(" <small>", out);
        page_count(out, (uint64_t)samples);
        fputs(samples == 1 ? " sample</small>" : " samples</small>", out);
    }
    fputs("</dd></div>\n", out);
}

static void put_facts(FILE *out, const bench *b)
{
    char text[320];
    fputs("<dl class=\"facts\">\n", out);
    put_fact(out, "Calibrated on", bench_file_name(b->calib), b->calib_samples);
    put_fact(out, "Evaluated on", bench_file_name(b->test), b->models[0].result.samples);
    if (b->train)
        put_fact(out, "Trained on", bench_file_name(b->train), b->train_samples);
    if (b->val)
        put_fact(out, "Validated on", bench_file_name(b->val), -1);
    snprintf(text, sizeof text, "for %s: %u-bit weights (scales by %s), %u-bit activations",
             b->target, b->weight_bits, b->weight_method, b->activation_bits);
    put_fact(out, "Quantized", text, -1);
    snprintf(text, sizeof text, "%s%s%s%s%s", b->device, b->device_text[0] ? ": " : "",
             b->device_text, b->precision ? ", " : "", b->precision ? b->precision : "");
    put_fact(out, "Run on", text, -1);
    snprintf(text, sizeof text, "%s by ed %s", b->date, ed_version());
    put_fact(out, "Made", text, -1);
    fputs("</dl>\n", out);
}

/* The answer in a sentence, before all figures. */
static void put_answer(FILE *out, const bench *b)
{
    size_t best = bench_best(b);
    const bench_model *m = &b->models[best];
    fputs("<p class=\"answer\">", out);
    if (bench_labelled(b)) {
        double drop = bench_drop(b, best);
        fputs("Best of ", out);
        page_count(out, b->count - 1);
        fputs(": <strong>", out);
        page_text(out, m->name);
        fputs("</strong> with <strong>", out);
        page_number(out, m->result.top1, 2);
        fputs(" %</strong> top-1, ", out);
        if (fabs(drop) < 0.005)
            fputs("as much as", out);
        else {
            page_number(out, fabs(drop), 2);
            fputs(drop > 0 ? " points below" : " points above", out);
        }
        fputs(" float.", out);
    } else {
        fputs("Closest to float: <strong>", out);
        page_text(out, m->name);
        fputs("</strong> with <strong>", out);
        page_decibel(out, m->result.sqnr_db);
        fputs(" dB</strong>. The test data has no labels: agreement and SQNR only.", out);
    }
    fputs("</p>\n", out);
}

/* ---- the table ---- */

typedef enum column { TOP1, TOP5, DROP, AGREEMENT, SQNR, SECONDS, COLUMNS } column;

/* NaN where there is nothing to tell. */
static double figure_of(const bench *b, size_t i, column c)
{
    const ed_eval_result *r = &b->models[i].result;
    bool labelled = bench_labelled(b);
    switch (c) {
    case TOP1:
        return labelled ? r->top1 : NAN;
    case TOP5:
        return labelled ? r->top5 : NAN;
    case DROP:
        return labelled && i ? bench_drop(b, i) : NAN;
    case AGREEMENT:
        return i ? r->agreement : NAN;
    case SQNR:
        return i ? r->sqnr_db : NAN;
    default:
        return i ? b->models[i].seconds : NAN;
    }
}

/* As it is printed: what looks equal is equally good. */
static double rounded(double value)
{
    return isfinite(value) ? rint(value * 100) : value;
}

/* None is where all are. */
static bool is_best(const bench *b, size_t i, column c)
{
    double sign = c == DROP ? -1 : 1, own = rounded(figure_of(b, i, c));
    bool differ = false;
    if (!i || isnan(own) || c == SECONDS)
        return false;
    for (size_t k = 1; k < b->count; k++) {
        double other = rounded(figure_of(b, k, c));
        differ = differ || other != own;
        if (sign * other > sign * own)
            return false;
    }
    return differ;
}

/* Lost points: none, up to half a point, up to two, more. */
static const char *drop_style(double drop)
{
    double lost = rounded(drop) / 100;
    return isnan(lost)   ? ""
           : lost <= 0   ? " none"
           : lost <= 0.5 ? " little"
           : lost <= 2   ? " some"
                         : " much";
}

static void put_cell(FILE *out, const bench *b, size_t i, column c)
{
    double value = figure_of(b, i, c);
    bool best = is_best(b, i, c);
    fprintf(out, "<td class=\"num%s\">%s", c == DROP ? drop_style(value) : "",
            best ? "<strong>" : "");
    if (c == SQNR)
        page_decibel(out, value);
    else
        page_number(out, value, 2);
    fputs(best ? "</strong></td>" : "</td>", out);
}

static void put_results(FILE *out, const bench *b)
{
    /* with a soft hyphen in the longest one */
    static const char *const titles[COLUMNS] = { "Top-1 %", "Top-5 %",
                                                 "Drop",    "Agree\302\255ment %",
                                                 "SQNR dB", "Seconds" };
    fputs("<section aria-labelledby=\"results\"><h2 id=\"results\">Results</h2>\n"
          "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Results\"><table "
          "class=\"results\"><thead><tr><th "
          "scope=\"col\">Model</th>",
          out);
    for (int c = 0; c < COLUMNS; c++)
        fprintf(out, "<th scope=\"col\" class=\"num\">%s</th>", titles[c]);
    fputs("</tr></thead><tbody>\n", out);
    for (size_t i = 0; i < b->count; i++) {
        bool best = b->count > 2 && i == bench_best(b);
        fprintf(out, "<tr><th scope=\"row\">%s", best ? "<strong>" : "");
        page_text(out, b->models[i].name);
        fprintf(out, "%s</th>", best ? "</strong>" : "");
        for (int c = 0; c < COLUMNS; c++)
            put_cell(out, b, i, (column)c);
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>\n<p class=\"note\">Drop: points of top-1 lost against float. "
          "Agreement: samples with float\xe2\x80\x99s answer. SQNR: of the first output. The best "
          "are bold. Seconds: calibration by this method alone, or training; all methods shared a "
          "pass of ",
          out);
    page_number(out, b->times[0].pass, 2);
    fputs(" s, and the evaluation of all models took ", out);
    page_number(out, b->evaluation, 2);
    fputs(" s. One test sample is ", out);
    page_number(out, 100.0 / (double)b->models[0].result.samples, 2);
    fputs(" points.</p>\n</section>\n", out);
}

int bench_html(FILE *out, const void *ctx)
{
    const bench *b = ctx;
    put_head(out, b);
    fputs("<header><p class=\"kicker\">Quantization compared</p><h1>", out);
    page_text(out, bench_file_name(b->model));
    fputs("</h1>\n", out);
    put_answer(out, b);
    put_facts(out, b);
    fputs("</header>\n<main>\n", out);
    put_results(out, b);
    page_groups(out, b);
    page_training(out, b);
    page_histograms(out, b);
    fputs("</main>\n</body>\n</html>\n", out);
    return ED_OK;
}
