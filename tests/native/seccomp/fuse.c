/* fuse DIRECTORY CLIENTS MILLISECONDS: serves a file system (FUSE) and opens files of it at the same time.
 *
 * The server opens a file of another file system for each look-up, and it does one thing after the other:
 * if that call has to wait for somebody who waits for the server, all wait for ever. There is no file
 * in the file system, so an open ends with ENOENT; or with EIO, by a fault. Prints `begun` when it serves;
 * at the end how many opens ended how, and how long the longest took: `ENOENT EIO OTHERWISE MILLISECONDS`.
 *
 * The file system is in a mount namespace of its own, and goes with the last process.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct { unsigned long none, io, otherwise, longest; } *seen;

static void fail(const char *what) {
    perror(what);
    exit(2);
}

static unsigned long milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (unsigned long)now.tv_sec * 1000ul + (unsigned long)now.tv_nsec / 1000000ul;
}

static void reply(int device, unsigned long long unique, int error, void *data, size_t length) {
    struct fuse_out_header header = {.len = sizeof header + length, .error = error, .unique = unique};
    const struct iovec parts[] = {{&header, sizeof header}, {data, length}};
    /* Of a caller that was interrupted the kernel wants no answer. */
    if (writev(device, parts, length > 0 ? 2 : 1) < 0 && errno != ENOENT) {
        fail("answer the kernel");
    }
}

static void serve(int device) {
    static char request[FUSE_MIN_READ_BUFFER + 65536];
    for (;;) {
        ssize_t length = read(device, request, sizeof request);
        const struct fuse_in_header *header = (const void *)request;
        if (length < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN)) {
            continue;
        }
        if (length < (ssize_t)sizeof *header) {
            exit(0);
        }
        switch (header->opcode) {
        case FUSE_INIT: {
            struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 65536};
            reply(device, header->unique, 0, &out, sizeof out);
            break;
        }
        case FUSE_GETATTR: {
            struct fuse_attr_out out = {.attr_valid = 1, .attr = {.ino = 1, .mode = S_IFDIR | 0755, .nlink = 2}};
            reply(device, header->unique, 0, &out, sizeof out);
            break;
        }
        case FUSE_LOOKUP: {
            int own = open("/dev/null", O_RDONLY);
            if (own >= 0) {
                close(own);
            }
            reply(device, header->unique, -ENOENT, NULL, 0);
            break;
        }
        case FUSE_FORGET:
        case FUSE_BATCH_FORGET:
        case FUSE_INTERRUPT:
            break;
        default:
            reply(device, header->unique, -ENOSYS, NULL, 0);
        }
    }
}

static void use(const char *directory, int client, unsigned long until) {
    char path[4096];
    for (unsigned long round = 0; milliseconds() < until; ++round) {
        unsigned long start = milliseconds(), took;
        snprintf(path, sizeof path, "%s/file-%d-%lu", directory, client, round);
        int file = open(path, O_RDONLY);
        unsigned long *count = file >= 0         ? &seen->otherwise
                               : errno == ENOENT ? &seen->none
                               : errno == EIO    ? &seen->io
                                                 : &seen->otherwise;
        __atomic_add_fetch(count, 1, __ATOMIC_RELAXED);
        took = milliseconds() - start;
        unsigned long longest = __atomic_load_n(&seen->longest, __ATOMIC_RELAXED);
        while (took > longest && !__atomic_compare_exchange_n(&seen->longest, &longest, took, 0, __ATOMIC_RELAXED,
                                                              __ATOMIC_RELAXED)) {
        }
    }
    _exit(0);
}

int main(int count, char **words) {
    char options[100];
    if (count != 4) {
        return 2;
    }
    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (seen == MAP_FAILED) {
        fail("mmap");
    }
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        fail("make a mount namespace");
    }
    int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (device < 0) {
        fail("open /dev/fuse");
    }
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
    if (mount("chaos-test", words[1], "fuse", MS_NOSUID | MS_NODEV, options) != 0) {
        fail("mount");
    }
    pid_t server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(device);
    }
    close(device);
    puts("begun");
    fflush(stdout);
    unsigned long until = milliseconds() + strtoul(words[3], NULL, 10);
    int clients = atoi(words[2]);
    for (int client = 0; client < clients; ++client) {
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            use(words[1], client, until);
        }
    }
    for (int client = 0; client < clients; ++client) {
        wait(NULL);
    }
    printf("%lu %lu %lu %lu\n", seen->none, seen->io, seen->otherwise, seen->longest);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    return 0;
}
