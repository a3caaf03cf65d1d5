/* Looks a name up by getaddrinfo(3) and prints its address, or what the C library says of the error.
 *
 *     resolve NAME
 */
#define _POSIX_C_SOURCE 200112L
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int count, char **words) {
    if (count != 2) {
        return 2;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int error = getaddrinfo(words[1], "80", &hints, &found);
    if (error != 0) {
        fprintf(stderr, "%d: %s\n", error, gai_strerror(error));
        return 1;
    }
    char address[64];
    if (getnameinfo(found->ai_addr, found->ai_addrlen, address, sizeof address, NULL, 0,
                    NI_NUMERICHOST) != 0) {
        return 2;
    }
    puts(address);
    freeaddrinfo(found);
    return 0;
}
