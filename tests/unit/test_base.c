/* Errors, memory, maps, strings, parallel ranges, and files that appear whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "base/strbuf.h"
#include "base/strmap.h"

#include <string.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_error_sentence(void **state)
{
    (void)state;
    assert_int_equal(ed_error_set(ED_EIO, "file %d", 7), ED_EIO);
    assert_string_equal(ed_error_last(), "file 7");
    assert_int_equal(ed_error_context(ED_EIO, "outer %s", "x"), ED_EIO);
    assert_string_equal(ed_error_last(), "outer x: file 7");
    ed_error_set(ED_EIO, "again: %s", ed_error_last()); /* reads the old sentence while writing */
    assert_string_equal(ed_error_last(), "again: outer x: file 7");
    char big[5000];
    memset(big, 'a', sizeof big - 1);
    big[sizeof big - 1] = 0;
    ed_error_set(ED_EIO, "%s", big);
    ed_error_context(ED_EIO, "%s", big);
    assert_true(strlen(ed_error_last()) < 1024);
    assert_string_equal(ed_error_name(ED_OK), "ok");
    assert_string_equal(ed_error_name(ED_EINTERNAL), "internal");
    assert_string_equal(ed_error_name(-99), "unknown");
    assert_string_equal(ed_error_name(5), "unknown");
}

static int logged;
static void count_log(void *ctx, ed_log_level level, const char *text)
{
    assert_int_equal(level, ED_LOG_WARNING);
    assert_string_equal(text, "n 3");
    logged += *(int *)ctx;
}

static void test_log(void **state)
{
    (void)state;
    int weight = 5;
    ed_log(ED_LOG_WARNING, "nobody %d", 1);
    ed_log_set(count_log, &weight);
    ed_log(ED_LOG_WARNING, "n %d", 3);
    ed_log_set(NULL, NULL);
    assert_int_equal(logged, 5);
}

static void test_memory(void **state)
{
    (void)state;
    size_t product;
    int64_t wide;
    assert_false(ed_mul_size(SIZE_MAX / 2, 3, &product));
    assert_true(ed_mul_size(6, 7, &product) && product == 42);
    assert_false(ed_add_size(SIZE_MAX, 1, &product));
    assert_false(ed_mul_i64(INT64_MAX, 2, &wide));
    assert_null(ed_calloc(SIZE_MAX / 2, 3));
    assert_null(ed_realloc(NULL, SIZE_MAX / 2, 3));
    void *p = ed_aligned_alloc(0);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 64, 0);
    ed_free(p);
    ed_free(NULL);
    int *list = NULL;
    size_t capacity = 0;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(ed_grow(&list, &capacity, (size_t)i + 1, sizeof *list), ED_OK);
        list[i] = i;
    }
    assert_int_equal(list[999], 999);
    ed_free(list);
    ed_alloc_fail_at(2);
    p = ed_malloc(1);
    assert_non_null(p);
    assert_null(ed_malloc(10));
    assert_non_null(strstr(ed_error_last(), "out of memory: 10 bytes"));
    assert_null(ed_strdup("later ones fail too"));
    assert_int_equal(ed_alloc_count(), 3);
    ed_alloc_fail_at(0);
    ed_free(p);
}

static void test_arena(void **state)
{
    (void)state;
    ed_arena *a = ed_arena_new();
    char *first = ed_arena_strdup(a, "first");
    for (int i = 1; i < 3000; i++) {
        unsigned char *p = ed_arena_alloc(a, (size_t)i, 7);
        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        for (int k = 0; k < i * 7; k++)
            assert_int_equal(p[k], 0);
        memset(p, 255, (size_t)i * 7);
    }
    assert_string_equal(first, "first");
    assert_string_equal(ed_arena_printf(a, "%d-%s", 4, "x"), "4-x");
    assert_null(ed_arena_alloc(a, SIZE_MAX / 2, 4));
    assert_null(ed_arena_alloc(a, SIZE_MAX, 1));
    ed_arena_free(a);
    ed_arena_free(NULL);
}

static void test_strmap(void **state)
{
    (void)state;
    ed_strmap map = { 0 };
    char(*keys)[16] = ed_malloc(5000 * sizeof *keys);
    uint32_t value = 0;
    assert_false(ed_strmap_get(&map, "none", &value));
    for (uint32_t i = 0; i < 5000; i++) {
        snprintf(keys[i], sizeof keys[i], "key%u", i);
        assert_int_equal(ed_strmap_put(&map, keys[i], i), ED_OK);
    }
    assert_int_equal(ed_strmap_put(&map, "key7", 70), ED_OK);
    for (uint32_t i = 0; i < 5000; i++) {
        assert_true(ed_strmap_get(&map, keys[i], &value));
        assert_int_equal(value, i == 7 ? 70 : i);
    }
    assert_int_equal(map.count, 5000);
    assert_false(ed_strmap_get(&map, "", NULL));
    ed_strmap_clear(&map);
    ed_free(keys);
    assert_int_not_equal(ed_hash(0, "ab", 2), ed_hash(0, "ba", 2));
    assert_int_not_equal(ed_hash(0, "\0", 1), ed_hash(0, "\0\0", 2));
    assert_int_not_equal(ed_hash(0, "", 0), ed_hash(1, "", 0));
}

static void test_strbuf(void **state)
{
    (void)state;
    ed_strbuf buf = { 0 };
    assert_string_equal(ed_strbuf_text(&buf), "");
    for (int i = 0; i < 1000; i++)
        ed_strbuf_printf(&buf, "%d,", i % 10);
    assert_int_equal(buf.length, 2000);
    assert_int_equal(strncmp(ed_strbuf_text(&buf), "0,1,2,3", 7), 0);
    ed_strbuf_free(&buf);
    ed_alloc_fail_at(1);
    ed_strbuf_printf(&buf, "x");
    ed_alloc_fail_at(0);
    assert_true(buf.failed);
    assert_string_equal(ed_strbuf_text(&buf), "");
    ed_strbuf_free(&buf);
}

typedef struct mark {
    unsigned char *seen;
    int64_t grain;
} mark;

static void mark_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    mark *m = ctx;
    assert_true(thread >= 0 && thread < ed_threads_get());
    assert_int_equal(begin % m->grain, 0);
    for (int64_t i = begin; i < end; i++)
        m->seen[i]++;
}

static void test_parallel(void **state)
{
    (void)state;
    unsigned char seen[1000];
    assert_int_equal(ed_threads_set(-1), ED_EINVAL);
    for (int threads = 1; threads <= 5; threads++) {
        assert_int_equal(ed_threads_set(threads), ED_OK);
        for (int64_t n = 0; n < 1000; n += 37) {
            for (int64_t grain = 1; grain < 300; grain += 99) {
                memset(seen, 0, sizeof seen);
                ed_parallel_for(n, grain, mark_range, &(mark){ seen, grain });
                for (int64_t i = 0; i < 1000; i++)
                    assert_int_equal(seen[i], i < n);
            }
        }
    }
    assert_int_equal(ed_threads_set(0), ED_OK);
    assert_true(ed_threads_get() >= 1);
}

/* ---- files ---- */

static void write_text(const char *path, const char *text, bool commit)
{
    ed_atomic_file *f;
    assert_int_equal(ed_atomic_open(&f, path), ED_OK);
    fputs(text, ed_atomic_stream(f));
    if (commit)
        assert_int_equal(ed_atomic_commit(f), ED_OK);
    else
        ed_atomic_abort(f);
}

static void assert_content(const char *path, const char *text)
{
    void *data;
    size_t size;
    assert_int_equal(ed_file_read(&data, &size, path), ED_OK);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(data, text, size);
    ed_free(data);
}

static int count_files(void)
{
    FILE *p = popen("ls -A . | wc -l", "r");
    int n = -1;
    assert_int_equal(fscanf(p, "%d", &n), 1);
    pclose(p);
    return n;
}

static void test_atomic_files(void **state)
{
    (void)state;
    char folder[] = "atomic-XXXXXX";
    ed_atomic_file *f;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    write_text("a.txt", "one", true);
    assert_int_equal(chmod("a.txt", 0640), 0);
    write_text("a.txt", "two", false);
    assert_content("a.txt", "one");
    write_text("a.txt", "three", true);
    assert_content("a.txt", "three");
    struct stat st;
    assert_int_equal(stat("a.txt", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(symlink("a.txt", "link"), 0);
    write_text("link", "through", true);
    assert_content("a.txt", "through");
    assert_int_equal(lstat("link", &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(count_files(), 2);

    assert_int_equal(ed_atomic_open(&f, "none/a.txt"), ED_EIO);
    assert_null(f);
    assert_int_equal(ed_atomic_open(&f, "/dev/full"), ED_EIO);
    assert_int_equal(ed_atomic_open(&f, "."), ED_EIO);

    assert_int_equal(ed_atomic_open(&f, "b.txt"), ED_OK);
    assert_int_equal(count_files(), 3);
    ed_atomic_abort_all(); /* as a signal handler would */
    assert_int_equal(count_files(), 2);
    ed_atomic_abort(f);
    ed_atomic_abort(NULL);
    for (long n = 1; n <= 2; n++) {
        ed_alloc_fail_at(n);
        assert_int_equal(ed_atomic_open(&f, "b.txt"), ED_ENOMEM);
    }
    ed_alloc_fail_at(0);
    assert_int_equal(count_files(), 2);
    assert_int_equal(unlink("a.txt") | unlink("link") | chdir("..") | rmdir(folder), 0);
}

/* A child that is killed while it writes `path`. */
static void leave_temporary(const char *path)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        ed_atomic_file *f;
        if (ed_atomic_open(&f, path) == ED_OK)
            raise(SIGKILL);
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

/* The next one who writes the file removes them; other files, and those being written, stay. */
static void test_what_killed_processes_left(void **state)
{
    (void)state;
    static const char *const others[] = { "a.txt.tmp-", "a.txt.tmp-1", "a.txt.tmp-1-",
                                          "a.txt.tmp-1-2x", "b.txt.tmp-1-2" };
    char folder[] = "left-XXXXXX";
    ed_atomic_file *open;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    for (size_t i = 0; i < ED_LENGTH(others); i++)
        fclose(fopen(others[i], "w"));
    write_text("a.txt", "old", true);
    int kept = count_files();
    for (int i = 0; i < 3; i++)
        leave_temporary("a.txt"); /* each removes that of the one before it */
    assert_int_equal(count_files(), kept + 1);
    assert_content("a.txt", "old");
    assert_int_equal(ed_atomic_open(&open, "a.txt"), ED_OK);
    assert_int_equal(count_files(), kept + 1);
    fputs("slow", ed_atomic_stream(open));
    write_text("a.txt", "quick", true);
    assert_content("a.txt", "quick");
    assert_int_equal(ed_atomic_commit(open), ED_OK);
    assert_content("a.txt", "slow");
    assert_int_equal(count_files(), kept);
    for (size_t i = 0; i < ED_LENGTH(others); i++)
        assert_int_equal(unlink(others[i]), 0);
    assert_int_equal(unlink("a.txt") | chdir("..") | rmdir(folder), 0);
}

static void test_full_disk_keeps_the_old_file(void **state)
{
    (void)state;
    struct rlimit old, small = { 4096, 4096 };
    ed_atomic_file *f;
    write_text("full.txt", "old", true);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(ed_atomic_open(&f, "full.txt"), ED_OK);
    for (int i = 0; i < 100000; i++)
        fputs("0123456789", ed_atomic_stream(f));
    assert_int_equal(ed_atomic_commit(f), ED_EIO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_non_null(strstr(ed_error_last(), "full.txt"));
    assert_content("full.txt", "old");
    unlink("full.txt");
}

static void test_reading_files(void **state)
{
    (void)state;
    void *data;
    size_t size;
    assert_int_equal(ed_file_read(&data, &size, "is-not-there"), ED_ENOTFOUND);
    assert_non_null(strstr(ed_error_last(), "is-not-there"));
    assert_null(data);
    assert_int_equal(ed_file_read(&data, &size, "."), ED_EIO);
    assert_int_equal(ed_file_read(&data, &size, "/dev/zero"), ED_EIO);
    write_text("empty", "", true);
    assert_content("empty", "");
    unlink("empty");
    char *path = ed_path_beside("a/b.onnx", "c");
    assert_string_equal(path, "a/c");
    ed_free(path);
    path = ed_path_beside("b.onnx", "c");
    assert_string_equal(path, "c");
    ed_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_sentence),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_strmap),
        cmocka_unit_test(test_strbuf),
        cmocka_unit_test(test_parallel),
        cmocka_unit_test(test_atomic_files),
        cmocka_unit_test(test_what_killed_processes_left),
        cmocka_unit_test(test_full_disk_keeps_the_old_file),
        cmocka_unit_test(test_reading_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
