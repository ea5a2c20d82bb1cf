/*
 * Write aside, fsync, rename (POSIX: rename(2) replaces atomically).
 *
 * A temporary is locked as long as it is written. The lock ends with its process, however that
 * ends, so one without a lock was left by a process that was killed; whoever writes the same file
 * next removes it.
 */
#include "base/file.h"

#include "base/mem.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct ed_atomic_file {
    FILE *stream;
    char *path, *temporary;
    int slot;
};

enum { MAX_OPEN = 16 };
static char *_Atomic open_temporaries[MAX_OPEN]; /* several threads may write files */
static atomic_uint opened;                       /* with it no two threads write one temporary */

static int fail_io(const char *verb, const char *path)
{
    int error = errno;
    return ed_error_set(error == ENOENT ? ED_ENOTFOUND : ED_EIO, "%s: cannot %s: %s", path, verb,
                        strerror(error));
}

static void release(ed_atomic_file *file)
{
    if (file->slot >= 0)
        open_temporaries[file->slot] = NULL;
    ed_free(file->path);
    ed_free(file->temporary);
    ed_free(file);
}

/* ---- what killed processes left ---- */

static const char *skip_number(const char *text)
{
    const char *end = text;
    while (isdigit((unsigned char)*end))
        end++;
    return end > text ? end : NULL;
}

/* Is it "<base>.tmp-<pid>-<number>"? */
static bool is_temporary(const char *name, const char *base)
{
    const char mark[] = ".tmp-";
    size_t n = strlen(base);
    if (strncmp(name, base, n) != 0 || strncmp(name + n, mark, sizeof mark - 1) != 0)
        return false;
    const char *end = skip_number(name + n + sizeof mark - 1);
    end = end && *end == '-' ? skip_number(end + 1) : NULL;
    return end && !*end;
}

static void remove_unlocked(int folder, const char *name)
{
    struct stat st;
    int fd = openat(folder, name, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0)
        (void)unlinkat(folder, name, 0);
    close(fd);
}

void ed_atomic_clean(const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    char *folder = ed_path_beside(path, ".");
    DIR *dir = folder ? opendir(folder) : NULL;
    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir))
        if (is_temporary(e->d_name, base))
            remove_unlocked(dirfd(dir), e->d_name);
    if (dir)
        closedir(dir);
    ed_free(folder);
}

/* ---- writing ---- */

/* A new, locked file. One that has no name any more was taken for left before it had its lock. */
static FILE *create_locked(const char *path)
{
    enum { TRIES = 8 };
    for (int i = 0; i < TRIES; i++) {
        struct stat st;
        (void)unlink(path);
        FILE *f = fopen(path, "wbx");
        if (!f)
            return NULL;
        (void)flock(fileno(f), LOCK_EX | LOCK_NB); /* not every file system can */
        if (fstat(fileno(f), &st) == 0 && st.st_nlink > 0)
            return f;
        fclose(f);
    }
    errno = EBUSY;
    return NULL;
}

int ed_atomic_open(ed_atomic_file **out, const char *path)
{
    *out = NULL;
    ed_atomic_file *file = ed_calloc(1, sizeof *file);
    if (!file)
        return ED_ENOMEM;
    file->slot = -1;
    struct stat st;
    bool there = stat(path, &st) == 0;
    int rc = ED_OK;
    if (there && !S_ISREG(st.st_mode)) {
        rc = ed_error_set(ED_EIO, "%s: cannot write: it is not a regular file", path);
        goto done;
    }
    char *real = there ? realpath(path, NULL) : NULL; /* write through a symbolic link */
    file->path = ed_strdup(real ? real : path);
    free(real);
    file->temporary = file->path ? ed_asprintf("%s.tmp-%ld-%u", file->path, (long)getpid(),
                                               atomic_fetch_add(&opened, 1))
                                 : NULL;
    if (!file->temporary) {
        rc = ED_ENOMEM;
        goto done;
    }
    for (int i = 0; i < MAX_OPEN && file->slot < 0; i++) {
        char *nobody = NULL;
        if (atomic_compare_exchange_strong(&open_temporaries[i], &nobody, file->temporary))
            file->slot = i;
    }
    ed_atomic_clean(file->path);
    file->stream = create_locked(file->temporary);
    if (!file->stream) {
        fail_io("write", path);
        rc = ED_EIO;
    } else if (there) {
        (void)fchmod(fileno(file->stream), st.st_mode & 07777);
    }
done:
    if (rc != ED_OK)
        release(file);
    else
        *out = file;
    return rc;
}

FILE *ed_atomic_stream(ed_atomic_file *file)
{
    return file->stream;
}

static void sync_folder(const char *path)
{
    char *folder = ed_path_beside(path, ".");
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY) : -1;
    if (fd >= 0) {
        (void)fsync(fd); /* some file systems refuse; the rename itself has happened */
        close(fd);
    }
    ed_free(folder);
}

int ed_atomic_commit(ed_atomic_file *file)
{
    errno = 0;
    bool good =
        fflush(file->stream) == 0 && !ferror(file->stream) && fsync(fileno(file->stream)) == 0;
    int error = errno;
    good = fclose(file->stream) == 0 && good;
    error = error ? error : errno;
    if (good && rename(file->temporary, file->path) != 0) {
        good = false;
        error = errno;
    }
    if (!good) {
        unlink(file->temporary);
        ed_error_set(ED_EIO, "%s: cannot write: %s; nothing was changed", file->path,
                     strerror(error ? error : EIO));
    } else {
        sync_folder(file->path);
    }
    release(file);
    return good ? ED_OK : ED_EIO;
}

void ed_atomic_abort(ed_atomic_file *file)
{
    if (!file)
        return;
    fclose(file->stream);
    unlink(file->temporary);
    release(file);
}

void ed_atomic_abort_all(void)
{
    for (int i = 0; i < MAX_OPEN; i++)
        if (open_temporaries[i])
            unlink(open_temporaries[i]);
}

/* ---- reading ---- */

int ed_file_read(void **data, size_t *size, const char *path)
{
    *data = NULL;
    *size = 0;
    FILE *f = fopen(path, "rb");
    if (!f)
        return fail_io("open", path);
    struct stat st;
    int rc = ED_OK;
    if (fstat(fileno(f), &st) != 0) {
        rc = fail_io("read", path);
    } else if (!S_ISREG(st.st_mode)) {
        rc = ed_error_set(ED_EIO, "%s: cannot read: it is not a regular file", path);
    } else {
        size_t n = (size_t)st.st_size;
        char *bytes = ed_malloc(n + 1);
        if (!bytes) {
            rc = ED_ENOMEM;
        } else if (fread(bytes, 1, n, f) != n) {
            rc = ferror(f)
                     ? fail_io("read", path)
                     : ed_error_set(ED_EIO, "%s: cannot read: the file shrank meanwhile", path);
            ed_free(bytes);
        } else {
            bytes[n] = 0;
            *data = bytes;
            *size = n;
        }
    }
    fclose(f);
    return rc;
}

char *ed_path_beside(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    return slash ? ed_asprintf("%.*s/%s", (int)(slash - path), path, name) : ed_strdup(name);
}
