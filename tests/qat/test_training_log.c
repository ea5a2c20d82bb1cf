/* The log of a run: its lines, and each of them once when the run is stopped and goes on. On the
 * device that the environment's ED_TEST_DEVICE names. */
#include "toy.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char train_path[] = "test_log.h5", check_path[] = "test_log_check.h5";
static const char log_path[] = "test_log.csv";

enum { SAMPLES = 45, BATCH = 8, BATCHES = 6, EPOCHS = 3, TEXT = 1 << 14 };

/* Asks to stop where it stands. */
typedef struct place {
    bool epoch_end;
    int64_t step;
} place;

static int stop(void *ctx, const ed_qat_report *r)
{
    const place *p = ctx;
    return r->epoch_end == p->epoch_end && r->step >= p->step;
}

static int train(const char *resume, const place *until, bool with_val)
{
    ed_graph *graph = toy_quantized(toy_mlp, 0.05f);
    ed_dataset *data = toy_open(train_path, graph, BATCH);
    ed_dataset *val = with_val ? toy_open(train_path, graph, 10) : NULL;
    ed_qat_result result;
    ed_qat_options opts = { .epochs = EPOCHS,
                            .loss = "labels",
                            .learning_rate = 0.05,
                            .device = getenv("ED_TEST_DEVICE"),
                            .checkpoint = check_path,
                            .resume = resume,
                            .log = log_path,
                            .report = until ? stop : NULL,
                            .report_ctx = (void *)until };
    int rc = ed_qat_train(&result, graph, NULL, data, val, &opts);
    ed_dataset_close(data);
    ed_dataset_close(val);
    ed_graph_free(graph);
    return rc;
}

static void train_well(const char *resume, const place *until, bool with_val)
{
    if (train(resume, until, with_val) != ED_OK)
        fail_msg("%s", ed_error_last());
}

static void write_log(const char *text, const char *mode)
{
    FILE *file = fopen(log_path, mode);
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* Its text without the last column, the rate. */
static void read_log(char text[TEXT])
{
    char line[256];
    size_t n = 0;
    FILE *file = fopen(log_path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        char *last = strrchr(line, ',');
        n += (size_t)snprintf(text + n, TEXT - n, "%.*s\n", (int)(last ? last - line : 256), line);
        assert_true(n < TEXT);
    }
    fclose(file);
}

static void every_line_has_its_columns(void **unused)
{
    (void)unused;
    char line[256];
    int lines = 0, epochs = 0;
    train_well(NULL, NULL, true);
    FILE *file = fopen(log_path, "r");
    assert_non_null(file);
    for (; fgets(line, sizeof line, file); lines++) {
        int commas = 0;
        for (const char *c = line; *c; c++)
            commas += *c == ',';
        assert_int_equal(commas, 8);
        epochs += strncmp(line, "epoch,", 6) == 0;
    }
    fclose(file);
    assert_int_equal(lines, 1 + EPOCHS * BATCHES + EPOCHS);
    assert_int_equal(epochs, EPOCHS);
}

/* Behind the checkpoint's place there may be lines of a run that was killed, or half of one. */
static void a_resumed_run_has_every_line_once(void **unused)
{
    (void)unused;
    static const char *const tails[] = { "",
                                         "step,1,9,1,,,,0.1,9\nstep,1,10,2,,,,0.1,9\n",
                                         "epoch,1,12,1,,,,0.1,9\n",
                                         "step,0,3,0.4",
                                         "\n",
                                         "st" };
    static const place places[] = { { false, 1 }, { false, 3 }, { false, 6 }, { true, 6 } };
    static char straight[TEXT], resumed[TEXT];
    for (int with_val = 0; with_val < 2; with_val++) {
        train_well(NULL, NULL, with_val);
        read_log(straight);
        for (size_t p = 0; p < ED_LENGTH(places); p++)
            for (size_t i = 0; i < ED_LENGTH(tails); i++) {
                train_well(NULL, &places[p], with_val);
                write_log(tails[i], "a");
                train_well(check_path, NULL, with_val);
                read_log(resumed);
                assert_string_equal(resumed, straight);
            }
    }
    train_well(check_path, NULL, true); /* a finished run adds nothing */
    read_log(resumed);
    assert_string_equal(resumed, straight);
}

static void what_was_just_begun_is_begun_anew(void **unused)
{
    (void)unused;
    static const char *const texts[] = { NULL, "", "kind,epo" };
    static char text[TEXT];
    train_well(NULL, &(place){ false, 3 }, false);
    for (size_t i = 0; i < ED_LENGTH(texts); i++) {
        unlink(log_path);
        if (texts[i])
            write_log(texts[i], "w");
        train_well(check_path, NULL, false);
        read_log(text);
        assert_int_equal(strncmp(text, "kind,epoch,step,", 16), 0);
        assert_null(strstr(text, "\nstep,0,1,"));
        assert_non_null(strstr(text, "\nepoch,2,18,"));
        train_well(NULL, &(place){ false, 3 }, false);
    }
}

static void a_file_that_is_no_log_stays(void **unused)
{
    (void)unused;
    static const char *const texts[] = { "a,b\n1,2\n", "kind,epoch,ste\n",
                                         "kind,epoch,step\n1,2\n" };
    char now[64];
    train_well(NULL, NULL, false);
    for (size_t i = 0; i < ED_LENGTH(texts); i++) {
        write_log(texts[i], "w");
        assert_int_equal(train(check_path, NULL, false), ED_EFORMAT);
        assert_non_null(strstr(ed_error_last(), "test_log.csv: it is no log of training"));
        FILE *file = fopen(log_path, "r");
        now[fread(now, 1, sizeof now - 1, file)] = '\0';
        fclose(file);
        assert_string_equal(now, texts[i]);
    }
    unlink(log_path);
    assert_int_equal(symlink("/dev/null", log_path), 0); /* nothing can be read back */
    train_well(check_path, NULL, false);
}

static int write_data(void **unused)
{
    (void)unused;
    toy_write(train_path, SAMPLES, 11);
    return 0;
}

static int remove_files(void **unused)
{
    (void)unused;
    unlink(train_path);
    unlink(log_path);
    unlink(check_path);
    unlink("test_log_check.h5.previous");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_line_has_its_columns),
        cmocka_unit_test(a_resumed_run_has_every_line_once),
        cmocka_unit_test(what_was_just_begun_is_begun_anew),
        cmocka_unit_test(a_file_that_is_no_log_stays),
    };
    return cmocka_run_group_tests(tests, write_data, remove_files);
}
