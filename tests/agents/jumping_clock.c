/* The wall clock of a host whose clock is set, again and again: an hour on in every odd second, an
   hour back in every even one. Loaded before the C library; the monotonic clock is left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static void now(clockid_t clock, struct timespec *when) { syscall(SYS_clock_gettime, clock, when); }

static void jump(struct timespec *when) {
    struct timespec even;
    now(CLOCK_MONOTONIC, &even);
    when->tv_sec += even.tv_sec % 2 ? 3600 : -3600;
}

int clock_gettime(clockid_t clock, struct timespec *when) {
    int failed = syscall(SYS_clock_gettime, clock, when);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) jump(when);
    return failed;
}

int gettimeofday(struct timeval *restrict when, void *restrict zone) {
    struct timespec there;
    (void)zone;
    now(CLOCK_REALTIME, &there);
    jump(&there);
    when->tv_sec = there.tv_sec;
    when->tv_usec = there.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *when) {
    struct timespec there;
    now(CLOCK_REALTIME, &there);
    jump(&there);
    if (when) *when = there.tv_sec;
    return there.tv_sec;
}
