/* What the programs of the harness share: case files as families, checks over their cases, the
 * device to run on. */
#ifndef TESTS_OPS_HARNESS_H
#define TESTS_OPS_HARNESS_H

#include "case.h"
#include "ed/exec.h"

typedef struct family { /* the cases of one file */
    char name[64];
    op_case *cases;
    size_t count;
} family;

enum { MAX_FAMILIES = 40 };
extern family families[MAX_FAMILIES];
extern size_t n_families;

/* Read all case files of a folder, or one family alone. */
int families_read(const char *folder, const char *only);
void families_free(void);

/* A check says in text what is wrong. */
typedef bool (*check_fn)(char *text, size_t size, const op_case *c);
/* Run a check over the cases of a family that must work, or must fail; for cmocka. */
void check_family(const family *f, bool failing, check_fn check);

/* A test of each family; its state is the family. */
typedef struct family_test {
    const char *name;
    void (*run)(void **state);
    bool on_device; /* runs also where ED_TEST_DEVICE is set */
} family_test;
/* All tests of all families; the number of failures. */
int families_run(const family_test *tests, size_t n);

/* From ED_TEST_DEVICE and ED_TEST_PRECISION. */
typedef struct harness_device {
    ed_exec_options exec;
    double nmse;                          /* limit of the normalized mean squared error */
    bool rounds_products, rounds_storage; /* to tf32 or bfloat16; all values to bfloat16 */
} harness_device;
extern harness_device harness;
/* False, after a message, when that device is not here. */
bool harness_choose_device(void);

/* Compile and run a graph whose inputs are called in<i> and fed with data[i]. outs[] receives a
 * copy of each output, *plan the printed plan; host_steps may be NULL. */
int harness_execute(ed_tensor **outs, const ed_graph *g, ed_tensor *const *data,
                    const ed_exec_options *options, char **plan, size_t *host_steps);

#endif
