/*
 * Errors, messages and interrupts of the commands.
 *
 * Results go to standard output, everything else to standard error as "<command>: <sentence>". The
 * first SIGINT or SIGTERM asks the running job to stop; a second one, later, ends the process at
 * once.
 */
#include "common.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *tool_name = "ed";
static bool be_quiet;
static int64_t verbosity;
static char own_sentence[1024];
static volatile sig_atomic_t stop_signal;
static double stop_time;

static void say(const char *kind, const char *format, va_list args)
{
    progress_clear();
    fprintf(stderr, "%s: %s", tool_name, kind);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

int tool_fail(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(own_sentence, sizeof own_sentence, format, args);
    va_end(args);
    return code;
}

const char *tool_sentence(void)
{
    return own_sentence[0] ? own_sentence : ed_error_last();
}

void tool_note(const char *format, ...)
{
    if (be_quiet)
        return;
    va_list args;
    va_start(args, format);
    say("", format, args);
    va_end(args);
}

void tool_warn(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say("warning: ", format, args);
    va_end(args);
}

static void on_message(void *ctx, ed_log_level level, const char *text)
{
    (void)ctx;
    if (level == ED_LOG_WARNING)
        tool_warn("%s", text);
    else if (verbosity >= (level == ED_LOG_INFO ? 1 : 2))
        tool_note("%s", text);
}

static void on_signal(int number)
{
    const double twice = 0.5; /* seconds: timeout(1) and shells signal the process and its group */
    if (!stop_signal) {
        stop_time = tool_seconds();
    } else if (tool_seconds() - stop_time > twice) {
        ed_atomic_abort_all();
        signal(number, SIG_DFL);
        raise(number);
    }
    stop_signal = number;
}

/*
 * libgomp's waiting threads spin for milliseconds before they sleep, so that on a busy machine a
 * run takes several times longer. It reads the setting when it loads, before main: set it and begin
 * again, once. Under a debugger's or valgrind's loader /proc/self/exe is another program: then
 * leave it.
 */
void tool_begin(char **argv)
{
    char self[4096];
    if (!argv[0])
        return;
    const char *name = strrchr(argv[0], '/');
    name = name ? name + 1 : argv[0];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0 || getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY"))
        return;
    self[n] = 0;
    const char *base = strrchr(self, '/');
    if (base && strcmp(base + 1, name) == 0 && setenv("GOMP_SPINCOUNT", "1000", 1) == 0)
        execv(self, argv);
}

static void catch_signal(int number)
{
    struct sigaction action = { .sa_flags = SA_RESTART }, old;
    if (sigaction(number, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
        return; /* nohup and background jobs keep ignoring it */
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

int tool_start(const command *cmd, const settings *s)
{
    tool_name = cmd->name;
    be_quiet = s->quiet;
    verbosity = s->verbose;
    progress_init(s->quiet);
    ed_log_set(on_message, NULL);
    catch_signal(SIGINT);
    catch_signal(SIGTERM);
    return ed_threads_set((int)s->threads);
}

int tool_interrupted(void)
{
    return stop_signal ? tool_fail(ED_EINTR, "stopped by a signal; no file was changed") : ED_OK;
}

int tool_device(const char **out, const char *wanted)
{
    *out = wanted ? wanted : ED_DEVICE_CPU;
    if (strcmp(*out, "auto") != 0)
        return ed_device_check(*out);
    *out = "cuda";
    if (ed_device_check(*out) == ED_OK) {
        tool_note("--device auto: the GPU is used, cuda:0");
        return ED_OK;
    }
    *out = ED_DEVICE_CPU;
    tool_note("--device auto: the CPU is used: %s", ed_error_last());
    return ED_OK;
}

bool tool_fixed_batch(const ed_graph *graph)
{
    for (size_t i = 0; i < ed_graph_input_count(graph); i++) {
        ed_value_info input = ed_graph_input(graph, i);
        if (input.shape.rank > 0 && input.shape.dim[0] > 0)
            return true;
    }
    return false;
}

int64_t tool_batch(int64_t wanted, const ed_graph *graph, const char *device)
{
    enum { BATCH_GPU = 128 };
    bool chosen = wanted || tool_fixed_batch(graph) || strcmp(device, ED_DEVICE_CPU) == 0;
    return chosen ? wanted : BATCH_GPU;
}

bool tool_smaller_batch(int64_t *batch, int rc, const ed_graph *graph, const char *device)
{
    if (rc != ED_ENOMEM || strcmp(device, ED_DEVICE_CPU) == 0 || *batch == 1 ||
        tool_fixed_batch(graph))
        return false;
    *batch /= 2;
    progress_clear();
    tool_note("batches of %lld instead of %lld: %s", (long long)*batch, (long long)*batch * 2,
              ed_error_last());
    return true;
}

int tool_finish(int rc)
{
    progress_clear();
    if (rc != ED_OK)
        fprintf(stderr, "%s: %s\n", tool_name, tool_sentence());
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout)) {
        if (rc == ED_OK)
            fprintf(stderr, "%s: cannot write to standard output: %s\n", tool_name,
                    strerror(errno ? errno : EIO));
        rc = rc == ED_OK ? ED_EIO : rc;
    }
    if (rc == ED_EINTR)
        return stop_signal ? 128 + stop_signal : EXIT_INTERRUPTED;
    return rc == ED_OK ? 0 : EXIT_FAILED;
}

double tool_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
