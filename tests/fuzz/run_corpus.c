/* Replay a corpus without a fuzzer: run_corpus FOLDER. Fails when no file goes all the way. */
#include "fuzz.h"

#include <dirent.h>
#include <string.h>

static int run_file(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 1;
    }
    static uint8_t data[64 * 1024];
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    /* exactly as large as the file: reading behind its end is seen */
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        return 1;
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    return 0;
}

int main(int argc, char **argv)
{
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    int failed = 0, count = 0;
    if (!dir) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.') {
            failed |= run_file(argv[1], entry->d_name);
            count++;
        }
    closedir(dir);
    printf("%d files, %zu went all the way\n", count, fuzz_accepted);
    return failed || fuzz_accepted == 0;
}
