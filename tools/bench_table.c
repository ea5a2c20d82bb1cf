/*
 * The table of ed-bench: a line per model, and where the time went.
 */
#include "bench.h"

int bench_table(const bench *b, FILE *out)
{
    static const char *const titles[] = { "model",       "top-1 %", "top-5 %", "drop",
                                          "agreement %", "SQNR dB", "seconds" };
    bool labelled = bench_labelled(b);
    table *t = table_new("lrrrrrr");
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++)
        table_cell(t, "%s", titles[i]);
    for (size_t i = 0; i < b->count; i++) {
        const ed_eval_result *r = &b->models[i].result;
        table_cell(t, "%s", b->models[i].name);
        table_number(t, r->top1, labelled);
        table_number(t, r->top5, labelled);
        table_number(t, bench_drop(b, i), labelled && i);
        table_number(t, r->agreement, i);
        if (i)
            table_decibel(t, r->sqnr_db);
        else
            table_cell(t, "-");
        table_number(t, b->models[i].seconds, i);
    }
    TRY(table_print(t, out));
    fprintf(out,
            "\n%lld samples calibrated in one pass of %.2f s, compiled in %.2f s; %lld evaluated "
            "in %.2f s%s\n",
            (long long)b->calib_samples, b->times[0].pass, b->times[0].compile,
            (long long)b->models[0].result.samples, b->evaluation,
            labelled ? "" : "; the test data has no labels: agreement and SQNR only");
    return ED_OK;
}
