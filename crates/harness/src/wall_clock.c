/* Loaded into the hub before the C library: moves its wall clock by CLOCK_OFFSET_S seconds. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    const char *offset = getenv("CLOCK_OFFSET_S");
    if (!failed && clock == CLOCK_REALTIME && offset)
        now->tv_sec += atol(offset);
    return failed;
}
