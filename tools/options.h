/*
 * The options of all commands in one table. --help, --usage, the man pages and the parser read it.
 *
 * To add an option: a field in `settings`, one row in option_rows.c, a line in tests/cli/.
 */
#ifndef TOOLS_OPTIONS_H
#define TOOLS_OPTIONS_H

#include <ed/ed.h>

#include <stdio.h>

typedef struct text_list {
    const char **items; /* the texts belong to argv */
    size_t count;
} text_list;

enum { OPTION_MAX_ROWS = 128 };

/* What the user asked for; a zero means that the library's default holds. */
typedef struct settings {
    text_list operands, exclude, rules, disable, inputs;
    const char *output, *data, *ranges, *method, *weights, *weight_method, *target, *device;
    const char *plan, *plan_out, *patterns, *output_dir, *format;
    double percentile, ema, tolerance;
    int64_t bins, batch, limit, threads, verbose;
    bool external_data, allow_nonfinite, layers, json, quiet;
    const char *precision;
    bool verify, devices, profile, reference, transform, autotune;
    /* training */
    text_list freeze;
    const char *val, *calib, *teacher, *optimizer, *schedule, *loss, *scales, *weight_scales;
    const char *augment, *checkpoint, *resume, *log;
    int64_t epochs, accumulate, seed, val_every, patience, checkpoint_every, memory;
    double learning_rate, momentum, weight_decay, warmup, clip, temperature, alpha;
    double label_smoothing, freeze_observers;
    bool deterministic, int8_storage;
    const char *bits_w, *bits_a;
    /* the comparison */
    const char *test, *train, *methods, *json_file, *html;
    int64_t train_batch;
    bool given[OPTION_MAX_ROWS]; /* row i of the table was on the command line */
} settings;

enum {
    CMD_CALIBRATE = 1 << 0,
    CMD_EVAL = 1 << 1,
    CMD_TRANSFORM = 1 << 2,
    CMD_INSPECT = 1 << 3,
    CMD_RUN = 1 << 4,
    CMD_QAT = 1 << 5,
    CMD_BENCH = 1 << 6
};

typedef enum option_type {
    OPTION_FLAG,   /* bool */
    OPTION_COUNT,  /* int64_t, one more each time */
    OPTION_TEXT,   /* const char *, not empty */
    OPTION_LIST,   /* text_list, one more each time */
    OPTION_CHOICE, /* const char *, one of choice(0), choice(1), ... */
    OPTION_INT,    /* int64_t in [min, max]; where the default is "auto", that is 0 */
    OPTION_POWER2, /* likewise, and a power of two */
    OPTION_BYTES,  /* int64_t in [min, max]; K, M or G behind it: times 1024, ... */
    OPTION_REAL    /* double in [min, max] */
} option_type;

typedef struct option_row {
    unsigned commands; /* CMD_ bits: who takes it */
    int letter;        /* of the short form, or 0 */
    const char *name;
    const char *arg; /* what --help calls the argument; NULL: it takes none */
    const char *group, *help;
    const char *standard; /* the default as --help prints it; NULL: nothing to say */
    option_type type;
    size_t offset; /* in settings */
    double min, max;
    const char *(*choice)(size_t i);        /* NULL at the end */
    const char *(*check)(const char *text); /* what the argument should be, NULL when it is fine */
} option_row;

/* Row i of the table, NULL at the end. */
const option_row *option_row_at(size_t i);
/* The default to print: the row's text, or else the first choice; NULL when there is none. */
const char *option_default(const option_row *row);

/* A table that --help and the man page print behind the options. */
typedef struct listing {
    const char *title; /* NULL ends the array */
    bool (*row)(size_t i, const char **name, const char **help);
} listing;

/* Rows of calibration methods, of the rules of the default target, of the choices of training. */
bool option_method_row(size_t i, const char **name, const char **help);
bool option_rule_row(size_t i, const char **name, const char **help);
bool option_optimizer_row(size_t i, const char **name, const char **help);
bool option_schedule_row(size_t i, const char **name, const char **help);
bool option_loss_row(size_t i, const char **name, const char **help);
bool option_scales_row(size_t i, const char **name, const char **help);
bool option_weight_scales_row(size_t i, const char **name, const char **help);

typedef struct command {
    const char *name;
    unsigned id;
    const char *operands; /* "[MODEL.onnx]" */
    size_t max_operands;
    const char *summary;
    const char *description;     /* paragraphs, an empty line between them */
    const char *const *examples; /* pairs of a command line and what it does; NULL at the end */
    const listing *listings;
    const char *(*check)(const settings *s); /* a usage error's sentence, or NULL */
} command;

/* Parse the command line. Prints and exits for --help, --usage, --version (0) and for usage errors
 * (2). */
void options_parse(settings *out, const command *cmd, int argc, char **argv);
bool option_given(const settings *s, const char *name);
void settings_free(settings *s);

/* The man page of a command in man(7) format. */
void manual_print(FILE *out, const command *cmd);

#endif
