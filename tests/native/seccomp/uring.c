/* Opens, reads, writes and syncs a file by io_uring alone, and prints the four results in a line: a
 * number of bytes or descriptor (as OK), or the negative errno.
 *
 *     uring FILE [async]
 *
 * With `async` a worker of the kernel's does each of them instead of the caller. What failed to open is
 * not read. No library: <https://kernel.dk/io_uring.pdf>
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ENTRIES = 4, NO_RING = 2 };

static int ring, flags;
static struct io_uring_params params;
static char *submissions, *completions;
static struct io_uring_sqe *entries;

static unsigned *word(char *memory, unsigned at) { return (unsigned *)(memory + at); }

static int set_up(void) {
    ring = (int)syscall(SYS_io_uring_setup, ENTRIES, &params);
    if (ring < 0) {
        perror("io_uring_setup");
        return 0;
    }
    const int shared = PROT_READ | PROT_WRITE, kind = MAP_SHARED | MAP_POPULATE;
    submissions = mmap(0, params.sq_off.array + ENTRIES * sizeof(unsigned), shared, kind, ring,
                       IORING_OFF_SQ_RING);
    completions = mmap(0, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), shared,
                       kind, ring, IORING_OFF_CQ_RING);
    entries = mmap(0, ENTRIES * sizeof *entries, shared, kind, ring, IORING_OFF_SQES);
    return submissions != MAP_FAILED && completions != MAP_FAILED && entries != MAP_FAILED;
}

/* Makes one request and waits for its result. */
static int request(struct io_uring_sqe wanted) {
    unsigned *tail = word(submissions, params.sq_off.tail);
    unsigned place = *tail & *word(submissions, params.sq_off.ring_mask);
    wanted.flags = (unsigned char)flags;
    entries[place] = wanted;
    word(submissions, params.sq_off.array)[place] = place;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    while (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, 0, 0) < 0) {
    }
    unsigned *head = word(completions, params.cq_off.head);
    unsigned at = *head & *word(completions, params.cq_off.ring_mask);
    int result = ((struct io_uring_cqe *)(completions + params.cq_off.cqes))[at].res;
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    return result;
}

static void show(const char *name, int result) {
    if (result < 0) {
        printf("%s %d ", name, result);
    } else {
        printf("%s OK ", name);
    }
}

int main(int count, char **words) {
    static char memory[64] = "x";
    if (count < 2 || !set_up()) {
        return NO_RING;
    }
    flags = count > 2 ? IOSQE_ASYNC : 0;
    int file = request((struct io_uring_sqe){.opcode = IORING_OP_OPENAT,
                                             .fd = AT_FDCWD,
                                             .addr = (unsigned long)words[1],
                                             .open_flags = O_RDWR});
    show("open", file);
    if (file >= 0) {
        struct io_uring_sqe transfer = {.fd = file, .addr = (unsigned long)memory, .len = 1};
        transfer.opcode = IORING_OP_READ;
        show("read", request(transfer));
        transfer.opcode = IORING_OP_WRITE;
        show("write", request(transfer));
        show("fsync", request((struct io_uring_sqe){.opcode = IORING_OP_FSYNC, .fd = file}));
    }
    puts("");
    return 0;
}
