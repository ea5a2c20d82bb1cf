/* Calibration inside: the searches behind the methods, and what a ranges file holds. */
#ifndef CALIB_CALIB_H
#define CALIB_CALIB_H

#include "backend/backend.h"
#include "base/mem.h"
#include "ed/calib.h"

/* ---- searches over a histogram (kl.c, mse.c): -1 when no candidate is sound, or ED_ENOMEM ---- */
/* The bin edge i in [start, bins] whose clipped histogram has the least KL divergence from its
 * version in `levels` levels. */
int64_t ed_kl_search(const uint64_t *counts, size_t bins, unsigned start, unsigned levels);
/* The bin i in [start, bins) whose centre, as amax with levels 0 .. qmax, has the least squared
 * error. */
int64_t ed_mse_search(const uint64_t *counts, size_t bins, unsigned start, unsigned qmax);

/* ---- methods (methods.c) ---- */
/* The parameters with the defaults in place of zeros. */
ed_method_params ed_method_params_complete(const ed_method_params *params);
/* Tell how far the pass is; ED_EINTR when it is to stop. */
int ed_calib_tell(const ed_calib_options *opts, int64_t done, int64_t total);
/* What a method searches for, with which arguments of ed_kl_search() or ed_mse_search(); false: it
 * makes no such search. */
bool ed_method_search(ed_search *kind, unsigned *start, unsigned *levels, const ed_method *method,
                      const ed_method_params *params);
/* The method's range for what the search answered. */
ed_range ed_method_answer(const ed_method *method, const ed_observation *seen, int64_t answer);
/* The note of an answer that no search was made for. A method cannot fail, but ed_calibrate() does:
 * the same data must not give other ranges where memory is short. */
extern const char ed_note_no_memory[];

/* ---- ranges (ranges.c) ---- */
struct ed_ranges {
    ed_arena *arena; /* of all strings */
    ed_range_row *rows;
    size_t count, capacity;
    /* provenance; the strings are never NULL in a complete one */
    const char *tool; /* "ed 0.1.0": what wrote it */
    uint64_t model_hash, data_hash;
    const char *data, *target, *method; /* data: the file's name without folder */
    ed_method_params params;
    uint64_t bins, samples, nonfinite;
    /* what was seen of each row's value, and the counts, [count][bins]; NULL when not kept */
    ed_observation *seen;
    uint64_t *counts;
};

/* Without rows, `tool` filled in, empty strings elsewhere. @return ED_OK or ED_ENOMEM */
int ed_ranges_new(ed_ranges **out);
/* Append a copy of a row. @return ED_OK, ED_ENOMEM */
int ed_ranges_add(ed_ranges *ranges, const ed_range_row *row);
/* Keep a copy of what was seen, [count of rows]. @return ED_OK, ED_ENOMEM */
int ed_ranges_keep(ed_ranges *ranges, const ed_observation *seen);
/* The row of a value's name, or NULL. */
const ed_range_row *ed_ranges_find(const ed_ranges *ranges, const char *value);

#endif
