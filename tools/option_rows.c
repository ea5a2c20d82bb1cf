/*
 * The option table of all commands: one row an option, with its help, default, limits and place.
 */
#include "options.h"

#include <string.h>

/* ---- what rows refer to ---- */

static const char *method_name(size_t i)
{
    const ed_method *method = ed_method_at(i);
    return method ? method->name : NULL;
}

static const char *weight_method_name(size_t i)
{
    for (size_t k = 0; ed_method_at(k); k++)
        if (ed_method_at(k)->weights && i-- == 0)
            return ed_method_at(k)->name;
    return NULL;
}

static const char *weights_name(size_t i)
{
    static const char *const names[] = { "int8", "float", NULL };
    return names[i];
}

static const char *bits_name(size_t i)
{
    static const char *const names[] = { "8", "4", NULL };
    return names[i];
}

static const char *patterns_name(size_t i)
{
    static const char *const names[] = { "conversions", "fusions", "quantized", "all", NULL };
    return names[i];
}

static const char *format_name(size_t i)
{
    static const char *const names[] = { "npy", "pb", NULL };
    return names[i];
}

/* The names of a table of the library's. */
#define QAT_NAMES(function, at)                                                                    \
    static const char *function(size_t i)                                                          \
    {                                                                                              \
        const ed_qat_choice *choice = at(i);                                                       \
        return choice ? choice->name : NULL;                                                       \
    }
QAT_NAMES(optimizer_name, ed_optimizer_at)
QAT_NAMES(schedule_name, ed_schedule_at)
QAT_NAMES(loss_name, ed_loss_at)
QAT_NAMES(scales_name, ed_scales_at)
QAT_NAMES(weight_scales_name, ed_weight_scales_at)

/* The library's default of a number, in the place of a first choice. */
#define QAT_DEFAULT(field)                                                                         \
    static const char *default_##field(size_t i)                                                   \
    {                                                                                              \
        static char text[32];                                                                      \
        ed_qat_options o = { 0 };                                                                  \
        ed_qat_defaults(&o);                                                                       \
        snprintf(text, sizeof text, "%g", (double)o.field);                                        \
        return i ? NULL : text;                                                                    \
    }
QAT_DEFAULT(epochs)
QAT_DEFAULT(batch)
QAT_DEFAULT(accumulate)
QAT_DEFAULT(learning_rate)
QAT_DEFAULT(momentum)
QAT_DEFAULT(weight_decay)
QAT_DEFAULT(warmup)
QAT_DEFAULT(temperature)
QAT_DEFAULT(alpha)
QAT_DEFAULT(label_smoothing)
QAT_DEFAULT(freeze_observers)
QAT_DEFAULT(val_every)
QAT_DEFAULT(seed)

static const char *check_device(const char *text)
{
    if (!strcmp(text, "cpu") || !strcmp(text, "auto") || !strcmp(text, "cuda"))
        return NULL;
    bool numbered =
        !strncmp(text, "cuda:", 5) && text[5] && !text[5 + strspn(text + 5, "0123456789")];
    return numbered ? NULL : "cpu, auto, cuda or cuda:N";
}

/* ---- the table ---- */

#define FIELD(name) offsetof(settings, name)
#define ALL         (CMD_CALIBRATE | CMD_EVAL | CMD_TRANSFORM | CMD_INSPECT | CMD_RUN | CMD_BENCH | CMD_QAT)
#define WITH_DATA   (CMD_CALIBRATE | CMD_EVAL | CMD_TRANSFORM | CMD_BENCH)
#define TRAINS      (CMD_QAT | CMD_BENCH)

static const char files[] = "Files", calibration[] = "Calibration", placement[] = "Quantization";
static const char samples[] = "Samples", machine[] = "Machine", messages[] = "Output";
static const char plans[] = "Patterns and plans", checking[] = "Verification";
static const char training[] = "Training", quantized[] = "Scales in training";
static const char keeping[] = "Checkpoints and validation";

static const option_row option_rows[] = {
    { CMD_CALIBRATE, 'd', "data", "FILE", files,
      "HDF5 file with the samples to calibrate on, see ed-dataset(5); without a MODEL its "
      "attribute "
      "`model' names it",
      NULL, OPTION_TEXT, FIELD(data), 0, 0, NULL, NULL },
    { CMD_EVAL, 'd', "data", "FILE", files,
      "HDF5 file with the samples to evaluate on, see ed-dataset(5); without a MODEL its attribute "
      "`model' names it",
      NULL, OPTION_TEXT, FIELD(data), 0, 0, NULL, NULL },
    { CMD_QAT, 'd', "data", "FILE", files,
      "HDF5 file with the samples to train on, see ed-dataset(5); without a MODEL its attribute "
      "`model' names it",
      NULL, OPTION_TEXT, FIELD(data), 0, 0, NULL, NULL },
    { CMD_BENCH, 'd', "calib", "FILE", files,
      "HDF5 file with the samples to calibrate on, see ed-dataset(5); without a MODEL its "
      "attribute "
      "`model' names it",
      NULL, OPTION_TEXT, FIELD(data), 0, 0, NULL, NULL },
    { CMD_BENCH, 0, "test", "FILE", files, "HDF5 file with samples and labels to evaluate on", NULL,
      OPTION_TEXT, FIELD(test), 0, 0, NULL, NULL },
    { CMD_BENCH, 0, "train", "FILE", files,
      "HDF5 file with the samples to train on: then QAT is compared too", NULL, OPTION_TEXT,
      FIELD(train), 0, 0, NULL, NULL },
    { TRAINS, 0, "val", "FILE", files,
      "HDF5 file with samples and labels to validate on: the best epoch is kept", NULL, OPTION_TEXT,
      FIELD(val), 0, 0, NULL, NULL },
    { CMD_QAT, 0, "calib", "FILE", files,
      "HDF5 file with the samples to calibrate a float MODEL on", "the first 512 of --data",
      OPTION_TEXT, FIELD(calib), 0, 0, NULL, NULL },
    { CMD_QAT, 0, "teacher", "FILE", files,
      "float ONNX model whose answers a quantized (QDQ) MODEL is to give",
      "the MODEL, when it is "
      "float",
      OPTION_TEXT, FIELD(teacher), 0, 0, NULL, NULL },
    { CMD_QAT, 'o', "output", "FILE", files, "write the trained model to FILE",
      "MODEL_qat.onnx beside the model", OPTION_TEXT, FIELD(output), 0, 0, NULL, NULL },
    { CMD_TRANSFORM, 'o', "output", "FILE", files, "write the transformed model to FILE", NULL,
      OPTION_TEXT, FIELD(output), 0, 0, NULL, NULL },
    { CMD_RUN, 'i', "input", "NAME=FILE", files,
      "a graph input and the file with its tensor, .npy or .pb (TensorProto); once for each input; "
      "NAME= may be left out where the model has one input",
      NULL, OPTION_LIST, FIELD(inputs), 0, 0, NULL, NULL },
    { CMD_RUN, 'o', "output-dir", "FOLDER", files,
      "write every output to FOLDER/NAME.npy; the folder is made when it is not there", NULL,
      OPTION_TEXT, FIELD(output_dir), 0, 0, NULL, NULL },
    { CMD_RUN, 0, "format", "FORMAT", files, "format of the outputs' files", "npy", OPTION_CHOICE,
      FIELD(format), 0, 0, format_name, NULL },
    { CMD_CALIBRATE, 'o', "output", "FILE", files, "write the quantized model to FILE",
      "MODEL_int8.onnx beside the model", OPTION_TEXT, FIELD(output), 0, 0, NULL, NULL },
    { CMD_CALIBRATE, 'r', "ranges", "FILE", files,
      "with --data: also write the ranges to FILE as JSON; without --data: read them from FILE and "
      "skip the pass over the data",
      NULL, OPTION_TEXT, FIELD(ranges), 0, 0, NULL, NULL },
    { CMD_CALIBRATE | CMD_TRANSFORM | CMD_QAT, 0, "external-data", NULL, files,
      "keep initializers in FILE.data instead of in the model (always so above 2 GB)", NULL,
      OPTION_FLAG, FIELD(external_data), 0, 0, NULL, NULL },

    { CMD_TRANSFORM, 'p', "patterns", "GROUP", plans,
      "which patterns: conversions, fusions, quantized (which includes the fusions that it stands "
      "on) or all",
      "conversions and fusions; all with a plan", OPTION_CHOICE, FIELD(patterns), 0, 0,
      patterns_name, NULL },
    { CMD_TRANSFORM, 0, "plan-out", "FILE", plans,
      "write what matches where, and why not, to FILE as JSON, to be edited", NULL, OPTION_TEXT,
      FIELD(plan_out), 0, 0, NULL, NULL },
    { CMD_TRANSFORM | CMD_CALIBRATE | CMD_BENCH, 0, "plan", "FILE", plans,
      "do what the plan in FILE says (written by ed-transform --plan-out)", NULL, OPTION_TEXT,
      FIELD(plan), 0, 0, NULL, NULL },
    { CMD_TRANSFORM | CMD_CALIBRATE | CMD_BENCH, 0, "disable", "PATTERN[@NODE]", plans,
      "do not apply a pattern, or not at the node (the value, for quantization) of that name; may "
      "be given more than once",
      NULL, OPTION_LIST, FIELD(disable), 0, 0, NULL, NULL },

    { CMD_TRANSFORM, 0, "verify", NULL, checking,
      "run the model before and after on the samples of --data, or on random inputs, and print the "
      "largest difference of each output; nothing is written when one is above the tolerance",
      NULL, OPTION_FLAG, FIELD(verify), 0, 0, NULL, NULL },
    { CMD_TRANSFORM, 0, "tolerance", "X", checking,
      "largest difference that --verify accepts, relative to the output's largest value", "1e-4",
      OPTION_REAL, FIELD(tolerance), 0, 1, NULL, NULL },
    { CMD_TRANSFORM, 'd', "data", "FILE", checking,
      "HDF5 file with the samples for --verify, see ed-dataset(5)", NULL, OPTION_TEXT, FIELD(data),
      0, 0, NULL, NULL },

    { TRAINS, 'e', "epochs", "N", training, "passes over the data", NULL, OPTION_INT, FIELD(epochs),
      1, 1e9, default_epochs, NULL },
    { CMD_BENCH, 0, "train-batch", "N", training, "samples of a step", NULL, OPTION_INT,
      FIELD(train_batch), 1, 65536, default_batch, NULL },
    { CMD_QAT, 'b', "batch", "N", training, "samples of a step", NULL, OPTION_INT, FIELD(batch), 1,
      65536, default_batch, NULL },
    { TRAINS, 0, "accumulate", "N", training, "steps whose gradients make one update", NULL,
      OPTION_INT, FIELD(accumulate), 1, 1e6, default_accumulate, NULL },
    { TRAINS, 0, "optimizer", "NAME", training, "how weights follow their gradients; listed below",
      NULL, OPTION_CHOICE, FIELD(optimizer), 0, 0, optimizer_name, NULL },
    { TRAINS, 0, "lr", "RATE", training,
      "learning rate; with --bits-w 4 the default is twice as large", NULL, OPTION_REAL,
      FIELD(learning_rate), 1e-12, 1e6, default_learning_rate, NULL },
    { TRAINS, 0, "momentum", "M", training, "momentum of sgd, beta1 of adamw", NULL, OPTION_REAL,
      FIELD(momentum), 0, 1, default_momentum, NULL },
    { TRAINS, 0, "weight-decay", "D", training, "of the weights; not of biases and norms", NULL,
      OPTION_REAL, FIELD(weight_decay), 0, 1e6, default_weight_decay, NULL },
    { TRAINS, 0, "schedule", "NAME", training, "the learning rate over the run; listed below", NULL,
      OPTION_CHOICE, FIELD(schedule), 0, 0, schedule_name, NULL },
    { TRAINS, 0, "warmup", "SHARE", training,
      "share of the updates in which the learning rate rises to its value", NULL, OPTION_REAL,
      FIELD(warmup), 0, 1, default_warmup, NULL },
    { TRAINS, 0, "clip", "NORM", training, "largest norm of all gradients together", "none",
      OPTION_REAL, FIELD(clip), 1e-12, 1e30, NULL, NULL },
    { TRAINS, 0, "loss", "NAME", training, "what is learned from; listed below", NULL,
      OPTION_CHOICE, FIELD(loss), 0, 0, loss_name, NULL },
    { TRAINS, 0, "temperature", "T", training, "by which distillation divides the logits", NULL,
      OPTION_REAL, FIELD(temperature), 1e-3, 1e6, default_temperature, NULL },
    { TRAINS, 0, "alpha", "SHARE", training, "of the labels in --loss both", NULL, OPTION_REAL,
      FIELD(alpha), 0, 1, default_alpha, NULL },
    { TRAINS, 0, "label-smoothing", "SHARE", training, "of all classes in a label", NULL,
      OPTION_REAL, FIELD(label_smoothing), 0, 0.999, default_label_smoothing, NULL },
    { TRAINS, 0, "augment", "LIST", training,
      "how training pictures are varied: flip (left and right), crop=P (shifted by up to P pixels)",
      "none", OPTION_TEXT, FIELD(augment), 0, 0, NULL, NULL },
    { TRAINS, 0, "freeze", "NAME", training,
      "parameters of that name do not change; `*' and `?' are wildcards; may be given more than "
      "once",
      NULL, OPTION_LIST, FIELD(freeze), 0, 0, NULL, NULL },
    { TRAINS, 0, "seed", "N", training, "of order and augmentation", NULL, OPTION_INT, FIELD(seed),
      0, 9007199254740992.0, default_seed, NULL },

    { TRAINS, 0, "scales", "NAME", quantized, "how the scales of activations follow; listed below",
      NULL, OPTION_CHOICE, FIELD(scales), 0, 0, scales_name, NULL },
    { TRAINS, 0, "weight-scales", "NAME", quantized,
      "how the scales of weights follow; listed below", NULL, OPTION_CHOICE, FIELD(weight_scales),
      0, 0, weight_scales_name, NULL },
    { TRAINS, 0, "freeze-observers", "SHARE", quantized,
      "share of the updates after which --scales ema stay", NULL, OPTION_REAL,
      FIELD(freeze_observers), 0, 1, default_freeze_observers, NULL },

    { TRAINS, 0, "val-every", "N", keeping, "epochs between validations", NULL, OPTION_INT,
      FIELD(val_every), 1, 1e9, default_val_every, NULL },
    { TRAINS, 0, "patience", "N", keeping, "stop after N epochs without a better one", "never",
      OPTION_INT, FIELD(patience), 1, 1e9, NULL, NULL },
    { CMD_QAT, 0, "checkpoint", "FILE", keeping,
      "write the state of the run to FILE (HDF5) after "
      "each epoch, and when it is interrupted",
      NULL, OPTION_TEXT, FIELD(checkpoint), 0, 0, NULL, NULL },
    { CMD_QAT, 0, "checkpoint-every", "N", keeping, "steps between checkpoints too", NULL,
      OPTION_INT, FIELD(checkpoint_every), 1, 1e15, NULL, NULL },
    { CMD_QAT, 0, "resume", "FILE", keeping,
      "go on from the checkpoint in FILE, bit for bit as if it had not stopped; begin anew when it "
      "is "
      "not there; also write it, unless --checkpoint names another",
      NULL, OPTION_TEXT, FIELD(resume), 0, 0, NULL, NULL },
    { CMD_QAT, 0, "log", "FILE", keeping, "write a line for each step and epoch to FILE (CSV)",
      NULL, OPTION_TEXT, FIELD(log), 0, 0, NULL, NULL },

    { CMD_CALIBRATE | CMD_QAT, 'm', "method", "METHOD", calibration,
      "how the histogram of a value becomes its range; the methods are listed below", NULL,
      OPTION_CHOICE, FIELD(method), 0, 0, method_name, NULL },
    { CMD_BENCH, 'm', "methods", "LIST", calibration,
      "methods to compare, with commas between them; the first one is what training starts from; "
      "listed below",
      "all", OPTION_TEXT, FIELD(methods), 0, 0, NULL, NULL },
    { CMD_CALIBRATE | CMD_QAT | CMD_BENCH, 0, "percentile", "P", calibration,
      "percent of the values that --method percentile keeps", "99.99", OPTION_REAL,
      FIELD(percentile), 1, 100, NULL, NULL },
    { CMD_CALIBRATE | CMD_BENCH, 0, "ema", "C", calibration,
      "weight of the newest batch in the averages of --method ema", "0.01", OPTION_REAL, FIELD(ema),
      1e-9, 1, NULL, NULL },
    { CMD_CALIBRATE | CMD_BENCH, 0, "bins", "N", calibration, "bins of a histogram, a power of two",
      "2048", OPTION_POWER2, FIELD(bins), 256, 65536, NULL, NULL },

    { CMD_CALIBRATE | CMD_TRANSFORM | TRAINS, 'x', "exclude", "NAME", placement,
      "leave a node, a group or every operator of a type in float; `*' and `?' are wildcards; may "
      "be "
      "given more than once",
      NULL, OPTION_LIST, FIELD(exclude), 0, 0, NULL, NULL },
    { CMD_CALIBRATE | CMD_TRANSFORM | TRAINS, 0, "rule", "NAME", placement,
      "switch on a rule of the target; the rules are listed below; may be given more than once",
      NULL, OPTION_LIST, FIELD(rules), 0, 0, NULL, NULL },
    { CMD_CALIBRATE | CMD_QAT, 0, "weights", "FORM", placement,
      "how weights are stored: int8 initializers behind DequantizeLinear, or float ones behind "
      "QuantizeLinear and DequantizeLinear",
      "int8", OPTION_CHOICE, FIELD(weights), 0, 0, weights_name, NULL },
    { CMD_CALIBRATE | TRAINS, 0, "bits-w", "BITS", placement,
      "bits of the weights: 8, or 4 (int4: the model is raised to opset 21)", NULL, OPTION_CHOICE,
      FIELD(bits_w), 0, 0, bits_name, NULL },
    { CMD_CALIBRATE | TRAINS, 0, "bits-a", "BITS", placement, "bits of the activations", NULL,
      OPTION_CHOICE, FIELD(bits_a), 0, 0, bits_name, NULL },
    { CMD_CALIBRATE | CMD_QAT, 0, "int8-storage", NULL, placement,
      "keep weights of 4 bits in int8 tensors, for runtimes without int4", NULL, OPTION_FLAG,
      FIELD(int8_storage), 0, 0, NULL, NULL },
    { CMD_CALIBRATE | CMD_BENCH, 0, "weight-method", "METHOD", placement,
      "how the scales of weights are found, per output channel", NULL, OPTION_CHOICE,
      FIELD(weight_method), 0, 0, weight_method_name, NULL },
    { CMD_CALIBRATE | CMD_TRANSFORM | TRAINS, 0, "target", "NAME", placement,
      "hardware profile that decides what is quantized", "tensorrt", OPTION_TEXT, FIELD(target), 0,
      0, NULL, NULL },

    { WITH_DATA, 'b', "batch", "N", samples,
      "samples that run together; auto: 64, on a GPU 128 or what its memory takes", "auto",
      OPTION_INT, FIELD(batch), 1, 65536, NULL, NULL },
    { WITH_DATA | CMD_QAT, 'n', "limit", "N", samples, "use the first N samples of a file only",
      "all", OPTION_INT, FIELD(limit), 1, 9007199254740992.0, NULL, NULL },
    { CMD_CALIBRATE | CMD_EVAL | CMD_BENCH, 0, "allow-nonfinite", NULL, samples,
      "go on when the data holds NaN or infinity; they are counted and reported", NULL, OPTION_FLAG,
      FIELD(allow_nonfinite), 0, 0, NULL, NULL },

    { ALL, 0, "device", "DEVICE", machine,
      "where to run: cpu, cuda or cuda:N (a GPU), auto (a GPU when one works)", "cpu", OPTION_TEXT,
      FIELD(device), 0, 0, NULL, check_device },
    { ALL, 0, "precision", "PRECISION", machine,
      "on a GPU: tf32 (float32, products of shorter mantissas), fp32 or bf16 (faster, and coarser)",
      NULL, OPTION_CHOICE, FIELD(precision), 0, 0, ed_precision_at, NULL },
    { ALL, 0, "autotune", NULL, machine,
      "on a GPU: time the kernels that could run a convolution and keep the fastest for this and "
      "later runs, in ~/.cache/ed or the folder that ED_CACHE_DIR names",
      NULL, OPTION_FLAG, FIELD(autotune), 0, 0, NULL, NULL },
    { ALL, 'j', "threads", "N", machine, "threads that compute", "one per core", OPTION_INT,
      FIELD(threads), 1, 1024, NULL, NULL },

    { TRAINS, 0, "deterministic", NULL, machine,
      "on a GPU: only kernels that give the same bits each time", NULL, OPTION_FLAG,
      FIELD(deterministic), 0, 0, NULL, NULL },
    { TRAINS, 0, "memory", "LIMIT", machine,
      "bytes (or 800M, 20G) for activations: above it some are computed again", "no limit",
      OPTION_BYTES, FIELD(memory), 1, 0x1p53, NULL, NULL },
    { CMD_INSPECT, 0, "devices", NULL, machine, "list the devices of this build instead", NULL,
      OPTION_FLAG, FIELD(devices), 0, 0, NULL, NULL },
    { CMD_RUN, 0, "reference", NULL, machine,
      "run the plain C reference kernels only, nothing fused", NULL, OPTION_FLAG, FIELD(reference),
      0, 0, NULL, NULL },
    { CMD_RUN, 0, "transform", NULL, machine, "apply conversions and fusions first", NULL,
      OPTION_FLAG, FIELD(transform), 0, 0, NULL, NULL },

    { CMD_RUN, 0, "profile", NULL, messages, "also print the seconds of every step, slowest first",
      NULL, OPTION_FLAG, FIELD(profile), 0, 0, NULL, NULL },
    { CMD_EVAL, 0, "layers", NULL, messages,
      "also print the SQNR of every group of the second model against the first, worst first", NULL,
      OPTION_FLAG, FIELD(layers), 0, 0, NULL, NULL },
    { CMD_BENCH, 0, "html", "FILE", messages,
      "write the comparison to FILE as a page of its own: tables, and charts of groups, histograms "
      "and training",
      NULL, OPTION_TEXT, FIELD(html), 0, 0, NULL, NULL },
    { CMD_BENCH, 0, "json", "FILE", messages,
      "write all that the page shows to FILE as JSON; - prints it instead of the table", NULL,
      OPTION_TEXT, FIELD(json_file), 0, 0, NULL, NULL },
    { ALL & ~CMD_BENCH, 0, "json", NULL, messages, "print one JSON object instead of tables", NULL,
      OPTION_FLAG, FIELD(json), 0, 0, NULL, NULL },
    { CMD_CALIBRATE, 'q', "quiet", NULL, messages, "print warnings and errors only, no table", NULL,
      OPTION_FLAG, FIELD(quiet), 0, 0, NULL, NULL },
    { CMD_TRANSFORM | CMD_RUN | TRAINS, 'q', "quiet", NULL, messages,
      "print warnings and errors only, no table", NULL, OPTION_FLAG, FIELD(quiet), 0, 0, NULL,
      NULL },
    { CMD_INSPECT, 'q', "quiet", NULL, messages, "print the tables only, not what runs where", NULL,
      OPTION_FLAG, FIELD(quiet), 0, 0, NULL, NULL },
    { CMD_EVAL, 'q', "quiet", NULL, messages, "print the table, warnings and errors only", NULL,
      OPTION_FLAG, FIELD(quiet), 0, 0, NULL, NULL },
    { CMD_TRANSFORM, 'v', "verbose", NULL, messages,
      "tell what matched where and why not, and print the transformed graph; twice: more", NULL,
      OPTION_COUNT, FIELD(verbose), 0, 0, NULL, NULL },
    { CMD_QAT, 'v', "verbose", NULL, messages, "tell what trains; twice: more", NULL, OPTION_COUNT,
      FIELD(verbose), 0, 0, NULL, NULL },
    { CMD_INSPECT | CMD_RUN | CMD_BENCH, 'v', "verbose", NULL, messages,
      "tell what is done; twice: more", NULL, OPTION_COUNT, FIELD(verbose), 0, 0, NULL, NULL },
    { CMD_CALIBRATE | CMD_EVAL, 'v', "verbose", NULL, messages,
      "tell what is done, and print the graph as it is quantized; twice: more", NULL, OPTION_COUNT,
      FIELD(verbose), 0, 0, NULL, NULL },
};

_Static_assert(sizeof option_rows / sizeof option_rows[0] <= OPTION_MAX_ROWS,
               "settings.given has a place for each row");

const option_row *option_row_at(size_t i)
{
    return i < sizeof option_rows / sizeof option_rows[0] ? &option_rows[i] : NULL;
}

const char *option_default(const option_row *row)
{
    return row->standard || !row->choice ? row->standard : row->choice(0);
}

/* ---- listings ---- */

bool option_method_row(size_t i, const char **name, const char **help)
{
    const ed_method *method = ed_method_at(i);
    *name = method ? method->name : NULL;
    *help = method ? method->help : NULL;
    return method != NULL;
}

#define QAT_LISTING(function, at)                                                                  \
    bool function(size_t i, const char **name, const char **help)                                  \
    {                                                                                              \
        const ed_qat_choice *choice = at(i);                                                       \
        *name = choice ? choice->name : NULL;                                                      \
        *help = choice ? choice->help : NULL;                                                      \
        return choice != NULL;                                                                     \
    }
QAT_LISTING(option_optimizer_row, ed_optimizer_at)
QAT_LISTING(option_schedule_row, ed_schedule_at)
QAT_LISTING(option_loss_row, ed_loss_at)
QAT_LISTING(option_scales_row, ed_scales_at)
QAT_LISTING(option_weight_scales_row, ed_weight_scales_at)

bool option_rule_row(size_t i, const char **name, const char **help)
{
    const ed_rule_info *rule = ed_target_rule(NULL, i);
    *name = rule ? rule->name : NULL;
    *help = rule ? rule->help : NULL;
    return rule != NULL;
}
