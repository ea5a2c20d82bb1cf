/* Linux: /proc/meminfo counts what caches would give back; cgroup v2 has a file for each number. */
#include "base/available.h"

#include <inttypes.h>
#include <stdio.h>

/* The number behind `label` in the first line that begins so; -1: none ("max", no such file). */
static int64_t read_number(const char *path, const char *label)
{
    char format[64], line[256];
    int64_t number = -1;
    FILE *f = fopen(path, "r");
    if (!f)
        return -1;
    snprintf(format, sizeof format, "%s%%" SCNd64, label);
    while (number < 0 && fgets(line, sizeof line, f))
        if (sscanf(line, format, &number) != 1)
            number = -1;
    fclose(f);
    return number;
}

int64_t ed_memory_available(void)
{
    int64_t kib = read_number("/proc/meminfo", "MemAvailable:"), bytes = kib > 0 ? kib * 1024 : 0;
    int64_t most = read_number("/sys/fs/cgroup/memory.max", "");
    int64_t used = read_number("/sys/fs/cgroup/memory.current", "");
    int64_t cache = read_number("/sys/fs/cgroup/memory.stat", "file "); /* of files, in `used` */
    if (most < 0 || used < 0 || cache < 0)
        return bytes;
    int64_t left = most + cache > used ? most + cache - used : 0;
    return bytes == 0 || left < bytes ? left : bytes;
}
