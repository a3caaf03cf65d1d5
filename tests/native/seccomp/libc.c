/* Makes calls on files by way of the C library, and prints a line for each: its name and the errno
 * that the library gives.
 *
 *     libc DIRECTORY FILE
 *
 * The first half of the calls names files in DIRECTORY, the other goes by a descriptor of FILE.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>

#define CALL(name, expression)                           \
    do {                                                 \
        errno = 0;                                       \
        long result = (long)(expression);                \
        printf("%s %d\n", name, result == -1 ? errno : 0); \
    } while (0)

int main(int count, char **words) {
    if (count != 3 || chdir(words[1]) != 0) {
        return 2;
    }
    int file = open(words[2], O_RDWR);
    if (file < 0) {
        perror(words[2]);
        return 3;
    }
    char byte[2] = "x";
    char long_enough[64];
    struct iovec vector = {byte, 1};
    struct stat status;
    struct statfs file_system;

    CALL("open", open("a", O_RDONLY));
    CALL("stat", stat("a", &status));
    CALL("lstat", lstat("a", &status));
    CALL("access", access("a", R_OK));
    CALL("mkdir", mkdir("directory", 0700));
    CALL("rmdir", rmdir("directory"));
    CALL("link", link("a", "b"));
    CALL("symlink", symlink("a", "c"));
    CALL("readlink", readlink("c", long_enough, sizeof long_enough));
    CALL("rename", rename("a", "d"));
    CALL("unlink", unlink("a"));
    CALL("chmod", chmod("a", 0600));
    CALL("chown", chown("a", -1, -1));
    CALL("truncate", truncate("a", 0));
    CALL("utimensat", utimensat(AT_FDCWD, "a", NULL, 0));
    CALL("statfs", statfs("a", &file_system));

    CALL("read", read(file, byte, 1));
    CALL("pread", pread(file, byte, 1, 0));
    CALL("readv", readv(file, &vector, 1));
    CALL("preadv", preadv(file, &vector, 1, 0));
    CALL("write", write(file, byte, 1));
    CALL("pwrite", pwrite(file, byte, 1, 0));
    CALL("writev", writev(file, &vector, 1));
    CALL("pwritev", pwritev(file, &vector, 1, 0));
    CALL("fsync", fsync(file));
    CALL("fdatasync", fdatasync(file));
    CALL("ftruncate", ftruncate(file, 0));
    CALL("fallocate", fallocate(file, 0, 0, 1));
    CALL("fstat", fstat(file, &status));
    CALL("fchmod", fchmod(file, 0600));
    CALL("lseek", lseek(file, 0, SEEK_SET));
    CALL("flock", flock(file, LOCK_UN));
    CALL("mmap", mmap(NULL, 1, PROT_READ, MAP_SHARED, file, 0));
    return 0;
}
