/*
 * Which dataset feeds a graph input, and how: name, axes, layout, mean and std.
 *
 *   stored [N, C, spatial...]   layout NCHW, the default: any rank, C is axis 1 if there is one
 *          [N, spatial..., C]   layout NHWC, rank 3 and more
 *          [N, spatial...]      for an input [N, 1, spatial...]: grey pictures
 */
#include "data/source.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

enum { SHAPE_TEXT = 128 };

static int find_name(const char **out, hid_t file, const char *path, const char *input, bool only)
{
    const char *const names[] = { input, "input", "images" };
    for (size_t i = 0; i < (only ? ED_LENGTH(names) : 1); i++) {
        if (ed_h5_has(file, names[i])) {
            *out = names[i];
            return ED_OK;
        }
    }
    ed_strbuf there = { 0 };
    ed_h5_list(&there, file);
    ed_error_set(ED_ENOTFOUND,
                 "%s: there is no dataset for the model's input '%s' (the file has %s); name it "
                 "'%s'%s",
                 path, input, there.length ? ed_strbuf_text(&there) : "none", input,
                 only ? ", 'input' or 'images'" : " like the input");
    ed_strbuf_free(&there);
    return ED_ENOTFOUND;
}

/* ---- axes ---- */

static int read_layout(bool *channels_last, const ed_h5_dataset *d, const char *owner)
{
    char *layout = NULL;
    ED_TRY(ed_h5_attr_text(&layout, d->id, owner, "layout"));
    *channels_last = layout && strcmp(layout, "NHWC") == 0;
    bool known = !layout || *channels_last || strcmp(layout, "NCHW") == 0;
    if (!known)
        ed_error_set(ED_EFORMAT, "%s: the attribute layout is '%s'; it must be NCHW or NHWC", owner,
                     layout);
    ed_free(layout);
    return known ? ED_OK : ED_EFORMAT;
}

/* The stored shape in the order of the input's axes. */
static ed_shape logical_shape(const ed_h5_dataset *d, bool channels_last, const ed_shape *wanted)
{
    ed_shape shape = d->shape;
    if (wanted->rank == shape.rank + 1 && wanted->rank >= 3 && wanted->dim[1] == 1) {
        memmove(&shape.dim[2], &d->shape.dim[1], (size_t)(shape.rank - 1) * sizeof shape.dim[0]);
        shape.dim[1] = 1;
        shape.rank++;
    } else if (channels_last) {
        memmove(&shape.dim[2], &d->shape.dim[1], (size_t)(shape.rank - 2) * sizeof shape.dim[0]);
        shape.dim[1] = d->shape.dim[d->shape.rank - 1];
    }
    return shape;
}

/* A shape without its samples, unknown dimensions as "?". */
static const char *format_sample(char buf[SHAPE_TEXT], const ed_shape *shape)
{
    ed_shape sample = { .rank = shape->rank - 1 };
    for (int i = 0; i < sample.rank; i++)
        sample.dim[i] = shape->dim[i + 1] < 0 ? ED_DIM_UNKNOWN : shape->dim[i + 1];
    return ed_shape_format(buf, SHAPE_TEXT, &sample);
}

static int set_shape(ed_source *s, const ed_value_info *input, const char *owner)
{
    char found[SHAPE_TEXT], wanted[SHAPE_TEXT];
    bool channels_last = false;
    ED_TRY(read_layout(&channels_last, &s->data, owner));
    ED_FAIL_IF(channels_last && s->data.shape.rank < 3, ED_ESHAPE,
               "%s: the attribute layout is NHWC, but the dataset has only %d axes; remove the "
               "attribute",
               owner, s->data.shape.rank);
    ED_FAIL_IF(input->shape.rank == 0, ED_EUNSUPPORTED,
               "the model's input '%s' is a single number, not a batch of samples; fix it in the "
               "model",
               input->name);
    s->shape = logical_shape(&s->data, channels_last, &input->shape);
    bool fits = input->shape.rank < 0 || s->shape.rank == input->shape.rank;
    for (int i = 1; fits && i < input->shape.rank; i++)
        fits = input->shape.dim[i] < 0 || input->shape.dim[i] == s->shape.dim[i];
    ED_FAIL_IF(!fits, ED_ESHAPE,
               "%s: its samples are %s%s, but the model's input '%s' takes %s; store such samples, "
               "or set the attribute layout to NHWC where the channels come last",
               owner, format_sample(found, &s->shape), channels_last ? " after NHWC to NCHW" : "",
               input->name, format_sample(wanted, &input->shape));
    s->convert.channels = s->shape.rank > 1 ? s->shape.dim[1] : 1;
    s->convert.plane = 1;
    for (int i = 2; i < s->shape.rank; i++)
        s->convert.plane *= s->shape.dim[i];
    s->convert.channels_last = channels_last && s->convert.plane > 1 && s->convert.channels > 1;
    return ED_OK;
}

/* ---- mean and std ---- */

/* One number for all channels, or one for each; `fallback` where the file has none. */
static int fill_factors(float *out, int64_t channels, const double *numbers, size_t count,
                        float fallback, const char *owner, const char *name)
{
    ED_FAIL_IF(numbers && count != 1 && count != (size_t)channels, ED_ESHAPE,
               "%s: the attribute %s has %zu elements for %lld channels; write one number, or one "
               "per channel",
               owner, name, count, (long long)channels);
    bool positive = strcmp(name, "std") == 0;
    for (int64_t i = 0; i < channels; i++) {
        double value = numbers ? numbers[count == 1 ? 0 : i] : fallback;
        out[i] = (float)value;
        ED_FAIL_IF(!isfinite(out[i]) || (positive && out[i] <= 0.0f), ED_EFORMAT,
                   "%s: the attribute %s has %g for channel %lld; it must be finite%s in float32",
                   owner, name, value, (long long)i, positive ? " and above 0" : "");
    }
    return ED_OK;
}

/* Without per-channel numbers or a change of order, a sample is one long channel. */
static void merge_channels(ed_source *s)
{
    ed_convert *c = &s->convert;
    for (int64_t i = 1; c->mean && i < c->channels; i++)
        if (c->mean[i] != c->mean[0] || c->std[i] != c->std[0])
            return;
    if (c->channels_last)
        return;
    c->plane *= c->channels;
    c->channels = 1;
}

static int set_factors(ed_source *s, const char *owner)
{
    double *mean = NULL, *std = NULL;
    size_t means = 0, stds = 0, channels = (size_t)s->convert.channels;
    int rc = ED_OK;
    ED_GOTO(ed_h5_attr_numbers(&mean, &means, s->data.id, owner, "mean"));
    ED_GOTO(ed_h5_attr_numbers(&std, &stds, s->data.id, owner, "std"));
    if (!mean && !std)
        goto done;
    if (s->convert.to != ED_F32) {
        rc = ed_error_set(ED_EFORMAT,
                          "%s: it has mean or std, but the model's input '%s' is %s and takes the "
                          "stored integers unchanged; remove the attributes",
                          owner, s->input, ed_dtype_name(s->convert.to));
        goto done;
    }
    s->factors = ed_calloc(channels, 2 * sizeof *s->factors);
    if (!s->factors) {
        rc = ED_ENOMEM;
        goto done;
    }
    s->convert.mean = s->factors;
    s->convert.std = s->factors + channels;
    ED_GOTO(fill_factors(s->factors, s->convert.channels, mean, means, 0.0f, owner, "mean"));
    ED_GOTO(
        fill_factors(s->factors + channels, s->convert.channels, std, stds, 1.0f, owner, "std"));
done:
    ed_free(mean);
    ed_free(std);
    if (rc == ED_OK)
        merge_channels(s);
    return rc;
}

/* ---- all of it ---- */

static int set_types(ed_source *s, const ed_value_info *input, const char *owner)
{
    s->convert.from = s->data.dtype;
    s->convert.to = input->dtype == ED_DTYPE_NONE ? ED_F32 : input->dtype;
    ED_FAIL_IF(!ed_convert_target(s->convert.to), ED_EUNSUPPORTED,
               "the model's input '%s' is %s; only float32 and integer inputs can be fed: convert "
               "the model to float32",
               input->name, ed_dtype_name(s->convert.to));
    ED_FAIL_IF(!ed_convert_supported(s->convert.from, s->convert.to), ED_ESHAPE,
               "%s: it holds %s, which the model's input '%s' of type %s does not take; store %s",
               owner, ed_dtype_name(s->convert.from), input->name, ed_dtype_name(s->convert.to),
               s->convert.to == ED_F32 ? "uint8, int8 to int64 or floats" : "int8 to int64");
    return ED_OK;
}

int ed_source_open(ed_source *out, hid_t file, const char *path, const ed_value_info *input,
                   bool only)
{
    ed_source s = { 0 };
    const char *name = NULL;
    char *owner = NULL;
    int rc = ED_OK;
    ED_GOTO(find_name(&name, file, path, input->name, only));
    ED_GOTO(ed_h5_dataset_open(&s.data, file, path, name));
    s.input = ed_strdup(input->name);
    owner = s.input ? ed_asprintf("%s: dataset '%s'", path, name) : NULL;
    if (!owner) {
        rc = ED_ENOMEM;
        goto done;
    }
    ED_GOTO(set_types(&s, input, owner));
    ED_GOTO(set_shape(&s, input, owner));
    ED_GOTO(set_factors(&s, owner));
done:
    ed_free(owner);
    if (rc != ED_OK)
        ed_source_close(&s);
    *out = s;
    return rc;
}

void ed_source_close(ed_source *s)
{
    ed_h5_dataset_close(&s->data);
    ed_free(s->input);
    ed_free(s->factors);
    *s = (ed_source){ 0 };
}
