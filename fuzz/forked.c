/*
 * See forked.h.
 *
 *     step | the process                     | the server                        | a child
 *     -----+---------------------------------+-----------------------------------+----------------------------------
 *        1 | sends the function's address    | reads it, forks, waits            |
 *        2 | answers                         |                                   | runs; asks for names of calls
 *        3 |                                 |                                   | copies the coverage, says done, ends
 *        4 | reads how it ended              | sends how it ended                |
 *
 * 1. The bare system call, not libc's fork(): that would take the stacks of all other threads for free memory, and these are our fibers.
 *    Their kernel threads do not exist in the child, and are not missed: a fiber is memory.
 * 2. Server and children never return from here and never run exit handlers: they are the process's.
 * 3. Server and child use one socket, but never at the same time.
 */
#include "fuzz/forked.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "report/symbolize.h"

#define FORKED_PCS 4u /* code addresses that name a call, at most */

/* The linker's names for the bounds of the coverage counters; not there without a fuzzing engine. */
#define SECTION(name)                                                              \
    extern uint8_t __start___##name[] __attribute__((weak, visibility("hidden"))); \
    extern uint8_t __stop___##name[] __attribute__((weak, visibility("hidden")))
SECTION(sancov_cntrs);
SECTION(libfuzzer_extra_counters);

typedef struct Counters {
    uint8_t *start;
    size_t bytes;
    uint8_t *copy; /* shared */
} Counters;

static Counters counters[2];
static volatile bool *done; /* shared: the child came to its end */
static int to_parent = -1;  /* in a child */

void *forked_alloc(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        fprintf(stderr, "wakefuzz: cannot share %zu bytes with children: %s\n", bytes, strerror(errno));
        exit(2);
    }
    return memory;
}

static int to_server = -1;

static void init(void)
{
    counters[0] = (Counters){ __start___sancov_cntrs, (size_t)(__stop___sancov_cntrs - __start___sancov_cntrs), NULL };
    counters[1] = (Counters){ __start___libfuzzer_extra_counters,
                              (size_t)(__stop___libfuzzer_extra_counters - __start___libfuzzer_extra_counters), NULL };
    for (unsigned i = 0; i < 2; i++) {
        counters[i].copy = counters[i].bytes ? forked_alloc(counters[i].bytes) : NULL;
    }
    done = forked_alloc(sizeof(*done));
}

/* Never instrumented, and not memcpy(): the counters lie side by side with a sanitizer's red zones. */
static void copy(uint8_t *to, const uint8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        to[i] = from[i];
    }
}

/* ---- messages */

typedef struct Message {
    enum { ASK, ENDED } kind;
    int status; /* ENDED: as waitpid() gives it */
    void *pcs[FORKED_PCS];
    unsigned n;
} Message;

static bool receive(int from, void *message, size_t bytes)
{
    ssize_t result;

    do {
        result = read(from, message, bytes);
    } while (result < 0 && errno == EINTR); /* the fuzzing engine's alarm */
    return result == (ssize_t)bytes;
}

static bool transmit(int to, const void *message, size_t bytes)
{
    ssize_t result;

    do {
        result = send(to, message, bytes, MSG_NOSIGNAL);
    } while (result < 0 && errno == EINTR);
    return result == (ssize_t)bytes;
}

uint32_t forked_namer(void *const *pcs, unsigned n)
{
    Message question = { .kind = ASK, .n = n < FORKED_PCS ? n : FORKED_PCS };
    uint32_t answer;

    if (to_parent < 0) {
        return report_site_namer(pcs, n);
    }
    memcpy(question.pcs, pcs, question.n * sizeof(void *));
    if (!transmit(to_parent, &question, sizeof(question)) || !receive(to_parent, &answer, sizeof(answer))) {
        _exit(2); /* the process has gone */
    }
    return answer;
}

/* ---- server and children */

__attribute__((noreturn)) static void be_child(void (*function)(void))
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    function();
    fflush(NULL);
    for (unsigned i = 0; i < 2; i++) {
        copy(counters[i].copy, counters[i].start, counters[i].bytes);
    }
    *done = true;
    _exit(0);
}

static pid_t fork_bare(void)
{
    return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

__attribute__((noreturn)) static void be_server(void)
{
    void (*function)(void);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN); /* the process is asked too, and ends after this execution */
    signal(SIGTERM, SIG_IGN);
    while (receive(to_parent, &function, sizeof(function))) {
        Message ended = { .kind = ENDED, .status = -1 };
        pid_t child = fork_bare();

        if (child == 0) {
            be_child(function);
        }
        while (child > 0 && waitpid(child, &ended.status, 0) < 0 && errno == EINTR) {
        }
        if (!transmit(to_parent, &ended, sizeof(ended))) {
            break;
        }
    }
    _exit(0);
}

void forked_start(void)
{
    int ends[2] = { -1, -1 };
    pid_t server = -1;

    init();
    fflush(NULL);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0) {
        server = fork_bare();
    }
    if (server < 0) {
        fprintf(stderr, "wakefuzz: no child process: %s (see ulimit -u)\n", strerror(errno));
        exit(2);
    }
    if (server == 0) {
        close(ends[0]);
        to_parent = ends[1];
        be_server();
    }
    close(ends[1]);
    to_server = ends[0];
}

/* A child that cannot be made has a status of its own; what else ended early has said why. */
__attribute__((noreturn)) static void end_like(int status)
{
    fflush(NULL);
    if (status == -1) {
        fprintf(stderr, "wakefuzz: no child process (see ulimit -u), or its server was killed\n");
        exit(2);
    }
    if (WIFSIGNALED(status)) {
        fprintf(stderr, "wakefuzz: the execution was ended by signal %d\n", WTERMSIG(status));
    }
    abort();
}

void forked_run(void (*function)(void))
{
    Message message = { .kind = ENDED, .status = -1 };

    fflush(NULL);
    *done = false;
    if (transmit(to_server, &function, sizeof(function))) {
        while (receive(to_server, &message, sizeof(message)) && message.kind == ASK) {
            uint32_t answer = report_site_namer(message.pcs, message.n);

            if (!transmit(to_server, &answer, sizeof(answer))) {
                break;
            }
        }
    }
    if (!*done) {
        end_like(message.kind == ENDED ? message.status : -1);
    }
    for (unsigned i = 0; i < 2; i++) {
        copy(counters[i].start, counters[i].copy, counters[i].bytes);
    }
}
