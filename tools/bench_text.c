/*
 * Text and numbers of the page.
 */
#include "bench_page.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Bytes of the UTF-8 character at `at`; 0: there is none. */
static size_t character(const unsigned char *at)
{
    size_t n = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (!n || at[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    bool beyond = (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf4 && at[1] > 0x8f);
    return overlong || beyond ? 0 : n;
}

void page_text(FILE *out, const char *text)
{
    static const char special[] = "<>&\"'";
    const unsigned char *at = (const unsigned char *)(text ? text : "");
    while (*at) {
        size_t n = character(at);
        if (!n || *at < 0x20 || *at == 0x7f)
            fputs("\xef\xbf\xbd", out);
        else if (n == 1 && strchr(special, *at))
            fprintf(out, "&#%d;", *at);
        else
            fwrite(at, 1, n, out);
        at += n ? n : 1;
    }
}

void page_number(FILE *out, double value, int decimals)
{
    if (isfinite(value))
        fprintf(out, "%s%.*f", value < 0 ? "\xe2\x88\x92" : "", decimals, fabs(value));
    else
        fputs("\xe2\x80\x93", out);
}

void page_decibel(FILE *out, double db)
{
    if (isinf(db) && db > 0)
        fputs("exact", out);
    else
        page_number(out, db, 2);
}

void page_count(FILE *out, uint64_t count)
{
    if (count >= 1000) {
        page_count(out, count / 1000);
        fprintf(out, ",%03" PRIu64, count % 1000);
    } else {
        fprintf(out, "%" PRIu64, count);
    }
}
