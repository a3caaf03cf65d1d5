/* threads THREADS ROUNDS FILE: opens and closes the file from several threads by way of the C
 * library, and prints how often that failed. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int rounds;
static const char *file;

static void *work(void *unused) {
    long failed = 0;
    (void)unused;
    for (int round = 0; round < rounds; ++round) {
        int descriptor = open(file, O_RDONLY);
        if (descriptor < 0) {
            failed += errno == EIO ? 1 : 1000000;
        } else {
            close(descriptor);
        }
    }
    return (void *)failed;
}

int main(int count, char **words) {
    long failed = 0;
    if (count != 4) {
        return 2;
    }
    int threads = atoi(words[1]);
    rounds = atoi(words[2]);
    file = words[3];
    pthread_t started[64];
    for (int thread = 0; thread < threads && thread < 64; ++thread) {
        if (pthread_create(&started[thread], NULL, work, NULL) != 0) {
            return 3;
        }
    }
    for (int thread = 0; thread < threads && thread < 64; ++thread) {
        void *result;
        pthread_join(started[thread], &result);
        failed += (long)result;
    }
    printf("%ld\n", failed);
    return 0;
}
