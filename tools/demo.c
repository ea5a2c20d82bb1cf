/* The demo's files: handwritten digits, installed with the commands, or in the source tree that
 * they were built in. */
#include "common.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const places[] = { "../share/ed/demo", "../../../datasets" };

/* The path of a file of the demo; NULL when it is not there. */
static const char *find(const char *name, char path[PATH_MAX])
{
    char folder[PATH_MAX], wanted[2 * PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (n < 0)
        return NULL;
    folder[n] = '\0';
    *strrchr(folder, '/') = '\0';
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        int length = snprintf(wanted, sizeof wanted, "%s/%s/%s", folder, places[i], name);
        if (length > 0 && (size_t)length < sizeof wanted && realpath(wanted, path))
            return path;
    }
    return NULL;
}

bool tool_demo_wanted(const settings *s)
{
    return !s->operands.count && !s->data;
}

int tool_demo(demo_files *files)
{
    static char paths[3][PATH_MAX];
    static const char *const names[] = { "digits_train.h5", "digits_calib.h5", "digits_test.h5" };
    const char *found[3];
    for (size_t i = 0; i < 3; i++) {
        found[i] = find(names[i], paths[i]);
        if (!found[i])
            return tool_fail(ED_ENOTFOUND,
                             "the demo's file %s is not installed; give a MODEL and --data FILE",
                             names[i]);
    }
    *files = (demo_files){ .train = found[0], .calib = found[1], .test = found[2] };
    tool_note("no MODEL and no --data: running the demo, handwritten digits");
    return ED_OK;
}
