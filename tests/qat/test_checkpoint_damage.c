/* Checkpoints: damage of any kind is seen, nothing is lost. */
#include "checkpoint_sample.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/strmap.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <hdf5.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- damage ---- */

static void cut_anywhere(void **state)
{
    (void)state;
    char *bytes;
    size_t n;
    write_number(1);
    assert_int_equal(ed_file_read((void **)&bytes, &n, PATH), ED_OK);
    for (size_t length = 0; length < n; length += length < 600 ? 1 : 37) {
        put_bytes(PATH, bytes, length);
        expect_refused(ED_EFORMAT, "damaged or cut short");
    }
    put_bytes(PATH, bytes, n - 1);
    expect_refused(ED_EFORMAT, "damaged or cut short");
    char *longer = ed_malloc(n + 1);
    memcpy(longer, bytes, n);
    longer[n] = 0;
    put_bytes(PATH, longer, n + 1);
    expect_refused(ED_EFORMAT, "damaged or cut short");
    ed_free(longer);
    ed_free(bytes);
    remove_files();
}

static void any_bit_flipped(void **state)
{
    (void)state;
    char *bytes;
    size_t n;
    write_number(1);
    assert_int_equal(ed_file_read((void **)&bytes, &n, PATH), ED_OK);
    for (size_t i = 0; i < n; i += i < 600 ? 1 : 13) {
        bytes[i] = (char)(bytes[i] ^ 1 << i % 8);
        put_bytes(PATH, bytes, n);
        expect_refused(ED_EFORMAT, i < 16 ? "no checkpoint" : "damaged");
        bytes[i] = (char)(bytes[i] ^ 1 << i % 8);
    }
    put_bytes(PATH, bytes, n);
    ed_checkpoint_free(read_good(PATH));
    ed_free(bytes);
    remove_files();
}

/* A right checksum over what no training wrote: HDF5 files of other kinds. */
static void seal(const char *path)
{
    char *bytes, head[512] = { 0 };
    size_t n;
    assert_int_equal(ed_file_read((void **)&bytes, &n, path), ED_OK);
    snprintf(head, sizeof head, "ed-checkpoint 1\n%016llx\n",
             (unsigned long long)(n > 512 ? ed_hash(0, bytes + 512, n - 512) : 0));
    memcpy(bytes, head, n < 512 ? n : 512);
    put_bytes(path, bytes, n);
    ed_free(bytes);
}

static hid_t create_strange(void)
{
    hid_t plist = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_userblock(plist, 512);
    hid_t file = H5Fcreate(PATH, H5F_ACC_TRUNC, plist, H5P_DEFAULT);
    H5Pclose(plist);
    return file;
}

static void add_strange(hid_t file, const char *name, hid_t type, hsize_t n, const void *data)
{
    hid_t space = H5Screate_simple(1, &n, NULL);
    hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (data)
        H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data);
    H5Dclose(set);
    H5Sclose(space);
}

static void strange_files_with_a_right_checksum(void **state)
{
    (void)state;
    const double x[4] = { 0 };
    for (int kind = 0; kind < 8; kind++) {
        hid_t file = create_strange(), text = H5Tcopy(H5T_C_S1);
        H5Tset_size(text, H5T_VARIABLE);
        if (kind == 1)
            add_strange(file, "%names", H5T_NATIVE_FLOAT, 2, x);
        else if (kind == 2)
            add_strange(file, "%names", H5T_NATIVE_UINT8, 2, "ab");
        else if (kind > 2)
            add_strange(file, "%names", H5T_NATIVE_UINT8, 2, "a");
        if (kind == 4) /* declared, but not there: 4 TiB */
            add_strange(file, "a", H5T_NATIVE_FLOAT, (hsize_t)1 << 40, NULL);
        else if (kind == 5)
            add_strange(file, "a", text, 1, NULL);
        else if (kind == 6)
            add_strange(file, "a", H5T_NATIVE_LDOUBLE, 1, NULL);
        else if (kind == 7)
            H5Gclose(H5Gcreate2(file, "a", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
        H5Tclose(text);
        H5Fclose(file);
        seal(PATH);
        expect_refused(ED_EFORMAT, "is not what a checkpoint holds");
    }
    char zeros[600] = { 0 };
    put_bytes(PATH, zeros, sizeof zeros);
    seal(PATH);
    expect_refused(ED_EFORMAT, "not an HDF5 file");
    remove_files();
}

static void other_files(void **state)
{
    (void)state;
    remove_files();
    expect_refused(ED_ENOTFOUND, "cannot open: No such file");
    put_bytes(PATH, "a text that is no checkpoint", 28);
    expect_refused(ED_EFORMAT, "no checkpoint of training");
    remove_files();
    assert_int_equal(mkdir(PATH, 0700), 0);
    expect_refused(ED_EIO, "not a regular file");
    ed_checkpoint *c = new_good();
    assert_int_equal(ed_checkpoint_write(c, PATH), ED_EIO);
    assert_int_equal(ed_checkpoint_write(c, "no-such-folder/run.h5"), ED_EIO);
    ed_checkpoint_free(c);
    rmdir(PATH);
}

/* ---- the one before ---- */

static void the_previous_one_is_kept_and_used(void **state)
{
    (void)state;
    ed_checkpoint *c;
    char *note;
    write_number(1);
    assert_int_equal(access(PREVIOUS, F_OK), -1);
    for (int k = 2; k < 5; k++) {
        write_number(k);
        c = read_good(PATH);
        expect_number(c, k);
        ed_checkpoint_free(c);
        c = read_good(PREVIOUS);
        expect_number(c, k - 1);
        ed_checkpoint_free(c);
    }
    for (int kind = 0; kind < 3; kind++) { /* cut, another kind of file, not there */
        if (kind < 2)
            put_bytes(PATH, kind ? "other" : "ed-check", kind ? 5 : 8);
        else
            unlink(PATH);
        assert_int_equal(ed_checkpoint_read(&c, PATH, &note), ED_OK);
        expect_number(c, 3);
        const char *const why[] = { "damaged", "no checkpoint", "cannot open" };
        assert_non_null(strstr(note, why[kind]));
        assert_non_null(strstr(note, PREVIOUS " is used in its place"));
        ed_checkpoint_free(c);
        ed_free(note);
    }
    put_bytes(PREVIOUS, "x", 1);
    expect_refused(ED_ENOTFOUND, "cannot open");
    remove_files();
}

/* A damaged file does not take the place of the good one before it. */
static void only_sound_ones_are_kept(void **state)
{
    (void)state;
    write_number(1);
    write_number(2);
    assert_int_equal(truncate(PATH, 600), 0);
    write_number(3);
    ed_checkpoint *c = read_good(PREVIOUS);
    expect_number(c, 1);
    ed_checkpoint_free(c);
    put_bytes(PATH, "", 0);
    write_number(4);
    c = read_good(PATH);
    expect_number(c, 4);
    ed_checkpoint_free(c);
    remove_files();
}

static void a_file_of_another_kind_is_not_lost(void **state)
{
    (void)state;
    static const char *const paths[] = { PATH, PREVIOUS };
    ed_checkpoint *c = new_good();
    for (size_t i = 0; i < ED_LENGTH(paths); i++) {
        char *bytes, said[64];
        size_t n;
        assert_int_equal(ed_checkpoint_check_path(PATH), ED_OK);
        write_number(1);
        assert_int_equal(ed_checkpoint_check_path(PATH), ED_OK);
        put_bytes(paths[i], "precious", 8);
        snprintf(said, sizeof said, "%s: cannot write a checkpoint there", paths[i]);
        assert_int_equal(ed_checkpoint_check_path(PATH), ED_EFORMAT);
        assert_non_null(strstr(ed_error_last(), said));
        assert_int_equal(ed_checkpoint_write(c, PATH), ED_EFORMAT);
        assert_non_null(strstr(ed_error_last(), said));
        assert_int_equal(ed_file_read((void **)&bytes, &n, paths[i]), ED_OK);
        assert_int_equal(n, 8);
        assert_memory_equal(bytes, "precious", 8);
        ed_free(bytes);
        remove_files();
    }
    ed_checkpoint_free(c);
}

static void through_a_symbolic_link(void **state)
{
    (void)state;
    ed_checkpoint *c;
    put_bytes("real.h5", "", 0);
    assert_int_equal(symlink("real.h5", PATH), 0);
    for (int k = 1; k < 4; k++)
        write_number(k);
    c = read_good("real.h5");
    expect_number(c, 3);
    ed_checkpoint_free(c);
    c = read_good(PREVIOUS);
    expect_number(c, 2);
    ed_checkpoint_free(c);
    unlink("real.h5");
    remove_files();
}

static int number_in(const char *path)
{
    ed_checkpoint *c = read_good(path);
    const float *x = ed_checkpoint_get(c, "a/w")->data;
    int number = (int)(x[0] / 1000);
    expect_number(c, number);
    ed_checkpoint_free(c);
    return number;
}

static void killed_at_any_moment_two_are_sound(void **state)
{
    (void)state;
    struct stat a, b;
    write_number(1);
    write_number(2);
    for (int kill_at = 0; kill_at < 40; kill_at++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            for (int k = number_in(PATH) + 1;; k++)
                write_number(k);
        usleep((useconds_t)(3000 + 397 * kill_at)); /* into another place each time */
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        assert_true(number_in(PREVIOUS) < number_in(PATH));
        assert_int_equal(stat(PATH, &a) | stat(PREVIOUS, &b), 0);
        assert_true(a.st_ino != b.st_ino);
    }
    write_number(0);
    assert_int_equal(system("ls | grep -q " PATH ".*tmp") != 0, 1); /* nothing is left */
    remove_files();
}

/* A folder stands where the second name would be made, so the file is copied. */
static void where_links_fail_a_copy(void **state)
{
    (void)state;
    char obstacle[64];
    snprintf(obstacle, sizeof obstacle, PREVIOUS ".tmp-%ld-0", (long)getpid());
    assert_int_equal(mkdir(obstacle, 0700), 0);
    for (int k = 1; k < 4; k++)
        write_number(k);
    ed_checkpoint *c = read_good(PREVIOUS);
    expect_number(c, 2);
    ed_checkpoint_free(c);
    assert_int_equal(rmdir(obstacle), 0);
    remove_files();
}

static void a_full_disk_keeps_the_old_files(void **state)
{
    (void)state;
    struct rlimit old, small = { 0 };
    float *x = calloc(1 << 20, sizeof *x);
    ed_checkpoint *c = new_good();
    assert_int_equal(ed_checkpoint_set(c, "x", ED_F32, &ED_SHAPE(1 << 20), x), ED_OK);
    write_number(1);
    write_number(2);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    for (rlim_t size = 0; size < 4 << 20; size = size * 3 + 100) {
        small.rlim_cur = size;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        int rc = ed_checkpoint_write(c, PATH);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(rc, ED_EIO);
        assert_non_null(strstr(ed_error_last(), PATH ": cannot write"));
        ed_checkpoint *got = read_good(PATH);
        expect_number(got, 2);
        ed_checkpoint_free(got);
        got = read_good(PREVIOUS);
        expect_number(got, 1);
        ed_checkpoint_free(got);
    }
    ed_checkpoint_free(c);
    free(x);
    remove_files();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(any_bit_flipped),
        cmocka_unit_test(strange_files_with_a_right_checksum),
        cmocka_unit_test(other_files),
        cmocka_unit_test(the_previous_one_is_kept_and_used),
        cmocka_unit_test(only_sound_ones_are_kept),
        cmocka_unit_test(a_file_of_another_kind_is_not_lost),
        cmocka_unit_test(through_a_symbolic_link),
        cmocka_unit_test(killed_at_any_moment_two_are_sound),
        cmocka_unit_test(where_links_fail_a_copy),
        cmocka_unit_test(a_full_disk_keeps_the_old_files),
    };
    remove_files();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
