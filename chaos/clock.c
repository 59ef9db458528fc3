/* A clock that is off by as many seconds as the file says that RAILS_CLOCK names: 8 bytes, in the machine's order. For LD_PRELOAD.
   Only what asks for the time of day sees it; timeouts, which are measured by the monotonic clock, go on as they are. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int (*right)(clockid_t, struct timespec *);
static const volatile int64_t *off;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("RAILS_CLOCK");
    int file = path ? open(path, O_RDONLY) : -1;

    right = dlsym(RTLD_NEXT, "clock_gettime");
    if (file >= 0) {
        void *seen = mmap(NULL, sizeof *off, PROT_READ, MAP_SHARED, file, 0);
        if (seen != MAP_FAILED)
            off = seen;
        close(file);
    }
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int failed = right(clock, now);

    if (!failed && clock == CLOCK_REALTIME && off)
        now->tv_sec += *off;
    return failed;
}
