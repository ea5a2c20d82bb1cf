/*
 * The page's section of groups: a row each, worst first, with a bar as long as its SQNR.
 */
#include "bench_page.h"

#include <math.h>

enum { VISIBLE = 20 };

static double longest_bar(const bench *b)
{
    double most = 1;
    for (size_t i = 0; i < b->group_count; i++) {
        const bench_group *g = &b->groups[i];
        most = isfinite(g->calibrated) ? fmax(most, g->calibrated) : most;
        most = isfinite(g->trained) ? fmax(most, g->trained) : most;
    }
    return most;
}

static void put_bar(FILE *out, const char *style, double db, double most)
{
    double share = isinf(db) && db > 0 ? 1 : isfinite(db) ? fmax(db, 0) / most : 0;
    fprintf(out, "<i class=\"%s\" style=\"width:%.1f%%\"></i>", style, 100 * share);
}

static void put_rows(FILE *out, const bench *b, size_t from, size_t to, double most)
{
    fputs("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Groups\"><table "
          "class=\"bars\"><thead><tr><th scope=\"col\">Group</th>"
          "<th scope=\"col\" class=\"num\"><i class=\"key m0\"></i>",
          out);
    page_text(out, b->models[1].name);
    fputs(" dB</th>", out);
    if (b->train)
        fputs("<th scope=\"col\" class=\"num\"><i class=\"key trained\"></i>QAT dB</th>", out);
    fputs("<td class=\"bar\"></td></tr></thead><tbody>\n", out);
    for (size_t i = from; i < to; i++) {
        const bench_group *g = &b->groups[i];
        fputs("<tr><th scope=\"row\"><b>", out);
        page_text(out, g->info.kind);
        fputs("</b><span class=\"name\">", out);
        page_text(out, g->info.output);
        fputs("</span></th><td class=\"num\">", out);
        page_decibel(out, g->calibrated);
        fputs("</td>", out);
        if (b->train) {
            fputs("<td class=\"num\">", out);
            page_decibel(out, g->trained);
            fputs("</td>", out);
        }
        fputs("<td class=\"bar\">", out);
        put_bar(out, "c0", g->calibrated, most);
        if (b->train)
            put_bar(out, "trained", g->trained, most);
        fputs("</td></tr>\n", out);
    }
    fputs("</tbody></table></div>\n", out);
}

void page_groups(FILE *out, const bench *b)
{
    size_t first = b->group_count < VISIBLE + 4 ? b->group_count : VISIBLE;
    double most = longest_bar(b);
    if (!b->group_count)
        return;
    fputs("<section aria-labelledby=\"groups\"><h2 id=\"groups\">Where the error comes from</h2>"
          "<p>Signal to quantization noise at the output of each fused group, against the float "
          "model, worst first: what the group adds, and what it was handed. Over ",
          out);
    page_count(out, (uint64_t)b->group_samples);
    fputs(" test samples.</p>\n", out);
    put_rows(out, b, 0, first, most);
    if (first < b->group_count) {
        fprintf(out, "<details><summary>%zu better groups</summary>\n", b->group_count - first);
        put_rows(out, b, first, b->group_count, most);
        fputs("</details>\n", out);
    }
    fputs("</section>\n", out);
}
