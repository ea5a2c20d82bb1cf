/*
 * The page's section of training: loss and accuracy over the steps, and a line per epoch.
 */
#include "bench_page.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 360, HEIGHT = 200, LEFT = 54, RIGHT = 8, TOP = 10, BOTTOM = 26, POINTS = 200 };

typedef double (*figure)(const ed_qat_report *point);

static double loss_of(const ed_qat_report *p)
{
    return p->loss;
}
static double accuracy_of(const ed_qat_report *p)
{
    return p->accuracy >= 0 ? p->accuracy : NAN;
}
static double val_loss_of(const ed_qat_report *p)
{
    return p->val_loss >= 0 ? p->val_loss : NAN;
}
static double val_accuracy_of(const ed_qat_report *p)
{
    return p->val_accuracy >= 0 ? p->val_accuracy : NAN;
}

static double speed_of(const ed_qat_report *p)
{
    return p->images_per_second;
}

/* One chart: training by step, validation by epoch; either may be NULL. Losses have a chart each:
 * that of training may be of another kind than that of validation. */
typedef struct chart {
    const bench *b;
    const char *title;
    figure train, val;
    double low, high; /* of the axis */
    double tick;
} chart;

/* The mean of the points that share a place, so that a long run stays readable. */
static double mean_of(const bench_curve *c, size_t from, size_t to, figure f)
{
    double sum = 0;
    size_t n = 0;
    for (size_t i = from; i < to; i++) {
        double y = f(&c->points[i]);
        if (isfinite(y)) {
            sum += y;
            n++;
        }
    }
    return n ? sum / (double)n : NAN;
}

static size_t places(const bench_curve *c)
{
    return c->count < POINTS ? c->count : POINTS;
}

static double at_place(const bench_curve *c, size_t i, figure f)
{
    size_t n = places(c);
    return mean_of(c, i * c->count / n, (i + 1) * c->count / n, f);
}

/* 1, 2 or 5 times a power of ten, about a fourth of the span. */
static double tick_of(double span)
{
    double power = pow(10, floor(log10(span / 4))), factor = span / 4 / power;
    return power * (factor < 1.2 ? 1 : factor < 2.5 ? 2 : factor < 6 ? 5 : 10);
}

static void widen(double *low, double *high, double y)
{
    if (isfinite(y)) {
        *low = fmin(*low, y);
        *high = fmax(*high, y);
    }
}

/* False: there is nothing to draw. */
static bool scale_axis(chart *c)
{
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; c->train && i < places(&c->b->steps); i++)
        widen(&low, &high, at_place(&c->b->steps, i, c->train));
    for (size_t i = 0; c->val && i < c->b->epochs.count; i++)
        widen(&low, &high, c->val(&c->b->epochs.points[i]));
    if (!isfinite(low))
        return false;
    double span = high > low ? high - low : fmax(fabs(high), 1) * 0.1;
    c->tick = tick_of(span);
    c->low = floor(low / c->tick) * c->tick;
    c->high = ceil(high / c->tick) * c->tick;
    if (c->high > c->low)
        return true;
    if (c->low > 0) /* room below: 100 % stays the top */
        c->low -= c->tick;
    else
        c->high += c->tick;
    return true;
}

static double x_of(const chart *c, double step)
{
    const ed_qat_report *last = &c->b->steps.points[c->b->steps.count - 1];
    double steps = last->step > 1 ? (double)last->step : 1;
    return LEFT + step / steps * (WIDTH - LEFT - RIGHT);
}

static double y_of(const chart *c, double y)
{
    return TOP + (c->high - y) / (c->high - c->low) * (HEIGHT - TOP - BOTTOM);
}

static void put_axes(FILE *out, const chart *c)
{
    const ed_qat_report *last = &c->b->steps.points[c->b->steps.count - 1];
    int ticks = (int)lround((c->high - c->low) / c->tick);
    for (int i = 0; i <= ticks; i++) {
        double value = c->low + i * c->tick, y = y_of(c, value);
        fprintf(out,
                "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" "
                "text-anchor=\"end\">%.6g</text>",
                LEFT, y, WIDTH - RIGHT, LEFT - 6, y + 3.5, value);
    }
    fprintf(out,
            "<text x=\"%d\" y=\"%d\">0</text><text x=\"%d\" y=\"%d\" text-anchor=\"end\">step "
            "%lld</text>",
            LEFT, HEIGHT - 8, WIDTH - RIGHT, HEIGHT - 8, (long long)last->step);
}

static void put_training(FILE *out, const chart *c)
{
    const bench_curve *steps = &c->b->steps;
    size_t n = places(steps);
    bool begun = false;
    if (!c->train)
        return;
    fputs("<path class=\"line\" d=\"", out);
    for (size_t i = 0; i < n; i++) {
        double y = at_place(steps, i, c->train);
        const ed_qat_report *p = &steps->points[(i + 1) * steps->count / n - 1];
        if (isfinite(y))
            fprintf(out, "%c%.1f %.1f", begun ? 'L' : 'M', x_of(c, (double)p->step), y_of(c, y));
        begun = begun || isfinite(y);
    }
    fputs("\"/>", out);
}

static void put_validation(FILE *out, const chart *c)
{
    for (int circles = 0; c->val && circles < 2; circles++) {
        bool begun = false;
        fputs(circles ? "" : "<path class=\"line val\" d=\"", out);
        for (size_t i = 0; i < c->b->epochs.count; i++) {
            const ed_qat_report *p = &c->b->epochs.points[i];
            double x = x_of(c, (double)p->step), y = c->val(p);
            if (isfinite(y) && circles)
                fprintf(out, "<circle class=\"val\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>", x,
                        y_of(c, y));
            else if (isfinite(y))
                fprintf(out, "%c%.1f %.1f", begun ? 'L' : 'M', x, y_of(c, y));
            begun = begun || isfinite(y);
        }
        fputs(circles ? "" : "\"/>", out);
    }
}

static void put_chart(FILE *out, chart c)
{
    if (!scale_axis(&c))
        return;
    fprintf(out,
            "<figure class=\"curve\"><figcaption>%s</figcaption><svg viewBox=\"0 0 %d %d\" "
            "role=\"img\" aria-label=\"%s over the steps; the table below has the numbers\">",
            c.title, WIDTH, HEIGHT, c.title);
    put_axes(out, &c);
    put_training(out, &c);
    put_validation(out, &c);
    fputs("</svg>", out);
    if (c.train && c.val)
        fputs("<ul class=\"legend\"><li><i class=\"key line\"></i>training</li>"
              "<li><i class=\"key val\"></i>validation</li></ul>",
              out);
    fputs("</figure>\n", out);
}

/* A column of the table of epochs. */
typedef struct epoch_column {
    const char *title;
    figure value;
    int decimals;
    bool validation;
} epoch_column;

static void put_epochs(FILE *out, const bench *b)
{
    static const epoch_column columns[] = {
        { "Loss", loss_of, 4, false },         { "Top-1 %", accuracy_of, 2, false },
        { "Val. loss", val_loss_of, 4, true }, { "Val. top-1 %", val_accuracy_of, 2, true },
        { "Images/s", speed_of, 0, false },
    };
    const size_t n = sizeof columns / sizeof columns[0];
    fputs("<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
          "aria-label=\"Epochs\"><table><thead><tr><th scope=\"col\">Epoch</th>",
          out);
    for (size_t k = 0; k < n; k++)
        if (b->val || !columns[k].validation)
            fprintf(out, "<th scope=\"col\" class=\"num\">%s</th>", columns[k].title);
    fputs("</tr></thead><tbody>\n", out);
    for (size_t i = 0; i < b->epochs.count; i++) {
        const ed_qat_report *p = &b->epochs.points[i];
        fprintf(out, "<tr><th scope=\"row\">%lld</th>", (long long)p->epoch + 1);
        for (size_t k = 0; k < n; k++) {
            if (!b->val && columns[k].validation)
                continue;
            fputs("<td class=\"num\">", out);
            page_number(out, columns[k].value(p), columns[k].decimals);
            fputs("</td>", out);
        }
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>\n", out);
}

void page_training(FILE *out, const bench *b)
{
    if (!b->steps.count)
        return;
    fputs("<section aria-labelledby=\"training\"><h2 id=\"training\">Training (QAT)</h2><p>", out);
    page_count(out, (uint64_t)b->steps.count);
    fputs(" steps on ", out);
    page_count(out, (uint64_t)b->train_samples);
    fputs(" samples, from the ranges of ", out);
    page_text(out, b->models[1].name);
    fputs(".</p>\n<div class=\"curves\">\n", out);
    put_chart(out, (chart){ .b = b, .title = "Loss in training", .train = loss_of });
    put_chart(out, (chart){ .b = b,
                            .title = "Top-1 accuracy in percent",
                            .train = accuracy_of,
                            .val = b->val ? val_accuracy_of : NULL });
    if (b->val)
        put_chart(out, (chart){ .b = b, .title = "Loss in validation", .val = val_loss_of });
    fputs("</div>\n", out);
    put_epochs(out, b);
    fputs("</section>\n", out);
}
