/* uffd THREADS ROUNDS: makes calls whose path is in memory that nobody ever fills (userfaultfd(2)), so that
 * whoever reads the path waits until this process ends. The kernel itself does not read it: it refuses the
 * call's flags first, with EINVAL.
 *
 * Makes one such call in each of the threads at once and prints `READ MILLISECONDS`: how many ended with
 * EINVAL, and how long the longest took. Then ROUNDS more, or with 0 until one ends otherwise, each with a
 * getppid; prints for the last of them its errno, then how many getppid failed with EIO.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, MOST_THREADS = 256, FACCESSAT2 = 439 };

static const char *path;

static void fail(const char *what) {
    perror(what);
    exit(2);
}

static unsigned long milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (unsigned long)now.tv_sec * 1000ul + (unsigned long)now.tv_nsec / 1000000ul;
}

static int call(void) {
    return syscall(FACCESSAT2, AT_FDCWD, path, 0, -1) == 0 ? 0 : errno;
}

static void *once(void *took) {
    unsigned long start = milliseconds();
    int error = call();
    *(unsigned long *)took = milliseconds() - start;
    return (void *)(long)(error == EINVAL);
}

int main(int count, char **words) {
    if (count != 3) {
        return 2;
    }
    int memory = syscall(SYS_userfaultfd, O_CLOEXEC);
    if (memory < 0) {
        fail("userfaultfd");
    }
    struct uffdio_api api = {.api = UFFD_API};
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct uffdio_register range = {.range = {(unsigned long)page, PAGE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    if (page == MAP_FAILED || ioctl(memory, UFFDIO_API, &api) != 0 || ioctl(memory, UFFDIO_REGISTER, &range) != 0) {
        fail("prepare memory");
    }
    path = page;
    pthread_t started[MOST_THREADS];
    unsigned long took[MOST_THREADS], longest = 0;
    int threads = atoi(words[1]), rounds = atoi(words[2]), refused = 0, error = EINVAL, failed = 0;
    for (int thread = 0; thread < threads && thread < MOST_THREADS; ++thread) {
        if (pthread_create(&started[thread], NULL, once, &took[thread]) != 0) {
            fail("start a thread");
        }
    }
    for (int thread = 0; thread < threads && thread < MOST_THREADS; ++thread) {
        void *result;
        pthread_join(started[thread], &result);
        refused += (int)(long)result;
        longest = took[thread] > longest ? took[thread] : longest;
    }
    printf("%d %lu\n", refused, longest);
    fflush(stdout);
    for (int round = 0; (rounds == 0 || round < rounds) && error == EINVAL; ++round) {
        error = call();
        failed += syscall(SYS_getppid) < 0 && errno == EIO;
    }
    printf("%d %d\n", error, failed);
    return 0;
}
