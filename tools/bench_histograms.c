/*
 * The page's section of values: a histogram of |x| each (counts on a log scale) with a row of the
 * chart's head for each method, whose dot and line stand where its range ends.
 */
#include "bench_page.h"

#include <math.h>

enum { VISIBLE = 24, COLUMNS = 96, WIDTH = 240, PLOT = 84, ROW = 7, EDGE = 4 };

static void put_columns(FILE *out, const ed_observation *seen, double largest, int top)
{
    double columns[COLUMNS], most = 0;
    bench_columns(columns, COLUMNS, seen, largest);
    for (int c = 0; c < COLUMNS; c++)
        most = fmax(most, columns[c]);
    fprintf(out, "<path class=\"area\" d=\"M%d %d", EDGE, top + PLOT);
    for (int c = 0; c < COLUMNS; c++) {
        double height = most > 0 ? PLOT * log1p(columns[c]) / log1p(most) : 0;
        fprintf(out, "V%.1fh%.2f", top + PLOT - height, (double)WIDTH / COLUMNS);
    }
    fprintf(out, "V%dz\"/>", top + PLOT);
}

static void put_chart(FILE *out, const bench *b, const bench_value *v)
{
    const ed_observation *seen = ed_ranges_seen(b->ranges[0], v->row);
    int top = ROW * (int)b->methods + 4, bottom = top + PLOT;
    fprintf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"Histogram of ",
            WIDTH + 2 * EDGE, bottom + 1);
    page_text(out, ed_ranges_at(b->ranges[0], v->row)->value);
    fprintf(out, ", magnitudes from 0 to %.4g\">", v->largest);
    put_columns(out, seen, v->largest, top);
    for (size_t m = 0; m < b->methods; m++) {
        double amax = ed_ranges_at(b->ranges[m], v->row)->amax;
        double x = EDGE + (v->largest > 0 ? fmin(amax / v->largest, 1) * WIDTH : 0);
        int y = ROW * (int)m + 4;
        fprintf(out,
                "<g class=\"m%zu\"><path class=\"lead\" d=\"M%d %dH%.1f\"/><path d=\"M%.1f "
                "%dV%d\"/><circle cx=\"%.1f\" cy=\"%d\" r=\"2.6\"/></g>",
                m % PAGE_COLORS, EDGE, y, x, x, y, bottom, x, y);
    }
    fprintf(out, "<path class=\"base\" d=\"M%d %d.5h%d\"/></svg>", EDGE, bottom, WIDTH);
    fprintf(out, "<div class=\"axis\" aria-hidden=\"true\"><span>0</span><span>%.4g</span></div>\n",
            v->largest);
}

static void put_numbers(FILE *out, const bench *b, const bench_value *v)
{
    fputs("<details><summary>Ranges</summary><table><thead><tr><th scope=\"col\">Method</th>"
          "<th scope=\"col\" class=\"num\">|x| up to</th><th scope=\"col\" class=\"num\">dB</th>"
          "</tr></thead><tbody>",
          out);
    for (size_t m = 0; m < b->methods; m++) {
        const ed_range_row *row = ed_ranges_at(b->ranges[m], v->row);
        fprintf(out, "<tr><th scope=\"row\"><i class=\"key m%zu\"></i>", m % PAGE_COLORS);
        page_text(out, row->method);
        fprintf(out, "</th><td class=\"num\">%.4g</td><td class=\"num\">", row->amax);
        page_decibel(out, v->sqnr[m]);
        fputs("</td></tr>", out);
        if (row->note) {
            fputs("<tr><td colspan=\"3\" class=\"note\">", out);
            page_text(out, row->note);
            fputs("</td></tr>", out);
        }
    }
    fputs("</tbody></table></details>", out);
}

static void put_card(FILE *out, const bench *b, const bench_value *v)
{
    const ed_range_row *row = ed_ranges_at(b->ranges[0], v->row);
    fputs("<figure class=\"card\"><figcaption><span class=\"name\">", out);
    page_text(out, row->value);
    fputs("</span><span class=\"sub\">", out);
    page_text(out, row->rule);
    fputs(" of ", out);
    page_text(out, row->group);
    fputs("<br>", out);
    page_decibel(out, v->sqnr[0]);
    fputs(isfinite(v->sqnr[0]) ? " dB by " : " by ", out);
    page_text(out, row->method);
    fprintf(out, "<br>%s%.4g to %s%.4g</span></figcaption>\n", row->min < 0 ? "\xe2\x88\x92" : "",
            fabs(row->min), row->max < 0 ? "\xe2\x88\x92" : "", fabs(row->max));
    put_chart(out, b, v);
    put_numbers(out, b, v);
    fputs("</figure>\n", out);
}

static void put_cards(FILE *out, const bench *b, size_t from, size_t to)
{
    fputs("<div class=\"cards\">\n", out);
    for (size_t i = from; i < to; i++)
        put_card(out, b, &b->values[i]);
    fputs("</div>\n", out);
}

void page_histograms(FILE *out, const bench *b)
{
    size_t first = b->value_count < VISIBLE + 6 ? b->value_count : VISIBLE;
    if (!b->value_count)
        return;
    fputs("<section aria-labelledby=\"values\"><h2 id=\"values\">Values and their ranges</h2>"
          "<p>Magnitudes of every calibrated value, counted on a log scale. A dot and its line "
          "stand where a method\xe2\x80\x99s range ends: what lies beyond is clipped. The SQNR is "
          "that of the value alone, rounded and clipped; worst first.</p>\n<ul class=\"legend\">",
          out);
    for (size_t m = 0; m < b->methods; m++) {
        fprintf(out, "<li><i class=\"key m%zu\"></i>", m % PAGE_COLORS);
        page_text(out, b->models[1 + m].name);
        fputs("</li>", out);
    }
    fputs("</ul>\n", out);
    put_cards(out, b, 0, first);
    if (first < b->value_count) {
        fprintf(out, "<details class=\"more\"><summary>%zu better values</summary>\n",
                b->value_count - first);
        put_cards(out, b, first, b->value_count);
        fputs("</details>\n", out);
    }
    fputs("</section>\n", out);
}
