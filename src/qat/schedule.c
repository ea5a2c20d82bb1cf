/* The table of schedules. */
#include "qat/schedule.h"

#include "qat/choice.h"

#include <math.h>

static double cosine(double share)
{
    const double least = 0.01;
    return least + (1.0 - least) * 0.5 * (1.0 + cos(3.141592653589793 * share));
}

static double by_steps(double share)
{
    return share < 0.5 ? 1.0 : share < 0.75 ? 0.1 : 0.01;
}

static double constant(double share)
{
    (void)share;
    return 1.0;
}

static const ed_schedule_row rows[] = {
    { { "cosine", "half a cosine, down to 1 % of the rate" }, cosine },
    { { "step", "a tenth of the rate after 50 % and again after 75 %" }, by_steps },
    { { "constant", "the rate as it is" }, constant },
};

const ed_qat_choice *ed_schedule_at(size_t i)
{
    return i < ED_LENGTH(rows) ? &rows[i].choice : NULL;
}

int ed_schedule_find(const ed_schedule_row **out, const char *name)
{
    size_t i;
    ED_TRY(ed_choice_find(&i, ed_schedule_at, "schedule", name));
    *out = &rows[i];
    return ED_OK;
}

double ed_schedule_rate(const ed_schedule_row *row, double rate, double warmup, int64_t step,
                        int64_t steps)
{
    int64_t rising = (int64_t)(warmup * (double)steps), falling = steps - rising;
    if (step < rising)
        return rate * (double)(step + 1) / (double)rising;
    double share = falling > 1 ? (double)(step - rising) / (double)(falling - 1) : 0.0;
    return rate * row->factor(share);
}
