/* Makes system calls and nothing else: no C library, no dynamic linker, so that every call is one
 * that was asked for.
 *
 *     raw ROUNDS CALL[,ARGUMENT...]...
 *
 * makes the calls in turn, ROUNDS times, or with 0 until the last of them succeeds, and prints a line
 * for each CALL (a number): its results in order, as OK or -ERRNO, with *N behind what came N times.
 * An ARGUMENT is a number, `b` for 64 KiB of zeroed memory, or `s` and a string up to the next comma.
 * The last line has the microseconds that all of it took.
 */

enum { MOST_CALLS = 64, MOST_ARGUMENTS = 6, MOST_RUNS = 4096, MEMORY = 65536 };

static char memory[MEMORY];

#if defined(__x86_64__)
enum { WRITEV = 20, EXIT = 60, CLOCK_GETTIME = 228 };
static long call(long number, const long a[]) {
    register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
__asm__(".globl _start\n_start: mov %rsp, %rdi\nand $-16, %rsp\ncall begin");
#elif defined(__i386__)
enum { WRITEV = 146, EXIT = 1, CLOCK_GETTIME = 403 };
/* Five arguments: none of the calls that are tested from here has six. */
static long call(long number, const long a[]) {
    long result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
                     : "memory");
    return result;
}
__asm__(".globl _start\n_start: mov %esp, %eax\nand $-16, %esp\nsub $12, %esp\npush %eax\ncall begin");
#endif

struct item {
    long number, arguments[MOST_ARGUMENTS];
    int runs;
    short results[MOST_RUNS];
    unsigned counts[MOST_RUNS];
};
static struct item items[MOST_CALLS];

static long number(char **text) {
    long value = 0, sign = 1;
    if (**text == '-') {
        sign = -1;
        ++*text;
    }
    while (**text >= '0' && **text <= '9') {
        value = value * 10 + (*(*text)++ - '0');
    }
    return sign * value;
}

static void print(const char *text, unsigned long length) {
    const long parts[] = {(long)text, (long)length};
    const long arguments[MOST_ARGUMENTS] = {1, (long)parts, 1};
    call(WRITEV, arguments);
}

static char *decimal(char *end, unsigned long long value) {
    do {
        *--end = '0' + value % 10u;
        value /= 10u;
    } while (value != 0);
    return end;
}

static void print_number(unsigned long value) {
    char digits[24], *end = digits + sizeof digits, *first = decimal(end, value);
    print(first, end - first);
}

static unsigned long microseconds(void) {
    long long now[2] = {0, 0};
    const long arguments[MOST_ARGUMENTS] = {1, (long)now};
    call(CLOCK_GETTIME, arguments);
    return (unsigned long)now[0] * 1000000ul + (unsigned long)now[1] / 1000ul;
}

static void record(struct item *item, long result) {
    short seen = result < 0 && result >= -4095 ? (short)-result : 0;
    if (item->runs > 0 && item->results[item->runs - 1] == seen) {
        item->counts[item->runs - 1]++;
    } else if (item->runs < MOST_RUNS) {
        item->results[item->runs] = seen;
        item->counts[item->runs++] = 1;
    }
}

static void parse(struct item *item, char *text) {
    int argument = 0;
    item->number = number(&text);
    for (char behind = *text; behind == ',' && argument < MOST_ARGUMENTS; ++argument) {
        ++text;
        if (*text == 's') {
            item->arguments[argument] = (long)++text;
            while (*text != ',' && *text != 0) {
                ++text;
            }
            behind = *text;
            *text = 0;
            continue;
        }
        if (*text == 'b') {
            item->arguments[argument] = (long)memory;
            ++text;
        } else {
            item->arguments[argument] = number(&text);
        }
        behind = *text;
    }
}

__attribute__((used)) void begin(const long *stack) {
    char **words = (char **)(stack + 2);
    long count = stack[0] - 2, rounds;
    unsigned long start;
    if (count < 1 || count > MOST_CALLS) {
        const long two[MOST_ARGUMENTS] = {2};
        call(EXIT, two);
    }
    rounds = number(&words[0]);
    for (long index = 0; index < count; ++index) {
        parse(&items[index], words[index + 1]);
    }
    start = microseconds();
    for (long round = 0; rounds == 0 || round < rounds; ++round) {
        long result = 0;
        for (long index = 0; index < count; ++index) {
            result = call(items[index].number, items[index].arguments);
            record(&items[index], result);
        }
        if (rounds == 0 && result >= 0) {
            break;
        }
    }
    start = microseconds() - start;
    for (long index = 0; index < count; ++index) {
        struct item *item = &items[index];
        for (int run = 0; run < item->runs; ++run) {
            if (item->results[run] == 0) {
                print("OK", 2);
            } else {
                print("-", 1);
                print_number(item->results[run]);
            }
            if (item->counts[run] > 1) {
                print("*", 1);
                print_number(item->counts[run]);
            }
            print(run + 1 < item->runs ? " " : "\n", 1);
        }
    }
    print_number(start);
    print("\n", 1);
    const long zero[MOST_ARGUMENTS] = {0};
    call(EXIT, zero);
    __builtin_unreachable();
}
