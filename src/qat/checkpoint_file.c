/*
 * Checkpoints on disk: sealed, replaced atomically, with the one before it kept.
 *
 *   512 bytes   "ed-checkpoint 1\n", the checksum as 16 hexadecimal digits, "\n", zeros
 *   the rest    an HDF5 file, for which the former is its user block; any HDF5 program reads it
 *
 * The checksum is of all bytes of the rest. It is looked at before HDF5 sees anything of a file.
 */
#include "base/file.h"
#include "base/mem.h"
#include "qat/checkpoint_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "ed-checkpoint 1\n"
enum { SEAL = 512, PIECE = 1 << 20 };

static void make_seal(char seal[SEAL], uint64_t checksum)
{
    memset(seal, 0, SEAL);
    snprintf(seal, SEAL, MAGIC "%016llx\n", (unsigned long long)checksum);
}

/* ---- looking at a file ---- */

static int hash_rest(uint64_t *out, FILE *f, const char *path)
{
    char *piece = ed_malloc(PIECE);
    uint64_t hash = 0;
    size_t n;
    if (!piece)
        return ED_ENOMEM;
    while ((n = fread(piece, 1, PIECE, f)) > 0)
        hash = ed_hash(hash, piece, n);
    *out = hash;
    ed_free(piece);
    ED_FAIL_IF(ferror(f), ED_EIO, "%s: cannot read: %s", path, strerror(errno));
    return ED_OK;
}

static int check_seal(FILE *f, const char *path)
{
    char seal[SEAL] = { 0 }, want[SEAL];
    uint64_t hash = 0;
    size_t n = fread(seal, 1, SEAL, f);
    ED_FAIL_IF(memcmp(seal, MAGIC, n < strlen(MAGIC) ? n : strlen(MAGIC)) != 0, ED_EMISMATCH,
               "%s: it is no checkpoint of training (or of another version); give one that "
               "training wrote",
               path);
    ED_TRY(hash_rest(&hash, f, path));
    make_seal(want, hash);
    ED_FAIL_IF(n < SEAL || memcmp(seal, want, SEAL) != 0, ED_EFORMAT,
               "%s: the checkpoint is damaged or cut short: its checksum is not that of its "
               "contents; use an older one",
               path);
    return ED_OK;
}

/* ED_ENOTFOUND, ED_EMISMATCH (another kind of file), ED_EFORMAT (damaged), ED_EIO, ED_ENOMEM. */
static int check_file(const char *path)
{
    struct stat st = { 0 };
    FILE *f = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? fopen(path, "rb") : NULL;
    int error = errno;
    ED_FAIL_IF(!f && st.st_mode && !S_ISREG(st.st_mode), ED_EIO,
               "%s: cannot read: it is not a regular file", path);
    ED_FAIL_IF(!f, error == ENOENT ? ED_ENOTFOUND : ED_EIO, "%s: cannot open: %s", path,
               strerror(error));
    int rc = check_seal(f, path);
    fclose(f);
    return rc;
}

/* True for a file that begins otherwise than checkpoints do. */
static bool is_foreign(const char *path)
{
    char start[sizeof MAGIC - 1];
    struct stat st;
    FILE *f = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? fopen(path, "rb") : NULL;
    size_t n = f ? fread(start, 1, sizeof start, f) : 0;
    if (f)
        fclose(f);
    return memcmp(start, MAGIC, n) != 0;
}

/* ---- writing ---- */

static int check_replaced(const char *path, const char *previous)
{
    const char *names[] = { path, previous };
    for (size_t i = 0; i < ED_LENGTH(names); i++)
        ED_FAIL_IF(is_foreign(names[i]), ED_EFORMAT,
                   "%s: cannot write a checkpoint there: the file is no checkpoint and would be "
                   "lost; choose another name",
                   names[i]);
    return ED_OK;
}

int ed_checkpoint_check_path(const char *path)
{
    char *previous = ed_asprintf("%s.previous", path);
    int rc = previous ? check_replaced(path, previous) : ED_ENOMEM;
    ed_free(previous);
    return rc;
}

/*
 * The file that is replaced, until it takes the place of <path>.previous: by a second name or,
 * where links are not possible, as a copy. It does so only when the new file is there: whenever a
 * process is killed, both names are of sound checkpoints, and of different ones.
 */
typedef struct kept_file {
    char *link;
    ed_atomic_file *copy;
} kept_file;

static bool link_old(kept_file *kept, const char *path, const char *previous)
{
    ed_atomic_clean(previous);
    kept->link = ed_asprintf("%s.tmp-%ld-0", previous, (long)getpid());
    if (!kept->link)
        return false;
    unlink(kept->link);
    if (linkat(AT_FDCWD, path, AT_FDCWD, kept->link, AT_SYMLINK_FOLLOW) == 0)
        return true;
    ed_free(kept->link);
    kept->link = NULL;
    return false;
}

static int copy_old(kept_file *kept, const char *path, const char *previous)
{
    void *data;
    size_t size;
    ED_TRY(ed_file_read(&data, &size, path));
    int rc = ed_atomic_open(&kept->copy, previous);
    if (rc == ED_OK)
        (void)fwrite(data, 1, size, ed_atomic_stream(kept->copy)); /* it remembers a failure */
    ed_free(data);
    return rc;
}

static int keep_old(kept_file *kept, const char *path, const char *previous)
{
    return link_old(kept, path, previous) ? ED_OK : copy_old(kept, path, previous);
}

/* Takes the place of the one before it if rc, the new file's, is ED_OK. */
static int put_old(kept_file *kept, const char *previous, int rc)
{
    if (kept->copy && rc == ED_OK)
        return ed_atomic_commit(kept->copy);
    ed_atomic_abort(kept->copy);
    if (!kept->link)
        return rc;
    if (rc == ED_OK && rename(kept->link, previous) != 0)
        rc = ed_error_set(ED_EIO, "%s: cannot write: %s", previous, strerror(errno));
    unlink(kept->link); /* it stays when both names are of one file */
    ed_free(kept->link);
    return rc;
}

static int write_sealed(ed_atomic_file *file, const char *path, const void *image, size_t size)
{
    char seal[SEAL];
    uint64_t hash = 0;
    for (size_t at = 0; at < size; at += PIECE)
        hash = ed_hash(hash, (const char *)image + at, size - at < PIECE ? size - at : PIECE);
    make_seal(seal, hash);
    FILE *f = ed_atomic_stream(file);
    bool good =
        fwrite(seal, 1, SEAL, f) == SEAL && fwrite(image, 1, size, f) == size && fflush(f) == 0;
    ED_FAIL_IF(!good, ED_EIO, "%s: cannot write: %s; nothing was changed", path, strerror(errno));
    return ED_OK;
}

static int replace_file(const char *path, const char *previous, const void *image, size_t size)
{
    ed_atomic_file *file = NULL;
    kept_file kept = { 0 };
    ED_TRY(ed_atomic_open(&file, path));
    int old = check_file(path), rc = check_replaced(path, previous);
    if (rc == ED_OK)
        rc = write_sealed(file, path, image, size);
    if (rc == ED_OK && old == ED_OK)
        rc = keep_old(&kept, path, previous);
    if (rc == ED_OK)
        rc = ed_atomic_commit(file);
    else
        ed_atomic_abort(file);
    return put_old(&kept, previous, rc);
}

int ed_checkpoint_write(const ed_checkpoint *c, const char *path)
{
    void *image = NULL;
    size_t size = 0;
    char *previous = ed_asprintf("%s.previous", path);
    int rc = previous ? ed_checkpoint_encode(&image, &size, c, SEAL) : ED_ENOMEM;
    if (rc == ED_OK)
        rc = replace_file(path, previous, image, size);
    ed_free(image);
    ed_free(previous);
    return rc;
}

/* ---- reading ---- */

static int read_checked(ed_checkpoint **out, const char *path)
{
    *out = NULL;
    ED_TRY(check_file(path));
    return ed_checkpoint_decode(out, path);
}

int ed_checkpoint_read(ed_checkpoint **out, const char *path, char **note)
{
    *note = NULL;
    int rc = read_checked(out, path);
    if (rc == ED_OK || rc == ED_ENOMEM)
        return rc;
    char *why = ed_strdup(ed_error_last()), *previous = ed_asprintf("%s.previous", path);
    bool found = why && previous && read_checked(out, previous) == ED_OK;
    if (found)
        *note = ed_asprintf("%s; %s is used in its place", why, previous);
    if (why && !found)
        ed_error_set(rc, "%s", why);
    ed_free(why);
    ed_free(previous);
    if (!found)
        return why ? rc == ED_EMISMATCH ? ED_EFORMAT : rc : ED_ENOMEM;
    if (*note)
        return ED_OK;
    ed_checkpoint_free(*out);
    *out = NULL;
    return ED_ENOMEM;
}
